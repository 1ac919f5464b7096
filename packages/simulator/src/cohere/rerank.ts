import type { ReadRequest } from '../family.ts'
import { isGiven, isList, type JsonObject, numberAt, textAt } from '../json.ts'
import { uuidFrom } from '../seed.ts'
import { countTokens } from '../tokens.ts'
import { ranked } from '../vectors.ts'
import { isReranker } from './models.ts'
import { refuse, unknownModel } from './refusal.ts'

const documentsMax = 10_000
/** A search is a query with up to so many documents: https://cohere.com/pricing */
const documentsPerSearch = 100
const parameters = new Set('model query documents top_n max_tokens_per_doc priority'.split(' '))

/** Reads `POST /v2/rerank`. It is billed by the search, not by the token. */
export function readRerank(body: JsonObject, requestId: string): ReadRequest {
  const model = textAt(body, 'model')
  if (!isReranker(model)) return unknownModel(model, requestId)
  const fault = checkRerank(body)
  if (fault !== undefined)
    return { kind: 'refused', reply: refuse(400, `invalid request: ${fault}`, requestId) }
  const query = textAt(body, 'query')
  const documents = isList(body.documents) ? body.documents.filter((text) => typeof text === 'string') : []
  const inputTokens = [query, ...documents].reduce((sum, text) => sum + countTokens(text), 0)
  const results = ranked(query, documents, numberAt(body, 'top_n') ?? documents.length)
  return {
    kind: 'computed',
    model,
    inputTokens,
    json: (usage, isEmpty) =>
      JSON.stringify({
        id: uuidFrom(requestId, 'rerank'),
        results: isEmpty
          ? []
          : results.map(({ index, relevance }) => ({ index, relevance_score: relevance })),
        meta: {
          api_version: { version: '2' },
          ...(usage === undefined
            ? {}
            : { billed_units: { search_units: Math.ceil(documents.length / documentsPerSearch) } }),
        },
      }),
  }
}

function checkRerank(body: JsonObject): string | undefined {
  const extra = Object.keys(body).find((name) => !parameters.has(name))
  if (extra !== undefined) return `unknown field: parameter '${extra}' is not a valid field`
  const { documents, top_n: topN } = body
  if (textAt(body, 'query') === '') return 'query must not be empty'
  if (!isList(documents) || documents.length === 0) return 'documents must not be empty'
  if (documents.some((document) => typeof document !== 'string')) return 'documents must be a list of strings'
  if (documents.length > documentsMax) return `documents must be at most ${documentsMax}`
  return isGiven(topN) && !(typeof topN === 'number' && topN >= 1) ? 'top_n must be at least 1' : undefined
}
