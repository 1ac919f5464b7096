import * as z from 'zod'
import { CHAT_BOUNDS } from '../bounds.ts'
import { extensions, metadata } from '../extensions.ts'
import { isBase64 } from '../media.ts'
import { fileData, imageUrl } from '../media-schema.ts'
import { toolCallId } from '../tool-call-id.ts'
import { jsonObject, toolName as toolNameOf } from '../tool-schema.ts'

/**
 * The schema of `POST /v1/chat/completions`: validation, OpenAPI and the reference come from it. A parameter that may
 * be absent may be `null`, as in OpenAI's API. Custom messages are whole predicates without the field's name
 * ("must be …") and never quote a value, for they go out in errors.
 */

const LOGIT_TOKEN = /^\d{1,9}$/

const toolName = toolNameOf(CHAT_BOUNDS.toolNameCharactersMax)
const cacheControl = z.object({ type: z.literal('ephemeral'), ttl: z.enum(['5m', '1h']).nullish() }).nullish()

const textPart = z.object({ type: z.literal('text'), text: z.string(), cache_control: cacheControl })
const refusalPart = z.object({ type: z.literal('refusal'), refusal: z.string() })

const imagePart = z.object({
  type: z.literal('image_url'),
  image_url: z.object({
    url: imageUrl,
    detail: z.enum(['auto', 'low', 'high']).nullish(),
  }),
  cache_control: cacheControl,
})

const filePart = z.object({
  type: z.literal('file'),
  file: z.object({
    file_data: fileData,
    filename: z.string().max(CHAT_BOUNDS.filenameCharactersMax).nullish(),
  }),
  cache_control: cacheControl,
})

const audioPart = z.object({
  type: z.literal('input_audio'),
  input_audio: z.object({
    data: z.string().refine(isBase64, { error: 'must be base64' }),
    format: z.enum(['wav', 'mp3']),
  }),
})

const textContent = z.union([z.string(), z.array(textPart).min(1).max(CHAT_BOUNDS.partsMax)])
const inputContent = z.union([
  z.string(),
  z
    .array(z.discriminatedUnion('type', [textPart, imagePart, filePart, audioPart]))
    .min(1)
    .max(CHAT_BOUNDS.partsMax),
])
const participantName = z.string().max(CHAT_BOUNDS.participantNameCharactersMax).nullish()

/** OpenRouter's form, which its clients send back as they got it, in one piece or in the pieces of a stream. */
const reasoningDetail = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('reasoning.text'),
    text: z.string().nullish(),
    signature: z.string().nullish(),
    format: z.string().max(64).nullish(),
    index: z.int().nullish(),
  }),
  z.object({
    type: z.literal('reasoning.summary'),
    summary: z.string(),
    format: z.string().max(64).nullish(),
    index: z.int().nullish(),
  }),
  z.object({
    type: z.literal('reasoning.encrypted'),
    data: z.string(),
    format: z.string().max(64).nullish(),
    index: z.int().nullish(),
  }),
])

const toolCall = z.object({
  id: toolCallId,
  type: z.literal('function'),
  function: z.object({ name: toolName, arguments: z.string() }),
})

/** One message, of any role. */
export const chatMessage = z.discriminatedUnion('role', [
  z.object({ role: z.enum(['system', 'developer']), content: textContent, name: participantName }),
  z.object({ role: z.literal('user'), content: inputContent, name: participantName }),
  z.object({
    role: z.literal('assistant'),
    content: z
      .union([
        z.string(),
        z.array(z.discriminatedUnion('type', [textPart, refusalPart])).max(CHAT_BOUNDS.partsMax),
      ])
      .nullish(),
    name: participantName,
    refusal: z.string().nullish(),
    tool_calls: z.array(toolCall).max(CHAT_BOUNDS.toolCallsMax).nullish(),
    reasoning: z.string().nullish(),
    reasoning_content: z.string().nullish(),
    reasoning_details: z.array(reasoningDetail).max(CHAT_BOUNDS.reasoningBlocksMax).nullish(),
  }),
  z.object({
    role: z.literal('tool'),
    tool_call_id: toolCallId,
    content: inputContent,
  }),
])

/** One tool. */
export const chatTool = z.object({
  type: z.literal('function'),
  function: z.object({
    name: toolName,
    description: z.string().max(CHAT_BOUNDS.descriptionCharactersMax).nullish(),
    parameters: jsonObject.nullish(),
    strict: z.boolean().nullish(),
  }),
  cache_control: cacheControl,
})

