import type { Json, JsonObject } from '../../ask.ts'
import type { StreamEvent } from '../../stream-event.ts'
import { quote, type ReplyInfo, reasoningFormat } from '../reply.ts'
import { type ToolCallIdentities, type ToolCallIdentity, toolCallIdentities } from '../tool-call-identity.ts'
import { encryptedContent, UNPROVEN } from './encrypted-reasoning.ts'

/** One part of a message. */
interface MessagePart {
  readonly kind: 'output_text' | 'refusal'
  text: string
  readonly logprobs: Json[]
}

/** An output item while it is put together. Its place in the list is its `output_index`. */
export type OutputItem = { readonly id: string; readonly index: number; done: boolean } & (
  | { readonly type: 'message'; readonly parts: MessagePart[] }
  | {
      readonly type: 'reasoning'
      readonly summary: string[]
      /** Whether the last part of the summary is still being written. */
      partOpen: boolean
      encrypted?: string
    }
  | { readonly type: 'function_call'; readonly call: ToolCallIdentity; arguments: string }
)

/** Hears of each step, as the type of an event and the members that it has beside type and number, as JSON. */
export type Tell = (type: string, members: string) => void

/** The output of one response. */
export interface Output {
  readonly items: OutputItem[]
  readonly tools: ToolCallIdentities
  /** Function calls by their place among all calls; they may be written at the same time. */
  readonly calls: Extract<OutputItem, { type: 'function_call' }>[]
  readonly format: string
  readonly excludesReasoning: boolean
  /** What ids of items are made from. */
  readonly idEnd: string
}

export function createOutput(info: ReplyInfo): Output {
  return {
    items: [],
    tools: toolCallIdentities(info.id, 0),
    calls: [],
    format: reasoningFormat(info),
    excludesReasoning: info.excludeReasoning,
    idEnd: info.id.slice(info.id.indexOf('_') + 1),
  }
}

/** Adds what an event brings, and tells each step of it. There is one answer, so what is of another is left out. */
export function addEvent(output: Output, event: StreamEvent, tell: Tell): void {
  if (!('choice' in event) || event.choice !== 0) return
  switch (event.type) {
    case 'text':
      addText(output, 'output_text', event.text, listOf(event.logprobs), tell)
      return
    case 'refusal':
      addText(output, 'refusal', event.text, [], tell)
      return
    case 'reasoning':
      if (!output.excludesReasoning) addReasoning(output, event.text, tell)
      return
    case 'reasoning-end':
      endReasoning(output, encryptedContent(event, output.format), tell)
      return
    case 'tool-call': {
      const { call, isNew } = output.tools.open(event.index, event.id, event.name, event.signature)
      if (!isNew) return
      closeWords(output, tell)
      const item = addItem(output, { type: 'function_call', call, arguments: '' }, 'fc', tell)
      if (item.type === 'function_call') output.calls[call.index] = item
      return
    }
    case 'tool-arguments': {
      const place = output.tools.find(event.index)?.index
      const item = place === undefined ? undefined : output.calls[place]
      if (!item || event.fragment === '') return
      item.arguments += event.fragment
      tell('response.function_call_arguments.delta', `${placeOf(item)},"delta":${quote(event.fragment)}`)
      return
    }
  }
}

/** Tells the end of everything that has not ended. `cut` says that the last of it was not finished. */
export function closeOutput(output: Output, cut: boolean, tell: Tell): void {
  for (const item of output.items) {
    if (!item.done) closeItem(item, cut && item === output.items.at(-1), tell)
  }
}

/** An item as it stands in a response. */
export function itemJson(item: OutputItem, status: 'in_progress' | 'completed' | 'incomplete'): JsonObject {
  const { id, type } = item
  switch (item.type) {
    case 'message':
      return { id, type, status, role: 'assistant', content: item.parts.map(partJson) }
    case 'reasoning':
      return {
        id,
        type,
        summary: item.summary.map((text) => ({ type: 'summary_text', text })),
        ...(item.encrypted === undefined ? {} : { encrypted_content: item.encrypted }),
      }
    case 'function_call':
      return {
        id,
        type,
        status,
        call_id: item.call.id,
        name: item.call.name,
        arguments: item.arguments,
      }
  }
}

function partJson({ kind, text, logprobs }: MessagePart): JsonObject {
  return kind === 'refusal' ? { type: kind, refusal: text } : { type: kind, text, annotations: [], logprobs }
}

function placeOf({ id, index }: OutputItem): string {
  return `,"item_id":"${id}","output_index":${index}`
}

type NewItem =
  | { readonly type: 'message'; readonly parts: MessagePart[] }
  | { readonly type: 'reasoning'; readonly summary: string[]; partOpen: boolean }
  | { readonly type: 'function_call'; readonly call: ToolCallIdentity; arguments: string }

function addItem(output: Output, content: NewItem, prefix: string, tell: Tell): OutputItem {
  const index = output.items.length
  const item: OutputItem = { id: `${prefix}_${output.idEnd}_${index}`, index, done: false, ...content }
  output.items.push(item)
  tell(
    'response.output_item.added',
    `,"output_index":${index},"item":${quote(itemJson(item, 'in_progress'))}`,
  )
  return item
}

