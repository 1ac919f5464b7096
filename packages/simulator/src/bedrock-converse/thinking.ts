import { thinkingOf } from '../anthropic-messages/thinking.ts'
import { type JsonObject, objectAt, textAt } from '../json.ts'
import type { BedrockModel } from './models.ts'

/** What a request makes a model think, and what of it is shown. */
export interface ConverseThinking {
  readonly tokens: number
  /** Claude proves its thinking with a signature, with or without its text; Nova redacts it; others show it bare. */
  readonly shows: 'signed' | 'signature' | 'redacted' | 'bare'
}

const tokensByEffort: Readonly<Record<string, number>> = { none: 0, low: 32, medium: 64, high: 128 }

export function converseThinking(body: JsonObject, model: BedrockModel): ConverseThinking {
  const own = objectAt(body, 'additionalModelRequestFields')
  if (model.claude) {
    const { maxTokens } = objectAt(body, 'inferenceConfig')
    const asked = { ...own, max_tokens: maxTokens ?? model.outputTokensMax }
    const { tokens, shown } = thinkingOf(asked, model.claude)
    return { tokens, shows: shown ? 'signed' : 'signature' }
  }
  if (model.vendor === 'amazon') {
    const config = objectAt(own, 'reasoningConfig')
    const effort = config.type === 'enabled' ? textAt(config, 'maxReasoningEffort') : 'none'
    return { tokens: tokensByEffort[effort] ?? 0, shows: 'redacted' }
  }
  const effort = textAt(own, 'reasoning_effort') || textAt(own, 'reasoning_config')
  const unasked = model.thinksUnasked ? 'medium' : 'none'
  return { tokens: tokensByEffort[effort === '' ? unasked : effort] ?? 0, shows: 'bare' }
}
