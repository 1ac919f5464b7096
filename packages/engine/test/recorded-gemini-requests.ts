import type { Ask, InputPart, Json, JsonObject, Message, ReasoningBlock, Tool, ToolCall } from '../src/ask.ts'
import { arrayOf, objectOf, textOf } from '../src/wire-json.ts'
import { testAsk } from './endpoints.ts'

/*
 * Recorded requests to Gemini as asks: the inverse of the encoder, written for its test. What has no equivalent in
 * OpenAI's shape is refused with a reason.
 */

export type ReadAsk =
  | { readonly ok: true; readonly ask: Ask }
  | { readonly ok: false; readonly reason: string }

class NoEquivalent extends Error {}

/** Words that stand for a signature that nobody has, in base64: they are no signatures. */
const UNSIGNED: ReadonlySet<string> = new Set(
  ['skip_thought_signature_validator', 'context_engineering_is_the_way_to_go'].map(btoa),
)
const FORMAT = 'google-gemini-v1'

export function askOfGeminiRequest(request: unknown): ReadAsk {
  try {
    return { ok: true, ask: toAsk(withCamelKeys(request as Json) as JsonObject) }
  } catch (error) {
    if (error instanceof NoEquivalent) return { ok: false, reason: error.message }
    throw error
  }
}

/** The fields of this protocol, whichever of protobuf's two spellings they came in. A caller's own names stay. */
export function withCamelKeys(value: Json, isOurs = true): Json {
  if (Array.isArray(value)) return value.map((item: Json) => withCamelKeys(item, isOurs))
  const object = objectOf(value)
  if (!object || !isOurs) return value
  const entries = Object.entries(object).map(([key, inner]) => {
    const camel = key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())
    const isCallers =
      /^(args|response|parameters|parametersJsonSchema|responseJsonSchema|responseSchema)$/.test(camel)
    return [camel, withCamelKeys(inner, !isCallers)]
  })
  return Object.fromEntries(entries)
}

/** Base64 in its standard form, for records have both. */
export function standardBase64(text: string): string {
  const standard = text.replaceAll('-', '+').replaceAll('_', '/').replaceAll('=', '')
  return standard.padEnd(Math.ceil(standard.length / 4) * 4, '=')
}

const KNOWN_FIELDS = ['contents', 'generationConfig', 'tools', 'systemInstruction', 'toolConfig']

function toAsk(body: JsonObject): Ask {
  const foreign = Object.keys(body).find((name) => !KNOWN_FIELDS.includes(name))
  if (foreign !== undefined) throw new NoEquivalent(foreign)
  const system = arrayOf(objectOf(body.systemInstruction)?.parts).map((part) => ({
    type: 'text' as const,
    text: textOf(objectOf(part)?.text) ?? '',
  }))
  const messages: Message[] = system.length === 0 ? [] : [{ role: 'system', parts: system }]
  const ids = callIds()
  for (const content of arrayOf(body.contents)) messages.push(...toMessages(objectOf(content) ?? {}, ids))
  const mode = objectOf(objectOf(body.toolConfig)?.functionCallingConfig)
  const tools = declarationsOf(body).map((declared) => toTool(declared, mode?.mode === 'VALIDATED'))
  return testAsk({
    messages,
    tools,
    ...toolChoiceOf(body, mode, tools),
    ...generationFields(objectOf(body.generationConfig) ?? {}),
  })
}

/** A schema of OpenAPI's dialect, in which older clients wrote types in capitals, as JSON Schema. */
export function lowerTypes(schema: Json): Json {
  if (Array.isArray(schema)) return schema.map(lowerTypes)
  const object = objectOf(schema)
  if (!object) return schema
  return Object.fromEntries(
    Object.entries(object).map(([key, value]) => [
      key,
      key === 'type' && typeof value === 'string' ? value.toLowerCase() : lowerTypes(value),
    ]),
  )
}

