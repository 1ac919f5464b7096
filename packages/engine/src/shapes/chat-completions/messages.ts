import type { CacheMark, InputPart, Message, ReasoningBlock, TextPart, Tool, ToolCall } from '../../ask.ts'
import { readSignedId } from '../../tool-call-signature.ts'
import type { ChatMessage, ChatTool } from './schema.ts'

type AssistantMessage = Extract<ChatMessage, { role: 'assistant' }>
type InputContent = Extract<ChatMessage, { role: 'user' }>['content']
type ContentPart = Exclude<InputContent, string>[number]
type ReasoningDetail = NonNullable<AssistantMessage['reasoning_details']>[number]

/** Turns a valid message into the engine's form. */
export function toMessage(message: ChatMessage): Message {
  switch (message.role) {
    case 'system':
    case 'developer':
      return { role: message.role, parts: toTextParts(message.content) }
    case 'user':
      return {
        role: 'user',
        parts: toInputParts(message.content),
        ...(typeof message.name === 'string' ? { name: message.name } : {}),
      }
    case 'tool':
      return {
        role: 'tool',
        toolCallId: readSignedId(message.tool_call_id).id,
        parts: toInputParts(message.content),
      }
    case 'assistant':
      return toAssistantMessage(message)
  }
}

export function toTool(tool: ChatTool): Tool {
  const { name, description, parameters, strict } = tool.function
  return {
    name,
    ...(typeof description === 'string' ? { description } : {}),
    ...(parameters ? { parameters } : {}),
    ...(typeof strict === 'boolean' ? { strict } : {}),
    ...toCache(tool.cache_control),
  }
}

function toAssistantMessage(message: AssistantMessage): Message {
  const parts = typeof message.content === 'string' ? [message.content] : (message.content ?? [])
  const refusals: string[] = typeof message.refusal === 'string' ? [message.refusal] : []
  const texts: TextPart[] = []
  for (const part of parts) {
    if (typeof part === 'string') {
      // A turn that only called tools has no text; some clients write it as ''.
      if (part !== '') texts.push({ type: 'text', text: part })
    } else if (part.type === 'refusal') refusals.push(part.refusal)
    else texts.push({ type: 'text', text: part.text, ...toCache(part.cache_control) })
  }
  return {
    role: 'assistant',
    parts: texts,
    toolCalls: (message.tool_calls ?? []).map(toToolCall),
    reasoning: toReasoningBlocks(message),
    ...(refusals.length > 0 ? { refusal: refusals.join('') } : {}),
  }
}

function toToolCall(call: NonNullable<AssistantMessage['tool_calls']>[number]): ToolCall {
  return { ...readSignedId(call.id), name: call.function.name, arguments: call.function.arguments }
}

/** Signed blocks rule: plain `reasoning` says the same again, for clients that read only that. */
function toReasoningBlocks(message: AssistantMessage): readonly ReasoningBlock[] {
  const details = message.reasoning_details ?? []
  if (details.length > 0) return mergeDetails(details)
  const plain = message.reasoning ?? message.reasoning_content
  return typeof plain === 'string' && plain !== '' ? [{ text: plain }] : []
}

/**
 * Clients of a stream often send back the pieces as they came: the texts of one block, then its signature. Pieces of
 * the same index are one block until a signature ends it.
 */
function mergeDetails(details: readonly ReasoningDetail[]): readonly ReasoningBlock[] {
  const blocks: ReasoningBlock[] = []
  let openIndex: number | null | undefined
  for (const detail of details) {
    const format = toFormat(detail.format)
    if (detail.type === 'reasoning.encrypted') blocks.push({ text: '', redacted: detail.data, ...format })
    else if (detail.type === 'reasoning.summary') blocks.push({ text: detail.summary, ...format })
    else {
      const last = blocks.at(-1)
      const continues =
        last !== undefined &&
        last.signature === undefined &&
        last.redacted === undefined &&
        typeof detail.index === 'number' &&
        detail.index === openIndex
      const begun: ReasoningBlock = continues ? last : { text: '' }
      if (continues) blocks.pop()
      blocks.push({
        ...begun,
        ...format,
        text: begun.text + (detail.text ?? ''),
        ...(typeof detail.signature === 'string' ? { signature: detail.signature } : {}),
      })
    }
    openIndex = detail.type === 'reasoning.text' ? detail.index : undefined
  }
  return blocks
}

/** OpenRouter writes `unknown` where it knows no form. */
function toFormat(format: string | null | undefined): { format?: string } {
  return typeof format === 'string' && format !== 'unknown' ? { format } : {}
}

function toTextParts(content: string | readonly Extract<ContentPart, { type: 'text' }>[]): TextPart[] {
  if (typeof content === 'string') return [{ type: 'text', text: content }]
  return content.map(({ text, cache_control }) => ({ type: 'text', text, ...toCache(cache_control) }))
}

function toInputParts(content: InputContent): InputPart[] {
  if (typeof content === 'string') return [{ type: 'text', text: content }]
  return content.map(toInputPart)
}

function toInputPart(part: ContentPart): InputPart {
  switch (part.type) {
    case 'text':
      return { type: 'text', text: part.text, ...toCache(part.cache_control) }
    case 'image_url': {
      const { url, detail } = part.image_url
      return {
        type: 'image',
        source: url,
        ...(detail ? { detail } : {}),
        ...toCache(part.cache_control),
      }
    }
    case 'file': {
      const { file_data, filename } = part.file
      return {
        type: 'file',
        source: file_data,
        ...(typeof filename === 'string' ? { filename } : {}),
        ...toCache(part.cache_control),
      }
    }
    case 'input_audio':
      return { type: 'audio', format: part.input_audio.format, base64: part.input_audio.data }
  }
}

/** Five minutes is what a mark without a time means to the providers that take marks. */
function toCache(control: ChatTool['cache_control']): { cache?: CacheMark } {
  return control ? { cache: { ttl: control.ttl ?? '5m' } } : {}
}
