import { isGiven, isList, isObject, type JsonObject, objectAt, objectsOf, textAt } from '../json.ts'
import type { GeminiModel } from './models.ts'
import { holds } from './read.ts'
import { isGenuine } from './thinking.ts'

/** What the vendor would find wrong with the contents first. */
export function checkContents(body: JsonObject, _name: string, model: GeminiModel): string | undefined {
  const contents = objectsOf(body.contents)
  if (!isList(body.contents) || contents.length === 0) {
    return '* GenerateContentRequest.contents: contents is not specified\n'
  }
  for (const [index, content] of contents.entries()) {
    const fault = checkContent(content, `GenerateContentRequest.contents[${index}]`)
    if (fault !== undefined) return fault
  }
  return checkTurns(contents) ?? checkSignatures(contents, model)
}

function checkContent(content: JsonObject, at: string): string | undefined {
  const role = textAt(content, 'role')
  if (role !== '' && role !== 'user' && role !== 'model') return 'Please use a valid role: user, model.'
  const parts = objectsOf(content.parts)
  if (parts.length === 0) return `* ${at}.parts: contents.parts must not be empty.\n`
  for (const [index, part] of parts.entries()) {
    const fault = checkPart(part, `${at}.parts[${index}]`)
    if (fault !== undefined) return fault
  }
  return undefined
}

const DATA = ['text', 'inlineData', 'functionCall', 'functionResponse', 'fileData'] as const

function checkPart(part: JsonObject, at: string): string | undefined {
  const data = DATA.filter((name) => isGiven(part[name]))
  if (data.length !== 1) return `* ${at}.data: required oneof field 'data' must have one initialized field\n`
  const signature = part.thoughtSignature
  if (isGiven(signature) && !/^[A-Za-z0-9+/_-]+={0,2}$/.test(String(signature))) {
    return `Invalid value at '${at}.thought_signature' (TYPE_BYTES), Base64 decoding failed`
  }
  if (isObject(part.functionCall)) {
    if (textAt(part.functionCall, 'name') === '') return `* ${at}.function_call.name: Name cannot be empty.\n`
    const { args } = part.functionCall
    return isGiven(args) && !isObject(args)
      ? `Invalid value at '${at}.function_call.args' (Struct)`
      : undefined
  }
  if (isObject(part.functionResponse)) return checkResult(part.functionResponse, at)
  return isObject(part.inlineData) || isObject(part.fileData) ? checkMedia(part, at) : undefined
}

function checkResult(result: JsonObject, at: string): string | undefined {
  if (textAt(result, 'name') === '') return `* ${at}.function_response.name: Name cannot be empty.\n`
  if (!isObject(result.response)) return `Invalid value at '${at}.function_response.response' (Struct)`
  for (const part of objectsOf(result.parts)) {
    const fault = checkMedia(part, at)
    if (fault !== undefined) return fault
  }
  return undefined
}

const MEDIA =
  /^(image\/(png|jpeg|webp|heic|heif)|application\/pdf|audio\/(wav|mp3|mpeg|aiff|aac|ogg|flac)|video\/.+|text\/.+)$/

function checkMedia(part: JsonObject, at: string): string | undefined {
  const file = objectAt(part, 'fileData')
  if (isObject(part.fileData)) {
    return /^https:\/\//.test(textAt(file, 'fileUri'))
      ? undefined
      : `Unsupported file uri: ${textAt(file, 'fileUri')}`
  }
  const inline = objectAt(part, 'inlineData')
  const mediaType = textAt(inline, 'mimeType')
  if (!MEDIA.test(mediaType)) return `Unsupported MIME type: ${mediaType}`
  return /^[A-Za-z0-9+/_-]+={0,2}$/.test(textAt(inline, 'data'))
    ? undefined
    : `Invalid value at '${at}.inline_data.data' (TYPE_BYTES), Base64 decoding failed`
}

function count(content: JsonObject | undefined, name: string): number {
  return objectsOf(content?.parts).filter((part) => isObject(part[name])).length
}

/** Calls follow the user, and their results follow them: as many as there were calls, and in one content. */
function checkTurns(contents: readonly JsonObject[]): string | undefined {
  for (const [index, content] of contents.entries()) {
    const before = contents[index - 1]
    const results = count(content, 'functionResponse')
    if (results > 0) {
      const calls = count(before, 'functionCall')
      if (calls === 0) {
        return 'Please ensure that function response turn comes immediately after a function call turn.'
      }
      if (calls !== results) {
        return 'Please ensure that the number of function response parts is equal to the number of function call parts of the function call turn.'
      }
    }
    if (count(content, 'functionCall') === 0) continue
    if (before === undefined || before.role === 'model') {
      return 'Please ensure that function call turn comes immediately after a user turn or after a function response turn.'
    }
    const after = contents[index + 1]
    if (after === undefined || count(after, 'functionResponse') === 0) {
      return 'Please ensure that the number of function response parts is equal to the number of function call parts of the function call turn.'
    }
  }
  return undefined
}

/** From the last thing that the user said on, the first call of every step must have come back with its signature. */
function checkSignatures(contents: readonly JsonObject[], model: GeminiModel): string | undefined {
  const turn = contents.findLastIndex(
    (content) => content.role !== 'model' && !holds(content, 'functionResponse'),
  )
  for (const [index, content] of contents.entries()) {
    let isFirst = true
    for (const part of objectsOf(content.parts)) {
      if (!isObject(part.functionCall)) continue
      const { name, args = {} } = part.functionCall
      const signature = textAt(part, 'thoughtSignature')
      if (signature === '') {
        if (!isFirst || index < turn || !model.isThirdGeneration) continue
        return `Function call is missing a thought_signature in functionCall parts. This is required for tools to work correctly, and missing thought_signature may lead to degraded model performance. Additional data, function call \`default_api:${String(name)}\` , position ${index + 1}. Please refer to https://ai.google.dev/gemini-api/docs/thought-signatures for more details.`
      }
      isFirst = false
      if (!isGenuine(signature, [name ?? '', args])) return 'Corrupted thought signature.'
    }
  }
  return undefined
}
