import { isGiven, isList, type JsonObject, numberAt, objectAt, objectsOf, textAt } from '../json.ts'
import { openAiModel } from '../openai-chat/dialects.ts'
import { fileTokens, imageTokens, messageTokens, reasoningTokensByEffort } from '../openai-chat/read.ts'
import type { AnswerFormat, Prompt, ToolUse } from '../prompt.ts'
import { type PromptPart, textPart } from '../prompt-cache.ts'
import { seedOf } from '../seed.ts'

/** Turns a request that was checked into a prompt. */
export function readResponsesPrompt(body: JsonObject): Prompt {
  const items =
    typeof body.input === 'string' ? [{ role: 'user', content: body.input }] : objectsOf(body.input)
  const lastUser = items.findLastIndex((item) => item.role === 'user')
  const lastUserText = textOf(items[lastUser] ?? {})
  const system = items.filter((item) => item.role === 'system' || item.role === 'developer')
  const instructions = textAt(body, 'instructions')
  const model = textAt(body, 'model')
  const facts = openAiModel(model)
  const effort = textAt(objectAt(body, 'reasoning'), 'effort') || facts.defaultEffort
  return {
    model,
    stream: body.stream === true,
    parts: [
      ...[body.tools, objectAt(body, 'text').format]
        .filter(isGiven)
        .map((value) => textPart(JSON.stringify(value))),
      textPart(instructions),
      ...items.flatMap(itemParts),
    ].filter((part) => part.tokens > 0),
    lastUserText,
    instructions: [instructions, ...system.map(textOf), lastUserText].join('\n'),
    prefill: '',
    toolResults: items.slice(lastUser + 1).filter((item) => item.type === 'function_call_output').length,
    tools: objectsOf(body.tools).map((tool) => ({
      name: textAt(tool, 'name'),
      schema: objectAt(tool, 'parameters'),
    })),
    toolUse: toolUse(body),
    parallelToolCalls: body.parallel_tool_calls !== false,
    announcesToolCalls: false,
    format: answerFormat(body),
    reasoningTokens: facts.reasoningEfforts.length === 0 ? 0 : (reasoningTokensByEffort[effort] ?? 0),
    outputTokensMax: Math.min(
      numberAt(body, 'max_output_tokens') ?? Number.POSITIVE_INFINITY,
      facts.outputTokensMax,
    ),
    stop: [],
    choices: 1,
  }
}

function textOf(item: JsonObject): string {
  const { content } = item
  if (typeof content === 'string') return content
  return objectsOf(content)
    .map((part) => textAt(part, 'text'))
    .join('')
}

function itemParts(item: JsonObject): readonly PromptPart[] {
  const envelope = { canonical: textAt(item, 'role') + textAt(item, 'type'), tokens: messageTokens }
  const content = item.output ?? item.content
  const said = typeof content === 'string' ? [textPart(content)] : objectsOf(content).map(contentPart)
  const beside = ['call_id', 'name', 'arguments', 'encrypted_content'].map((name) =>
    textPart(textAt(item, name)),
  )
  return [envelope, ...said, ...beside]
}

function contentPart(part: JsonObject): PromptPart {
  const digest = seedOf(JSON.stringify(part))
  switch (part.type) {
    case 'input_image':
      return { canonical: digest, tokens: part.detail === 'low' ? imageTokens.low : imageTokens.high }
    case 'input_file':
      return { canonical: digest, tokens: fileTokens }
    default:
      return textPart(textAt(part, 'text') + textAt(part, 'refusal'))
  }
}

function toolUse(body: JsonObject): ToolUse {
  const choice = body.tool_choice
  if (!isList(body.tools) || body.tools.length === 0 || choice === 'none') return { kind: 'none' }
  if (choice === 'required') return { kind: 'required' }
  if (!isGiven(choice) || typeof choice === 'string') return { kind: 'free' }
  return { kind: 'named', name: textAt(objectAt(body, 'tool_choice'), 'name') }
}

function answerFormat(body: JsonObject): AnswerFormat {
  const format = objectAt(objectAt(body, 'text'), 'format')
  if (format.type === 'json_schema') return { kind: 'json_schema', schema: objectAt(format, 'schema') }
  return { kind: format.type === 'json_object' ? 'json_object' : 'text' }
}
