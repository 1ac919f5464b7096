import type { Endpoint } from '@mesh/catalog/catalog.ts'
import { inputTokens, outputTokens } from '@mesh/catalog/token-buckets.ts'
import type { Ask, Json, ResponseFormat } from './ask.ts'
import { schemaProblem } from './json-schema.ts'
import type { Candidate } from './plan.ts'
import { takesFormatBeside } from './protocols/format-beside-tools.ts'
import type { MeteredUsage } from './run-outcome.ts'
import { utf8Length } from './text-size.ts'
import { objectOf, parseJson } from './wire-json.ts'

type JsonFormat = Exclude<ResponseFormat, { type: 'text' }>

/**
 * How the JSON that a caller asked for came about. `native`: the provider holds its model to the format. Else it was
 * asked for in words, and looked at by MESH: it was `valid`, or `extracted` from what stood around it, or `repaired` by a
 * second question; `invalid` is what stayed wrong, `unchecked` what was no whole answer in text.
 */
export type JsonResult = 'native' | 'valid' | 'extracted' | 'repaired' | 'invalid' | 'unchecked'

/** The format that an endpoint is asked for in words, where it is asked for one so. */
export function emulatedFormat(
  { responseFormat: format, tools }: Ask,
  endpoint: Endpoint,
): JsonFormat | undefined {
  if (format === undefined || format.type === 'text') return undefined
  const isKnown = endpoint.supportedParameters.includes(`response_format.${format.type}`)
  return isKnown && takesFormatBeside(tools, endpoint) ? undefined : format
}

/** What was made of a text: JSON that fits its format, or what is wrong with it, in words for a model. */
export type CheckedJson =
  | { readonly isValid: true; readonly text: string; readonly result: 'valid' | 'extracted' }
  | { readonly isValid: false; readonly problem: string }

/** Looks at the text of an answer. What stands around one JSON object, as a fence or a greeting does, is taken away. */
export function checkedJson(format: JsonFormat, text: string): CheckedJson {
  const whole = parseJson(text)
  const within = whole === undefined ? objectWithin(text) : undefined
  const value = whole ?? (within === undefined ? undefined : parseJson(within))
  if (value === undefined) return { isValid: false, problem: 'it is not one JSON document' }
  const problem = problemOf(format, value)
  if (problem !== undefined) return { isValid: false, problem }
  return {
    isValid: true,
    ...(within === undefined ? { text, result: 'valid' } : { text: within, result: 'extracted' }),
  }
}

function problemOf(format: JsonFormat, value: Json): string | undefined {
  if (format.type === 'json_schema') return schemaProblem(format.schema, value)
  return objectOf(value) === undefined ? 'it is not a JSON object' : undefined
}

/** From the first brace to the last. */
function objectWithin(text: string): string | undefined {
  const [from, to] = [text.indexOf('{'), text.lastIndexOf('}')]
  return from === -1 || to < from ? undefined : text.slice(from, to + 1)
}

/** What a repair may cost: it must fit into what the call holds, beside its first answer. */
export interface RepairRoom {
  readonly ask: Ask
  /** The same endpoint, with what is left of the input that is held. */
  readonly candidate: Candidate
  readonly outputTokensLeft: number
}

/** With less room than this for output no repair is begun. */
const OUTPUT_TOKENS_MIN = 256
/** The frames of two messages more, and the words around what is wrong: fewer bytes than this. */
const QUESTION_TOKENS_MAX = 512

export interface RepairInput {
  readonly ask: Ask
  readonly candidate: Candidate
  readonly text: string
  readonly problem: string
  /** What the first answer came to. */
  readonly usage: MeteredUsage
  readonly outputTokensHeld: number
}

/**
 * The second question, and the room for it; `undefined` where there is none. Both answers are charged together, so
 * together they must be within the hold: its input was bounded before anything was known of it and is rarely used up.
 * Nor may they reach a price tier together that neither of them is in.
 */
export function roomForRepair(input: RepairInput): RepairRoom | undefined {
  const { ask, candidate, text, problem, usage, outputTokensHeld } = input
  const spentInput = inputTokens(usage.buckets)
  const answerTokensMax = utf8Length(text)
  const together = 2 * spentInput + answerTokensMax + QUESTION_TOKENS_MAX + utf8Length(problem)
  const outputTokensLeft =
    Math.min(outputTokensHeld, ask.maxOutputTokens ?? Number.POSITIVE_INFINITY) - outputTokens(usage.buckets)
  const { tiers } = candidate.sellPrices
  const crossesTier = tiers.some(
    ({ aboveInputTokens }) => spentInput <= aboveInputTokens && together > aboveInputTokens,
  )
  if (together > candidate.inputTokensMax || together - spentInput > candidate.endpoint.contextTokens)
    return undefined
  if (crossesTier || outputTokensLeft < OUTPUT_TOKENS_MIN) return undefined
  return {
    ask: {
      ...ask,
      messages: [...ask.messages, ...question(text, problem)],
      maxOutputTokens: outputTokensLeft,
    },
    candidate: { ...candidate, inputTokensMax: candidate.inputTokensMax - spentInput },
    outputTokensLeft,
  }
}

function question(text: string, problem: string): Ask['messages'] {
  return [
    { role: 'assistant', parts: [{ type: 'text', text }], toolCalls: [], reasoning: [] },
    {
      role: 'user',
      parts: [
        {
          type: 'text',
          text:
            `This is not the JSON that was asked for: ${problem}. Say the same again as one JSON object that is, ` +
            'with nothing before or after it.',
        },
      ],
    },
  ]
}
