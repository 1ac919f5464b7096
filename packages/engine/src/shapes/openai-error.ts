import type { JsonObject } from '../ask.ts'
import type { ErrorFacts } from './shape.ts'

/** OpenAI's envelope: that of every route but those of another vendor's shape. */
export function openaiErrorBody(error: ErrorFacts): JsonObject {
  return { error: openaiError(error) }
}

export function openaiError({ message, type, code, param, metadata }: ErrorFacts): JsonObject {
  return { message, type, code, param: param ?? null, ...(metadata ? { metadata } : {}) }
}
