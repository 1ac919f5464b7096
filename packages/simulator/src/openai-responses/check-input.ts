import { isList, isObject, type Json, type JsonObject, objectsOf, textAt } from '../json.ts'
import { invalid, type Problem } from '../openai-chat/refusal.ts'
import { isEncryptedHere } from './reasoning.ts'

const roles = ['assistant', 'system', 'developer', 'user']
const callIdCharactersMax = 64

export function checkInput(body: JsonObject): Problem | undefined {
  const { input } = body
  if (typeof input === 'string') return undefined
  if (!isList(input)) {
    return invalid("Missing required parameter: 'input'.", 'input', 'missing_required_parameter')
  }
  if (input.length === 0) {
    return invalid(
      "Invalid 'input': empty array. Expected an array with minimum length 1.",
      'input',
      'empty_array',
    )
  }
  for (const [index, item] of input.entries()) {
    const problem = checkItem(item, `input[${index}]`)
    if (problem !== undefined) return problem
  }
  return checkPairing(objectsOf(input))
}

function missing(param: string): Problem {
  return invalid(`Missing required parameter: '${param}'.`, param, 'missing_required_parameter')
}

function checkItem(item: Json, at: string): Problem | undefined {
  if (!isObject(item)) return invalid(`Invalid type for '${at}': expected an object.`, at, 'invalid_type')
  switch (item.type ?? 'message') {
    case 'message':
      return checkMessage(item, at)
    case 'function_call':
      for (const name of ['call_id', 'name']) if (textAt(item, name) === '') return missing(`${at}.${name}`)
      if (typeof item.arguments !== 'string') return missing(`${at}.arguments`)
      return checkCallId(item, at)
    case 'function_call_output':
      if (textAt(item, 'call_id') === '') return missing(`${at}.call_id`)
      if (typeof item.output !== 'string' && !isList(item.output)) return missing(`${at}.output`)
      return checkCallId(item, at)
    case 'reasoning':
      if (!isList(item.summary)) return missing(`${at}.summary`)
      if (isEncryptedHere(item.encrypted_content)) return undefined
      return invalid(
        `The encrypted content for item ${textAt(item, 'id')} could not be verified. Reason: Encrypted content could not be decrypted or parsed.`,
        null,
        'invalid_encrypted_content',
      )
    default:
      return invalid(`Invalid value: '${String(item.type)}'.`, `${at}.type`, 'invalid_value')
  }
}

function checkCallId(item: JsonObject, at: string): Problem | undefined {
  const { length } = textAt(item, 'call_id')
  if (length <= callIdCharactersMax) return undefined
  const message = `Invalid '${at}.call_id': string too long. Expected a string with maximum length ${callIdCharactersMax}, but got a string with length ${length} instead.`
  return invalid(message, `${at}.call_id`, 'string_above_max_length')
}

function checkMessage(item: JsonObject, at: string): Problem | undefined {
  const role = textAt(item, 'role')
  if (!roles.includes(role)) {
    const supported = roles.map((name) => `'${name}'`).join(', ')
    return invalid(
      `Invalid value: '${role}'. Supported values are: ${supported}.`,
      `${at}.role`,
      'invalid_value',
    )
  }
  const { content } = item
  if (typeof content === 'string') return undefined
  if (!isList(content)) return missing(`${at}.content`)
  const known =
    role === 'assistant' ? ['output_text', 'refusal'] : ['input_text', 'input_image', 'input_file']
  const wrong = content.findIndex((part) => !isObject(part) || !known.includes(textAt(part, 'type')))
  if (wrong === -1) return undefined
  const supported = known.map((name) => `'${name}'`).join(', ')
  return invalid(
    `Invalid value. Supported values are: ${supported}.`,
    `${at}.content[${wrong}]`,
    'invalid_value',
  )
}

/** Every call has its output somewhere behind it, and every output its call before it. */
function checkPairing(items: readonly JsonObject[]): Problem | undefined {
  const open = new Set<string>()
  for (const item of items) {
    const id = textAt(item, 'call_id')
    if (item.type === 'function_call') open.add(id)
    if (item.type === 'function_call_output' && !open.delete(id)) {
      return invalid(`No tool call found for function call output with call_id ${id}.`, 'input')
    }
  }
  const [unanswered] = open
  return unanswered === undefined
    ? undefined
    : invalid(`No tool output found for function call ${unanswered}.`, 'input')
}
