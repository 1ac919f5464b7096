import { isGiven, isList, type JsonObject, numberAt, objectAt, objectsOf, textAt } from '../json.ts'
import type { AnswerFormat, Prompt, ToolUse } from '../prompt.ts'
import { type PromptPart, textPart } from '../prompt-cache.ts'
import { seedOf } from '../seed.ts'
import type { CommandModel } from './models.ts'

const messageTokens = 4
const imageTokens = 1_000
/** How long a model thinks that is not told how long it may. */
const thinkingTokens = 128

/** Turns a request that was checked into a prompt. */
export function readPrompt(body: JsonObject, model: CommandModel): Prompt {
  const messages = objectsOf(body.messages)
  const lastUser = messages.findLastIndex((message) => message.role === 'user')
  const lastUserText = textOf(messages[lastUser] ?? {})
  const system = messages.filter((message) => message.role === 'system').map(textOf)
  const described = [body.tools, body.response_format].filter(isGiven)
  const outputTokensMax = Math.min(
    numberAt(body, 'max_tokens') ?? model.outputTokensMax,
    model.outputTokensMax,
  )
  return {
    model: textAt(body, 'model'),
    stream: body.stream === true,
    parts: [...described.map((value) => textPart(JSON.stringify(value))), ...messages.flatMap(messageParts)],
    lastUserText,
    instructions: [...system, lastUserText].join('\n'),
    prefill: '',
    toolResults: messages.slice(lastUser + 1).filter((message) => message.role === 'tool').length,
    tools: objectsOf(body.tools).map((tool) => ({
      name: textAt(objectAt(tool, 'function'), 'name'),
      schema: objectAt(objectAt(tool, 'function'), 'parameters'),
    })),
    toolUse: toolUse(body),
    parallelToolCalls: true,
    // Its plan, which it writes before it calls a tool of its own choice.
    announcesToolCalls: !model.thinks,
    format: answerFormat(body),
    reasoningTokens: thinkingOf(body, model),
    outputTokensMax,
    stop: isList(body.stop_sequences)
      ? body.stop_sequences.filter((sequence) => typeof sequence === 'string')
      : [],
    choices: 1,
  }
}

function textOf(message: JsonObject): string {
  if (typeof message.content === 'string') return message.content
  return objectsOf(message.content)
    .map((block) => textAt(block, 'text'))
    .join('')
}

function messageParts(message: JsonObject): readonly PromptPart[] {
  const envelope = { canonical: textAt(message, 'role'), tokens: messageTokens }
  const said =
    typeof message.content === 'string'
      ? [textPart(message.content)]
      : objectsOf(message.content).map(blockPart)
  const beside = ['tool_plan', 'tool_call_id'].map((name) => textPart(textAt(message, name)))
  const called = objectsOf(message.tool_calls).map((call) => textPart(JSON.stringify(call)))
  return [envelope, ...said, ...beside, ...called].filter((part) => part.tokens > 0)
}

function blockPart(block: JsonObject): PromptPart {
  if (block.type === 'text') return textPart(textAt(block, 'text'))
  if (block.type === 'image_url') return { canonical: seedOf(JSON.stringify(block)), tokens: imageTokens }
  return textPart(JSON.stringify(block))
}

function toolUse(body: JsonObject): ToolUse {
  if (objectsOf(body.tools).length === 0 || body.tool_choice === 'NONE') return { kind: 'none' }
  return { kind: body.tool_choice === 'REQUIRED' ? 'required' : 'free' }
}

function answerFormat(body: JsonObject): AnswerFormat {
  const format = objectAt(body, 'response_format')
  if (format.type !== 'json_object') return { kind: 'text' }
  return isGiven(format.json_schema)
    ? { kind: 'json_schema', schema: objectAt(format, 'json_schema') }
    : { kind: 'json_object' }
}

function thinkingOf(body: JsonObject, model: CommandModel): number {
  const thinking = objectAt(body, 'thinking')
  if (!model.thinks || thinking.type === 'disabled') return 0
  return Math.min(numberAt(thinking, 'token_budget') ?? thinkingTokens, thinkingTokens)
}
