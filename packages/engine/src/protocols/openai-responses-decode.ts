import { type AnswerReader, answerDecoder, brokenAnswer, type Emit } from '../answer-decoder.ts'
import type { Json, JsonObject } from '../ask.ts'
import type { AnswerBounds, Decoder } from '../protocol.ts'
import type { FinishReason } from '../stream-event.ts'
import { errorMessage } from '../upstream-failure.ts'
import { openaiUsage } from '../usage.ts'
import { arrayOf, objectOf, textOf } from '../wire-json.ts'
import { madeUpId, toolCallIdOf } from './made-up-id.ts'
import {
  argumentsOf,
  TOOL_CALLS_MAX,
  TOOL_NAME_CHARACTERS_MAX,
  tokenProbabilities,
} from './openai-chat-decode.ts'

/** The most names of output items that are followed; an item has two. */
const ITEM_NAMES_MAX = 8192

/** What has been told of one output item. */
interface ItemState {
  numbered: boolean
  /** Characters told of each of its texts, by the name of the text and its place in the item. */
  readonly told: Map<string, number>
  /** The part of a reasoning summary that was told last. */
  summaryPart: string | undefined
  /** Set when a function call has been told; before that there is no name to tell. */
  call: number | undefined
  /** Arguments that came before their call had a name. */
  pendingArguments: string
  closed: boolean
}

function newItem(): ItemState {
  return {
    numbered: false,
    told: new Map(),
    summaryPart: undefined,
    call: undefined,
    pendingArguments: '',
    closed: false,
  }
}

type TextKind = 'text' | 'refusal' | 'reasoning'

/** Everything that is told piece by piece, by the type of its event. */
const TEXT_DELTAS: ReadonlyMap<string, TextKind> = new Map([
  ['response.output_text.delta', 'text'],
  ['response.refusal.delta', 'refusal'],
  ['response.reasoning_summary_text.delta', 'reasoning'],
  ['response.reasoning_text.delta', 'reasoning'],
])

/**
 * A decoder for a response, streamed or in one piece. Of the many types of events only those are read that carry
 * output of the model: pieces of text and arguments, the beginning and the end of an item, and the end of all. What an
 * item or a response holds when it ends, and no piece had told, is told then. So an event that nobody has heard of is
 * skipped, and nothing of the answer is lost with it.
 */
