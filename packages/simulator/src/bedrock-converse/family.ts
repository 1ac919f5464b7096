import type { Family, ReadRequest } from '../family.ts'
import { isObject, type JsonObject } from '../json.ts'
import { totalTokens } from '../prompt-cache.ts'
import { checkRequest } from './check.ts'
import { credentialRefusal } from './credential.ts'
import { event, prelude } from './event-stream.ts'
import { bedrockModel } from './models.ts'
import { operationOf, readPrompt } from './read.ts'
import { jsonHeaders, refusal, refuse, streamHeaders } from './refusal.ts'
import { converseRendering } from './render.ts'
import { converseThinking } from './thinking.ts'

/** The shortest prefix that is cached; points on shorter ones are taken and do nothing. */
const cacheTokensMin = 1_024

const emptyEvent = event('contentBlockDelta', { contentBlockIndex: 0, delta: { text: '' }, p: 'ab' })

/** Amazon Bedrock's Converse. */
export const bedrockConverse: Family = {
  credentialRefusal,
  refusal,
  read: (body, _headers, requestId, path) => read(isObject(body) ? body : {}, path, requestId),
  streamHeaders,
  jsonHeaders,
  malformedEvent: withWrongChecksum(emptyEvent),
  emptyEvent,
  oversizedStart: (bytes) => prelude(bytes, 0),
}

function withWrongChecksum(message: Uint8Array): Uint8Array {
  return message.map((byte, at) => (at === message.length - 1 ? byte ^ 1 : byte))
}

function read(body: JsonObject, path: string, requestId: string): ReadRequest {
  const refused = (message: string): ReadRequest => ({
    kind: 'refused',
    reply: refuse('ValidationException', message, requestId),
  })
  const operation = operationOf(path)
  const model = bedrockModel(operation?.model ?? '')
  if (operation === undefined || model === undefined)
    return refused('The provided model identifier is invalid.')
  const fault = checkRequest(body, model)
  if (fault !== undefined) return refused(fault)
  const thinking = converseThinking(body, model)
  const prompt = readPrompt(body, {
    ...operation,
    reasoningTokens: thinking.tokens,
    outputTokensMax: model.outputTokensMax,
  })
  if (totalTokens(prompt.parts) > model.contextTokens)
    return refused('Input is too long for requested model.')
  const noCache = { read: 0, write5m: 0, write1h: 0 }
  return {
    kind: 'understood',
    prompt,
    hidesReasoning: thinking.shows === 'signature' || thinking.shows === 'redacted',
    useCache: (cache) =>
      model.takesCachePoints
        ? cache.useMarked(`bedrock ${operation.model}`, prompt.parts, cacheTokensMin)
        : noCache,
    render: converseRendering(thinking.shows, model.takesCachePoints),
  }
}
