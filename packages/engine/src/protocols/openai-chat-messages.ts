import type { Ask, InputPart, Message, TextPart, ToolCall } from '../ask.ts'
import { textOfBase64 } from '../base64.ts'
import type { ChatQuirks } from '../quirks.ts'
import { instructed, urlOf } from './conversation.ts'
import { mappedId } from './mapped-id.ts'

type WireMessage = Readonly<Record<string, unknown>>

/** The conversation in OpenAI's words. `instruction` is added to the system prompt. */
export function chatMessages(
  ask: Ask,
  quirks: ChatQuirks,
  instruction: string | undefined,
  dropped: Set<string>,
): readonly WireMessage[] {
  const messages: WireMessage[] = []
  let shownByTools: InputPart[] = []
  for (const message of instructed(joinedTurns(ask.messages), instruction)) {
    if (hasCacheMark(message)) dropped.add('cache_control')
    // Tool results hold text only. What else a tool returned follows as the user's, after the last result: nothing
    // may come between a call and its results.
    if (message.role !== 'tool' && shownByTools.length > 0) {
      messages.push({ role: 'user', content: inputContent(shownByTools, quirks) })
      shownByTools = []
    }
    messages.push(wireMessage(message, quirks, dropped))
    if (message.role === 'tool') shownByTools.push(...message.parts.filter((part) => part.type !== 'text'))
  }
  if (shownByTools.length > 0) messages.push({ role: 'user', content: inputContent(shownByTools, quirks) })
  const last = messages.at(-1)
  if (quirks.marksPrefill && last?.role === 'assistant') messages.push({ ...messages.pop(), prefix: true })
  return messages
}

/**
 * Nothing may stand between calls and their results, so what an assistant said after its calls is put before them.
 * Anthropic's turns have their blocks in any order.
 */
function joinedTurns(messages: readonly Message[]): readonly Message[] {
  const joined: Message[] = []
  for (const message of messages) {
    const last = joined.at(-1)
    if (message.role !== 'assistant' || last?.role !== 'assistant' || last.toolCalls.length === 0) {
      joined.push(message)
      continue
    }
    joined[joined.length - 1] = {
      ...last,
      ...message,
      parts: [...last.parts, ...message.parts],
      toolCalls: [...last.toolCalls, ...message.toolCalls],
      reasoning: [...last.reasoning, ...message.reasoning],
    }
  }
  return joined
}

function hasCacheMark(message: Message): boolean {
  const marked = message.role === 'assistant' ? [...message.parts, ...message.toolCalls] : message.parts
  return marked.some((part) => 'cache' in part && part.cache !== undefined)
}

function wireMessage(message: Message, quirks: ChatQuirks, dropped: Set<string>): WireMessage {
  switch (message.role) {
    case 'system':
      return { role: 'system', content: textContent(message.parts, quirks) }
    case 'developer':
      return {
        role: quirks.developerRole ? 'developer' : 'system',
        content: textContent(message.parts, quirks),
      }
    case 'user': {
      const named = message.name !== undefined && quirks.takes.has('name')
      if (message.name !== undefined && !named) dropped.add('messages.name')
      return {
        role: 'user',
        ...(named ? { name: message.name } : {}),
        content: inputContent(message.parts, quirks),
      }
    }
    case 'assistant':
      return assistantMessage(message, quirks)
    case 'tool':
      return {
        role: 'tool',
        tool_call_id: toolCallId(message.toolCallId, quirks),
        content: textContent(
          message.parts.filter((part) => part.type === 'text'),
          quirks,
        ),
      }
  }
}

function assistantMessage(message: Extract<Message, { role: 'assistant' }>, quirks: ChatQuirks): WireMessage {
  const refusalField = message.refusal !== undefined && quirks.takes.has('refusal')
  const parts: readonly TextPart[] =
    message.refusal === undefined || refusalField
      ? message.parts
      : [...message.parts, { type: 'text', text: message.refusal }]
  // A block with a proof, or of a named form, is another protocol's, and goes back to that one only.
  const ownBlocks = message.reasoning.filter(
    (block) => block.signature === undefined && block.redacted === undefined && block.format === undefined,
  )
  const reasoning = ownBlocks.map((block) => block.text).join('')
  const noText = parts.length === 0 && (message.toolCalls.length > 0 || refusalField)
  return {
    role: 'assistant',
    content: noText ? null : textContent(parts, quirks),
    ...(refusalField ? { refusal: message.refusal } : {}),
    ...(quirks.reasoningHistory && reasoning !== '' ? { [quirks.reasoningHistory]: reasoning } : {}),
    ...(message.toolCalls.length > 0
      ? { tool_calls: message.toolCalls.map((call) => toolCall(call, quirks)) }
      : {}),
  }
}

function toolCall(call: ToolCall, quirks: ChatQuirks) {
  return {
    id: toolCallId(call.id, quirks),
    type: 'function',
    function: { name: call.name, arguments: call.arguments },
  }
}

/**
 * A tool call's id as the provider takes it. Ids of another provider, from the earlier turns of a conversation, are
 * mapped to ones of the right form, the same way for the call and its result.
 */
function toolCallId(id: string, quirks: ChatQuirks): string {
  const { toolCallIdLength: length, toolCallIdCharactersMax: most = Number.POSITIVE_INFINITY } = quirks
  if (length === undefined) return id.length <= most ? id : `call_${mappedId(id)}`
  if (id.length === length && /^[a-zA-Z0-9]+$/.test(id)) return id
  return mappedId(id).padStart(length, '0').slice(-length)
}

function textContent(parts: readonly TextPart[], quirks: ChatQuirks) {
  if (parts.length > 1 && quirks.textParts === 'separate') {
    return parts.map(({ text }) => ({ type: 'text', text }))
  }
  return parts.map((part) => part.text).join('\n')
}

function inputContent(parts: readonly InputPart[], quirks: ChatQuirks) {
  const texts = parts.filter((part) => part.type === 'text')
  return texts.length === parts.length
    ? textContent(texts, quirks)
    : parts.map((part) => inputPart(part, quirks))
}

function inputPart(part: InputPart, quirks: ChatQuirks) {
  switch (part.type) {
    case 'text':
      return { type: 'text', text: part.text }
    case 'image':
      return { type: 'image_url', image_url: { url: urlOf(part.source), detail: part.detail } }
    case 'file':
      if (part.source.kind === 'base64' && part.source.mediaType.startsWith('text/')) {
        return { type: 'text', text: textOfBase64(part.source.base64) }
      }
      if (quirks.documents === 'document_url') {
        return { type: 'document_url', document_url: urlOf(part.source), document_name: part.filename }
      }
      return {
        type: 'file',
        file: { filename: part.filename ?? 'document.pdf', file_data: urlOf(part.source) },
      }
    case 'audio':
      return { type: 'input_audio', input_audio: { data: part.base64, format: part.format } }
  }
}
