import type { Endpoint, ModelId } from '@mesh/catalog/catalog.ts'
import type { Ask, InputBound, InputPart, Message, Task, Tool } from './ask.ts'
import { BYTES_PER_TOKEN_USUAL } from './input-estimate.ts'
import { sizeOf } from './text-size.ts'

/**
 * How many input tokens a call can be billed for, before any tokenizer has seen it.
 *
 * Text is bounded by its UTF-8 bytes: the byte-level tokenizers of today's models never make more tokens than there
 * are bytes, whatever the text; an average such as four characters a token is exceeded by crafted text. What
 * providers add around the text is bounded by constants.
 */

/** Begin and end marks, role names and separators of one message. Chat templates in use need at most ten tokens. */
const TOKENS_PER_MESSAGE = 16
/** The frame of one tool definition, tool call or schema in a provider's own notation. */
const TOKENS_PER_TOOL = 64
/** What a provider writes before the first message: the gpt-oss template's own system text is some 100 tokens. */
const TOKENS_PER_CALL = 256
/**
 * What tools or a forced output format add once. Anthropic publishes 264–804 tokens of tool instructions by model
 * (docs, "Tool use: pricing"); the instruction by which MESH emulates a JSON format is shorter.
 */
const TOKENS_OF_INSTRUCTIONS = 1_024
/**
 * Schemas and tool arguments are written out again by providers, indented or as TypeScript types, so that one byte of
 * compact JSON can become two tokens (`,` and a line break).
 */
const JSON_EXPANSION = 2
/** The lowest bit rate of MP3 is 8 kbit/s, so no second of it is shorter than this. */
const AUDIO_BYTES_PER_SECOND_MIN = 1_000

/**
 * The most tokens that one image can count, at the highest detail, by the prefix of the model's id. A model that is
 * not here has no published maximum, and an image is then bounded by the context window.
 */
const IMAGE_TOKENS_MAX: readonly (readonly [prefix: ModelId, tokens: number])[] = [
  // Anthropic, "Images and vision": width × height / 750, scaled down to at most 4,784 tokens on the models with high
  // resolution and to about 1,600 on the others.
  ['mesh/claude-', 4_784],
  // Google, "Media resolution": the third generation's images are at most 2,240 tokens, at a resolution that has to be
  // asked for, and half of that where none is. Of the second generation no maximum is published: it cuts large images
  // into as many tiles as they have.
  ['mesh/gemini-3', 2_240],
  // OpenAI, "Images and vision": tiles of 512 px after scaling to 2,048 and 768 px are at most 8; 2,833 + 8 × 5,667.
  ['mesh/gpt-4o-mini', 48_169],
  // Same page: patches of 32 px, at most 1,536 of them, times a factor by model.
  ['mesh/gpt-4.1', 1_536],
  ['mesh/o4-mini', Math.ceil(1_536 * 1.72)],
  ['mesh/gpt-5-mini', Math.ceil(1_536 * 1.62)],
]

/** Bounds everything of an ask that goes upstream. Linear in its size. */
export function boundInput(ask: Ask): InputBound {
  if (ask.task) return boundTask(ask.task)
  const total: Total = {
    textTokens: TOKENS_PER_CALL,
    textBytes: 0,
    messages: ask.messages.length,
    images: 0,
    files: 0,
    audioSeconds: 0,
  }
  for (const message of ask.messages) addMessage(total, message)
  for (const tool of ask.tools) addTool(total, tool)
  const format = ask.responseFormat
  if (format?.type === 'json_schema') {
    const { name, description, schema } = format
    addTool(total, { name, parameters: schema, ...(description === undefined ? {} : { description }) })
  }
  if (ask.tools.length > 0 || (format !== undefined && format.type !== 'text')) {
    total.textTokens += TOKENS_OF_INSTRUCTIONS
  }
  return total
}

/**
 * The most input tokens that an endpoint can count for a bound: never more than its context window, for beyond that
 * it refuses the call and bills nothing. Documents and audio are bounded by the window alone: how many pages or
 * seconds they hold is not known before they are decoded.
 */
