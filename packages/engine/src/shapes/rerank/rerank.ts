import * as z from 'zod'
import type { RankTask } from '../../ask.ts'
import { openaiErrorBody } from '../openai-error.ts'
import type { Shape } from '../shape.ts'
import { TASK_BOUNDS } from '../task-bounds.ts'
import { parseTask, taskParameters } from '../task-request.ts'
import { rerankReply } from './reply.ts'

/**
 * Ranking as Cohere, Jina and OpenRouter have it.
 * https://docs.cohere.com/reference/rerank, https://api.jina.ai/redoc
 */
export const rerank: Shape = {
  name: 'rerank',
  path: '/v1/rerank',
  modelKind: 'rerank',
  keyHeaders: 'bearer',
  parse: (body, options) => parseTask(body, options, { schema: rerankBody, toTask }),
  wholeReply: rerankReply,
  errorBody: openaiErrorBody,
}

/** A text, or an object that holds one; what else it holds is the caller's own. */
const document = z.union([z.string(), z.object({ text: z.string() })])

export const rerankBody = taskParameters.extend({
  query: z.string().min(1).max(TASK_BOUNDS.queryCharactersMax),
  documents: z.array(document).min(1).max(TASK_BOUNDS.textsMax),
  top_n: z.int().min(1).max(TASK_BOUNDS.textsMax).nullish(),
  return_documents: z.boolean().nullish(),
})

function toTask({ query, documents, top_n, return_documents }: z.output<typeof rerankBody>): RankTask {
  return {
    type: 'rank',
    query,
    documents: documents.map((each) => (typeof each === 'string' ? each : each.text)),
    ...(typeof top_n === 'number' ? { resultsMax: top_n } : {}),
    returnDocuments: return_documents === true,
  }
}
