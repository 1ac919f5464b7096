import type { Tool } from '../../ask.ts'
import { type BodyContent, dataLength } from '../body-measure.ts'
import { CHAT_BOUNDS } from '../bounds.ts'
import { chatRequest } from '../caller-request.ts'
import { fault, isObject } from '../fault.ts'
import { type BodyMembers, type Read, readParameters, readTools, readTurns } from '../read-body.ts'
import type { ParsedRequest, ParseOptions } from '../shape.ts'
import { chooseTools } from '../tool-choice.ts'
import { toMessages, toTool } from './input.ts'
import { isIncludable, toAsk, toolWish } from './parameters.ts'
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
  const read = readParameters(body, {
    contentOf: inputMeasure,
    refused: refusedParameter,
    parameters: responsesParameters,
  })
  if (!read.ok) return read
  const { members, parameters } = read.value
  const items = readInput(members.input)
  if (!items.ok) return items
  const tools = readTools(members.tools, {
    refused: refusedTool,
    schema: responsesTool,
    toTool,
    nameAt: ['name'],
  })
  if (!tools.ok) return tools
  return assemble(members, parameters, items.value, tools.value, options)
}

function readInput(input: unknown): Read<readonly InputItem[]> {
  if (input === '') return fault('invalid_request', ['input'], 'must have at least 1 character')
  if (typeof input === 'string') return { ok: true, value: [{ role: 'user', content: input }] }
  return readTurns(input, 'input', 'a string or an array of items', {
    refused: refusedItem,
    schemaOf: (item) => (isMessage(item) ? messageItem : typedItem),
  })
}

function isMessage(item: unknown): boolean {
  return !isObject(item) || item.type === undefined || item.type === 'message'
}

function assemble(
  body: BodyMembers,
  parameters: ResponsesParameters,
  items: readonly InputItem[],
  tools: readonly Tool[],
  options: ParseOptions,
): ParsedRequest {
  const chosen = chooseTools(toolWish(parameters.tool_choice), tools)
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
