import type { Endpoint } from '@mesh/catalog/catalog.ts'
import type { Ask, Json, JsonObject, Tool } from '../ask.ts'
import type { EncodedRequest, EncodeOptions } from '../protocol.ts'
import { budgetTokens, effortAsked, reasoningControlsOf } from '../reasoning.ts'
import { cohereMessages } from './cohere-chat-messages.ts'
import { takesFormatBeside } from './format-beside-tools.ts'
import { jsonInstruction } from './json-instruction.ts'

/** The most stop sequences that a request may have. */
const STOP_SEQUENCES_MAX = 5
/** The bounds of the sampling parameters: https://docs.cohere.com/reference/chat */
const P_MIN = 0.01
const P_MAX = 0.99
const K_MAX = 500
const PENALTY_MAX = 1

/** Builds the body of `POST /v2/chat`. Fields that are `undefined` are left out of the JSON. */
export function encodeCohereChat(ask: Ask, endpoint: Endpoint, options: EncodeOptions): EncodedRequest {
  const dropped = new Set<string>()
  const format = responseFormat(ask, endpoint, dropped)
  const outputTokensCap = options.outputTokensCap ?? ask.maxOutputTokens
  const body = {
    model: endpoint.upstreamModel,
    messages: cohereMessages(ask, endpoint, format.instruction, dropped),
    ...toolFields(ask, endpoint, dropped),
    response_format: format.field,
    thinking: thinking(ask, endpoint, outputTokensCap ?? endpoint.outputTokensMax, dropped),
    ...samplingFields(ask, endpoint, dropped),
    ...extraFields(ask, dropped),
    max_tokens:
      outputTokensCap === undefined ? undefined : Math.min(outputTokensCap, endpoint.outputTokensMax),
    stream: options.stream,
  }
  if (ask.choices !== 1) dropped.add('n')
  if (ask.endUserHmac !== undefined) dropped.add('user')
  return {
    path: '/chat',
    headers: {
      'content-type': 'application/json',
      accept: options.stream ? 'text/event-stream' : 'application/json',
    },
    body: JSON.stringify(body),
    droppedParameters: [...dropped],
  }
}

/** Beside what the catalogue lists: `top_k` goes where temperature does, and these three go everywhere. */
export function cohereChatTakes({ supportedParameters }: Endpoint, parameter: string): boolean {
  if (parameter === 'top_k') return supportedParameters.includes('temperature')
  return EXTRAS.has(parameter) || supportedParameters.includes(parameter)
}

const EXTRAS: ReadonlySet<string> = new Set(['seed', 'frequency_penalty', 'presence_penalty'])

function samplingFields(ask: Ask, endpoint: Endpoint, dropped: Set<string>) {
  const take = <Value>(value: Value | undefined, name: string): Value | undefined => {
    if (value === undefined || cohereChatTakes(endpoint, name)) return value
    dropped.add(name)
    return undefined
  }
  const topP = take(ask.topP, 'top_p')
  const topK = take(ask.topK, 'top_k')
  const stop = take(ask.stop.length === 0 ? undefined : ask.stop, 'stop')
  if (stop !== undefined && stop.length > STOP_SEQUENCES_MAX) dropped.add('stop')
  return {
    temperature: take(ask.temperature, 'temperature'),
    p: topP === undefined ? undefined : Math.min(Math.max(topP, P_MIN), P_MAX),
    k: topK === undefined ? undefined : Math.min(topK, K_MAX),
    stop_sequences: stop?.slice(0, STOP_SEQUENCES_MAX),
  }
}

/** A penalty below zero, which rewards repetition, is not known here; one above the most is the most. */
function extraFields(ask: Ask, dropped: Set<string>): JsonObject {
  const fields: Record<string, Json> = {}
  for (const [name, value] of Object.entries(ask.extras)) {
    if (value === null) continue
    const isPenalty = name !== 'seed'
    if (!EXTRAS.has(name) || typeof value !== 'number' || (isPenalty && value < 0)) dropped.add(name)
    else fields[name] = isPenalty ? Math.min(value, PENALTY_MAX) : value
  }
  return fields
}

