import type { Endpoint } from '@mesh/catalog/catalog.ts'
import type { Ask, InputPart, MediaSource, Message, ToolCall } from '../ask.ts'
import { isThirdGeneration } from './gemini-generation.ts'
import { objectInText, toolInput } from './tool-input.ts'

type Part = Readonly<Record<string, unknown>>

interface Content {
  readonly role: 'user' | 'model'
  readonly parts: Part[]
}

type SystemMessage = Extract<Message, { role: 'system' | 'developer' }>
type AssistantMessage = Extract<Message, { role: 'assistant' }>
type ToolMessage = Extract<Message, { role: 'tool' }>

/** How blocks of Gemini's are marked when they are given to callers. */
const GEMINI_REASONING = 'google-gemini-v1'
/**
 * Stands where a call has no signature of Gemini's own, because another model made it or a client lost it: a word of
 * Google's for exactly that (`skip_thought_signature_validator`), in base64.
 * https://ai.google.dev/gemini-api/docs/thought-signatures#faqs
 */
const UNSIGNED = 'c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I='

/** A conversation while it is written. */
interface Writing {
  readonly isThirdGeneration: boolean
  readonly dropped: Set<string>
  readonly contents: Content[]
  /** The functions that were called, by the ids of the calls: a result names its call, Gemini the function too. */
  readonly functionNames: Map<string, string>
  /** What tools returned that is no text, and does not fit into their results. */
  shownByTools: Part[]
  /** Whose words the last content is. */
  lastRole: Message['role'] | undefined
}

/**
 * The conversation in Gemini's words. What the system and the developer say is taken out and put together, wherever
 * it stood, with `instruction` last. Results of tools that follow each other are one content, for calls in parallel
 * must be answered together, and so is what the assistant said in several messages.
 */
export function geminiConversation(
  ask: Ask,
  endpoint: Endpoint,
  instruction: string | undefined,
  dropped: Set<string>,
): { readonly system: readonly Part[]; readonly contents: readonly Content[] } {
  const system: Part[] = []
  const writing: Writing = {
    isThirdGeneration: isThirdGeneration(endpoint),
    dropped,
    contents: [],
    functionNames: new Map(),
    shownByTools: [],
    lastRole: undefined,
  }
  for (const message of ask.messages) {
    if (message.parts.some((part) => 'cache' in part && part.cache)) dropped.add('cache_control')
    if (isSystemMessage(message)) system.push(...message.parts.map(({ text }) => ({ text })))
    else write(writing, message)
  }
  writeShown(writing)
  const { contents } = writing
  // There must be a turn to answer: a system prompt alone is what the user says.
  if (contents.length === 0 && system.length > 0) contents.push({ role: 'user', parts: system.splice(0) })
  if (instruction !== undefined) system.push({ text: instruction })
  return { system, contents }
}

function isSystemMessage(message: Message): message is SystemMessage {
  return message.role === 'system' || message.role === 'developer'
}

function write(writing: Writing, message: Exclude<Message, SystemMessage>): void {
  if (message.role !== 'tool') writeShown(writing)
  const { contents, dropped, lastRole } = writing
  const last = lastRole === message.role && message.role !== 'user' ? contents.at(-1) : undefined
  const content: Content = last ?? { role: message.role === 'assistant' ? 'model' : 'user', parts: [] }
  if (!last) contents.push(content)
  writing.lastRole = message.role
  switch (message.role) {
    case 'user':
      if (message.name !== undefined) dropped.add('messages.name')
      content.parts.push(...message.parts.map((part) => inputPart(part, dropped)))
      return
    case 'assistant':
      content.parts.push(...assistantParts(writing, message))
      return
    case 'tool':
      content.parts.push(functionResponse(writing, message))
  }
}

/** Nothing may come between the results of calls, so what else tools returned follows after the last of them. */
function writeShown(writing: Writing): void {
  if (writing.shownByTools.length === 0) return
  writing.contents.push({ role: 'user', parts: writing.shownByTools })
  writing.shownByTools = []
  writing.lastRole = undefined
}

