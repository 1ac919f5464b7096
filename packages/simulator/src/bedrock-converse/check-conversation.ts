import { signatureOf } from '../anthropic-messages/thinking.ts'
import { isList, isObject, type JsonObject, objectAt, objectsOf, textAt } from '../json.ts'
import type { BedrockModel } from './models.ts'

/** What the vendor would find wrong with system and messages first. */
export function checkConversation(body: JsonObject, model: BedrockModel): string | undefined {
  const { messages } = body
  if (!isList(messages) || messages.length === 0) {
    return "1 validation error detected: Value at 'messages' failed to satisfy constraint: Member must have length greater than or equal to 1"
  }
  const names = new Set<string>()
  const list = objectsOf(messages)
  if (list[0]?.role !== 'user') {
    return 'A conversation must start with a user message. Try again with a conversation that starts with a user message.'
  }
  for (const block of objectsOf(body.system)) {
    if (block.text !== undefined && textAt(block, 'text').trim() === '') return blank('system.0')
    if (isObject(block.cachePoint) && !model.takesCachePoints) return noCachePoints
  }
  for (const [index, message] of list.entries()) {
    const fault = checkMessage(message, `messages.${index}`, { model, names })
    if (fault !== undefined) return fault
    if (list[index - 1]?.role === message.role) {
      return `A conversation must alternate between user and assistant roles. Make sure the conversation alternates between user and assistant roles and try again.`
    }
  }
  return checkPairing(list, body)
}

const noCachePoints = 'This model does not support prompt caching. Remove cachePoint and try again.'

function blank(at: string): string {
  return `The text field in the ContentBlock object at ${at} is blank. Add text to the text field, and try again.`
}

interface Context {
  readonly model: BedrockModel
  /** The names of the documents so far. */
  readonly names: Set<string>
}

function checkMessage(message: JsonObject, at: string, context: Context): string | undefined {
  const { role } = message
  if (role !== 'user' && role !== 'assistant') return `${at}.role must be one of: user, assistant.`
  const content = objectsOf(message.content)
  if (content.length === 0) {
    return `The content field in the Message object at ${at} is empty. Add a ContentBlock object to the content field and try again.`
  }
  for (const [place, block] of content.entries()) {
    const fault = checkBlock(block, role, `${at}.content.${place}`, context)
    if (fault !== undefined) return fault
  }
  const hasDocument = content.some((block) => block.document !== undefined)
  if (hasDocument && !content.some((block) => block.text !== undefined)) {
    return 'A message that includes a document must also include a text ContentBlock.'
  }
  return undefined
}

function checkBlock(block: JsonObject, role: string, at: string, context: Context): string | undefined {
  const kinds = Object.keys(block)
  if (kinds.length !== 1) return `The ContentBlock object at ${at} must set one key.`
  const [kind] = kinds
  switch (kind) {
    case 'text':
      return textAt(block, 'text').trim() === '' ? blank(at) : undefined
    case 'cachePoint':
      return context.model.takesCachePoints ? undefined : noCachePoints
    case 'image':
      return checkBytes(objectAt(block, 'image'), /^(png|jpeg|gif|webp)$/, at)
    case 'document':
      return checkDocument(objectAt(block, 'document'), at, context.names)
    case 'toolUse':
      if (role !== 'assistant') return `The toolUse block at ${at} must be in an assistant message.`
      return isObject(objectAt(block, 'toolUse').input)
        ? checkToolUseId(objectAt(block, 'toolUse'), at, context.model)
        : `The format of the value at ${at}.toolUse.input is invalid. Provide a json object for the field and try again.`
    case 'toolResult':
      if (role !== 'user') return `The toolResult block at ${at} must be in a user message.`
      return checkToolResult(objectAt(block, 'toolResult'), at, context)
    case 'reasoningContent':
      return checkReasoning(objectAt(block, 'reasoningContent'), at, context.model)
    default:
      return `The ContentBlock object at ${at} must set one of the following keys: text, image, toolUse, toolResult, document, video, cachePoint, reasoningContent.`
  }
}