/** The functions of a request, in however many tools they are declared. */
export function declarationsOf(body: JsonObject): readonly JsonObject[] {
  const tools = Array.isArray(body.tools) ? body.tools : body.tools === undefined ? [] : [body.tools]
  return tools.flatMap((entry: Json) => {
    const tool = objectOf(entry) ?? {}
    const hosted = Object.keys(tool).find((name) => name !== 'functionDeclarations')
    if (hosted !== undefined) throw new NoEquivalent(`the hosted tool ${hosted}`)
    return arrayOf(tool.functionDeclarations).map((declared) => objectOf(declared) ?? {})
  })
}

function toTool({ name, description, parameters, parametersJsonSchema }: JsonObject, strict: boolean): Tool {
  const schema = objectOf(parametersJsonSchema) ?? objectOf(lowerTypes(parameters ?? null))
  return {
    name: textOf(name) ?? '',
    ...(typeof description === 'string' ? { description } : {}),
    ...(schema === undefined ? {} : { parameters: schema }),
    ...(strict ? { strict } : {}),
  }
}

function toolChoiceOf(body: JsonObject, mode: JsonObject | undefined, tools: readonly Tool[]): Partial<Ask> {
  const other = Object.keys(objectOf(body.toolConfig) ?? {}).find((name) => name !== 'functionCallingConfig')
  if (other !== undefined) throw new NoEquivalent(other)
  const allowed = arrayOf(mode?.allowedFunctionNames)
  switch (mode?.mode) {
    case undefined:
      return {}
    case 'AUTO':
    case 'VALIDATED':
      return { toolChoice: 'auto' }
    case 'NONE':
      return { toolChoice: 'none' }
    case 'ANY': {
      if (allowed.length === 1 && tools.length > 1) return { toolChoice: { name: String(allowed[0]) } }
      if (allowed.length > 0 && allowed.length < tools.length)
        throw new NoEquivalent('some of the functions forced')
      return { toolChoice: 'required' }
    }
    default:
      throw new NoEquivalent(`the mode ${String(mode?.mode)}`)
  }
}

function generationFields(config: JsonObject): Partial<Ask> {
  const {
    responseModalities,
    responseMimeType,
    responseJsonSchema,
    responseSchema,
    thinkingConfig,
    ...rest
  } = config
  const { temperature, topP, topK, maxOutputTokens, stopSequences, seed, ...foreign } = rest
  const [unknown] = Object.keys(foreign)
  if (unknown !== undefined) throw new NoEquivalent(unknown)
  if (responseModalities !== undefined && JSON.stringify(responseModalities) !== '["TEXT"]') {
    throw new NoEquivalent('responseModalities')
  }
  const schema = objectOf(responseJsonSchema) ?? objectOf(lowerTypes(responseSchema ?? null))
  const thinking = objectOf(thinkingConfig)
  return {
    ...(typeof temperature === 'number' ? { temperature } : {}),
    ...(typeof topP === 'number' ? { topP } : {}),
    ...(typeof topK === 'number' ? { topK } : {}),
    ...(typeof maxOutputTokens === 'number' ? { maxOutputTokens } : {}),
    ...(Array.isArray(stopSequences) ? { stop: stopSequences.map(String) } : {}),
    ...(typeof seed === 'number' ? { extras: { seed } } : {}),
    ...(schema ? { responseFormat: { type: 'json_schema', name: 'answer', schema } } : {}),
    ...(!schema && responseMimeType === 'application/json'
      ? { responseFormat: { type: 'json_object' } }
      : {}),
    ...(thinking ? { reasoning: reasoningOf(thinking) } : {}),
  }
}

function reasoningOf({
  includeThoughts,
  thinkingBudget,
  thinkingLevel,
}: JsonObject): NonNullable<Ask['reasoning']> {
  if (thinkingBudget === 0) return { effort: 'none' }
  if (typeof thinkingBudget === 'number')
    return { maxTokens: thinkingBudget, exclude: includeThoughts !== true }
  const level = textOf(thinkingLevel)?.toLowerCase()
  const effort = (['minimal', 'low', 'medium', 'high'] as const).find((known) => known === level)
  return { effort: effort ?? 'medium', exclude: includeThoughts !== true }
}

/** Calls without ids get some; their results, which come without ids too, get the same by their names. */
function callIds() {
  const open: { id: string; name: string }[] = []
  let made = 0
  return {
    called(given: Json | undefined, name: string): string {
      const id = textOf(given) ?? `made_${made++}`
      open.push({ id, name })
      return id
    },
    answered(given: Json | undefined, name: string): string {
      const at = open.findIndex((call) => (textOf(given) ? call.id === given : call.name === name))
      const [call] = open.splice(at, 1)
      return call?.id ?? ''
    },
  }
}