const namedTool = z.object({ type: z.literal('function'), function: z.object({ name: toolName }) })

const toolChoice = z.union([
  z.enum(['none', 'auto', 'required']),
  z.discriminatedUnion('type', [
    namedTool,
    z.object({
      type: z.literal('allowed_tools'),
      allowed_tools: z.object({
        mode: z.enum(['auto', 'required']),
        tools: z.array(namedTool).min(1).max(CHAT_BOUNDS.toolsMax),
      }),
    }),
  ]),
])

const responseFormat = z.discriminatedUnion('type', [
  z.object({ type: z.literal('text') }),
  z.object({ type: z.literal('json_object') }),
  z.object({
    type: z.literal('json_schema'),
    json_schema: z.object({
      name: toolName,
      description: z.string().max(CHAT_BOUNDS.descriptionCharactersMax).nullish(),
      schema: jsonObject,
      strict: z.boolean().nullish(),
    }),
  }),
])

const effort = z.enum(['none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max'])
const outputTokens = z.int().min(1).max(CHAT_BOUNDS.outputTokensMax)

const logitBias = z
  .record(z.string().regex(LOGIT_TOKEN), z.number().min(-100).max(100))
  .refine((biases) => Object.keys(biases).length <= CHAT_BOUNDS.logitBiasMax, {
    error: `must have at most ${CHAT_BOUNDS.logitBiasMax} members`,
  })

const stopSequence = z.string().min(1).max(CHAT_BOUNDS.stopCharactersMax)

/** Everything of a body but its messages and tools. */
export const chatParameters = extensions.extend({
  stream: z.boolean().nullish(),
  stream_options: z.object({ include_usage: z.boolean().nullish() }).nullish(),
  usage: z.object({ include: z.boolean().nullish() }).nullish(),
  max_tokens: outputTokens.nullish(),
  max_completion_tokens: outputTokens.nullish(),
  n: z.int().min(1).max(CHAT_BOUNDS.choicesMax).nullish(),
  stop: z.union([stopSequence, z.array(stopSequence).max(CHAT_BOUNDS.stopSequencesMax)]).nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  top_k: z.int().min(0).max(1_000_000).nullish(),
  tool_choice: toolChoice.nullish(),
  parallel_tool_calls: z.boolean().nullish(),
  response_format: responseFormat.nullish(),
  reasoning: z
    .object({
      effort: effort.nullish(),
      max_tokens: z.int().min(0).max(CHAT_BOUNDS.outputTokensMax).nullish(),
      exclude: z.boolean().nullish(),
      enabled: z.boolean().nullish(),
    })
    .nullish(),
  reasoning_effort: effort.nullish(),
  include_reasoning: z.boolean().nullish(),
  metadata: metadata.nullish(),
  user: z.string().max(CHAT_BOUNDS.endUserCharactersMax).nullish(),
  safety_identifier: z.string().max(CHAT_BOUNDS.endUserCharactersMax).nullish(),
  prompt_cache_key: z.string().max(CHAT_BOUNDS.cacheKeyCharactersMax).nullish(),
  frequency_penalty: z.number().min(-2).max(2).nullish(),
  presence_penalty: z.number().min(-2).max(2).nullish(),
  repetition_penalty: z.number().min(0).max(2).nullish(),
  min_p: z.number().min(0).max(1).nullish(),
  top_a: z.number().min(0).max(1).nullish(),
  seed: z.int().nullish(),
  logit_bias: logitBias.nullish(),
  logprobs: z.boolean().nullish(),
  top_logprobs: z.int().min(0).max(CHAT_BOUNDS.topLogprobsMax).nullish(),
  verbosity: z.enum(['low', 'medium', 'high']).nullish(),
})

/** The whole body, as the API reference shows it. */
export const chatCompletionBody = chatParameters.extend({
  messages: z.array(chatMessage).min(1).max(CHAT_BOUNDS.messagesMax),
  tools: z.array(chatTool).max(CHAT_BOUNDS.toolsMax).nullish(),
})

export type ChatParameters = z.output<typeof chatParameters>
export type ChatMessage = z.output<typeof chatMessage>
export type ChatTool = z.output<typeof chatTool>
