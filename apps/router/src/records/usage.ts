import { formatUsd } from '@mesh/catalog/money.ts'
import { sql } from 'kysely'
import type { Database } from '../storage/database.ts'
import type { Reader } from './events.ts'

/** What usage can be grouped by, and the column that stands behind each. */
export const USAGE_GROUPS = {
  day: sql<string>`to_char(created_at at time zone 'utc', 'YYYY-MM-DD')`,
  model: sql<string>`model_served`,
  provider: sql<string>`provider`,
  project: sql<string>`project_id`,
  key: sql<string>`key_id`,
} as const

export type UsageGroup = keyof typeof USAGE_GROUPS

/** Sums of one world of one account over a span of time, by the groups that were asked for. */
export async function summarizeUsage(
  database: Database,
  reader: Reader,
  span: { readonly from: Date; readonly to: Date },
  groups: readonly UsageGroup[],
): Promise<Record<string, unknown>[]> {
  const keys = groups.map((group) => USAGE_GROUPS[group])
  const rows = await database.query
    .selectFrom('events')
    .select(groups.map((group) => USAGE_GROUPS[group].as(group)))
    .select([
      sql<bigint>`count(*)`.as('requests'),
      sql<bigint>`coalesce(sum(total_nano), 0)::bigint`.as('total_nano'),
      sql<bigint>`coalesce(sum(upstream_nano), 0)::bigint`.as('upstream_nano'),
      sql<bigint>`coalesce(sum((buckets->>'input')::bigint + (buckets->>'cacheRead')::bigint
        + (buckets->>'cacheWrite5m')::bigint + (buckets->>'cacheWrite1h')::bigint
        + (buckets->>'inputAudio')::bigint + (buckets->>'inputImage')::bigint), 0)::bigint`.as(
        'input_tokens',
      ),
      sql<bigint>`coalesce(sum((buckets->>'output')::bigint + (buckets->>'reasoning')::bigint
        + (buckets->>'outputAudio')::bigint + (buckets->>'outputImage')::bigint), 0)::bigint`.as(
        'output_tokens',
      ),
    ])
    .where('account_id', '=', reader.accountId)
    .where('livemode', '=', reader.livemode)
    .where('created_at', '>=', span.from)
    .where('created_at', '<', span.to)
    .$if(keys.length > 0, (query) => query.groupBy(keys).orderBy(keys.map((key) => sql`${key}`)))
    .execute()
  return rows.map((row) => ({
    ...Object.fromEntries(groups.map((group) => [group, row[group] ?? null])),
    requests: Number(row.requests),
    inputTokens: Number(row.input_tokens),
    outputTokens: Number(row.output_tokens),
    upstreamCostUsd: formatUsd(row.upstream_nano),
    totalUsd: formatUsd(row.total_nano),
  }))
}
