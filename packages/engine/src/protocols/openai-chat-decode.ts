import { type AnswerReader, answerDecoder, brokenAnswer, type Emit, endAnswer } from '../answer-decoder.ts'
import type { Json, JsonObject } from '../ask.ts'
import type { AnswerBounds, Decoder } from '../protocol.ts'
import type { FinishReason, StreamEvent } from '../stream-event.ts'
import { openaiUsage } from '../usage.ts'
import { arrayOf, objectOf, textOf, writeJson } from '../wire-json.ts'
import { madeUpId, toolCallIdOf } from './made-up-id.ts'

/** The most answers, and the most tool calls in one answer, that are followed. */
const CHOICES_MAX = 128
export const TOOL_CALLS_MAX = 1024
/** No provider takes longer names of tools, so no model can have been told of one. */
export const TOOL_NAME_CHARACTERS_MAX = 1024

/** What is known of one choice while it is read. */
interface ChoiceState {
  readonly calls: ToolCallState[]
  finished: boolean
}

interface ToolCallState {
  /** The provider's own number for the call; not unique where a provider numbers every call 0. */
  readonly upstreamIndex: number | undefined
  id: string | undefined
  /** Set when the call has been told to the caller; before that there is no name to tell. */
  started: boolean
  argumentsSeen: boolean
}

/** A decoder for a chat completion, streamed or in one piece, in the dialects of all who copied it. */
export function chatDecoder(bounds: AnswerBounds): Decoder {
  const choices = new Map<number, ChoiceState>()
  let answerId = ''

  function choiceOf(value: Json | undefined): { index: number; state: ChoiceState } | undefined {
    const index = value === undefined || value === null ? 0 : value
    if (typeof index !== 'number' || !Number.isInteger(index) || index < 0 || index >= CHOICES_MAX)
      return undefined
    let state = choices.get(index)
    if (!state) {
      state = { calls: [], finished: false }
      choices.set(index, state)
    }
    return { index, state }
  }

  /** Reads one entry of `choices`. `part` is its `delta` in a stream, its `message` in an answer in one piece. */
  function readChoice(entry: Json, part: 'delta' | 'message', emit: Emit): void {
    const body = objectOf(entry)
    const choice = choiceOf(body?.index)
    if (!body || !choice) {
      emit(brokenAnswer('malformed'))
      return
    }
    const { index, state } = choice
    const content = objectOf(body[part])
    if (content) {
      emitReasoning(content, index, emit)
      emitText(content, body.logprobs, index, emit)
      const refusal = textOf(content.refusal)
      if (refusal !== undefined) emit({ type: 'refusal', choice: index, text: refusal })
      const calls = arrayOf(content.tool_calls)
      if (calls.length > 0) readToolCalls(calls, part, index, state.calls, answerId, emit)
    }
    const finish = textOf(body.finish_reason)
    if (finish !== undefined && !state.finished) {
      state.finished = true
      const event = finishEvent(finish, index)
      if (event.type === 'finish' && !CUT_FINISHES.has(event.reason)) fillArguments(state, index, emit)
      emit(event)
    }
  }

  function readBody(body: JsonObject, part: 'delta' | 'message', emit: Emit): void {
    if (answerId === '') answerId = textOf(body.id) ?? ''
    for (const entry of arrayOf(body.choices)) readChoice(entry, part, emit)
    // OpenAI sends usage on a chunk of its own, Mistral and Groq on the last one with content.
    const usage = objectOf(body.usage) ?? objectOf(objectOf(body.x_groq)?.usage)
    if (usage) emit({ type: 'usage', usage: openaiUsage(usage) })
  }

  function finishAll(emit: Emit): void {
    for (const [choice, state] of choices) if (!state.finished) fillArguments(state, choice, emit)
    const atEnd = [...choices].map(([choice, { finished, calls }]) => ({
      choice,
      isFinished: finished,
      callsTools: calls.length > 0,
    }))
    endAnswer(atEnd, emit)
  }

  const reader: AnswerReader = {
    message: (body, emit) => readBody(body, 'delta', emit),
    textRepeats: true,
    done: finishAll,
    document(body, emit) {
      readBody(body, 'message', emit)
      if (choices.size > 0) finishAll(emit)
    },
  }
  return answerDecoder(reader, bounds)
}

/** `reasoning` and `reasoning_content` are two names for one thing; some hosts send both with the same text. */
function emitReasoning(content: JsonObject, choice: number, emit: Emit): void {
  const text = textOf(content.reasoning_content) ?? textOf(content.reasoning)
  if (text !== undefined) emit({ type: 'reasoning', choice, text })
}

/** Content is a text, or (Mistral) a list of text and thinking parts. */
function emitText(content: JsonObject, given: Json | undefined, choice: number, emit: Emit): void {
  const text = textOf(content.content)
  const logprobs = logprobsOf(given)
  if (text !== undefined || logprobs) {
    emit({ type: 'text', choice, text: text ?? '', ...(logprobs ? { logprobs } : {}) })
  }
  for (const entry of arrayOf(content.content)) {
    const part = objectOf(entry)
    const partText = textOf(part?.text)
    if (part?.type === 'text' && partText !== undefined) emit({ type: 'text', choice, text: partText })
    if (part?.type !== 'thinking') continue
    for (const thought of arrayOf(part.thinking)) {
      const thoughtText = textOf(objectOf(thought)?.text)
      if (thoughtText !== undefined) emit({ type: 'reasoning', choice, text: thoughtText })
    }
  }
}

