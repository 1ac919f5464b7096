import type { Caller } from '../accounts/caller.ts'
import { MeshError } from '../errors.ts'
import type { AccountId, CallId, KeyId } from '../ids.ts'

/** A call that runs on this router. Disposing of it says that it has ended. */
export interface LiveCall extends Disposable {
  /**
   * Aborted when the call has nobody to answer any more. The reason is a `MeshError` where MESH ends the call, and
   * anything else where the caller left.
   */
  readonly signal: AbortSignal
}

/** Why a key's running calls are ended, and what their callers are told. */
const KEY_ENDINGS = {
  key_revoked: 'This key was revoked while the call ran.',
  account_suspended: 'This account was suspended or closed while the call ran.',
} as const

/** One account in one world. */
type Payer = `${AccountId}/${boolean}`

interface Entry {
  readonly keyId: KeyId
  readonly abort: AbortController
}

/** How many calls may run on one router. */
export interface LiveCallBounds {
  readonly countMax: number
  /** Of one account in one world. */
  readonly countPerAccountMax: number
}

/**
 * The calls that run on this router, so that a key's end can end them, and a shutdown can wait for them. One account
 * never fills a router: there is always room for others.
 */
export class LiveCalls {
  readonly #calls = new Map<CallId, Entry>()
  readonly #counts = new Map<Payer, number>()
  readonly #bounds: LiveCallBounds
  #onIdle: (() => void) | undefined

  constructor(bounds: LiveCallBounds) {
    this.#bounds = bounds
  }

  /** The keys of all running calls. */
  get keyIds(): readonly KeyId[] {
    return [...new Set([...this.#calls.values()].map(({ keyId }) => keyId))]
  }

  get count(): number {
    return this.#calls.size
  }

  /**
   * `whenClosed` is told what to do when the caller leaves.
   * @throws MeshError `too_many_concurrent` where the account runs as many calls as one may on this router,
   * `overloaded` where the router runs as many as it takes.
   */
  begin(callId: CallId, caller: Caller, whenClosed: (task: () => void) => void): LiveCall {
    const payer: Payer = `${caller.account.id}/${caller.livemode}`
    const running = this.#counts.get(payer) ?? 0
    if (this.#calls.size >= this.#bounds.countMax) {
      throw new MeshError('overloaded', 'This router runs as many calls as it can. Send the request again.')
    }
    if (running >= this.#bounds.countPerAccountMax) {
      throw new MeshError(
        'too_many_concurrent',
        'This account runs as many calls as one account may here: wait until a running call has ended.',
        { metadata: { scope: 'account' } },
      )
    }
    this.#counts.set(payer, running + 1)
    const abort = new AbortController()
    whenClosed(() => abort.abort())
    this.#calls.set(callId, { keyId: caller.key.id, abort })
    return {
      signal: abort.signal,
      [Symbol.dispose]: () => {
        this.#calls.delete(callId)
        this.#release(payer)
        if (this.#calls.size === 0) this.#onIdle?.()
      },
    }
  }

  #release(payer: Payer): void {
    const running = (this.#counts.get(payer) ?? 1) - 1
    if (running === 0) this.#counts.delete(payer)
    else this.#counts.set(payer, running)
  }

  /** Ends every call of these keys with an error. */
  abortKeys(keyIds: readonly KeyId[], reason: keyof typeof KEY_ENDINGS = 'key_revoked'): void {
    const ended = new Set<KeyId>(keyIds)
    for (const { keyId, abort } of this.#calls.values()) {
      if (ended.has(keyId)) abort.abort(new MeshError(reason, KEY_ENDINGS[reason]))
    }
  }

  /** Ends every call with an error: the last step of a drain that took too long. */
  abortAll(): void {
    for (const { abort } of this.#calls.values()) {
      abort.abort(new MeshError('overloaded', 'This router shut down while the call ran.', { retry: false }))
    }
  }

  /** Resolves to whether all calls had ended before `timeoutMs` had passed. */
  async drained(timeoutMs: number): Promise<boolean> {
    if (this.#calls.size === 0) return true
    const { promise, resolve } = Promise.withResolvers<boolean>()
    const timer = setTimeout(() => resolve(false), timeoutMs)
    this.#onIdle = () => resolve(true)
    const drained = await promise
    clearTimeout(timer)
    return drained
  }
}
