import {
  isGiven,
  isList,
  isObject,
  type Json,
  type JsonObject,
  numberAt,
  objectAt,
  objectsOf,
  textAt,
} from '../json.ts'
import type { CommandModel } from './models.ts'

const parameters = new Set(
  (
    'model messages tools strict_tools documents citation_options response_format safety_mode max_tokens ' +
    'stop_sequences temperature seed frequency_penalty presence_penalty k p logprobs tool_choice thinking ' +
    'priority stream'
  ).split(' '),
)

const stopSequencesMax = 5

/** The bounds of the numbers: https://docs.cohere.com/reference/chat */
const numbers: Readonly<Record<string, readonly [min: number, max: number]>> = {
  max_tokens: [1, Number.MAX_SAFE_INTEGER],
  temperature: [0, Number.MAX_SAFE_INTEGER],
  p: [0.01, 0.99],
  k: [0, 500],
  frequency_penalty: [0, 1],
  presence_penalty: [0, 1],
}

type Check = (body: JsonObject, model: CommandModel) => string | undefined

const checks: readonly Check[] = [
  checkNumbers,
  checkStop,
  checkFormat,
  checkTools,
  checkThinking,
  checkMessages,
]

/** The message of what the vendor would find wrong with a chat request first. */
export function checkChat(body: JsonObject, model: CommandModel): string | undefined {
  const extra = Object.keys(body).find((name) => !parameters.has(name))
  if (extra !== undefined) return `invalid request: unknown field: parameter '${extra}' is not a valid field`
  for (const check of checks) {
    const message = check(body, model)
    if (message !== undefined) return `invalid request: ${message}`
  }
  return undefined
}

function checkNumbers(body: JsonObject): string | undefined {
  for (const [name, [min, max]] of Object.entries(numbers)) {
    const value = body[name]
    if (!isGiven(value)) continue
    if (typeof value !== 'number') return `${name} must be a number`
    if (value < min || value > max) return `${name} must be between ${min} and ${max}`
  }
  return undefined
}

function checkStop(body: JsonObject): string | undefined {
  const stop = body.stop_sequences
  if (!isGiven(stop)) return undefined
  if (!isList(stop) || stop.some((sequence) => typeof sequence !== 'string')) {
    return 'stop_sequences must be a list of strings'
  }
  return stop.length > stopSequencesMax ? `at most ${stopSequencesMax} stop_sequences are allowed` : undefined
}

function checkFormat(body: JsonObject): string | undefined {
  if (!isGiven(body.response_format)) return undefined
  const format = objectAt(body, 'response_format')
  if (format.type === 'text') return undefined
  if (format.type !== 'json_object') return 'response_format.type must be one of text, json_object'
  if (objectsOf(body.tools).length > 0) return 'response_format is not supported with tools'
  if (isGiven(format.json_schema) && objectAt(format, 'json_schema').type !== 'object') {
    return 'response_format.json_schema must have "object" as its top level type'
  }
  return undefined
}

function checkTools(body: JsonObject): string | undefined {
  const { tools } = body
  const choice = body.tool_choice
  if (isGiven(tools) && !isList(tools)) return 'tools must be a list'
  for (const tool of objectsOf(tools)) {
    const name = textAt(objectAt(tool, 'function'), 'name')
    if (tool.type !== 'function') return 'tools.type must be function'
    if (!/^[a-zA-Z0-9_-]{1,64}$/.test(name)) return 'tool names can only contain a-z, A-Z, 0-9, _ and -'
    const required = objectAt(objectAt(tool, 'function'), 'parameters').required
    if (body.strict_tools === true && !(isList(required) && required.length > 0)) {
      return 'strict_tools requires at least one required parameter for each tool'
    }
  }
  if (!isGiven(choice)) return undefined
  if (choice !== 'REQUIRED' && choice !== 'NONE') return 'tool_choice must be one of REQUIRED, NONE'
  return objectsOf(tools).length === 0 ? 'tool_choice can only be used with tools' : undefined
}

function checkThinking(body: JsonObject, model: CommandModel): string | undefined {
  if (!isGiven(body.thinking)) return undefined
  const thinking = objectAt(body, 'thinking')
  if (thinking.type !== 'enabled' && thinking.type !== 'disabled') {
    return 'thinking.type must be one of enabled, disabled'
  }
  if (thinking.type === 'enabled' && !model.thinks) return 'thinking is not supported by this model'
  const budget = thinking.token_budget
  return isGiven(budget) && (numberAt(thinking, 'token_budget') ?? 0) < 1
    ? 'thinking.token_budget must be a positive integer'
    : undefined
}

function checkMessages(body: JsonObject, model: CommandModel): string | undefined {
  const { messages } = body
  if (!isList(messages) || messages.length === 0) return 'messages must have at least one message'
  const called = new Set<string>()
  for (const [index, message] of messages.entries()) {
    const at = `messages[${index}]`
    if (!isObject(message)) return `${at} must be an object`
    const fault = checkMessage(message, at, model, called)
    if (fault !== undefined) return fault
    for (const call of objectsOf(message.tool_calls)) called.add(textAt(call, 'id'))
  }
  return undefined
}

function checkMessage(
  message: JsonObject,
  at: string,
  model: CommandModel,
  called: ReadonlySet<string>,
): string | undefined {
  switch (message.role) {
    case 'system':
      return checkContent(message.content, at, ['text', 'document'])
    case 'user':
      return checkContent(message.content, at, model.sees ? ['text', 'image_url'] : ['text'])
    case 'assistant':
      if (!isGiven(message.content) && objectsOf(message.tool_calls).length > 0) return undefined
      return checkContent(message.content, at, model.thinks ? ['text', 'thinking'] : ['text'])
    case 'tool':
      if (!called.has(textAt(message, 'tool_call_id'))) {
        return `${at}: the tool_call_id does not match a previous tool call`
      }
      return checkContent(message.content, at, ['text', 'document'])
    default:
      return `${at}.role must be one of user, assistant, system, tool`
  }
}

function checkContent(content: Json | undefined, at: string, types: readonly string[]): string | undefined {
  if (typeof content === 'string') return undefined
  if (!isList(content)) return `${at}.content must be a string or a list`
  const foreign = objectsOf(content).some((block) => !types.includes(textAt(block, 'type')))
  return foreign || objectsOf(content).length < content.length
    ? `${at}.content can only have blocks of type ${types.join(', ')} for this model`
    : undefined
}
