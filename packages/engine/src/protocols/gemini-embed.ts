import type { Endpoint } from '@mesh/catalog/catalog.ts'
import type { Emit } from '../answer-decoder.ts'
import type { Ask, EmbedTask, JsonObject } from '../ask.ts'
import type { EncodedRequest, Protocol } from '../protocol.ts'
import { classifyAnswer } from '../upstream-failure.ts'
import { inputOnlyUsage } from '../usage.ts'
import { arrayOf, objectOf } from '../wire-json.ts'
import { documentDecoder, embedTaskOf, emitVectors, jsonRequest, takesTexts } from './task-answer.ts'

/**
 * Gemini's embeddings. https://ai.google.dev/api/embeddings
 *
 * Every call is a batch, also one of one text. The Gemini API tells no usage of it (Vertex AI does), so what it
 * charges for is estimated and said to be.
 */
export const geminiEmbed: Protocol = {
  choices: () => 1,
  encode,
  takes,
  decoder: (bounds) => documentDecoder(bounds, readDocument),
  classify: classifyAnswer,
}

/** The most texts of one batch. */
const TEXTS_MAX = 100

function takes(_: Endpoint, parameter: string): boolean {
  return takesTexts(parameter, TEXTS_MAX) ?? (parameter === 'dimensions' || parameter === 'input_type')
}

const TASK_TYPES: Readonly<Record<NonNullable<EmbedTask['purpose']>, string>> = {
  search_query: 'RETRIEVAL_QUERY',
  search_document: 'RETRIEVAL_DOCUMENT',
  classification: 'CLASSIFICATION',
  clustering: 'CLUSTERING',
}

function encode(ask: Ask, endpoint: Endpoint): EncodedRequest {
  const { inputs, dimensions, purpose } = embedTaskOf(ask)
  const model = `models/${endpoint.upstreamModel}`
  const requests = inputs.map((text) => ({
    model,
    content: { parts: [{ text }] },
    taskType: purpose && TASK_TYPES[purpose],
    outputDimensionality: dimensions,
  }))
  const dropped = ask.endUserHmac === undefined ? [] : ['user']
  return jsonRequest(`/${model}:batchEmbedContents`, { requests }, dropped)
}

function readDocument(body: JsonObject, emit: Emit): void {
  if (!Array.isArray(body.embeddings)) return
  emitVectors(
    arrayOf(body.embeddings).map((embedding) => objectOf(embedding)?.values),
    emit,
  )
  const { promptTokenCount, totalTokenCount } = objectOf(body.usageMetadata) ?? {}
  const usage = {
    ...(promptTokenCount === undefined ? {} : { prompt_tokens: promptTokenCount }),
    ...(totalTokenCount === undefined ? {} : { total_tokens: totalTokenCount }),
  }
  emit({ type: 'usage', usage: inputOnlyUsage(usage) })
  emit({ type: 'end' })
}
