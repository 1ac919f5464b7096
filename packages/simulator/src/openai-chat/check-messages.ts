import {
  isGiven,
  isList,
  isObject,
  type Json,
  type JsonObject,
  objectAt,
  objectsOf,
  textAt,
} from '../json.ts'
import type { ChatDialect } from './dialects.ts'
import { invalid, type Problem } from './refusal.ts'

const roles = ['system', 'assistant', 'user', 'function', 'tool', 'developer']

export function checkMessages(body: JsonObject, dialect: ChatDialect): Problem | undefined {
  const { messages } = body
  if (messages === undefined) {
    return invalid("Missing required parameter: 'messages'.", 'messages', 'missing_required_parameter')
  }
  if (!isList(messages))
    return invalid("Invalid type for 'messages': expected an array of objects.", 'messages', 'invalid_type')
  if (messages.length === 0) {
    const message =
      "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead."
    return invalid(message, 'messages', 'empty_array')
  }
  for (const [index, message] of messages.entries()) {
    const problem = checkMessage(message, `messages[${index}]`, dialect)
    if (problem !== undefined) return problem
  }
  const list = objectsOf(messages)
  return checkPairing(list) ?? (dialect.provider === 'mistral' ? checkMistralOrder(list) : undefined)
}

function checkMessage(message: Json, at: string, dialect: ChatDialect): Problem | undefined {
  if (!isObject(message)) return invalid(`Invalid type for '${at}': expected an object.`, at, 'invalid_type')
  const role = textAt(message, 'role')
  if (role === '')
    return invalid(`Missing required parameter: '${at}.role'.`, `${at}.role`, 'missing_required_parameter')
  if (!roles.includes(role) || (role === 'developer' && !dialect.developerRole)) {
    const known = roles.filter((name) => name !== 'developer' || dialect.developerRole)
    const supported = known.map((name) => `'${name}'`).join(', ')
    return invalid(
      `Invalid value: '${role}'. Supported values are: ${supported}.`,
      `${at}.role`,
      'invalid_value',
    )
  }
  if (role === 'assistant') return checkAssistant(message, at)
  if (!isGiven(message.content)) {
    return invalid(`Invalid value for 'content': expected a string, got null.`, `${at}.content`)
  }
  return checkContent(message.content, at, role === 'user')
}

function checkAssistant(message: JsonObject, at: string): Problem | undefined {
  const calls = message.tool_calls
  if (isGiven(calls)) {
    if (!isList(calls) || calls.length === 0) {
      const text = `Invalid '${at}.tool_calls': empty array. Expected an array with minimum length 1, but got an empty array instead.`
      return invalid(text, `${at}.tool_calls`, 'empty_array')
    }
    for (const [index, call] of objectsOf(calls).entries()) {
      const definition = objectAt(call, 'function')
      if (
        textAt(call, 'id') !== '' &&
        textAt(definition, 'name') !== '' &&
        typeof definition.arguments === 'string'
      )
        continue
      const param = `${at}.tool_calls[${index}]`
      return invalid(`Missing required parameter in '${param}'.`, param, 'missing_required_parameter')
    }
    return isGiven(message.content) ? checkContent(message.content, at, false) : undefined
  }
  if (isGiven(message.content)) return checkContent(message.content, at, false)
  if (isGiven(message.refusal) || isGiven(message.function_call)) return undefined
  return invalid("Invalid value for 'content': expected a string, got null.", `${at}.content`)
}

function checkContent(content: Json, at: string, media: boolean): Problem | undefined {
  if (typeof content === 'string') return undefined
  if (!isList(content))
    return invalid(
      `Invalid type for '${at}.content': expected a string or an array.`,
      `${at}.content`,
      'invalid_type',
    )
  if (content.length === 0) {
    return invalid(
      `Invalid '${at}.content': empty array. Expected an array with minimum length 1.`,
      `${at}.content`,
      'empty_array',
    )
  }
  for (const [index, part] of content.entries()) {
    const param = `${at}.content[${index}]`
    const problem = isObject(part)
      ? checkPart(part, param, media)
      : invalid(`Invalid type for '${param}': expected an object.`, param, 'invalid_type')
    if (problem !== undefined) return problem
  }
  return undefined
}

function checkPart(part: JsonObject, param: string, media: boolean): Problem | undefined {
  switch (part.type) {
    case 'text':
      if (typeof part.text === 'string') return undefined
      return invalid(
        `Missing required parameter: '${param}.text'.`,
        `${param}.text`,
        'missing_required_parameter',
      )
    case 'refusal':
    // Mistral's own parts: a model's thinking, given back to it.
    case 'thinking':
      return undefined
    case 'image_url':
      return media ? checkImage(part, param) : wrongPart(param)
    case 'input_audio':
    case 'file':
    // Mistral's own name for a document.
    case 'document_url':
      return media ? undefined : wrongPart(param)
    default:
      return wrongPart(param)
  }
}

function wrongPart(param: string): Problem {
  return invalid(`Invalid value: '${param}.type' is not supported here.`, `${param}.type`, 'invalid_value')
}

function checkImage(part: JsonObject, param: string): Problem | undefined {
  const image = part.image_url
  const url = typeof image === 'string' ? image : isObject(image) ? textAt(image, 'url') : ''
  if (/^https?:\/\//.test(url)) return undefined
  if (/^data:image\/(png|jpe?g|gif|webp);base64,[A-Za-z0-9+/]+=*$/.test(url)) return undefined
  return invalid(
    `Invalid '${param}.image_url': not a supported image URL.`,
    `${param}.image_url`,
    'invalid_image_url',
  )
}

/** Every tool call is answered right after it, and every tool message answers a call. */
function checkPairing(messages: readonly JsonObject[]): Problem | undefined {
  let open = new Set<string>()
  let asked = -1
  for (const [index, message] of messages.entries()) {
    if (message.role === 'tool') {
      const param = `messages.[${index}].role`
      if (asked < 0) {
        const text =
          "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'."
        return invalid(text, param)
      }
      if (!open.delete(textAt(message, 'tool_call_id'))) {
        return invalid(
          "Invalid parameter: 'tool_call_id' not found in 'tool_calls' of previous message.",
          `messages.[${index}].tool_call_id`,
        )
      }
      continue
    }
    if (open.size > 0) return unanswered(open, index)
    const calls = objectsOf(message.tool_calls)
    asked = calls.length > 0 ? index : -1
    open = new Set(calls.map((call) => textAt(call, 'id')))
  }
  return open.size > 0 ? unanswered(open, messages.length) : undefined
}

function unanswered(open: ReadonlySet<string>, index: number): Problem {
  const text =
    "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. " +
    `The following tool_call_ids did not have response messages: ${[...open].join(', ')}`
  return invalid(text, `messages.[${index}].role`)
}

function checkMistralOrder(messages: readonly JsonObject[]): Problem | undefined {
  const wrongId = messages
    .flatMap((message) => objectsOf(message.tool_calls))
    .some((call) => !/^[a-zA-Z0-9]{9}$/.test(textAt(call, 'id')))
  if (wrongId) {
    const text = 'Tool call id must be a-z, A-Z, 0-9, with a length of 9.'
    return { ...invalid(text, null, '3280'), type: 'invalid_function_call' }
  }
  const last = messages.at(-1)
  if (last === undefined || last.role !== 'assistant' || last.prefix === true) return undefined
  const text = 'Expected last role User or Tool (or Assistant with prefix True) for serving but got assistant'
  return { ...invalid(text, null, '3230'), type: 'invalid_request_message_order' }
}