function checkBytes(media: JsonObject, formats: RegExp, at: string): string | undefined {
  const format = textAt(media, 'format')
  if (!formats.test(format)) return `The format ${format} at ${at} is not supported.`
  return /^[A-Za-z0-9+/]+=*$/.test(textAt(objectAt(media, 'source'), 'bytes'))
    ? undefined
    : `The source at ${at} must hold bytes in base64.`
}

function checkDocument(document: JsonObject, at: string, names: Set<string>): string | undefined {
  const name = textAt(document, 'name')
  if (!/^(?!.*\s\s)[a-zA-Z0-9\s()[\]-]{1,200}$/.test(name)) {
    return 'The document file name can only contain alphanumeric characters, whitespace characters, hyphens, parentheses, and square brackets. The name can’t contain more than one consecutive whitespace character.'
  }
  if (names.has(name))
    return 'The messages contain duplicate document names. Provide unique names and try again.'
  names.add(name)
  return checkBytes(document, /^(pdf|csv|doc|docx|xls|xlsx|html|txt|md)$/, at)
}

function checkToolUseId(use: JsonObject, at: string, model: BedrockModel): string | undefined {
  const id = textAt(use, 'toolUseId')
  const pattern = model.claude ? /^[a-zA-Z0-9_-]{1,64}$/ : /^[a-zA-Z0-9_.:-]{1,64}$/
  return pattern.test(id) ? undefined : `The toolUseId at ${at} does not match the pattern ${pattern.source}.`
}

function checkToolResult(result: JsonObject, at: string, context: Context): string | undefined {
  const { content } = result
  if (!isList(content) || content.length === 0) return `The content of the toolResult at ${at} is empty.`
  for (const [place, block] of objectsOf(content).entries()) {
    const inner = `${at}.toolResult.content.${place}`
    const fault = isObject(block.json) ? undefined : checkBlock(block, 'user', inner, context)
    if (fault !== undefined) return fault
  }
  return checkToolUseId(result, at, context.model)
}

function checkReasoning(reasoning: JsonObject, at: string, model: BedrockModel): string | undefined {
  if (reasoning.redactedContent !== undefined) return undefined
  const text = objectAt(reasoning, 'reasoningText')
  if (!model.claude) {
    return text.signature === undefined
      ? undefined
      : "This model doesn't support the reasoningContent.reasoningText.signature field. Remove reasoningContent.reasoningText.signature and try again."
  }
  return textAt(text, 'signature') === signatureOf(textAt(text, 'text'))
    ? undefined
    : `The model returned the following errors: ${at}: Invalid \`signature\` in \`thinking\` block`
}

/** Calls are answered in the very next message, and whoever has calls has tools. */
function checkPairing(messages: readonly JsonObject[], body: JsonObject): string | undefined {
  let asked: readonly string[] = []
  let used = false
  for (const [index, message] of messages.entries()) {
    const blocks = objectsOf(message.content)
    const idsOf = (kind: string) =>
      blocks.flatMap((block) => (isObject(block[kind]) ? [textAt(objectAt(block, kind), 'toolUseId')] : []))
    const results = idsOf('toolResult')
    if (results.length > asked.length || results.some((id) => !asked.includes(id))) {
      return `The number of toolResult blocks at messages.${index}.content exceeds the number of toolUse blocks of previous turn.`
    }
    const open = asked.filter((id) => !results.includes(id))
    if (open.length > 0) {
      return `Expected toolResult blocks at messages.${index}.content for the following Ids: ${open.join(', ')}`
    }
    asked = idsOf('toolUse')
    used ||= asked.length > 0
  }
  if (used && !isObject(body.toolConfig)) {
    return 'The toolConfig field must be defined when using toolUse and toolResult content blocks.'
  }
  return undefined
}
