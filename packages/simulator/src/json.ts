/** A JSON value as it was parsed from a request. Nothing about its shape is known yet. */
export type Json = null | boolean | number | string | readonly Json[] | JsonObject
export interface JsonObject {
  readonly [key: string]: Json | undefined
}

export function parseJson(text: string): Json | undefined {
  try {
    // JSON.parse returns nothing but JSON values; the annotation narrows its `any`.
    const value: Json = JSON.parse(text)
    return value
  } catch {
    return undefined
  }
}

export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The objects of an array; an empty list for anything else, so that readers need no shape checks of their own. */
export function objectsOf(value: Json | undefined): readonly JsonObject[] {
  return isList(value) ? value.filter((item) => isObject(item)) : []
}

export function isList(value: Json | undefined): value is readonly Json[] {
  return Array.isArray(value)
}

export function textAt(value: JsonObject, key: string): string {
  const found = value[key]
  return typeof found === 'string' ? found : ''
}

export function numberAt(value: JsonObject, key: string): number | undefined {
  const found = value[key]
  return typeof found === 'number' ? found : undefined
}

export function objectAt(value: JsonObject, key: string): JsonObject {
  const found = value[key]
  return isObject(found) ? found : {}
}

/** Whether a parameter was given: `null` counts as left out, as it does at the vendors. */
export function isGiven(value: Json | undefined): value is Exclude<Json, null> {
  return value !== undefined && value !== null
}
