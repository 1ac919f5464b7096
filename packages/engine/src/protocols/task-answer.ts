import { answerDecoder, brokenAnswer, type Emit } from '../answer-decoder.ts'
import type { Ask, EmbedTask, Json, JsonObject, RankTask } from '../ask.ts'
import type { AnswerBounds, Decoder, EncodedRequest } from '../protocol.ts'
import type { Vector } from '../stream-event.ts'
import { arrayOf, objectOf } from '../wire-json.ts'

/* What all protocols for vectors and scores have in common: a request and a document, neither of them streamed. */

/** @throws Error where a call of another kind reached a protocol: a plan holds endpoints of the asked models only. */
export function embedTaskOf({ task }: Ask): EmbedTask {
  if (task?.type === 'embed') return task
  throw new Error('a call for something else reached a protocol for embeddings')
}

/** @throws Error as `embedTaskOf` does. */
export function rankTaskOf({ task }: Ask): RankTask {
  if (task?.type === 'rank') return task
  throw new Error('a call for something else reached a protocol for ranking')
}

/** Whether so many texts may come at once, where that is what a need is about (`input.120_texts`). */
export function takesTexts(parameter: string, textsMax: number): boolean | undefined {
  const texts = /^input\.(\d+)_texts$/.exec(parameter)?.[1]
  return texts === undefined ? undefined : Number(texts) <= textsMax
}

/** Fields that are `undefined` are left out of the JSON. */
export function jsonRequest(
  path: string,
  body: object,
  droppedParameters: readonly string[] = [],
): EncodedRequest {
  return {
    path,
    headers: { 'content-type': 'application/json', accept: 'application/json' },
    body: JSON.stringify(body),
    droppedParameters,
  }
}

/** Reads an answer that comes in one piece. Where `read` ends nothing, there was no such answer. */
export function documentDecoder(bounds: AnswerBounds, read: (body: JsonObject, emit: Emit) => void): Decoder {
  return answerDecoder(
    { message: (_, emit) => emit(brokenAnswer('malformed')), done: () => {}, document: read },
    bounds,
  )
}

/** The longest vector that can be true: today's models make 4,096 numbers at most. */
const VECTOR_LENGTH_MAX = 65_536
const BASE64_CHARACTERS_MAX = VECTOR_LENGTH_MAX * 6

/** A vector as numbers or in base64, or `undefined` where it is neither. */
export function vectorOf(value: Json | undefined): Vector | undefined {
  if (typeof value === 'string') {
    const isPacked = value.length % 4 === 0 && value.length <= BASE64_CHARACTERS_MAX
    return isPacked && /^[A-Za-z0-9+/]+={0,2}$/.test(value) ? value : undefined
  }
  const numbers = arrayOf(value).filter((each) => typeof each === 'number')
  const isVector = numbers.length === arrayOf(value).length && numbers.length <= VECTOR_LENGTH_MAX
  return isVector && numbers.length > 0 ? numbers : undefined
}

/** Tells vectors that come in the order of their inputs. */
export function emitVectors(values: readonly (Json | undefined)[], emit: Emit): void {
  for (const [index, value] of values.entries()) {
    const vector = vectorOf(value)
    emit(vector === undefined ? brokenAnswer('malformed') : { type: 'vector', index, vector })
  }
}

/** Tells the scores of a list of results, in whatever order they come. */
export function emitScores(results: readonly Json[], emit: Emit): void {
  for (const entry of results) {
    const result = objectOf(entry)
    const score = result?.relevance_score ?? result?.score
    const index = result?.index
    if (typeof index !== 'number' || typeof score !== 'number') emit(brokenAnswer('malformed'))
    else emit({ type: 'score', index, score })
  }
}
