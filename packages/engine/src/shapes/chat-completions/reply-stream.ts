import type { Json } from '../../ask.ts'
import type { FinishReason, StreamEvent } from '../../stream-event.ts'
import { openaiError } from '../openai-error.ts'
import {
  quote,
  type ReplyClosing,
  type ReplyFailure,
  type ReplyInfo,
  reasoningFormat,
  type StreamReply,
} from '../reply.ts'
import { type ToolCallIdentities, toolCallIdentities } from '../tool-call-identity.ts'
import { renderUsage } from './reply.ts'

/**
 * An answer as chunks of a chat completion. The finish chunks bear usage, `routing` and `[DONE]`. No `[DONE]` follows an
 * error chunk: that would tell a reader who skips unknown members that the answer is whole. OpenAI's SDKs throw at the
 * chunk itself; others see `finish_reason: "error"`, then the connection's end.
 *
 * ```ts
 * const reply = createStreamReply(info)
 * for (const event of decoder.push(bytes)) await sink.write(reply.event(event))
 * await sink.write(reply.finish(closing)) // when the charge is durable
 * ```
 */
export function createStreamReply(info: ReplyInfo): StreamReply {
  const usagePending = info.usageChunk ? ',"usage":null' : ''
  const stream: Stream = {
    info,
    top: chunkTop(info),
    format: reasoningFormat(info),
    tail: `,"logprobs":null,"finish_reason":null}]${usagePending}}\n\n`,
    usagePending,
    choices: new Map(),
  }
  return {
    event: (event) => renderEvent(stream, event),
    finish: (closing) => renderFinish(stream, closing),
    fail: (failure) => renderFailure(stream, failure),
  }
}

interface Stream {
  readonly info: ReplyInfo
  /** The members that every chunk has, without the braces. */
  readonly top: string
  readonly format: string
  /** Everything of a content chunk after its delta. */
  readonly tail: string
  /** OpenAI's chunks have `usage: null` where usage was asked for and is still to come. */
  readonly usagePending: string
  readonly choices: Map<number, Choice>
}

interface Choice {
  readonly tools: ToolCallIdentities
  /** Everything of a chunk before its delta: a chunk of text is this, one `JSON.stringify`, and the tail. */
  readonly head: string
  started: boolean
  finishReason?: FinishReason
  reasoningBlocks: number
}

function choiceAt(stream: Stream, index: number): Choice {
  const known = stream.choices.get(index)
  if (known) return known
  const choice: Choice = {
    tools: toolCallIdentities(stream.info.id, index),
    head: `data: {${stream.top},"choices":[{"index":${index},"delta":`,
    started: false,
    reasoningBlocks: 0,
  }
  stream.choices.set(index, choice)
  return choice
}

/** The role comes with a choice's first chunk of anything, so that nothing is sent while fallback is possible. */
function start(stream: Stream, choice: Choice): string {
  if (choice.started) return ''
  choice.started = true
  return `${choice.head}{"role":"assistant","content":"","refusal":null}${stream.tail}`
}

function chunk(stream: Stream, choice: Choice, delta: string): string {
  return `${start(stream, choice)}${choice.head}${delta}${stream.tail}`
}

function renderEvent(stream: Stream, event: StreamEvent): string {
  if (!('choice' in event)) return ''
  const choice = choiceAt(stream, event.choice)
  switch (event.type) {
    case 'text':
      return renderText(stream, choice, event)
    case 'refusal':
      return event.text === '' ? '' : chunk(stream, choice, `{"refusal":${quote(event.text)}}`)
    case 'reasoning':
    case 'reasoning-end':
      return stream.info.excludeReasoning ? '' : renderReasoning(stream, choice, event)
    case 'tool-call':
      return renderToolCall(stream, choice, event)
    case 'tool-arguments':
      return renderToolArguments(stream, choice, event)
    case 'finish':
      choice.finishReason = event.reason
      return ''
  }
}

function renderText(
  stream: Stream,
  choice: Choice,
  { text, logprobs }: { readonly text: string; readonly logprobs?: Json },
): string {
  if (logprobs === undefined) {
    return text === '' ? '' : chunk(stream, choice, `{"content":${quote(text)}}`)
  }
  const tail = `,"logprobs":${quote(logprobs)},"finish_reason":null}]${stream.usagePending}}\n\n`
  return `${start(stream, choice)}${choice.head}{"content":${quote(text)}}${tail}`
}

