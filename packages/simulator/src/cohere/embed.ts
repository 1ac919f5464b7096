import type { ReadRequest } from '../family.ts'
import { isGiven, isList, type JsonObject, numberAt, objectsOf, textAt } from '../json.ts'
import { uuidFrom } from '../seed.ts'
import { countTokens } from '../tokens.ts'
import { packed, vectorOf } from '../vectors.ts'
import { embedDimensions } from './models.ts'
import { refuse, unknownModel } from './refusal.ts'

const textsMax = 96
const inputTypes = ['search_document', 'search_query', 'classification', 'clustering', 'image']
const truncations = ['NONE', 'START', 'END']
const parameters = new Set(
  'model input_type texts inputs images max_tokens output_dimension embedding_types truncate priority'.split(
    ' ',
  ),
)

/** Reads `POST /v2/embed`. Of the vendor's types of numbers those are simulated that hold whole floats. */
export function readEmbed(body: JsonObject, requestId: string): ReadRequest {
  const model = textAt(body, 'model')
  const dimensions = embedDimensions(model)
  if (dimensions === undefined) return unknownModel(model, requestId)
  const fault = checkEmbed(body, dimensions)
  if (fault !== undefined)
    return { kind: 'refused', reply: refuse(400, `invalid request: ${fault}`, requestId) }
  const texts = textsOf(body)
  const length = numberAt(body, 'output_dimension') ?? dimensions[0] ?? 0
  const types = isList(body.embedding_types) ? body.embedding_types : ['float']
  const inputTokens = texts.reduce((sum, text) => sum + countTokens(text), 0)
  return {
    kind: 'computed',
    model,
    inputTokens,
    json(usage, isEmpty) {
      const vectors = isEmpty ? [] : texts.map((text) => vectorOf(model, text, length))
      return JSON.stringify({
        id: uuidFrom(requestId, 'embed'),
        embeddings: {
          ...(types.includes('float') ? { float: vectors } : {}),
          ...(types.includes('base64') ? { base64: vectors.map(packed) } : {}),
        },
        texts,
        meta: {
          api_version: { version: '2' },
          ...(usage === undefined
            ? {}
            : { billed_units: { input_tokens: usage.inputTokens, image_tokens: 0 } }),
        },
        response_type: 'embeddings_by_type',
      })
    },
  }
}

function checkEmbed(body: JsonObject, dimensions: readonly number[]): string | undefined {
  const extra = Object.keys(body).find((name) => !parameters.has(name))
  if (extra !== undefined) return `unknown field: parameter '${extra}' is not a valid field`
  if (!inputTypes.includes(textAt(body, 'input_type')))
    return `input_type must be one of ${inputTypes.join(', ')}`
  const { texts, output_dimension: dimension, embedding_types: types, truncate } = body
  if (isGiven(body.images)) return 'images are not simulated'
  if (isGiven(texts) && !(isList(texts) && texts.every((text) => typeof text === 'string'))) {
    return 'texts must be a list of strings'
  }
  const count = textsOf(body).length
  if (count === 0) return 'at least one of texts, images or inputs must be given'
  if (count > textsMax) return `total number of texts must be at most ${textsMax}, received ${count}`
  if (isGiven(dimension) && !dimensions.some((known) => known === dimension)) {
    return `output_dimension must be one of ${dimensions.join(', ')}`
  }
  if (isGiven(types) && !(isList(types) && types.every((type) => type === 'float' || type === 'base64'))) {
    return 'embedding_types: float and base64 are simulated'
  }
  return isGiven(truncate) && !truncations.some((known) => known === truncate)
    ? `truncate must be one of ${truncations.join(', ')}`
    : undefined
}

/** The texts, or the texts of inputs that may have several parts. */
function textsOf(body: JsonObject): readonly string[] {
  const texts = isList(body.texts) ? body.texts.filter((text) => typeof text === 'string') : []
  const inputs = objectsOf(body.inputs).map((input) =>
    objectsOf(input.content)
      .map((part) => textAt(part, 'text'))
      .join('\n'),
  )
  return [...texts, ...inputs]
}
