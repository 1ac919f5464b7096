import type { IncomingHttpHeaders } from 'node:http'
import { type Family, type ReadRequest, type Reply, sseFillers } from '../family.ts'
import { isObject, type JsonObject } from '../json.ts'
import { totalTokens } from '../prompt-cache.ts'
import { checkRequest } from './check.ts'
import { claudeModel } from './models.ts'
import { readPrompt } from './read.ts'
import { type ErrorType, jsonHeaders, refusal, refuse, streamHeaders } from './refusal.ts'
import { messageRendering } from './render.ts'
import { thinkingOf } from './thinking.ts'

/** The shortest prefix that is cached; marks on shorter ones are taken and do nothing. */
const cacheTokensMin = 1_024

/** The versions of the API that its published clients ask for. */
const versions: ReadonlySet<string> = new Set(['2023-01-01', '2023-06-01', '2026-10-21'])

/** Anthropic's messages API. */
export const anthropicMessages: Family = {
  credentialRefusal: (headers, requestId) => {
    const bearer = /^Bearer \S+$/.test(headers.authorization ?? '')
    const key = headers['x-api-key']
    if (bearer || (typeof key === 'string' && key !== '')) return undefined
    return refuse('authentication_error', 'x-api-key header is required', requestId)
  },
  refusal,
  read: (body, headers, requestId) => read(isObject(body) ? body : {}, headers, requestId),
  streamHeaders,
  jsonHeaders,
  malformedEvent:
    'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_de\n\n',
  ...sseFillers,
}

function read(body: JsonObject, headers: IncomingHttpHeaders, requestId: string): ReadRequest {
  const refused = (type: ErrorType, message: string): ReadRequest => {
    const reply: Reply = refuse(type, message, requestId)
    return { kind: 'refused', reply }
  }
  const version = headers['anthropic-version']
  if (typeof version !== 'string')
    return refused('invalid_request_error', 'anthropic-version: header is required')
  if (!versions.has(version)) {
    return refused('invalid_request_error', `anthropic-version: "${version}" is not a valid version`)
  }
  const fault = checkRequest(body)
  if (fault !== undefined) return refused('invalid_request_error', fault)
  const name = String(body.model)
  const model = claudeModel(name)
  if (model === undefined) return refused('not_found_error', `model: ${name}`)
  const thinking = thinkingOf(body, model)
  const prompt = readPrompt(body, thinking.tokens)
  const inputTokens = totalTokens(prompt.parts)
  if (inputTokens > model.contextTokens) {
    const message = `prompt is too long: ${inputTokens} tokens > ${model.contextTokens} maximum`
    return refused('invalid_request_error', message)
  }
  return {
    kind: 'understood',
    prompt,
    hidesReasoning: !thinking.shown,
    useCache: (cache) => cache.useMarked(name, prompt.parts, cacheTokensMin),
    render: messageRendering(thinking.shown),
  }
}
