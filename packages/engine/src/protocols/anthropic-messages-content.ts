import type { Ask, InputPart, MediaSource, Message, ReasoningBlock, TextPart, ToolCall } from '../ask.ts'
import { textOfBase64 } from '../base64.ts'
import { cacheControl } from './anthropic-messages-cache.ts'
import { trimPrefill } from './conversation.ts'
import { isSystemMessage, type SystemMessage } from './system-message.ts'
import { toolInput } from './tool-input.ts'

type Block = Readonly<Record<string, unknown>>

interface Turn {
  readonly role: 'user' | 'assistant'
  readonly content: Block[]
}

/**
 * The conversation in Anthropic's words: what the system and the developer say is taken out and put together, in
 * order, wherever it stood; messages of one role that follow each other become one turn (tool results are the user's);
 * empty texts, which the API refuses, are left out. `instruction` goes last in the system prompt.
 */
export function anthropicConversation(
  ask: Ask,
  instruction: string | undefined,
  dropped: Set<string>,
): { readonly system: readonly Block[]; readonly messages: readonly Turn[] } {
  const system: Block[] = []
  const turns: Turn[] = []
  for (const message of ask.messages) {
    if (isSystemMessage(message)) {
      system.push(...textBlocks(message.parts))
      continue
    }
    if (message.role === 'user' && message.name !== undefined) dropped.add('messages.name')
    const role = message.role === 'assistant' ? 'assistant' : 'user'
    const content = turnBlocks(message, dropped)
    const last = turns.at(-1)
    if (content.length === 0) continue
    if (last?.role === role) last.content.push(...content)
    else turns.push({ role, content: [...content] })
  }
  // There must be a turn to answer: a system prompt alone is what the user says.
  if (turns.length === 0 && system.length > 0) turns.push({ role: 'user', content: system.splice(0) })
  trimPrefill(turns)
  if (instruction !== undefined) system.push({ type: 'text', text: instruction })
  return { system, messages: turns }
}

function turnBlocks(message: Exclude<Message, SystemMessage>, dropped: Set<string>): readonly Block[] {
  switch (message.role) {
    case 'user':
      return message.parts.flatMap((part) => inputBlocks(part, dropped))
    case 'assistant': {
      const refusal: readonly TextPart[] =
        message.refusal === undefined ? [] : [{ type: 'text', text: message.refusal }]
      return [
        ...message.reasoning.flatMap(reasoningBlocks),
        ...textBlocks([...message.parts, ...refusal]),
        ...message.toolCalls.map(toolUseBlock),
      ]
    }
    case 'tool':
      return [toolResultBlock(message, dropped)]
  }
}

function textBlocks(parts: readonly TextPart[]): readonly Block[] {
  return parts
    .filter((part) => part.text.trim() !== '')
    .map(({ text, cache }) => ({ type: 'text', text, cache_control: cacheControl(cache) }))
}

/** How blocks of Claude's are marked when they are given to callers. */
const CLAUDE_REASONING = 'anthropic-claude-v1'

/** Only blocks that carry Claude's own proof go back; the API refuses all others. */
function reasoningBlocks(block: ReasoningBlock): readonly Block[] {
  if (block.format !== undefined && block.format !== CLAUDE_REASONING) return []
  if (block.redacted !== undefined) return [{ type: 'redacted_thinking', data: block.redacted }]
  if (block.signature === undefined) return []
  return [{ type: 'thinking', thinking: block.text, signature: block.signature }]
}

function inputBlocks(part: InputPart, dropped: Set<string>): readonly Block[] {
  switch (part.type) {
    case 'text':
      return textBlocks([part])
    case 'image':
      if (part.detail !== undefined && part.detail !== 'auto') dropped.add('image_url.detail')
      return [{ type: 'image', source: imageSource(part.source), cache_control: cacheControl(part.cache) }]
    case 'file': {
      const source = documentSource(part.source)
      return [{ type: 'document', source, title: part.filename, cache_control: cacheControl(part.cache) }]
    }
    case 'audio':
      dropped.add('input_audio')
      return []
  }
}

function imageSource(source: MediaSource) {
  if (source.kind === 'url') return { type: 'url', url: source.url }
  return { type: 'base64', media_type: source.mediaType, data: source.base64 }
}

/** Base64 is for PDF; a plain text goes as text. */
function documentSource(source: MediaSource) {
  if (source.kind === 'url' || !source.mediaType.startsWith('text/')) return imageSource(source)
  return { type: 'text', media_type: 'text/plain', data: textOfBase64(source.base64) }
}

function toolUseBlock(call: ToolCall): Block {
  return {
    type: 'tool_use',
    id: toolUseId(call.id),
    name: call.name,
    input: toolInput(call.arguments),
    cache_control: cacheControl(call.cache),
  }
}

/** Ids of another provider may hold characters that the API refuses; the call and its result change alike. */
function toolUseId(id: string): string {
  const allowed = id.replace(/[^a-zA-Z0-9_-]/g, '_')
  return allowed === '' ? 'call' : allowed
}

/** A mark on any part of a result is the mark of the whole result: marks cannot stand inside it. */
function toolResultBlock(
  { toolCallId, parts, isError }: Extract<Message, { role: 'tool' }>,
  dropped: Set<string>,
): Block {
  const mark = parts.map((part) => ('cache' in part ? part.cache : undefined)).findLast((cache) => cache)
  const content = parts.flatMap((part) => inputBlocks(withoutMark(part), dropped))
  return {
    type: 'tool_result',
    tool_use_id: toolUseId(toolCallId),
    content: content.length === 0 ? undefined : content,
    is_error: isError,
    cache_control: cacheControl(mark),
  }
}

function withoutMark(part: InputPart): InputPart {
  if (!('cache' in part)) return part
  const { cache: _mark, ...rest } = part
  return rest
}
