import { formatUsd } from '@mesh/catalog/money.ts'
import { sql } from 'kysely'
import { firstIdAt } from '../ids.ts'
import type { Database } from '../storage/database.ts'
import type { Reader } from './events.ts'

/** The spans that a summary can look back over, in milliseconds. */
export const MONITORING_WINDOWS = {
  '5m': 300_000,
  '15m': 900_000,
  '1h': 3_600_000,
  '6h': 21_600_000,
  '24h': 86_400_000,
  '7d': 604_800_000,
} as const

export type MonitoringWindow = keyof typeof MONITORING_WINDOWS

/**
 * How one world of one account does: its calls of the last while, how many failed, how long they took and what they
 * cost, in all and by what served them. A call that its caller left, or that was refused for a limit, is no failure.
 */
export async function monitoringSummary(
  database: Database,
  reader: Reader,
  window: MonitoringWindow,
  nowMs: number,
): Promise<Record<string, unknown>> {
  const fromMs = nowMs - MONITORING_WINDOWS[window]
  const rows = await database.query
    .selectFrom('events')
    .select(['model_served', 'provider'])
    .select([
      sql<boolean>`grouping(model_served) = 1`.as('is_all'),
      sql<bigint>`count(*)`.as('requests'),
      sql<bigint>`count(*) filter (where http_status >= 500)`.as('failed'),
      sql<bigint>`count(*) filter (where http_status between 400 and 499)`.as('refused'),
      sql<bigint>`coalesce(sum(total_nano), 0)::bigint`.as('total_nano'),
      sql<number | null>`percentile_disc(0.5) within group (order by first_token_ms)`.as('first_token_p50'),
      sql<number | null>`percentile_disc(0.95) within group (order by first_token_ms)`.as('first_token_p95'),
      sql<number | null>`percentile_disc(0.5) within group (order by duration_ms)`.as('duration_p50'),
      sql<number | null>`percentile_disc(0.95) within group (order by duration_ms)`.as('duration_p95'),
    ])
    .where('account_id', '=', reader.accountId)
    .where('livemode', '=', reader.livemode)
    .where('id', '>=', firstIdAt('req', fromMs))
    .groupBy(sql`grouping sets ((), (model_served, provider))`)
    .orderBy('model_served')
    .orderBy('provider')
    .execute()
  const all = rows.find(({ is_all }) => is_all)
  return {
    object: 'monitoring_summary',
    window,
    from: new Date(fromMs).toISOString(),
    to: new Date(nowMs).toISOString(),
    ...(all ? sums(all) : {}),
    byEndpoint: rows
      .filter(({ is_all, model_served }) => !is_all && model_served !== null)
      .map((row) => ({ model: row.model_served, provider: row.provider, ...sums(row) })),
  }
}

interface Row {
  readonly requests: bigint
  readonly failed: bigint
  readonly refused: bigint
  readonly total_nano: bigint
  readonly first_token_p50: number | null
  readonly first_token_p95: number | null
  readonly duration_p50: number | null
  readonly duration_p95: number | null
}

function sums(row: Row) {
  const requests = Number(row.requests)
  const failed = Number(row.failed)
  return {
    requests,
    failed,
    refused: Number(row.refused),
    errorRate: requests === 0 ? null : Math.round((failed / requests) * 10_000) / 10_000,
    totalUsd: formatUsd(row.total_nano),
    firstTokenMs: { p50: row.first_token_p50, p95: row.first_token_p95 },
    durationMs: { p50: row.duration_p50, p95: row.duration_p95 },
  }
}
