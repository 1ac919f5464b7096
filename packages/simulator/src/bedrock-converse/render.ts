import type { Answer } from '../answer.ts'
import { signatureOf } from '../anthropic-messages/thinking.ts'
import type { Exchange, Frame, Rendering, Usage } from '../family.ts'
import { parseJson } from '../json.ts'
import { idFrom, numbersFrom, seedOf } from '../seed.ts'
import { countTokens, splitIntoPieces } from '../tokens.ts'
import { event, exception } from './event-stream.ts'
import type { ConverseThinking } from './thinking.ts'

type Shows = ConverseThinking['shows']

/** Renders answers of Converse. `countsCache`: models without a prompt cache do not speak of one. */
export function converseRendering(shows: Shows, countsCache: boolean): Rendering {
  return {
    json: (exchange) => JSON.stringify(whole(exchange, shows, countsCache)),
    frames: (exchange) => frames(exchange, shows, countsCache),
    errorEvent: () => exception('serviceUnavailableException', 'Bedrock is unable to process your request.'),
  }
}

const stopReasons: Readonly<Record<Answer['finish'], string>> = {
  stop: 'end_turn',
  stop_sequence: 'stop_sequence',
  length: 'max_tokens',
  tool_calls: 'tool_use',
  refusal: 'content_filtered',
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

function toolId(exchange: Exchange, index: number): string {
  return `tooluse_${idFrom(seedOf(exchange.seed, exchange.requestId), `call ${index}`, 22)}`
}

/** What was read from and written to the cache is not part of `inputTokens`. */
function usageOf(usage: Usage, countsCache: boolean) {
  const { read, write5m, write1h } = usage.cache
  const written = write5m + write1h
  const details = [
    ...(write1h > 0 ? [{ inputTokens: write1h, ttl: '1h' }] : []),
    ...(write5m > 0 ? [{ inputTokens: write5m, ttl: '5m' }] : []),
  ]
  return {
    ...(details.length > 0 ? { cacheDetails: details } : {}),
    ...(countsCache
      ? {
          cacheReadInputTokenCount: read,
          cacheReadInputTokens: read,
          cacheWriteInputTokenCount: written,
          cacheWriteInputTokens: written,
        }
      : {}),
    inputTokens: usage.inputTokens - read - written,
    outputTokens: usage.outputTokens,
    serverToolUsage: {},
    totalTokens: usage.inputTokens + usage.outputTokens,
  }
}

function ending(exchange: Exchange, countsCache: boolean) {
  const { usage } = exchange
  return {
    metrics: { latencyMs: 1 },
    ...(usage === undefined ? {} : { usage: usageOf(usage, countsCache) }),
  }
}

/** The text of a thought as the model shows it. */
function shownThought(answer: Answer, shows: Shows): string {
  if (shows === 'signature') return ''
  return shows === 'redacted' ? '[REDACTED]' : answer.reasoning
}

function isSigned(shows: Shows): boolean {
  return shows === 'signed' || shows === 'signature'
}

function whole(exchange: Exchange, shows: Shows, countsCache: boolean) {
  const answer = exchange.answers[0] ?? noAnswer
  const text = shownThought(answer, shows)
  const reasoningText = { ...(isSigned(shows) ? { signature: signatureOf(text) } : {}), text }
  const content = [
    ...(answer.reasoning === '' ? [] : [{ reasoningContent: { reasoningText } }]),
    ...(answer.text === '' ? [] : [{ text: answer.text }]),
    ...answer.toolCalls.map((call, index) => ({
      // Arguments that were cut by maxTokens are no JSON any more: the vendor answers with what it could parse.
      toolUse: {
        input: parseJson(call.arguments) ?? {},
        name: call.name,
        toolUseId: toolId(exchange, index),
      },
    })),
  ]
  return {
    ...ending(exchange, countsCache),
    output: { message: { content, role: 'assistant' } },
    stopReason: stopReasons[answer.finish],
  }
}

const alphabet = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'

/** One event, padded so that its length does not tell that of a token. */
function frame(
  type: string,
  body: object,
  next: (bound: number) => number,
  outputTokens = 0,
  content = false,
): Frame {
  const p = alphabet.slice(0, 1 + next(alphabet.length))
  return { bytes: event(type, { ...body, p }), outputTokens, content }
}

function* frames(exchange: Exchange, shows: Shows, countsCache: boolean): Generator<Frame> {
  const answer = exchange.answers[0] ?? noAnswer
  const next = numbersFrom(seedOf(exchange.seed, 'padding'))
  yield frame('messageStart', { role: 'assistant' }, next)
  for (const [contentBlockIndex, block] of blocks(exchange, answer, shows).entries()) {
    if (block.start) {
      yield frame('contentBlockStart', { contentBlockIndex, start: block.start }, next, block.startTokens)
    }
    for (const { delta, outputTokens } of block.deltas()) {
      yield frame('contentBlockDelta', { contentBlockIndex, delta }, next, outputTokens, true)
    }
    yield frame('contentBlockStop', { contentBlockIndex }, next)
  }
  yield frame('messageStop', { stopReason: stopReasons[answer.finish] }, next)
  yield frame('metadata', ending(exchange, countsCache), next)
}

interface Step {
  readonly delta: object
  readonly outputTokens: number
}

interface Block {
  /** Only tools have a start of their own. */
  readonly start?: object
  readonly startTokens: number
  deltas(): Generator<Step>
}

function blocks(exchange: Exchange, answer: Answer, shows: Shows): readonly Block[] {
  const size = numbersFrom(seedOf(exchange.seed, 'pieces'))
  const thought = answer.reasoning === '' ? [] : [thoughtBlock(answer, shows, size)]
  const said = answer.text === '' ? [] : [textBlock(answer.text, size)]
  const called = answer.toolCalls.map((call, index) => toolBlock(call, toolId(exchange, index), size))
  return [...thought, ...said, ...called]
}

function thoughtBlock(answer: Answer, shows: Shows, size: (bound: number) => number): Block {
  const text = shownThought(answer, shows)
  const isWhole = text === answer.reasoning
  return {
    startTokens: 0,
    *deltas() {
      // What does not show is spent before the first thing that does.
      let unseen = isWhole ? 0 : answer.reasoningTokens
      for (const piece of splitIntoPieces(text, size)) {
        const delta = { reasoningContent: { text: piece.text } }
        yield { delta, outputTokens: isWhole ? piece.tokens : unseen }
        unseen = 0
      }
      const signature = signatureOf(text)
      if (isSigned(shows)) yield { delta: { reasoningContent: { signature } }, outputTokens: unseen }
    },
  }
}

function textBlock(text: string, size: (bound: number) => number): Block {
  return {
    startTokens: 0,
    *deltas() {
      for (const piece of splitIntoPieces(text, size)) {
        yield { delta: { text: piece.text }, outputTokens: piece.tokens }
      }
    },
  }
}

function toolBlock(
  call: Answer['toolCalls'][number],
  toolUseId: string,
  size: (bound: number) => number,
): Block {
  // A call without arguments gets no delta at all: the reader has to know that it means `{}`.
  const fragments = call.arguments === '{}' ? '' : call.arguments
  return {
    start: { toolUse: { name: call.name, toolUseId } },
    startTokens: countTokens(call.name) + (fragments === '' ? countTokens(call.arguments) : 0),
    *deltas() {
      for (const piece of splitIntoPieces(fragments, size)) {
        yield { delta: { toolUse: { input: piece.text } }, outputTokens: piece.tokens }
      }
    },
  }
}
