import type OpenAI from 'openai'
import type { APIPromise } from 'openai'
import type { AccountId, KeyId, ProjectId } from '../ids.ts'
import type { Limits, LimitsPatch } from '../limits.ts'
import { type ListParams, listOf, type MeshList } from '../page.ts'

/** What a key may do: all inference, reading records, managing keys and projects, payments. */
export type Scope = 'chat' | 'usage' | 'keys' | 'billing'

/** A key, without its secret, which is shown once and never again. */
export interface Key {
  readonly id: KeyId
  readonly name: string
  readonly accountId: AccountId
  readonly projectId: ProjectId
  readonly livemode: boolean
  readonly scopes: Scope[]
  readonly status: 'active' | 'grace' | 'replaced' | 'revoked' | 'expired'
  /** The last four characters, by which people tell keys apart. */
  readonly secretTail: string
  readonly limits: Limits
  /** The first key of the chain of rotations that made it. */
  readonly madeBy: KeyId | null
  readonly successorId: KeyId | null
  readonly stopsAt: string | null
  readonly revokedAt: string | null
  readonly createdAt: string
}

/** A key that was just made: the only answer that ever holds its secret. */
export interface MadeKey extends Key {
  readonly secret: string
}

/** What is counted against a key's limits. USD as decimal strings. */
export interface KeyUsage {
  readonly requestsThisMinute: number
  readonly tokensThisMinute: number
  readonly concurrentRequests: number
  readonly requestsThisMonth: number
  readonly tokensThisMonth: number
  readonly usdToday: string
  readonly usdThisMonth: string
  readonly usdTotal: string
  readonly heldUsd: string
}

/** What is left of a limit, and when it begins anew: null for limits that never do. */
export interface Remaining {
  readonly remaining: number | string
  readonly resetsAt: string | null
}

/** The key that asks, with what it used and what its limits leave. */
export interface CurrentKey extends Key {
  readonly usage: KeyUsage
  readonly remaining: Partial<Record<keyof Limits, Remaining>>
}

export interface KeyCreateParams {
  readonly name: string
  /** For operators: whose key it is to be. */
  readonly accountId?: AccountId | undefined
  /** The account's default project where none is named. */
  readonly projectId?: ProjectId | undefined
  /** `['chat']` where none are named. A key cannot grant what it has not. */
  readonly scopes?: Scope[] | undefined
  readonly limits?: LimitsPatch | undefined
  /** The world of the key that asks where nothing is said. */
  readonly livemode?: boolean | undefined
}

export interface KeyUpdateParams {
  readonly name?: string | undefined
  readonly scopes?: Scope[] | undefined
}

export interface KeyRotateParams {
  /** How long the old key goes on beside the new one: 0 to 86400 seconds, 0 where nothing is said. */
  readonly graceSeconds?: number | undefined
}

/** What makes a secret is asked for once: an answer that was lost would leave a key that nobody has. */
const NEVER_AGAIN = { maxRetries: 0 } as const

/** `mesh.keys`: keys of the account, for keys with the scope `keys`. */
export class Keys {
  readonly #client: OpenAI

  constructor(client: OpenAI) {
    this.#client = client
  }

  /** Makes a key. Its `secret` is in this answer alone. Not retried by itself. */
  create(body: KeyCreateParams, options?: OpenAI.RequestOptions): APIPromise<MadeKey> {
    return this.#client.post('/api-keys', { body, ...NEVER_AGAIN, ...options })
  }

  list(query: ListParams = {}, options?: OpenAI.RequestOptions): MeshList<Key> {
    return listOf(this.#client, '/api-keys', { ...query }, options)
  }

  retrieve(id: KeyId, options?: OpenAI.RequestOptions): APIPromise<Key> {
    return this.#client.get(pathOf(id), options)
  }

  /** The key of this client, with what its limits leave. Any scope will do. */
  current(options?: OpenAI.RequestOptions): APIPromise<CurrentKey> {
    return this.#client.get('/api-keys/current', options)
  }

  update(id: KeyId, body: KeyUpdateParams, options?: OpenAI.RequestOptions): APIPromise<Key> {
    return this.#client.patch(pathOf(id), { body, ...options })
  }

  /** Sets limits: those that are not named stay as they are, null takes one away. */
  updateLimits(id: KeyId, limits: LimitsPatch, options?: OpenAI.RequestOptions): APIPromise<Key> {
    return this.#client.patch(`${pathOf(id)}/limits`, { body: limits, ...options })
  }

  /**
   * Makes a key's one successor, which inherits its limits and what is counted already. The old key stops now, or
   * when the grace ends. Not retried by itself.
   */
  rotate(id: KeyId, body: KeyRotateParams = {}, options?: OpenAI.RequestOptions): APIPromise<MadeKey> {
    return this.#client.post(`${pathOf(id)}/rotate`, { body, ...NEVER_AGAIN, ...options })
  }

  /** Stops a key, and every key that was made with it, at their next request. */
  revoke(id: KeyId, options?: OpenAI.RequestOptions): APIPromise<Key> {
    return this.#client.delete(pathOf(id), options)
  }
}

function pathOf(id: string): string {
  return `/api-keys/${encodeURIComponent(id)}`
}
