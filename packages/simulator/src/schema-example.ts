import { isList, isObject, type Json, type JsonObject, numberAt, objectAt } from './json.ts'
import { patternEffort, TRIED_CHARACTERS_MAX } from './pattern-effort.ts'

/** Below this depth only what a schema requires is filled in, so that a recursive schema comes to an end. */
const optionalDepthMax = 3
const depthMax = 16
/** Values, members and characters of one example: a schema of a few bytes can ask for any number of them. */
const sizeMax = 50_000
/** Steps that the patterns of one schema may take together: some milliseconds. */
const patternStepsMax = 2_000_000

/** An example in the making: the whole schema, for references, and what may still be spent on it. */
interface Making {
  readonly root: JsonObject
  size: number
  patternSteps: number
}

/**
 * A value that is valid against `schema`: the first that fits, always the same one. It knows what function calling
 * and structured output use of JSON Schema; of `pattern` it knows only the candidates listed below. What would be
 * too large, or too hard to match, is cut short: the schema is a stranger's, and the router waits meanwhile.
 */
export function exampleOf(schema: JsonObject): Json {
  return example(schema, { root: schema, size: sizeMax, patternSteps: patternStepsMax }, 0)
}

/** Whether there is enough left to do something that costs so much. */
function spend(making: Making, cost: number): boolean {
  const affordable = cost <= making.size
  making.size = affordable ? making.size - cost : 0
  return affordable
}

function example(schema: JsonObject, making: Making, depth: number): Json {
  if (depth > depthMax || !spend(making, 1 + Object.keys(schema).length)) return null
  const fixed = fixedValue(schema)
  if (fixed !== undefined) return spend(making, JSON.stringify(fixed).length) ? fixed : null
  const merged = resolve(schema, making)
  if (merged !== schema) return example(merged, making, depth + 1)
  switch (typeOf(schema)) {
    case 'object':
      return exampleObject(schema, making, depth)
    case 'array':
      return exampleArray(schema, making, depth)
    case 'string':
      return exampleString(schema, making)
    case 'integer':
      return exampleNumber(schema, 1)
    case 'number':
      return exampleNumber(schema, 0.5)
    case 'boolean':
      return true
    default:
      return null
  }
}

function fixedValue(schema: JsonObject): Json | undefined {
  if (schema.const !== undefined) return schema.const
  if (isList(schema.enum)) return schema.enum[0]
  return undefined
}

/** Follows `$ref`, takes the first of `anyOf` and `oneOf`, and merges `allOf`; the same object when there is nothing to do. */
function resolve(schema: JsonObject, making: Making): JsonObject {
  const { $ref: reference, anyOf, oneOf, allOf, ...rest } = schema
  if (typeof reference === 'string') return { ...rest, ...follow(reference, making.root) }
  for (const choices of [anyOf, oneOf]) {
    const first = isList(choices) ? choices.find((choice) => isObject(choice)) : undefined
    if (isObject(first)) return merge(rest, first)
  }
  if (!isList(allOf)) return schema
  let merged: JsonObject = rest
  for (const part of allOf.filter((each) => isObject(each))) {
    if (!spend(making, sizeOf(merged) + sizeOf(part))) break
    merged = merge(merged, part)
  }
  return merged
}

/** What merging a schema costs. */
function sizeOf(schema: JsonObject): number {
  const required = isList(schema.required) ? schema.required.length : 0
  return Object.keys(schema).length + Object.keys(objectAt(schema, 'properties')).length + required
}

function merge(left: JsonObject, right: JsonObject): JsonObject {
  const required = [left.required, right.required].flatMap((names) => (isList(names) ? names : []))
  const properties = { ...objectAt(left, 'properties'), ...objectAt(right, 'properties') }
  return {
    ...left,
    ...right,
    ...(required.length > 0 ? { required } : {}),
    ...(Object.keys(properties).length > 0 ? { properties } : {}),
  }
}

/** Only references within the schema itself (`#`, `#/$defs/Name`). */
function follow(reference: string, root: JsonObject): JsonObject {
  let found: Json | undefined = root
  for (const step of reference.split('/').slice(1)) {
    if (!isObject(found)) return {}
    const name = unescaped(step)
    found = Object.hasOwn(found, name) ? found[name] : undefined
  }
  return isObject(found) ? found : {}
}

function unescaped(step: string): string {
  try {
    return decodeURIComponent(step).replaceAll('~1', '/').replaceAll('~0', '~')
  } catch {
    return step
  }
}

function typeOf(schema: JsonObject): string {
  const type = isList(schema.type) ? (schema.type.find((name) => name !== 'null') ?? 'null') : schema.type
  if (typeof type === 'string') return type
  if (schema.properties !== undefined || schema.additionalProperties !== undefined) return 'object'
  if (schema.items !== undefined || schema.prefixItems !== undefined) return 'array'
  return 'string'
}

