import type { ResponseFormat } from '../ask.ts'

const ONE_OBJECT =
  'Answer with exactly one JSON object and nothing else: the first character is { and the last is }, with no text ' +
  'before or after it and no Markdown code fence.'

/**
 * The words that stand in for a response format that an endpoint does not know. They go at the end of the system
 * prompt, behind everything that a prompt cache may hold.
 *
 * An instruction rather than a forced tool: it works together with the caller's own tools, with thinking (which
 * forbids forced tools) and with streams, and the answer's text is what the model wrote, untouched. The price is that
 * it is no guarantee: a model can still wrap its JSON in prose.
 */
export function jsonInstruction(format: Exclude<ResponseFormat, { type: 'text' }>): string {
  if (format.type === 'json_object') return ONE_OBJECT
  return `${ONE_OBJECT} It must be valid against this JSON Schema:\n${JSON.stringify(format.schema)}`
}
