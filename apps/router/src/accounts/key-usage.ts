import { formatUsd, type NanoUsd } from '@mesh/catalog/money.ts'
import { type Kysely, type Selectable, sql } from 'kysely'
import type { AccountId, KeyId, ProjectId } from '../ids.ts'
import type { CountersTable, Tables } from '../storage/tables.ts'
import type { LimitField, Limits } from './limits.ts'

/** What a subject has used in the windows that run now, by the database's clock. What is held counts as used. */
export interface Usage {
  readonly minuteRequests: bigint
  readonly minuteTokens: bigint
  readonly activeRequests: bigint
  readonly dayNano: NanoUsd
  readonly monthRequests: bigint
  readonly monthTokens: bigint
  readonly monthNano: NanoUsd
  readonly totalNano: NanoUsd
  readonly heldNano: NanoUsd
  readonly minuteEnds: Date
  readonly dayEnds: Date
  readonly monthEnds: Date
}

/** Reads what an account, a project or a key lineage has used in one world. */
export async function readUsage(
  query: Kysely<Tables>,
  subjectId: AccountId | ProjectId | KeyId,
  livemode: boolean,
): Promise<Usage> {
  const counters = await query
    .selectFrom('counters')
    .selectAll()
    .where('subject_id', '=', subjectId)
    .where('livemode', '=', livemode)
    .executeTakeFirst()
  // Read after the counters: a window that ended in between is then shown as ended, not as used up.
  const windows = await sql<Windows>`
    select window_start('minute', at) as minute, window_start('minute', at) + interval '1 minute' as minute_ends,
      window_start('day', at) as day, window_start('day', at) + interval '1 day' as day_ends,
      window_start('month', at) as month, window_start('month', at) + interval '1 month' as month_ends
    from (select mesh_now() as at) clock`.execute(query)
  const [window] = windows.rows
  if (!window) throw new TypeError('a select without a table has one row')
  return usageIn(window, counters)
}

interface Windows {
  readonly minute: Date
  readonly minute_ends: Date
  readonly day: Date
  readonly day_ends: Date
  readonly month: Date
  readonly month_ends: Date
}

function usageIn(window: Windows, counters: Selectable<CountersTable> | undefined): Usage {
  // A minute further ahead is of a clock that was set back since: see 0005-busy-books.sql.
  const isPresent =
    counters && counters.minute_start >= window.minute && counters.minute_start <= window.minute_ends
  const minute = isPresent ? counters : undefined
  const day = counters && counters.day_start >= window.day ? counters : undefined
  const month = counters && counters.month_start >= window.month ? counters : undefined
  return {
    minuteRequests: minute?.minute_requests ?? 0n,
    minuteTokens: minute?.minute_tokens ?? 0n,
    activeRequests: counters?.active_requests ?? 0n,
    dayNano: day?.day_nano ?? 0n,
    monthRequests: month?.month_requests ?? 0n,
    monthTokens: month?.month_tokens ?? 0n,
    monthNano: month?.month_nano ?? 0n,
    totalNano: counters?.total_nano ?? 0n,
    heldNano: counters?.held_nano ?? 0n,
    minuteEnds: window.minute_ends,
    dayEnds: window.day_ends,
    monthEnds: window.month_ends,
  }
}

/** What is left of a limit, and when it begins anew: null for limits that never do. */
interface Remaining {
  readonly remaining: number | string
  readonly resetsAt: string | null
}

/** What remains of each limit that is set, and when it resets. */
export function renderRemaining(limits: Limits, usage: Usage): Partial<Record<LimitField, Remaining>> {
  const left = <Field extends LimitField>(
    field: Field,
    used: bigint,
    show: (rest: bigint) => number | string,
    ends?: Date,
  ) => {
    const limit = limits[field]
    if (typeof limit !== 'bigint') return {}
    const rest = limit > used ? limit - used : 0n
    return { [field]: { remaining: show(rest), resetsAt: ends?.toISOString() ?? null } }
  }
  return {
    ...left('requestsPerMinute', usage.minuteRequests, Number, usage.minuteEnds),
    ...left('tokensPerMinute', usage.minuteTokens, Number, usage.minuteEnds),
    ...left('maxConcurrentRequests', usage.activeRequests, Number),
    ...left('monthlyRequestLimit', usage.monthRequests, Number, usage.monthEnds),
    ...left('monthlyTokenLimit', usage.monthTokens, Number, usage.monthEnds),
    ...left('dailyUsdLimit', usage.dayNano, formatUsd, usage.dayEnds),
    ...left('monthlyUsdLimit', usage.monthNano, formatUsd, usage.monthEnds),
    ...left('totalUsdLimit', usage.totalNano, formatUsd),
  }
}

/** Usage as the API shows it. */
export function renderUsage(usage: Usage) {
  return {
    requestsThisMinute: Number(usage.minuteRequests),
    tokensThisMinute: Number(usage.minuteTokens),
    concurrentRequests: Number(usage.activeRequests),
    requestsThisMonth: Number(usage.monthRequests),
    tokensThisMonth: Number(usage.monthTokens),
    usdToday: formatUsd(usage.dayNano),
    usdThisMonth: formatUsd(usage.monthNano),
    usdTotal: formatUsd(usage.totalNano),
    heldUsd: formatUsd(usage.heldNano),
  }
}
