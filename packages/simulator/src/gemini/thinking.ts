import { type Json, type JsonObject, numberAt, objectAt, textAt } from '../json.ts'
import { seedOf } from '../seed.ts'
import type { GeminiModel } from './models.ts'

/** How long a request makes a model think, and whether a summary of it shows. */
export interface Thinking {
  readonly tokens: number
  readonly shown: boolean
}

const TOKENS_BY_LEVEL: Readonly<Record<string, number>> = { MINIMAL: 0, LOW: 16, MEDIUM: 64, HIGH: 128 }
const BUDGETED_TOKENS_MAX = 160
/** Without a word about it these models decide for themselves. */
const UNASKED_TOKENS = 32

export function thinkingOf(body: JsonObject, model: GeminiModel): Thinking {
  const config = objectAt(body, 'generationConfig')
  const asked = objectAt(config, 'thinkingConfig')
  const wanted = model.isThirdGeneration
    ? (TOKENS_BY_LEVEL[textAt(asked, 'thinkingLevel').toUpperCase()] ?? UNASKED_TOKENS)
    : budgeted(numberAt(asked, 'thinkingBudget') ?? -1)
  // Thoughts count against the bound of the output: some room is left for an answer.
  const most = Math.floor((numberAt(config, 'maxOutputTokens') ?? model.outputTokensMax) / 2)
  return { tokens: Math.min(wanted, most), shown: asked.includeThoughts === true }
}

/** -1 leaves it to the model. */
function budgeted(budget: number): number {
  return budget < 0 ? UNASKED_TOKENS : Math.min(budget, BUDGETED_TOKENS_MAX)
}

/** The simulated proof that a part is the model's own: derived from what the part says. */
export function signatureOf(said: Json): string {
  return Buffer.from(`simulated ${seedOf('thought', JSON.stringify(said))}`).toString('base64')
}

/** What a caller may say where it has no signature, as the words are and as base64 of them. */
const UNSIGNED: ReadonlySet<string> = new Set(
  ['context_engineering_is_the_way_to_go', 'skip_thought_signature_validator'].flatMap((words) => [
    words,
    Buffer.from(words).toString('base64'),
  ]),
)

/** Whether a signature stands for what a part says. Base64 comes in either alphabet. */
export function isGenuine(signature: string, said: Json): boolean {
  if (UNSIGNED.has(signature)) return true
  return Buffer.from(signature, 'base64').equals(Buffer.from(signatureOf(said), 'base64'))
}
