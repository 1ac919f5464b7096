import {
  isList,
  isObject,
  type JsonObject,
  numberAt,
  objectAt,
  objectsOf,
  parseJson,
  textAt,
} from '../json.ts'
import type { AnswerFormat, Prompt, ToolUse } from '../prompt.ts'
import { type PromptPart, textPart } from '../prompt-cache.ts'
import { seedOf } from '../seed.ts'

const messageTokens = 4
const imageTokens = 1_500
const documentTokens = 3_000

export interface Operation {
  readonly model: string
  readonly stream: boolean
}

/** What a path below the base asks for, or `undefined` where it is none of Converse. */
export function operationOf(path: string): Operation | undefined {
  const [, label, operation] = /^\/model\/([^/]+)\/(converse|converse-stream)$/.exec(path) ?? []
  if (label === undefined) return undefined
  try {
    return { model: decodeURIComponent(label), stream: operation === 'converse-stream' }
  } catch {
    return undefined
  }
}

export interface Reading extends Operation {
  readonly reasoningTokens: number
  readonly outputTokensMax: number
}

/** Turns a request that was checked into a prompt. The cache sees tools first, then system, then messages. */
export function readPrompt(body: JsonObject, reading: Reading): Prompt {
  const messages = objectsOf(body.messages)
  const lastUser = messages.findLastIndex((message) => message.role === 'user' && !isToolResult(message))
  const lastUserText = textOf(messages[lastUser]?.content)
  const last = messages.at(-1) ?? {}
  const config = objectAt(body, 'inferenceConfig')
  return {
    model: reading.model,
    stream: reading.stream,
    parts: [...toolParts(body), ...partsOf(body.system), ...messages.flatMap(messageParts)],
    lastUserText,
    instructions: [textOf(body.system), lastUserText].join('\n'),
    prefill: last.role === 'assistant' ? textOf(last.content) : '',
    toolResults: messages
      .slice(lastUser + 1)
      .flatMap((message) => objectsOf(message.content))
      .filter((block) => isObject(block.toolResult)).length,
    tools: toolSpecs(body).map((spec) => ({
      name: textAt(spec, 'name'),
      schema: objectAt(objectAt(spec, 'inputSchema'), 'json'),
    })),
    toolUse: toolUse(body),
    parallelToolCalls: true,
    announcesToolCalls: true,
    format: answerFormat(body),
    reasoningTokens: reading.reasoningTokens,
    outputTokensMax: numberAt(config, 'maxTokens') ?? reading.outputTokensMax,
    stop: isList(config.stopSequences)
      ? config.stopSequences.filter((sequence) => typeof sequence === 'string')
      : [],
    choices: 1,
  }
}

function isToolResult(message: JsonObject): boolean {
  return objectsOf(message.content).some((block) => isObject(block.toolResult))
}

function textOf(content: JsonObject[string]): string {
  return objectsOf(content)
    .map((block) => textAt(block, 'text'))
    .join('')
}

function toolSpecs(body: JsonObject): readonly JsonObject[] {
  return objectsOf(objectAt(body, 'toolConfig').tools).flatMap((tool) =>
    isObject(tool.toolSpec) ? [tool.toolSpec] : [],
  )
}

function toolParts(body: JsonObject): readonly PromptPart[] {
  const { outputConfig } = body
  const format = isObject(outputConfig) ? [textPart(JSON.stringify(outputConfig))] : []
  return [...partsOf(objectAt(body, 'toolConfig').tools), ...format]
}

function messageParts(message: JsonObject): readonly PromptPart[] {
  return [{ canonical: textAt(message, 'role'), tokens: messageTokens }, ...partsOf(message.content)]
}

/** The blocks of a list; a cache point is a mark on the block before it. */
function partsOf(content: JsonObject[string]): readonly PromptPart[] {
  const parts: PromptPart[] = []
  for (const block of objectsOf(content)) {
    const last = parts.pop()
    if (!isObject(block.cachePoint)) parts.push(...(last ? [last] : []), blockPart(block))
    else if (last) parts.push({ ...last, cacheTtl: block.cachePoint.ttl === '1h' ? '1h' : '5m' })
  }
  return parts
}

function blockPart(block: JsonObject): PromptPart {
  if (typeof block.text === 'string') return textPart(block.text)
  if (isObject(block.toolResult)) {
    const inner = objectsOf(block.toolResult.content).map(blockPart)
    return {
      canonical: [textAt(block.toolResult, 'toolUseId'), ...inner.map((part) => part.canonical)].join('\n'),
      tokens: messageTokens + inner.reduce((sum, part) => sum + part.tokens, 0),
    }
  }
  const written = JSON.stringify(block)
  if (isObject(block.image)) return { canonical: seedOf(written), tokens: imageTokens }
  if (isObject(block.document)) return { canonical: seedOf(written), tokens: documentTokens }
  return textPart(written)
}

function toolUse(body: JsonObject): ToolUse {
  if (toolSpecs(body).length === 0) return { kind: 'none' }
  const choice = objectAt(objectAt(body, 'toolConfig'), 'toolChoice')
  if (isObject(choice.any)) return { kind: 'required' }
  return isObject(choice.tool) ? { kind: 'named', name: textAt(choice.tool, 'name') } : { kind: 'free' }
}

function answerFormat(body: JsonObject): AnswerFormat {
  const structure = objectAt(objectAt(objectAt(body, 'outputConfig'), 'textFormat'), 'structure')
  const schema = parseJson(textAt(objectAt(structure, 'jsonSchema'), 'schema'))
  return isObject(schema) ? { kind: 'json_schema', schema } : { kind: 'text' }
}