function addText(
  output: Output,
  kind: MessagePart['kind'],
  text: string,
  logprobs: readonly Json[],
  tell: Tell,
): void {
  if (text === '' && logprobs.length === 0) return
  const item = openMessage(output, tell)
  let part = item.parts.at(-1)
  if (part?.kind !== kind) {
    if (part) closePart(item, part, tell)
    part = { kind, text: '', logprobs: [] }
    item.parts.push(part)
    tell('response.content_part.added', `${partPlace(item)},"part":${quote(partJson(part))}`)
  }
  part.text += text
  for (const each of logprobs) part.logprobs.push(each)
  const probabilities =
    kind === 'refusal' ? '' : `,"logprobs":${logprobs.length === 0 ? '[]' : quote([...logprobs])}`
  tell(`response.${kind}.delta`, `${partPlace(item)},"delta":${quote(text)}${probabilities}`)
}

type MessageItem = Extract<OutputItem, { type: 'message' }>
type ReasoningItem = Extract<OutputItem, { type: 'reasoning' }>

/** The message that is being written, after everything that was thought before it. */
function openMessage(output: Output, tell: Tell): MessageItem {
  const last = output.items.at(-1)
  if (last?.type === 'message' && !last.done) return last
  closeWords(output, tell)
  const item = addItem(output, { type: 'message', parts: [] }, 'msg', tell)
  if (item.type !== 'message') throw new Error('a new item is not of its own kind')
  return item
}

function openReasoning(output: Output, tell: Tell): ReasoningItem {
  const last = output.items.at(-1)
  if (last?.type === 'reasoning' && !last.done) return last
  closeWords(output, tell)
  const item = addItem(output, { type: 'reasoning', summary: [], partOpen: false }, 'rs', tell)
  if (item.type !== 'reasoning') throw new Error('a new item is not of its own kind')
  return item
}

/** Ends the message or the reasoning that is being written. Calls stay open: their arguments may still come. */
function closeWords(output: Output, tell: Tell): void {
  const last = output.items.findLast(({ type }) => type !== 'function_call')
  if (last && !last.done) closeItem(last, false, tell)
}

function addReasoning(output: Output, text: string, tell: Tell): void {
  if (text === '') return
  const item = openReasoning(output, tell)
  if (!item.partOpen) {
    item.partOpen = true
    item.summary.push('')
    tell(
      'response.reasoning_summary_part.added',
      `${summaryPlace(item)},"part":{"type":"summary_text","text":""}`,
    )
  }
  const at = item.summary.length - 1
  item.summary[at] = (item.summary[at] ?? '') + text
  tell('response.reasoning_summary_text.delta', `${summaryPlace(item)},"delta":${quote(text)}`)
}

/** Without a proof a part of the summary ends, with one the item: the proof is of all that it holds. */
function endReasoning(output: Output, encrypted: string | undefined, tell: Tell): void {
  if (encrypted === undefined) {
    const last = output.items.at(-1)
    if (last?.type === 'reasoning' && !last.done) closeSummaryPart(last, tell)
    return
  }
  const item = openReasoning(output, tell)
  item.encrypted = encrypted
  closeItem(item, false, tell)
}

function closeSummaryPart(item: ReasoningItem, tell: Tell): void {
  if (!item.partOpen) return
  item.partOpen = false
  const text = quote(item.summary.at(-1) ?? '')
  tell('response.reasoning_summary_text.done', `${summaryPlace(item)},"text":${text}`)
  tell(
    'response.reasoning_summary_part.done',
    `${summaryPlace(item)},"part":{"type":"summary_text","text":${text}}`,
  )
}

function closePart(item: MessageItem, part: MessagePart, tell: Tell): void {
  const said = quote(part.text)
  const whole =
    part.kind === 'refusal' ? `,"refusal":${said}` : `,"text":${said},"logprobs":${quote(part.logprobs)}`
  tell(`response.${part.kind}.done`, partPlace(item) + whole)
  tell('response.content_part.done', `${partPlace(item)},"part":${quote(partJson(part))}`)
}

function closeItem(item: OutputItem, cut: boolean, tell: Tell): void {
  item.done = true
  if (item.type === 'reasoning') {
    closeSummaryPart(item, tell)
    item.encrypted ??= UNPROVEN
  }
  if (item.type === 'function_call') {
    const { call } = item
    const whole = `,"name":"${call.name}","arguments":${quote(item.arguments)}`
    tell('response.function_call_arguments.done', placeOf(item) + whole)
  }
  const part = item.type === 'message' ? item.parts.at(-1) : undefined
  if (item.type === 'message' && part) closePart(item, part, tell)
  const whole = quote(itemJson(item, cut ? 'incomplete' : 'completed'))
  tell('response.output_item.done', `,"output_index":${item.index},"item":${whole}`)
}

function partPlace(item: MessageItem): string {
  return `${placeOf(item)},"content_index":${Math.max(0, item.parts.length - 1)}`
}

function summaryPlace(item: ReasoningItem): string {
  return `${placeOf(item)},"summary_index":${Math.max(0, item.summary.length - 1)}`
}

/** Log probabilities come in chat's form, `{content: […]}`. */
function listOf(logprobs: Json | undefined): readonly Json[] {
  if (typeof logprobs !== 'object' || logprobs === null || !('content' in logprobs)) return []
  return Array.isArray(logprobs.content) ? logprobs.content : []
}
