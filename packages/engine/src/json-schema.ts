import type { Json, JsonObject } from './ask.ts'
import { objectOf } from './wire-json.ts'

/**
 * Deeper, or longer, than this no schema is followed: what it says beyond is taken as kept. Both schema and value are
 * somebody else's, so a step is whatever takes a moment: a rule, a member that is looked at, a character of a reference.
 */
const DEPTH_MAX = 64
const STEPS_MAX = 200_000

/**
 * Where a value breaks a JSON Schema, in words for a model: `$.people must be integer`; `undefined` where it does not,
 * as far as it is looked at. Looked at are types, values, properties, items, bounds, `anyOf`, `oneOf`, `allOf` and
 * references within the schema. `pattern` and `format` are not: a caller's regular expression could take forever.
 * https://json-schema.org/draft/2020-12/json-schema-validation
 */
export function schemaProblem(schema: JsonObject, value: Json): string | undefined {
  const walk: Walk = { root: schema, steps: 0, lengths: new Map() }
  return problemAt(walk, schema, value, '$', 0)
}

interface Walk {
  readonly root: JsonObject
  steps: number
  /** Of texts, in characters: many rules may ask for the length of one. */
  readonly lengths: Map<string, number>
}

function problemAt(
  walk: Walk,
  schema: Json | undefined,
  value: Json,
  at: string,
  depth: number,
): string | undefined {
  walk.steps += 1
  if (schema === false) return `${at} must not be there`
  const rules = objectOf(schema)
  if (!rules || depth > DEPTH_MAX || walk.steps > STEPS_MAX) return undefined
  if (typeof rules.$ref === 'string') {
    const problem = problemAt(walk, resolved(walk, rules.$ref), value, at, depth + 1)
    if (problem !== undefined) return problem
  }
  return (
    problemOfType(walk, rules, value, at) ??
    problemOfValue(walk, rules, value, at) ??
    problemOfBounds(walk, rules, value, at) ??
    problemOfChoices(walk, rules, value, at, depth) ??
    (Array.isArray(value)
      ? problemOfItems(walk, rules, value, at, depth)
      : problemOfProperties(walk, rules, value, at, depth))
  )
}

/** `#`, `#/$defs/day`: within the schema itself. */
function resolved(walk: Walk, reference: string): Json | undefined {
  walk.steps += reference.length
  if (!reference.startsWith('#')) return undefined
  return reference
    .slice(1)
    .split('/')
    .slice(1)
    .map((part) => decoded(part).replaceAll('~1', '/').replaceAll('~0', '~'))
    .reduce<Json | undefined>((within, part) => {
      const object = objectOf(within)
      return object && Object.hasOwn(object, part) ? object[part] : undefined
    }, walk.root)
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}

function problemOfType(walk: Walk, { type }: JsonObject, value: Json, at: string): string | undefined {
  walk.steps += listOf(type).length
  const types = (Array.isArray(type) ? type : [type]).filter((name) => typeof name === 'string')
  if (types.length === 0 || types.some((name) => isOfType(name, value))) return undefined
  return `${at} must be ${types.join(' or ')}`
}

function isOfType(name: string, value: Json): boolean {
  switch (name) {
    case 'null':
      return value === null
    case 'array':
      return Array.isArray(value)
    case 'object':
      return objectOf(value) !== undefined
    case 'integer':
      return typeof value === 'number' && Number.isInteger(value)
    case 'string':
    case 'number':
    case 'boolean':
      return typeof value === name
    default:
      return true
  }
}

function problemOfValue(walk: Walk, rules: JsonObject, value: Json, at: string): string | undefined {
  const allowed = Array.isArray(rules.enum) ? rules.enum : 'const' in rules ? [rules.const] : undefined
  if (!allowed) return undefined
  if (allowed.some((one) => isSame(walk, value, one))) return undefined
  return `${at} must be one of the values that the schema lists`
}

