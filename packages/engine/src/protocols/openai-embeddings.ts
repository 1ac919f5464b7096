import type { Endpoint } from '@mesh/catalog/catalog.ts'
import { brokenAnswer, type Emit } from '../answer-decoder.ts'
import type { Ask, JsonObject } from '../ask.ts'
import type { EncodedRequest, Protocol } from '../protocol.ts'
import { classifyAnswer } from '../upstream-failure.ts'
import { inputOnlyUsage } from '../usage.ts'
import { arrayOf, objectOf } from '../wire-json.ts'
import { documentDecoder, embedTaskOf, jsonRequest, takesTexts, vectorOf } from './task-answer.ts'

/**
 * OpenAI's embeddings, spoken by OpenAI, by Azure at its own address, and by most hosts of open models.
 * https://platform.openai.com/docs/api-reference/embeddings
 */
export const openaiEmbeddings: Protocol = {
  choices: () => 1,
  encode,
  takes,
  decoder: (bounds) => documentDecoder(bounds, readDocument),
  classify: classifyAnswer,
}

/** Those who make a difference between end users, and who pack vectors when asked to. */
const OPENAI_ITSELF: ReadonlySet<string> = new Set(['openai', 'azure'])

/** The most texts of one request. */
const TEXTS_MAX = 2048

function takes({ provider }: Endpoint, parameter: string): boolean {
  if (parameter === 'user') return OPENAI_ITSELF.has(provider)
  return takesTexts(parameter, TEXTS_MAX) ?? (parameter === 'dimensions' || parameter === 'input.tokens')
}

function encode(ask: Ask, endpoint: Endpoint): EncodedRequest {
  const { inputs, dimensions, encoding, purpose } = embedTaskOf(ask)
  const isOpenai = OPENAI_ITSELF.has(endpoint.provider)
  const dropped = [
    ...(purpose === undefined ? [] : ['input_type']),
    ...(ask.endUserHmac === undefined || isOpenai ? [] : ['user']),
  ]
  return jsonRequest(
    '/embeddings',
    {
      model: endpoint.upstreamModel,
      input: inputs,
      // Packed vectors are a quarter of the size. Who may not know how to pack is asked for plain ones.
      encoding_format: isOpenai ? encoding : 'float',
      dimensions,
      user: isOpenai ? ask.endUserHmac : undefined,
    },
    dropped,
  )
}

function readDocument(body: JsonObject, emit: Emit): void {
  if (!Array.isArray(body.data)) return
  for (const [position, entry] of arrayOf(body.data).entries()) {
    const item = objectOf(entry)
    const vector = vectorOf(item?.embedding)
    const index = typeof item?.index === 'number' ? item.index : position
    emit(vector === undefined ? brokenAnswer('malformed') : { type: 'vector', index, vector })
  }
  emit({ type: 'usage', usage: inputOnlyUsage(objectOf(body.usage) ?? {}) })
  emit({ type: 'end' })
}
