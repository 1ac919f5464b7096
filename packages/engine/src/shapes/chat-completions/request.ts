import type { Message, Tool } from '../../ask.ts'
import { type BodyContent, excessFault, measureBody } from '../body-measure.ts'
import { CHAT_BOUNDS } from '../bounds.ts'
import { chatRequest } from '../caller-request.ts'
import { fault, faultOfIssue, isObject, type RequestFault } from '../fault.ts'
import type { ParsedRequest, ParseOptions } from '../shape.ts'
import { withoutLoneSurrogates } from '../well-formed.ts'
import { toMessage, toTool } from './messages.ts'
import { toAsk } from './parameters.ts'
import { IGNORED_PARAMETERS, refusedMessage, refusedParameter, refusedTool } from './refusals.ts'
import { type ChatParameters, chatCompletionBody, chatMessage, chatParameters, chatTool } from './schema.ts'
import { chooseTools } from './tool-choice.ts'

/**
 * Reads the JSON body of `POST /v1/chat/completions`. Pure, linear in the body's size, and safe on any parsed JSON.
 * A fault is a 400; its message says what to do and holds nothing of the request.
 */
export function parseChatCompletion(body: unknown, options: ParseOptions): ParsedRequest {
  const measure = measureBody(body, chatContent)
  if (!measure.fits) return excessFault(measure.excess)
  const whole = measure.wellFormed ? body : withoutLoneSurrogates(body)
  if (!isObject(whole)) return fault('invalid_request', [], 'must be a JSON object')
  const refused = refusedParameter(whole)
  if (refused) return refused
  const parameters = chatParameters.safeParse(whole)
  if (!parameters.success) return faultOfIssue(parameters.error, [])
  const messages = parseMessages(whole.messages)
  if (!messages.ok) return messages
  const tools = parseTools(whole.tools)
  if (!tools.ok) return tools
  return assemble(whole, parameters.data, messages.items, tools.items, options)
}

type Parsed<Item> = { readonly ok: true; readonly items: readonly Item[] } | RequestFault

/** One message at a time, so that a hostile list costs no more than its first bad member. */
function parseMessages(messages: unknown): Parsed<Message> {
  if (!Array.isArray(messages)) return fault('invalid_request', ['messages'], 'must be an array of messages')
  if (messages.length === 0) return fault('invalid_request', ['messages'], 'must have at least 1 item')
  if (messages.length > CHAT_BOUNDS.messagesMax) {
    return fault('invalid_request', ['messages'], `must have at most ${CHAT_BOUNDS.messagesMax} items`)
  }
  const items: Message[] = []
  for (const [index, message] of messages.entries()) {
    const path = ['messages', index]
    const refused = refusedMessage(message, path)
    if (refused) return refused
    const parsed = chatMessage.safeParse(message)
    if (!parsed.success) return faultOfIssue(parsed.error, path)
    items.push(toMessage(parsed.data))
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
    const parsed = chatTool.safeParse(tool)
    if (!parsed.success) return faultOfIssue(parsed.error, path)
    const item = toTool(parsed.data)
    if (names.has(item.name)) {
      return fault('invalid_request', [...path, 'function', 'name'], 'is used by an earlier tool too')
    }
    names.add(item.name)
    items.push(item)
  }
  return { ok: true, items }
}

function assemble(
  body: Readonly<Record<string, unknown>>,
  parameters: ChatParameters,
  messages: readonly Message[],
  tools: readonly Tool[],
  options: ParseOptions,
): ParsedRequest {
  const chosen = chooseTools(parameters, tools)
  if (!chosen.ok) return chosen
  return chatRequest(
    {
      ask: toAsk(parameters, messages, chosen, options),
      extensions: parameters,
      metadata: parameters.metadata ?? {},
      body,
      knows: (member) => Object.hasOwn(chatCompletionBody.shape, member) || IGNORED_PARAMETERS.has(member),
    },
    options,
  )
}

/** How many parts the messages have in all, and how many bytes of base64 stand where media stand. */
function chatContent(body: unknown): BodyContent {
  let parts = 0
  let mediaBytes = 0
  const messages = isObject(body) && Array.isArray(body.messages) ? body.messages : []
  for (const message of messages) {
    if (!isObject(message)) continue
    for (const list of [message.content, message.tool_calls, message.reasoning_details]) {
      if (Array.isArray(list)) parts += list.length
    }
    // So long a list is refused, so what is in it does not count.
    if (!Array.isArray(message.content) || message.content.length > CHAT_BOUNDS.partsMax) continue
    for (const part of message.content) mediaBytes += mediaBytesOf(part)
  }
  return { parts, mediaBytes }
}

function mediaBytesOf(part: unknown): number {
  if (!isObject(part)) return 0
  if (part.type === 'image_url' && isObject(part.image_url)) return dataLength(part.image_url.url, 'data:')
  if (part.type === 'file' && isObject(part.file)) return dataLength(part.file.file_data, 'data:')
  if (part.type === 'input_audio' && isObject(part.input_audio)) return dataLength(part.input_audio.data, '')
  return 0
}

function dataLength(value: unknown, prefix: string): number {
  return typeof value === 'string' && value.startsWith(prefix) ? value.length : 0
}
