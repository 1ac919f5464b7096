import type { ChatCompletionCreateParams } from 'openai/resources/chat/completions'
import { z } from 'zod'
import type { RecordedExchange } from './replay-server.ts'

/*
 * Recorded requests as a caller of MESH would have sent them: with OpenAI's client, to a model of the catalogue. Shares
 * no code with the router, the engine or the simulators.
 */

/** A recorded request in OpenAI's shape; or why MESH has no words for it. */
export type RecordedCall =
  | { readonly ok: true; readonly params: ChatCompletionCreateParams }
  | { readonly ok: false; readonly reason: string }

/** Recorded models and their nearest relatives in the catalogue that are asked in the same protocol. */
const MODELS: Readonly<Record<string, string>> = {
  'gpt-4o': 'mesh/gpt-4o-mini',
  'gpt-4o-mini': 'mesh/gpt-4o-mini',
  'gpt-4.1-mini': 'mesh/gpt-4.1',
  'gpt-5': 'mesh/gpt-5-mini',
  'gpt-5-mini': 'mesh/gpt-5-mini',
  'gpt-5.2-proo': 'mesh/gpt-5-mini',
  'gpt-5.4-mini': 'mesh/gpt-5-mini',
  'o1-mini': 'mesh/o4-mini',
  'o3-mini': 'mesh/o4-mini',
  'claude-fable-5': 'mesh/claude-sonnet-5',
  'claude-haiku-4-5': 'mesh/claude-haiku-4.5',
  'claude-opus-4-6': 'mesh/claude-opus-4.6',
  'claude-opus-4-7': 'mesh/claude-opus-4.8',
  'claude-opus-4-8': 'mesh/claude-opus-4.8',
  'claude-opus-5': 'mesh/claude-opus-4.8',
  'claude-sonet-4-5': 'mesh/claude-sonnet-4.5',
  'claude-sonnet-4-0': 'mesh/claude-sonnet-4.5',
  'claude-sonnet-4-5': 'mesh/claude-sonnet-4.5',
  'claude-sonnet-4-5-20250929': 'mesh/claude-sonnet-4.5',
  'claude-sonnet-4-6': 'mesh/claude-sonnet-4.6',
  'claude-sonnet-5': 'mesh/claude-sonnet-5',
}

function hasDocument(body: object): boolean {
  return JSON.stringify(body).includes('"type":"file"')
}

const NOT_OFFERED = ['moderation', 'web_search_options']

/** What OpenAI was sent is what MESH is sent, but for the model. */
export function recordedChatCall({ requestBody }: RecordedExchange): RecordedCall {
  const relative = MODELS[String(requestBody.model)]
  if (relative === undefined) return { ok: false, reason: 'no such model in the catalogue' }
  // The catalogue has no documents for the small models of this family.
  const model = hasDocument(requestBody) ? 'mesh/gpt-4.1' : relative
  const refused = NOT_OFFERED.find((name) => name in requestBody)
  if (refused !== undefined) return { ok: false, reason: `${refused} is not offered` }
  if (JSON.stringify(requestBody).includes('"file_id"')) return { ok: false, reason: 'a file by its id' }
  return { ok: true, params: { ...requestBody, model } as unknown as ChatCompletionCreateParams }
}

const cacheControl = z
  .strictObject({ type: z.literal('ephemeral'), ttl: z.enum(['5m', '1h']).optional() })
  .optional()
const base64 = z.strictObject({ type: z.literal('base64'), media_type: z.string(), data: z.string() })
const text = z.strictObject({ type: z.literal('text'), text: z.string(), cache_control: cacheControl })
const image = z.strictObject({
  type: z.literal('image'),
  source: z.discriminatedUnion('type', [base64, z.strictObject({ type: z.literal('url'), url: z.string() })]),
  cache_control: cacheControl,
})
const document = z.strictObject({ type: z.literal('document'), source: base64, cache_control: cacheControl })
const toolResult = z.strictObject({
  type: z.literal('tool_result'),
  tool_use_id: z.string(),
  content: z.union([z.string(), z.array(z.discriminatedUnion('type', [text, image, document]))]).optional(),
  // OpenAI's tool messages have no word for it: that it failed stands in the text.
  is_error: z.boolean().optional(),
  cache_control: cacheControl,
})
const toolUse = z.strictObject({
  type: z.literal('tool_use'),
  id: z.string(),
  name: z.string(),
  input: z.record(z.string(), z.unknown()),
  cache_control: cacheControl,
})
const thinking = z.strictObject({ type: z.literal('thinking'), thinking: z.string(), signature: z.string() })
const redacted = z.strictObject({ type: z.literal('redacted_thinking'), data: z.string() })

