import { type Family, type ReadRequest, sseFillers } from '../family.ts'
import { isObject, type Json } from '../json.ts'
import { totalTokens } from '../prompt-cache.ts'
import { checkRequest } from './check.ts'
import { isEmbedding, readEmbed } from './embed.ts'
import { geminiModel } from './models.ts'
import { readPrompt } from './read.ts'
import { jsonHeaders, refusal, refuse, streamHeaders } from './refusal.ts'
import { contentRendering } from './render.ts'
import { actionOf, inCamelCase } from './request.ts'
import { thinkingOf } from './thinking.ts'

/** The shortest prefix that is cached, and the steps in which it grows. */
const CACHE_TOKENS_MIN = 1_024
const CACHE_BLOCK_TOKENS = 256

/** Google AI Studio's Gemini API. */
export const gemini: Family = {
  credentialRefusal: (headers) => {
    const key = headers['x-goog-api-key']
    if (typeof key === 'string' && key !== '') return undefined
    const message =
      "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or other form of API consumer identity to call this API."
    return refuse('PERMISSION_DENIED', message)
  },
  refusal,
  read: (body, _headers, _requestId, path) => read(body, path),
  streamHeaders,
  jsonHeaders,
  malformedEvent: 'data: {"candidates": [{"content": {"parts": [{"te\r\n\r\n',
  ...sseFillers,
}

function read(given: Json, path: string): ReadRequest {
  const { model: name, stream } = actionOf(path)
  if (isEmbedding(path)) return readEmbed(given, name, path)
  const model = geminiModel(name)
  if (model === undefined) {
    const message = `models/${name} is not found for API version v1beta, or is not supported for generateContent. Call ListModels to see the list of available models and their supported methods.`
    return { kind: 'refused', reply: refuse('NOT_FOUND', message) }
  }
  const camel = inCamelCase(given)
  const body = isObject(camel) ? camel : {}
  const fault = checkRequest(body, name, model)
  if (fault !== undefined) return { kind: 'refused', reply: fault }
  const thinking = thinkingOf(body, model)
  const prompt = readPrompt(body, name, stream, thinking.tokens, model.outputTokensMax)
  const inputTokens = totalTokens(prompt.parts)
  if (inputTokens > model.contextTokens) {
    const message = `The input token count (${inputTokens}) exceeds the maximum number of tokens allowed (${model.contextTokens}).`
    return { kind: 'refused', reply: refuse('INVALID_ARGUMENT', message) }
  }
  return {
    kind: 'understood',
    prompt,
    hidesReasoning: !thinking.shown,
    useCache: (cache) =>
      cache.useAutomatic(`google ${name}`, prompt.parts, CACHE_TOKENS_MIN, CACHE_BLOCK_TOKENS),
    render: contentRendering(model, thinking.shown),
  }
}
