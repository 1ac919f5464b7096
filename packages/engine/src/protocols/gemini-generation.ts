import type { Endpoint } from '@mesh/catalog/catalog.ts'
import { reasoningControlsOf } from '../reasoning.ts'

/**
 * Whether a model is of Gemini's third generation or later: those are told levels of thinking, the earlier ones
 * budgets. The generations differ in more than that:
 * - The third refuses tool calls that come back without their signature.
 * - The third takes tools next to a JSON format, and media inside a function's response; the second refuses the one
 *   ("Function calling with a response mime type: 'application/json' is unsupported") and does not know the other.
 * - The second takes several candidates, the third does not ("Multiple candidates is not enabled for this model").
 */
export function isThirdGeneration(endpoint: Endpoint): boolean {
  return reasoningControlsOf(endpoint).efforts.length > 0
}
