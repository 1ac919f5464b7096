import { type AnswerReader, answerDecoder, brokenAnswer, type Emit, endAnswer } from '../answer-decoder.ts'
import type { Json, JsonObject } from '../ask.ts'
import { geminiUsage } from '../gemini-usage.ts'
import type { AnswerBounds, Decoder } from '../protocol.ts'
import type { FinishReason, StreamEvent } from '../stream-event.ts'
import { arrayOf, objectOf, textOf, writeJson } from '../wire-json.ts'
import { logprobsOf } from './gemini-logprobs.ts'
import { madeUpId, toolCallIdOf } from './made-up-id.ts'

/** The most candidates, and the most calls in one of them, that are followed. */
const CANDIDATES_MAX = 128
const CALLS_MAX = 1024
/** No provider takes longer names of tools, so no model can have been told of one. */
const NAME_CHARACTERS_MAX = 1024

/** What is known of one candidate while it is read. */
interface Candidate {
  calls: number
  finished: boolean
}

/** What is known of an answer while it is read. */
interface AnswerState {
  readonly candidates: Map<number, Candidate>
  responseId: string
  usage: JsonObject | undefined
}

/** A decoder for a `GenerateContentResponse`, in one piece or in a stream of such, each with the next pieces. */
export function generateContentDecoder(bounds: AnswerBounds): Decoder {
  const state: AnswerState = { candidates: new Map(), responseId: '', usage: undefined }
  const reader: AnswerReader = {
    message: (body, emit) => readBody(state, body, emit),
    // Not a word of this protocol.
    done: () => {},
    document(body, emit) {
      readBody(state, body, emit)
      if (state.candidates.size > 0) finishAll(state, emit)
    },
    closed: (emit) => finishAll(state, emit),
  }
  return answerDecoder(reader, bounds)
}

function readBody(state: AnswerState, body: JsonObject, emit: Emit): void {
  if (state.responseId === '') state.responseId = textOf(body.responseId) ?? ''
  for (const entry of arrayOf(body.candidates)) readCandidate(state, objectOf(entry), emit)
  if (state.candidates.size === 0 && textOf(objectOf(body.promptFeedback)?.blockReason) !== undefined) {
    state.candidates.set(0, { calls: 0, finished: true })
    emit({ type: 'finish', choice: 0, reason: 'content_filter' })
  }
  state.usage = objectOf(body.usageMetadata) ?? state.usage
  tellUsage(state, emit)
}

/**
 * Tells the usage when nothing more is to come. The counts before the end are guesses: those of the prompt fall as well
 * as rise from one message to the next, so none of them is a report.
 */
function tellUsage(state: AnswerState, emit: Emit): void {
  const candidates = [...state.candidates.values()]
  if (state.usage === undefined || candidates.length === 0) return
  if (candidates.every(({ finished }) => finished)) emit({ type: 'usage', usage: geminiUsage(state.usage) })
}

function readCandidate(state: AnswerState, body: JsonObject | undefined, emit: Emit): void {
  const choice = body?.index ?? 0
  const isPlace =
    typeof choice === 'number' && Number.isInteger(choice) && choice >= 0 && choice < CANDIDATES_MAX
  if (!body || !isPlace) {
    emit(brokenAnswer('malformed'))
    return
  }
  const candidate = state.candidates.get(choice) ?? { calls: 0, finished: false }
  state.candidates.set(choice, candidate)
  const logprobs = logprobsOf(body.logprobsResult)
  if (logprobs) emit({ type: 'text', choice, text: '', logprobs })
  for (const entry of arrayOf(objectOf(body.content)?.parts)) {
    const part = objectOf(entry) ?? {}
    const call = objectOf(part.functionCall)
    if (call) readCall(state, candidate, choice, call, part.thoughtSignature, emit)
    else if (typeof part.text === 'string') readText(part, choice, emit)
    // All else is what hosted tools make (code, its result, their own calls), and media: nobody asked for them.
  }
  const reason = textOf(body.finishReason)
  if (reason === undefined || candidate.finished) return
  candidate.finished = true
  emit(finishEvent(reason, choice, candidate.calls))
}

function readText(part: JsonObject, choice: number, emit: Emit): void {
  const text = textOf(part.text)
  if (text !== undefined) emit({ type: part.thought === true ? 'reasoning' : 'text', choice, text })
  const signature = textOf(part.thoughtSignature)
  if (signature !== undefined) emit({ type: 'reasoning-end', choice, signature })
}

/** A call comes whole, in one part. */
function readCall(
  { responseId }: AnswerState,
  candidate: Candidate,
  choice: number,
  call: JsonObject,
  givenSignature: Json | undefined,
  emit: Emit,
): void {
  const index = candidate.calls
  candidate.calls += 1
  const name = textOf(call.name)
  const fragment = writeJson(objectOf(call.args) ?? {})
  if (
    name === undefined ||
    name.length > NAME_CHARACTERS_MAX ||
    fragment === undefined ||
    index >= CALLS_MAX
  ) {
    emit(brokenAnswer('malformed'))
    return
  }
  const id = toolCallIdOf(call.id) ?? madeUpId(responseId, choice, index)
  const signature = textOf(givenSignature)
  emit({ type: 'tool-call', choice, index, id, name, ...(signature === undefined ? {} : { signature }) })
  emit({ type: 'tool-arguments', choice, index, fragment })
}

function finishAll(state: AnswerState, emit: Emit): void {
  const atEnd = [...state.candidates].map(([choice, { finished, calls }]) => ({
    choice,
    isFinished: finished,
    callsTools: calls > 0,
  }))
  endAnswer(atEnd, emit)
}

/** https://ai.google.dev/api/generate-content#FinishReason, and those that only the cloud platform has. */
const FINISH_REASONS: ReadonlyMap<string, FinishReason> = new Map([
  ['STOP', 'stop'],
  ['MAX_TOKENS', 'length'],
  ['CONTINUATION', 'length'],
  ['SAFETY', 'content_filter'],
  ['RECITATION', 'content_filter'],
  ['LANGUAGE', 'content_filter'],
  ['BLOCKLIST', 'content_filter'],
  ['PROHIBITED_CONTENT', 'content_filter'],
  ['SPII', 'content_filter'],
  ['ESCALATION', 'content_filter'],
  ['PUP_LIMITED_DISABLED', 'content_filter'],
  ['MODEL_ARMOR', 'content_filter'],
  ['IMAGE_SAFETY', 'content_filter'],
  ['IMAGE_PROHIBITED_CONTENT', 'content_filter'],
  ['IMAGE_RECITATION', 'content_filter'],
])

/** The model wrote what is no answer; the request is fine, and another try may be too. */
const FAILED_FINISHES: ReadonlySet<string> = new Set([
  'MALFORMED_FUNCTION_CALL',
  'MALFORMED_RESPONSE',
  'MISSING_THOUGHT_SIGNATURE',
])
/** Calls that Google would not have made itself: where there are some to show, they are the caller's to judge. */
const FAILED_CALLS: ReadonlySet<string> = new Set(['UNEXPECTED_TOOL_CALL', 'TOO_MANY_TOOL_CALLS'])

/** A reason that nobody has heard of is an end all the same: the answer is there, and nothing says that it failed. */
function finishEvent(reason: string, choice: number, calls: number): StreamEvent {
  if (FAILED_FINISHES.has(reason) || (FAILED_CALLS.has(reason) && calls === 0))
    return brokenAnswer('malformed')
  const told = FINISH_REASONS.get(reason) ?? 'stop'
  return { type: 'finish', choice, reason: told === 'stop' && calls > 0 ? 'tool_calls' : told }
}
