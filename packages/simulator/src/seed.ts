import { createHash } from 'node:crypto'

/** Names a state from which everything that looks random is derived: the same request gets the same answer. */
export type Seed = string

export function seedOf(...parts: readonly string[]): Seed {
  const hash = createHash('sha256')
  // The length in front keeps ('ab', 'c') and ('a', 'bc') apart.
  for (const part of parts) hash.update(`${part.length}:`).update(part)
  return hash.digest('hex')
}

/** Whole numbers from 0 up to but without `bound`, always the same for the same seed (mulberry32). */
export function numbersFrom(seed: Seed): (bound: number) => number {
  let state = Number.parseInt(seed.slice(0, 8), 16)
  return (bound) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) % bound
  }
}

const alphanumeric = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

/** A made-up identifier of the kind that vendors use behind their prefixes. */
export function idFrom(seed: Seed, label: string, length: number): string {
  const next = numbersFrom(seedOf(seed, label))
  return Array.from({ length }, () => alphanumeric[next(alphanumeric.length)]).join('')
}

export function uuidFrom(seed: Seed, label: string): string {
  const hex = seedOf(seed, label)
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`
}
