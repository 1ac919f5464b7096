import { formatUsd } from '@mesh/catalog/money.ts'
import { inputTokens, outputTokens } from '@mesh/catalog/token-buckets.ts'
import type { ReplyUsage } from '../reply.ts'

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
