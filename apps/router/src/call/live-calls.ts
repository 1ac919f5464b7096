import type { AccountId, CallId, KeyId } from '../ids.ts'
import { MeshError } from '../errors.ts'

/** A call that runs on this router. */
export interface LiveCall {
  readonly callId: CallId
  readonly accountId: AccountId
  readonly keyId: KeyId
  readonly abort: AbortController
}

/**
 * The calls that run on this router, so that a key's end can end them. The reason of an abort is a `MeshError`
 * where MESH ends the call; anything else means that the caller left.
 */
export class LiveCalls {
  readonly #calls = new Map<CallId, LiveCall>()
  #idle: (() => void) | undefined

  get count(): number {
    return this.#calls.size
  }

  add(call: LiveCall): void {
    this.#calls.set(call.callId, call)
  }

  remove(callId: CallId): void {
    this.#calls.delete(callId)
    if (this.#calls.size === 0) this.#idle?.()
  }

  /** Ends every call of these keys with an error. */
  abortKeys(keyIds: readonly KeyId[]): void {
    const ended = new Set<KeyId>(keyIds)
    for (const call of this.#calls.values()) {
      if (!ended.has(call.keyId)) continue
      call.abort.abort(new MeshError('key_revoked', 'This key was revoked while the call ran.', { retry: false }))
    }
  }

  /** Ends every call with an error: the last step of a drain that took too long. */
  abortAll(): void {
    for (const call of this.#calls.values()) {
      call.abort.abort(new MeshError('overloaded', 'This router is shutting down. Send the request again.', { retry: false }))
    }
  }

  /** Resolves when no call is left, or after `timeoutMs`. */
  async drained(timeoutMs: number): Promise<boolean> {
    if (this.#calls.size === 0) return true
    const { promise, resolve } = Promise.withResolvers<boolean>()
    const timer = setTimeout(() => resolve(false), timeoutMs)
    this.#idle = () => resolve(true)
    const drained = await promise
    clearTimeout(timer)
    return drained
  }
}
