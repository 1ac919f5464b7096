import type { Ask, Json, Message, ReasoningRequest, ResponseFormat, Tool, ToolChoice } from '../../ask.ts'
import type { ParseOptions } from '../shape.ts'
import type { ToolWish } from '../tool-choice.ts'
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

/** Which tools a response wants. */
export function toolWish(choice: ResponsesParameters['tool_choice']): ToolWish | undefined {
  if (typeof choice !== 'object' || choice === null) return choice ?? undefined
  if (choice.type === 'function') return { type: 'one', name: choice.name, nameAt: ['name'] }
  return {
    type: 'some',
    mode: choice.mode,
    names: choice.tools.map(({ name }) => name),
    nameAt: (index) => ['tools', index, 'name'],
  }
}
