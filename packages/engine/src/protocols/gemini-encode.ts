import type { Endpoint } from '@mesh/catalog/catalog.ts'
import type { Ask, JsonObject, Tool } from '../ask.ts'
import type { EncodedRequest, EncodeOptions } from '../protocol.ts'
import { takesFormatBeside } from './format-beside-tools.ts'
import { geminiConversation } from './gemini-content.ts'
import { isThirdGeneration } from './gemini-generation.ts'
import { thinkingConfig } from './gemini-thinking.ts'
import { jsonInstruction } from './json-instruction.ts'

const INT32_MAX = 2 ** 31 - 1

/** How many answers are asked for. */
export function candidateCount(ask: Ask, endpoint: Endpoint): number {
  return takesCandidates(endpoint) ? ask.choices : 1
}

function takesCandidates(endpoint: Endpoint): boolean {
  return !isThirdGeneration(endpoint)
}

/** Builds the body of `generateContent`. Fields that are `undefined` are left out of the JSON. */
export function encodeGenerateContent(ask: Ask, endpoint: Endpoint, options: EncodeOptions): EncodedRequest {
  const dropped = new Set<string>()
  const format = outputFormat(ask, endpoint, dropped)
  const { system, contents } = geminiConversation(ask, endpoint, format.instruction, dropped)
  dropForeign(ask, dropped)
  const generationConfig = {
    ...samplingFields(ask, endpoint, dropped),
    ...outputFields(ask, endpoint, options, dropped),
    ...format.fields,
  }
  const body = {
    systemInstruction: system.length === 0 ? undefined : { parts: system },
    contents,
    ...toolFields(ask, endpoint, dropped),
    generationConfig,
    // Projects that were created since October 2026 keep requests where this is not said.
    // https://ai.google.dev/gemini-api/docs/logs-datasets
    store: false,
  }
  const model = encodeURIComponent(endpoint.upstreamModel)
  return {
    path: `/models/${model}:${options.stream ? 'streamGenerateContent?alt=sse' : 'generateContent'}`,
    headers: {
      'content-type': 'application/json',
      accept: options.stream ? 'text/event-stream' : 'application/json',
    },
    body: JSON.stringify(body),
    droppedParameters: [...dropped],
  }
}

/** Beside what the catalogue lists, `top_k` and `seed` go where temperature does. */
export function generateContentTakes(endpoint: Endpoint, parameter: string): boolean {
  switch (parameter) {
    case 'top_k':
    case 'seed':
      return endpoint.supportedParameters.includes('temperature')
    case 'n':
      return takesCandidates(endpoint)
    default:
      return endpoint.supportedParameters.includes(parameter)
  }
}

/**
 * Names what has no counterpart here, or one that the models refuse. Penalties and log probabilities are in the API,
 * but no model since 2.0 takes them ("Penalty is not enabled for this model", "Logprobs is not enabled for …").
 */
function dropForeign(ask: Ask, dropped: Set<string>): void {
  if (ask.endUserHmac !== undefined) dropped.add('user')
  for (const [name, value] of Object.entries(ask.extras)) {
    if (value !== null && name !== 'seed') dropped.add(name)
  }
}

function samplingFields(ask: Ask, endpoint: Endpoint, dropped: Set<string>): JsonObject {
  const fields: Record<string, number | readonly string[]> = {}
  const take = (name: string, field: string, value: number | readonly string[] | undefined) => {
    if (value === undefined) return
    if (generateContentTakes(endpoint, name)) fields[field] = value
    else dropped.add(name)
  }
  const { seed } = ask.extras
  const isSeed = typeof seed === 'number' && Number.isInteger(seed) && Math.abs(seed) <= INT32_MAX
  if (!isSeed && seed !== undefined && seed !== null) dropped.add('seed')
  take('temperature', 'temperature', ask.temperature)
  take('top_p', 'topP', ask.topP)
  // Elsewhere 0 switches it off; here it is off unless it is given, and begins at 1.
  take('top_k', 'topK', ask.topK === 0 ? undefined : ask.topK)
  take('seed', 'seed', isSeed ? seed : undefined)
  take('stop', 'stopSequences', ask.stop.length === 0 ? undefined : ask.stop)
  take('n', 'candidateCount', ask.choices === 1 ? undefined : ask.choices)
  return fields
}

function outputFields(
  ask: Ask,
  endpoint: Endpoint,
  options: EncodeOptions,
  dropped: Set<string>,
): { readonly maxOutputTokens?: number; readonly thinkingConfig?: JsonObject } {
  const wanted = options.outputTokensCap ?? ask.maxOutputTokens
  const cap = Math.min(wanted ?? endpoint.outputTokensMax, endpoint.outputTokensMax)
  const thinking = thinkingConfig(ask, endpoint, cap, dropped)
  return {
    ...(wanted === undefined ? {} : { maxOutputTokens: cap }),
    ...(thinking === undefined ? {} : { thinkingConfig: thinking }),
  }
}

function toolFields(ask: Ask, endpoint: Endpoint, dropped: Set<string>) {
  if (ask.tools.length === 0) return {}
  if (!endpoint.supportedParameters.includes('tools')) {
    dropped.add('tools')
    if (ask.toolChoice !== undefined) dropped.add('tool_choice')
    return {}
  }
  if (ask.tools.some((tool) => tool.cache)) dropped.add('cache_control')
  // Gemini has no word for one call at a time.
  if (ask.parallelToolCalls === false) dropped.add('parallel_tool_calls')
  const calling = functionCallingConfig(ask, endpoint, dropped)
  return {
    tools: [{ functionDeclarations: ask.tools.map(declaration) }],
    toolConfig: calling === undefined ? undefined : { functionCallingConfig: calling },
  }
}

function declaration({ name, description, parameters }: Tool) {
  return { name, description, parametersJsonSchema: parameters }
}

/** Strict tools are Gemini's mode `VALIDATED`, which is one for all of them; forced calls are always validated. */
function functionCallingConfig(ask: Ask, endpoint: Endpoint, dropped: Set<string>): JsonObject | undefined {
  const free = ask.tools.some((tool) => tool.strict) ? 'VALIDATED' : 'AUTO'
  const choice = ask.toolChoice
  if (choice !== undefined && !endpoint.supportedParameters.includes('tool_choice')) {
    dropped.add('tool_choice')
    return undefined
  }
  if (choice === undefined) return free === 'AUTO' ? undefined : { mode: free }
  if (choice === 'auto') return { mode: free }
  if (choice === 'none') return { mode: 'NONE' }
  if (choice === 'required') return { mode: 'ANY' }
  return { mode: 'ANY', allowedFunctionNames: [choice.name] }
}

/** The response format as the endpoint knows it, or in words (see `jsonInstruction`). */
function outputFormat(
  ask: Ask,
  endpoint: Endpoint,
  dropped: Set<string>,
): { readonly fields?: JsonObject; readonly instruction?: string } {
  const format = ask.responseFormat
  if (format === undefined || format.type === 'text') return {}
  if (
    takesFormatBeside(ask.tools, endpoint) &&
    endpoint.supportedParameters.includes(`response_format.${format.type}`)
  ) {
    const mimeType = { responseMimeType: 'application/json' }
    return {
      fields: format.type === 'json_object' ? mimeType : { ...mimeType, responseJsonSchema: format.schema },
    }
  }
  if (format.type === 'json_schema' && format.strict === true) {
    dropped.add('response_format.json_schema.strict')
  }
  return { instruction: jsonInstruction(format) }
}