const message = z.discriminatedUnion('role', [
  // The newest models take system messages within the conversation.
  z.strictObject({ role: z.literal('system'), content: z.array(z.discriminatedUnion('type', [text])) }),
  z.strictObject({
    role: z.literal('user'),
    content: z.union([
      z.string(),
      z.array(z.discriminatedUnion('type', [text, image, document, toolResult])),
    ]),
  }),
  z.strictObject({
    role: z.literal('assistant'),
    content: z.union([
      z.string(),
      z.array(z.discriminatedUnion('type', [text, toolUse, thinking, redacted])),
    ]),
  }),
])
type Message = z.output<typeof message>

const single = z.boolean().optional()
/** All of Anthropic's messages API that OpenAI's client has words for. */
const messagesRequest = z.strictObject({
  model: z.string(),
  messages: z.array(message),
  system: z.union([z.string(), z.array(text)]).optional(),
  max_tokens: z.number(),
  stream: z.boolean().optional(),
  tools: z
    .array(
      z.strictObject({
        type: z.literal('custom').optional(),
        name: z.string(),
        description: z.string().optional(),
        input_schema: z.record(z.string(), z.unknown()),
        strict: z.boolean().optional(),
        cache_control: cacheControl,
      }),
    )
    .optional(),
  tool_choice: z
    .discriminatedUnion('type', [
      z.strictObject({ type: z.literal('auto'), disable_parallel_tool_use: single }),
      z.strictObject({ type: z.literal('any'), disable_parallel_tool_use: single }),
      z.strictObject({ type: z.literal('none') }),
      z.strictObject({ type: z.literal('tool'), name: z.string(), disable_parallel_tool_use: single }),
    ])
    .optional(),
  thinking: z
    .discriminatedUnion('type', [
      z.strictObject({ type: z.literal('enabled'), budget_tokens: z.number() }),
      z.strictObject({ type: z.literal('adaptive'), display: z.string().optional() }),
      z.strictObject({ type: z.literal('disabled') }),
    ])
    .optional(),
  output_config: z
    .strictObject({
      effort: z.string().optional(),
      format: z
        .strictObject({ type: z.literal('json_schema'), schema: z.record(z.string(), z.unknown()) })
        .optional(),
    })
    .optional(),
  stop_sequences: z.array(z.string()).optional(),
  metadata: z.strictObject({ user_id: z.string() }).optional(),
})
type MessagesRequest = z.output<typeof messagesRequest>

/** What Anthropic was sent, in OpenAI's words with MESH's extensions (`reasoning`, `cache_control`). */
export function recordedMessagesCall({ requestBody }: RecordedExchange): RecordedCall {
  const model = MODELS[String(requestBody.model)]
  if (model === undefined) return { ok: false, reason: 'no such model in the catalogue' }
  const read = messagesRequest.safeParse(requestBody)
  if (!read.success) return { ok: false, reason: reasonOf(read.error, requestBody) }
  const { system, messages, max_tokens, stream, tools, stop_sequences: stop } = read.data
  const params = {
    model,
    messages: [
      ...(system === undefined ? [] : [{ role: 'system', content: system }]),
      ...messages.flatMap(toChatMessages),
    ],
    max_tokens,
    stream: stream === true,
    ...(tools
      ? {
          tools: tools.map(({ name, description, input_schema, strict, cache_control }) => ({
            type: 'function',
            function: { name, description, parameters: input_schema, strict },
            cache_control,
          })),
        }
      : {}),
    ...toolChoiceOf(read.data),
    ...reasoningOf(read.data),
    ...responseFormatOf(read.data),
    ...(stop ? { stop } : {}),
  }
  return { ok: true, params: params as unknown as ChatCompletionCreateParams }
}

