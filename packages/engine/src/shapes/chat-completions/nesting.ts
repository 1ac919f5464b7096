import { CHAT_BOUNDS } from './bounds.ts'

/** What a body is like before anything is known of its meaning. */
export type BodyMeasure =
  | { readonly fits: true; readonly wellFormed: boolean }
  | { readonly fits: false; readonly reason: 'nesting' | 'values' | 'members' }

/**
 * Measures a parsed JSON body with a stack of its own, so that no nesting can exhaust the engine's. It runs before
 * the schema, whose cost and depth of recursion it bounds: linear in the values of the body.
 */
export function measureBody(body: unknown): BodyMeasure {
  const values: unknown[] = [body]
  const depths: number[] = [1]
  let seen = 0
  let wellFormed = true
  while (values.length > 0) {
    const value = values.pop()
    const depth = depths.pop() ?? 0
    if (typeof value === 'string') wellFormed &&= value.isWellFormed()
    if (typeof value !== 'object' || value === null) continue
    if (depth > CHAT_BOUNDS.nestingMax) return { fits: false, reason: 'nesting' }
    const keys = Array.isArray(value) ? undefined : Object.keys(value)
    const members = Array.isArray(value) ? value : Object.values(value)
    if (members.length > CHAT_BOUNDS.membersMax) return { fits: false, reason: 'members' }
    seen += members.length
    if (seen > CHAT_BOUNDS.valuesMax) return { fits: false, reason: 'values' }
    for (const key of keys ?? []) wellFormed &&= key.isWellFormed()
    for (const member of members) {
      values.push(member)
      depths.push(depth + 1)
    }
  }
  return { fits: true, wellFormed }
}

/**
 * The same body with U+FFFD in place of every lone surrogate, as UTF-8 encoders write them. Such a string is what is
 * left when a program cuts text in the middle of an emoji; it has no UTF-8 form and some providers refuse it.
 * Recursive: only for bodies that `measureBody` has found to fit.
 */
export function withoutLoneSurrogates(value: unknown): unknown {
  if (typeof value === 'string') return value.toWellFormed()
  if (Array.isArray(value)) return value.map(withoutLoneSurrogates)
  if (typeof value !== 'object' || value === null) return value
  // `fromEntries` defines properties, so a member named `__proto__` stays a plain member.
  return Object.fromEntries(
    Object.entries(value).map(([key, member]) => [key.toWellFormed(), withoutLoneSurrogates(member)]),
  )
}
