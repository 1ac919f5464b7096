import { isList, isObject, type JsonObject, numberAt, objectAt, objectsOf, textAt } from '../json.ts'
import type { AnswerFormat, Prompt, ToolOffer, ToolUse } from '../prompt.ts'
import { type PromptPart, textPart } from '../prompt-cache.ts'
import { seedOf } from '../seed.ts'
import { asJsonSchema } from './request.ts'

const MESSAGE_TOKENS = 2
/** Google's own counts at the usual resolution. */
const IMAGE_TOKENS = 258
const PDF_TOKENS = 258
const AUDIO_TOKENS = 32

/** Turns a request that was checked into a prompt. The cache sees system, then tools, then contents. */
export function readPrompt(
  body: JsonObject,
  model: string,
  stream: boolean,
  reasoningTokens: number,
  outputTokensMax: number,
): Prompt {
  const contents = objectsOf(body.contents)
  const config = objectAt(body, 'generationConfig')
  const lastUser = contents.findLastIndex(
    (content) => content.role !== 'model' && !holds(content, 'functionResponse'),
  )
  const lastUserText = textOf(contents[lastUser] ?? {})
  const system = textOf(objectAt(body, 'systemInstruction'))
  return {
    model,
    stream,
    parts: [
      ...(system === '' ? [] : [textPart(system)]),
      ...declarationsOf(body).map((declared) => textPart(JSON.stringify(declared))),
      ...contents.flatMap(contentParts),
    ],
    lastUserText,
    instructions: [system, lastUserText].join('\n'),
    prefill: '',
    toolResults: contents
      .slice(lastUser + 1)
      .flatMap((content) => objectsOf(content.parts))
      .filter((part) => isObject(part.functionResponse)).length,
    tools: declarationsOf(body).map(offer),
    toolUse: toolUse(body),
    parallelToolCalls: true,
    announcesToolCalls: false,
    format: answerFormat(config),
    reasoningTokens,
    outputTokensMax: numberAt(config, 'maxOutputTokens') ?? outputTokensMax,
    stop: isList(config.stopSequences)
      ? config.stopSequences.filter((sequence) => typeof sequence === 'string')
      : [],
    choices: numberAt(config, 'candidateCount') ?? 1,
  }
}

/** The functions of all tools. A list of tools of one may be left off. */
export function declarationsOf(body: JsonObject): readonly JsonObject[] {
  const tools = isObject(body.tools) ? [body.tools] : objectsOf(body.tools)
  return tools.flatMap((tool) => objectsOf(tool.functionDeclarations))
}

export function holds(content: JsonObject, name: string): boolean {
  return objectsOf(content.parts).some((part) => isObject(part[name]))
}

function offer(declared: JsonObject): ToolOffer {
  const schema = isObject(declared.parametersJsonSchema)
    ? declared.parametersJsonSchema
    : asJsonSchema(objectAt(declared, 'parameters'))
  return {
    name: textAt(declared, 'name'),
    schema: Object.keys(schema).length === 0 ? { type: 'object' } : schema,
  }
}

function textOf(content: JsonObject): string {
  return objectsOf(content.parts)
    .map((part) => textAt(part, 'text'))
    .join('')
}

function contentParts(content: JsonObject): readonly PromptPart[] {
  return [
    { canonical: textAt(content, 'role'), tokens: MESSAGE_TOKENS },
    ...objectsOf(content.parts).flatMap(partParts),
  ]
}

function partParts(part: JsonObject): readonly PromptPart[] {
  const { thoughtSignature: _, ...plain } = part
  if (typeof part.text === 'string') return [textPart(part.text)]
  if (isObject(part.inlineData) || isObject(part.fileData)) return [mediaPart(part)]
  const result = objectAt(part, 'functionResponse')
  const media = objectsOf(result.parts).map(mediaPart)
  const { parts: __, ...said } = result
  return isObject(part.functionResponse)
    ? [textPart(JSON.stringify(said)), ...media]
    : [textPart(JSON.stringify(plain))]
}

function mediaPart(part: JsonObject): PromptPart {
  const mediaType = textAt(
    isObject(part.inlineData) ? part.inlineData : objectAt(part, 'fileData'),
    'mimeType',
  )
  const tokens = mediaType.startsWith('audio/')
    ? AUDIO_TOKENS
    : mediaType.startsWith('image/')
      ? IMAGE_TOKENS
      : PDF_TOKENS
  return { canonical: seedOf(JSON.stringify(part)), tokens }
}

function toolUse(body: JsonObject): ToolUse {
  const calling = objectAt(objectAt(body, 'toolConfig'), 'functionCallingConfig')
  if (declarationsOf(body).length === 0 || calling.mode === 'NONE') return { kind: 'none' }
  if (calling.mode !== 'ANY') return { kind: 'free' }
  const allowed = isList(calling.allowedFunctionNames) ? calling.allowedFunctionNames : []
  return allowed.length === 1 ? { kind: 'named', name: String(allowed[0]) } : { kind: 'required' }
}

function answerFormat(config: JsonObject): AnswerFormat {
  if (config.responseMimeType !== 'application/json') return { kind: 'text' }
  if (isObject(config.responseJsonSchema)) return { kind: 'json_schema', schema: config.responseJsonSchema }
  if (isObject(config.responseSchema))
    return { kind: 'json_schema', schema: asJsonSchema(config.responseSchema) }
  return { kind: 'json_object' }
}
