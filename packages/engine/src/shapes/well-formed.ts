/**
 * The same value with U+FFFD in place of every lone surrogate, as UTF-8 encoders write them. Such a string is what is
 * left when a program cuts text in the middle of an emoji; it has no UTF-8 form and some providers refuse it.
 *
 * What needs no repair is not copied. Recursive: only for bodies that `measureBody` has found to fit.
 */
export function withoutLoneSurrogates(value: unknown): unknown {
  if (typeof value === 'string') return value.toWellFormed()
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) {
    const members = value.map(withoutLoneSurrogates)
    return members.some((member, at) => member !== value[at]) ? members : value
  }
  let isChanged = false
  const entries = Object.keys(value).map((key): [string, unknown] => {
    const member: unknown = Reflect.get(value, key)
    const entry: [string, unknown] = [key.toWellFormed(), withoutLoneSurrogates(member)]
    isChanged ||= entry[0] !== key || entry[1] !== member
    return entry
  })
  // `fromEntries` defines properties, so a member named `__proto__` stays a plain member.
  return isChanged ? Object.fromEntries(entries) : value
}
