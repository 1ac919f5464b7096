import { type Family, type ReadRequest, sseFillers } from '../family.ts'
import { isObject, type JsonObject, textAt } from '../json.ts'
import { totalTokens } from '../prompt-cache.ts'
import { checkChat } from './check.ts'
import { readEmbed } from './embed.ts'
import { commandModel } from './models.ts'
import { readPrompt } from './read.ts'
import { jsonHeaders, refusal, refuse, streamHeaders, unknownModel } from './refusal.ts'
import { chatRendering } from './render.ts'
import { readRerank } from './rerank.ts'

/** A prefix shorter than this is not cached, and what is goes by whole blocks of so many tokens. */
const cache = { minimumTokens: 128, blockTokens: 16 } as const

/** Cohere's API, version 2: chat, embed and rerank. */
export const cohere: Family = {
  credentialRefusal: (headers, requestId) =>
    /^Bearer \S+$/i.test(headers.authorization ?? '')
      ? undefined
      : refuse(401, 'no api key supplied', requestId),
  refusal,
  read(body, _headers, requestId, path) {
    const request = isObject(body) ? body : {}
    if (path === '/embed') return readEmbed(request, requestId)
    return path === '/rerank' ? readRerank(request, requestId) : readChat(request, requestId)
  },
  streamHeaders,
  jsonHeaders,
  malformedEvent:
    'event: content-delta\ndata: {"type":"content-delta","index":0,"delta":{"message":{"con\n\n',
  ...sseFillers,
}

function readChat(body: JsonObject, requestId: string): ReadRequest {
  const name = textAt(body, 'model')
  const model = commandModel(name)
  if (model === undefined) return unknownModel(name, requestId)
  const fault = checkChat(body, model)
  if (fault !== undefined) return { kind: 'refused', reply: refuse(400, fault, requestId) }
  const prompt = readPrompt(body, model)
  const inputTokens = totalTokens(prompt.parts)
  if (inputTokens > model.contextTokens) {
    const message = `invalid request: too many tokens: the total number of tokens cannot exceed ${model.contextTokens}, received ${inputTokens}`
    return { kind: 'refused', reply: refuse(400, message, requestId) }
  }
  const scope = `cohere\n${name}`
  return {
    kind: 'understood',
    prompt,
    hidesReasoning: false,
    useCache: (cached) => cached.useAutomatic(scope, prompt.parts, cache.minimumTokens, cache.blockTokens),
    render: chatRendering,
  }
}
