import { isGiven, isList, isObject, type JsonObject, numberAt, objectAt, objectsOf, textAt } from '../json.ts'
import { checkHistory } from './check-history.ts'
import { type ClaudeModel, claudeModel } from './models.ts'

type Check = (body: JsonObject, model: ClaudeModel) => string | undefined

const parameters = new Set(
  (
    'cache_control container context_management inference_geo max_tokens mcp_servers messages metadata model ' +
    'output_config service_tier stop_sequences stream system temperature thinking tool_choice tools top_k top_p'
  ).split(' '),
)

const checks: readonly Check[] = [
  checkMaxTokens,
  checkSampling,
  checkThinking,
  checkOutputConfig,
  checkTools,
  checkToolChoice,
  checkSystem,
  checkHistory,
  checkCacheMarks,
]

/** The message of what the vendor would find wrong with a request first. The model is known to exist. */
export function checkRequest(body: JsonObject): string | undefined {
  for (const name of ['model', 'max_tokens', 'messages']) {
    if (body[name] === undefined) return `${name}: Field required`
  }
  const extra = Object.keys(body).find((name) => !parameters.has(name))
  if (extra !== undefined) return `${extra}: Extra inputs are not permitted`
  if (typeof body.model !== 'string') return 'model: Input should be a valid string'
  const model = claudeModel(body.model)
  if (model === undefined) return undefined
  for (const check of checks) {
    const message = check(body, model)
    if (message !== undefined) return message
  }
  return undefined
}

function checkMaxTokens(body: JsonObject, model: ClaudeModel): string | undefined {
  const bound = body.max_tokens
  if (typeof bound !== 'number' || !Number.isInteger(bound))
    return 'max_tokens: Input should be a valid integer'
  if (bound < 1) return 'max_tokens: Input should be greater than or equal to 1'
  if (bound <= model.outputTokensMax) return undefined
  return `max_tokens: ${bound} > ${model.outputTokensMax}, which is the maximum allowed number of output tokens for ${textAt(body, 'model')}`
}

function checkSampling(body: JsonObject, model: ClaudeModel): string | undefined {
  for (const name of ['temperature', 'top_p', 'top_k']) {
    const value = body[name]
    if (!isGiven(value)) continue
    if (typeof value !== 'number') return `${name}: Input should be a valid number`
    if (!model.takesSampling) return `\`${name}\` is deprecated for this model.`
    if (name !== 'top_k' && (value < 0 || value > 1)) return `${name}: range: 0..1`
  }
  if (isGiven(body.temperature) && isGiven(body.top_p)) {
    return '`temperature` and `top_p` cannot both be specified for this model. Please use only one.'
  }
  const stop = body.stop_sequences
  if (!isGiven(stop)) return undefined
  if (!isList(stop)) return 'stop_sequences: Input should be a valid list'
  const blank = stop.findIndex((sequence) => typeof sequence !== 'string' || sequence.trim() === '')
  return blank < 0 ? undefined : `stop_sequences.${blank}: each stop sequence must contain non-whitespace`
}

function checkThinking(body: JsonObject, model: ClaudeModel): string | undefined {
  const thinking = objectAt(body, 'thinking')
  if (!isGiven(body.thinking) || thinking.type === 'disabled') return undefined
  if (thinking.type === 'adaptive') {
    if (!model.takesAdaptiveThinking) return 'adaptive thinking is not supported on this model'
    return isGiven(thinking.budget_tokens)
      ? 'thinking.adaptive.budget_tokens: Extra inputs are not permitted'
      : undefined
  }
  if (thinking.type !== 'enabled') {
    return "thinking: Input tag found using 'type' does not match any of the expected tags: 'adaptive', 'disabled', 'enabled'"
  }
  if (!model.takesThinkingBudget) {
    return '"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive" and "output_config.effort" to control thinking behavior.'
  }
  const budget = numberAt(thinking, 'budget_tokens')
  if (budget === undefined) return 'thinking.enabled.budget_tokens: Field required'
  if (budget < 1024) return 'thinking.enabled.budget_tokens: Input should be greater than or equal to 1024'
  if (budget >= (numberAt(body, 'max_tokens') ?? 0)) {
    return '`max_tokens` must be greater than `thinking.budget_tokens`.'
  }
  if (isGiven(body.temperature) && body.temperature !== 1) {
    return '`temperature` may only be set to 1 when thinking is enabled.'
  }
  if (isGiven(body.top_k)) return '`top_k` must be unset when thinking is enabled.'
  const top = numberAt(body, 'top_p')
  return top !== undefined && top < 0.95
    ? '`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled.'
    : undefined
}

