import type { Endpoint } from '@mesh/catalog/catalog.ts'
import type { Ask, InputPart, JsonObject, MediaSource, Message, Tool, ToolCall } from '../src/ask.ts'
import { testAsk, testEndpoint } from './endpoints.ts'
import type { RecordedExchange } from './recorded-exchanges.ts'

/*
 * Recorded requests to Responses, turned back into what was asked. It shares nothing with the encoder or with the
 * callers' own Responses: it knows the records alone.
 */

interface RecordedRequest {
  readonly model: string
  readonly input: string | readonly RecordedItem[]
  readonly instructions?: string
  readonly tools?: readonly RecordedTool[]
  readonly tool_choice?: Ask['toolChoice']
  readonly parallel_tool_calls?: boolean
  readonly text?: { readonly format?: NonNullable<Ask['responseFormat']> }
  readonly reasoning?: { readonly effort?: never; readonly summary?: never }
  readonly include?: readonly string[]
  readonly temperature?: number
  readonly stream?: boolean
  readonly [parameter: string]: unknown
}

interface RecordedTool {
  readonly type: string
  readonly name: string
  readonly description?: string | null
  readonly parameters?: JsonObject
  readonly strict?: boolean
  readonly defer_loading?: boolean
}

interface RecordedItem {
  readonly type?: string
  readonly role?: 'system' | 'developer' | 'user' | 'assistant'
  readonly content?: string | readonly RecordedPart[]
  readonly call_id?: string
  readonly name?: string
  readonly namespace?: string
  readonly arguments?: string
  readonly output?: string | readonly RecordedPart[]
  readonly summary?: readonly { readonly text: string }[]
  readonly encrypted_content?: string | null
}

interface RecordedPart {
  readonly type: string
  readonly text?: string
  readonly image_url?: string
  readonly detail?: 'auto'
  readonly filename?: string
  readonly file_data?: string
  readonly file_url?: string
  readonly file_id?: string
  readonly prompt_cache_breakpoint?: object
}

/** What MESH refuses, and what OpenAI alone has, by a word for each. `undefined` where a request has none of it. */
export function outOfReach(body: unknown): string | undefined {
  const request = body as RecordedRequest
  const given = (name: string) => request[name] !== undefined && request[name] !== null
  const refused = ['background', 'conversation', 'previous_response_id', 'context_management', 'moderation']
  const parameter = [...refused, 'prompt_cache_options'].find(given)
  if (parameter !== undefined) return parameter
  if (request.tools?.some((tool) => tool.type !== 'function' || tool.defer_loading)) {
    return 'hosted tools, or tools that are loaded by them'
  }
  const items = typeof request.input === 'string' ? [] : request.input
  const known = ['message', 'reasoning', 'function_call', 'function_call_output', undefined]
  if (items.some((item) => !known.includes(item.type) || item.namespace !== undefined)) {
    return 'items of hosted tools or compacted items'
  }
  const lists = items.flatMap((item) => [item.content, item.output])
  const parts = lists.flatMap((list) => (Array.isArray(list) ? (list as readonly RecordedPart[]) : []))
  return parts.some((part) => part.file_id !== undefined) ? 'file ids' : undefined
}

