import type { Ask, Json, Message, ReasoningRequest, ResponseFormat, Tool } from '../../ask.ts'
import type { ParseOptions } from '../shape.ts'
import type { ChatParameters } from './schema.ts'

/** Sampling and log-probability parameters that mean the same in every protocol that has them. */
export const EXTRAS = [
  'frequency_penalty',
  'presence_penalty',
  'repetition_penalty',
  'min_p',
  'top_a',
  'seed',
  'logit_bias',
  'logprobs',
  'top_logprobs',
  'verbosity',
] as const satisfies readonly (keyof ChatParameters)[]

/** Turns valid parameters, with the messages and tools read already, into the engine's form. */
export function toAsk(
  parameters: ChatParameters,
  messages: readonly Message[],
  chosen: { readonly tools: readonly Tool[]; readonly toolChoice?: Ask['toolChoice'] },
  options: ParseOptions,
): Ask {
  const maxOutputTokens = smallest(parameters.max_tokens, parameters.max_completion_tokens)
  const reasoning = toReasoning(parameters)
  const responseFormat = toResponseFormat(parameters.response_format)
  const endUser = parameters.safety_identifier ?? parameters.user
  const stop = typeof parameters.stop === 'string' ? [parameters.stop] : (parameters.stop ?? [])
  const stream = parameters.stream === true
  return {
    messages,
    tools: chosen.tools,
    ...(chosen.toolChoice === undefined ? {} : { toolChoice: chosen.toolChoice }),
    ...(typeof parameters.parallel_tool_calls === 'boolean'
      ? { parallelToolCalls: parameters.parallel_tool_calls }
      : {}),
    ...(responseFormat ? { responseFormat } : {}),
    ...(reasoning ? { reasoning } : {}),
    ...(maxOutputTokens === undefined ? {} : { maxOutputTokens }),
    ...(typeof parameters.temperature === 'number' ? { temperature: parameters.temperature } : {}),
    ...(typeof parameters.top_p === 'number' ? { topP: parameters.top_p } : {}),
    ...(typeof parameters.top_k === 'number' ? { topK: parameters.top_k } : {}),
    stop,
    choices: parameters.n ?? 1,
    extras: toExtras(parameters, options),
    ...(typeof endUser === 'string' ? { endUserHmac: options.pseudonym('end_user', endUser) } : {}),
    stream,
    usageChunk:
      stream && (parameters.stream_options?.include_usage === true || parameters.usage?.include === true),
  }
}

/** Both are bounds on the same thing, so the tighter one holds. */
function smallest(...bounds: readonly (number | null | undefined)[]): number | undefined {
  const given = bounds.filter((bound) => typeof bound === 'number')
  return given.length === 0 ? undefined : Math.min(...given)
}

/** `reasoning` is the fuller form, so it wins over `reasoning_effort` and `include_reasoning`. */
function toReasoning(parameters: ChatParameters): ReasoningRequest | undefined {
  const asked = parameters.reasoning
  const maxTokens = asked?.max_tokens ?? undefined
  let effort = asked?.effort ?? parameters.reasoning_effort ?? undefined
  if (asked?.enabled === false) effort = 'none'
  if (asked?.enabled === true && effort === undefined && maxTokens === undefined) effort = 'medium'
  const exclude = asked?.exclude ?? (parameters.include_reasoning === false ? true : undefined)
  if (effort === undefined && maxTokens === undefined && exclude === undefined) return undefined
  return {
    ...(effort === undefined ? {} : { effort }),
    ...(maxTokens === undefined ? {} : { maxTokens }),
    ...(exclude === undefined ? {} : { exclude }),
  }
}

function toResponseFormat(format: ChatParameters['response_format']): ResponseFormat | undefined {
  if (format?.type !== 'json_schema') return format ?? undefined
  const { name, description, schema, strict } = format.json_schema
  return {
    type: 'json_schema',
    name,
    ...(typeof description === 'string' ? { description } : {}),
    schema,
    ...(typeof strict === 'boolean' ? { strict } : {}),
  }
}

function toExtras(parameters: ChatParameters, options: ParseOptions): Ask['extras'] {
  const extras: Record<string, Json> = {}
  for (const name of EXTRAS) {
    const value = parameters[name]
    if (value !== undefined && value !== null) extras[name] = value
  }
  const cacheKey = parameters.prompt_cache_key
  if (typeof cacheKey === 'string') extras.prompt_cache_key = options.pseudonym('cache_key', cacheKey)
  return extras
}