function exampleObject(schema: JsonObject, making: Making, depth: number): JsonObject {
  const required = new Set(isList(schema.required) ? schema.required : [])
  const filled: Record<string, Json> = {}
  for (const [name, property] of Object.entries(objectAt(schema, 'properties'))) {
    if (!spend(making, name.length + 1)) break
    if (depth >= optionalDepthMax && !required.has(name)) continue
    filled[name] = isObject(property) ? example(property, making, depth + 1) : 'simulated'
  }
  const wanted = Math.max(numberAt(schema, 'minProperties') ?? 0, required.size)
  for (const name of required) {
    if (typeof name !== 'string' || name in filled) continue
    if (!spend(making, name.length + 1)) break
    filled[name] = 'simulated'
  }
  const additional = objectAt(schema, 'additionalProperties')
  for (let count = Object.keys(filled).length; count < wanted && spend(making, 1); count += 1) {
    filled[`key${count}`] = example(additional, making, depth + 1)
  }
  return filled
}

function exampleArray(schema: JsonObject, making: Making, depth: number): readonly Json[] {
  const first = (isList(schema.prefixItems) ? schema.prefixItems : []).filter((item) => isObject(item))
  const items = objectAt(schema, 'items')
  const least = numberAt(schema, 'minItems') ?? (depth < optionalDepthMax ? 1 : 0)
  const most = numberAt(schema, 'maxItems') ?? Number.POSITIVE_INFINITY
  const length = Math.min(Math.max(least, first.length), most)
  const values: Json[] = []
  while (values.length < length && spend(making, 1)) {
    const index = values.length
    const value = example(first[index] ?? items, making, depth + 1)
    values.push(schema.uniqueItems === true && typeof value === 'number' ? value + index : value)
  }
  return values
}

const formats: Readonly<Record<string, string>> = {
  'date-time': '2026-01-02T03:04:05Z',
  date: '2026-01-02',
  time: '03:04:05Z',
  duration: 'PT1H',
  email: 'someone@example.com',
  hostname: 'example.com',
  ipv4: '192.0.2.1',
  ipv6: '2001:db8::1',
  uri: 'https://example.com/simulated',
  url: 'https://example.com/simulated',
  uuid: '00000000-0000-4000-8000-000000000000',
}

const patternCandidates = [
  'simulated',
  'Simulated',
  'S',
  's',
  'SIM',
  '1',
  '12.34',
  '2026-01-02',
  'sim_1',
  'SIM-1',
  'a@b.co',
]

function exampleString(schema: JsonObject, making: Making): string {
  const { format, pattern } = schema
  if (typeof format === 'string' && Object.hasOwn(formats, format)) return formats[format] ?? ''
  const least = Math.min(numberAt(schema, 'minLength') ?? 0, making.size)
  const most = numberAt(schema, 'maxLength') ?? Number.POSITIVE_INFINITY
  spend(making, least)
  const text = typeof pattern === 'string' ? matching(pattern, making, { least, most }) : 'simulated'
  return text.padEnd(least, 'x').slice(0, Math.max(least, most))
}

function matching(
  pattern: string,
  making: Making,
  { least, most }: { readonly least: number; readonly most: number },
): string {
  const steps = patternEffort(pattern)
  if (steps > making.patternSteps) return 'simulated'
  making.patternSteps -= steps
  try {
    const expression = new RegExp(pattern, 'u')
    const lengths = Array.from({ length: TRIED_CHARACTERS_MAX + 1 }, (_, length) => '0'.repeat(length))
    const fitting = [...patternCandidates, ...lengths, ...lengths.map((zeros) => zeros.replaceAll('0', 'A'))]
    return (
      fitting.find((text) => text.length >= least && text.length <= most && expression.test(text)) ??
      'simulated'
    )
  } catch {
    return 'simulated'
  }
}

/** The number nearest to 1 inside the schema's bounds. */
function exampleNumber(schema: JsonObject, nudge: number): number {
  const step = numberAt(schema, 'multipleOf') ?? 0
  const exclusiveMinimum = numberAt(schema, 'exclusiveMinimum')
  const exclusiveMaximum = numberAt(schema, 'exclusiveMaximum')
  const least = Math.max(
    numberAt(schema, 'minimum') ?? Number.NEGATIVE_INFINITY,
    exclusiveMinimum === undefined ? Number.NEGATIVE_INFINITY : exclusiveMinimum + (step || nudge),
  )
  const most = Math.min(
    numberAt(schema, 'maximum') ?? Number.POSITIVE_INFINITY,
    exclusiveMaximum === undefined ? Number.POSITIVE_INFINITY : exclusiveMaximum - (step || nudge),
  )
  const value = Math.min(Math.max(1, least), most)
  if (step <= 0) return nudge === 1 ? Math.ceil(value) : value
  const up = Math.ceil(value / step) * step
  return up <= most ? up : Math.floor(value / step) * step
}
