import type { Endpoint } from '@mesh/catalog/catalog.ts'
import type { Emit } from '../answer-decoder.ts'
import type { Ask, JsonObject } from '../ask.ts'
import type { EncodedRequest, Protocol } from '../protocol.ts'
import { classifyAnswer } from '../upstream-failure.ts'
import { inputOnlyUsage } from '../usage.ts'
import { arrayOf, objectOf } from '../wire-json.ts'
import { documentDecoder, emitScores, jsonRequest, rankTaskOf } from './task-answer.ts'

/** Jina's way to rank, as vLLM and those who run it speak it too. https://api.jina.ai/redoc, `POST /v1/rerank` */
export const jinaStyleRerank: Protocol = {
  choices: () => 1,
  encode,
  takes: (_, parameter) => parameter === 'top_n',
  decoder: (bounds) => documentDecoder(bounds, readDocument),
  classify: classifyAnswer,
}

/** The texts come back from no provider: MESH has them, and puts them beside their scores itself. */
function encode(ask: Ask, endpoint: Endpoint): EncodedRequest {
  const { query, documents, resultsMax } = rankTaskOf(ask)
  const body = { model: endpoint.upstreamModel, query, documents, top_n: resultsMax, return_documents: false }
  return jsonRequest('/rerank', body, ask.endUserHmac === undefined ? [] : ['user'])
}

function readDocument(body: JsonObject, emit: Emit): void {
  if (!Array.isArray(body.results)) return
  emitScores(arrayOf(body.results), emit)
  emit({ type: 'usage', usage: inputOnlyUsage(objectOf(body.usage) ?? {}) })
  emit({ type: 'end' })
}
