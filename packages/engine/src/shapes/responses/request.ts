import type { Tool } from '../../ask.ts'
import { type BodyContent, excessFault, measureBody } from '../body-measure.ts'
import { CHAT_BOUNDS } from '../bounds.ts'
import { chatRequest } from '../caller-request.ts'
import { fault, faultOfIssue, isObject, type RequestFault } from '../fault.ts'
import type { ParsedRequest, ParseOptions } from '../shape.ts'
import { withoutLoneSurrogates } from '../well-formed.ts'
import { toMessages, toTool } from './input.ts'
import { chooseTools, isIncludable, toAsk } from './parameters.ts'
import { LOOKED_AT_PARAMETERS, refusedItem, refusedParameter, refusedTool } from './refusals.ts'
import {
  type InputItem,
  messageItem,
  type ResponsesParameters,
  responsesBody,
  responsesParameters,
  responsesTool,
  typedItem,
} from './schema.ts'

/** Reads the JSON body of `POST /v1/responses`. */
export function parseResponses(body: unknown, options: ParseOptions): ParsedRequest {
  const measure = measureBody(body, inputMeasure)
  if (!measure.fits) return excessFault(measure.excess)
  const whole = measure.wellFormed ? body : withoutLoneSurrogates(body)
  if (!isObject(whole)) return fault('invalid_request', [], 'must be a JSON object')
  const refused = refusedParameter(whole)
  if (refused) return refused
  const parameters = responsesParameters.safeParse(whole)
  if (!parameters.success) return faultOfIssue(parameters.error, [])
  const items = parseInput(whole.input)
  if (!items.ok) return items
  const tools = parseTools(whole.tools)
  if (!tools.ok) return tools
  return assemble(whole, parameters.data, items.items, tools.items, options)
}

type Parsed<Item> = { readonly ok: true; readonly items: readonly Item[] } | RequestFault

/** One item at a time, so that a hostile list costs no more than its first bad member. */
function parseInput(input: unknown): Parsed<InputItem> {
  if (typeof input === 'string') {
    return input === ''
      ? fault('invalid_request', ['input'], 'must have at least 1 character')
      : { ok: true, items: [{ role: 'user', content: input }] }
  }
  if (!Array.isArray(input))
    return fault('invalid_request', ['input'], 'must be a string or an array of items')
  if (input.length === 0) return fault('invalid_request', ['input'], 'must have at least 1 item')
  if (input.length > CHAT_BOUNDS.messagesMax) {
    return fault('invalid_request', ['input'], `must have at most ${CHAT_BOUNDS.messagesMax} items`)
  }
  const items: InputItem[] = []
  for (const [index, item] of input.entries()) {
    const path = ['input', index]
    const refused = refusedItem(item, path)
    if (refused) return refused
    const isMessage = !isObject(item) || item.type === undefined || item.type === 'message'
    const parsed = isMessage ? messageItem.safeParse(item) : typedItem.safeParse(item)
    if (!parsed.success) return faultOfIssue(parsed.error, path)
    items.push(parsed.data)
  }
  return { ok: true, items }
}

function parseTools(tools: unknown): Parsed<Tool> {
  if (tools === undefined || tools === null) return { ok: true, items: [] }
  if (!Array.isArray(tools)) return fault('invalid_request', ['tools'], 'must be an array of tools')
  if (tools.length > CHAT_BOUNDS.toolsMax) {
    return fault('invalid_request', ['tools'], `must have at most ${CHAT_BOUNDS.toolsMax} items`)
  }
  const items: Tool[] = []
  const names = new Set<string>()
  for (const [index, tool] of tools.entries()) {
    const path = ['tools', index]
    const refused = refusedTool(tool, path)
    if (refused) return refused
    const parsed = responsesTool.safeParse(tool)
    if (!parsed.success) return faultOfIssue(parsed.error, path)
    const item = toTool(parsed.data)
    if (names.has(item.name)) {
      return fault('invalid_request', [...path, 'name'], 'is used by an earlier tool too')
    }
    names.add(item.name)
    items.push(item)
  }
  return { ok: true, items }
}

function assemble(
  body: Readonly<Record<string, unknown>>,
  parameters: ResponsesParameters,
  items: readonly InputItem[],
  tools: readonly Tool[],
  options: ParseOptions,
): ParsedRequest {
  const chosen = chooseTools(parameters.tool_choice ?? undefined, tools)
  if (!chosen.ok) return chosen
  const messages = toMessages(items)
  if (messages.length === 0) return fault('invalid_request', ['input'], 'must say something')
  const includes = parameters.include ?? []
  return chatRequest(
    {
      ask: toAsk(parameters, messages, chosen, options),
      extensions: parameters,
      metadata: parameters.metadata ?? {},
      body,
      knows: (member) => Object.hasOwn(responsesBody.shape, member) || LOOKED_AT_PARAMETERS.has(member),
      dropped: includes.every(isIncludable) ? [] : ['include'],
    },
    options,
  )
}

/** How many parts the items have in all, and how many characters of base64 stand where media stand. */
function inputMeasure(body: unknown): BodyContent {
  const measure = { parts: 0, mediaBytes: 0 }
  const items = isObject(body) && Array.isArray(body.input) ? body.input : []
  for (const item of items) {
    if (!isObject(item)) continue
    for (const list of [item.content, item.output, item.summary]) {
      if (!Array.isArray(list)) continue
      measure.parts += list.length
      // So long a list is refused, so what is in it does not count.
      if (list.length > CHAT_BOUNDS.partsMax) continue
      for (const part of list) measure.mediaBytes += mediaBytesOf(part)
    }
  }
  return measure
}

function mediaBytesOf(part: unknown): number {
  if (!isObject(part)) return 0
  if (part.type === 'input_image') return dataLength(part.image_url, 'data:')
  if (part.type === 'input_file') return dataLength(part.file_data, 'data:')
  return isObject(part.input_audio) ? dataLength(part.input_audio.data, '') : 0
}

function dataLength(value: unknown, prefix: string): number {
  return typeof value === 'string' && value.startsWith(prefix) ? value.length : 0
}
