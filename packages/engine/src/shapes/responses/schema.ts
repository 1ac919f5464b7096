import * as z from 'zod'
import { CHAT_BOUNDS } from '../bounds.ts'
import { extensions, metadata } from '../extensions.ts'
import { isBase64, parseImageUrl } from '../media.ts'
import { fileData, imageUrl, media } from '../media-schema.ts'
import { toolCallId } from '../tool-call-id.ts'
import { jsonObject, toolName as toolNameOf } from '../tool-schema.ts'

/**
 * The schema of `POST /v1/responses`: what of OpenAI's Responses is a call by itself. A parameter that may be absent may
 * be `null`. Custom messages are whole predicates without the field's name, and never quote a value.
 */

const toolName = toolNameOf(CHAT_BOUNDS.toolNameCharactersMax)
const fileUrl = media((url) => {
  const source = /^data:/i.test(url) ? undefined : parseImageUrl(url)
  return source?.kind === 'url' ? source : undefined
}, 'must be an http(s) URL')

const inputText = z.object({ type: z.literal('input_text'), text: z.string() })
const outputText = z.object({ type: z.literal('output_text'), text: z.string() })
const refusal = z.object({ type: z.literal('refusal'), refusal: z.string() })

const inputPart = z.discriminatedUnion('type', [
  inputText,
  // Some clients write an assistant's words so wherever they stand.
  outputText,
  z.object({
    type: z.literal('input_image'),
    image_url: imageUrl,
    detail: z.enum(['auto', 'low', 'high']).nullish(),
  }),
  z
    .object({
      type: z.literal('input_file'),
      file_data: fileData.nullish(),
      file_url: fileUrl.nullish(),
      filename: z.string().max(CHAT_BOUNDS.filenameCharactersMax).nullish(),
    })
    .refine((file) => (file.file_data ?? file.file_url) != null, {
      error: 'must have file_data or file_url',
    }),
  z.object({
    type: z.literal('input_audio'),
    input_audio: z.object({
      data: z.string().refine(isBase64, { error: 'must be base64' }),
      format: z.enum(['wav', 'mp3']),
    }),
  }),
])

const inputContent = z.union([z.string(), z.array(inputPart).max(CHAT_BOUNDS.partsMax)])
const textContent = z.union([
  z.string(),
  z.array(z.discriminatedUnion('type', [inputText, outputText])).max(CHAT_BOUNDS.partsMax),
])

/** A message, which may leave its type out. */
export const messageItem = z.discriminatedUnion('role', [
  z.object({ role: z.enum(['system', 'developer']), content: textContent }),
  z.object({ role: z.literal('user'), content: inputContent }),
  z.object({
    role: z.literal('assistant'),
    content: z.union([
      z.string(),
      z.array(z.discriminatedUnion('type', [outputText, inputText, refusal])).max(CHAT_BOUNDS.partsMax),
    ]),
  }),
])

const summaryText = z.object({ type: z.literal('summary_text'), text: z.string() })
const reasoningText = z.object({ type: z.literal('reasoning_text'), text: z.string() })

/** An item of another type. */
export const typedItem = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('function_call'),
    call_id: toolCallId,
    name: toolName,
    arguments: z.string(),
  }),
  z.object({ type: z.literal('function_call_output'), call_id: toolCallId, output: inputContent }),
  z.object({
    type: z.literal('reasoning'),
    summary: z.array(summaryText).max(CHAT_BOUNDS.reasoningBlocksMax).nullish(),
    content: z.array(reasoningText).max(CHAT_BOUNDS.reasoningBlocksMax).nullish(),
    encrypted_content: z.string().nullish(),
  }),
])

/** One tool. */
export const responsesTool = z.object({
  type: z.literal('function'),
  name: toolName,
  description: z.string().max(CHAT_BOUNDS.descriptionCharactersMax).nullish(),
  parameters: jsonObject.nullish(),
  strict: z.boolean().nullish(),
})

const namedTool = z.object({ type: z.literal('function'), name: toolName })

const toolChoice = z.union([
  z.enum(['none', 'auto', 'required']),
  z.discriminatedUnion('type', [
    namedTool,
    z.object({
      type: z.literal('allowed_tools'),
      mode: z.enum(['auto', 'required']),
      tools: z.array(namedTool).min(1).max(CHAT_BOUNDS.toolsMax),
    }),
  ]),
])

const textFormat = z.discriminatedUnion('type', [
  z.object({ type: z.literal('text') }),
  z.object({ type: z.literal('json_object') }),
  z.object({
    type: z.literal('json_schema'),
    name: toolName,
    description: z.string().max(CHAT_BOUNDS.descriptionCharactersMax).nullish(),
    schema: jsonObject,
    strict: z.boolean().nullish(),
  }),
])

const summary = z.enum(['auto', 'concise', 'detailed'])

/** Everything of a body but its input and tools. */
export const responsesParameters = extensions.extend({
  instructions: z.string().nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.looseObject({}).nullish(),
  max_output_tokens: z.int().min(1).max(CHAT_BOUNDS.outputTokensMax).nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  top_logprobs: z.int().min(0).max(CHAT_BOUNDS.topLogprobsMax).nullish(),
  tool_choice: toolChoice.nullish(),
  parallel_tool_calls: z.boolean().nullish(),
  text: z
    .object({ format: textFormat.nullish(), verbosity: z.enum(['low', 'medium', 'high']).nullish() })
    .nullish(),
  reasoning: z
    .object({
      effort: z.enum(['none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max']).nullish(),
      summary: summary.nullish(),
      generate_summary: summary.nullish(),
      // MESH's own, as in chat completions.
      max_tokens: z.int().min(0).max(CHAT_BOUNDS.outputTokensMax).nullish(),
      exclude: z.boolean().nullish(),
    })
    .nullish(),
  include: z.array(z.string().max(128)).max(32).nullish(),
  metadata: metadata.nullish(),
  user: z.string().max(CHAT_BOUNDS.endUserCharactersMax).nullish(),
  safety_identifier: z.string().max(CHAT_BOUNDS.endUserCharactersMax).nullish(),
  prompt_cache_key: z.string().max(CHAT_BOUNDS.cacheKeyCharactersMax).nullish(),
})

/** The whole body, as the API reference shows it. */
export const responsesBody = responsesParameters.extend({
  input: z.union([
    z.string(),
    z
      .array(z.union([typedItem, messageItem]))
      .min(1)
      .max(CHAT_BOUNDS.messagesMax),
  ]),
  tools: z.array(responsesTool).max(CHAT_BOUNDS.toolsMax).nullish(),
})

export type ResponsesParameters = z.output<typeof responsesParameters>
export type InputItem = z.output<typeof typedItem> | z.output<typeof messageItem>
export type ResponsesTool = z.output<typeof responsesTool>
