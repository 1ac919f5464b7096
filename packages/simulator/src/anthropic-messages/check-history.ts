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
import type { ClaudeModel } from './models.ts'
import { signatureOf } from './thinking.ts'

/** What the vendor would find wrong with the messages first. */
export function checkHistory(body: JsonObject, model: ClaudeModel): string | undefined {
  const { messages } = body
  if (!isList(messages)) return 'messages: Input should be a valid list'
  if (messages.length === 0) return 'messages: at least one message is required'
  for (const [index, message] of messages.entries()) {
    const fault = checkMessage(message, index, index === messages.length - 1, model)
    if (fault !== undefined) return fault
  }
  const list = objectsOf(messages)
  if (list[0]?.role === 'assistant') return 'messages: first message must use the "user" role'
  return checkPairing(list) ?? checkLastMessage(list, model) ?? checkThinkingKept(list, body)
}

function checkMessage(message: Json, index: number, last: boolean, model: ClaudeModel): string | undefined {
  const at = `messages.${index}`
  if (!isObject(message)) return `${at}: Input should be an object`
  const extra = Object.keys(message).find((key) => key !== 'role' && key !== 'content')
  if (extra !== undefined) return `${at}.${extra}: Extra inputs are not permitted`
  const role = textAt(message, 'role')
  if (role === 'system' && !model.takesInlineSystem) {
    return 'messages: Unexpected role "system". The Messages API accepts a top-level `system` parameter, not "system" as an input message role.'
  }
  if (role !== 'user' && role !== 'assistant' && role !== 'system') {
    return `messages: Unexpected role "${role}". Allowed roles are "user" or "assistant".`
  }
  const { content } = message
  if (!isGiven(content)) return `${at}.content: Field required`
  if (content === '' || (isList(content) && content.length === 0)) {
    if (last && role === 'assistant') return undefined
    return `${at}: all messages must have non-empty content except for the optional final assistant message`
  }
  if (typeof content === 'string') {
    return content.trim() === ''
      ? 'messages: text content blocks must contain non-whitespace text'
      : undefined
  }
  if (!isList(content)) return `${at}.content: Input should be a valid string or list`
  for (const [place, block] of content.entries()) {
    const fault = isObject(block)
      ? checkBlock(block, role, `${at}.content.${place}`)
      : `${at}.content.${place}: Input should be an object`
    if (fault !== undefined) return fault
  }
  return undefined
}

function checkBlock(block: JsonObject, role: string, at: string): string | undefined {
  switch (block.type) {
    case 'text':
      if (typeof block.text !== 'string') return `${at}.text.text: Field required`
      if (block.text === '') return 'messages: text content blocks must be non-empty'
      return block.text.trim() === ''
        ? 'messages: text content blocks must contain non-whitespace text'
        : undefined
    case 'image':
    case 'document':
      return role === 'user'
        ? checkSource(block, at)
        : `${at}: ${block.type} blocks are not permitted in ${role} messages`
    case 'tool_use':
      if (role !== 'assistant') return `${at}: \`tool_use\` blocks can only be in \`assistant\` messages`
      if (!/^[a-zA-Z0-9_-]+$/.test(textAt(block, 'id'))) {
        return `${at}.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'`
      }
      return isObject(block.input) ? undefined : `${at}.tool_use.input: Input should be an object`
    case 'tool_result':
      if (role !== 'user') return `${at}: \`tool_result\` blocks can only be in \`user\` messages`
      return textAt(block, 'tool_use_id') === '' ? `${at}.tool_result.tool_use_id: Field required` : undefined
    case 'thinking':
      if (role !== 'assistant') return `${at}: \`thinking\` blocks can only be in \`assistant\` messages`
      if (textAt(block, 'signature') === signatureOf(textAt(block, 'thinking'))) return undefined
      return `${at}: Invalid \`signature\` in \`thinking\` block`
    case 'redacted_thinking':
      return textAt(block, 'data') === '' ? `${at}.redacted_thinking.data: Field required` : undefined
    default:
      return `${at}: Input tag found using 'type' does not match any of the expected tags: 'document', 'image', 'redacted_thinking', 'text', 'thinking', 'tool_result', 'tool_use'`
  }
}