/** The first thing that is not understood, without the places in lists, so that like reasons add up. */
function reasonOf({ issues }: z.ZodError, request: unknown): string {
  let [issue] = issues
  let path = [...(issue?.path ?? [])]
  // Of a union the branch that got furthest says what is missing.
  while (issue?.code === 'invalid_union' && issue.errors.length > 0) {
    const firsts: readonly (z.core.$ZodIssue | undefined)[] = issue.errors.map(([first]) => first)
    issue = [...firsts].sort((left, right) => (right?.path.length ?? 0) - (left?.path.length ?? 0))[0]
    path = [...path, ...(issue?.path ?? [])]
  }
  const name = path.filter((part) => typeof part === 'string').join('.')
  if (issue?.code === 'unrecognized_keys') return `${name} ${issue.keys.join(', ')}`.trim()
  const value = path.reduce<unknown>((within, part) => Reflect.get(Object(within), part), request)
  return typeof value === 'string' ? `${name} ${value}` : name
}

function toChatMessages({ role, content }: Message): readonly object[] {
  if (typeof content === 'string') return [{ role, content }]
  if (role === 'system') return [{ role, content }]
  if (role === 'assistant') return [assistantMessage(content)]
  const results = content.filter((part) => part.type === 'tool_result')
  const said = content.filter((part) => part.type !== 'tool_result')
  return [
    ...results.map(({ tool_use_id, content: result = '' }) => ({
      role: 'tool',
      tool_call_id: tool_use_id,
      content: typeof result === 'string' ? result : result.map(toChatPart),
    })),
    ...(said.length > 0 ? [{ role, content: said.map(toChatPart) }] : []),
  ]
}

type AssistantPart = Exclude<Extract<Message, { role: 'assistant' }>['content'], string>[number]

function assistantMessage(parts: readonly AssistantPart[]): object {
  const format = 'anthropic-claude-v1'
  const calls = parts.flatMap((part) =>
    part.type === 'tool_use'
      ? [
          {
            id: part.id,
            type: 'function',
            function: { name: part.name, arguments: JSON.stringify(part.input) },
          },
        ]
      : [],
  )
  const reasoning = parts.flatMap((part, index): object[] => {
    if (part.type === 'thinking')
      return [{ type: 'reasoning.text', text: part.thinking, signature: part.signature, format, index }]
    return part.type === 'redacted_thinking'
      ? [{ type: 'reasoning.encrypted', data: part.data, format, index }]
      : []
  })
  const texts = parts.filter((part) => part.type === 'text')
  return {
    role: 'assistant',
    content: texts.length > 0 ? texts : null,
    ...(calls.length > 0 ? { tool_calls: calls } : {}),
    ...(reasoning.length > 0 ? { reasoning_details: reasoning } : {}),
  }
}

function toChatPart(part: z.output<typeof text | typeof image | typeof document>): object {
  switch (part.type) {
    case 'text':
      return part
    case 'image': {
      const { source, cache_control } = part
      return {
        type: 'image_url',
        image_url: { url: source.type === 'url' ? source.url : dataUrl(source) },
        cache_control,
      }
    }
    case 'document':
      return {
        type: 'file',
        file: { file_data: dataUrl(part.source), filename: 'document.pdf' },
        cache_control: part.cache_control,
      }
  }
}

function dataUrl({ media_type, data }: z.output<typeof base64>): string {
  return `data:${media_type};base64,${data}`
}

function toolChoiceOf({ tool_choice: choice }: MessagesRequest): object {
  if (choice === undefined) return {}
  const parallel =
    choice.type !== 'none' && choice.disable_parallel_tool_use ? { parallel_tool_calls: false } : {}
  switch (choice.type) {
    case 'tool':
      return { tool_choice: { type: 'function', function: { name: choice.name } }, ...parallel }
    case 'any':
      return { tool_choice: 'required', ...parallel }
    default:
      return { tool_choice: choice.type, ...parallel }
  }
}

function reasoningOf({ thinking: asked, output_config: config }: MessagesRequest): object {
  const effort = config?.effort
  switch (asked?.type) {
    case 'enabled':
      return { reasoning: { max_tokens: asked.budget_tokens } }
    case 'adaptive':
      return { reasoning: { effort: effort ?? 'high' } }
    default:
      return effort === undefined ? {} : { reasoning: { effort } }
  }
}

function responseFormatOf({ output_config: config }: MessagesRequest): object {
  if (!config?.format) return {}
  const json_schema = { name: 'answer', schema: config.format.schema, strict: true }
  return { response_format: { type: 'json_schema', json_schema } }
}
