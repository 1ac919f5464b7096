import type { Json } from '../ask.ts'

/** Ids go into answers and come back in requests, so only plain and short ones count. */
export function toolCallIdOf(value: Json | undefined): string | undefined {
  return typeof value === 'string' && /^[\x21-\x7e]{1,1024}$/.test(value) ? value : undefined
}

/** An id for a call that came without one: the same on every reading, and unlike those of other answers. */
export function madeUpId(answerId: string, choice: number, index: number): string {
  const suffix = answerId.replace(/[^a-zA-Z0-9]/g, '').slice(-16)
  return `call_${suffix}${suffix === '' ? '' : '_'}${choice}_${index}`
}
