import type { Endpoint } from '@mesh/catalog/catalog.ts'
import type { Ask, JsonObject, Tool } from '../ask.ts'
import { type ConverseQuirks, converseQuirksOf } from '../converse-quirks.ts'
import type { EncodedRequest, EncodeOptions } from '../protocol.ts'
import { cachePoint, converseConversation } from './bedrock-converse-content.ts'
import { converseReasoning } from './bedrock-converse-reasoning.ts'
import { claudeSampling, visibleStops } from './claude-sampling.ts'
import { jsonInstruction } from './json-instruction.ts'

/** Builds `POST /model/{modelId}/converse` or `…/converse-stream`. Fields that are `undefined` are left out of the JSON. */
export function encodeConverse(ask: Ask, endpoint: Endpoint, options: EncodeOptions): EncodedRequest {
  const dropped = new Set<string>()
  const quirks = converseQuirksOf(endpoint)
  const format = outputFormat(ask, endpoint, dropped)
  const wishedCap = options.outputTokensCap ?? ask.maxOutputTokens
  const maxTokens = wishedCap === undefined ? undefined : Math.min(wishedCap, endpoint.outputTokensMax)
  const reasoningCap = maxTokens ?? endpoint.outputTokensMax
  const reasoning = converseReasoning(ask, endpoint, quirks, reasoningCap, dropped)
  const { system, messages } = converseConversation(ask, quirks, format.instruction, dropped)
  const { topK, ...sampling } = quirks.claudeSampling
    ? claudeSampling(ask, endpoint, reasoning.thinking, dropped)
    : plainSampling(ask, endpoint, dropped)
  dropForeign(ask, dropped)
  const inferenceConfig = { maxTokens, ...sampling, stopSequences: visibleStops(ask, dropped) }
  const body = {
    messages,
    system: system.length === 0 ? undefined : system,
    inferenceConfig: isEmpty(inferenceConfig) ? undefined : inferenceConfig,
    toolConfig: toolConfig(ask, endpoint, quirks, dropped),
    additionalModelRequestFields: ownFields({ ...reasoning.fields, ...topKField(topK, quirks) }),
    outputConfig: format.field,
  }
  return {
    path: `/model/${pathSegment(endpoint.upstreamModel)}/${options.stream ? 'converse-stream' : 'converse'}`,
    headers: {
      'content-type': 'application/json',
      accept: options.stream ? 'application/vnd.amazon.eventstream' : 'application/json',
    },
    body: JSON.stringify(body),
    droppedParameters: [...dropped],
  }
}

/** Beside what the catalogue lists, the vendor must have a place for `top_k`, and a word for a tool that must be called. */
export function converseTakes(endpoint: Endpoint, parameter: string): boolean {
  const { supportedParameters } = endpoint
  const quirks = converseQuirksOf(endpoint)
  switch (parameter) {
    case 'top_k':
      return quirks.topK !== undefined && supportedParameters.includes('temperature')
    case 'tool_choice':
      return supportedParameters.includes('tools') && quirks.toolChoices.includes('any')
    default:
      return supportedParameters.includes(parameter)
  }
}

/** As AWS's own clients write a label of a path: nothing but unreserved characters stays (RFC 3986, 2.3). */
function pathSegment(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  )
}

/** Names what has no counterpart here at all. */
function dropForeign(ask: Ask, dropped: Set<string>): void {
  if (ask.choices !== 1) dropped.add('n')
  if (ask.endUserHmac !== undefined) dropped.add('user')
  for (const [name, value] of Object.entries(ask.extras)) {
    if (value !== null) dropped.add(name)
  }
}

/** Temperature is at most 1 for every model. */
function plainSampling(ask: Ask, endpoint: Endpoint, dropped: Set<string>) {
  const take = (value: number | undefined, name: string) => {
    if (value === undefined || converseTakes(endpoint, name)) return value
    dropped.add(name)
    return undefined
  }
  const temperature = take(ask.temperature, 'temperature')
  return {
    temperature: temperature === undefined ? undefined : Math.min(temperature, 1),
    topP: take(ask.topP, 'top_p'),
    topK: take(ask.topK, 'top_k'),
  }
}

function topKField(topK: number | undefined, quirks: ConverseQuirks): JsonObject {
  if (topK === undefined) return {}
  return quirks.topK === 'inferenceConfig.topK' ? { inferenceConfig: { topK } } : { top_k: topK }
}

