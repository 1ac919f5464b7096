import { EMPTY_BUCKETS } from '@mesh/catalog/token-buckets.ts'
import type { StreamEvent } from '../../stream-event.ts'
import { quote, type ReplyClosing, type ReplyFailure, type ReplyInfo, type StreamReply } from '../reply.ts'
import { type AnswerBlock, type AnswerBlocks, addEvent, answerBlocks, isComplete } from './answer-blocks.ts'
import { messagesError, renderFirstUsage, renderUsage, type Stop, stopMembers } from './reply.ts'

/**
 * An answer as the events of a message. Blocks go out one after the other, each with its index and whole before the
 * next begins, as Anthropic sends them: other providers write the arguments of parallel calls interleaved, and what
 * comes for a later block is kept until the earlier one has ended. After an error no `message_stop` follows.
 */
export function createMessageStream(info: ReplyInfo): StreamReply {
  const stream: Stream = {
    info,
    blocks: answerBlocks(info),
    stop: { reason: undefined, sequence: undefined },
    started: false,
    live: -1,
  }
  return {
    event: (event) => renderEvent(stream, event),
    finish: (closing) => renderFinish(stream, closing),
    fail: renderFailure(info),
  }
}

interface Stream {
  readonly info: ReplyInfo
  readonly blocks: AnswerBlocks
  readonly stop: Stop
  started: boolean
  /** The index of the block that is being sent; -1 before the first. */
  live: number
}

function sse(type: string, members: string): string {
  return `event: ${type}\ndata: {"type":"${type}"${members}}\n\n`
}

function start(stream: Stream): string {
  if (stream.started) return ''
  stream.started = true
  const { id, served, input = EMPTY_BUCKETS } = stream.info
  const head = { id, type: 'message', role: 'assistant', content: [], stop_reason: null, stop_sequence: null }
  const who = { model: served?.model ?? null, provider: served?.provider ?? null }
  const message = quote({ ...head, ...who, stop_details: null }).slice(0, -1)
  return sse('message_start', `,"message":${message},"usage":${renderFirstUsage(input)}}`)
}

function renderEvent(stream: Stream, event: StreamEvent): string {
  if (event.type === 'finish') {
    stream.stop.reason = event.reason
    stream.stop.sequence = event.stopSequence
    return ''
  }
  const { blocks } = stream
  const added = addEvent(blocks, event)
  if (!added) return advance(stream, false)
  const { block, piece } = added
  if (blocks.list[stream.live] === block) return delta(stream.live, block, piece) + advance(stream, false)
  block.text += piece
  return advance(stream, false)
}

/** Goes on to the next block for as long as there is one and the one before has ended. */
function advance(stream: Stream, isLast: boolean): string {
  const { list } = stream.blocks
  let text = ''
  while (stream.live + 1 < list.length) {
    const before = list[stream.live]
    if (before && !isLast && !isComplete(before)) return text
    text += before ? close(stream.live, before) : start(stream)
    stream.live += 1
    const block = list[stream.live]
    if (block) text += open(stream.live, block)
  }
  return text
}

/** The start of a block, with what has come for it so far. */
function open(index: number, block: AnswerBlock): string {
  const begun = sse('content_block_start', `,"index":${index},"content_block":${emptyBlock(block)}`)
  const { text } = block
  block.text = ''
  return text === '' ? begun : begun + delta(index, block, text)
}

function emptyBlock(block: AnswerBlock): string {
  switch (block.type) {
    case 'text':
      return '{"type":"text","text":"","citations":null}'
    case 'thinking':
      return '{"type":"thinking","thinking":"","signature":""}'
    case 'redacted_thinking':
      return `{"type":"redacted_thinking","data":${quote(block.data)}}`
    case 'tool_use':
      return `{"type":"tool_use","id":"${block.call.id}","name":"${block.call.name}","input":{}}`
  }
}

function delta(index: number, block: AnswerBlock, piece: string): string {
  const place = `,"index":${index},"delta":`
  switch (block.type) {
    case 'text':
      return sse('content_block_delta', `${place}{"type":"text_delta","text":${quote(piece)}}`)
    case 'thinking':
      return sse('content_block_delta', `${place}{"type":"thinking_delta","thinking":${quote(piece)}}`)
    case 'tool_use':
      return sse('content_block_delta', `${place}{"type":"input_json_delta","partial_json":${quote(piece)}}`)
    case 'redacted_thinking':
      return ''
  }
}

/** What was thought ends with its proof, also an empty one: some clients give back no block that had none. */
function close(index: number, block: AnswerBlock): string {
  const proof =
    block.type === 'thinking'
      ? sse(
          'content_block_delta',
          `,"index":${index},"delta":{"type":"signature_delta","signature":${quote(block.proof)}}`,
        )
      : ''
  return proof + sse('content_block_stop', `,"index":${index}`)
}

function renderFinish(stream: Stream, closing: ReplyClosing): string {
  const { blocks, stop } = stream
  const rest = advance(stream, true)
  const last = blocks.list[stream.live]
  const ended = { ...stopMembers(stop, closing.finishReason, blocks), stop_details: null }
  return (
    start(stream) +
    rest +
    (last ? close(stream.live, last) : '') +
    sse(
      'message_delta',
      `,"delta":${quote(ended)},"usage":${renderUsage(closing.usage)},"routing":${quote(closing.routing)}`,
    ) +
    sse('message_stop', '')
  )
}

/** Anthropic's SDKs throw at the event itself, so it carries the receipt and what was used. */
function renderFailure(info: ReplyInfo): (failure: ReplyFailure) => string {
  return ({ error, receiptId, usage }) => {
    const { metadata, ...facts } = error
    const known = quote({ ...metadata, receipt_id: receiptId }).slice(0, -1)
    const metadataText = usage ? `${known},"usage":${renderUsage(usage)}}` : `${known}}`
    const said = quote(messagesError(facts)).slice(0, -1)
    return sse('error', `,"error":${said},"metadata":${metadataText}},"request_id":${quote(info.id)}`)
  }
}
