import {
  type AnswerReader,
  answerDecoder,
  brokenAnswer,
  type Emit,
  endAnswer,
  type StreamFraming,
} from '../answer-decoder.ts'
import type { Json, JsonObject } from '../ask.ts'
import { eventStreamParser } from '../aws-event-stream.ts'
import { bedrockUsage } from '../bedrock-usage.ts'
import type { AnswerBounds, Decoder } from '../protocol.ts'
import type { FinishReason } from '../stream-event.ts'
import { arrayOf, objectOf, textOf, writeJson } from '../wire-json.ts'
import { blobText } from './bedrock-converse-blob.ts'
import { streamException } from './bedrock-converse-failure.ts'

/** The most content blocks of a stream that may be open at once. Bedrock opens one after the other. */
const OPEN_BLOCKS_MAX = 64
/** The longest id and name of a tool call that can be true: no provider takes longer ones. */
const TOOL_WORD_CHARACTERS_MAX = 1024

/**
 * A content block while its deltas come in. Text and reasoning begin with their first delta, tools with an event of
 * their own; tools that AWS runs itself are `ignored`.
 */
interface Block {
  ignored: boolean
  reasoning: { signature: string; redacted: string } | undefined
  tool: { readonly index: number; argumentsSeen: boolean } | undefined
}

/** What is known of a message while it is read. There is only ever choice 0. */
interface MessageState {
  readonly blocks: Map<number, Block>
  toolCalls: number
  started: boolean
  finished: boolean
}

/**
 * A decoder for an answer of Converse, streamed or in one piece. A stream says why it stopped in `messageStop` and
 * ends with `metadata`, which has the usage. One that ends in good order between the two is whole, and its usage is
 * for the meter to estimate.
 */
export function converseDecoder(bounds: AnswerBounds): Decoder {
  const state: MessageState = { blocks: new Map(), toolCalls: 0, started: false, finished: false }
  const reader: AnswerReader = {
    message: (body, emit, name) => readEvent(state, name, body, emit),
    // Not a word of this protocol.
    done: () => {},
    document: (body, emit) => readDocument(state, body, emit),
    closed: (emit) => {
      if (state.finished) finish(state, emit)
    },
  }
  return answerDecoder(reader, bounds, EVENT_STREAM)
}

/** How the name of an exception is told from that of an event. */
const EXCEPTION = 'exception:'

const EVENT_STREAM: StreamFraming = {
  // The length of any message that is taken fits into the other three bytes.
  begins: (byte) => byte === 0,
  parser(bounds) {
    const parser = eventStreamParser(bounds.eventCharactersMax)
    return {
      push: (bytes, take) =>
        parser.push(bytes, (headers, payload) => {
          const data = new TextDecoder().decode(payload)
          switch (headers.get(':message-type')) {
            case 'event':
              take(headers.get(':event-type') ?? '', data)
              return
            case 'exception':
              take(EXCEPTION + (headers.get(':exception-type') ?? ''), data === '' ? '{}' : data)
              return
            default:
              // An error that no model of the service names: its words are headers.
              take(
                EXCEPTION + (headers.get(':error-code') ?? ''),
                JSON.stringify({ message: headers.get(':error-message') ?? '' }),
              )
          }
        }),
      // Half a message is none, and the missing end says so.
      end: () => {},
    }
  },
  failure(name, message) {
    if (!name.startsWith(EXCEPTION)) return undefined
    const fields = objectOf(message)
    const text = textOf(fields?.message) ?? textOf(fields?.Message) ?? textOf(fields?.originalMessage)
    return streamException(name.slice(EXCEPTION.length), text ?? '')
  },
}

function readEvent(state: MessageState, name: string, body: JsonObject, emit: Emit): void {
  const index = typeof body.contentBlockIndex === 'number' ? body.contentBlockIndex : 0
  switch (name) {
    case 'messageStart':
      state.started = true
      return
    case 'contentBlockStart':
      openBlock(state, index, objectOf(body.start) ?? {}, emit)
      return
    case 'contentBlockDelta':
      readDelta(state, index, objectOf(body.delta) ?? {}, emit)
      return
    case 'contentBlockStop':
      closeBlock(state, index, emit)
      return
    case 'messageStop':
      for (const open of [...state.blocks.keys()]) closeBlock(state, open, emit)
      readStop(state, body.stopReason, emit)
      return
    case 'metadata':
      readUsage(body.usage, emit)
      finish(state, emit)
  }
}

function blockAt(state: MessageState, index: number, emit: Emit): Block {
  const open = state.blocks.get(index)
  if (open) return open
  const block: Block = { ignored: false, reasoning: undefined, tool: undefined }
  if (state.blocks.size >= OPEN_BLOCKS_MAX) emit(brokenAnswer('malformed'))
  else state.blocks.set(index, block)
  return block
}

function openBlock(state: MessageState, index: number, start: JsonObject, emit: Emit): void {
  const toolUse = objectOf(start.toolUse)
  const block = blockAt(state, index, emit)
  if (toolUse && !isHosted(toolUse)) openTool(state, block, toolUse, emit)
  // Results of hosted tools, and whatever else has a start: nothing that a caller asked for.
  else if (Object.keys(start).length > 0) block.ignored = true
}

/** Whether AWS runs the tool itself. MESH asks for none, so nobody would know what to do with it. */
function isHosted(toolUse: JsonObject): boolean {
  return toolUse.type === 'server_tool_use'
}