/** What was asked, and an endpoint at which it was asked. */
export function askOfRecord({ provider, requestBody }: RecordedExchange): { ask: Ask; endpoint: Endpoint } {
  const request = requestBody as RecordedRequest
  const { format } = request.text ?? {}
  const reasons = request.reasoning !== undefined || request.include?.includes('reasoning.encrypted_content')
  const { effort, summary = 'none' } = request.reasoning ?? {}
  const items =
    typeof request.input === 'string' ? [{ role: 'user' as const, content: request.input }] : request.input
  const { instructions } = request
  const ask = testAsk({
    messages: [
      ...(instructions === undefined || instructions === '' ? [] : [system(instructions)]),
      ...turns(items),
    ],
    tools: (request.tools ?? []).map(toTool),
    ...(request.tools && request.tool_choice ? { toolChoice: toChoice(request.tool_choice) } : {}),
    ...(request.parallel_tool_calls === undefined ? {} : { parallelToolCalls: request.parallel_tool_calls }),
    ...(format ? { responseFormat: format } : {}),
    ...(request.reasoning ? { reasoning: { ...(effort ? { effort } : {}), summary } } : {}),
    ...(request.temperature === undefined ? {} : { temperature: request.temperature }),
    stream: request.stream === true,
  })
  const all = testEndpoint({}).supportedParameters
  const endpoint = testEndpoint({
    provider: provider === 'bedrock' ? 'amazon-bedrock' : provider,
    protocol: 'openai_responses',
    upstreamModel: request.model,
    supportedParameters: reasons ? all : all.filter((parameter) => parameter !== 'reasoning'),
    reasoningOptions: [{ type: 'effort', values: ['none', 'low', 'medium', 'high'] }],
  })
  return { ask, endpoint }
}

function system(text: string): Message {
  return { role: 'system', parts: [{ type: 'text', text }] }
}

function toTool({ name, description, parameters, strict }: RecordedTool): Tool {
  return {
    name,
    ...(description ? { description } : {}),
    ...(parameters ? { parameters } : {}),
    ...(strict === undefined ? {} : { strict }),
  }
}

function toChoice(choice: NonNullable<Ask['toolChoice']>): NonNullable<Ask['toolChoice']> {
  return typeof choice === 'string' ? choice : { name: choice.name }
}

type AssistantMessage = Extract<Message, { role: 'assistant' }>

/** Items of an assistant that are told in the order reasoning, text, calls are one turn; any other order begins a new one. */
function turns(items: readonly RecordedItem[]): readonly Message[] {
  const messages: Message[] = []
  let place = 0
  const assistant = (at: number, addition: Partial<AssistantMessage>) => {
    const last = messages.at(-1)
    const goesOn = last?.role === 'assistant' && at >= place && !(at === 1 && place === 1)
    const turn: AssistantMessage = goesOn
      ? last
      : { role: 'assistant', parts: [], toolCalls: [], reasoning: [] }
    if (goesOn) messages.pop()
    place = at
    messages.push({
      ...turn,
      parts: [...turn.parts, ...(addition.parts ?? [])],
      toolCalls: [...turn.toolCalls, ...(addition.toolCalls ?? [])],
      reasoning: [...turn.reasoning, ...(addition.reasoning ?? [])],
    })
  }
  for (const item of items) {
    if (item.type === 'reasoning') assistant(0, { reasoning: toReasoning(item) })
    else if (item.type === 'function_call') assistant(2, { toolCalls: [toCall(item)] })
    else if (item.type === 'function_call_output') {
      messages.push({ role: 'tool', toolCallId: item.call_id ?? '', parts: toParts(item.output) })
    } else if (item.role === 'assistant') {
      const texts = toParts(item.content).filter((part) => part.type === 'text' && part.text !== '')
      if (texts.length > 0) assistant(1, { parts: texts as AssistantMessage['parts'] })
    } else {
      const parts = toParts(item.content)
      if (item.role === 'user') messages.push({ role: 'user', parts })
      else messages.push({ role: item.role ?? 'system', parts: parts as AssistantMessage['parts'] })
    }
  }
  return messages
}

function toCall(item: RecordedItem): ToolCall {
  return { id: item.call_id ?? '', name: item.name ?? '', arguments: item.arguments ?? '' }
}

function toReasoning({ summary = [], content, encrypted_content: encrypted }: RecordedItem) {
  const shown = Array.isArray(content) ? (content as readonly RecordedPart[]) : summary
  const format = 'openai-responses-v1'
  return [
    ...shown.map(({ text = '' }) => ({ text, format })),
    ...(encrypted ? [{ text: '', redacted: encrypted, format }] : []),
  ]
}

