import type { Endpoint } from '@mesh/catalog/catalog.ts'
import type { Ask, JsonObject, Tool, ToolChoice } from '../ask.ts'
import { accountFieldOf } from '../prompt-caches.ts'
import type { EncodedRequest, EncodeOptions } from '../protocol.ts'
import { type ChatQuirks, chatQuirksOf, takes } from '../quirks.ts'
import { closestEffort, effortAsked, reasoningControlsOf } from '../reasoning.ts'
import { jsonInstruction } from './json-instruction.ts'
import { chatMessages } from './openai-chat-messages.ts'

/** The caller's parameters that could not be sent, collected while a request is built. */
type Dropped = Set<string>

/** How many answers are asked for. */
export function chatChoices(ask: Ask, endpoint: Endpoint): number {
  return takes(chatQuirksOf(endpoint), endpoint, 'n') ? ask.choices : 1
}

/** Documents by URL are taken where the provider has a form for them that is a URL. */
export function chatTakes(endpoint: Endpoint, parameter: string): boolean {
  const quirks = chatQuirksOf(endpoint)
  if (parameter === 'file_url') return quirks.documents === 'document_url'
  return takes(quirks, endpoint, parameter)
}

/** Builds the body of `POST /chat/completions`. Fields that are `undefined` are left out of the JSON. */
export function encodeChat(ask: Ask, endpoint: Endpoint, options: EncodeOptions): EncodedRequest {
  const quirks = chatQuirksOf(endpoint)
  const dropped: Dropped = new Set()
  const format = responseFormat(ask, endpoint, dropped)
  const outputTokensCap = options.outputTokensCap ?? ask.maxOutputTokens
  const body = {
    model: endpoint.upstreamModel,
    messages: chatMessages(ask, quirks, format.instruction, dropped),
    ...toolFields(ask, endpoint, quirks, dropped),
    response_format: format.field,
    ...reasoningFields(ask, endpoint, quirks, dropped),
    ...samplingFields(ask, endpoint, quirks, dropped),
    ...accountFieldOf(ask, endpoint),
    ...extraFields(ask, endpoint, quirks, dropped),
    [quirks.outputCapField]:
      outputTokensCap === undefined ? undefined : Math.min(outputTokensCap, endpoint.outputTokensMax),
    user: optional(ask.endUserHmac, 'user', endpoint, quirks, dropped),
    store: quirks.takes.has('store') ? false : undefined,
    stream: options.stream,
    stream_options:
      options.stream && quirks.takes.has('stream_options') ? { include_usage: true } : undefined,
  }
  return {
    path: '/chat/completions',
    headers: {
      'content-type': 'application/json',
      accept: options.stream ? 'text/event-stream' : 'application/json',
    },
    body: JSON.stringify(body),
    droppedParameters: [...dropped],
  }
}

/** A parameter that some providers do not take: its value, or `undefined` and its name among the dropped ones. */
function optional<Value>(
  value: Value | undefined,
  name: string,
  endpoint: Endpoint,
  quirks: ChatQuirks,
  dropped: Dropped,
): Value | undefined {
  if (value === undefined || takes(quirks, endpoint, name)) return value
  dropped.add(name)
  return undefined
}

/** OpenAI refuses more; Anthropic's callers may send more. */
const STOP_SEQUENCES_MAX = 4

function samplingFields(ask: Ask, endpoint: Endpoint, quirks: ChatQuirks, dropped: Dropped) {
  const take = <Value>(value: Value | undefined, name: string) =>
    optional(value, name, endpoint, quirks, dropped)
  const stop = ask.stop.slice(0, STOP_SEQUENCES_MAX)
  if (stop.length < ask.stop.length) dropped.add('stop')
  return {
    temperature: take(ask.temperature, 'temperature'),
    top_p: take(ask.topP, 'top_p'),
    top_k: take(ask.topK, 'top_k'),
    stop: take(stop.length === 0 ? undefined : stop, 'stop'),
    n: take(ask.choices === 1 ? undefined : ask.choices, 'n'),
  }
}

/**
 * The parameters that pass without a meaning of their own here. Only those on the provider's list do: anything that
 * stores, multiplies or outsources a call would otherwise slip through under a name that we never heard of.
 */
function extraFields(ask: Ask, endpoint: Endpoint, quirks: ChatQuirks, dropped: Dropped): JsonObject {
  const fields: Record<string, JsonObject[string]> = {}
  for (const [name, value] of Object.entries(ask.extras)) {
    if (value === null) continue
    if (EXTRAS.has(name) && takes(quirks, endpoint, name)) fields[quirks.renames[name] ?? name] = value
    else dropped.add(name)
  }
  return fields
}

