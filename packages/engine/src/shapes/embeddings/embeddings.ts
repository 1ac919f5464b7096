import * as z from 'zod'
import type { EmbedTask } from '../../ask.ts'
import { fault } from '../fault.ts'
import { openaiErrorBody } from '../openai-error.ts'
import type { ParsedRequest, ParseOptions, Shape } from '../shape.ts'
import { TASK_BOUNDS } from '../task-bounds.ts'
import { parseTask, taskParameters } from '../task-request.ts'
import { embeddingsReply } from './reply.ts'

/** OpenAI's embeddings. https://platform.openai.com/docs/api-reference/embeddings */
export const embeddings: Shape = {
  name: 'embeddings',
  path: '/v1/embeddings',
  modelKind: 'embedding',
  keyHeaders: 'bearer',
  parse: parseEmbeddings,
  wholeReply: embeddingsReply,
  errorBody: openaiErrorBody,
}

const text = z.string().min(1)
const token = z.int().min(0).max(TASK_BOUNDS.tokenMax)
const tokens = z.array(token).min(1).max(TASK_BOUNDS.tokensPerTextMax)

/** One text or several, each as a text or as its tokens. */
const input = z.union([
  text,
  z.array(text).min(1).max(TASK_BOUNDS.textsMax),
  tokens,
  z.array(tokens).min(1).max(TASK_BOUNDS.textsMax),
])

export const embeddingsBody = taskParameters.extend({
  input,
  encoding_format: z.enum(['float', 'base64']).nullish(),
  dimensions: z.int().min(1).max(TASK_BOUNDS.dimensionsMax).nullish(),
  input_type: z.enum(['search_query', 'search_document', 'classification', 'clustering']).nullish(),
})

function parseEmbeddings(body: unknown, options: ParseOptions): ParsedRequest {
  const parsed = parseTask(body, options, { schema: embeddingsBody, toTask })
  if (!parsed.ok || parsed.request.route.models.length === 1) return parsed
  return fault(
    'unsupported_parameter',
    ['models'],
    'is not supported: vectors of different models cannot be compared. Name one model; its own endpoints are tried in turn',
  )
}

function toTask({
  input,
  encoding_format,
  dimensions,
  input_type,
}: z.output<typeof embeddingsBody>): EmbedTask {
  return {
    type: 'embed',
    inputs: inputsOf(input),
    encoding: encoding_format ?? 'float',
    ...(typeof dimensions === 'number' ? { dimensions } : {}),
    ...(input_type ? { purpose: input_type } : {}),
  }
}

function inputsOf(value: z.output<typeof input>): EmbedTask['inputs'] {
  if (typeof value === 'string') return [value]
  const texts = value.filter((item) => typeof item === 'string')
  if (texts.length > 0) return texts
  const numbers = value.filter((item) => typeof item === 'number')
  return numbers.length > 0 ? [numbers] : value.filter((item) => typeof item === 'object')
}
