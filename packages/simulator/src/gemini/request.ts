import { isList, isObject, type Json, type JsonObject } from '../json.ts'

/** What a request's path says: the model, and whether the answer is streamed. */
export interface Action {
  readonly model: string
  readonly stream: boolean
}

export function actionOf(path: string): Action {
  const [model = '', action] = path.slice('/models/'.length).split(':')
  return { model: decoded(model), stream: action === 'streamGenerateContent' }
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** Fields whose contents are the caller's own, whatever they are called. */
const CALLERS: ReadonlySet<string> = new Set([
  'args',
  'response',
  'parameters',
  'parametersJsonSchema',
  'responseSchema',
  'responseJsonSchema',
])

/** A body with the fields of the API in one spelling: Google takes `camelCase` and `snake_case` alike. */
export function inCamelCase(value: Json): Json {
  if (isList(value)) return value.map(inCamelCase)
  if (!isObject(value)) return value
  const fields: Record<string, Json> = {}
  for (const [key, inner] of Object.entries(value)) {
    const name = key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())
    if (inner !== undefined && inner !== null) fields[name] = CALLERS.has(name) ? inner : inCamelCase(inner)
  }
  return fields
}

/** A schema in OpenAPI's dialect, in which types are in capitals, as JSON Schema. */
export function asJsonSchema(schema: JsonObject): JsonObject {
  return Object.fromEntries(
    Object.entries(schema).map(([key, value]) => {
      if (key === 'type' && typeof value === 'string') return [key, value.toLowerCase()]
      if (isList(value)) return [key, value.map((item) => (isObject(item) ? asJsonSchema(item) : item))]
      return [key, isObject(value) ? asJsonSchema(value) : value]
    }),
  )
}
