import type { Message, Tool } from '../../ask.ts'
import { type BodyContent, dataLength } from '../body-measure.ts'
import { CHAT_BOUNDS } from '../bounds.ts'
import { chatRequest } from '../caller-request.ts'
import { isObject } from '../fault.ts'
import { type BodyMembers, readParameters, readTools, readTurns } from '../read-body.ts'
import type { ParsedRequest, ParseOptions } from '../shape.ts'
import { chooseTools } from '../tool-choice.ts'
import { toMessage, toTool } from './messages.ts'
import { toAsk } from './parameters.ts'
import { IGNORED_PARAMETERS, refusedMessage, refusedParameter, refusedTool } from './refusals.ts'
import { type ChatParameters, chatCompletionBody, chatMessage, chatParameters, chatTool } from './schema.ts'
import { toolWish } from './tool-choice.ts'

/** Reads the JSON body of `POST /v1/chat/completions`. */
export function parseChatCompletion(body: unknown, options: ParseOptions): ParsedRequest {
  const read = readParameters(body, {
    contentOf: chatContent,
    refused: refusedParameter,
    parameters: chatParameters,
  })
  if (!read.ok) return read
  const { members, parameters } = read.value
  const messages = readTurns(members.messages, 'messages', 'an array of messages', {
    refused: refusedMessage,
    schemaOf: () => chatMessage,
  })
  if (!messages.ok) return messages
  const tools = readTools(members.tools, {
    refused: refusedTool,
    schema: chatTool,
    toTool,
    nameAt: ['function', 'name'],
  })
  if (!tools.ok) return tools
  return assemble(members, parameters, messages.value.map(toMessage), tools.value, options)
}

function assemble(
  body: BodyMembers,
  parameters: ChatParameters,
  messages: readonly Message[],
  tools: readonly Tool[],
  options: ParseOptions,
): ParsedRequest {
  const chosen = chooseTools(toolWish(parameters.tool_choice), tools)
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
