import type { Ask, InputPart, Message, ReasoningBlock, TextPart } from '../ask.ts'
import { urlOf } from './conversation.ts'
import { mappedId } from './mapped-id.ts'
import type { ResponsesQuirks } from './openai-responses-quirks.ts'

type Item = Readonly<Record<string, unknown>>
type AssistantMessage = Extract<Message, { role: 'assistant' }>

/** How blocks of reasoning that came out of Responses are marked when they are given to callers, in OpenRouter's words. */
const RESPONSES_REASONING = 'openai-responses-v1'

/**
 * The conversation as input items. A system message at its start is the `instructions`; an assistant's turn is its
 * reasoning, its text and its calls, in this order. `instruction` goes last in what the system says.
 */
export function responsesInput(
  ask: Ask,
  quirks: ResponsesQuirks,
  instruction: string | undefined,
  dropped: Set<string>,
): { readonly instructions: string | undefined; readonly input: readonly Item[] } {
  const [first, ...others] = ask.messages
  const system = first?.role === 'system' && others.length > 0 ? first.parts.map((part) => part.text) : []
  const messages = system.length > 0 ? others : ask.messages
  const spoken = [...system, ...(instruction === undefined ? [] : [instruction])]
  for (const { parts } of ask.messages) {
    if (parts.some((part) => 'cache' in part && part.cache !== undefined)) dropped.add('cache_control')
  }
  return {
    instructions: spoken.length === 0 ? undefined : spoken.join('\n'),
    input: messages.flatMap((message) => messageItems(message, quirks, dropped)),
  }
}

function messageItems(message: Message, quirks: ResponsesQuirks, dropped: Set<string>): readonly Item[] {
  switch (message.role) {
    case 'system':
    case 'developer':
      return [{ role: message.role, content: content(message.parts, dropped) }]
    case 'user':
      if (message.name !== undefined) dropped.add('messages.name')
      return [{ role: 'user', content: content(message.parts, dropped) }]
    case 'assistant':
      return assistantItems(message, quirks)
    case 'tool':
      return [
        {
          type: 'function_call_output',
          call_id: callId(message.toolCallId, quirks),
          output: content(message.parts, dropped),
        },
      ]
  }
}

function assistantItems(message: AssistantMessage, quirks: ResponsesQuirks): readonly Item[] {
  const refusals = message.refusal === undefined ? [] : [{ type: 'refusal', refusal: message.refusal }]
  const calls = message.toolCalls.map((call) => ({
    type: 'function_call',
    call_id: callId(call.id, quirks),
    name: call.name,
    arguments: call.arguments,
  }))
  return [...reasoningItems(message.reasoning, quirks), ...assistantText(message.parts, refusals), ...calls]
}

function assistantText(parts: readonly TextPart[], refusals: readonly Item[]): readonly Item[] {
  const [only, ...others] = parts
  if (only && others.length === 0 && refusals.length === 0) return [{ role: 'assistant', content: only.text }]
  if (!only && refusals.length === 0) return []
  const texts = parts.map(({ text }) => ({ type: 'output_text', text, annotations: [] }))
  return [{ type: 'message', role: 'assistant', content: [...texts, ...refusals] }]
}

/**
 * The reasoning that goes back. Blocks of text up to one that is encrypted are the summary of that one. Text alone goes
 * back only where the host takes it; OpenAI refuses what it cannot decrypt, and so do we.
 */
function reasoningItems(blocks: readonly ReasoningBlock[], quirks: ResponsesQuirks): readonly Item[] {
  const items: Item[] = []
  let texts: string[] = []
  for (const block of blocks) {
    const own = block.format === undefined || block.format === RESPONSES_REASONING
    if (!own || block.signature !== undefined) continue
    if (block.text !== '') texts.push(block.text)
    if (block.redacted === undefined) continue
    if (block.format === RESPONSES_REASONING) items.push(reasoningItem(texts, block.redacted, quirks))
    texts = []
  }
  if (texts.length > 0 && quirks.reasoningHistory === 'text') items.push(reasoningItem(texts, null, quirks))
  return items
}

function reasoningItem(texts: readonly string[], encrypted: string | null, quirks: ResponsesQuirks): Item {
  const asText = quirks.reasoningHistory === 'text'
  return {
    type: 'reasoning',
    summary: asText ? [] : texts.map((text) => ({ type: 'summary_text', text })),
    ...(asText ? { content: texts.map((text) => ({ type: 'reasoning_text', text })) } : {}),
    encrypted_content: encrypted,
  }
}

/** A tool call's id as the provider takes it; one that is too long is mapped, the same way for the call and its result. */
function callId(id: string, { callIdCharactersMax }: ResponsesQuirks): string {
  return id.length <= callIdCharactersMax ? id : `call_${mappedId(id)}`
}

function content(parts: readonly InputPart[], dropped: Set<string>): string | readonly Item[] {
  const [only, ...others] = parts
  if (!only) return ''
  if (others.length === 0 && only.type === 'text') return only.text
  return parts.flatMap((part) => inputPart(part, dropped))
}

function inputPart(part: InputPart, dropped: Set<string>): readonly Item[] {
  switch (part.type) {
    case 'text':
      return [{ type: 'input_text', text: part.text }]
    case 'image':
      return [{ type: 'input_image', image_url: urlOf(part.source), detail: part.detail ?? 'auto' }]
    case 'file':
      return part.source.kind === 'url'
        ? [{ type: 'input_file', file_url: part.source.url }]
        : [
            {
              type: 'input_file',
              filename: part.filename ?? 'document.pdf',
              file_data: urlOf(part.source),
            },
          ]
    case 'audio':
      dropped.add('input_audio')
      return []
  }
}
