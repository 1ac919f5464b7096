import type { NanoUsd, PicoUsd } from '@mesh/catalog/money.ts'
import type { TokenBuckets } from '@mesh/catalog/token-buckets.ts'
import type { AccountId, CallId, KeyId, LedgerEntryId, ProjectId, ReceiptId } from '../ids.ts'
import type { BillingReason } from '../records/billing-reason.ts'

/** Whose money and whose limits a call uses. */
export interface Payer {
  readonly accountId: AccountId
  readonly projectId: ProjectId
  readonly keyId: KeyId
  /** The first key of the rotation chain: limits and counters are kept under it. */
  readonly lineageId: KeyId
  readonly parentLineageId?: KeyId
  readonly livemode: boolean
  /** The `policy_version` that the caller was authenticated against. */
  readonly policyVersion: bigint
}

/** Asks for money to be set aside for a call that is about to leave. */
export interface HoldRequest {
  readonly callId: CallId
  readonly payer: Payer
  /** The dearest reachable price of the whole input bound. */
  readonly inputNano: NanoUsd
  readonly inputTokens: number
  /** The dearest reachable price of one output token. */
  readonly outputPicoPerToken: PicoUsd
  /** Output tokens that the call would like to hold, and the fewest that make it worth running. */
  readonly outputTokensWanted: number
  readonly outputTokensFloor: number
  /** What the providers could bill at most for input and wanted output: absorbed if this router dies. */
  readonly upstreamCeilingNano: NanoUsd
  readonly model: string
  readonly provider: string
  readonly priceListId: string
}

export type HoldDecision = HoldGranted | HoldRefused

export interface HoldGranted {
  readonly granted: true
  readonly heldNano: NanoUsd
  /** Between the floor and what was wanted. */
  readonly outputTokens: number
  /** What lowered it, when less than wanted was granted. */
  readonly loweredBy?: LimitName
  readonly rates: RateWindow
}

export interface HoldRefused {
  readonly granted: false
  readonly reason:
    | 'stale'
    | 'insufficient_credits'
    | 'limit_exceeded'
    | 'rate_limit_exceeded'
    | 'too_many_concurrent'
  readonly scope?: 'account' | 'project' | 'key'
  readonly limit?: LimitName
  /** Until the window in question ends, by the database's clock. */
  readonly retryAfterMs?: number
  /** What the call would have needed and what there was. */
  readonly neededNano?: NanoUsd
  readonly availableNano?: NanoUsd
  readonly rates?: RateWindow
}

/** The limits' names as the API writes them, and the balance itself. */
export type LimitName =
  | 'balance'
  | 'requestsPerMinute'
  | 'tokensPerMinute'
  | 'maxConcurrentRequests'
  | 'monthlyRequestLimit'
  | 'monthlyTokenLimit'
  | 'dailyUsdLimit'
  | 'monthlyUsdLimit'
  | 'totalUsdLimit'
  | 'maxUsdPerRequest'

/** The tightest minute window among the call's subjects after this decision: OpenAI's six rate-limit headers. */
export interface RateWindow {
  readonly requestLimit?: number
  readonly requestsRemaining?: number
  readonly tokenLimit?: number
  readonly tokensRemaining?: number
  /** Until the minute ends. */
  readonly resetMs: number
}

/** Asks a running call's hold to be widened to `outputTokens` in all. */
export interface ExtendRequest {
  readonly callId: CallId
  readonly payer: Payer
  readonly outputTokensHeld: number
  readonly outputTokensWanted: number
  readonly outputPicoPerToken: PicoUsd
  readonly upstreamPicoPerToken: PicoUsd
}

/** What is held after an extension: the same as before where it was refused, less than wanted where it was lowered. */
export interface ExtendDecision {
  readonly outputTokens: number
  readonly heldNano: NanoUsd
  /** What was in the way, where not all of it was granted. */
  readonly loweredBy?: LimitName
}

/** The end of a call. Posted exactly once by call id, at the price list named in the hold, and never refused. */
export interface Settlement {
  readonly callId: CallId
  readonly payer: Payer
  /** What was held when the call ended. `totalNano` is never more. */
  readonly heldNano: NanoUsd
  readonly heldTokens: number
  /** What the customer pays: 0 for everything that is not billed. */
  readonly totalNano: NanoUsd
  /** List-price cost of what the customer pays for; `totalNano` less this is the margin. */
  readonly upstreamNano: NanoUsd
  /** List-price cost that MESH carries itself, by provider. */
  readonly absorbed: readonly { readonly provider: string; readonly amountNano: NanoUsd }[]
  /** Tokens counted against token limits. */
  readonly tokens: number
  readonly provider?: string
  readonly event: CallEvent
  /** The receipt's signed bytes-to-be; absent for a call that never held anything. */
  readonly receipt?: { readonly id: ReceiptId; readonly payload: Uint8Array }
  /** Whether the call's idempotency key stays taken (billed) or is freed. */
  readonly idempotency?: 'billed' | 'freed'
}

/** What a call leaves behind in `events`. Words and numbers from closed lists; never content. */
export interface CallEvent {
  readonly createdAt: Date
  readonly modelRequested?: string
  readonly modelServed?: string
  readonly provider?: string
  readonly httpStatus: number
  readonly errorCode?: string
  readonly stream: boolean
  readonly billingReason: BillingReason
  readonly finishReason?: string
  readonly usageSource: 'reported' | 'estimated' | 'none'
  readonly usageFlags: readonly string[]
  readonly buckets: TokenBuckets
  readonly priceListId?: string
  readonly dispatchedAt?: Date
  readonly attempts: readonly EventAttempt[]
  readonly routing: Readonly<Record<string, unknown>>
  readonly privacy: Readonly<Record<string, unknown>>
  readonly firstTokenMs?: number
  readonly durationMs: number
}

export interface EventAttempt {
  readonly model: string
  readonly provider: string
  readonly outcome: string
  readonly reason?: string
  readonly status?: number
  readonly durationMs: number
}

/** A settlement that is durable. `duplicate` when this call had been settled before. */
export interface Settled {
  readonly ledgerEntryId?: LedgerEntryId
  readonly duplicate: boolean
  /**
   * It is settled at nothing: its router was taken for dead, or a crash of the database lost its hold, and what was held
   * for it is spent by others. See `storage/migrations/0010-late-charges.sql` and `0011-lost-holds.sql`.
   */
  readonly isUnpayable?: true
}

/**
 * The books, as a call sees them. Every method's promise resolves when its effect is in PostgreSQL (settlements: on
 * disk). They reject with `storage_unavailable` when the database cannot be reached within the caller's patience.
 */
export interface Books {
  hold(request: HoldRequest): Promise<HoldDecision>
  extend(request: ExtendRequest): Promise<ExtendDecision>
  /**
   * What `insteadIfLate` makes is posted in the settlement's place once the caller's patience has ended: a call of
   * which nothing was delivered is then not charged, also where the first one turns out to have been posted (it is
   * refunded).
   */
  settle(settlement: Settlement, insteadIfLate?: () => Settlement): Promise<Settled>
  /**
   * Says that a call will never be settled, for a fault of our own: its hold is renewed no longer, and the reaper ends
   * it. Nothing happens to a call whose settlement waits to be posted.
   */
  abandon(callId: CallId): void
}
