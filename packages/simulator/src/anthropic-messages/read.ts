import { isGiven, isList, isObject, type JsonObject, numberAt, objectAt, objectsOf, textAt } from '../json.ts'
import type { AnswerFormat, Prompt, ToolUse } from '../prompt.ts'
import { type PromptPart, textPart } from '../prompt-cache.ts'
import { seedOf } from '../seed.ts'

const messageTokens = 4
const imageTokens = 1_500
const pdfTokens = 3_000

/** Turns a request that was checked into a prompt. The cache sees tools first, then system, then messages. */
export function readPrompt(body: JsonObject, reasoningTokens: number): Prompt {
  const messages = objectsOf(body.messages)
  const lastUser = messages.findLastIndex((message) => message.role === 'user' && !isToolResult(message))
  const lastUserText = textOf(messages[lastUser] ?? {})
  const last = messages.at(-1) ?? {}
  const inlineSystem = messages.filter((message) => message.role === 'system').map(textOf)
  const parts = [...toolParts(body), ...systemParts(body), ...messages.flatMap(messageParts)]
  return {
    model: textAt(body, 'model'),
    stream: body.stream === true,
    parts: markLast(parts, body),
    lastUserText,
    instructions: [textOf({ content: body.system }), ...inlineSystem, lastUserText].join('\n'),
    prefill: last.role === 'assistant' ? textOf(last) : '',
    toolResults: messages
      .slice(lastUser + 1)
      .flatMap((message) => objectsOf(message.content))
      .filter((block) => block.type === 'tool_result').length,
    tools: objectsOf(body.tools).map((tool) => ({
      name: textAt(tool, 'name'),
      schema: objectAt(tool, 'input_schema'),
    })),
    toolUse: toolUse(body),
    parallelToolCalls: objectAt(body, 'tool_choice').disable_parallel_tool_use !== true,
    announcesToolCalls: true,
    format: answerFormat(body),
    reasoningTokens,
    outputTokensMax: numberAt(body, 'max_tokens') ?? 0,
    stop: isList(body.stop_sequences)
      ? body.stop_sequences.filter((sequence) => typeof sequence === 'string')
      : [],
    choices: 1,
  }
}

function isToolResult(message: JsonObject): boolean {
  return objectsOf(message.content).some((block) => block.type === 'tool_result')
}

function textOf(message: JsonObject): string {
  if (typeof message.content === 'string') return message.content
  return objectsOf(message.content)
    .map((block) => textAt(block, 'text'))
    .join('')
}

function markOf(block: JsonObject): '5m' | '1h' | undefined {
  if (!isObject(block.cache_control)) return undefined
  return block.cache_control.ttl === '1h' ? '1h' : '5m'
}

/** A mark on the request itself is a mark on its last block. */
function markLast(parts: readonly PromptPart[], body: JsonObject): readonly PromptPart[] {
  const ttl = markOf(body)
  const last = parts.at(-1)
  return ttl === undefined || last === undefined ? parts : [...parts.slice(0, -1), { ...last, cacheTtl: ttl }]
}

function toolParts(body: JsonObject): readonly PromptPart[] {
  const tools = objectsOf(body.tools).map((tool) => {
    const { cache_control: _, ...definition } = tool
    return textPart(JSON.stringify(definition), markOf(tool))
  })
  const format = objectAt(body, 'output_config').format
  return isGiven(format) ? [...tools, textPart(JSON.stringify(format))] : tools
}

function systemParts(body: JsonObject): readonly PromptPart[] {
  if (typeof body.system === 'string') return [textPart(body.system)]
  return objectsOf(body.system).map((block) => textPart(textAt(block, 'text'), markOf(block)))
}

function messageParts(message: JsonObject): readonly PromptPart[] {
  const envelope = { canonical: textAt(message, 'role'), tokens: messageTokens }
  if (typeof message.content === 'string') return [envelope, textPart(message.content)]
  return [envelope, ...objectsOf(message.content).map(blockPart)]
}

function blockPart(block: JsonObject): PromptPart {
  const ttl = markOf(block)
  const { cache_control: _, ...plain } = block
  const source = objectAt(block, 'source')
  if (block.type === 'text') return textPart(textAt(block, 'text'), ttl)
  if (block.type === 'document' && source.type === 'text') return textPart(textAt(source, 'data'), ttl)
  if (block.type === 'tool_result') return toolResultPart(block, ttl)
  if (block.type !== 'image' && block.type !== 'document') return textPart(JSON.stringify(plain), ttl)
  const tokens = block.type === 'image' ? imageTokens : pdfTokens
  return { canonical: seedOf(JSON.stringify(plain)), tokens, ...(ttl === undefined ? {} : { cacheTtl: ttl }) }
}

function toolResultPart(block: JsonObject, ttl: '5m' | '1h' | undefined): PromptPart {
  const { content } = block
  const inner = typeof content === 'string' ? [textPart(content)] : objectsOf(content).map(blockPart)
  const tokens = messageTokens + inner.reduce((sum, part) => sum + part.tokens, 0)
  const canonical = [textAt(block, 'tool_use_id'), ...inner.map((part) => part.canonical)].join('\n')
  return { canonical, tokens, ...(ttl === undefined ? {} : { cacheTtl: ttl }) }
}

function toolUse(body: JsonObject): ToolUse {
  const choice = objectAt(body, 'tool_choice')
  if (objectsOf(body.tools).length === 0 || choice.type === 'none') return { kind: 'none' }
  if (choice.type === 'any') return { kind: 'required' }
  return choice.type === 'tool' ? { kind: 'named', name: textAt(choice, 'name') } : { kind: 'free' }
}

function answerFormat(body: JsonObject): AnswerFormat {
  const format = objectAt(objectAt(body, 'output_config'), 'format')
  return format.type === 'json_schema'
    ? { kind: 'json_schema', schema: objectAt(format, 'schema') }
    : { kind: 'text' }
}
