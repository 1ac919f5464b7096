import type { KeyId, Seams } from '../ids.ts'

/** A program that calls wrongly in a loop shows in this many; the rest would only fill the books' disk. */
const ROWS_PER_MINUTE_MAX = 60
/** Keys counted at once; more than these leave no rows in a minute. */
const KEYS_MAX = 10_000
const MINUTE_MS = 60_000

/** Bounds the rows that the refusals of one key leave on this router. */
export class RefusalRows {
  readonly #seams: Pick<Seams, 'monotonic'>
  readonly #counts = new Map<KeyId, number>()
  #minute = 0

  constructor(seams: Pick<Seams, 'monotonic'>) {
    this.#seams = seams
  }

  /** Whether one more refusal of a key leaves a row. */
  take(keyId: KeyId): boolean {
    const minute = Math.floor(this.#seams.monotonic() / MINUTE_MS)
    if (minute !== this.#minute) this.#counts.clear()
    this.#minute = minute
    const count = this.#counts.get(keyId) ?? 0
    if (count >= ROWS_PER_MINUTE_MAX || (count === 0 && this.#counts.size >= KEYS_MAX)) return false
    this.#counts.set(keyId, count + 1)
    return true
  }
}
