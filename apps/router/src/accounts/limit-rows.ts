import type { ModelId } from '@mesh/catalog/catalog.ts'
import type { PrivacyClass } from '@mesh/engine/ask.ts'
import { PRIVACY_CLASSES } from '@mesh/engine/privacy-class.ts'
import type { Kysely, Selectable } from 'kysely'
import type { AccountId, KeyId, ProjectId } from '../ids.ts'
import type { LimitsTable, Tables } from '../storage/tables.ts'
import type { Limits } from './limits.ts'

/** The columns of `limits` that hold them. */
export type LimitColumns = Pick<
  Selectable<LimitsTable>,
  Exclude<keyof LimitsTable, 'subject_id' | 'account_id' | 'kind'>
>

/** Their names in a query that joins `limits`. */
export const LIMIT_SELECTION = [
  'limits.requests_per_minute',
  'limits.tokens_per_minute',
  'limits.max_concurrent_requests',
  'limits.monthly_request_limit',
  'limits.monthly_token_limit',
  'limits.daily_nano',
  'limits.monthly_nano',
  'limits.total_nano',
  'limits.max_nano_per_request',
  'limits.allowed_models',
  'limits.allowed_providers',
  'limits.minimum_privacy_class',
  'limits.expires_at',
] as const satisfies readonly `limits.${keyof LimitColumns}`[]

/** Limits from their row. */
export function readLimits(row: LimitColumns): Limits {
  return {
    requestsPerMinute: row.requests_per_minute,
    tokensPerMinute: row.tokens_per_minute,
    maxConcurrentRequests: row.max_concurrent_requests,
    monthlyRequestLimit: row.monthly_request_limit,
    monthlyTokenLimit: row.monthly_token_limit,
    dailyUsdLimit: row.daily_nano,
    monthlyUsdLimit: row.monthly_nano,
    totalUsdLimit: row.total_nano,
    maxUsdPerRequest: row.max_nano_per_request,
    // Written by `limitsSchema` alone, which lets nothing but catalogue ids through.
    allowedModels: row.allowed_models as ModelId[] | null,
    allowedProviders: row.allowed_providers,
    minimumPrivacyClass: readClass(row.minimum_privacy_class),
    expiresAt: row.expires_at,
  }
}

/** Limits as their row's columns. */
export function limitColumns(limits: Limits): LimitColumns {
  return {
    requests_per_minute: limits.requestsPerMinute,
    tokens_per_minute: limits.tokensPerMinute,
    max_concurrent_requests: limits.maxConcurrentRequests,
    monthly_request_limit: limits.monthlyRequestLimit,
    monthly_token_limit: limits.monthlyTokenLimit,
    daily_nano: limits.dailyUsdLimit,
    monthly_nano: limits.monthlyUsdLimit,
    total_nano: limits.totalUsdLimit,
    max_nano_per_request: limits.maxUsdPerRequest,
    allowed_models: limits.allowedModels === null ? null : [...limits.allowedModels],
    allowed_providers: limits.allowedProviders === null ? null : [...limits.allowedProviders],
    minimum_privacy_class: limits.minimumPrivacyClass,
    expires_at: limits.expiresAt,
  }
}

/** Stores the limits of a new account, project or key. */
export async function insertLimits(
  transaction: Kysely<Tables>,
  accountId: AccountId,
  subjectId: AccountId | ProjectId | KeyId,
  limits: Limits,
): Promise<void> {
  const kind = subjectId.startsWith('acct_') ? 'account' : subjectId.startsWith('proj_') ? 'project' : 'key'
  await transaction
    .insertInto('limits')
    .values({ subject_id: subjectId, account_id: accountId, kind, ...limitColumns(limits) })
    .execute()
}

/** Replaces the limits of an account, a project or a key lineage. */
export async function storeLimits(
  transaction: Kysely<Tables>,
  subjectId: AccountId | ProjectId | KeyId,
  limits: Limits,
): Promise<void> {
  await transaction
    .updateTable('limits')
    .set(limitColumns(limits))
    .where('subject_id', '=', subjectId)
    .execute()
}

/** A class that this build does not know is one that it cannot reach: the strictest. */
function readClass(stored: string | null): PrivacyClass | null {
  if (stored === null) return null
  return PRIVACY_CLASSES.find((known) => known === stored) ?? 'confidential'
}