/**
 * Tools and which of them to use. Cohere cannot be told to use one by name, but to use one of those it is shown: so
 * it is shown that one. It cannot be told to call one tool at a time.
 */
function toolFields(ask: Ask, endpoint: Endpoint, dropped: Set<string>) {
  if (ask.tools.length === 0) return {}
  const { supportedParameters } = endpoint
  if (!supportedParameters.includes('tools')) {
    dropped.add('tools')
    if (ask.toolChoice !== undefined) dropped.add('tool_choice')
    return {}
  }
  if (ask.tools.some((tool) => tool.cache)) dropped.add('cache_control')
  if (ask.parallelToolCalls === false) dropped.add('parallel_tool_calls')
  const isChosen = supportedParameters.includes('tool_choice')
  if (!isChosen && ask.toolChoice !== undefined) dropped.add('tool_choice')
  const choice = isChosen ? ask.toolChoice : undefined
  const shown = typeof choice === 'object' ? ask.tools.filter((tool) => tool.name === choice.name) : ask.tools
  const isStrict = ask.tools.some((tool) => tool.strict)
  const strictTools = isStrict && takesStrictTools(shown, endpoint)
  if (isStrict && !strictTools) dropped.add('tools.strict')
  return {
    tools: shown.map(wireTool),
    strict_tools: strictTools ? true : undefined,
    tool_choice:
      choice === undefined || choice === 'auto' ? undefined : choice === 'none' ? 'NONE' : 'REQUIRED',
  }
}

function wireTool({ name, description, parameters }: Tool) {
  return { type: 'function', function: { name, description, parameters } }
}

/** Strictness is all tools' or none's, and each must then require something: the API refuses the request otherwise. */
function takesStrictTools(tools: readonly Tool[], endpoint: Endpoint): boolean {
  return (
    endpoint.supportedParameters.includes('response_format.json_schema') &&
    tools.every((tool) => {
      const required = tool.parameters?.required
      return tool.strict === true && Array.isArray(required) && required.length > 0
    })
  )
}

/**
 * The response format. It is refused next to tools, and then asked for in words, as what an endpoint does not know is.
 * A wish for any JSON is said in words as well: a model that was not told may write white space without an end.
 * https://docs.cohere.com/docs/structured-outputs
 */
function responseFormat(
  ask: Ask,
  endpoint: Endpoint,
  dropped: Set<string>,
): { readonly field?: JsonObject; readonly instruction?: string } {
  const format = ask.responseFormat
  if (format === undefined || format.type === 'text') return {}
  const takes = (name: string) =>
    takesFormatBeside(ask.tools, endpoint) && endpoint.supportedParameters.includes(name)
  if (format.type === 'json_schema') {
    if (takes('response_format.json_schema')) {
      return { field: { type: 'json_object', json_schema: format.schema } }
    }
    if (format.strict === true) dropped.add('response_format.json_schema.strict')
  }
  const instruction = jsonInstruction(format)
  return takes('response_format.json_object')
    ? { field: { type: 'json_object' }, instruction }
    : { instruction }
}

/** How to think: with a budget of tokens, or not at all. https://docs.cohere.com/docs/reasoning */
function thinking(
  ask: Ask,
  endpoint: Endpoint,
  outputTokensCap: number,
  dropped: Set<string>,
): JsonObject | undefined {
  const effort = effortAsked(ask.reasoning)
  if (effort === undefined || ask.reasoning === undefined) return undefined
  const thinks = endpoint.supportedParameters.includes('reasoning')
  // Models that can think do so unless they are told not to; the others have no word for it.
  if (effort === 'none') return thinks ? { type: 'disabled' } : undefined
  if (!thinks) {
    dropped.add('reasoning')
    return undefined
  }
  const { budget } = reasoningControlsOf(endpoint)
  if (!budget) {
    dropped.add(ask.reasoning.maxTokens === undefined ? 'reasoning.effort' : 'reasoning.max_tokens')
    return { type: 'enabled' }
  }
  const tokens = budgetTokens(ask.reasoning, effort, budget, outputTokensCap)
  return tokens === undefined ? { type: 'enabled' } : { type: 'enabled', token_budget: tokens }
}
