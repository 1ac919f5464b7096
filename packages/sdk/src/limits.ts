import type { PrivacyClass } from './privacy.ts'

/** What an account, a project or a key may do, as MESH shows it. Null is no limit; USD are decimal strings. */
export interface Limits {
  readonly requestsPerMinute: number | null
  readonly tokensPerMinute: number | null
  readonly maxConcurrentRequests: number | null
  readonly monthlyRequestLimit: number | null
  readonly monthlyTokenLimit: number | null
  readonly dailyUsdLimit: string | null
  readonly monthlyUsdLimit: string | null
  readonly totalUsdLimit: string | null
  readonly maxUsdPerRequest: string | null
  readonly allowedModels: readonly string[] | null
  readonly allowedProviders: readonly string[] | null
  readonly minimumPrivacyClass: PrivacyClass | null
  /** RFC 3339. */
  readonly expiresAt: string | null
}

/** USD, as a decimal string with at most nine places. A number is taken as it is written. */
export type Usd = string | number

/** Limits to set: those that are not named stay as they are, null takes one away. */
export interface LimitsPatch {
  readonly requestsPerMinute?: number | null | undefined
  readonly tokensPerMinute?: number | null | undefined
  readonly maxConcurrentRequests?: number | null | undefined
  readonly monthlyRequestLimit?: number | null | undefined
  readonly monthlyTokenLimit?: number | null | undefined
  readonly dailyUsdLimit?: Usd | null | undefined
  readonly monthlyUsdLimit?: Usd | null | undefined
  readonly totalUsdLimit?: Usd | null | undefined
  readonly maxUsdPerRequest?: Usd | null | undefined
  readonly allowedModels?: string[] | null | undefined
  readonly allowedProviders?: string[] | null | undefined
  readonly minimumPrivacyClass?: PrivacyClass | null | undefined
  readonly expiresAt?: string | null | undefined
}
