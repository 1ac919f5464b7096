import { isGiven, isList, type JsonObject, objectAt, objectsOf, textAt } from '../json.ts'
import type { AnswerFormat, Prompt, ToolUse } from '../prompt.ts'
import { type PromptPart, textPart } from '../prompt-cache.ts'
import { seedOf } from '../seed.ts'
import { outputBound } from './check.ts'
import { type ChatDialect, openAiModel } from './dialects.ts'

/** What a message costs beside its text. */
export const messageTokens = 4
export const imageTokens = { low: 85, high: 765 } as const
export const fileTokens = 1_500
const audioTokens = 500
export const reasoningTokensByEffort: Readonly<Record<string, number>> = {
  none: 0,
  minimal: 16,
  low: 64,
  medium: 128,
  high: 256,
  xhigh: 512,
  max: 512,
}
/** The bound where neither the caller nor the model names one. */
const outputTokensMaxDefault = 65_536

/** Turns a request that was checked into a prompt. */
export function readPrompt(body: JsonObject, dialect: ChatDialect): Prompt {
  const messages = objectsOf(body.messages)
  const lastUser = messages.findLastIndex((message) => message.role === 'user')
  const lastUserText = lastUser < 0 ? '' : textOf(messages[lastUser] ?? {})
  const system = messages.filter((message) => message.role === 'system' || message.role === 'developer')
  const toolsAnswered = messages.slice(lastUser + 1).filter((message) => message.role === 'tool').length
  const model = textAt(body, 'model')
  return {
    model,
    stream: body.stream === true,
    parts: [...toolParts(body), ...messages.flatMap(messageParts)],
    lastUserText,
    instructions: [...system.map(textOf), lastUserText].join('\n'),
    prefill: '',
    toolResults: toolsAnswered,
    tools: objectsOf(body.tools).map((tool) => ({
      name: textAt(objectAt(tool, 'function'), 'name'),
      schema: objectAt(objectAt(tool, 'function'), 'parameters'),
    })),
    toolUse: toolUse(body),
    parallelToolCalls: body.parallel_tool_calls !== false,
    announcesToolCalls: false,
    format: answerFormat(body),
    reasoningTokens: reasoningTokens(body, dialect),
    outputTokensMax: Math.min(outputBound(body) ?? Number.POSITIVE_INFINITY, outputTokensMax(model, dialect)),
    stop: stopSequences(body),
    choices: typeof body.n === 'number' ? body.n : 1,
  }
}

function outputTokensMax(model: string, dialect: ChatDialect): number {
  return dialect.openAiModels ? openAiModel(model).outputTokensMax : outputTokensMaxDefault
}

function toolParts(body: JsonObject): readonly PromptPart[] {
  const described = [body.tools, body.response_format].filter(isGiven)
  return described.map((value) => textPart(JSON.stringify(value)))
}

function textOf(message: JsonObject): string {
  const { content } = message
  if (typeof content === 'string') return content
  return objectsOf(content)
    .map((part) => textAt(part, 'text'))
    .join('')
}

function messageParts(message: JsonObject): readonly PromptPart[] {
  const envelope = { canonical: textAt(message, 'role') + textAt(message, 'name'), tokens: messageTokens }
  const { content } = message
  const said = typeof content === 'string' ? [textPart(content)] : objectsOf(content).map(contentPart)
  const beside = ['reasoning_content', 'reasoning', 'refusal', 'tool_call_id'].map((name) =>
    textPart(textAt(message, name)),
  )
  const called = objectsOf(message.tool_calls).map((call) => textPart(JSON.stringify(call)))
  return [envelope, ...said, ...beside, ...called].filter((part) => part.tokens > 0)
}

function contentPart(part: JsonObject): PromptPart {
  switch (part.type) {
    case 'image_url': {
      const low = textAt(objectAt(part, 'image_url'), 'detail') === 'low'
      return { canonical: digestOf(part), tokens: low ? imageTokens.low : imageTokens.high }
    }
    case 'file':
    case 'document_url':
      return { canonical: digestOf(part), tokens: fileTokens }
    case 'input_audio':
      return { canonical: digestOf(part), tokens: audioTokens }
    case 'text':
      return textPart(textAt(part, 'text'))
    default:
      return textPart(JSON.stringify(part))
  }
}

function digestOf(part: JsonObject): string {
  return seedOf(JSON.stringify(part))
}

function toolUse(body: JsonObject): ToolUse {
  const choice = body.tool_choice
  if (!isGiven(body.tools) || choice === 'none') return { kind: 'none' }
  if (choice === 'required' || choice === 'any') return { kind: 'required' }
  if (!isGiven(choice) || typeof choice === 'string') return { kind: 'free' }
  return { kind: 'named', name: textAt(objectAt(objectAt(body, 'tool_choice'), 'function'), 'name') }
}

function answerFormat(body: JsonObject): AnswerFormat {
  const format = objectAt(body, 'response_format')
  if (format.type === 'json_schema') {
    return { kind: 'json_schema', schema: objectAt(objectAt(format, 'json_schema'), 'schema') }
  }
  return { kind: format.type === 'json_object' ? 'json_object' : 'text' }
}

function reasoningTokens(body: JsonObject, dialect: ChatDialect): number {
  const asked = textAt(body, 'reasoning_effort')
  if (dialect.openAiModels) {
    const facts = openAiModel(textAt(body, 'model'))
    if (facts.reasoningEfforts.length === 0) return 0
    return reasoningTokensByEffort[asked === '' ? facts.defaultEffort : asked] ?? 0
  }
  const switchedOff =
    objectAt(body, 'thinking').type === 'disabled' ||
    objectAt(body, 'chat_template_kwargs').enable_thinking === false
  if (switchedOff) return 0
  const switchedOn =
    objectAt(body, 'thinking').type === 'enabled' ||
    objectAt(body, 'chat_template_kwargs').enable_thinking === true
  const thinksUnasked = /gpt-oss|reason|magistral|deepseek-v4/i.test(textAt(body, 'model'))
  const effort = asked === '' ? (switchedOn || thinksUnasked ? 'medium' : 'none') : asked
  return reasoningTokensByEffort[effort] ?? 0
}

function stopSequences(body: JsonObject): readonly string[] {
  if (typeof body.stop === 'string') return [body.stop]
  return isList(body.stop) ? body.stop.filter((sequence) => typeof sequence === 'string') : []
}