function checkOutputConfig(body: JsonObject, model: ClaudeModel): string | undefined {
  const config = objectAt(body, 'output_config')
  if (isGiven(config.effort)) {
    if (model.efforts.length === 0) return 'This model does not support the effort parameter.'
    if (!model.efforts.some((effort) => effort === config.effort)) {
      return `This model does not support this effort level. Supported levels: ${model.efforts.join(', ')}.`
    }
  }
  if (!isGiven(config.format)) return undefined
  const format = objectAt(config, 'format')
  if (format.type !== 'json_schema') return "output_config.format.type: Input should be 'json_schema'"
  if (!isObject(format.schema)) return 'output_config.format.schema: Field required'
  return openObject(format.schema)
    ? "output_config.format.schema: For 'object' type, 'additionalProperties' must be explicitly set to false"
    : undefined
}

function openObject(schema: JsonObject): boolean {
  if (schema.type === 'object' && schema.additionalProperties !== false) return true
  const inner = [
    ...Object.values(objectAt(schema, 'properties')),
    ...Object.values(objectAt(schema, '$defs')),
    schema.items,
  ]
  return [...inner.filter((part) => isObject(part)), ...objectsOf(schema.anyOf)].some(openObject)
}

function checkTools(body: JsonObject): string | undefined {
  if (!isGiven(body.tools)) return undefined
  if (!isList(body.tools)) return 'tools: Input should be a valid list'
  const names = new Set<string>()
  for (const [index, tool] of body.tools.entries()) {
    if (!isObject(tool)) return `tools.${index}: Input should be an object`
    if (isGiven(tool.type) && tool.type !== 'custom') {
      return `tools.${index}: Input tag found using 'type' does not match any of the simulated tags: 'custom'`
    }
    const name = textAt(tool, 'name')
    if (!/^[a-zA-Z0-9_-]{1,128}$/.test(name)) {
      return `tools.${index}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'`
    }
    if (names.has(name)) return 'tools: Tool names must be unique.'
    names.add(name)
    if (!isObject(tool.input_schema)) return `tools.${index}.custom.input_schema: Field required`
    if (tool.input_schema.type !== 'object')
      return `tools.${index}.custom.input_schema.type: Input should be 'object'`
    const known = [
      'name',
      'description',
      'input_schema',
      'type',
      'cache_control',
      'strict',
      'eager_input_streaming',
      'defer_loading',
      'allowed_callers',
      'input_examples',
    ]
    const extra = Object.keys(tool).find((key) => !known.includes(key))
    if (extra !== undefined) return `tools.${index}.custom.${extra}: Extra inputs are not permitted`
  }
  return undefined
}

function checkToolChoice(body: JsonObject): string | undefined {
  if (!isGiven(body.tool_choice)) return undefined
  const choice = objectAt(body, 'tool_choice')
  const tools = objectsOf(body.tools)
  if (!['auto', 'any', 'tool', 'none'].some((type) => type === choice.type)) {
    return "tool_choice: Input tag found using 'type' does not match any of the expected tags: 'auto', 'any', 'tool', 'none'"
  }
  if (tools.length === 0) return 'tool_choice: tool_choice may only be specified while providing tools.'
  if (choice.type === 'tool' && !tools.some((tool) => tool.name === choice.name)) {
    return `tool_choice: Tool '${textAt(choice, 'name')}' not found in provided tools`
  }
  const forces = choice.type === 'any' || choice.type === 'tool'
  const thinks = ['enabled', 'adaptive'].some((type) => type === objectAt(body, 'thinking').type)
  return forces && thinks ? 'Thinking may not be enabled when tool_choice forces tool use.' : undefined
}

function checkSystem(body: JsonObject): string | undefined {
  const { system } = body
  if (!isGiven(system) || typeof system === 'string') return undefined
  if (!isList(system)) return 'system: Input should be a valid string or list'
  for (const [index, block] of system.entries()) {
    if (!isObject(block) || block.type !== 'text') return `system.${index}.type: Input should be 'text'`
    if (textAt(block, 'text') === '') return 'system: text content blocks must be non-empty'
  }
  return undefined
}

function checkCacheMarks(body: JsonObject): string | undefined {
  const messages = objectsOf(body.messages).flatMap((message) => objectsOf(message.content))
  const blocks = [...objectsOf(body.tools), ...objectsOf(body.system), ...messages]
  const marks = blocks.map((block) => block.cache_control).filter(isGiven)
  const all = isGiven(body.cache_control) ? [...marks, body.cache_control] : marks
  if (all.length > 4) return `A maximum of 4 blocks with cache_control may be provided. Found ${all.length}.`
  let shortSeen = false
  for (const mark of all) {
    const ttl = isObject(mark) ? (mark.ttl ?? '5m') : undefined
    if (!isObject(mark) || mark.type !== 'ephemeral') return "cache_control.type: Input should be 'ephemeral'"
    if (ttl !== '5m' && ttl !== '1h') return "cache_control.ephemeral.ttl: Input should be '5m' or '1h'"
    if (ttl === '1h' && shortSeen)
      return "a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block."
    shortSeen ||= ttl === '5m'
  }
  const onEmpty = blocks.some(
    (block) => block.type === 'text' && block.text === '' && isGiven(block.cache_control),
  )
  return onEmpty ? 'cache_control cannot be set for empty text blocks' : undefined
}
