import type { Message, Tool } from '../../ask.ts'
import type { BodyContent } from '../body-measure.ts'
import { CHAT_BOUNDS } from '../bounds.ts'
import { chatRequest } from '../caller-request.ts'
import { fault, isObject } from '../fault.ts'
import { type BodyMembers, readParameters, readTools, readTurns } from '../read-body.ts'
import type { ParsedRequest, ParseOptions } from '../shape.ts'
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
  const read = readParameters(body, {
    contentOf: messagesContent,
    refused: refusedParameter,
    parameters: messagesParameters,
  })
  if (!read.ok) return read
  const { members, parameters } = read.value
  if (generates && typeof parameters.max_tokens !== 'number') {
    return fault('invalid_request', ['max_tokens'], 'is required: say how many tokens the answer may have')
  }
  const turns = readTurns(members.messages, 'messages', 'an array of messages', {
    refused: refusedMessage,
    schemaOf: () => messagesMessage,
  })
  if (!turns.ok) return turns
  const tools = readTools(members.tools, {
    refused: refusedTool,
    schema: messagesTool,
    toTool,
    nameAt: ['name'],
  })
  if (!tools.ok) return tools
  const conversation = turns.value.flatMap(toMessages)
  if (conversation.length === 0) return fault('invalid_request', ['messages'], 'must say something')
  const dropped = new Set<string>()
  for (const turn of turns.value) dropDocumentWishes(turn, dropped)
  dropToolWishes(members.tools, dropped)
  return assemble(members, parameters, conversation, tools.value, dropped, options)
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

/** What tools say that no other provider knows. */
function dropToolWishes(tools: unknown, dropped: Set<string>): void {
  for (const tool of Array.isArray(tools) ? tools : []) {
    for (const [member, value] of Object.entries(tool)) {
      const asks = value !== null && value !== false && !Object.hasOwn(messagesTool.shape, member)
      if (asks && dropped.size <= CHAT_BOUNDS.droppedParametersNamedMax) dropped.add(`tools.${member}`)
    }
  }
}

function assemble(
  body: BodyMembers,
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
