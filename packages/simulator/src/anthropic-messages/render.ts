import type { Answer } from '../answer.ts'
import type { Exchange, Frame, Rendering, Usage } from '../family.ts'
import { parseJson } from '../json.ts'
import { idFrom, numbersFrom, seedOf } from '../seed.ts'
import { countTokens, splitIntoPieces } from '../tokens.ts'
import { errorBody } from './refusal.ts'
import { signatureOf } from './thinking.ts'

/** Renders messages; `showsThinking` says whether thinking blocks hold their text or only its signature. */
export function messageRendering(showsThinking: boolean): Rendering {
  return {
    json: (exchange) => message(exchange, showsThinking),
    frames: (exchange) => events(exchange, showsThinking),
    errorEvent: (exchange) =>
      `event: error\ndata: ${errorBody('overloaded_error', 'Overloaded', exchange.requestId)}\n\n`,
  }
}

const stopReasons: Readonly<Record<Answer['finish'], string>> = {
  stop: 'end_turn',
  stop_sequence: 'stop_sequence',
  length: 'max_tokens',
  tool_calls: 'tool_use',
  refusal: 'refusal',
}

const noAnswer: Answer = {
  reasoning: '',
  text: '',
  refused: false,
  toolCalls: [],
  finish: 'stop',
  reasoningTokens: 0,
  outputTokens: 0,
}

function ending(answer: Answer) {
  return {
    stop_reason: stopReasons[answer.finish],
    stop_sequence: answer.stopSequence ?? null,
    stop_details: answer.finish === 'refusal' ? { type: 'refusal', category: null, explanation: null } : null,
  }
}

function head(exchange: Exchange) {
  return {
    model: exchange.prompt.model,
    id: `msg_01${idFrom(seedOf(exchange.seed, exchange.requestId), 'message', 22)}`,
    type: 'message',
    role: 'assistant',
  }
}

function toolId(exchange: Exchange, index: number): string {
  return `toolu_01${idFrom(seedOf(exchange.seed, exchange.requestId), `call ${index}`, 22)}`
}

/** What was read from and written to the cache is not part of `input_tokens`. */
function inputUsage(usage: Usage) {
  const { read, write5m, write1h } = usage.cache
  return {
    input_tokens: usage.inputTokens - read - write5m - write1h,
    cache_creation_input_tokens: write5m + write1h,
    cache_read_input_tokens: read,
  }
}

function fullUsage(usage: Usage, outputTokens: number) {
  const { write5m, write1h } = usage.cache
  return {
    ...inputUsage(usage),
    cache_creation: { ephemeral_5m_input_tokens: write5m, ephemeral_1h_input_tokens: write1h },
    output_tokens: outputTokens,
    service_tier: 'standard',
    inference_geo: 'not_available',
  }
}

function thinkingDetails(usage: Usage) {
  return usage.reasoningTokens > 0
    ? { output_tokens_details: { thinking_tokens: usage.reasoningTokens } }
    : {}
}

function message(exchange: Exchange, showsThinking: boolean): string {
  const answer = exchange.answers[0] ?? noAnswer
  const { usage } = exchange
  const thinking = showsThinking ? answer.reasoning : ''
  return JSON.stringify({
    ...head(exchange),
    content: [
      ...(answer.reasoning === '' ? [] : [{ type: 'thinking', thinking, signature: signatureOf(thinking) }]),
      ...(answer.text === '' ? [] : [{ type: 'text', text: answer.text }]),
      ...answer.toolCalls.map((call, index) => ({
        type: 'tool_use',
        id: toolId(exchange, index),
        name: call.name,
        // Arguments that were cut by max_tokens are no JSON any more: the vendor then answers with what it could parse.
        input: parseJson(call.arguments) ?? {},
      })),
    ],
    ...ending(answer),
    ...(usage === undefined
      ? {}
      : { usage: { ...fullUsage(usage, usage.outputTokens), ...thinkingDetails(usage) } }),
  })
}

