import { isGiven, isList, isObject, type JsonObject, numberAt, objectAt, objectsOf, textAt } from '../json.ts'
import { strictFault } from '../openai-chat/check-schemas.ts'
import { openAiModel } from '../openai-chat/dialects.ts'
import { invalid, type Problem } from '../openai-chat/refusal.ts'
import { checkInput } from './check-input.ts'

/** Parameters of OpenAI's Responses. */
const parameters = new Set(
  (
    'background context_management conversation include input instructions max_output_tokens max_tool_calls metadata ' +
    'model parallel_tool_calls previous_response_id prompt prompt_cache_key prompt_cache_retention reasoning ' +
    'safety_identifier service_tier store stream stream_options temperature text tool_choice tools top_logprobs top_p ' +
    'truncation user'
  ).split(' '),
)

/** Finds what OpenAI would find wrong with a request first. The model is known to be one of its own. */
export function checkResponsesRequest(body: JsonObject): Problem | undefined {
  const unknown = Object.keys(body).find((name) => !parameters.has(name))
  if (unknown !== undefined) {
    return invalid(`Unknown parameter: '${unknown}'.`, unknown, 'unknown_parameter')
  }
  for (const check of [
    checkInput,
    checkOutputBound,
    checkSampling,
    checkReasoning,
    checkTools,
    checkFormat,
  ]) {
    const problem = check(body)
    if (problem !== undefined) return problem
  }
  return undefined
}

const outputTokensMin = 16

function checkOutputBound(body: JsonObject): Problem | undefined {
  const name = 'max_output_tokens'
  if (!isGiven(body[name])) return undefined
  const bound = numberAt(body, name)
  if (bound === undefined || !Number.isInteger(bound) || bound < outputTokensMin) {
    const message = `Invalid '${name}': integer below minimum value. Expected a value >= ${outputTokensMin}, but got ${bound ?? 'something else'} instead.`
    return invalid(message, name, 'integer_below_min_value')
  }
  const { outputTokensMax } = openAiModel(textAt(body, 'model'))
  if (bound <= outputTokensMax) return undefined
  const message = `Invalid '${name}': integer above maximum value. Expected a value <= ${outputTokensMax}, but got ${bound} instead.`
  return invalid(message, name, 'integer_above_max_value')
}

function checkSampling(body: JsonObject): Problem | undefined {
  for (const [name, most] of [
    ['temperature', 2],
    ['top_p', 1],
    ['top_logprobs', 20],
  ] as const) {
    const value = body[name]
    if (!isGiven(value)) continue
    if (typeof value !== 'number' || value < 0 || value > most) {
      const message = `Invalid '${name}': expected a value between 0 and ${most}.`
      return invalid(message, name, 'decimal_above_max_value')
    }
    if (openAiModel(textAt(body, 'model')).reasoningEfforts.length > 0) {
      const message = `Unsupported parameter: '${name}' is not supported with this model.`
      return invalid(message, name, 'unsupported_parameter')
    }
  }
  return undefined
}

function checkReasoning(body: JsonObject): Problem | undefined {
  const { reasoningEfforts } = openAiModel(textAt(body, 'model'))
  const reasoning = objectAt(body, 'reasoning')
  const include = isList(body.include) ? body.include : []
  if (reasoningEfforts.length === 0) {
    if (include.includes('reasoning.encrypted_content')) {
      return invalid('Encrypted content is not supported with this model.', 'include')
    }
    if (!isGiven(reasoning.effort) && !isGiven(reasoning.summary)) return undefined
    const name = isGiven(reasoning.effort) ? 'reasoning.effort' : 'reasoning.summary'
    const message = `Unsupported parameter: '${name}' is not supported with this model.`
    return invalid(message, name, 'unsupported_parameter')
  }
  if (isGiven(reasoning.effort) && !reasoningEfforts.some((known) => known === reasoning.effort)) {
    const message = `Unsupported value: '${String(reasoning.effort)}' is not supported with the '${textAt(body, 'model')}' model. Supported values are: ${reasoningEfforts.map((known) => `'${known}'`).join(', ')}.`
    return invalid(message, 'reasoning.effort', 'unsupported_value')
  }
  const summaries = ['auto', 'concise', 'detailed']
  if (!isGiven(reasoning.summary) || summaries.some((known) => known === reasoning.summary)) return undefined
  const message = `Invalid value: '${String(reasoning.summary)}'. Supported values are: 'concise', 'detailed', and 'auto'.`
  return invalid(message, 'reasoning.summary', 'invalid_value')
}

function checkTools(body: JsonObject): Problem | undefined {
  const tools = objectsOf(body.tools)
  for (const [index, tool] of tools.entries()) {
    const at = `tools[${index}]`
    if (tool.type !== 'function') {
      return invalid(`The simulator has no hosted tools.`, `${at}.type`, 'invalid_value')
    }
    const name = textAt(tool, 'name')
    if (name === '') {
      const param = `${at}.name`
      return invalid(`Missing required parameter: '${param}'.`, param, 'missing_required_parameter')
    }
    if (!/^[a-zA-Z0-9_-]{1,64}$/.test(name)) {
      const message = `Invalid '${at}.name': string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'.`
      return invalid(message, `${at}.name`, 'invalid_value')
    }
    const fault = schemaFault(tool)
    if (fault !== undefined) {
      const message = `Invalid schema for function '${name}': ${fault}`
      return invalid(message, `${at}.parameters`, 'invalid_function_parameters')
    }
  }
  return checkToolChoice(body, tools)
}

/** A tool that does not say is made strict as far as its schema allows; one that says so must keep to it. */
function schemaFault(tool: JsonObject): string | undefined {
  if (!isObject(tool.parameters)) return undefined
  if (tool.parameters.type !== 'object') return `schema must be a JSON Schema of 'type: "object"'.`
  return tool.strict === true ? strictFault(tool.parameters, '()') : undefined
}

function checkToolChoice(body: JsonObject, tools: readonly JsonObject[]): Problem | undefined {
  const choice = body.tool_choice
  if (!isGiven(choice) || choice === 'auto' || choice === 'none') return undefined
  if (choice === 'required') {
    return tools.length > 0
      ? undefined
      : invalid("Tool choice 'required' must be specified with 'tools' parameter.", 'tool_choice')
  }
  const name = isObject(choice) ? textAt(choice, 'name') : ''
  if (tools.some((tool) => tool.name === name)) return undefined
  return invalid(`Tool choice '${name}' not found in 'tools' parameter.`, 'tool_choice')
}

function checkFormat(body: JsonObject): Problem | undefined {
  const format = objectAt(objectAt(body, 'text'), 'format')
  if (!isGiven(format.type) || format.type === 'text') return undefined
  if (format.type === 'json_object') {
    if (/json/i.test(JSON.stringify(body.input))) return undefined
    const message =
      "Response input messages must contain the word 'json' in some form to use 'text.format' of type 'json_object'."
    return invalid(message, 'input')
  }
  const fault =
    format.strict === true && isObject(format.schema) ? strictFault(format.schema, '()') : undefined
  if (isObject(format.schema) && textAt(format, 'name') !== '' && fault === undefined) return undefined
  if (fault === undefined) {
    const message = "Missing required parameter: 'text.format.schema'."
    return invalid(message, 'text.format.schema', 'missing_required_parameter')
  }
  const message = `Invalid schema for response_format '${textAt(format, 'name')}': ${fault}`
  return invalid(message, 'text.format.schema', 'invalid_json_schema')
}