function openTool(state: MessageState, block: Block, toolUse: JsonObject, emit: Emit): void {
  const id = textOf(toolUse.toolUseId)
  const name = textOf(toolUse.name)
  if (
    id === undefined ||
    name === undefined ||
    Math.max(id.length, name.length) > TOOL_WORD_CHARACTERS_MAX ||
    block.tool
  ) {
    emit(brokenAnswer('malformed'))
    return
  }
  block.tool = { index: state.toolCalls, argumentsSeen: false }
  state.toolCalls += 1
  emit({ type: 'tool-call', choice: 0, index: block.tool.index, id, name })
}

function readDelta(state: MessageState, index: number, delta: JsonObject, emit: Emit): void {
  const block = blockAt(state, index, emit)
  if (block.ignored) return
  const text = textOf(delta.text)
  if (text !== undefined) {
    // A model that writes both into one block has ended its reasoning.
    endReasoning(block, emit)
    emit({ type: 'text', choice: 0, text })
  }
  const reasoning = objectOf(delta.reasoningContent)
  if (reasoning) readReasoning(block, reasoning, emit)
  const toolUse = objectOf(delta.toolUse)
  if (toolUse) readFragment(block, textOf(toolUse.input), emit)
}

function readReasoning(block: Block, delta: JsonObject, emit: Emit): void {
  block.reasoning ??= { signature: '', redacted: '' }
  const text = textOf(delta.text)
  if (text !== undefined) emit({ type: 'reasoning', choice: 0, text })
  block.reasoning.signature += textOf(delta.signature) ?? ''
  const blob = textOf(delta.redactedContent)
  const redacted = blob === undefined ? '' : blobText(blob)
  if (redacted === undefined) emit(brokenAnswer('malformed'))
  else block.reasoning.redacted += redacted
}

function readFragment(block: Block, fragment: string | undefined, emit: Emit): void {
  if (!block.tool) {
    emit(brokenAnswer('malformed'))
    return
  }
  if (fragment === undefined) return
  block.tool.argumentsSeen = true
  emit({ type: 'tool-arguments', choice: 0, index: block.tool.index, fragment })
}

function endReasoning(block: Block, emit: Emit): void {
  const { reasoning } = block
  if (!reasoning) return
  block.reasoning = undefined
  emit({
    type: 'reasoning-end',
    choice: 0,
    ...(reasoning.signature === '' ? {} : { signature: reasoning.signature }),
    ...(reasoning.redacted === '' ? {} : { redacted: reasoning.redacted }),
  })
}

function closeBlock(state: MessageState, index: number, emit: Emit): void {
  const block = state.blocks.get(index)
  if (!block) return
  state.blocks.delete(index)
  endReasoning(block, emit)
  // A tool without arguments gets no delta at all; an empty text would be no JSON.
  if (block.tool && !block.tool.argumentsSeen) {
    emit({ type: 'tool-arguments', choice: 0, index: block.tool.index, fragment: '{}' })
  }
}

function readDocument(state: MessageState, body: JsonObject, emit: Emit): void {
  const message = objectOf(objectOf(body.output)?.message)
  if (!message || !Array.isArray(message.content)) return
  state.started = true
  for (const [index, part] of arrayOf(message.content).entries()) {
    readContent(state, index, objectOf(part) ?? {}, emit)
    closeBlock(state, index, emit)
  }
  readUsage(body.usage, emit)
  readStop(state, body.stopReason, emit)
  finish(state, emit)
}

/** A whole block, in the words of a stream's deltas. */
function readContent(state: MessageState, index: number, content: JsonObject, emit: Emit): void {
  const toolUse = objectOf(content.toolUse)
  if (toolUse) {
    if (isHosted(toolUse)) return
    const input = objectOf(toolUse.input) ?? {}
    const fragment = Object.keys(input).length === 0 ? '' : writeJson(input)
    if (fragment === undefined) {
      emit(brokenAnswer('malformed'))
      return
    }
    openBlock(state, index, { toolUse }, emit)
    if (fragment !== '') readDelta(state, index, { toolUse: { input: fragment } }, emit)
    return
  }
  const reasoning = objectOf(content.reasoningContent)
  const reasoningContent = objectOf(reasoning?.reasoningText) ?? reasoning
  const cited = objectOf(content.citationsContent)
  if (reasoningContent) readDelta(state, index, { reasoningContent }, emit)
  else if (typeof content.text === 'string') readDelta(state, index, { text: content.text }, emit)
  // A stream has a text that cites in plain deltas, with what it cites beside them.
  for (const part of arrayOf(cited?.content))
    readDelta(state, index, { text: objectOf(part)?.text ?? null }, emit)
}

function readUsage(value: Json | undefined, emit: Emit): void {
  const reported = objectOf(value)
  if (reported) emit({ type: 'usage', usage: bedrockUsage(reported) })
}

function readStop(state: MessageState, value: Json | undefined, emit: Emit): void {
  const reason = textOf(value)
  if (reason === undefined || state.finished) return
  // The model wrote what its host could not read: the request is fine, and another try may be too.
  if (reason.startsWith('malformed_')) {
    emit(brokenAnswer('malformed'))
    return
  }
  state.finished = true
  emit({ type: 'finish', choice: 0, reason: STOP_REASONS.get(reason) ?? 'stop' })
}

function finish(state: MessageState, emit: Emit): void {
  const { started, finished, toolCalls } = state
  endAnswer(started ? [{ choice: 0, isFinished: finished, callsTools: toolCalls > 0 }] : [], emit)
}

/** https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html, `stopReason` */
const STOP_REASONS: ReadonlyMap<string, FinishReason> = new Map([
  ['end_turn', 'stop'],
  ['stop_sequence', 'stop'],
  ['max_tokens', 'length'],
  ['model_context_window_exceeded', 'length'],
  ['tool_use', 'tool_calls'],
  ['guardrail_intervened', 'content_filter'],
  ['content_filtered', 'content_filter'],
  ['refusal', 'content_filter'],
])
