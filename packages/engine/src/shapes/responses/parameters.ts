import type { Ask, Json, Message, ReasoningRequest, ResponseFormat, Tool, ToolChoice } from '../../ask.ts'
import { fault, type RequestFault } from '../fault.ts'
import type { ParseOptions } from '../shape.ts'
import type { ResponsesParameters } from './schema.ts'

/** Turns valid parameters, with the input and tools read already, into the engine's form. */
export function toAsk(
  parameters: ResponsesParameters,
  conversation: readonly Message[],
  chosen: { readonly tools: readonly Tool[]; readonly toolChoice?: ToolChoice },
  options: ParseOptions,
): Ask {
  const { instructions } = parameters
  const system: readonly Message[] = instructions
    ? [{ role: 'system', parts: [{ type: 'text', text: instructions }] }]
    : []
  const reasoning = toReasoning(parameters.reasoning)
  const responseFormat = toResponseFormat(parameters.text?.format)
  const endUser = parameters.safety_identifier ?? parameters.user
  return {
    messages: [...system, ...conversation],
    tools: chosen.tools,
    ...(chosen.toolChoice === undefined ? {} : { toolChoice: chosen.toolChoice }),
    ...(typeof parameters.parallel_tool_calls === 'boolean'
      ? { parallelToolCalls: parameters.parallel_tool_calls }
      : {}),
    ...(responseFormat ? { responseFormat } : {}),
    ...(reasoning ? { reasoning } : {}),
    ...(typeof parameters.max_output_tokens === 'number'
      ? { maxOutputTokens: parameters.max_output_tokens }
      : {}),
    ...(typeof parameters.temperature === 'number' ? { temperature: parameters.temperature } : {}),
    ...(typeof parameters.top_p === 'number' ? { topP: parameters.top_p } : {}),
    stop: [],
    choices: 1,
    extras: toExtras(parameters, options),
    ...(typeof endUser === 'string' ? { endUserHmac: options.pseudonym('end_user', endUser) } : {}),
    stream: parameters.stream === true,
    usageChunk: false,
  }
}

/** Whoever asks for no summary is given none where it would have to be made. */
function toReasoning(asked: ResponsesParameters['reasoning']): ReasoningRequest | undefined {
  if (!asked) return undefined
  const { effort, max_tokens: maxTokens, exclude } = asked
  const summary = asked.summary ?? asked.generate_summary ?? 'none'
  if (typeof effort !== 'string' && typeof maxTokens !== 'number' && !exclude && summary === 'none') {
    return undefined
  }
  return {
    ...(effort ? { effort } : {}),
    ...(typeof maxTokens === 'number' ? { maxTokens } : {}),
    ...(exclude ? { exclude } : {}),
    summary,
  }
}

function toResponseFormat(
  format: NonNullable<ResponsesParameters['text']>['format'],
): ResponseFormat | undefined {
  if (format?.type !== 'json_schema') return format ?? undefined
  const { type, name, description, schema, strict } = format
  return {
    type,
    name,
    ...(typeof description === 'string' ? { description } : {}),
    schema,
    ...(typeof strict === 'boolean' ? { strict } : {}),
  }
}

const LOGPROBS = 'message.output_text.logprobs'

function toExtras(parameters: ResponsesParameters, options: ParseOptions): Ask['extras'] {
  const extras: Record<string, Json> = {}
  const { top_logprobs: likeliest, prompt_cache_key: cacheKey, text } = parameters
  if (parameters.include?.includes(LOGPROBS) || typeof likeliest === 'number') extras.logprobs = true
  if (typeof likeliest === 'number') extras.top_logprobs = likeliest
  if (text?.verbosity) extras.verbosity = text.verbosity
  if (typeof cacheKey === 'string') extras.prompt_cache_key = options.pseudonym('cache_key', cacheKey)
  return extras
}

/** What may be included is what MESH gives unasked, and log probabilities; the rest is of hosted tools. */
export function isIncludable(name: string): boolean {
  return name === LOGPROBS || name === 'reasoning.encrypted_content'
}

type ChosenTools =
  | { readonly ok: true; readonly tools: readonly Tool[]; readonly toolChoice?: ToolChoice }
  | RequestFault

/** Settles which tools the model gets and whether it must use one; `allowed_tools` leaves the others out. */
export function chooseTools(
  choice: NonNullable<ResponsesParameters['tool_choice']> | undefined,
  tools: readonly Tool[],
): ChosenTools {
  if (choice === undefined) return { ok: true, tools }
  if (typeof choice === 'string') {
    if (tools.length > 0) return { ok: true, tools, toolChoice: choice }
    if (choice === 'required') {
      return fault('invalid_request', ['tool_choice'], 'is required, but there are no tools')
    }
    return { ok: true, tools }
  }
  const names = new Set(tools.map((tool) => tool.name))
  if (choice.type === 'function') {
    const { name } = choice
    if (names.has(name)) return { ok: true, tools, toolChoice: { name } }
    return fault('invalid_request', ['tool_choice', 'name'], 'must be the name of one of tools')
  }
  const unknown = choice.tools.findIndex(({ name }) => !names.has(name))
  if (unknown !== -1) {
    const path = ['tool_choice', 'tools', unknown, 'name']
    return fault('invalid_request', path, 'must be the name of one of tools')
  }
  const allowed = new Set(choice.tools.map(({ name }) => name))
  return { ok: true, tools: tools.filter((tool) => allowed.has(tool.name)), toolChoice: choice.mode }
}
