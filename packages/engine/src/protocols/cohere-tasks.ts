import type { Endpoint } from '@mesh/catalog/catalog.ts'
import type { Emit } from '../answer-decoder.ts'
import type { Ask, EmbedTask, JsonObject, RankTask } from '../ask.ts'
import type { EncodedRequest } from '../protocol.ts'
import { cohereUsage } from '../usage.ts'
import { arrayOf, objectOf } from '../wire-json.ts'
import { emitScores, emitVectors, jsonRequest, takesTexts } from './task-answer.ts'

/** The most texts of one request. */
const TEXTS_MAX = 96

/** https://docs.cohere.com/reference/embed */
export function encodeCohereEmbed(task: EmbedTask, ask: Ask, endpoint: Endpoint): EncodedRequest {
  const body = {
    model: endpoint.upstreamModel,
    texts: task.inputs,
    // Required. What is not said to be a query is something to be found.
    input_type: task.purpose ?? 'search_document',
    embedding_types: ['float'],
    output_dimension: task.dimensions,
    // A text that is too long is an error, as everywhere else, rather than cut without a word.
    truncate: 'NONE',
  }
  return jsonRequest('/embed', body, ask.endUserHmac === undefined ? [] : ['user'])
}

/** https://docs.cohere.com/reference/rerank */
export function encodeCohereRerank(task: RankTask, ask: Ask, endpoint: Endpoint): EncodedRequest {
  const { query, documents, resultsMax } = task
  const body = { model: endpoint.upstreamModel, query, documents, top_n: resultsMax }
  return jsonRequest('/rerank', body, ask.endUserHmac === undefined ? [] : ['user'])
}

/** Whether embeddings are asked for with a parameter; `undefined` for one of which they know nothing. */
export function cohereEmbedTakes(parameter: string): boolean | undefined {
  const taken = ['dimensions', 'input_type', 'top_n'].includes(parameter)
  return takesTexts(parameter, TEXTS_MAX) ?? (taken ? true : undefined)
}

/** Reads a document of vectors or of scores; false where it is neither. */
export function readCohereTask(body: JsonObject, emit: Emit): boolean {
  const embeddings = objectOf(body.embeddings)
  if (embeddings) emitVectors(arrayOf(embeddings.float ?? embeddings.base64), emit)
  else if (Array.isArray(body.results)) emitScores(arrayOf(body.results), emit)
  else return false
  // A search is billed by its number, which no price a token can say: its tokens are estimated.
  emit({ type: 'usage', usage: cohereUsage(objectOf(body.meta) ?? {}) })
  emit({ type: 'end' })
  return true
}
