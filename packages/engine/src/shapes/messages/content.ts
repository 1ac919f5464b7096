import type {
  CacheMark,
  InputPart,
  MediaSource,
  Message,
  ReasoningBlock,
  TextPart,
  Tool,
  ToolCall,
} from '../../ask.ts'
import { base64OfText } from '../../base64.ts'
import { readSignedId } from '../../tool-call-signature.ts'
import { reasoningBlock } from './reasoning-proof.ts'
import type { CacheControl, MessagesMessage, MessagesTool } from './schema.ts'

type BlockOf<Role extends MessagesMessage['role']> = Exclude<
  Extract<MessagesMessage, { role: Role }>['content'],
  string
>[number]
type UserBlock = BlockOf<'user'>
type AssistantBlock = BlockOf<'assistant'>
type TextBlock = Extract<UserBlock, { type: 'text' }>
type DocumentBlock = Extract<UserBlock, { type: 'document' }>
type ToolResultBlock = Extract<UserBlock, { type: 'tool_result' }>

/** A valid message in the engine's form: several where Anthropic puts into one turn what others tell apart. */
export function toMessages(message: MessagesMessage): readonly Message[] {
  switch (message.role) {
    case 'system':
      return [{ role: 'system', parts: toTextParts(message.content) }]
    case 'user':
      return userMessages(blocksOf(message.content))
    case 'assistant':
      return assistantMessages(blocksOf(message.content))
  }
}

export function toTextParts(content: string | readonly TextBlock[]): readonly TextPart[] {
  if (typeof content === 'string') return content === '' ? [] : [{ type: 'text', text: content }]
  return content.map(({ text, cache_control }) => ({ type: 'text', text, ...toCache(cache_control) }))
}

export function toTool({ name, description, input_schema, strict, cache_control }: MessagesTool): Tool {
  return {
    name,
    ...(typeof description === 'string' ? { description } : {}),
    parameters: input_schema,
    ...(typeof strict === 'boolean' ? { strict } : {}),
    ...toCache(cache_control),
  }
}

/** Five minutes is what a mark without a time means. */
export function toCache(control: CacheControl): { cache?: CacheMark } {
  return control ? { cache: { ttl: control.ttl ?? '5m' } } : {}
}

function blocksOf<Block>(content: string | readonly Block[]): readonly (Block | TextBlock)[] {
  return typeof content === 'string' ? [{ type: 'text', text: content }] : content
}

/** Tool results are messages of their own; what stands between them is the user's. */
function userMessages(blocks: readonly UserBlock[]): readonly Message[] {
  const messages: Message[] = []
  let parts: InputPart[] = []
  for (const block of blocks) {
    if (block.type !== 'tool_result') {
      parts.push(toInputPart(block))
      continue
    }
    if (parts.length > 0) messages.push({ role: 'user', parts })
    parts = []
    messages.push(toToolMessage(block))
  }
  if (parts.length > 0) messages.push({ role: 'user', parts })
  return messages
}

function toToolMessage(block: ToolResultBlock): Message {
  const parts = blocksOf(block.content ?? []).map(toInputPart)
  const last = parts.pop() ?? { type: 'text', text: '' }
  // The mark of a whole result stands on its last part.
  const marked = last.type === 'audio' ? last : { ...last, ...toCache(block.cache_control) }
  return {
    role: 'tool',
    toolCallId: readSignedId(block.tool_use_id).id,
    parts: [...parts, marked],
    ...(block.is_error === true ? { isError: true } : {}),
  }
}

/**
 * An assistant's message has its reasoning first, then its text, then its calls. A turn whose blocks come in another
 * order, as with thinking between calls, becomes several, so that the order stays: it must, for the thinking to be
 * accepted back and for caches to be hit.
 */
function assistantMessages(blocks: readonly AssistantBlock[]): readonly Message[] {
  const messages: Message[] = []
  let open: { parts: TextPart[]; toolCalls: ToolCall[]; reasoning: ReasoningBlock[] } | undefined
  let stage = 0
  for (const block of blocks) {
    const next = STAGES[block.type]
    if (!open || next < stage) {
      open = { parts: [], toolCalls: [], reasoning: [] }
      messages.push({ role: 'assistant', ...open })
    }
    stage = next
    switch (block.type) {
      case 'text':
        open.parts.push({ type: 'text', text: block.text, ...toCache(block.cache_control) })
        break
      case 'thinking':
        open.reasoning.push({ text: block.thinking, ...reasoningBlock('signature', block.signature) })
        break
      case 'redacted_thinking':
        open.reasoning.push({ text: '', ...reasoningBlock('redacted', block.data) })
        break
      case 'tool_use':
        open.toolCalls.push({
          ...readSignedId(block.id),
          name: block.name,
          arguments: JSON.stringify(block.input),
          ...toCache(block.cache_control),
        })
    }
  }
  return messages
}

const STAGES: Readonly<Record<AssistantBlock['type'], number>> = {
  thinking: 0,
  redacted_thinking: 0,
  text: 1,
  tool_use: 2,
}

function toInputPart(block: Exclude<UserBlock, ToolResultBlock>): InputPart {
  switch (block.type) {
    case 'text':
      return { type: 'text', text: block.text, ...toCache(block.cache_control) }
    case 'image': {
      const { source } = block
      return {
        type: 'image',
        source:
          source.type === 'url'
            ? source.url
            : { kind: 'base64', mediaType: source.media_type, base64: source.data },
        ...toCache(block.cache_control),
      }
    }
    case 'document':
      return {
        type: 'file',
        source: documentSource(block.source),
        ...(typeof block.title === 'string' ? { filename: block.title } : {}),
        ...toCache(block.cache_control),
      }
  }
}

function documentSource(source: DocumentBlock['source']): MediaSource {
  switch (source.type) {
    case 'url':
      return source.url
    case 'base64':
      return { kind: 'base64', mediaType: source.media_type, base64: source.data }
    case 'text':
      return plainText(source.data)
    case 'content':
      return plainText(
        typeof source.content === 'string'
          ? source.content
          : source.content.map(({ text }) => text).join('\n'),
      )
  }
}

function plainText(text: string): MediaSource {
  return { kind: 'base64', mediaType: 'text/plain', base64: base64OfText(text) }
}
