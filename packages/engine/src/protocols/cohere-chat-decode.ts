import { brokenAnswer, type Emit, endAnswer } from '../answer-decoder.ts'
import type { Json, JsonObject } from '../ask.ts'
import type { FinishReason } from '../stream-event.ts'
import { cohereUsage } from '../usage.ts'
import { arrayOf, objectOf, textOf, writeJson } from '../wire-json.ts'

/** The most tool calls of one answer that are followed. */
const TOOL_CALLS_MAX = 1024
/** The longest id and name of a tool call that can be true: no provider takes longer ones. */
const TOOL_WORD_CHARACTERS_MAX = 1024

interface Call {
  /** Cohere's own number for it. */
  readonly upstreamIndex: number | undefined
  argumentsSeen: boolean
}

/** Reads one chat answer, streamed or in one piece. There is only ever choice 0. */
export interface CohereChatReader {
  event(body: JsonObject, emit: Emit): void
  document(body: JsonObject, emit: Emit): void
}

/**
 * Cohere's chat. A model's `thinking`, and the `tool_plan` that one without thinking writes before it calls tools
 * ("chain-of-thought style reflection", in Cohere's words), are its reasoning. Citations of documents are left out:
 * no caller can send documents. https://docs.cohere.com/docs/streaming
 */
export function cohereChatReader(): CohereChatReader {
  const calls: Call[] = []
  let started = false
  let finished = false
  let reasoning = false

  function emitText(value: Json | undefined, emit: Emit): void {
    const text = textOf(value)
    if (text === undefined) return
    endReasoning(emit)
    emit({ type: 'text', choice: 0, text })
  }

  function emitReasoning(value: Json | undefined, emit: Emit): void {
    const text = textOf(value)
    if (text === undefined) return
    reasoning = true
    emit({ type: 'reasoning', choice: 0, text })
  }

  function endReasoning(emit: Emit): void {
    if (reasoning) emit({ type: 'reasoning-end', choice: 0 })
    reasoning = false
  }

  function emitContent(value: Json | undefined, emit: Emit): void {
    const content = objectOf(value)
    emitReasoning(content?.thinking, emit)
    emitText(content?.text, emit)
  }

  function startCall(value: Json | undefined, upstreamIndex: number | undefined, emit: Emit): void {
    const call = callOf(value)
    const id = textOf(call?.id)
    const fn = objectOf(call?.function)
    const name = textOf(fn?.name)
    const isBounded = Math.max(id?.length ?? 0, name?.length ?? 0) <= TOOL_WORD_CHARACTERS_MAX
    if (id === undefined || name === undefined || !isBounded || calls.length >= TOOL_CALLS_MAX) {
      emit(brokenAnswer('malformed'))
      return
    }
    endReasoning(emit)
    emit({ type: 'tool-call', choice: 0, index: calls.length, id, name })
    calls.push({ upstreamIndex, argumentsSeen: false })
    addArguments(calls.length - 1, fn?.arguments, emit)
  }

  function addArguments(index: number, value: Json | undefined, emit: Emit): void {
    const call = calls[index]
    const fragment = argumentsOf(value)
    if (!call || fragment === undefined) {
      emit(brokenAnswer('malformed'))
      return
    }
    if (fragment === '') return
    call.argumentsSeen = true
    emit({ type: 'tool-arguments', choice: 0, index, fragment })
  }

  /** A tool without arguments may get none at all; an empty text would be no JSON. */
  function endCall(index: number, emit: Emit): void {
    if (calls[index]?.argumentsSeen === false) addArguments(index, '{}', emit)
  }

  /** The call that a piece belongs to: by its number, or the latest where it has none. */
  function indexOf(upstreamIndex: number | undefined): number {
    return upstreamIndex === undefined
      ? calls.length - 1
      : calls.findLastIndex((call) => call.upstreamIndex === upstreamIndex)
  }

  function end(usage: Json | undefined, reason: Json | undefined, emit: Emit): void {
    for (const index of calls.keys()) endCall(index, emit)
    endReasoning(emit)
    const reported = objectOf(usage)
    if (reported) emit({ type: 'usage', usage: cohereUsage(reported) })
    finish(textOf(reason), emit)
    endAnswer(started ? [{ choice: 0, isFinished: finished, callsTools: calls.length > 0 }] : [], emit)
  }

  function finish(reason: string | undefined, emit: Emit): void {
    if (reason === undefined) return
    if (FAILED_FINISHES.has(reason)) {
      emit(brokenAnswer('server_error'))
      return
    }
    finished = true
    emit({ type: 'finish', choice: 0, reason: FINISH_REASONS.get(reason) ?? 'stop' })
  }

  return {
    event(body, emit) {
      const delta = objectOf(body.delta)
      const message = objectOf(delta?.message)
      const index = typeof body.index === 'number' ? body.index : undefined
      switch (body.type) {
        case 'message-start':
          started = true
          return
        case 'content-start':
        case 'content-delta':
          emitContent(message?.content, emit)
          return
        case 'content-end':
          endReasoning(emit)
          return
        case 'tool-plan-delta':
          emitReasoning(message?.tool_plan, emit)
          return
        case 'tool-call-start':
          startCall(message?.tool_calls, index, emit)
          return
        case 'tool-call-delta':
          addArguments(indexOf(index), objectOf(callOf(message?.tool_calls)?.function)?.arguments, emit)
          return
        case 'tool-call-end':
          endCall(indexOf(index), emit)
          return
        case 'message-end':
          end(delta?.usage, delta?.finish_reason, emit)
      }
    },
    document(body, emit) {
      const message = objectOf(body.message)
      if (!message) return
      started = true
      emitReasoning(message.tool_plan, emit)
      for (const content of arrayOf(message.content)) {
        emitContent(content, emit)
        endReasoning(emit)
      }
      for (const [position, call] of arrayOf(message.tool_calls).entries()) startCall(call, position, emit)
      end(body.usage, body.finish_reason, emit)
    },
  }
}

/** `tool_calls` of a stream is one call, and a list elsewhere. */
function callOf(value: Json | undefined): JsonObject | undefined {
  return objectOf(value) ?? objectOf(arrayOf(value)[0])
}

/** Arguments as a JSON text; `undefined` where they are none. */
function argumentsOf(value: Json | undefined): string | undefined {
  if (value === undefined || value === null) return ''
  if (typeof value === 'string') return value
  return objectOf(value) ? writeJson(value) : undefined
}

/** https://docs.cohere.com/reference/chat, `finish_reason`; the last two are those of the API before. */
const FINISH_REASONS: ReadonlyMap<string, FinishReason> = new Map([
  ['COMPLETE', 'stop'],
  ['STOP_SEQUENCE', 'stop'],
  ['MAX_TOKENS', 'length'],
  ['TOOL_CALL', 'tool_calls'],
  ['ERROR_LIMIT', 'length'],
  ['ERROR_TOXIC', 'content_filter'],
])

/** Finish reasons that say that the answer failed. */
const FAILED_FINISHES: ReadonlySet<string> = new Set(['ERROR', 'TIMEOUT'])
