import type OpenAI from 'openai'
import type { APIPromise } from 'openai'
import type { BillingReason } from '../billing-reasons.ts'
import type { Routing } from '../call.ts'
import type { ErrorCode } from '../error-codes.ts'
import type { AccountId, CallId, KeyId, ProjectId, ReceiptId } from '../ids.ts'
import { type ListParams, listOf, type MeshList } from '../page.ts'
import type { PrivacyReport } from '../privacy.ts'
import type { TokenBuckets } from '../token-buckets.ts'

/** One request to one endpoint on the way of a call. */
export interface Attempt {
  readonly model: string
  readonly provider: string
  readonly outcome: string
  readonly reason?: string
  readonly status?: number
  readonly durationMs: number
}

/** What a call left behind. It holds no content. USD as decimal strings. */
export interface RequestEvent {
  readonly id: CallId
  readonly object: 'request_event'
  readonly livemode: boolean
  readonly createdAt: string
  readonly accountId: AccountId
  readonly projectId: ProjectId
  readonly keyId: KeyId
  readonly modelRequested: string | null
  readonly modelServed: string | null
  readonly provider: string | null
  readonly status: number
  readonly errorCode: ErrorCode | null
  readonly stream: boolean
  readonly billingReason: BillingReason
  readonly finishReason: string | null
  readonly tokens: TokenBuckets
  readonly usageSource: 'reported' | 'estimated' | 'none'
  readonly usageFlags: readonly string[]
  readonly cost: {
    readonly upstreamCostUsd: string
    readonly marginUsd: string
    readonly totalUsd: string
    readonly heldUsd: string
  }
  readonly priceListId: string | null
  readonly receiptId: ReceiptId | null
  readonly attempts: readonly Attempt[]
  /** A refused call has only what was known of it. */
  readonly routing: Partial<Routing>
  readonly privacy: PrivacyReport
  readonly firstTokenMs: number | null
  readonly durationMs: number
}

/** `mesh.logs`: the events of calls, for keys with the scope `usage`. */
export class Logs {
  readonly #client: OpenAI

  constructor(client: OpenAI) {
    this.#client = client
  }

  list(query: ListParams = {}, options?: OpenAI.RequestOptions): MeshList<RequestEvent> {
    return listOf(this.#client, '/logs', { ...query }, options)
  }

  /** The event of a call, by the id of its answer. */
  retrieve(id: CallId, options?: OpenAI.RequestOptions): APIPromise<RequestEvent> {
    return this.#client.get(`/logs/${encodeURIComponent(id)}`, options)
  }
}
