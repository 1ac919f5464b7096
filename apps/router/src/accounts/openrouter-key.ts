import { formatUsd, type NanoUsd } from '@mesh/catalog/money.ts'
import type { Book } from './accounts.ts'
import type { Caller } from './caller.ts'
import type { Usage } from './key-usage.ts'

/**
 * The current key and its account as OpenRouter shows them (https://openrouter.ai/docs/api-reference/limits), for
 * programs written against it. Its amounts are JSON numbers, so these are too.
 */
export function renderOpenRouterKey(caller: Caller, usage: Usage) {
  const { limits, name } = caller.key
  const { limit, used, reset } = openRouterLimit(caller, usage)
  return {
    data: {
      label: name,
      limit: limit === null ? null : asNumber(limit),
      limit_remaining: limit === null ? null : asNumber(limit > used ? limit - used : 0n),
      limit_reset: reset,
      usage: asNumber(usage.totalNano),
      usage_daily: asNumber(usage.dayNano),
      usage_monthly: asNumber(usage.monthNano),
      is_free_tier: false,
      is_management_key: caller.scopes.includes('keys'),
      expires_at: limits.expiresAt?.toISOString() ?? null,
      rate_limit: {
        // OpenRouter writes -1 where there is none.
        requests: limits.requestsPerMinute === null ? -1 : Number(limits.requestsPerMinute),
        interval: '1m',
      },
    },
  }
}

/** All credit that the account ever had in this world, and what of it is spent. */
export function renderOpenRouterCredits(book: Book, usage: Usage) {
  const spent = usage.totalNano - usage.heldNano
  return { data: { total_credits: asNumber(book.balanceNano + spent), total_usage: asNumber(spent) } }
}

/** OpenRouter knows one limit a key; MESH shows the one that resets last of those that are set. */
function openRouterLimit({ key: { limits } }: Caller, usage: Usage) {
  if (limits.totalUsdLimit !== null)
    return { limit: limits.totalUsdLimit, used: usage.totalNano, reset: null }
  if (limits.monthlyUsdLimit !== null) {
    return { limit: limits.monthlyUsdLimit, used: usage.monthNano, reset: 'monthly' as const }
  }
  if (limits.dailyUsdLimit !== null) {
    return { limit: limits.dailyUsdLimit, used: usage.dayNano, reset: 'daily' as const }
  }
  return { limit: null, used: 0n, reset: null }
}

/** For display only: nothing is ever calculated from it. */
function asNumber(amount: NanoUsd): number {
  return Number(formatUsd(amount))
}
