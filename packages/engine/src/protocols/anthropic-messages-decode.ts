import { type AnswerReader, answerDecoder, brokenAnswer, type Emit, endAnswer } from '../answer-decoder.ts'
import type { Json, JsonObject } from '../ask.ts'
import type { AnswerBounds, Decoder } from '../protocol.ts'
import type { FinishReason } from '../stream-event.ts'
import { anthropicUsage } from '../usage.ts'
import { arrayOf, objectOf, textOf, writeJson } from '../wire-json.ts'

/** The most content blocks of a stream that may be open at once. Anthropic opens one after the other. */
const OPEN_BLOCKS_MAX = 64

/** A content block while its deltas come in. Blocks of tools that Anthropic runs itself are `ignored`. */
type Block =
  | { readonly type: 'text' | 'ignored' }
  | { readonly type: 'thinking'; signature: string }
  | { readonly type: 'tool_use'; readonly index: number; argumentsSeen: boolean }

/** The longest id and name of a tool call that can be true: no provider takes longer ones. */
const TOOL_WORD_CHARACTERS_MAX = 1024

/** What is known of a message while it is read. */
interface MessageState {
  readonly blocks: Map<number, Block>
  toolCalls: number
  /** All that was reported so far, the later number for each field. */
  usage: JsonObject
  started: boolean
  finished: boolean
}

/** A decoder for a message, streamed or in one piece. There is only ever choice 0. */
export function messagesDecoder(bounds: AnswerBounds): Decoder {
  const state: MessageState = {
    blocks: new Map(),
    toolCalls: 0,
    usage: {},
    started: false,
    finished: false,
  }
  const reader: AnswerReader = {
    message: (body, emit) => readEvent(state, body, emit),
    textRepeats: true,
    // Not a word of this protocol: only `message_stop` ends a message.
    done: () => {},
    document: (body, emit) => readDocument(state, body, emit),
  }
  return answerDecoder(reader, bounds)
}

function openBlock(state: MessageState, content: JsonObject, emit: Emit): Block {
  switch (content.type) {
    case 'text': {
      emitPiece('text', content.text, emit)
      return { type: 'text' }
    }
    case 'thinking':
      emitPiece('reasoning', content.thinking, emit)
      return { type: 'thinking', signature: textOf(content.signature) ?? '' }
    case 'redacted_thinking':
      emit({ type: 'reasoning-end', choice: 0, redacted: textOf(content.data) ?? '' })
      return { type: 'ignored' }
    case 'tool_use':
      return openToolUse(state, content, emit)
    default:
      return { type: 'ignored' }
  }
}

function openToolUse(state: MessageState, content: JsonObject, emit: Emit): Block {
  const index = state.toolCalls
  state.toolCalls += 1
  const id = textOf(content.id)
  const name = textOf(content.name)
  const input = objectOf(content.input) ?? {}
  const fragment = Object.keys(input).length === 0 ? '' : writeJson(input)
  const isBounded = Math.max(id?.length ?? 0, name?.length ?? 0) <= TOOL_WORD_CHARACTERS_MAX
  if (id === undefined || name === undefined || fragment === undefined || !isBounded) {
    emit(brokenAnswer('malformed'))
    return { type: 'ignored' }
  }
  emit({ type: 'tool-call', choice: 0, index, id, name })
  if (fragment !== '') emit({ type: 'tool-arguments', choice: 0, index, fragment })
  return { type: 'tool_use', index, argumentsSeen: fragment !== '' }
}

function readDelta(block: Block | undefined, delta: JsonObject, emit: Emit): void {
  if (block?.type === 'ignored') return
  switch (delta.type) {
    case 'text_delta':
      emitPiece('text', delta.text, emit)
      return
    case 'thinking_delta':
      emitPiece('reasoning', delta.thinking, emit)
      return
    case 'signature_delta':
      if (block?.type === 'thinking') block.signature += textOf(delta.signature) ?? ''
      return
    case 'input_json_delta': {
      if (block?.type !== 'tool_use') {
        emit(brokenAnswer('malformed'))
        return
      }
      const fragment = textOf(delta.partial_json)
      if (fragment === undefined) return
      block.argumentsSeen = true
      emit({ type: 'tool-arguments', choice: 0, index: block.index, fragment })
    }
  }
}