export function responsesDecoder(bounds: AnswerBounds): Decoder {
  const items = new Map<string, ItemState>()
  let calls = 0
  let answerId = ''

  /** The item with that number or, where one of the two has no number, of that id: ids are not always unique. */
  function itemAt(number: Json | undefined, id: Json | undefined): ItemState | undefined {
    const numbered = typeof number === 'number' ? `number ${number}` : undefined
    const named = typeof id === 'string' ? `id ${id}` : undefined
    let item = numbered === undefined ? undefined : items.get(numbered)
    if (!item && named !== undefined) {
      const same = items.get(named)
      if (same && (numbered === undefined || !same.numbered)) item = same
    }
    if (!item && items.size >= ITEM_NAMES_MAX) return undefined
    item ??= newItem()
    if (numbered !== undefined) {
      item.numbered = true
      items.set(numbered, item)
    }
    if (named !== undefined && !items.has(named)) items.set(named, item)
    return item
  }

  /** Tells a piece of one of an item's texts. `place` names the text within the item. */
  function tell(
    item: ItemState,
    kind: TextKind,
    place: string,
    text: string,
    logprobs: readonly Json[],
    emit: Emit,
  ): void {
    if (text === '' && logprobs.length === 0) return
    if (kind === 'reasoning') {
      // Each part of a summary is a block of its own, so that it can be given back as it came.
      if (item.summaryPart !== undefined && item.summaryPart !== place)
        emit({ type: 'reasoning-end', choice: 0 })
      item.summaryPart = place
    }
    item.told.set(place, (item.told.get(place) ?? 0) + text.length)
    if (kind !== 'text') emit({ type: kind, choice: 0, text })
    else if (logprobs.length === 0) emit({ type: 'text', choice: 0, text })
    else {
      const content = tokenProbabilities(logprobs)
      emit({ type: 'text', choice: 0, text, logprobs: { content, refusal: null } })
    }
  }

  /** Tells what a text that is whole has beyond what was told of it. */
  function tellRest(
    item: ItemState,
    kind: TextKind,
    place: string,
    whole: Json | undefined,
    logprobs: readonly Json[],
    emit: Emit,
  ): void {
    const told = item.told.get(place) ?? 0
    if (typeof whole === 'string' && whole.length > told) {
      tell(item, kind, place, whole.slice(told), told === 0 ? logprobs : [], emit)
    }
  }

  /** Tells of a function call as soon as it has a name. */
  function openCall(item: ItemState, body: JsonObject, emit: Emit): void {
    const name = textOf(body.name)
    if (item.call !== undefined || name === undefined) return
    if (name.length > TOOL_NAME_CHARACTERS_MAX || calls >= TOOL_CALLS_MAX) {
      emit(brokenAnswer('malformed'))
      return
    }
    const index = calls
    calls += 1
    item.call = index
    const id = toolCallIdOf(body.call_id) ?? toolCallIdOf(body.id) ?? madeUpId(answerId, 0, index)
    emit({ type: 'tool-call', choice: 0, index, id, name })
    const pending = item.pendingArguments
    item.pendingArguments = ''
    if (pending !== '') tellArguments(item, pending, emit)
  }

  function tellArguments(item: ItemState, fragment: string, emit: Emit): void {
    if (fragment === '') return
    if (item.call === undefined) item.pendingArguments += fragment
    else {
      item.told.set('arguments', (item.told.get('arguments') ?? 0) + fragment.length)
      emit({ type: 'tool-arguments', choice: 0, index: item.call, fragment })
    }
  }

  /** An item that is whole. A second telling of it adds nothing. */
  function closeItem(item: ItemState, body: JsonObject, emit: Emit): void {
    if (item.closed) return
    item.closed = true
    switch (body.type) {
      case 'message':
        for (const [index, part] of arrayOf(body.content).entries()) {
          const { type, text, refusal, logprobs } = objectOf(part) ?? {}
          if (type === 'output_text')
            tellRest(item, 'text', `content ${index}`, text, arrayOf(logprobs), emit)
          if (type === 'refusal') tellRest(item, 'refusal', `content ${index}`, refusal, [], emit)
        }
        return
      case 'reasoning':
        closeReasoning(item, body, emit)
        return
      case 'function_call': {
        openCall(item, body, emit)
        const whole = argumentsOf(body.arguments)
        if (whole === undefined || item.call === undefined) emit(brokenAnswer('malformed'))
        else {
          tellArguments(item, whole.slice(item.told.get('arguments') ?? 0), emit)
          // A tool without arguments may get none at all; an empty text would be no JSON.
          const isCut = body.status === 'incomplete'
          if (!item.told.has('arguments') && !isCut) tellArguments(item, '{}', emit)
        }
      }
    }
  }

  function closeReasoning(item: ItemState, body: JsonObject, emit: Emit): void {
    for (const [index, part] of arrayOf(body.summary).entries()) {
      tellRest(item, 'reasoning', `summary ${index}`, objectOf(part)?.text, [], emit)
    }
    for (const [index, part] of arrayOf(body.content).entries()) {
      tellRest(item, 'reasoning', `content ${index}`, objectOf(part)?.text, [], emit)
    }
    const encrypted = textOf(body.encrypted_content)
    if (encrypted !== undefined) emit({ type: 'reasoning-end', choice: 0, redacted: encrypted })
    else if (item.summaryPart !== undefined) emit({ type: 'reasoning-end', choice: 0 })
  }

  /** The whole response: what of its items was not told, its usage, and how it ended. */
  function endResponse(response: JsonObject, emit: Emit): void {
    if (answerId === '') answerId = textOf(response.id) ?? ''
    for (const [index, entry] of arrayOf(response.output).entries()) {
      const body = objectOf(entry)
      const item = body && itemAt(index, body.id)
      if (item) closeItem(item, body, emit)
    }
    const usage = objectOf(response.usage)
    if (usage) emit({ type: 'usage', usage: responsesUsage(usage) })
    const failure = objectOf(response.error)
      ? errorMessage('error', { error: response.error ?? null })
      : undefined
    if (failure) emit({ type: 'failure', failure })
    else if (UNFINISHED.has(String(response.status))) emit(brokenAnswer('stream_cut'))
    else if (FAILED.has(String(response.status))) emit(brokenAnswer('server_error'))
    else {
      emit({ type: 'finish', choice: 0, reason: finishReason(response, calls > 0) })
      emit({ type: 'end' })
    }
  }

  const reader: AnswerReader = {
    message(body, emit) {
      const type = String(body.type)
      const response = objectOf(body.response)
      if (response) {
        if (answerId === '') answerId = textOf(response.id) ?? ''
        const status = TERMINAL_EVENTS.get(type)
        if (status !== undefined) endResponse({ status, ...response }, emit)
        return
      }
      const kind = TEXT_DELTAS.get(type)
      const isArguments = type === 'response.function_call_arguments.delta'
      const whole = objectOf(body.item)
      if (!kind && !isArguments && !whole) return
      const item = itemAt(body.output_index, body.item_id ?? whole?.id)
      if (!item) return emit(brokenAnswer('oversized'))
      const delta = typeof body.delta === 'string' ? body.delta : ''
      if (kind) tell(item, kind, placeOf(body), delta, arrayOf(body.logprobs), emit)
      if (isArguments) tellArguments(item, delta, emit)
      if (whole?.type === 'function_call') openCall(item, whole, emit)
      if (whole && type === 'response.output_item.done') closeItem(item, whole, emit)
    },
    // Responses need no `[DONE]`. One that comes in place of the terminal event ends nothing.
    done: (emit) => emit(brokenAnswer('stream_cut')),
    document(body, emit) {
      if (body.object === 'response' || Array.isArray(body.output)) endResponse(body, emit)
    },
  }
  return answerDecoder(reader, bounds)
}

