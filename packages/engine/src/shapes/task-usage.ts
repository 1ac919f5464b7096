import { formatUsd } from '@mesh/catalog/money.ts'
import { inputTokens } from '@mesh/catalog/token-buckets.ts'
import type { ReplyUsage } from './reply.ts'

/** Usage of a call that generates nothing, as JSON text. `cost` is written from its decimal digits. */
export function renderTaskUsage({ buckets, upstreamNano, marginNano }: ReplyUsage): string {
  const tokens = inputTokens(buckets)
  const total = formatUsd(upstreamNano + marginNano)
  return (
    `{"prompt_tokens":${tokens},"total_tokens":${tokens},"cost":${total},` +
    `"cost_details":{"upstream_cost":"${formatUsd(upstreamNano)}","margin":"${formatUsd(marginNano)}","total":"${total}"}}`
  )
}