function closeBlock(block: Block, emit: Emit): void {
  if (block.type === 'thinking') {
    emit({
      type: 'reasoning-end',
      choice: 0,
      ...(block.signature === '' ? {} : { signature: block.signature }),
    })
  }
  // A tool without arguments gets no delta at all; an empty text would be no JSON.
  if (block.type === 'tool_use' && !block.argumentsSeen) {
    emit({ type: 'tool-arguments', choice: 0, index: block.index, fragment: '{}' })
  }
}

function readUsage(state: MessageState, value: Json | undefined, emit: Emit): void {
  const reported = objectOf(value)
  if (!reported) return
  // The end's numbers are cumulative and win, field by field, over those of the start.
  const given = Object.entries(reported).filter(([, count]) => count !== null)
  state.usage = { ...state.usage, ...Object.fromEntries(given) }
  emit({ type: 'usage', usage: anthropicUsage(state.usage) })
}

/** What a stream's start says of its output is a placeholder, which an end without usage must not make the truth. */
function withoutOutput(usage: JsonObject | undefined): JsonObject | undefined {
  if (!usage) return undefined
  const { output_tokens: _, ...known } = usage
  return known
}

function readStop(state: MessageState, end: JsonObject | undefined, emit: Emit): void {
  const reason = textOf(end?.stop_reason)
  if (reason === undefined || state.finished) return
  state.finished = true
  const stopSequence = textOf(end?.stop_sequence)
  emit({
    type: 'finish',
    choice: 0,
    reason: STOP_REASONS.get(reason) ?? 'stop',
    ...(stopSequence === undefined ? {} : { stopSequence }),
  })
}

function finish(state: MessageState, emit: Emit): void {
  const { started, finished, toolCalls } = state
  endAnswer(started ? [{ choice: 0, isFinished: finished, callsTools: toolCalls > 0 }] : [], emit)
}

function readEvent(state: MessageState, body: JsonObject, emit: Emit): void {
  const index = typeof body.index === 'number' ? body.index : 0
  const block = state.blocks.get(index)
  switch (body.type) {
    case 'message_start':
      state.started = true
      readUsage(state, withoutOutput(objectOf(objectOf(body.message)?.usage)), emit)
      return
    case 'content_block_start':
      if (state.blocks.size >= OPEN_BLOCKS_MAX) emit(brokenAnswer('malformed'))
      else state.blocks.set(index, openBlock(state, objectOf(body.content_block) ?? {}, emit))
      return
    case 'content_block_delta':
      readDelta(block, objectOf(body.delta) ?? {}, emit)
      return
    case 'content_block_stop':
      if (block) closeBlock(block, emit)
      state.blocks.delete(index)
      return
    case 'message_delta':
      readUsage(state, body.usage, emit)
      readStop(state, objectOf(body.delta), emit)
      return
    case 'message_stop':
      finish(state, emit)
  }
}

function readDocument(state: MessageState, body: JsonObject, emit: Emit): void {
  if (body.type !== 'message' || !Array.isArray(body.content)) return
  state.started = true
  for (const content of arrayOf(body.content)) {
    closeBlock(openBlock(state, objectOf(content) ?? {}, emit), emit)
  }
  readUsage(state, body.usage, emit)
  readStop(state, body, emit)
  finish(state, emit)
}

function emitPiece(type: 'text' | 'reasoning', value: Json | undefined, emit: Emit): void {
  const text = textOf(value)
  if (text !== undefined) emit({ type, choice: 0, text })
}

/** https://platform.claude.com/docs/en/build-with-claude/handling-stop-reasons */
const STOP_REASONS: ReadonlyMap<string, FinishReason> = new Map([
  ['end_turn', 'stop'],
  ['stop_sequence', 'stop'],
  ['pause_turn', 'stop'],
  ['max_tokens', 'length'],
  ['model_context_window_exceeded', 'length'],
  ['tool_use', 'tool_calls'],
  ['refusal', 'content_filter'],
])
