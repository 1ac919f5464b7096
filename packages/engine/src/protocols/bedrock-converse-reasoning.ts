import type { Endpoint } from '@mesh/catalog/catalog.ts'
import type { Ask, JsonObject } from '../ask.ts'
import type { ConverseQuirks } from '../converse-quirks.ts'
import { closestEffort, effortAsked, reasoningControlsOf } from '../reasoning.ts'
import { type ThinkingPlan, thinkingPlan } from './anthropic-messages-thinking.ts'

/** What a request says about thinking. */
export interface ConverseReasoning {
  /** For `additionalModelRequestFields`. */
  readonly fields: JsonObject
  /** Claude's own plan, on which its sampling depends. */
  readonly thinking: ThinkingPlan
}

const NONE: ConverseReasoning = { fields: {}, thinking: {} }

/** How a model is told to think, in its vendor's own words: Converse has none for it. */
export function converseReasoning(
  ask: Ask,
  endpoint: Endpoint,
  quirks: ConverseQuirks,
  outputTokensCap: number,
  dropped: Set<string>,
): ConverseReasoning {
  if (quirks.reasoning === 'claude') {
    const thinking = thinkingPlan(ask, endpoint, outputTokensCap, dropped)
    const effort: JsonObject = thinking.effort ? { output_config: { effort: thinking.effort } } : {}
    return { fields: { ...(thinking.field ? { thinking: { ...thinking.field } } : {}), ...effort }, thinking }
  }
  const asked = effortAsked(ask.reasoning)
  if (asked === undefined) return NONE
  if (!endpoint.supportedParameters.includes('reasoning')) {
    if (asked !== 'none') dropped.add('reasoning')
    return NONE
  }
  if (ask.reasoning?.maxTokens !== undefined && asked !== 'none') dropped.add('reasoning.max_tokens')
  const { efforts, toggle } = reasoningControlsOf(endpoint)
  const known =
    quirks.reasoning === 'reasoningConfig' ? efforts.filter((effort) => effort !== 'high') : efforts
  const graded = closestEffort(asked, known)
  if (asked === 'none' && toggle) return { fields: wordsFor('none', quirks), thinking: {} }
  // Whoever asked for no thinking where it cannot be switched off gets the least of it, and is told so.
  if (graded === undefined || (asked === 'none' && graded !== 'none')) dropped.add('reasoning.effort')
  return graded === undefined ? NONE : { fields: wordsFor(graded, quirks), thinking: {} }
}

/**
 * Nova's `high` is left out above: it refuses a request with an output cap, and no call may leave without one, for what
 * it writes is billed whether it is heard or not.
 * https://docs.aws.amazon.com/nova/latest/nova2-userguide/extended-thinking.html
 */
function wordsFor(effort: string, quirks: ConverseQuirks): JsonObject {
  switch (quirks.reasoning) {
    case 'reasoningConfig':
      return effort === 'none'
        ? { reasoningConfig: { type: 'disabled' } }
        : { reasoningConfig: { type: 'enabled', maxReasoningEffort: effort } }
    case 'reasoning_effort':
      return { reasoning_effort: effort }
    case 'reasoning_config':
      return { reasoning_config: effort }
    case 'claude':
    case 'none':
      return {}
  }
}
