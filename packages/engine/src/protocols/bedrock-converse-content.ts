import { fingerprint } from '@mesh/catalog/fingerprint.ts'
import type {
  Ask,
  CacheMark,
  InputPart,
  JsonObject,
  MediaSource,
  Message,
  ReasoningBlock,
  TextPart,
  ToolCall,
} from '../ask.ts'
import type { ConverseQuirks } from '../converse-quirks.ts'
import { blobOf } from './bedrock-converse-blob.ts'
import { type DocumentNames, documentNames } from './bedrock-converse-documents.ts'
import { trimPrefill } from './conversation.ts'
import { isSystemMessage, type SystemMessage } from './system-message.ts'
import { toolInput } from './tool-input.ts'

type Block = Readonly<Record<string, unknown>>

interface Turn {
  readonly role: 'user' | 'assistant'
  readonly content: Block[]
}

/** What every block of one request is written with. */
interface Writing {
  readonly quirks: ConverseQuirks
  readonly names: DocumentNames
  readonly dropped: Set<string>
}

/** Converse refuses empty texts, a conversation that the assistant begins, and a document with no text beside it. */
const PLACEHOLDER: Block = { text: '.' }

/**
 * The conversation in Converse's words: what the system and the developer say is taken out and put together, in order,
 * wherever it stood; messages of one role that follow each other become one turn (tool results are the user's); empty
 * texts are left out. `instruction` goes last in the system prompt.
 */
export function converseConversation(
  ask: Ask,
  quirks: ConverseQuirks,
  instruction: string | undefined,
  dropped: Set<string>,
): { readonly system: readonly Block[]; readonly messages: readonly Turn[] } {
  const writing: Writing = { quirks, names: documentNames(), dropped }
  const system: Block[] = []
  const turns: Turn[] = []
  for (const message of ask.messages) {
    if (isSystemMessage(message)) {
      system.push(...message.parts.flatMap((part) => textBlocks(part, writing)))
      continue
    }
    if (message.role === 'user' && message.name !== undefined) dropped.add('messages.name')
    const role = message.role === 'assistant' ? 'assistant' : 'user'
    const content = turnBlocks(message, writing)
    const last = turns.at(-1)
    if (content.length === 0) continue
    if (last?.role === role) last.content.push(...content)
    else turns.push({ role, content: [...content] })
  }
  // There must be a turn to answer: a system prompt alone is what the user says.
  if (turns.length === 0 && system.length > 0) turns.push({ role: 'user', content: system.splice(0) })
  if (turns[0]?.role === 'assistant') turns.unshift({ role: 'user', content: [PLACEHOLDER] })
  for (const { content } of turns) {
    if (content.some((block) => 'document' in block) && !content.some((block) => 'text' in block)) {
      content.unshift(PLACEHOLDER)
    }
  }
  trimPrefill(turns)
  if (instruction !== undefined) system.push({ text: instruction })
  return { system, messages: turns }
}

function turnBlocks(message: Exclude<Message, SystemMessage>, writing: Writing): readonly Block[] {
  switch (message.role) {
    case 'user':
      return message.parts.flatMap((part) => inputBlocks(part, writing))
    case 'assistant': {
      const refusal: readonly TextPart[] =
        message.refusal === undefined ? [] : [{ type: 'text', text: message.refusal }]
      return [
        ...message.reasoning.flatMap((block) => reasoningBlocks(block, writing)),
        ...[...message.parts, ...refusal].flatMap((part) => textBlocks(part, writing)),
        ...message.toolCalls.flatMap((call) => toolUseBlocks(call, writing)),
      ]
    }
    case 'tool':
      return toolResultBlocks(message, writing)
  }
}

function textBlocks({ text, cache }: TextPart, writing: Writing): readonly Block[] {
  return text.trim() === '' ? [] : [{ text }, ...cachePoints(cache, writing)]
}

/** A mark on a part is a point behind it; nothing where the model does not cache. */
function cachePoints(mark: CacheMark | undefined, { quirks, dropped }: Writing): readonly Block[] {
  if (mark === undefined) return []
  if (!quirks.cachePoints.messages) {
    dropped.add('cache_control')
    return []
  }
  return [cachePoint(mark, quirks, dropped)]
}

/** Five minutes is what a point without a time means, to models that know no other too. */
export function cachePoint(mark: CacheMark, quirks: ConverseQuirks, dropped: Set<string>): Block {
  if (mark.ttl === '5m') return { cachePoint: { type: 'default' } }
  if (quirks.cachePoints.hour) return { cachePoint: { type: 'default', ttl: mark.ttl } }
  dropped.add('cache_control.ttl')
  return { cachePoint: { type: 'default' } }
}