function toMessages(content: JsonObject, ids: ReturnType<typeof callIds>): readonly Message[] {
  const parts = arrayOf(content.parts).map((part) => objectOf(part) ?? {})
  if (content.role === 'model') return [toAssistantMessage(parts, ids)]
  const messages: Message[] = []
  for (const part of parts) {
    const result = objectOf(part.functionResponse)
    const last = messages.at(-1)
    if (result) messages.push(toToolMessage(result, ids))
    else if (last?.role === 'user')
      messages.splice(-1, 1, { ...last, parts: [...last.parts, toInputPart(part)] })
    else messages.push({ role: 'user', parts: [toInputPart(part)] })
  }
  return messages
}

function toToolMessage(result: JsonObject, ids: ReturnType<typeof callIds>): Message {
  const media = arrayOf(result.parts).map((part) => toInputPart(objectOf(part) ?? {}))
  const hasText = media.length === 0 || Object.keys(objectOf(result.response) ?? {}).length > 0
  const text: InputPart[] = hasText ? [{ type: 'text', text: JSON.stringify(result.response) }] : []
  return {
    role: 'tool',
    toolCallId: ids.answered(result.id, textOf(result.name) ?? ''),
    parts: [...text, ...media],
  }
}

function toAssistantMessage(parts: readonly JsonObject[], ids: ReturnType<typeof callIds>): Message {
  const texts: { type: 'text'; text: string }[] = []
  const toolCalls: ToolCall[] = []
  const reasoning: ReasoningBlock[] = []
  for (const part of parts) {
    const signature = signatureOf(part)
    const call = objectOf(part.functionCall)
    if (call) {
      const name = textOf(call.name) ?? ''
      const id = ids.called(call.id, name)
      const written = JSON.stringify(call.args)
      toolCalls.push({ id, name, arguments: written, ...(signature === undefined ? {} : { signature }) })
    } else if (typeof part.text === 'string') {
      if (part.thought === true) reasoning.push({ text: part.text, format: FORMAT })
      else if (part.text !== '') texts.push({ type: 'text', text: part.text })
      if (signature !== undefined) reasoning.push({ text: '', signature, format: FORMAT })
    } else throw new NoEquivalent('parts of hosted tools')
  }
  return { role: 'assistant', parts: texts, toolCalls, reasoning }
}

function signatureOf(part: JsonObject): string | undefined {
  const written = textOf(part.thoughtSignature)
  const signature = written === undefined ? undefined : standardBase64(written)
  return signature !== undefined && !UNSIGNED.has(signature) ? signature : undefined
}

function toInputPart(part: JsonObject): InputPart {
  if (typeof part.text === 'string') return { type: 'text', text: part.text }
  const inline = objectOf(part.inlineData)
  const file = objectOf(part.fileData)
  const mediaType = textOf(inline?.mimeType) ?? textOf(file?.mimeType) ?? ''
  if (file) {
    const url = textOf(file.fileUri) ?? ''
    if (!/^https:/.test(url) || url.includes('/v1beta/files/'))
      throw new NoEquivalent('a file that was uploaded')
    if (mediaType.startsWith('image/')) return { type: 'image', source: { kind: 'url', url } }
    if (mediaType === 'application/pdf') return { type: 'file', source: { kind: 'url', url } }
    throw new NoEquivalent(`${mediaType} by its URL`)
  }
  const base64 = standardBase64(textOf(inline?.data) ?? '')
  const source = { kind: 'base64' as const, mediaType, base64 }
  if (mediaType.startsWith('image/')) return { type: 'image', source }
  if (mediaType === 'application/pdf' || mediaType.startsWith('text/')) return { type: 'file', source }
  if (mediaType === 'audio/wav' || mediaType === 'audio/mp3') {
    return { type: 'audio', format: mediaType === 'audio/wav' ? 'wav' : 'mp3', base64 }
  }
  throw new NoEquivalent(mediaType)
}