/** Whether two values are the same as JSON, whatever the order of their keys. */
function isSame(walk: Walk, one: Json, other: Json | undefined): boolean {
  walk.steps += 1
  if (walk.steps > STEPS_MAX) return true
  if (Array.isArray(one)) {
    return (
      Array.isArray(other) &&
      one.length === other.length &&
      one.every((item, at) => isSame(walk, item, other[at]))
    )
  }
  const [object, listed] = [objectOf(one), objectOf(other)]
  if (!object || !listed) return one === other
  const names = Object.keys(object)
  walk.steps += names.length
  return (
    names.length === Object.keys(listed).length &&
    names.every((name) => Object.hasOwn(listed, name) && isSame(walk, object[name] ?? null, listed[name]))
  )
}

/** What is measured of a value, and by which keywords. */
function problemOfBounds(walk: Walk, rules: JsonObject, value: Json, at: string): string | undefined {
  const bound = (name: string) => (typeof rules[name] === 'number' ? rules[name] : undefined)
  const outside = (sizeOf: () => number, least: string, most: string, what: string): string | undefined => {
    const [from, to] = [bound(least), bound(most)]
    if (from === undefined && to === undefined) return undefined
    const size = sizeOf()
    if (from !== undefined && size < from) return `${at}${what} must be ${from} or more`
    return to !== undefined && size > to ? `${at}${what} must be ${to} or less` : undefined
  }
  if (typeof value === 'string')
    return outside(() => charactersIn(walk, value), 'minLength', 'maxLength', ', its length,')
  if (Array.isArray(value))
    return outside(() => value.length, 'minItems', 'maxItems', ', the number of its items,')
  if (typeof value !== 'number') return undefined
  const [above, below] = [bound('exclusiveMinimum'), bound('exclusiveMaximum')]
  if (above !== undefined && value <= above) return `${at} must be more than ${above}`
  if (below !== undefined && value >= below) return `${at} must be less than ${below}`
  return outside(() => value, 'minimum', 'maximum', '')
}

/** A length is that in code points: RFC 8259, and `minLength` after it. */
function charactersIn({ lengths }: Walk, text: string): number {
  const known = lengths.get(text)
  if (known !== undefined) return known
  const { length } = [...text]
  lengths.set(text, length)
  return length
}

/** `oneOf` is looked at as `anyOf`: that two fit is no fault that a caller would notice. */
function problemOfChoices(
  walk: Walk,
  rules: JsonObject,
  value: Json,
  at: string,
  depth: number,
): string | undefined {
  for (const all of listOf(rules.allOf)) {
    const problem = problemAt(walk, all, value, at, depth + 1)
    if (problem !== undefined) return problem
  }
  for (const choices of [listOf(rules.anyOf), listOf(rules.oneOf)]) {
    if (choices.length === 0) continue
    const problems = choices.map((one) => problemAt(walk, one, value, at, depth + 1))
    if (!problems.includes(undefined)) return `${at} fits none of its forms: ${problems[0]}`
  }
  return undefined
}

function listOf(value: Json | undefined): readonly Json[] {
  return Array.isArray(value) ? value : []
}

function problemOfItems(
  walk: Walk,
  rules: JsonObject,
  items: readonly Json[],
  at: string,
  depth: number,
): string | undefined {
  const first = listOf(rules.prefixItems)
  for (const [index, item] of items.entries()) {
    const rule = first[index] ?? rules.items
    const problem = problemAt(walk, rule, item, `${at}[${index}]`, depth + 1)
    if (problem !== undefined) return problem
  }
  return undefined
}

function problemOfProperties(
  walk: Walk,
  rules: JsonObject,
  value: Json,
  at: string,
  depth: number,
): string | undefined {
  const object = objectOf(value)
  if (!object) return undefined
  const entries = Object.entries(object)
  walk.steps += entries.length + listOf(rules.required).length
  for (const name of listOf(rules.required)) {
    if (typeof name === 'string' && !Object.hasOwn(object, name)) return `${at}.${name} is missing`
  }
  const known = objectOf(rules.properties) ?? {}
  const others = 'patternProperties' in rules ? undefined : rules.additionalProperties
  for (const [name, part] of entries) {
    const rule = Object.hasOwn(known, name) ? known[name] : others
    const problem = problemAt(walk, rule, part, `${at}.${name}`, depth + 1)
    if (problem !== undefined) return problem
  }
  return undefined
}
