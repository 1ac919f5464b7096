import type { ReadRequest } from '../family.ts'
import {
  isGiven,
  isList,
  isObject,
  type Json,
  type JsonObject,
  numberAt,
  objectAt,
  objectsOf,
  textAt,
} from '../json.ts'
import { countTokens } from '../tokens.ts'
import { vectorOf } from '../vectors.ts'
import { refuse, unknownField } from './refusal.ts'
import { inCamelCase } from './request.ts'

const dimensionsMax = 3072
const tokensMax = 2048
const batchMax = 100
const fields = new Set('model content taskType title outputDimensionality autoTruncate'.split(' '))
const taskTypes = new Set(
  (
    'TASK_TYPE_UNSPECIFIED RETRIEVAL_QUERY RETRIEVAL_DOCUMENT SEMANTIC_SIMILARITY CLASSIFICATION CLUSTERING ' +
    'QUESTION_ANSWERING FACT_VERIFICATION CODE_RETRIEVAL_QUERY'
  ).split(' '),
)

/** Whether an action is one of embedding. */
export function isEmbedding(path: string): boolean {
  return /:(?:e|batchE)mbedContents?$/.test(path)
}

/** Reads `embedContent` and `batchEmbedContents`. The API tells no usage of either. */
export function readEmbed(given: Json, name: string, path: string): ReadRequest {
  const refused = (message: string): ReadRequest => ({
    kind: 'refused',
    reply: refuse('INVALID_ARGUMENT', message),
  })
  if (!/^gemini-embedding-/.test(name)) {
    const message = `models/${name} is not found for API version v1beta, or is not supported for embedContent. Call ListModels to see the list of available models and their supported methods.`
    return { kind: 'refused', reply: refuse('NOT_FOUND', message) }
  }
  const camel = inCamelCase(given)
  const body = isObject(camel) ? camel : {}
  const isBatch = path.endsWith(':batchEmbedContents')
  const requests = isBatch ? objectsOf(body.requests) : [body]
  if (requests.length === 0) return refused('* BatchEmbedContentsRequest.requests: must not be empty')
  if (requests.length > batchMax) {
    return refused(`* BatchEmbedContentsRequest.requests: at most ${batchMax} requests can be in one batch`)
  }
  for (const [index, request] of requests.entries()) {
    const extra = Object.keys(request).find((key) => !fields.has(key))
    const place = isBatch ? `requests[${index}]` : ''
    if (extra !== undefined) return { kind: 'refused', reply: unknownField(extra, place) }
    const fault = checkEmbed(request, name, isBatch)
    if (fault !== undefined) return refused(fault)
  }
  return {
    kind: 'computed',
    model: name,
    inputTokens: requests.reduce((sum, request) => sum + countTokens(textOf(request)), 0),
    json(_usage, isEmpty) {
      const embeddings = (isEmpty ? [] : requests).map((request) => ({
        values: vectorOf(name, textOf(request), numberAt(request, 'outputDimensionality') ?? dimensionsMax),
      }))
      return JSON.stringify(isBatch ? { embeddings } : { embedding: embeddings[0] ?? { values: [] } })
    },
  }
}

function checkEmbed(request: JsonObject, name: string, isBatch: boolean): string | undefined {
  const { model, outputDimensionality: dimensions, taskType } = request
  if (isBatch && model !== `models/${name}`)
    return '* BatchEmbedContentsRequest.requests.model: must be the same model'
  if (textOf(request) === '') return '* EmbedContentRequest.content: contents is not specified'
  if (isGiven(taskType) && !(typeof taskType === 'string' && taskTypes.has(taskType))) {
    return 'Invalid value at task_type'
  }
  const tokens = countTokens(textOf(request))
  if (tokens > tokensMax)
    return `The input token count (${tokens}) exceeds the maximum number of tokens allowed (${tokensMax}).`
  const isLength = typeof dimensions === 'number' && Number.isInteger(dimensions) && dimensions >= 1
  return isGiven(dimensions) && !(isLength && dimensions <= dimensionsMax)
    ? `outputDimensionality must be between 1 and ${dimensionsMax}`
    : undefined
}

function textOf(request: JsonObject): string {
  const { parts } = objectAt(request, 'content')
  return (isList(parts) ? objectsOf(parts) : []).map((part) => textAt(part, 'text')).join('')
}