/** How blocks of Claude's are marked when they are given to callers. */
const CLAUDE_REASONING = 'anthropic-claude-v1'

/** Only blocks that carry Claude's own proof go back, and only to Claude; any other would be refused. */
function reasoningBlocks(block: ReasoningBlock, { quirks }: Writing): readonly Block[] {
  if (!quirks.reasoningHistory) return []
  if (block.format !== undefined && block.format !== CLAUDE_REASONING) return []
  if (block.redacted !== undefined) {
    const redactedContent = blobOf(block.redacted)
    return redactedContent === undefined ? [] : [{ reasoningContent: { redactedContent } }]
  }
  if (block.signature === undefined) return []
  return [{ reasoningContent: { reasoningText: { text: block.text, signature: block.signature } } }]
}

function inputBlocks(part: InputPart, writing: Writing): readonly Block[] {
  const { dropped, names } = writing
  switch (part.type) {
    case 'text':
      return textBlocks(part, writing)
    case 'image': {
      if (part.detail !== undefined && part.detail !== 'auto') dropped.add('image_url.detail')
      const image = mediaBlock(part.source, IMAGE_FORMATS)
      if (!image) dropped.add('image_url')
      return image ? [{ image }, ...cachePoints(part.cache, writing)] : []
    }
    case 'file': {
      const document = mediaBlock(part.source, DOCUMENT_FORMATS)
      if (!document) dropped.add('file')
      return document
        ? [
            { document: { name: names.next(part.filename), ...document } },
            ...cachePoints(part.cache, writing),
          ]
        : []
    }
    case 'audio':
      dropped.add('input_audio')
      return []
  }
}

const IMAGE_FORMATS: ReadonlyMap<string, string> = new Map([
  ['image/png', 'png'],
  ['image/jpeg', 'jpeg'],
  ['image/gif', 'gif'],
  ['image/webp', 'webp'],
])

const DOCUMENT_FORMATS: ReadonlyMap<string, string> = new Map([
  ['application/pdf', 'pdf'],
  ['text/plain', 'txt'],
  ['text/markdown', 'md'],
  ['text/html', 'html'],
  ['text/csv', 'csv'],
  ['application/msword', 'doc'],
  ['application/vnd.openxmlformats-officedocument.wordprocessingml.document', 'docx'],
  ['application/vnd.ms-excel', 'xls'],
  ['application/vnd.openxmlformats-officedocument.spreadsheetml.sheet', 'xlsx'],
])

/** Bytes in a format that Converse knows. It fetches nothing, so a plan sends it no URLs (`plan-filters.ts`). */
function mediaBlock(source: MediaSource, formats: ReadonlyMap<string, string>): JsonObject | undefined {
  if (source.kind === 'url') return undefined
  const format = formats.get(source.mediaType)
  return format === undefined ? undefined : { format, source: { bytes: source.base64 } }
}

function toolUseBlocks(call: ToolCall, writing: Writing): readonly Block[] {
  const toolUseId = toolUseIdOf(call.id, writing.quirks)
  const toolUse = { toolUseId, name: call.name, input: toolInput(call.arguments) }
  return [{ toolUse }, ...cachePoints(call.cache, writing)]
}

const TOOL_USE_ID_CHARACTERS_MAX = 64

/** Ids of another provider may be longer, or hold characters that are refused; the call and its result change alike. */
function toolUseIdOf(id: string, quirks: ConverseQuirks): string {
  const allowed = id.replace(quirks.foreignInToolIds, '_')
  if (allowed === '') return 'call'
  if (allowed.length <= TOOL_USE_ID_CHARACTERS_MAX) return allowed
  const digest = fingerprint(id)
  return `${allowed.slice(0, TOOL_USE_ID_CHARACTERS_MAX - digest.length - 1)}_${digest}`
}

/** A mark on any part of a result is the mark of the whole result: points cannot stand inside it. */
function toolResultBlocks(
  { toolCallId, parts, isError }: Extract<Message, { role: 'tool' }>,
  writing: Writing,
): readonly Block[] {
  const mark = parts.map((part) => ('cache' in part ? part.cache : undefined)).findLast((cache) => cache)
  const content = parts.flatMap((part) => inputBlocks(withoutMark(part), writing))
  const toolResult = {
    toolUseId: toolUseIdOf(toolCallId, writing.quirks),
    content: content.length === 0 ? [PLACEHOLDER] : content,
    ...(writing.quirks.resultStatus ? { status: isError ? 'error' : 'success' } : {}),
  }
  return [{ toolResult }, ...cachePoints(mark, writing)]
}

function withoutMark(part: InputPart): InputPart {
  if (!('cache' in part)) return part
  const { cache: _mark, ...rest } = part
  return rest
}
