import type { AccountId } from '../ids.ts'
import type { KeyState } from './caller.ts'

/** A key as it was read, and when, on the clock that never goes back. */
export interface ReadKey {
  readonly state: KeyState
  readonly readAtMs: number
}

/**
 * Keys that the call path need not read again, by the hash of their secret. Bounded: the one used longest ago is
 * forgotten first. Only what exists is remembered: a key that did not exist a moment ago must work once it is made.
 */
export class RememberedKeys {
  readonly #keysMax: number
  readonly #keys = new Map<string, ReadKey>()
  readonly #reading = new Map<string, Promise<ReadKey>>()
  /** Counts evictions: what was read before one must not be remembered after it. */
  #evictions = 0

  constructor(keysMax: number) {
    this.#keysMax = keysMax
  }

  get(hash: string): ReadKey | undefined {
    const known = this.#keys.get(hash)
    if (!known) return undefined
    // Moves it to the young end of the map.
    this.#keys.delete(hash)
    this.#keys.set(hash, known)
    return known
  }

  /** Reads a key once for all who ask for it at the same time, and remembers it. */
  readOnce(hash: string, read: () => Promise<ReadKey>): Promise<ReadKey> {
    const running = this.#reading.get(hash)
    if (running) return running
    const evictionsBefore = this.#evictions
    const started = read()
      .then((found) => {
        if (this.#evictions === evictionsBefore) this.#remember(hash, found)
        return found
      })
      .finally(() => {
        if (this.#reading.get(hash) === started) this.#reading.delete(hash)
      })
    this.#reading.set(hash, started)
    return started
  }

  evict(accountId: AccountId): void {
    this.#evictions++
    this.#reading.clear()
    for (const [hash, { state }] of this.#keys) {
      if (state.caller.account.id === accountId) this.#keys.delete(hash)
    }
  }

  evictAll(): void {
    this.#evictions++
    this.#reading.clear()
    this.#keys.clear()
  }

  #remember(hash: string, found: ReadKey): void {
    this.#keys.set(hash, found)
    if (this.#keys.size <= this.#keysMax) return
    const [oldest] = this.#keys.keys()
    if (oldest !== undefined) this.#keys.delete(oldest)
  }
}
