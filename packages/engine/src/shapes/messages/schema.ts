import * as z from 'zod'
import { CHAT_BOUNDS } from '../bounds.ts'
import { extensions } from '../extensions.ts'
import { isBase64, parseImageUrl } from '../media.ts'
import { media } from '../media-schema.ts'
import { toolCallId } from '../tool-call-id.ts'
import { jsonObject, toolName as toolNameOf } from '../tool-schema.ts'

/**
 * The schema of `POST /v1/messages` (https://platform.claude.com/docs/en/api/messages). A parameter that may be absent
 * may be `null`. Custom messages are whole predicates and never quote a value, for they go out in errors.
 */

/** Anthropic's bounds, where they are wider than OpenAI's. */
const MESSAGES_BOUNDS = {
  toolNameCharactersMax: 128,
  stopSequencesMax: 16,
  thinkingBudgetTokensMin: 1_024,
} as const

const NOT_MEDIA = 'must be base64 of an image/png, image/jpeg, image/gif or image/webp'

const toolName = toolNameOf(MESSAGES_BOUNDS.toolNameCharactersMax)
const cacheControl = z.object({ type: z.literal('ephemeral'), ttl: z.enum(['5m', '1h']).nullish() }).nullish()
const base64 = z.string().refine(isBase64, { error: 'must be base64' })

/** An `http` or `https` URL. */
const mediaUrl = media((url) => {
  const source = parseImageUrl(url)
  return source?.kind === 'url' ? source : undefined
}, 'must be an http or https URL')

const textBlock = z.object({ type: z.literal('text'), text: z.string(), cache_control: cacheControl })

const imageBlock = z.object({
  type: z.literal('image'),
  source: z.discriminatedUnion('type', [
    z.object({
      type: z.literal('base64'),
      media_type: z.enum(['image/png', 'image/jpeg', 'image/gif', 'image/webp'], { error: NOT_MEDIA }),
      data: base64,
    }),
    z.object({ type: z.literal('url'), url: mediaUrl }),
  ]),
  cache_control: cacheControl,
})

const documentBlock = z.object({
  type: z.literal('document'),
  source: z.discriminatedUnion('type', [
    z.object({ type: z.literal('base64'), media_type: z.literal('application/pdf'), data: base64 }),
    z.object({ type: z.literal('text'), media_type: z.literal('text/plain'), data: z.string() }),
    z.object({ type: z.literal('url'), url: mediaUrl }),
    z.object({
      type: z.literal('content'),
      content: z.union([z.string(), z.array(textBlock).max(CHAT_BOUNDS.partsMax)]),
    }),
  ]),
  title: z.string().max(CHAT_BOUNDS.filenameCharactersMax).nullish(),
  context: z.string().nullish(),
  citations: z.object({ enabled: z.boolean().nullish() }).nullish(),
  cache_control: cacheControl,
})

const toolResultBlock = z.object({
  type: z.literal('tool_result'),
  tool_use_id: toolCallId,
  content: z
    .union([
      z.string(),
      z.array(z.discriminatedUnion('type', [textBlock, imageBlock, documentBlock])).max(CHAT_BOUNDS.partsMax),
    ])
    .nullish(),
  is_error: z.boolean().nullish(),
  cache_control: cacheControl,
})

const toolUseBlock = z.object({
  type: z.literal('tool_use'),
  id: toolCallId,
  name: toolName,
  input: jsonObject,
  cache_control: cacheControl,
})

const thinkingBlock = z.object({
  type: z.literal('thinking'),
  thinking: z.string(),
  signature: z.string(),
})
const redactedBlock = z.object({ type: z.literal('redacted_thinking'), data: z.string().min(1) })

function contentOf<Block extends z.ZodType>(block: Block) {
  return z.union([z.string(), z.array(block).max(CHAT_BOUNDS.partsMax)])
}

/** One message. `system` is what the newest Claudes take inside a conversation. */
export const messagesMessage = z.discriminatedUnion('role', [
  z.object({
    role: z.literal('user'),
    content: contentOf(z.discriminatedUnion('type', [textBlock, imageBlock, documentBlock, toolResultBlock])),
  }),
  z.object({
    role: z.literal('assistant'),
    content: contentOf(z.discriminatedUnion('type', [textBlock, thinkingBlock, redactedBlock, toolUseBlock])),
  }),
  z.object({ role: z.literal('system'), content: contentOf(textBlock) }),
])

/** One tool of the caller's own. */
export const messagesTool = z.object({
  type: z.literal('custom').nullish(),
  name: toolName,
  description: z.string().max(CHAT_BOUNDS.descriptionCharactersMax).nullish(),
  input_schema: jsonObject,
  strict: z.boolean().nullish(),
  cache_control: cacheControl,
})

const single = z.boolean().nullish()
const toolChoice = z.discriminatedUnion('type', [
  z.object({ type: z.literal('auto'), disable_parallel_tool_use: single }),
  z.object({ type: z.literal('any'), disable_parallel_tool_use: single }),
  z.object({ type: z.literal('tool'), name: toolName, disable_parallel_tool_use: single }),
  z.object({ type: z.literal('none') }),
])

const display = z.enum(['summarized', 'omitted']).nullish()
const thinking = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('enabled'),
    budget_tokens: z.int().min(MESSAGES_BOUNDS.thinkingBudgetTokensMin).max(CHAT_BOUNDS.outputTokensMax),
    display,
  }),
  z.object({ type: z.literal('adaptive'), display }),
  z.object({ type: z.literal('disabled') }),
])

const outputFormat = z.object({ type: z.literal('json_schema'), schema: jsonObject })

const metadata = z
  .record(
    z.string().max(CHAT_BOUNDS.metadataKeyCharactersMax),
    z.string().max(CHAT_BOUNDS.metadataValueCharactersMax).nullable(),
  )
  .refine((pairs) => Object.keys(pairs).length <= CHAT_BOUNDS.metadataPairsMax, {
    error: `must have at most ${CHAT_BOUNDS.metadataPairsMax} pairs`,
  })

const stopSequence = z.string().min(1).max(CHAT_BOUNDS.stopCharactersMax)

/** Everything of a body but its messages and tools. */
export const messagesParameters = extensions.extend({
  max_tokens: z.int().min(1).max(CHAT_BOUNDS.outputTokensMax).nullish(),
  system: contentOf(textBlock).nullish(),
  stream: z.boolean().nullish(),
  stop_sequences: z.array(stopSequence).max(MESSAGES_BOUNDS.stopSequencesMax).nullish(),
  temperature: z.number().min(0).max(1).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  top_k: z.int().min(0).max(1_000_000).nullish(),
  tool_choice: toolChoice.nullish(),
  thinking: thinking.nullish(),
  output_config: z
    .object({
      effort: z.enum(['low', 'medium', 'high', 'xhigh', 'max']).nullish(),
      format: outputFormat.nullish(),
    })
    .nullish(),
  /** The earlier name of `output_config.format`. */
  output_format: outputFormat.nullish(),
  metadata: metadata.nullish(),
  /** Marks the end of the whole prompt. */
  cache_control: cacheControl,
})

/** The whole body, as the API reference shows it. */
export const messagesBody = messagesParameters.extend({
  messages: z.array(messagesMessage).min(1).max(CHAT_BOUNDS.messagesMax),
  tools: z.array(messagesTool).max(CHAT_BOUNDS.toolsMax).nullish(),
})

export type MessagesParameters = z.output<typeof messagesParameters>
export type MessagesMessage = z.output<typeof messagesMessage>
export type MessagesTool = z.output<typeof messagesTool>
export type CacheControl = z.output<typeof cacheControl>