function toParts(content: RecordedItem['content']): readonly InputPart[] {
  if (content === undefined) return []
  if (typeof content === 'string') return [{ type: 'text', text: content }]
  return content.map(toPart)
}

function toPart(part: RecordedPart): InputPart {
  switch (part.type) {
    case 'input_image':
      return {
        type: 'image',
        source: toSource(part.image_url ?? ''),
        ...(part.detail ? { detail: part.detail } : {}),
      }
    case 'input_file':
      return {
        type: 'file',
        source: toSource(part.file_data ?? part.file_url ?? ''),
        ...(part.filename === undefined ? {} : { filename: part.filename }),
      }
    default:
      return { type: 'text', text: part.text ?? '' }
  }
}

function toSource(url: string): MediaSource {
  const data = /^data:([^;]+);base64,(.*)$/s.exec(url)
  return data ? { kind: 'base64', mediaType: data[1] ?? '', base64: data[2] ?? '' } : { kind: 'url', url }
}

/**
 * A request without the differences that are meant:
 * - `store: false` is always said, and encrypted reasoning always asked for where a model reasons;
 * - items have no ids, states and phases of their own (what they say is all that MESH keeps of them), and an
 *   assistant's text is written in one way of several that mean the same;
 * - a system message at the start is the `instructions`;
 * - what says nothing is left out: empty texts and descriptions, nulls, defaults;
 * - `reasoning.context` is OpenAI's alone, and its own default;
 * - of reasoning that a host shows as text, the text goes back and no second copy as its summary, and one item holds
 *   what several in a row held.
 */
export function asIfSent(body: unknown): unknown {
  const { store: _, include: __, previous_response_id: ___, stream, ...request } = body as RecordedRequest
  const { context: ____, ...reasoning } = (request.reasoning ?? {}) as Record<string, unknown>
  const items =
    typeof request.input === 'string' ? [{ role: 'user' as const, content: request.input }] : request.input
  const { tools, tool_choice, text, ...others } = request
  const [first, ...rest] = items
  const opens = !request.instructions && first?.role === 'system' && rest.length > 0
  const instructions = opens ? first.content : request.instructions
  return {
    ...others,
    instructions: instructions || undefined,
    ...(tools && tools.length > 0 ? { tools: tools.map(plainTool), tool_choice } : {}),
    ...(text && text.format?.type !== 'text' ? { text } : {}),
    reasoning,
    input: mergedReasoning((opens ? rest : items).flatMap(plainItem)),
    stream: stream === true,
  }
}

function plainTool({ description, ...tool }: RecordedTool) {
  return description ? { ...tool, description } : tool
}

function plainItem(item: RecordedItem): readonly Record<string, unknown>[] {
  const { id: _, status: __, phase: ___, ...rest } = item as RecordedItem & Record<string, unknown>
  if (item.type === 'reasoning') {
    const shown = Array.isArray(item.content) ? { content: item.content } : { summary: item.summary ?? [] }
    return [{ type: 'reasoning', ...shown, encrypted_content: item.encrypted_content ?? null }]
  }
  if (item.type !== undefined && item.type !== 'message') return [rest]
  const parts = typeof item.content === 'string' ? [{ text: item.content }] : (item.content ?? [])
  const texts = parts.map((part) => part.text)
  if (item.role === 'assistant') return texts.join('') === '' ? [] : [{ role: 'assistant', texts }]
  return [{ role: item.role, content: item.content }]
}

function mergedReasoning(items: readonly Record<string, unknown>[]): readonly Record<string, unknown>[] {
  const merged: Record<string, unknown>[] = []
  for (const item of items) {
    const last = merged.at(-1)
    const shown = last?.type === 'reasoning' && Array.isArray(last.content) && last.encrypted_content === null
    if (shown && item.type === 'reasoning' && Array.isArray(item.content) && Array.isArray(last.content)) {
      merged[merged.length - 1] = { ...item, content: [...last.content, ...item.content] }
    } else merged.push(item)
  }
  return merged
}
