import type { Json } from '../json.ts'
import { idFrom, type Seed } from '../seed.ts'

/** How what is encrypted here begins; the vendor's looks alike. */
const prefix = 'gAAAAAsim'

/** A model's reasoning in the form that only its maker can read. */
export function encryptedReasoning(seed: Seed): string {
  return `${prefix}${idFrom(seed, 'encrypted reasoning', 64)}==`
}

export function isEncryptedHere(value: Json | undefined): boolean {
  return typeof value === 'string' && value.startsWith(prefix)
}
