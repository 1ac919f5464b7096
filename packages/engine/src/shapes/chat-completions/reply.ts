import type { ModelId, ProtocolName, ProviderId } from '@mesh/catalog/catalog.ts'
import { formatUsd, type NanoUsd } from '@mesh/catalog/money.ts'
import { inputTokens, outputTokens, type TokenBuckets } from '@mesh/catalog/token-buckets.ts'
import type { JsonObject } from '../../ask.ts'
import type { FinishReason } from '../../stream-event.ts'

/** What is known of an answer when its first byte leaves. */
export interface ReplyInfo {
  /** The call's id, `req_…`. */
  readonly id: string
  /** Unix time, in seconds, as OpenAI has it. */
  readonly createdSeconds: number
  /** Who answers. Absent when a call fails before anybody does. */
  readonly served?: {
    readonly model: ModelId
    readonly provider: ProviderId
    readonly protocol: ProtocolName
  }
  /** The caller wants usage in a chunk of its own. */
  readonly usageChunk: boolean
  /** The caller wants no reasoning in the answer. */
  readonly excludeReasoning: boolean
}

/** What is known of an answer when its charge is durable. */
export interface ReplyClosing {
  /** For choices that have no end of their own: an answer that is cut when credit ends has `length`. */
  readonly finishReason: FinishReason
  readonly usage: ReplyUsage
  readonly routing: JsonObject
}

/** What was used, and what the caller pays for it: `totalNano` is `upstreamNano` + `marginNano`. */
export interface ReplyUsage {
  readonly buckets: TokenBuckets
  readonly upstreamNano: NanoUsd
  readonly marginNano: NanoUsd
}

/** How an answer that has begun ends badly. */
export interface ReplyFailure {
  /** The body that the error would have had as an answer of its own: its `error` member. */
  readonly error: JsonObject
  readonly receiptId: string
  /** Usage up to the failure, where anything was used. */
  readonly usage?: ReplyUsage
}

/**
 * Usage in OpenAI's shape, as JSON text. `prompt_tokens` is all input and `completion_tokens` all output; the details
 * say what of it was cached, audio or reasoning. `cost` is written from its decimal digits, for money is never a
 * `number` here.
 */
export function renderUsage({ buckets, upstreamNano, marginNano }: ReplyUsage): string {
  const prompt = inputTokens(buckets)
  const completion = outputTokens(buckets)
  const total = formatUsd(upstreamNano + marginNano)
  const cacheWrites = buckets.cacheWrite5m + buckets.cacheWrite1h
  return (
    `{"prompt_tokens":${prompt},"completion_tokens":${completion},"total_tokens":${prompt + completion},` +
    `"prompt_tokens_details":{"cached_tokens":${buckets.cacheRead},"cache_write_tokens":${cacheWrites},` +
    `"audio_tokens":${buckets.inputAudio}},` +
    `"completion_tokens_details":{"reasoning_tokens":${buckets.reasoning},"audio_tokens":${buckets.outputAudio}},` +
    `"cost":${total},"cost_details":{"upstream_cost":"${formatUsd(upstreamNano)}",` +
    `"margin":"${formatUsd(marginNano)}","total":"${total}"}}`
  )
}

/** Says whose reasoning block it is, in OpenRouter's words, so that it comes back to where it was made. */
export function reasoningFormat(info: ReplyInfo): string {
  switch (info.served?.protocol) {
    case 'anthropic_messages':
    case 'bedrock_converse':
      return 'anthropic-claude-v1'
    case 'gemini':
      return 'google-gemini-v1'
    default:
      return 'unknown'
  }
}
