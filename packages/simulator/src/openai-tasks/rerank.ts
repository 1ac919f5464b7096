import type { ReadRequest } from '../family.ts'
import { isGiven, isList, isObject, type Json, type JsonObject, numberAt, textAt } from '../json.ts'
import type { ChatDialect } from '../openai-chat/dialects.ts'
import { invalid, type Problem, refuse } from '../openai-chat/refusal.ts'
import { idFrom, seedOf } from '../seed.ts'
import { countTokens } from '../tokens.ts'
import { ranked } from '../vectors.ts'

/** What the model is told around each pair of a query and a document. */
const tokensPerPair = 40

/** Reads `POST /rerank` in Jina's words, as vLLM speaks it. */
export function readRerank(body: JsonObject, dialect: ChatDialect, requestId: string): ReadRequest {
  const refused = (problem: Problem): ReadRequest => ({
    kind: 'refused',
    reply: refuse(dialect, problem, requestId),
  })
  const model = textAt(body, 'model')
  if (!/rerank/i.test(model)) {
    const message = `The model \`${model}\` does not exist.`
    return refused({ ...invalid(message, null, 'model_not_found'), status: 404 })
  }
  const query = textAt(body, 'query')
  const documents = documentsOf(body.documents)
  const topN = body.top_n
  if (query === '') return refused(invalid('query must not be empty', 'query'))
  if (documents === undefined || documents.length === 0) {
    return refused(invalid('documents must be a list of strings', 'documents'))
  }
  if (isGiven(topN) && !(typeof topN === 'number' && topN >= 1)) {
    return refused(invalid('top_n must be at least 1', 'top_n'))
  }
  const results = ranked(query, documents, numberAt(body, 'top_n') ?? documents.length)
  const shows = body.return_documents !== false
  return {
    kind: 'computed',
    model,
    inputTokens: documents.reduce(
      (sum, document) => sum + tokensPerPair + countTokens(query) + countTokens(document),
      0,
    ),
    json: (usage, isEmpty) =>
      JSON.stringify({
        id: `rerank-${idFrom(seedOf(requestId), 'rerank', 32)}`,
        model,
        ...(usage === undefined ? {} : { usage: { total_tokens: usage.inputTokens } }),
        results: (isEmpty ? [] : results).map(({ index, relevance }) => ({
          index,
          ...(shows ? { document: { text: documents[index] ?? '' } } : {}),
          relevance_score: relevance,
        })),
      }),
  }
}

/** Texts, or objects that hold one; `undefined` where one is neither. */
function documentsOf(value: Json | undefined): readonly string[] | undefined {
  if (!isList(value)) return undefined
  const texts = value.map((document) => (isObject(document) ? document.text : document))
  const strings = texts.filter((text) => typeof text === 'string')
  return strings.length === texts.length ? strings : undefined
}
