import type { Message, Tool } from '../../ask.ts'
import { type BodyContent, excessFault, measureBody } from '../body-measure.ts'
import { CHAT_BOUNDS } from '../bounds.ts'
import { chatRequest } from '../caller-request.ts'
import { fault, faultOfIssue, isObject, type RequestFault } from '../fault.ts'
import type { ParsedRequest, ParseOptions } from '../shape.ts'
import { withoutLoneSurrogates } from '../well-formed.ts'
import { toMessages, toTool } from './content.ts'
import { toAsk, toolChoiceFault } from './parameters.ts'
import { LOOKED_AT_PARAMETERS, refusedMessage, refusedParameter, refusedTool } from './refusals.ts'
import {
  type MessagesMessage,
  type MessagesParameters,
  messagesBody,
  messagesMessage,
  messagesParameters,
  messagesTool,
} from './schema.ts'

/** Reads the JSON body of `POST /v1/messages`. */
export function parseMessages(body: unknown, options: ParseOptions): ParsedRequest {
  return parse(body, options, true)
}

/** Reads the JSON body of `POST /v1/messages/count_tokens`: the same, but that nothing will be generated. */
export function parseCountedMessages(body: unknown, options: ParseOptions): ParsedRequest {
  return parse(body, options, false)
}

function parse(body: unknown, options: ParseOptions, generates: boolean): ParsedRequest {
  const measure = measureBody(body, messagesContent)
  if (!measure.fits) return excessFault(measure.excess)
  const whole = measure.wellFormed ? body : withoutLoneSurrogates(body)
  if (!isObject(whole)) return fault('invalid_request', [], 'must be a JSON object')
  const refused = refusedParameter(whole)
  if (refused) return refused
  const parameters = messagesParameters.safeParse(whole)
  if (!parameters.success) return faultOfIssue(parameters.error, [])
  if (generates && typeof parameters.data.max_tokens !== 'number') {
    return fault('invalid_request', ['max_tokens'], 'is required: say how many tokens the answer may have')
  }
  const dropped = new Set<string>()
  const messages = parseConversation(whole.messages, dropped)
  if (!messages.ok) return messages
  const tools = parseTools(whole.tools, dropped)
  if (!tools.ok) return tools
  return assemble(whole, parameters.data, messages.items, tools.items, dropped, options)
}

type Parsed<Item> = { readonly ok: true; readonly items: readonly Item[] } | RequestFault

/** One message at a time, so that a hostile list costs no more than its first bad member. */
function parseConversation(messages: unknown, dropped: Set<string>): Parsed<Message> {
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
    const parsed = messagesMessage.safeParse(message)
    if (!parsed.success) return faultOfIssue(parsed.error, path)
    dropDocumentWishes(parsed.data, dropped)
    items.push(...toMessages(parsed.data))
  }
  return { ok: true, items }
}

/** Citations would come in blocks that no other provider has, so none are asked for. */
function dropDocumentWishes({ content }: MessagesMessage, dropped: Set<string>): void {
  if (typeof content === 'string') return
  for (const block of content) {
    if (block.type !== 'document') continue
    if (block.citations?.enabled === true) dropped.add('document.citations')
    if (typeof block.context === 'string') dropped.add('document.context')
  }
}

function parseTools(tools: unknown, dropped: Set<string>): Parsed<Tool> {
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
    const parsed = messagesTool.safeParse(tool)
    if (!parsed.success) return faultOfIssue(parsed.error, path)
    const item = toTool(parsed.data)
    if (names.has(item.name)) {
      return fault('invalid_request', [...path, 'name'], 'is used by an earlier tool too')
    }
    names.add(item.name)
    items.push(item)
    for (const [member, value] of Object.entries(tool)) {
      const asks = value !== null && value !== false && !Object.hasOwn(messagesTool.shape, member)
      if (asks && dropped.size <= CHAT_BOUNDS.droppedParametersNamedMax) dropped.add(`tools.${member}`)
    }
  }
  return { ok: true, items }
}

function assemble(
  body: Readonly<Record<string, unknown>>,
  parameters: MessagesParameters,
  messages: readonly Message[],
  tools: readonly Tool[],
  dropped: Set<string>,
  options: ParseOptions,
): ParsedRequest {
  const unchosen = toolChoiceFault(parameters, tools)
  if (unchosen) return unchosen
  if (parameters.thinking?.type === 'disabled' && parameters.output_config?.effort) {
    dropped.add('output_config.effort')
  }
  return chatRequest(
    {
      ask: toAsk(parameters, messages, tools, options),
      extensions: parameters,
      metadata: metadataOf(parameters),
      body,
      knows: (member) => Object.hasOwn(messagesBody.shape, member) || LOOKED_AT_PARAMETERS.has(member),
      dropped: [...dropped],
    },
    options,
  )
}

/** All but the end user, of whom only a stand-in is kept. */
function metadataOf({ metadata }: MessagesParameters): Readonly<Record<string, string>> {
  const { user_id: _user, ...pairs } = metadata ?? {}
  return Object.fromEntries(
    Object.entries(pairs).filter((pair): pair is [string, string] => typeof pair[1] === 'string'),
  )
}

/** How many blocks the messages have in all, and how many bytes of base64 stand where media stand. */
function messagesContent(body: unknown): BodyContent {
  const content = { parts: 0, mediaBytes: 0 }
  const messages = isObject(body) && Array.isArray(body.messages) ? body.messages : []
  for (const message of messages) if (isObject(message)) addBlocks(message.content, content, true)
  return content
}

function addBlocks(
  blocks: unknown,
  content: { parts: number; mediaBytes: number },
  intoResults: boolean,
): void {
  if (!Array.isArray(blocks)) return
  content.parts += blocks.length
  // So long a list is refused, so what is in it does not count.
  if (blocks.length > CHAT_BOUNDS.partsMax) return
  for (const block of blocks) {
    if (!isObject(block)) continue
    if (intoResults && block.type === 'tool_result') addBlocks(block.content, content, false)
    const isMedia = block.type === 'image' || block.type === 'document'
    if (!isMedia || !isObject(block.source) || block.source.type !== 'base64') continue
    if (typeof block.source.data === 'string') content.mediaBytes += block.source.data.length
  }
}
