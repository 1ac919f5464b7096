import { isList, isObject, type Json, type JsonObject, numberAt, objectAt } from './json.ts'

/** Below this depth only what a schema requires is filled in, so that a recursive schema comes to an end. */
const optionalDepthMax = 3
const depthMax = 16

/**
 * A value that is valid against `schema`: the first that fits, always the same one. It knows what function calling
 * and structured output use of JSON Schema; of `pattern` it knows only the candidates listed below.
 */
export function exampleOf(schema: JsonObject): Json {
  return example(schema, schema, 0)
}

function example(schema: JsonObject, root: JsonObject, depth: number): Json {
  if (depth > depthMax) return null
  const fixed = fixedValue(schema)
  if (fixed !== undefined) return fixed
  const merged = resolve(schema, root)
  if (merged !== schema) return example(merged, root, depth + 1)
  switch (typeOf(schema)) {
    case 'object':
      return exampleObject(schema, root, depth)
    case 'array':
      return exampleArray(schema, root, depth)
    case 'string':
      return exampleString(schema)
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
function resolve(schema: JsonObject, root: JsonObject): JsonObject {
  const { $ref: reference, anyOf, oneOf, allOf, ...rest } = schema
  if (typeof reference === 'string') return { ...rest, ...follow(reference, root) }
  for (const choices of [anyOf, oneOf]) {
    const first = isList(choices) ? choices.find((choice) => isObject(choice)) : undefined
    if (isObject(first)) return merge(rest, first)
  }
  if (!isList(allOf)) return schema
  return allOf.filter((part) => isObject(part)).reduce(merge, rest)
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
    found = found[decodeURIComponent(step).replaceAll('~1', '/').replaceAll('~0', '~')]
  }
  return isObject(found) ? found : {}
}

function typeOf(schema: JsonObject): string {
  const type = isList(schema.type) ? (schema.type.find((name) => name !== 'null') ?? 'null') : schema.type
  if (typeof type === 'string') return type
  if (schema.properties !== undefined || schema.additionalProperties !== undefined) return 'object'
  if (schema.items !== undefined || schema.prefixItems !== undefined) return 'array'
  return 'string'
}

function exampleObject(schema: JsonObject, root: JsonObject, depth: number): JsonObject {
  const required = isList(schema.required) ? schema.required : []
  const filled: Record<string, Json> = {}
  for (const [name, property] of Object.entries(objectAt(schema, 'properties'))) {
    if (depth >= optionalDepthMax && !required.includes(name)) continue
    filled[name] = isObject(property) ? example(property, root, depth + 1) : 'simulated'
  }
  const wanted = Math.max(numberAt(schema, 'minProperties') ?? 0, required.length)
  for (const name of required) if (typeof name === 'string' && !(name in filled)) filled[name] = 'simulated'
  const additional = objectAt(schema, 'additionalProperties')
  for (let count = Object.keys(filled).length; count < wanted; count += 1) {
    filled[`key${count}`] = example(additional, root, depth + 1)
  }
  return filled
}

function exampleArray(schema: JsonObject, root: JsonObject, depth: number): readonly Json[] {
  const first = (isList(schema.prefixItems) ? schema.prefixItems : []).filter((item) => isObject(item))
  const items = objectAt(schema, 'items')
  const least = numberAt(schema, 'minItems') ?? (depth < optionalDepthMax ? 1 : 0)
  const most = numberAt(schema, 'maxItems') ?? Number.POSITIVE_INFINITY
  const length = Math.min(Math.max(least, first.length), most)
  return Array.from({ length }, (_, index) => {
    const value = example(first[index] ?? items, root, depth + 1)
    return schema.uniqueItems === true && typeof value === 'number' ? value + index : value
  })
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

function exampleString(schema: JsonObject): string {
  const { format, pattern } = schema
  if (typeof format === 'string' && Object.hasOwn(formats, format)) return formats[format] ?? ''
  const least = numberAt(schema, 'minLength') ?? 0
  const most = numberAt(schema, 'maxLength') ?? Number.POSITIVE_INFINITY
  const text = typeof pattern === 'string' ? matching(pattern, least, most) : 'simulated'
  return text.padEnd(least, 'x').slice(0, Math.max(least, most))
}

function matching(pattern: string, least: number, most: number): string {
  try {
    const expression = new RegExp(pattern, 'u')
    const lengths = Array.from({ length: 41 }, (_, length) => '0'.repeat(length))
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
