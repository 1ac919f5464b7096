import { isGiven, isList, isObject, type JsonObject, objectAt, objectsOf, textAt } from '../json.ts'
import type { ChatDialect } from './dialects.ts'
import { invalid, type Problem } from './refusal.ts'

export function checkTools(body: JsonObject, dialect: ChatDialect): Problem | undefined {
  const { tools } = body
  if (!isGiven(tools)) return undefined
  if (!isList(tools) || (tools.length === 0 && dialect.openAiModels)) {
    const message = "Invalid 'tools': empty array. Expected an array with minimum length 1."
    return invalid(message, 'tools', 'empty_array')
  }
  for (const [index, tool] of tools.entries()) {
    const at = `tools[${index}]`
    if (!isObject(tool) || tool.type !== 'function') {
      return invalid(`Invalid value: '${at}.type' must be 'function'.`, `${at}.type`, 'invalid_value')
    }
    const definition = objectAt(tool, 'function')
    const name = textAt(definition, 'name')
    if (name === '')
      return invalid(
        `Missing required parameter: '${at}.function.name'.`,
        `${at}.function.name`,
        'missing_required_parameter',
      )
    if (!/^[a-zA-Z0-9_-]{1,64}$/.test(name)) {
      const message = `Invalid '${at}.function.name': string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'.`
      return invalid(message, `${at}.function.name`, 'invalid_value')
    }
    const problem = checkToolSchema(definition, at)
    if (problem !== undefined) return problem
  }
  return undefined
}

function checkToolSchema(definition: JsonObject, at: string): Problem | undefined {
  if (!isGiven(definition.parameters)) return undefined
  const schema = objectAt(definition, 'parameters')
  const param = `${at}.function.parameters`
  if (schema.type !== 'object') {
    const message = `Invalid schema for function '${textAt(definition, 'name')}': schema must be a JSON Schema of 'type: "object"'.`
    return invalid(message, param, 'invalid_function_parameters')
  }
  const fault = definition.strict === true ? strictFault(schema, '()') : undefined
  if (fault === undefined) return undefined
  const message = `Invalid schema for function '${textAt(definition, 'name')}': ${fault}`
  return invalid(message, param, 'invalid_function_parameters')
}

/** Strict mode wants every object closed and every property required. */
export function strictFault(schema: JsonObject, context: string): string | undefined {
  if (schema.type === 'object' || schema.properties !== undefined) {
    if (schema.additionalProperties !== false) {
      return `In context=${context}, 'additionalProperties' is required to be supplied and to be false.`
    }
    const required = isList(schema.required) ? schema.required : []
    const missing = Object.keys(objectAt(schema, 'properties')).find((name) => !required.includes(name))
    if (missing !== undefined) {
      return `In context=${context}, 'required' is required to be supplied and to be an array including every key in properties. Missing '${missing}'.`
    }
  }
  const inner = [
    ...Object.entries(objectAt(schema, 'properties')),
    ...Object.entries(objectAt(schema, '$defs')),
    ['items', schema.items] as const,
    ...objectsOf(schema.anyOf).map((choice) => ['anyOf', choice] as const),
  ]
  for (const [name, part] of inner) {
    const fault = isObject(part) ? strictFault(part, `${context}.${name}`) : undefined
    if (fault !== undefined) return fault
  }
  return undefined
}

export function checkToolChoice(body: JsonObject, dialect: ChatDialect): Problem | undefined {
  const choice = body.tool_choice
  if (!isGiven(choice)) return undefined
  if (typeof choice === 'string') {
    const known = ['none', 'auto', 'required', ...(dialect.provider === 'mistral' ? ['any'] : [])]
    if (known.includes(choice)) return undefined
    const message = `Invalid value: '${choice}'. Supported values are: ${known.map((word) => `'${word}'`).join(', ')}.`
    return invalid(message, 'tool_choice', 'invalid_value')
  }
  const name = isObject(choice) ? textAt(objectAt(choice, 'function'), 'name') : ''
  if (objectsOf(body.tools).some((tool) => objectAt(tool, 'function').name === name)) return undefined
  return invalid(
    `Invalid value for 'tool_choice': Tool choice '${name}' not found in 'tools' parameter.`,
    'tool_choice',
  )
}

export function checkResponseFormat(body: JsonObject, dialect: ChatDialect): Problem | undefined {
  if (!isGiven(body.response_format)) return undefined
  const format = objectAt(body, 'response_format')
  if (format.type === 'text') return undefined
  if (format.type === 'json_object') {
    const minds = ['openai', 'deepseek', 'groq'].includes(dialect.provider)
    if (!minds || /json/i.test(JSON.stringify(body.messages))) return undefined
    const message =
      "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'."
    return invalid(message, 'messages')
  }
  if (format.type !== 'json_schema') {
    const message =
      "Invalid value: 'response_format.type'. Supported values are: 'json_object', 'json_schema', and 'text'."
    return invalid(message, 'response_format.type', 'invalid_value')
  }
  const definition = objectAt(format, 'json_schema')
  if (!/^[a-zA-Z0-9_-]{1,64}$/.test(textAt(definition, 'name'))) {
    const message = "Missing required parameter: 'response_format.json_schema.name'."
    return invalid(message, 'response_format.json_schema.name', 'missing_required_parameter')
  }
  if (!isObject(definition.schema)) {
    const message = "Missing required parameter: 'response_format.json_schema.schema'."
    return invalid(message, 'response_format.json_schema.schema', 'missing_required_parameter')
  }
  const fault = definition.strict === true ? strictFault(definition.schema, '()') : undefined
  if (fault === undefined) return undefined
  return invalid(
    `Invalid schema for response_format '${textAt(definition, 'name')}': ${fault}`,
    'response_format',
  )
}
