import { randomBytes } from 'node:crypto'
import type { Seams } from './ids.ts'

/** Asking the system costs more than what it answers, so it is asked for many ids' bytes at once. */
const POOL_BYTES = 4_096

let pool = new Uint8Array(0)
let taken = 0

/** Bytes that nobody else gets, and that the pool forgets as it hands them out. */
function takeRandomBytes(size: number): Uint8Array {
  if (size > POOL_BYTES) return randomBytes(size)
  if (taken + size > pool.length) {
    pool = new Uint8Array(randomBytes(POOL_BYTES))
    taken = 0
  }
  const bytes = pool.slice(taken, taken + size)
  pool.fill(0, taken, taken + size)
  taken += size
  return bytes
}

/** The real clock and the system's randomness. */
export const systemSeams: Seams = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  randomBytes: takeRandomBytes,
}
