import { randomBytes } from 'node:crypto'
import type { Seams } from './ids.ts'

/** The real clock and the system's randomness. */
export const systemSeams: Seams = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  randomBytes: (size) => randomBytes(size),
}