/** Log probabilities in OpenAI's shape. Only its own fields are read, so that nothing else travels with them. */
function logprobsOf(value: Json | undefined): JsonObject | undefined {
  const given = objectOf(value)
  if (!given) return undefined
  const { content, refusal } = given
  return {
    ...(content === undefined ? {} : { content: tokenProbabilities(content) }),
    ...(refusal === undefined ? {} : { refusal: tokenProbabilities(refusal) }),
  }
}

export function tokenProbabilities(list: Json): Json {
  return Array.isArray(list) ? list.flatMap(tokenProbability) : null
}

function tokenProbability(entry: Json): JsonObject[] {
  const given = objectOf(entry)
  if (!given || typeof given.token !== 'string' || typeof given.logprob !== 'number') return []
  const bytes = Array.isArray(given.bytes) ? given.bytes.filter((byte) => typeof byte === 'number') : null
  return [
    {
      token: given.token,
      logprob: given.logprob,
      ...(given.bytes === undefined ? {} : { bytes }),
      ...(given.top_logprobs === undefined ? {} : { top_logprobs: topProbabilities(given.top_logprobs) }),
    },
  ]
}

/** The likeliest tokens in a token's place. They have no list of their own, so nesting ends here. */
function topProbabilities(list: Json): Json {
  return arrayOf(list)
    .flatMap(tokenProbability)
    .map(({ top_logprobs: _, ...likely }) => likely)
}

const FINISH_REASONS: ReadonlyMap<string, FinishReason> = new Map([
  ['stop', 'stop'],
  ['length', 'length'],
  ['model_length', 'length'],
  ['max_tokens', 'length'],
  ['tool_calls', 'tool_calls'],
  ['function_call', 'tool_calls'],
  ['content_filter', 'content_filter'],
  ['sensitive', 'content_filter'],
])

/** Finish reasons that say that the answer failed: OpenRouter's and Mistral's, Z.AI's, DeepSeek's. */
const FAILED_FINISHES: ReadonlySet<string> = new Set([
  'error',
  'network_error',
  'insufficient_system_resource',
])

/** A reason that nobody has heard of is an end all the same: the answer is there, and nothing says that it failed. */
function finishEvent(reason: string, choice: number): StreamEvent {
  if (FAILED_FINISHES.has(reason)) return brokenAnswer('server_error')
  return { type: 'finish', choice, reason: FINISH_REASONS.get(reason) ?? 'stop' }
}

/** After these a call without arguments is one of which they are missing. */
const CUT_FINISHES: ReadonlySet<FinishReason> = new Set(['length', 'content_filter'])

/** A tool without arguments may get none at all; an empty text would be no JSON. */
function fillArguments({ calls }: ChoiceState, choice: number, emit: Emit): void {
  for (const [index, { started, argumentsSeen }] of calls.entries()) {
    if (started && !argumentsSeen) emit({ type: 'tool-arguments', choice, index, fragment: '{}' })
  }
}

/** Tells a choice's tool calls, or the next pieces of them, from the entries of one `tool_calls` list. */
function readToolCalls(
  entries: readonly Json[],
  part: 'delta' | 'message',
  choice: number,
  calls: ToolCallState[],
  answerId: string,
  emit: Emit,
): void {
  const named = new Set<ToolCallState>()
  for (const entry of entries) {
    const body = objectOf(entry)
    const fn = objectOf(body?.function)
    const name = textOf(fn?.name)
    const id = toolCallIdOf(body?.id)
    const fragment = argumentsOf(fn?.arguments)
    if (fragment === undefined || (name ?? '').length > TOOL_NAME_CHARACTERS_MAX) {
      emit(brokenAnswer('malformed'))
      return
    }
    const upstreamIndex = typeof body?.index === 'number' ? body.index : undefined

    let call = part === 'message' ? undefined : findCall(calls, id, upstreamIndex, name)
    // Two named entries of one list are two calls, whatever number they were given.
    if (call && name !== undefined && named.has(call)) call = undefined
    if (!call) {
      call = { upstreamIndex, id, started: false, argumentsSeen: false }
      calls.push(call)
    }
    call.id ??= id
    if (name !== undefined) named.add(call)

    const index = calls.lastIndexOf(call)
    if (name !== undefined && !call.started) {
      call.started = true
      emit({ type: 'tool-call', choice, index, id: call.id ?? madeUpId(answerId, choice, index), name })
    }
    if ((fragment !== '' && !call.started) || calls.length > TOOL_CALLS_MAX) {
      emit(brokenAnswer('malformed'))
      return
    }
    if (fragment === '') continue
    call.argumentsSeen = true
    emit({ type: 'tool-arguments', choice, index, fragment })
  }
}

/**
 * The call that an entry of a delta goes on with, or `undefined` where it starts a new one. An id decides where there
 * is one. Without, the provider's number does, the latest call first, for some number every call 0. Without either,
 * a name starts a call and anything else goes on with the latest.
 */
function findCall(
  calls: readonly ToolCallState[],
  id: string | undefined,
  upstreamIndex: number | undefined,
  name: string | undefined,
): ToolCallState | undefined {
  if (id !== undefined) {
    const same = calls.find((call) => call.id === id)
    if (same) return same
    // An id that comes after its call was opened without one.
    const numbered = calls.findLast((call) => call.upstreamIndex === upstreamIndex)
    return numbered?.id === undefined && !(numbered?.started && name !== undefined) ? numbered : undefined
  }
  if (upstreamIndex !== undefined) return calls.findLast((call) => call.upstreamIndex === upstreamIndex)
  return name === undefined ? calls.at(-1) : undefined
}

/** Arguments as a JSON text. Some hosts send the object itself. `undefined` where it is neither. */
export function argumentsOf(value: Json | undefined): string | undefined {
  if (value === undefined || value === null) return ''
  if (typeof value === 'string') return value
  return objectOf(value) ? writeJson(value) : undefined
}
