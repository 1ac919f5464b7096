import type { ReadRequest } from '../family.ts'
import { isGiven, isList, type Json, type JsonObject, numberAt, textAt } from '../json.ts'
import type { ChatDialect } from '../openai-chat/dialects.ts'
import { invalid, type Problem, refuse } from '../openai-chat/refusal.ts'
import { countTokens } from '../tokens.ts'
import { packed, vectorOf } from '../vectors.ts'

/** OpenAI's bounds: https://platform.openai.com/docs/api-reference/embeddings/create */
const inputsMax = 2048
const tokensPerInputMax = 8192
const tokensMax = 300_000
const parameters = new Set('model input encoding_format dimensions user'.split(' '))

interface EmbeddingModel {
  readonly dimensions: number
  readonly isShortened: boolean
}

/** `undefined` for a name that is no embedding model's there. A deployment on Azure may have any name. */
function embeddingModel(name: string, { provider }: ChatDialect): EmbeddingModel | undefined {
  if (name === 'text-embedding-ada-002') return { dimensions: 1536, isShortened: false }
  if (name === 'text-embedding-3-large') return { dimensions: 3072, isShortened: true }
  if (name === 'text-embedding-3-small' || (provider === 'azure' && name !== '')) {
    return { dimensions: 1536, isShortened: true }
  }
  const isOpenWeights = provider !== 'openai' && /embed/i.test(name)
  return isOpenWeights ? { dimensions: 1024, isShortened: true } : undefined
}

/** Reads `POST /embeddings` as OpenAI and those who copied it take it. */
export function readEmbeddings(body: JsonObject, dialect: ChatDialect, requestId: string): ReadRequest {
  const refused = (problem: Problem): ReadRequest => ({
    kind: 'refused',
    reply: refuse(dialect, problem, requestId),
  })
  const name = textAt(body, 'model')
  const model = embeddingModel(name, dialect)
  if (model === undefined) {
    const message = `The model \`${name}\` does not exist or you do not have access to it.`
    return refused({ ...invalid(message, null, 'model_not_found'), status: 404 })
  }
  const inputs = inputsOf(body.input)
  const problem = checkEmbeddings(body, model, dialect) ?? checkInputs(inputs)
  if (problem !== undefined || inputs === undefined) return refused(problem ?? badInput)
  const dimensions = numberAt(body, 'dimensions') ?? model.dimensions
  return {
    kind: 'computed',
    model: name,
    inputTokens: inputs.reduce((sum, { tokens }) => sum + tokens, 0),
    json(usage, isEmpty) {
      const vectors = isEmpty ? [] : inputs.map(({ text }) => vectorOf(name, text, dimensions))
      return JSON.stringify({
        object: 'list',
        data: vectors.map((vector, index) => ({
          object: 'embedding',
          index,
          embedding: body.encoding_format === 'base64' ? packed(vector) : vector,
        })),
        model: name,
        ...(usage === undefined
          ? {}
          : { usage: { prompt_tokens: usage.inputTokens, total_tokens: usage.inputTokens } }),
      })
    },
  }
}

interface Input {
  /** The text itself, or what stands for one that came as tokens. */
  readonly text: string
  readonly tokens: number
}

const badInput = invalid(
  "'$.input' is invalid. Please check the API reference: https://platform.openai.com/docs/api-reference.",
)

/** One text or several, as texts or as tokens; `undefined` where it is none of these. */
function inputsOf(input: Json | undefined): readonly Input[] | undefined {
  if (typeof input === 'string') return [inputOf(input)].filter((each) => each !== undefined)
  if (!isList(input)) return undefined
  if (input.length > 0 && input.every((token) => typeof token === 'number')) return inputsOf([input])
  const inputs = input.map(inputOf).filter((each) => each !== undefined)
  return inputs.length === input.length ? inputs : undefined
}

function inputOf(input: Json): Input | undefined {
  if (typeof input === 'string') return input === '' ? undefined : { text: input, tokens: countTokens(input) }
  const isTokens = isList(input) && input.length > 0 && input.every((token) => Number.isInteger(token))
  return isTokens ? { text: input.join(' '), tokens: input.length } : undefined
}

function checkEmbeddings(body: JsonObject, model: EmbeddingModel, dialect: ChatDialect): Problem | undefined {
  const unknown = Object.keys(body).find((parameter) => !parameters.has(parameter))
  if (unknown !== undefined && dialect.unknownParameters === 'openai') {
    return invalid(`Unrecognized request argument supplied: ${unknown}`)
  }
  const { encoding_format: format, dimensions } = body
  if (isGiven(format) && format !== 'float' && format !== 'base64') {
    return invalid("Invalid value for 'encoding_format': must be one of float, base64", 'encoding_format')
  }
  if (!isGiven(dimensions)) return undefined
  if (!model.isShortened) return invalid('This model does not support specifying dimensions.', 'dimensions')
  const isLength = typeof dimensions === 'number' && Number.isInteger(dimensions) && dimensions >= 1
  return isLength && dimensions <= model.dimensions
    ? undefined
    : invalid(`Invalid value for 'dimensions': must be between 1 and ${model.dimensions}.`, 'dimensions')
}

function checkInputs(inputs: readonly Input[] | undefined): Problem | undefined {
  if (inputs === undefined || inputs.length === 0) return badInput
  if (inputs.length > inputsMax) {
    return invalid(`Invalid 'input': array too long. Expected at most ${inputsMax} elements.`, 'input')
  }
  const longest = Math.max(...inputs.map(({ tokens }) => tokens))
  if (longest > tokensPerInputMax) {
    return invalid(
      `This model's maximum context length is ${tokensPerInputMax} tokens, however you requested ${longest} tokens (${longest} in your prompt; 0 for the completion). Please reduce your prompt; or completion length.`,
    )
  }
  const total = inputs.reduce((sum, { tokens }) => sum + tokens, 0)
  const message = `Requested ${total} tokens, max ${tokensMax} tokens per request`
  return total > tokensMax ? { ...invalid(message), type: 'max_tokens_per_request' } : undefined
}
