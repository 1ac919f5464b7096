import { isGiven, isList, isObject, type JsonObject, numberAt, objectAt, objectsOf, textAt } from '../json.ts'
import { checkConversation } from './check-conversation.ts'
import type { BedrockModel } from './models.ts'

type Check = (body: JsonObject, model: BedrockModel) => string | undefined

const checks: readonly Check[] = [
  checkInference,
  checkOwnFields,
  checkTools,
  checkToolChoice,
  checkConversation,
  checkOutput,
]

/** The message of what the vendor would find wrong with a request first. */
export function checkRequest(body: JsonObject, model: BedrockModel): string | undefined {
  for (const check of checks) {
    const message = check(body, model)
    if (message !== undefined) return message
  }
  return undefined
}

function failedConstraint(value: string, at: string, constraint: string): string {
  return `1 validation error detected: Value '${value}' at '${at}' failed to satisfy constraint: Member must ${constraint}`
}

function checkInference(body: JsonObject, model: BedrockModel): string | undefined {
  const config = objectAt(body, 'inferenceConfig')
  for (const name of ['temperature', 'topP']) {
    const value = config[name]
    if (!isGiven(value)) continue
    if (typeof value !== 'number') return `The ${name} must be a number.`
    const at = `inferenceConfig.${name}`
    if (value > 1) return failedConstraint(String(value), at, 'have value less than or equal to 1')
    if (value < 0) return failedConstraint(String(value), at, 'have value greater than or equal to 0')
    if (model.claude?.takesSampling === false) return `\`${name}\` is deprecated for this model.`
  }
  if (model.claude && isGiven(config.temperature) && isGiven(config.topP)) {
    return '`temperature` and `top_p` cannot both be specified for this model. Please use only one.'
  }
  const maxTokens = numberAt(config, 'maxTokens')
  if (maxTokens !== undefined && maxTokens < 1) {
    return failedConstraint(
      String(maxTokens),
      'inferenceConfig.maxTokens',
      'have value greater than or equal to 1',
    )
  }
  if (maxTokens !== undefined && maxTokens > model.outputTokensMax) {
    return `The maximum tokens you requested exceeds the model limit of ${model.outputTokensMax}. Try again with a maximum tokens value that is lower than ${model.outputTokensMax}.`
  }
  const stop = config.stopSequences
  if (isList(stop) && stop.some((sequence) => typeof sequence !== 'string' || sequence.trim() === '')) {
    return 'stop_sequences: each stop sequence must contain non-whitespace'
  }
  return undefined
}

function checkOwnFields(body: JsonObject, model: BedrockModel): string | undefined {
  const own = objectAt(body, 'additionalModelRequestFields')
  const extraneous = Object.keys(own).find((name) => !model.ownFields.includes(name))
  if (extraneous !== undefined) {
    return `The model returned the following errors: Malformed input request: #: extraneous key [${extraneous}] is not permitted, please reformat your input and try again.`
  }
  const config = objectAt(body, 'inferenceConfig')
  const nova = objectAt(own, 'reasoningConfig')
  if (nova.maxReasoningEffort === 'high' && isGiven(config.maxTokens)) {
    return 'The model returned the following errors: maxTokens must not be set when maxReasoningEffort is high.'
  }
  return model.claude ? checkThinking(own, config, model.claude) : undefined
}

