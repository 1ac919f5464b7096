import type { Endpoint } from '@mesh/catalog/catalog.ts'
import type { Ask, Json, JsonObject, Tool } from '../ask.ts'
import type { EncodedRequest, EncodeOptions } from '../protocol.ts'
import { cacheControl } from './anthropic-messages-cache.ts'
import { anthropicConversation } from './anthropic-messages-content.ts'
import { thinkingPlan } from './anthropic-messages-thinking.ts'
import { claudeSampling, visibleStops } from './claude-sampling.ts'
import { jsonInstruction } from './json-instruction.ts'

/** The version of the wire format that this file speaks: https://platform.claude.com/docs/en/api/versioning */
const ANTHROPIC_VERSION = '2023-06-01'

/** Builds the body of `POST /v1/messages`. Fields that are `undefined` are left out of the JSON. */
export function encodeMessages(ask: Ask, endpoint: Endpoint, options: EncodeOptions): EncodedRequest {
  const dropped = new Set<string>()
  const format = outputFormat(ask, endpoint, dropped)
  const outputTokensCap = Math.min(
    options.outputTokensCap ?? ask.maxOutputTokens ?? endpoint.outputTokensMax,
    endpoint.outputTokensMax,
  )
  const thinking = thinkingPlan(ask, endpoint, outputTokensCap, dropped)
  const { system, messages } = anthropicConversation(ask, format.instruction, dropped)
  const sampling = claudeSampling(ask, endpoint, thinking, dropped)
  dropForeign(ask, dropped)
  const outputConfig = { effort: thinking.effort, format: format.field }
  const body = {
    model: endpoint.upstreamModel,
    max_tokens: outputTokensCap,
    system: system.length === 0 ? undefined : system,
    messages,
    ...toolFields(ask, endpoint, dropped),
    thinking: thinking.field,
    output_config: outputConfig.effort || outputConfig.format ? outputConfig : undefined,
    temperature: sampling.temperature,
    top_p: sampling.topP,
    top_k: sampling.topK,
    stop_sequences: visibleStops(ask, dropped),
    metadata: ask.endUserHmac === undefined ? undefined : { user_id: ask.endUserHmac },
    stream: options.stream,
  }
  return {
    path: '/v1/messages',
    headers: {
      'content-type': 'application/json',
      accept: options.stream ? 'text/event-stream' : 'application/json',
      'anthropic-version': ANTHROPIC_VERSION,
    },
    body: JSON.stringify(body),
    droppedParameters: [...dropped],
  }
}

/** Beside what the catalogue lists, `top_k` goes where temperature does, and parallel calls where tools do. */
export function messagesTake({ supportedParameters }: Endpoint, parameter: string): boolean {
  switch (parameter) {
    case 'top_k':
      return supportedParameters.includes('temperature')
    case 'parallel_tool_calls':
      return supportedParameters.includes('tools')
    case 'file_url':
      return true
    default:
      return supportedParameters.includes(parameter)
  }
}

/** Names what has no counterpart here at all. */
function dropForeign(ask: Ask, dropped: Set<string>): void {
  if (ask.choices !== 1) dropped.add('n')
  for (const [name, value] of Object.entries(ask.extras)) {
    if (value !== null) dropped.add(name)
  }
}

function toolFields(ask: Ask, endpoint: Endpoint, dropped: Set<string>) {
  if (ask.tools.length === 0) return {}
  const strictKnown = endpoint.supportedParameters.includes('response_format.json_schema')
  if (!strictKnown && ask.tools.some((tool) => tool.strict)) dropped.add('tools.strict')
  return {
    tools: ask.tools.map((tool) => wireTool(tool, strictKnown)),
    tool_choice: toolChoice(ask),
  }
}

function wireTool(tool: Tool, strictKnown: boolean) {
  return {
    name: tool.name,
    description: tool.description,
    input_schema: tool.parameters ?? { type: 'object', properties: {} },
    strict: strictKnown && tool.strict ? true : undefined,
    cache_control: cacheControl(tool.cache),
  }
}

function toolChoice(ask: Ask): JsonObject | undefined {
  const single: { [key: string]: Json } =
    ask.parallelToolCalls === false ? { disable_parallel_tool_use: true } : {}
  const choice = ask.toolChoice
  if (choice === undefined) return ask.parallelToolCalls === false ? { type: 'auto', ...single } : undefined
  if (choice === 'none') return { type: 'none' }
  if (choice === 'auto') return { type: 'auto', ...single }
  if (choice === 'required') return { type: 'any', ...single }
  return { type: 'tool', name: choice.name, ...single }
}

/**
 * The response format: a schema natively where the endpoint takes one, everything else in words (see
 * `jsonInstruction`). Claude has no mode for "any JSON".
 */
function outputFormat(
  ask: Ask,
  endpoint: Endpoint,
  dropped: Set<string>,
): { readonly field?: JsonObject; readonly instruction?: string } {
  const format = ask.responseFormat
  if (format === undefined || format.type === 'text') return {}
  if (format.type === 'json_schema') {
    if (endpoint.supportedParameters.includes('response_format.json_schema')) {
      return { field: { type: 'json_schema', schema: format.schema } }
    }
    if (format.strict === true) dropped.add('response_format.json_schema.strict')
  }
  return { instruction: jsonInstruction(format) }
}