/** One event as Anthropic writes it: named, and padded with spaces before the last brace. */
function event(type: string, data: object, padding: number, outputTokens = 0, content = false): Frame {
  const json = JSON.stringify({ type, ...data })
  const padded = `${json.slice(0, -1)}${' '.repeat(padding)}}`
  return { bytes: `event: ${type}\ndata: ${padded}\n\n`, outputTokens, content }
}

function* events(exchange: Exchange, showsThinking: boolean): Generator<Frame> {
  const answer = exchange.answers[0] ?? noAnswer
  const { usage } = exchange
  const next = numbersFrom(seedOf(exchange.seed, 'padding'))
  const opening = {
    ...head(exchange),
    content: [],
    stop_reason: null,
    stop_sequence: null,
    stop_details: null,
    ...(usage === undefined ? {} : { usage: fullUsage(usage, 1) }),
  }
  yield event('message_start', { message: opening }, next(16))
  let pinged = false
  for (const [index, block] of blocks(exchange, answer, showsThinking).entries()) {
    yield event('content_block_start', { index, content_block: block.start }, next(16), block.startTokens)
    if (!pinged) yield { bytes: 'event: ping\ndata: {"type": "ping"}\n\n', outputTokens: 0, content: false }
    pinged = true
    for (const step of block.deltas()) {
      yield event('content_block_delta', { index, delta: step.delta }, next(16), step.outputTokens, true)
    }
    yield event('content_block_stop', { index }, next(16))
  }
  const final =
    usage === undefined
      ? {}
      : { usage: { ...inputUsage(usage), output_tokens: usage.outputTokens, ...thinkingDetails(usage) } }
  yield event('message_delta', { delta: ending(answer), ...final }, next(16))
  yield event('message_stop', {}, next(16))
}

interface Step {
  readonly delta: object
  readonly outputTokens: number
}

interface Block {
  readonly start: object
  /** Tokens that are spent before the block's first delta. */
  readonly startTokens: number
  deltas(): Generator<Step>
}

function blocks(exchange: Exchange, answer: Answer, showsThinking: boolean): readonly Block[] {
  const size = numbersFrom(seedOf(exchange.seed, 'pieces'))
  const thought = answer.reasoning === '' ? [] : [thinkingBlock(answer, showsThinking, size)]
  const said = answer.text === '' ? [] : [textBlock(answer.text, size)]
  const called = answer.toolCalls.map((call, index) => toolBlock(call, toolId(exchange, index), size))
  return [...thought, ...said, ...called]
}

function thinkingBlock(answer: Answer, shows: boolean, size: (bound: number) => number): Block {
  const shown = shows ? answer.reasoning : ''
  return {
    start: { type: 'thinking', thinking: '', signature: '' },
    startTokens: shows ? 0 : answer.reasoningTokens,
    *deltas() {
      for (const piece of splitIntoPieces(shown, size)) {
        yield { delta: { type: 'thinking_delta', thinking: piece.text }, outputTokens: piece.tokens }
      }
      yield { delta: { type: 'signature_delta', signature: signatureOf(shown) }, outputTokens: 0 }
    },
  }
}

function textBlock(text: string, size: (bound: number) => number): Block {
  return {
    start: { type: 'text', text: '' },
    startTokens: 0,
    *deltas() {
      for (const piece of splitIntoPieces(text, size)) {
        yield { delta: { type: 'text_delta', text: piece.text }, outputTokens: piece.tokens }
      }
    },
  }
}

function toolBlock(call: Answer['toolCalls'][number], id: string, size: (bound: number) => number): Block {
  // A call without arguments gets no fragment but the empty one: the reader has to know that it means `{}`.
  const fragments = call.arguments === '{}' ? '' : call.arguments
  return {
    start: { type: 'tool_use', id, name: call.name, input: {} },
    startTokens: countTokens(call.name) + (fragments === '' ? countTokens(call.arguments) : 0),
    *deltas() {
      yield { delta: { type: 'input_json_delta', partial_json: '' }, outputTokens: 0 }
      for (const piece of splitIntoPieces(fragments, size)) {
        yield { delta: { type: 'input_json_delta', partial_json: piece.text }, outputTokens: piece.tokens }
      }
    },
  }
}
