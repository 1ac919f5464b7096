import { Sensitive } from '../sensitive.ts'

/** Marks what was a `Sensitive` before the way. */
const MARK = 'mesh:sensitive'

/**
 * Makes plain data ready for the way to another process, which takes everything but classes: what is `Sensitive` goes
 * as a marked object. The way is a pipe between two processes, so nothing of it is seen in arguments or environment.
 */
export function pack(value: unknown): unknown {
  if (value instanceof Sensitive) return { [MARK]: pack(value.reveal()) }
  return within(value, pack)
}

/** Undoes `pack`: what was `Sensitive` is so again. */
export function unpack(value: unknown): unknown {
  if (isPlain(value) && MARK in value) return new Sensitive(unpack(value[MARK]))
  return within(value, unpack)
}

function within(value: unknown, change: (part: unknown) => unknown): unknown {
  if (Array.isArray(value)) return value.map(change)
  if (value instanceof Map) return new Map([...value].map(([key, part]) => [key, change(part)]))
  if (isPlain(value))
    return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, change(part)]))
  return value
}

function isPlain(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}