/** OpenRouter's form: `reasoning` for readers, `reasoning_details` to be sent back with the next turn. */
function renderReasoning(
  stream: Stream,
  choice: Choice,
  event: Extract<StreamEvent, { type: 'reasoning' | 'reasoning-end' }>,
): string {
  const place = `"format":"${stream.format}","index":${choice.reasoningBlocks}`
  if (event.type === 'reasoning') {
    if (event.text === '') return ''
    const text = quote(event.text)
    const detail = `{"type":"reasoning.text","text":${text},${place}}`
    return chunk(stream, choice, `{"reasoning":${text},"reasoning_details":[${detail}]}`)
  }
  choice.reasoningBlocks += 1
  const details: string[] = []
  if (event.signature !== undefined) {
    details.push(`{"type":"reasoning.text","signature":${quote(event.signature)},${place}}`)
  }
  if (event.redacted !== undefined) {
    details.push(`{"type":"reasoning.encrypted","data":${quote(event.redacted)},${place}}`)
  }
  return details.length === 0 ? '' : chunk(stream, choice, `{"reasoning_details":[${details.join(',')}]}`)
}

function renderToolCall(
  stream: Stream,
  choice: Choice,
  event: Extract<StreamEvent, { type: 'tool-call' }>,
): string {
  const { call, isNew } = choice.tools.open(event.index, event.id, event.name, event.signature)
  if (!isNew) return ''
  const opened = `"id":"${call.id}","type":"function","function":{"name":"${call.name}","arguments":""}`
  return chunk(stream, choice, `{"tool_calls":[{"index":${call.index},${opened}}]}`)
}

function renderToolArguments(
  stream: Stream,
  choice: Choice,
  event: Extract<StreamEvent, { type: 'tool-arguments' }>,
): string {
  const call = choice.tools.find(event.index)
  if (!call || event.fragment === '') return ''
  const fragment = `{"arguments":${quote(event.fragment)}}`
  return chunk(stream, choice, `{"tool_calls":[{"index":${call.index},"function":${fragment}}]}`)
}

function renderFinish(stream: Stream, closing: ReplyClosing): string {
  choiceAt(stream, 0)
  const closingMembers = `"usage":${renderUsage(closing.usage)},"routing":${quote(closing.routing)}`
  const choices = choicesInOrder(stream)
  let text = ''
  for (const [position, [, choice]] of choices.entries()) {
    const reason = choice.finishReason ?? closing.finishReason
    const ridesHere = !stream.info.usageChunk && position === choices.length - 1
    const after = ridesHere ? `,${closingMembers}` : stream.usagePending
    text += `${start(stream, choice)}${choice.head}{},"logprobs":null,"finish_reason":"${reason}"}]${after}}\n\n`
  }
  if (stream.info.usageChunk) text += `data: {${stream.top},"choices":[],${closingMembers}}\n\n`
  return `${text}data: [DONE]\n\n`
}

/**
 * Vercel's AI SDK looks for an error only in what it cannot take for a chunk, and took this one for the end of a shorter
 * answer. Its annotations are a list, so that an object is no chunk to it; nobody else looks at them.
 */
const FAILED_DELTA = '{"content":"","annotations":{}}'

function renderFailure(stream: Stream, failure: ReplyFailure): string {
  choiceAt(stream, 0)
  const ended = choicesInOrder(stream).map(
    ([index]) => `{"index":${index},"delta":${FAILED_DELTA},"logprobs":null,"finish_reason":"error"}`,
  )
  return `data: {${stream.top},"choices":[${ended.join(',')}],"error":${renderError(failure)}}\n\n`
}

function choicesInOrder(stream: Stream): readonly (readonly [index: number, choice: Choice])[] {
  return [...stream.choices].sort(([left], [right]) => left - right)
}

function chunkTop(info: ReplyInfo): string {
  const model = info.served ? quote(info.served.model) : 'null'
  const provider = info.served ? quote(info.served.provider) : 'null'
  return (
    `"id":${quote(info.id)},"object":"chat.completion.chunk","created":${info.createdSeconds},` +
    `"model":${model},"provider":${provider},"system_fingerprint":null`
  )
}

/** Callers of OpenAI's SDKs see the error alone and no later chunk, so it carries the receipt and what was used. */
function renderError({ error, receiptId, usage }: ReplyFailure): string {
  const { metadata, ...facts } = error
  const known = quote({ ...metadata, receipt_id: receiptId }).slice(0, -1)
  const metadataText = usage ? `${known},"usage":${renderUsage(usage)}}` : `${known}}`
  return `${quote(openaiError(facts)).slice(0, -1)},"metadata":${metadataText}}`
}