function checkSource(block: JsonObject, at: string): string | undefined {
  const source = objectAt(block, 'source')
  const image = block.type === 'image'
  switch (source.type) {
    case 'base64': {
      const mediaType = textAt(source, 'media_type')
      const fits = image ? /^image\/(jpeg|png|gif|webp)$/.test(mediaType) : mediaType === 'application/pdf'
      if (!fits) {
        const known = image ? "'image/jpeg', 'image/png', 'image/gif' or 'image/webp'" : "'application/pdf'"
        return `${at}.${block.type}.source.base64.media_type: Input should be ${known}`
      }
      return /^[A-Za-z0-9+/]+=*$/.test(textAt(source, 'data'))
        ? undefined
        : `${at}.${block.type}.source.base64: invalid base64 data`
    }
    case 'url':
      return /^https?:\/\//.test(textAt(source, 'url'))
        ? undefined
        : `${at}.${block.type}.source.url.url: Only HTTP(S) URLs are supported.`
    case 'text':
    case 'content':
      if (!image) return undefined
  }
  return `${at}.${block.type}.source: Input tag found using 'type' does not match any of the expected tags`
}

/** Tool calls are answered in the very next message, and only calls of the message before are answered. */
function checkPairing(messages: readonly JsonObject[]): string | undefined {
  let asked: readonly string[] = []
  for (const [index, message] of messages.entries()) {
    // System messages may stand between the turns of a conversation without parting a call from its result.
    if (message.role === 'system') continue
    const blocks = objectsOf(message.content)
    const results = blocks
      .filter((block) => block.type === 'tool_result')
      .map((block) => textAt(block, 'tool_use_id'))
    const stray = results.find((id) => !asked.includes(id))
    if (stray !== undefined) {
      return `messages.${index}.content.0: unexpected \`tool_use_id\` found in \`tool_result\` blocks: ${stray}. Each \`tool_result\` block must have a corresponding \`tool_use\` block in the previous message.`
    }
    const open = asked.filter((id) => !results.includes(id))
    if (open.length > 0) return unanswered(index - 1, open)
    asked = blocks.filter((block) => block.type === 'tool_use').map((block) => textAt(block, 'id'))
  }
  return asked.length > 0 ? unanswered(messages.length - 1, asked) : undefined
}

function unanswered(index: number, ids: readonly string[]): string {
  return `messages.${index}: \`tool_use\` ids were found without \`tool_result\` blocks immediately after: ${ids.join(', ')}. Each \`tool_use\` block must have a corresponding \`tool_result\` block in the next message.`
}

function checkLastMessage(messages: readonly JsonObject[], model: ClaudeModel): string | undefined {
  const last = messages.at(-1)
  if (last?.role !== 'assistant') return undefined
  if (!model.takesPrefill) {
    return 'This model does not support assistant message prefill. The conversation must end with a user message.'
  }
  const text =
    typeof last.content === 'string' ? last.content : textAt(objectsOf(last.content).at(-1) ?? {}, 'text')
  return text === text.trimEnd()
    ? undefined
    : 'messages: final assistant content cannot end with trailing whitespace'
}

/** While a tool is being used, the turn that called it must come back with the thinking that led to the call. */
function checkThinkingKept(messages: readonly JsonObject[], body: JsonObject): string | undefined {
  if (objectAt(body, 'thinking').type !== 'enabled') return undefined
  const index = messages.findLastIndex((message) => message.role === 'assistant')
  const answered = objectsOf(messages[index + 1]?.content).some((block) => block.type === 'tool_result')
  const first = textAt(objectsOf(messages[index]?.content)[0] ?? {}, 'type')
  if (index < 0 || !answered || first === 'thinking' || first === 'redacted_thinking') return undefined
  return `messages.${index}.content.0.type: Expected \`thinking\` or \`redacted_thinking\`, but found \`${first}\`. When \`thinking\` is enabled, a final \`assistant\` message must start with a thinking block.`
}