function assistantParts(writing: Writing, message: AssistantMessage): readonly Part[] {
  const own = message.reasoning.filter((block) => block.format === GEMINI_REASONING)
  const texts: Part[] = message.parts.map(({ text }) => ({ text }))
  if (message.refusal !== undefined) texts.push({ text: message.refusal })
  const calls = message.toolCalls.map((call) => functionCall(writing, call))
  if (texts.length + calls.length === 0) texts.push({ text: '' })
  // A signature that came outside a call belongs to the text, or to the first call where there is no text.
  const signature = own.findLast((block) => block.signature !== undefined)?.signature
  if (texts.length > 0) sign(texts, texts.length - 1, signature)
  else sign(calls, 0, signature)
  // Of calls in parallel the first one has the signature of all.
  if (writing.isThirdGeneration) sign(calls, 0, UNSIGNED)
  const thoughts = own.filter((block) => block.text !== '').map(({ text }) => ({ text, thought: true }))
  return [...thoughts, ...texts, ...calls]
}

function functionCall(writing: Writing, { id, name, arguments: written, signature }: ToolCall): Part {
  writing.functionNames.set(id, name)
  return { functionCall: { id, name, args: toolInput(written) }, thoughtSignature: signature }
}

function functionResponse(writing: Writing, { toolCallId: id, parts }: ToolMessage): Part {
  const texts = parts.filter((part) => part.type === 'text').map(({ text }) => text)
  const media = parts.filter((part) => part.type !== 'text')
  const inside: Part[] = []
  for (const part of media) {
    const list = fitsInside(part, writing) ? inside : writing.shownByTools
    list.push(inputPart(part, writing.dropped))
  }
  return {
    functionResponse: {
      id,
      name: writing.functionNames.get(id) ?? 'unknown_function',
      response: texts.length === 0 && media.length > 0 ? {} : resultObject(texts.join('\n')),
      parts: inside.length === 0 ? undefined : inside,
    },
  }
}

/** https://ai.google.dev/gemini-api/docs/function-calling#multimodal */
function fitsInside(part: InputPart, writing: Writing): boolean {
  if (!writing.isThirdGeneration || (part.type !== 'image' && part.type !== 'file')) return false
  return part.source.kind === 'base64' && part.source.mediaType !== 'image/gif'
}

function inputPart(part: InputPart, dropped: Set<string>): Part {
  switch (part.type) {
    case 'text':
      return { text: part.text }
    case 'image':
      if (part.detail !== undefined && part.detail !== 'auto') dropped.add('image_url.detail')
      return mediaPart(part.source)
    case 'file':
      if (part.filename !== undefined) dropped.add('file.filename')
      return mediaPart(part.source)
    case 'audio':
      return { inlineData: { mimeType: `audio/${part.format}`, data: part.base64 } }
  }
}

/** Puts a signature on a part that has none. */
function sign(parts: Part[], place: number, signature: string | undefined): void {
  const part = parts[place]
  if (part === undefined || signature === undefined || part.thoughtSignature !== undefined) return
  parts[place] = { ...part, thoughtSignature: signature }
}

/** Media types by the endings of names, for URLs: Gemini fetches them itself, and wants to know what it will get. */
const MEDIA_TYPES: ReadonlyMap<string, string> = new Map([
  ['png', 'image/png'],
  ['jpg', 'image/jpeg'],
  ['jpeg', 'image/jpeg'],
  ['gif', 'image/gif'],
  ['webp', 'image/webp'],
  ['pdf', 'application/pdf'],
])

function mediaPart(source: MediaSource): Part {
  if (source.kind === 'base64') return { inlineData: { mimeType: source.mediaType, data: source.base64 } }
  const { pathname } = new URL(source.url)
  const ending = pathname.slice(pathname.lastIndexOf('.') + 1).toLowerCase()
  return { fileData: { fileUri: source.url, mimeType: MEDIA_TYPES.get(ending) } }
}

/** Digits that a double does not hold: a result with such numbers would change on its way through a parser. */
const LONG_NUMBER = /\d{16}/

/** A function's result, which must be an object: the one that the text is, or `output` with the text. */
function resultObject(text: string): Part {
  const object = LONG_NUMBER.test(text) ? undefined : objectInText(text)
  return object ?? { output: text }
}
