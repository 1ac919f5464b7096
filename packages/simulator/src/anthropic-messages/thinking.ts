import type { JsonObject } from '../json.ts'
import { numberAt, objectAt, textAt } from '../json.ts'
import { seedOf } from '../seed.ts'
import type { ClaudeModel } from './models.ts'

/** Thinking that a request turns on, in the three ways that Claude models know. */
export interface Thinking {
  readonly tokens: number
  /** Whether the block holds the text, or only the signature of what was thought. */
  readonly shown: boolean
}

const tokensByEffort: Readonly<Record<string, number>> = {
  low: 0,
  medium: 64,
  high: 128,
  xhigh: 256,
  max: 512,
}
const budgetedTokensMax = 160

export function thinkingOf(body: JsonObject, model: ClaudeModel): Thinking {
  const asked = objectAt(body, 'thinking')
  const display = textAt(asked, 'display')
  const shown = display === '' ? model.showsThinking : display === 'summarized'
  if (asked.type === 'enabled') {
    return { tokens: Math.min(numberAt(asked, 'budget_tokens') ?? 0, budgetedTokensMax), shown }
  }
  if (asked.type !== 'adaptive' && (asked.type === 'disabled' || !model.thinksUnasked))
    return { tokens: 0, shown }
  const effort = textAt(objectAt(body, 'output_config'), 'effort')
  const wanted = tokensByEffort[effort === '' ? 'medium' : effort] ?? 0
  // A model that decides for itself how long to think leaves room for an answer.
  return { tokens: Math.min(wanted, Math.floor((numberAt(body, 'max_tokens') ?? 0) / 2)), shown }
}

/** The simulated proof that a thinking block is the model's own: derived from what the block shows. */
export function signatureOf(thinking: string): string {
  return Buffer.from(`simulated ${seedOf('thinking', thinking)}`).toString('base64')
}
