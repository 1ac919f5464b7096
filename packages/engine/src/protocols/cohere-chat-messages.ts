import type { Endpoint } from '@mesh/catalog/catalog.ts'
import type { Ask, InputPart, Message, TextPart } from '../ask.ts'
import { instructed, urlOf } from './conversation.ts'

type WireMessage = Readonly<Record<string, unknown>>

/** The conversation in Cohere's words. `instruction` is added to the system prompt. */
export function cohereMessages(
  ask: Ask,
  endpoint: Endpoint,
  instruction: string | undefined,
  dropped: Set<string>,
): readonly WireMessage[] {
  const messages: WireMessage[] = []
  let shownByTools: InputPart[] = []
  for (const message of instructed(ask.messages, instruction)) {
    if (message.parts.some((part) => 'cache' in part && part.cache !== undefined))
      dropped.add('cache_control')
    // Tool results hold text only; what else a tool returned follows as the user's, after the last result.
    if (message.role !== 'tool' && shownByTools.length > 0) {
      messages.push({ role: 'user', content: inputContent(shownByTools, dropped) })
      shownByTools = []
    }
    messages.push(wireMessage(message, endpoint, dropped))
    if (message.role === 'tool') shownByTools.push(...message.parts.filter((part) => part.type !== 'text'))
  }
  if (shownByTools.length > 0) messages.push({ role: 'user', content: inputContent(shownByTools, dropped) })
  return messages
}

function wireMessage(message: Message, endpoint: Endpoint, dropped: Set<string>): WireMessage {
  switch (message.role) {
    case 'system':
    case 'developer':
      return { role: 'system', content: textContent(message.parts) }
    case 'user':
      if (message.name !== undefined) dropped.add('messages.name')
      return { role: 'user', content: inputContent(message.parts, dropped) }
    case 'assistant':
      return assistantMessage(message, endpoint)
    case 'tool':
      return {
        role: 'tool',
        tool_call_id: message.toolCallId,
        content: textContent(message.parts.filter((part) => part.type === 'text')),
      }
  }
}

/**
 * An assistant's turn. A model that thinks gets its thinking back in a block of its own; one that does not wrote down
 * a plan before it called tools, and gets that back. What it cannot have written itself is left out, and so are blocks
 * that carry another provider's proof.
 */
function assistantMessage(message: Extract<Message, { role: 'assistant' }>, endpoint: Endpoint): WireMessage {
  const { toolCalls, refusal } = message
  const thought = message.reasoning
    .filter((block) => block.signature === undefined && block.redacted === undefined)
    .filter((block) => block.format === undefined)
    .map((block) => block.text)
    .join('')
  const thinks = endpoint.supportedParameters.includes('reasoning')
  const parts: readonly TextPart[] =
    refusal === undefined ? message.parts : [...message.parts, { type: 'text', text: refusal }]
  const thinking = thinks && thought !== '' ? [{ type: 'thinking', thinking: thought }] : []
  const content =
    thinking.length === 0 ? textContent(parts) : [...thinking, ...parts.map(({ text }) => textBlock(text))]
  return {
    role: 'assistant',
    ...(content.length === 0 && toolCalls.length > 0 ? {} : { content }),
    ...(toolCalls.length > 0 && !thinks && thought !== '' ? { tool_plan: thought } : {}),
    ...(toolCalls.length > 0
      ? {
          tool_calls: toolCalls.map((call) => ({
            id: call.id,
            type: 'function',
            function: { name: call.name, arguments: call.arguments },
          })),
        }
      : {}),
  }
}

function textContent(parts: readonly TextPart[]) {
  return parts.length > 1 ? parts.map(({ text }) => textBlock(text)) : (parts[0]?.text ?? '')
}

function textBlock(text: string) {
  return { type: 'text', text }
}

/** Texts and images are all that the API takes; a plan keeps other input away, and here it is named where it came. */
function inputContent(parts: readonly InputPart[], dropped: Set<string>) {
  const texts = parts.filter((part) => part.type === 'text')
  if (texts.length === parts.length) return textContent(texts)
  return parts.flatMap((part) => inputBlocks(part, dropped))
}

function inputBlocks(part: InputPart, dropped: Set<string>): readonly object[] {
  switch (part.type) {
    case 'text':
      return [textBlock(part.text)]
    case 'image':
      return [{ type: 'image_url', image_url: { url: urlOf(part.source), detail: part.detail } }]
    case 'file':
      dropped.add('file')
      return []
    case 'audio':
      dropped.add('input_audio')
      return []
  }
}
