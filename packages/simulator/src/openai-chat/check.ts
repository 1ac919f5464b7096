import { isGiven, isList, type Json, type JsonObject, numberAt, objectsOf, textAt } from '../json.ts'
import { deploymentNotFound } from './azure.ts'
import { checkMessages } from './check-messages.ts'
import { checkResponseFormat, checkToolChoice, checkTools } from './check-schemas.ts'
import { type ChatDialect, openAiModel } from './dialects.ts'
import { invalid, type Problem } from './refusal.ts'

type Check = (body: JsonObject, dialect: ChatDialect) => Problem | undefined

/** Parameters of OpenAI's chat completions. */
const openAiParameters = new Set(
  (
    'audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens messages ' +
    'metadata modalities model moderation n parallel_tool_calls prediction presence_penalty prompt_cache_key ' +
    'prompt_cache_retention reasoning_effort response_format safety_identifier seed service_tier stop store stream ' +
    'stream_options temperature tool_choice tools top_logprobs top_p user verbosity web_search_options'
  ).split(' '),
)

/** Parameters of Mistral's chat completions, whose API takes nothing else. */
const mistralParameters = new Set(
  (
    'frequency_penalty guardrails max_tokens messages metadata model n parallel_tool_calls prediction ' +
    'presence_penalty prompt_cache_key prompt_mode random_seed reasoning_effort response_format safe_prompt stop ' +
    'stream temperature tool_choice tools top_p'
  ).split(' '),
)

/** The fields of each of Mistral's messages; OpenAI's further ones are refused there. */
const mistralMessageFields: Readonly<Record<string, readonly string[]>> = {
  system: ['role', 'content'],
  user: ['role', 'content'],
  assistant: ['role', 'content', 'tool_calls', 'prefix'],
  tool: ['role', 'content', 'tool_call_id', 'name'],
}

/** The path of the first field that the provider does not know, where it minds. */
export function unknownParameter(body: JsonObject, dialect: ChatDialect): readonly string[] | undefined {
  if (dialect.unknownParameters === 'ignored') return undefined
  const known = dialect.unknownParameters === 'openai' ? openAiParameters : mistralParameters
  const name = Object.keys(body).find((key) => !known.has(key))
  if (name !== undefined) return [name]
  if (dialect.unknownParameters === 'openai') return undefined
  for (const [index, message] of objectsOf(body.messages).entries()) {
    const role = textAt(message, 'role')
    const fields = mistralMessageFields[role]
    const field = fields && Object.keys(message).find((key) => !fields.includes(key))
    if (field !== undefined) return ['messages', String(index), role, field]
  }
  return undefined
}

/** Finds what the vendor would find wrong with a request first. */
export function checkRequest(body: JsonObject, dialect: ChatDialect): Problem | undefined {
  for (const check of checks) {
    const problem = check(body, dialect)
    if (problem !== undefined) return problem
  }
  return undefined
}

const checks: readonly Check[] = [
  checkModel,
  checkOutputBound,
  checkNumbers,
  checkReasoning,
  checkXaiReasoning,
  checkStop,
  checkDependents,
  checkTools,
  checkToolChoice,
  checkMessages,
  checkResponseFormat,
]

export function checkModel(body: JsonObject, dialect: ChatDialect): Problem | undefined {
  const { model } = body
  if (typeof model !== 'string' || model === '') return invalid('you must provide a model parameter')
  if (dialect.models.test(model)) return undefined
  if (dialect.provider === 'azure') return deploymentNotFound
  const message = `The model \`${model}\` does not exist or you do not have access to it.`
  return { ...invalid(message, null, 'model_not_found'), status: 404 }
}

function checkOutputBound(body: JsonObject, dialect: ChatDialect): Problem | undefined {
  const names = ['max_tokens', 'max_completion_tokens'].filter((name) => isGiven(body[name]))
  if (names.length === 2) {
    const message = "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported."
    return invalid(message, null, 'invalid_parameter_combination')
  }
  const name = names[0]
  if (name === undefined) return undefined
  const bound = body[name]
  if (typeof bound !== 'number' || !Number.isInteger(bound) || bound < 1) {
    const message = `Invalid '${name}': integer below minimum value. Expected a value >= 1.`
    return invalid(message, name, 'integer_below_min_value')
  }
  if (!dialect.openAiModels) return undefined
  const facts = openAiModel(textAt(body, 'model'))
  if (name === 'max_tokens' && facts.reasoningEfforts.length > 0) {
    const message =
      "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    return invalid(message, 'max_tokens', 'unsupported_parameter')
  }
  if (bound <= facts.outputTokensMax) return undefined
  const message =
    `${name} is too large: ${bound}. This model supports at most ${facts.outputTokensMax} completion tokens, ` +
    `whereas you provided ${bound}.`
  return invalid(message, name, 'invalid_value')
}

const ranges: readonly (readonly [name: string, least: number, most: number])[] = [
  ['temperature', 0, 2],
  ['top_p', 0, 1],
  ['presence_penalty', -2, 2],
  ['frequency_penalty', -2, 2],
  ['n', 1, 128],
  ['top_logprobs', 0, 20],
]

