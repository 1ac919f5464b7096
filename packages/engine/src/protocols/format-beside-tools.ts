import type { Endpoint } from '@mesh/catalog/catalog.ts'
import type { Ask } from '../ask.ts'
import { isThirdGeneration } from './gemini-generation.ts'

/**
 * Whether an endpoint takes a response format, where it knows one, in a call with these tools. Cohere never takes both,
 * Gemini from its third generation on; without it the format is asked for in words.
 */
export function takesFormatBeside(tools: Ask['tools'], endpoint: Endpoint): boolean {
  if (tools.length === 0) return true
  switch (endpoint.protocol) {
    case 'cohere_v2':
      return false
    case 'gemini':
      return isThirdGeneration(endpoint)
    default:
      return true
  }
}