function ownFields(fields: JsonObject): JsonObject | undefined {
  return isEmpty(fields) ? undefined : fields
}

function isEmpty(fields: Readonly<Record<string, unknown>>): boolean {
  return Object.values(fields).every((value) => value === undefined)
}

/**
 * Tools and their choice. There is no word for "none": the tools are then left out, unless the conversation holds calls
 * of tools, which Converse takes only where tools are defined. Where none are, those that were called stand in.
 */
function toolConfig(ask: Ask, endpoint: Endpoint, quirks: ConverseQuirks, dropped: Set<string>) {
  if (ask.parallelToolCalls === false && ask.tools.length > 0) dropped.add('parallel_tool_calls')
  const called = calledTools(ask)
  const choice = ask.tools.length === 0 ? undefined : ask.toolChoice
  if (choice === 'none') {
    if (called.length === 0) return undefined
    dropped.add('tool_choice')
  }
  const defined = ask.tools.length === 0 ? called : ask.tools
  if (defined.length === 0) return undefined
  const strictKnown =
    quirks.strictTools && endpoint.supportedParameters.includes('response_format.json_schema')
  if (!strictKnown && defined.some((tool) => tool.strict)) dropped.add('tools.strict')
  const { offered, toolChoice } = chosen(defined, choice, quirks, dropped)
  return { tools: offered.flatMap((tool) => wireTool(tool, strictKnown, quirks, dropped)), toolChoice }
}

/** The tools that the conversation has calls of, each once, with nothing known of their parameters. */
function calledTools(ask: Ask): readonly Tool[] {
  const names = ask.messages.flatMap((message) =>
    message.role === 'assistant' ? message.toolCalls.map(({ name }) => name) : [],
  )
  return [...new Set(names)].map((name) => ({ name }))
}

function chosen(
  tools: readonly Tool[],
  choice: Ask['toolChoice'],
  { toolChoices }: ConverseQuirks,
  dropped: Set<string>,
): { readonly offered: readonly Tool[]; readonly toolChoice?: JsonObject } {
  if (choice === undefined || choice === 'none') return { offered: tools }
  if (choice === 'auto') {
    return toolChoices.includes('auto') ? { offered: tools, toolChoice: { auto: {} } } : { offered: tools }
  }
  if (choice === 'required' && toolChoices.includes('any')) return { offered: tools, toolChoice: { any: {} } }
  if (choice !== 'required') {
    if (toolChoices.includes('tool')) return { offered: tools, toolChoice: { tool: { name: choice.name } } }
    // One tool alone, and it must be called: the same thing said with the words that there are.
    if (toolChoices.includes('any')) {
      return { offered: tools.filter(({ name }) => name === choice.name), toolChoice: { any: {} } }
    }
  }
  dropped.add('tool_choice')
  return { offered: tools }
}

function wireTool(
  { name, description, parameters, strict, cache }: Tool,
  strictKnown: boolean,
  quirks: ConverseQuirks,
  dropped: Set<string>,
) {
  const toolSpec = {
    name,
    description: description === '' ? undefined : description,
    inputSchema: { json: parameters ?? { type: 'object', properties: {} } },
    strict: strictKnown && strict ? true : undefined,
  }
  if (cache === undefined) return [{ toolSpec }]
  if (quirks.cachePoints.tools) return [{ toolSpec }, cachePoint(cache, quirks, dropped)]
  dropped.add('cache_control')
  return [{ toolSpec }]
}

/** A schema natively where the endpoint takes one, everything else in words: Converse has no mode for "any JSON". */
function outputFormat(
  ask: Ask,
  endpoint: Endpoint,
  dropped: Set<string>,
): { readonly field?: JsonObject; readonly instruction?: string } {
  const format = ask.responseFormat
  if (format === undefined || format.type === 'text') return {}
  if (format.type === 'json_schema') {
    if (endpoint.supportedParameters.includes('response_format.json_schema')) {
      const { name, description, schema } = format
      const jsonSchema = {
        name,
        ...(description === undefined ? {} : { description }),
        schema: JSON.stringify(schema),
      }
      return { field: { textFormat: { type: 'json_schema', structure: { jsonSchema } } } }
    }
    if (format.strict === true) dropped.add('response_format.json_schema.strict')
  }
  return { instruction: jsonInstruction(format) }
}
