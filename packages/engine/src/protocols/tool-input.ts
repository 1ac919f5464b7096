import type { JsonObject } from '../ask.ts'
import { objectOf, parseJson, writeJson } from '../wire-json.ts'

/**
 * A tool call's arguments, for protocols that want an object rather than its text. What a model wrote that is none is
 * shown to it as what it is.
 */
export function toolInput(text: string): JsonObject {
  if (text.trim() === '') return {}
  return objectInText(text) ?? { INVALID_JSON: text }
}

/** The object that a text is, or `undefined` where it is none, or none that can be written again. */
export function objectInText(text: string): JsonObject | undefined {
  const object = objectOf(parseJson(text))
  return object !== undefined && writeJson(object) !== undefined ? object : undefined
}
