import type { InputPart, Message, ReasoningBlock, TextPart, Tool } from '../../ask.ts'
import { readSignedId } from '../../tool-call-signature.ts'
import { proofOf, UNPROVEN } from './encrypted-reasoning.ts'
import type { InputItem, ResponsesTool } from './schema.ts'

type AssistantMessage = Extract<Message, { role: 'assistant' }>
type UserItem = Extract<InputItem, { role: 'user' }>
type AssistantItem = Extract<InputItem, { role: 'assistant' }>
type InputContentPart = Exclude<UserItem['content'], string>[number]
type ReasoningItem = Extract<InputItem, { type: 'reasoning' }>

/** The order in which an assistant's turn is told to every protocol: what it thought, what it said, what it called. */
const TURN_ORDER = { reasoning: 0, text: 1, call: 2 } as const

/**
 * Turns items into messages. An assistant's items that follow each other in the order of a turn are one message; one that
 * is out of this order begins another, so that what was thought between two calls stays between them. So does a text
 * after a text: they were two messages.
 */
export function toMessages(items: readonly InputItem[]): readonly Message[] {
  const messages: Message[] = []
  let place: number = TURN_ORDER.reasoning
  const addToTurn = (at: number, addition: Partial<AssistantMessage>): void => {
    const last = messages.at(-1)
    const inOrder = at > place || (at === place && at !== TURN_ORDER.text)
    const goesOn = last?.role === 'assistant' && inOrder
    const turn: AssistantMessage = goesOn
      ? last
      : { role: 'assistant', parts: [], toolCalls: [], reasoning: [] }
    if (goesOn) messages.pop()
    place = at
    const refusals = [turn.refusal, addition.refusal].filter((text) => text !== undefined)
    messages.push({
      role: 'assistant',
      parts: [...turn.parts, ...(addition.parts ?? [])],
      toolCalls: [...turn.toolCalls, ...(addition.toolCalls ?? [])],
      reasoning: [...turn.reasoning, ...(addition.reasoning ?? [])],
      ...(refusals.length === 0 ? {} : { refusal: refusals.join('') }),
    })
  }
  for (const item of items) {
    if ('role' in item) {
      if (item.role === 'assistant') addToTurn(TURN_ORDER.text, toWords(item))
      else messages.push(toMessage(item))
    } else if (item.type === 'reasoning') {
      addToTurn(TURN_ORDER.reasoning, { reasoning: toBlocks(item) })
    } else if (item.type === 'function_call') {
      const call = { ...readSignedId(item.call_id), name: item.name, arguments: item.arguments }
      addToTurn(TURN_ORDER.call, { toolCalls: [call] })
    } else {
      const toolCallId = readSignedId(item.call_id).id
      messages.push({ role: 'tool', toolCallId, parts: toInputParts(item.output) })
    }
  }
  return messages.filter((message) => message.role !== 'assistant' || !isEmpty(message))
}

function isEmpty({ parts, toolCalls, reasoning, refusal }: AssistantMessage): boolean {
  return parts.length + toolCalls.length + reasoning.length === 0 && refusal === undefined
}

function toMessage(item: Exclude<Extract<InputItem, { role: string }>, AssistantItem>): Message {
  if (item.role === 'user') return { role: 'user', parts: toInputParts(item.content) }
  const parts = typeof item.content === 'string' ? [{ text: item.content }] : item.content
  return { role: item.role, parts: parts.map(({ text }): TextPart => ({ type: 'text', text })) }
}

function toWords({ content }: AssistantItem): Pick<AssistantMessage, 'parts' | 'refusal'> {
  const parts = typeof content === 'string' ? [{ type: 'output_text' as const, text: content }] : content
  const refusals = parts.flatMap((part) => (part.type === 'refusal' ? [part.refusal] : []))
  const texts = parts.flatMap((part) => (part.type === 'refusal' || part.text === '' ? [] : [part.text]))
  return {
    parts: texts.map((text) => ({ type: 'text', text })),
    ...(refusals.length === 0 ? {} : { refusal: refusals.join('') }),
  }
}

/** The blocks of a reasoning item. Its proof is that of the last text, or stands alone. */
function toBlocks({ summary, content, encrypted_content: encrypted }: ReasoningItem): ReasoningBlock[] {
  const shown = content && content.length > 0 ? content : (summary ?? [])
  const texts = shown.map(({ text }) => text).filter((text) => text !== '')
  if (typeof encrypted !== 'string' || encrypted === '' || encrypted === UNPROVEN) {
    return texts.map((text) => ({ text }))
  }
  const proof = proofOf(encrypted)
  const { format = '' } = proof
  if (proof.signature === undefined) {
    return [...texts.map((text) => ({ text, format })), { text: '', ...proof }]
  }
  // A signature is of the text that it ends, and of nothing else.
  return [{ text: texts.join(''), ...proof }]
}

function toInputParts(content: UserItem['content']): InputPart[] {
  return typeof content === 'string' ? [{ type: 'text', text: content }] : content.flatMap(toInputPart)
}

function toInputPart(part: InputContentPart): readonly InputPart[] {
  switch (part.type) {
    case 'input_text':
    case 'output_text':
      return [{ type: 'text', text: part.text }]
    case 'input_image':
      return [{ type: 'image', source: part.image_url, ...(part.detail ? { detail: part.detail } : {}) }]
    case 'input_file': {
      const source = part.file_data ?? part.file_url
      if (!source) return []
      return [
        {
          type: 'file',
          source,
          ...(typeof part.filename === 'string' ? { filename: part.filename } : {}),
        },
      ]
    }
    case 'input_audio':
      return [{ type: 'audio', format: part.input_audio.format, base64: part.input_audio.data }]
  }
}

export function toTool({ name, description, parameters, strict }: ResponsesTool): Tool {
  return {
    name,
    ...(typeof description === 'string' ? { description } : {}),
    ...(parameters ? { parameters } : {}),
    ...(typeof strict === 'boolean' ? { strict } : {}),
  }
}