/** Which of an item's texts a piece belongs to. */
function placeOf({ summary_index: summary, content_index: content }: JsonObject): string {
  if (typeof summary === 'number') return `summary ${summary}`
  return `content ${typeof content === 'number' ? content : 0}`
}

/** The events that end a stream, with the status that they mean where the response itself states none. */
const TERMINAL_EVENTS: ReadonlyMap<string, string> = new Map([
  ['response.completed', 'completed'],
  ['response.incomplete', 'incomplete'],
  ['response.failed', 'failed'],
  ['response.cancelled', 'cancelled'],
])
const UNFINISHED: ReadonlySet<string> = new Set(['queued', 'in_progress'])
const FAILED: ReadonlySet<string> = new Set(['failed', 'cancelled'])

function finishReason(response: JsonObject, callsTools: boolean): FinishReason {
  if (response.status === 'incomplete') {
    const reason = objectOf(response.incomplete_details)?.reason
    return reason === 'content_filter' ? 'content_filter' : 'length'
  }
  return callsTools ? 'tool_calls' : 'stop'
}

/** The same counts as chat has, under other names. */
function responsesUsage(usage: JsonObject) {
  return openaiUsage({
    prompt_tokens: usage.input_tokens ?? null,
    completion_tokens: usage.output_tokens ?? null,
    total_tokens: usage.total_tokens ?? null,
    prompt_tokens_details: usage.input_tokens_details ?? null,
    completion_tokens_details: usage.output_tokens_details ?? null,
  })
}