function checkThinking(
  own: JsonObject,
  config: JsonObject,
  claude: NonNullable<BedrockModel['claude']>,
): string | undefined {
  const thinking = objectAt(own, 'thinking')
  const effort = objectAt(own, 'output_config').effort
  if (isGiven(effort) && !claude.efforts.includes(String(effort)))
    return 'output_config.effort: Invalid value'
  if (thinking.type !== 'enabled' && thinking.type !== 'adaptive') return undefined
  if (thinking.type === 'adaptive' && !claude.takesAdaptiveThinking) {
    return 'adaptive thinking is not supported on this model'
  }
  if (thinking.type === 'enabled') {
    if (!claude.takesThinkingBudget) return '"thinking.type.enabled" is not supported for this model.'
    const budget = numberAt(thinking, 'budget_tokens') ?? 0
    if (budget < 1024) return 'thinking.enabled.budget_tokens: Input should be greater than or equal to 1024'
    const maxTokens = numberAt(config, 'maxTokens')
    if (maxTokens !== undefined && maxTokens <= budget) {
      return '`max_tokens` must be greater than `thinking.budget_tokens`.'
    }
  }
  if (isGiven(config.temperature) && config.temperature !== 1) {
    return '`temperature` may only be set to 1 when thinking is enabled.'
  }
  return isGiven(own.top_k) ? '`top_k` must be unset when thinking is enabled.' : undefined
}

function checkTools(body: JsonObject, model: BedrockModel): string | undefined {
  const { toolConfig } = body
  if (!isGiven(toolConfig)) return undefined
  const tools = objectsOf(objectAt(body, 'toolConfig').tools)
  if (tools.length === 0) return 'toolConfig.tools must have at least 1 item.'
  const names = new Set<string>()
  for (const [index, tool] of tools.entries()) {
    if (isObject(tool.cachePoint)) {
      if (!model.takesToolCachePoints) return 'This model does not support cachePoint in toolConfig.tools.'
      continue
    }
    const spec = objectAt(tool, 'toolSpec')
    const at = `toolConfig.tools.${index}.member.toolSpec`
    const name = textAt(spec, 'name')
    if (!/^[a-zA-Z0-9_-]{1,64}$/.test(name)) {
      return failedConstraint(name, `${at}.name`, 'satisfy regular expression pattern: [a-zA-Z0-9_-]+')
    }
    if (names.has(name)) return `The toolConfig.tools contains the duplicate tool name ${name}.`
    names.add(name)
    if (spec.description === '') {
      return failedConstraint('', `${at}.description`, 'have length greater than or equal to 1')
    }
    if (textAt(objectAt(objectAt(spec, 'inputSchema'), 'json'), 'type') !== 'object') {
      return `The value at toolConfig.tools.${index}.toolSpec.inputSchema.json.type must be one of the following: object.`
    }
  }
  return undefined
}

function checkToolChoice(body: JsonObject, model: BedrockModel): string | undefined {
  const config = objectAt(body, 'toolConfig')
  if (!isGiven(config.toolChoice)) return undefined
  const [kind] = Object.keys(objectAt(config, 'toolChoice'))
  if (kind === undefined) return 'toolConfig.toolChoice must set one of the following keys: auto, any, tool.'
  if (!model.toolChoices.includes(kind)) {
    return `This model doesn't support the toolConfig.toolChoice.${kind} field. Remove toolConfig.toolChoice.${kind} and try again.`
  }
  const forced = textAt(objectAt(objectAt(config, 'toolChoice'), 'tool'), 'name')
  const names = objectsOf(config.tools).map((tool) => textAt(objectAt(tool, 'toolSpec'), 'name'))
  if (kind === 'tool' && !names.includes(forced)) {
    return `The toolConfig.toolChoice.tool.name ${forced} is not one of the tools.`
  }
  const thinks = objectAt(objectAt(body, 'additionalModelRequestFields'), 'thinking').type === 'enabled'
  return thinks && kind !== 'auto'
    ? 'Thinking may not be enabled when tool_choice forces tool use.'
    : undefined
}

function checkOutput(body: JsonObject): string | undefined {
  const format = objectAt(objectAt(body, 'outputConfig'), 'textFormat')
  if (!isGiven(body.outputConfig)) return undefined
  const { schema } = objectAt(objectAt(format, 'structure'), 'jsonSchema')
  if (format.type !== 'json_schema' || typeof schema !== 'string') {
    return 'outputConfig.textFormat.structure.jsonSchema.schema must be a string.'
  }
  try {
    return isObject(JSON.parse(schema)) ? undefined : 'The JSON schema must be an object.'
  } catch {
    return 'The JSON schema is not valid JSON.'
  }
}