export function inputTokensMax(
  bound: InputBound,
  endpoint: Pick<Endpoint, 'model' | 'contextTokens'>,
): number {
  if (bound.files > 0 || bound.audioSeconds > 0) return endpoint.contextTokens
  const perImage = bound.images === 0 ? 0 : imageTokensMax(endpoint)
  const contextTokens = endpoint.contextTokens * (bound.contexts ?? 1)
  return Math.min(bound.textTokens + bound.images * perImage, contextTokens)
}

/** Each text of a task has a context of its own. A ranking reads its query anew with every document. */
function boundTask(task: Task): InputBound {
  const total: Total = { textTokens: 0, textBytes: 0, messages: 0, images: 0, files: 0, audioSeconds: 0 }
  const texts = task.type === 'embed' ? task.inputs : task.documents
  for (const text of texts) {
    total.textTokens += task.type === 'embed' ? TOKENS_PER_MESSAGE : TOKENS_PER_CALL
    if (typeof text === 'string') addText(total, text)
    else {
      total.textTokens += text.length
      total.textBytes += text.length * BYTES_PER_TOKEN_USUAL
    }
  }
  if (task.type === 'rank') {
    const { bytes, composedBytesMax } = sizeOf(task.query)
    total.textBytes += bytes * texts.length
    total.textTokens += composedBytesMax * texts.length
  }
  return { ...total, contexts: texts.length }
}

function imageTokensMax(endpoint: Pick<Endpoint, 'model' | 'contextTokens'>): number {
  const row = IMAGE_TOKENS_MAX.find(([prefix]) => endpoint.model.startsWith(prefix))
  return row?.[1] ?? endpoint.contextTokens
}

type Total = { -readonly [Name in keyof InputBound]: InputBound[Name] }

function addMessage(total: Total, message: Message): void {
  total.textTokens += TOKENS_PER_MESSAGE
  for (const part of message.parts) addPart(total, part)
  switch (message.role) {
    case 'user':
      addText(total, message.name)
      return
    case 'tool':
      addText(total, message.toolCallId)
      return
    case 'assistant':
      addText(total, message.refusal)
      for (const block of message.reasoning) {
        // A signature may hold the whole of the reasoning that its text sums up (Anthropic), and that is what is billed.
        total.textTokens += TOKENS_PER_MESSAGE
        for (const text of [block.text, block.signature, block.redacted]) addText(total, text)
      }
      for (const call of message.toolCalls) {
        total.textTokens += TOKENS_PER_TOOL
        // What a signature stands for is billed as well (Gemini); it is longer in base64 than in tokens.
        for (const text of [call.id, call.name, call.signature]) addText(total, text)
        addJson(total, call.arguments)
      }
      return
    case 'system':
    case 'developer':
      return
  }
}

function addPart(total: Total, part: InputPart): void {
  switch (part.type) {
    case 'text':
      addText(total, part.text)
      return
    case 'image':
      total.images += 1
      return
    case 'file':
      total.files += 1
      addText(total, part.filename)
      return
    case 'audio':
      total.audioSeconds += Math.ceil((part.base64.length * 3) / 4 / AUDIO_BYTES_PER_SECOND_MIN)
  }
}

function addTool(total: Total, { name, description, parameters }: Tool): void {
  total.textTokens += TOKENS_PER_TOOL
  for (const text of [name, description]) addText(total, text)
  if (parameters !== undefined) addJson(total, JSON.stringify(parameters))
}

function addText(total: Total, text: string | undefined): void {
  if (text === undefined) return
  const { bytes, composedBytesMax } = sizeOf(text)
  total.textBytes += bytes
  total.textTokens += composedBytesMax
}

function addJson(total: Total, json: string): void {
  const { bytes, composedBytesMax } = sizeOf(json)
  total.textBytes += bytes
  total.textTokens += JSON_EXPANSION * composedBytesMax
}
