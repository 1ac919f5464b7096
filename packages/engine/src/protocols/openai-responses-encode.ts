import type { Endpoint } from '@mesh/catalog/catalog.ts'
import type { Ask, Json, JsonObject, Tool, ToolChoice } from '../ask.ts'
import { accountFieldOf } from '../prompt-caches.ts'
import type { EncodedRequest, EncodeOptions } from '../protocol.ts'
import { closestEffort, effortAsked, reasoningControlsOf } from '../reasoning.ts'
import { jsonInstruction } from './json-instruction.ts'
import { responsesInput } from './openai-responses-input.ts'
import { type ResponsesQuirks, responsesQuirksOf, responsesTakes } from './openai-responses-quirks.ts'

/** The caller's parameters that could not be sent, collected while a request is built. */
type Dropped = Set<string>

/** Builds the body of `POST /responses`. Fields that are `undefined` are left out of the JSON. */
export function encodeResponses(ask: Ask, endpoint: Endpoint, options: EncodeOptions): EncodedRequest {
  const quirks = responsesQuirksOf(endpoint)
  const dropped: Dropped = new Set()
  const take = <Value>(value: Value | undefined, name: string): Value | undefined => {
    if (value === undefined || responsesTakes(endpoint, name)) return value
    dropped.add(name)
    return undefined
  }
  const format = textFormat(ask, endpoint, dropped)
  const { instructions, input } = responsesInput(ask, quirks, format.instruction, dropped)
  const extras = extraFields(ask, take, dropped)
  const outputTokensCap = options.outputTokensCap ?? ask.maxOutputTokens
  take(ask.stop.length === 0 ? undefined : ask.stop, 'stop')
  take(ask.choices === 1 ? undefined : ask.choices, 'n')
  take(ask.topK, 'top_k')
  const body = {
    model: endpoint.upstreamModel,
    instructions,
    input,
    ...toolFields(ask, endpoint, take, dropped),
    text: textField(format.field, extras.verbosity),
    reasoning: reasoningField(ask, endpoint, quirks, dropped),
    include: includeField(ask, endpoint, quirks, extras.logprobs === true),
    temperature: take(ask.temperature, 'temperature'),
    top_p: take(ask.topP, 'top_p'),
    top_logprobs: extras.logprobs === true ? extras.top_logprobs : undefined,
    max_output_tokens:
      outputTokensCap === undefined
        ? undefined
        : Math.max(quirks.outputTokensMin, Math.min(outputTokensCap, endpoint.outputTokensMax)),
    ...accountFieldOf(ask, endpoint),
    ...(extras.prompt_cache_key === undefined ? {} : { prompt_cache_key: extras.prompt_cache_key }),
    safety_identifier: take(ask.endUserHmac, 'user'),
    store: false,
    stream: options.stream,
  }
  return {
    path: '/responses',
    headers: {
      'content-type': 'application/json',
      accept: options.stream ? 'text/event-stream' : 'application/json',
    },
    body: JSON.stringify(body),
    droppedParameters: [...dropped],
  }
}

type Take = <Value>(value: Value | undefined, name: string) => Value | undefined

/** Every extra that may be sent, each in its own place. */
const EXTRAS: ReadonlySet<string> = new Set(['verbosity', 'prompt_cache_key', 'logprobs', 'top_logprobs'])

function extraFields(ask: Ask, take: Take, dropped: Dropped): Readonly<Record<string, Json | undefined>> {
  const fields: Record<string, Json | undefined> = {}
  for (const [name, value] of Object.entries(ask.extras)) {
    if (value === null) continue
    if (EXTRAS.has(name)) fields[name] = take(value, name)
    else dropped.add(name)
  }
  return fields
}

function toolFields(ask: Ask, endpoint: Endpoint, take: Take, dropped: Dropped) {
  if (ask.tools.length === 0) return {}
  if (!endpoint.supportedParameters.includes('tools')) {
    dropped.add('tools')
    if (ask.toolChoice !== undefined) dropped.add('tool_choice')
    return {}
  }
  if (ask.tools.some((tool) => tool.cache)) dropped.add('cache_control')
  const choice = take(ask.toolChoice, 'tool_choice')
  return {
    tools: ask.tools.map(functionTool),
    tool_choice: choice === undefined ? undefined : toolChoice(choice),
    parallel_tool_calls: take(ask.parallelToolCalls === false ? false : undefined, 'parallel_tool_calls'),
  }
}

/** `strict` is the default here and not in other protocols, so what was not asked for is said not to be. */
function functionTool({ name, description, parameters, strict }: Tool) {
  return {
    type: 'function',
    name,
    description,
    parameters: parameters ?? { type: 'object', properties: {} },
    strict: strict ?? false,
  }
}

function toolChoice(choice: ToolChoice) {
  return typeof choice === 'object' ? { type: 'function', name: choice.name } : choice
}

/** The format as the endpoint knows it; what it does not know is asked for in words. */
function textFormat(
  ask: Ask,
  endpoint: Endpoint,
  dropped: Dropped,
): { readonly field?: JsonObject; readonly instruction?: string } {
  const format = ask.responseFormat
  if (format === undefined || format.type === 'text') return {}
  if (endpoint.supportedParameters.includes(`response_format.${format.type}`)) return { field: { ...format } }
  const instruction = jsonInstruction(format)
  if (format.type === 'json_object') return { instruction }
  if (format.strict === true) dropped.add('response_format.json_schema.strict')
  return endpoint.supportedParameters.includes('response_format.json_object')
    ? { field: { type: 'json_object' }, instruction }
    : { instruction }
}

function textField(format: JsonObject | undefined, verbosity: Json | undefined) {
  return format === undefined && verbosity === undefined ? undefined : { format, verbosity }
}

/** How hard to think, in the words that the endpoint knows, and whether to sum it up. What it has no word for is dropped. */
function reasoningField(ask: Ask, endpoint: Endpoint, quirks: ResponsesQuirks, dropped: Dropped) {
  const effort = effortAsked(ask.reasoning)
  const { summary: summaryAsked = 'auto', exclude, maxTokens } = ask.reasoning ?? {}
  if (effort === undefined && ask.reasoning?.summary === undefined) return undefined
  if (!endpoint.supportedParameters.includes('reasoning')) {
    if (effort !== 'none') dropped.add('reasoning')
    return undefined
  }
  if (maxTokens !== undefined && effort !== 'none') dropped.add('reasoning.max_tokens')
  const { efforts } = reasoningControlsOf(endpoint)
  const graded = effort === undefined ? undefined : closestEffort(effort, efforts)
  // Whoever asked for no thinking where it cannot be switched off gets the least of it, and is told so.
  if (effort !== undefined && (graded === undefined || (effort === 'none' && graded !== 'none'))) {
    dropped.add('reasoning.effort')
  }
  const summed = quirks.summaries && graded !== 'none' && exclude !== true && summaryAsked !== 'none'
  if (graded === undefined && !summed) return undefined
  return { effort: graded, summary: summed ? summaryAsked : undefined }
}

/** What would be kept at the provider is asked for instead, so that it can be given back in the next turn. */
function includeField(ask: Ask, endpoint: Endpoint, quirks: ResponsesQuirks, logprobs: boolean) {
  const encrypted =
    quirks.reasoningHistory === 'encrypted' &&
    endpoint.supportedParameters.includes('reasoning') &&
    ask.reasoning?.exclude !== true
  const include = [
    ...(encrypted ? ['reasoning.encrypted_content'] : []),
    ...(logprobs ? ['message.output_text.logprobs'] : []),
  ]
  return include.length === 0 ? undefined : include
}
