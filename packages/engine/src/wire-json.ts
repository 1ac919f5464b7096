import type { Json, JsonObject } from './ask.ts'

/*
 * Reading JSON that somebody else wrote. A schema per chunk of a stream costs more than everything else that is done
 * with the chunk, so the protocols read the few fields that they know, one at a time, and each read checks its type.
 */

/** Parses a text, or returns `undefined` where it is not JSON. */
export function parseJson(text: string): Json | undefined {
  try {
    return JSON.parse(text) as Json
  } catch {
    return undefined
  }
}

/** Writes a value as JSON, or returns `undefined` where it is nested too deeply to be written. */
export function writeJson(value: Json): string | undefined {
  try {
    return JSON.stringify(value)
  } catch {
    return undefined
  }
}

export function objectOf(value: Json | undefined): JsonObject | undefined {
  return typeof value === 'object' && value !== null && !isArray(value) ? value : undefined
}

export function arrayOf(value: Json | undefined): readonly Json[] {
  return isArray(value) ? value : []
}

/** The value where it is a text with at least one character. */
export function textOf(value: Json | undefined): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}

function isArray(value: Json | undefined): value is readonly Json[] {
  return Array.isArray(value)
}