/** Every extra that any provider may be sent. `service_tier` is not among them: no price list knows its rates. */
const EXTRAS: ReadonlySet<string> = new Set([
  'seed',
  'logit_bias',
  'logprobs',
  'top_logprobs',
  'frequency_penalty',
  'presence_penalty',
  'verbosity',
  'prompt_cache_key',
  'min_p',
  'repetition_penalty',
])

function toolFields(ask: Ask, endpoint: Endpoint, quirks: ChatQuirks, dropped: Dropped) {
  if (ask.tools.length === 0) return {}
  if (!endpoint.supportedParameters.includes('tools')) {
    dropped.add('tools')
    if (ask.toolChoice !== undefined) dropped.add('tool_choice')
    return {}
  }
  if (ask.tools.some((tool) => tool.cache)) dropped.add('cache_control')
  // `true` is the default everywhere, and some models refuse to hear it said.
  const parallel = ask.parallelToolCalls === false ? false : undefined
  const choice = optional(ask.toolChoice, 'tool_choice', endpoint, quirks, dropped)
  return {
    tools: ask.tools.map(tool),
    tool_choice: choice === undefined ? undefined : toolChoice(choice, quirks),
    parallel_tool_calls: optional(parallel, 'parallel_tool_calls', endpoint, quirks, dropped),
  }
}

function tool({ name, description, parameters, strict }: Tool) {
  return { type: 'function', function: { name, description, parameters, strict } }
}

function toolChoice(choice: ToolChoice, quirks: ChatQuirks) {
  if (typeof choice === 'object') return { type: 'function', function: { name: choice.name } }
  return choice === 'required' ? quirks.requiredToolChoice : choice
}

/**
 * The response format as the endpoint knows it. A format that it does not know is asked for in words; a schema that
 * it does not know also as any JSON, where it knows that.
 */
function responseFormat(
  ask: Ask,
  endpoint: Endpoint,
  dropped: Dropped,
): { readonly field?: JsonObject; readonly instruction?: string } {
  const format = ask.responseFormat
  if (format === undefined || format.type === 'text') return {}
  if (endpoint.supportedParameters.includes(`response_format.${format.type}`)) {
    if (format.type === 'json_object') return { field: { type: 'json_object' } }
    const { type, ...schema } = format
    return { field: { type, json_schema: schema } }
  }
  const instruction = jsonInstruction(format)
  if (format.type === 'json_object') return { instruction }
  if (format.strict === true) dropped.add('response_format.json_schema.strict')
  return endpoint.supportedParameters.includes('response_format.json_object')
    ? { field: { type: 'json_object' }, instruction }
    : { instruction }
}

/** How hard to think, in the words that the endpoint knows. What it has no word for is dropped. */
function reasoningFields(ask: Ask, endpoint: Endpoint, quirks: ChatQuirks, dropped: Dropped): JsonObject {
  const effort = effortAsked(ask.reasoning)
  // These think unasked, so that tools alone would be refused as well.
  if (ask.tools.length > 0 && quirks.toolsForbidThinking?.test(endpoint.model)) {
    if (effort !== undefined && effort !== 'none') dropped.add('reasoning')
    return { reasoning_effort: 'none' }
  }
  if (effort === undefined) return {}
  if (!endpoint.supportedParameters.includes('reasoning')) {
    if (effort !== 'none') dropped.add('reasoning')
    return {}
  }
  if (ask.reasoning?.maxTokens !== undefined && effort !== 'none') dropped.add('reasoning.max_tokens')
  const { efforts, toggle } = reasoningControlsOf(endpoint)
  const graded = closestEffort(effort, efforts)
  const switched = toggle && graded !== 'none' ? reasoningSwitch(effort !== 'none', quirks) : undefined
  if (effort === 'none') {
    if (graded === 'none') return { reasoning_effort: 'none' }
    if (switched) return switched
  }
  if (graded === undefined && switched === undefined) {
    dropped.add('reasoning.effort')
    return {}
  }
  // Whoever asked for no thinking where it cannot be switched off gets the least of it, and is told so.
  if (effort === 'none') dropped.add('reasoning.effort')
  return graded === undefined ? { ...switched } : { ...switched, reasoning_effort: graded }
}

function reasoningSwitch(on: boolean, quirks: ChatQuirks): JsonObject | undefined {
  switch (quirks.reasoningSwitch) {
    case 'thinking':
      return { thinking: { type: on ? 'enabled' : 'disabled' } }
    case 'chat_template':
      return { chat_template_kwargs: { enable_thinking: on } }
    case 'effort':
      return on ? {} : { reasoning_effort: 'none' }
    case 'none':
      return undefined
  }
}
