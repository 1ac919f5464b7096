import { type Family, type ReadRequest, type Reply, sseFillers } from '../family.ts'
import { isObject, textAt } from '../json.ts'
import { readResponses } from '../openai-responses/responses.ts'
import { readEmbeddings } from '../openai-tasks/embeddings.ts'
import { readRerank } from '../openai-tasks/rerank.ts'
import { totalTokens } from '../prompt-cache.ts'
import type { ChatProvider } from '../providers.ts'
import { filteredPrompt } from './azure.ts'
import { checkRequest, outputBound, unknownParameter } from './check.ts'
import { type ChatDialect, chatDialect, openAiModel, useDialectsCache } from './dialects.ts'
import { readPrompt } from './read.ts'
import {
  extraForbidden,
  invalid,
  jsonHeaders,
  missingCredential,
  refusal,
  refuse,
  streamHeaders,
} from './refusal.ts'
import { chatRendering } from './render.ts'

/** OpenAI's API as `provider` speaks it: chat completions, and Responses, embeddings and rankings where it has them. */
export function openAiChat(provider: ChatProvider): Family {
  const dialect = chatDialect(provider, '')
  return {
    credentialRefusal: (headers, requestId) =>
      /^Bearer \S+$/.test(headers.authorization ?? '') || (provider === 'azure' && headers['api-key'])
        ? undefined
        : missingCredential(dialect, requestId),
    refusal: (kind, requestId, detail) => refusal(dialect, kind, requestId, detail),
    ...(provider === 'azure'
      ? { filteredPrompt: (requestId) => refuse(dialect, filteredPrompt, requestId) }
      : {}),
    read: (body, _headers, requestId, path) => {
      const request = isObject(body) ? body : {}
      const spoken = chatDialect(provider, textAt(request, 'model'))
      switch (path) {
        case '/responses':
          return readResponses(request, spoken, requestId)
        case '/embeddings':
          return readEmbeddings(request, spoken, requestId)
        case '/rerank':
          return readRerank(request, spoken, requestId)
        default:
          return read(request, spoken, requestId)
      }
    },
    streamHeaders,
    jsonHeaders,
    malformedEvent: 'data: {"id":"chatcmpl-malformed","choices":[{"index":0,"delta":{"content":"brok\n\n',
    ...sseFillers,
  }
}

function read(
  body: Parameters<typeof checkRequest>[0],
  dialect: ChatDialect,
  requestId: string,
): ReadRequest {
  const refused = (reply: Reply): ReadRequest => ({ kind: 'refused', reply })
  const unknown = unknownParameter(body, dialect)
  if (unknown !== undefined && dialect.unknownParameters === 'pydantic') {
    return refused(extraForbidden(unknown, requestId))
  }
  if (unknown !== undefined) {
    const message = `Unrecognized request argument supplied: ${unknown.join('.')}`
    return refused(refuse(dialect, invalid(message), requestId))
  }
  const problem = checkRequest(body, dialect)
  if (problem !== undefined) return refused(refuse(dialect, problem, requestId))
  const prompt = readPrompt(body, dialect)
  const inputTokens = totalTokens(prompt.parts)
  const { contextTokens } = openAiModel(prompt.model)
  if (dialect.openAiModels && inputTokens + (outputBound(body) ?? 0) > contextTokens) {
    const message = `This model's maximum context length is ${contextTokens} tokens. However, your messages resulted in ${inputTokens} tokens. Please reduce the length of the messages.`
    return refused(refuse(dialect, invalid(message, 'messages', 'context_length_exceeded'), requestId))
  }
  return {
    kind: 'understood',
    prompt,
    hidesReasoning: dialect.reasoning === 'hidden',
    useCache: useDialectsCache(dialect, body, prompt),
    render: chatRendering(body, dialect),
  }
}
