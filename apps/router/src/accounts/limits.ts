import type { ModelId, ProviderId } from '@mesh/catalog/catalog.ts'
import { formatUsd, type NanoUsd } from '@mesh/catalog/money.ts'
import type { PrivacyClass } from '@mesh/engine/ask.ts'
import { reaches } from '@mesh/engine/privacy-class.ts'

/** What an account, a project or a key may do. Null is no limit. Counts are whole, money is nano-USD. */
export interface Limits {
  readonly requestsPerMinute: bigint | null
  readonly tokensPerMinute: bigint | null
  readonly maxConcurrentRequests: bigint | null
  readonly monthlyRequestLimit: bigint | null
  readonly monthlyTokenLimit: bigint | null
  readonly dailyUsdLimit: NanoUsd | null
  readonly monthlyUsdLimit: NanoUsd | null
  readonly totalUsdLimit: NanoUsd | null
  readonly maxUsdPerRequest: NanoUsd | null
  readonly allowedModels: readonly ModelId[] | null
  readonly allowedProviders: readonly ProviderId[] | null
  readonly minimumPrivacyClass: PrivacyClass | null
  readonly expiresAt: Date | null
}

export type LimitField = keyof Limits

/** Limits that were given; the others stay as they are. */
export type LimitsPatch = { readonly [Field in LimitField]?: Limits[Field] | undefined }

const COUNT_LIMITS = [
  'requestsPerMinute',
  'tokensPerMinute',
  'maxConcurrentRequests',
  'monthlyRequestLimit',
  'monthlyTokenLimit',
] as const satisfies readonly LimitField[]
const MONEY_LIMITS = [
  'dailyUsdLimit',
  'monthlyUsdLimit',
  'totalUsdLimit',
  'maxUsdPerRequest',
] as const satisfies readonly LimitField[]
/** Those that are counted or summed up over calls, and so for each account, project and key apart. */
const TALLIED_LIMITS = [
  ...COUNT_LIMITS,
  'dailyUsdLimit',
  'monthlyUsdLimit',
  'totalUsdLimit',
] as const satisfies readonly LimitField[]
const LIST_LIMITS = ['allowedModels', 'allowedProviders'] as const satisfies readonly LimitField[]
const LIMIT_FIELDS = [
  ...COUNT_LIMITS,
  ...MONEY_LIMITS,
  ...LIST_LIMITS,
  'minimumPrivacyClass',
  'expiresAt',
] as const

export const NO_LIMITS: Limits = {
  requestsPerMinute: null,
  tokensPerMinute: null,
  maxConcurrentRequests: null,
  monthlyRequestLimit: null,
  monthlyTokenLimit: null,
  dailyUsdLimit: null,
  monthlyUsdLimit: null,
  totalUsdLimit: null,
  maxUsdPerRequest: null,
  allowedModels: null,
  allowedProviders: null,
  minimumPrivacyClass: null,
  expiresAt: null,
}

/** The limits after a patch. */
export function patchLimits(limits: Limits, patch: LimitsPatch): Limits {
  const given = Object.fromEntries(Object.entries(patch).filter(([, value]) => value !== undefined))
  return { ...limits, ...given }
}

/** The first field of a patch that would allow more than a bound does. */
export function fieldBeyond(patch: LimitsPatch, bound: Limits): LimitField | undefined {
  return LIMIT_FIELDS.find((field) => patch[field] !== undefined && allowsMore(field, patch, bound))
}

function allowsMore(field: LimitField, patch: LimitsPatch, bound: Limits): boolean {
  switch (field) {
    case 'allowedModels':
      return namesMore(patch.allowedModels ?? null, bound.allowedModels)
    case 'allowedProviders':
      return namesMore(patch.allowedProviders ?? null, bound.allowedProviders)
    case 'minimumPrivacyClass':
      return !reaches(patch.minimumPrivacyClass ?? 'standard', bound.minimumPrivacyClass ?? 'standard')
    default:
      return isMore(patch[field] ?? null, bound[field])
  }
}

function isMore(wanted: bigint | Date | null, bound: bigint | Date | null): boolean {
  return bound !== null && (wanted === null || wanted > bound)
}

function namesMore<Name>(wanted: readonly Name[] | null, bound: readonly Name[] | null): boolean {
  return bound !== null && (wanted === null || !wanted.every((name) => bound.includes(name)))
}

/** Whether any limit holds for all calls together: whoever makes some of them elsewhere escapes it. */
export function tallies(limits: Limits): boolean {
  return TALLIED_LIMITS.some((field) => limits[field] !== null)
}

/** What two sets of limits allow together. */
export function tighterOf(one: Limits, other: Limits): Limits {
  return {
    requestsPerMinute: lesser(one.requestsPerMinute, other.requestsPerMinute),
    tokensPerMinute: lesser(one.tokensPerMinute, other.tokensPerMinute),
    maxConcurrentRequests: lesser(one.maxConcurrentRequests, other.maxConcurrentRequests),
    monthlyRequestLimit: lesser(one.monthlyRequestLimit, other.monthlyRequestLimit),
    monthlyTokenLimit: lesser(one.monthlyTokenLimit, other.monthlyTokenLimit),
    dailyUsdLimit: lesser(one.dailyUsdLimit, other.dailyUsdLimit),
    monthlyUsdLimit: lesser(one.monthlyUsdLimit, other.monthlyUsdLimit),
    totalUsdLimit: lesser(one.totalUsdLimit, other.totalUsdLimit),
    maxUsdPerRequest: lesser(one.maxUsdPerRequest, other.maxUsdPerRequest),
    allowedModels: intersect(one.allowedModels, other.allowedModels),
    allowedProviders: intersect(one.allowedProviders, other.allowedProviders),
    minimumPrivacyClass: stricter(one.minimumPrivacyClass, other.minimumPrivacyClass),
    expiresAt: lesser(one.expiresAt, other.expiresAt),
  }
}

function lesser<Value extends bigint | Date>(one: Value | null, other: Value | null): Value | null {
  if (one === null || other === null) return one ?? other
  return one < other ? one : other
}

function stricter(one: PrivacyClass | null, other: PrivacyClass | null): PrivacyClass | null {
  if (one === null || other === null) return one ?? other
  return reaches(one, other) ? one : other
}

function intersect<Name>(one: readonly Name[] | null, other: readonly Name[] | null): readonly Name[] | null {
  if (one === null || other === null) return one ?? other
  return one.filter((name) => other.includes(name))
}

/** Limits as the API shows them: every field, null where there is none. */
export function renderLimits(limits: Limits): Record<LimitField, unknown> {
  const counts = COUNT_LIMITS.map((field) => [field, limits[field] === null ? null : Number(limits[field])])
  const money = MONEY_LIMITS.map((field) => [field, limits[field] === null ? null : formatUsd(limits[field])])
  return {
    ...Object.fromEntries([...counts, ...money]),
    allowedModels: limits.allowedModels,
    allowedProviders: limits.allowedProviders,
    minimumPrivacyClass: limits.minimumPrivacyClass,
    expiresAt: limits.expiresAt?.toISOString() ?? null,
  }
}
