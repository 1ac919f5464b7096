import * as z from 'zod'
import type { JsonObject } from '../ask.ts'

/** A JSON object that is passed on as it came, its key order with it. */
export const jsonObject = z
  .custom<JsonObject>((value) => typeof value === 'object' && value !== null && !Array.isArray(value), {
    error: 'must be a JSON object',
  })
  .meta({ type: 'object' })

/** The name of a tool, or of a schema. */
export function toolName(charactersMax: number) {
  return z
    .string()
    .max(charactersMax)
    .regex(/^[a-zA-Z0-9_-]+$/, { error: 'must be made of letters, digits, underscores and dashes' })
}
