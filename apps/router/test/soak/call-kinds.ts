import { newCanary } from '../support/canary-search.ts'

/** Whole numbers below a bound. */
export type Draw = (bound: number) => number

/** The places of a call that hold text of its caller. */
const PLACES = [
  'prompt',
  'answer',
  'system prompt',
  'tool call id',
  'tool argument',
  'tool result',
  'tool description',
  'enum value',
  'user',
  'metadata name',
  'metadata value',
] as const

/** What one caller writes into each place, and nobody else anywhere: canaries. */
export type OwnWords = Readonly<Record<(typeof PLACES)[number], string>>

export function newWords(): OwnWords {
  return Object.fromEntries(PLACES.map((place) => [place, newCanary()])) as OwnWords
}

/** One call of a caller: what it asks, and what its caller does. */
export interface DrawnCall {
  readonly body: Readonly<Record<string, unknown>>
  readonly stream: boolean
  /** The caller leaves in the middle: after so many milliseconds. */
  readonly leavesAfterMs?: number
}

/** Both protocol families; those with two providers fall back from one to the other. */
const MODELS = ['mesh/claude-sonnet-4.5', 'mesh/claude-haiku-4.5', 'mesh/gpt-5-mini', 'mesh/gpt-4.1']

/**
 * What may be wrong with a provider. After each of them the caller gets a whole answer, or an error that says so, and
 * the books have what he was told.
 */
const FAULTS = [
  'rate_limit',
  'overloaded',
  'server_error',
  'html',
  'refusal',
  'empty',
  'error_first',
  'error_mid',
  'cut_stream',
  'early_eof',
  'malformed',
  'stall',
  'timeout',
  'slow,tokens=6',
  'lying_usage=missing',
  'lying_usage=huge',
  'lying_usage=negative',
  // Of one provider, so that the call falls back to the next.
  'anthropic=overloaded',
  'anthropic=error_first',
  'openai=rate_limit',
  'openai=server_error',
  'openai=html',
]
const LEAVING_SPAN_MS = 150
const TOKENS_SPAN = 120
/** A pause before each piece spreads the calls over all their stages at every instant. */
const PACE_SPAN_MS = 8
const OUTPUT_BOUND_TOKENS = 300
const DENSE_TOKENS = 100
/** A call of any kind, with its caller's own words in everything that he can write. */
export function drawCall(below: Draw, words: OwnWords): DrawnCall {
  const bounded = below(2) === 0 ? { max_tokens: OUTPUT_BOUND_TOKENS } : {}
  const tools = below(3) === 0 ? { tools: [toolOf(words)] } : {}
  const length = below(4) === 0 ? 'echo' : `tokens=${1 + below(TOKENS_SPAN)}`
  return drawnCall(below, words, length, { messages: messagesOf(below, words), ...bounded, ...tools })
}

/**
 * A call that costs nearly all that is held for it, so that what is left when one is refused is less than a few of
 * them cost: whoever gives away what others hold is in debt at once.
 */
export function drawDenseCall(below: Draw, words: OwnWords): DrawnCall {
  const messages = [{ role: 'user', content: words.prompt }]
  return drawnCall(below, words, `tokens=${DENSE_TOKENS}`, { messages, max_tokens: DENSE_TOKENS })
}

function drawnCall(below: Draw, words: OwnWords, length: string, rest: object): DrawnCall {
  const stream = below(3) > 0
  const isFaulty = below(4) === 0
  const steering = [
    length,
    `pace=${below(PACE_SPAN_MS)}`,
    ...(isFaulty ? [FAULTS[below(FAULTS.length)] ?? ''] : []),
  ]
  const first = below(MODELS.length)
  const second = below(MODELS.length)
  const leaves = below(8) === 0
  return {
    stream,
    ...(leaves ? { leavesAfterMs: below(LEAVING_SPAN_MS) } : {}),
    body: {
      model: MODELS[first],
      ...(second !== first && below(3) === 0 ? { models: [MODELS[second]] } : {}),
      stream,
      user: words.user,
      ...usageWishes(below, stream),
      ...rest,
      metadata: { [words['metadata name']]: words['metadata value'], mesh_simulate: steering.join(',') },
    },
  }
}

function messagesOf(below: Draw, words: OwnWords): object[] {
  const question = { role: 'user', content: `Say ${words.prompt} and ${words.answer}.` }
  if (below(3) > 0) return [question]
  const id = words['tool call id']
  const call = { name: 'look', arguments: JSON.stringify({ at: words['tool argument'] }) }
  return [
    { role: 'system', content: words['system prompt'] },
    question,
    { role: 'assistant', content: null, tool_calls: [{ id, type: 'function', function: call }] },
    { role: 'tool', tool_call_id: id, content: words['tool result'] },
    question,
  ]
}

function toolOf(words: OwnWords): object {
  const parameters = { type: 'object', properties: { at: { type: 'string', enum: [words['enum value']] } } }
  return {
    type: 'function',
    function: { name: 'look', description: words['tool description'], parameters },
  }
}

/** Usage comes with the last chunk, or in a chunk of its own where it is asked for. */
function usageWishes(below: Draw, stream: boolean): object {
  switch (below(3)) {
    case 0:
      return { usage: { include: true } }
    case 1:
      return stream ? { stream_options: { include_usage: true } } : {}
    default:
      return {}
  }
}
