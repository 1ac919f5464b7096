import type OpenAI from 'openai'
import type { APIPromise } from 'openai'
import { MeshClientError } from '../errors.ts'
import type { AccountId, ProjectId } from '../ids.ts'
import type { Limits, LimitsPatch } from '../limits.ts'

/** USD as decimal strings: what may be spent, and what running calls hold of it. */
export interface Book {
  readonly balanceUsd: string
  readonly heldUsd: string
}

/** An account. `balanceUsd` is of the world of the key that asks: to a test key it is test credit. */
export interface Account extends Book {
  readonly id: AccountId
  readonly name: string
  readonly plan: string
  readonly status: 'active' | 'suspended' | 'closed'
  readonly test: Book
  readonly limits: Limits
  readonly defaultProjectId: ProjectId
  readonly createdAt: string
}

/** `mesh.accounts` */
export class Accounts {
  readonly #client: OpenAI
  readonly #operatorKey: string | undefined

  constructor(client: OpenAI, operatorKey: string | undefined) {
    this.#client = client
    this.#operatorKey = operatorKey
  }

  /** The account of this client's key. Any scope will do. */
  current(options?: OpenAI.RequestOptions): APIPromise<Account> {
    return this.#client.get('/accounts/me', options)
  }

  /** Renames the account of this client's key, which must have the scope `keys`. */
  update(body: { readonly name?: string }, options?: OpenAI.RequestOptions): APIPromise<Account> {
    return this.#client.patch('/accounts/me', { body, ...options })
  }

  /**
   * Sets limits of an account, which only operators may: the client needs an `operatorKey`.
   * @throws MeshClientError `operator_key_missing`
   */
  updateLimits(id: AccountId, limits: LimitsPatch, options: OpenAI.RequestOptions = {}): APIPromise<Account> {
    if (this.#operatorKey === undefined) {
      throw new MeshClientError(
        'operator_key_missing',
        'Only operators change the limits of an account: give operatorKey to MeshClient. Keys and projects have limits of their own, which mesh.keys.updateLimits and mesh.projects.update set.',
      )
    }
    const headers = { Authorization: `Bearer ${this.#operatorKey}` }
    return this.#client.patch(`/accounts/${encodeURIComponent(id)}/limits`, {
      body: limits,
      ...options,
      headers,
    })
  }
}