function checkNumbers(body: JsonObject): Problem | undefined {
  for (const [name, least, most] of ranges) {
    const value = body[name]
    if (!isGiven(value)) continue
    if (typeof value !== 'number') {
      return invalid(`Invalid type for '${name}': expected a decimal.`, name, 'invalid_type')
    }
    if (value < least || value > most) {
      const side = value < least ? 'below minimum' : 'above maximum'
      const message = `Invalid '${name}': decimal ${side} value. Expected a value between ${least} and ${most}.`
      return invalid(message, name, value < least ? 'decimal_below_min_value' : 'decimal_above_max_value')
    }
  }
  return undefined
}

/** xAI's reasoning models refuse what its references name as not supported. */
function checkXaiReasoning(body: JsonObject, dialect: ChatDialect): Problem | undefined {
  if (dialect.provider !== 'xai' || !/^grok-4/.test(textAt(body, 'model'))) return undefined
  const refused = ['presence_penalty', 'frequency_penalty', 'stop'].find((name) => isGiven(body[name]))
  return refused === undefined ? undefined : invalid(`Argument not supported on this model: ${refused}`)
}

function checkReasoning(body: JsonObject, dialect: ChatDialect): Problem | undefined {
  if (!dialect.openAiModels) return undefined
  const facts = openAiModel(textAt(body, 'model'))
  const effort = body.reasoning_effort
  if (facts.reasoningEfforts.length === 0) {
    return isGiven(effort) ? invalid('Unrecognized request argument supplied: reasoning_effort') : undefined
  }
  if (isGiven(effort) && !facts.reasoningEfforts.some((known) => known === effort)) {
    const message = `Unsupported value: 'reasoning_effort' does not support this value with this model. Supported values are: ${facts.reasoningEfforts.map((known) => `'${known}'`).join(', ')}.`
    return invalid(message, 'reasoning_effort', 'unsupported_value')
  }
  if ((isGiven(effort) ? effort : facts.defaultEffort) === 'none') return undefined
  // The newest models call tools there only without thinking.
  if (isGiven(body.tools) && /^gpt-5\.[4-9]/.test(textAt(body, 'model'))) {
    const message = `Function tools with reasoning_effort are not supported for ${textAt(body, 'model')} in /v1/chat/completions. To use function tools, use /v1/responses or set reasoning_effort to 'none'.`
    return invalid(message, 'reasoning_effort')
  }
  const refused = ['presence_penalty', 'frequency_penalty', 'logprobs', 'top_logprobs', 'logit_bias'].find(
    (name) => isGiven(body[name]) && body[name] !== 0 && body[name] !== false,
  )
  if (refused !== undefined) {
    const message = `Unsupported parameter: '${refused}' is not supported with this model.`
    return invalid(message, refused, 'unsupported_parameter')
  }
  for (const name of ['temperature', 'top_p']) {
    if (isGiven(body[name]) && body[name] !== 1) {
      const message = `Unsupported value: '${name}' does not support this value with this model. Only the default (1) value is supported.`
      return invalid(message, name, 'unsupported_value')
    }
  }
  return undefined
}

function checkStop(body: JsonObject): Problem | undefined {
  const stop = body.stop
  if (!isGiven(stop) || typeof stop === 'string') return undefined
  if (!isList(stop) || stop.some((sequence) => typeof sequence !== 'string')) {
    return invalid(
      "Invalid type for 'stop': expected a string or an array of strings.",
      'stop',
      'invalid_type',
    )
  }
  if (stop.length <= 4) return undefined
  const message = `Invalid 'stop': array too long. Expected an array with maximum length 4, but got an array with length ${stop.length} instead.`
  return invalid(message, 'stop', 'array_above_max_length')
}

/** Parameters that OpenAI takes only beside another one. */
const dependents: readonly (readonly [
  name: string,
  on: string,
  met: (value: Json | undefined) => boolean,
])[] = [
  ['stream_options', 'stream', (value) => value === true],
  ['top_logprobs', 'logprobs', (value) => value === true],
  ['metadata', 'store', (value) => value === true],
  ['tool_choice', 'tools', isGiven],
  ['parallel_tool_calls', 'tools', isGiven],
]

function checkDependents(body: JsonObject, dialect: ChatDialect): Problem | undefined {
  if (!dialect.openAiModels) return undefined
  for (const [name, on, met] of dependents) {
    if (!isGiven(body[name]) || met(body[on])) continue
    if (on === 'tools') {
      return invalid(
        `Invalid value for '${name}': '${name}' is only allowed when 'tools' are specified.`,
        name,
      )
    }
    return invalid(`The '${name}' parameter is only allowed when '${on}' is enabled.`, name)
  }
  return undefined
}

/** The caller's output bound, whichever of its two names it came by. */
export function outputBound(body: JsonObject): number | undefined {
  return numberAt(body, 'max_completion_tokens') ?? numberAt(body, 'max_tokens')
}
