import { openaiErrorBody } from '../openai-error.ts'
import type { Shape } from '../shape.ts'
import { createResponseStream, createWholeResponse } from './reply.ts'
import { parseResponses } from './request.ts'

/** OpenAI's Responses, without what OpenAI keeps. https://platform.openai.com/docs/api-reference/responses */
export const responses: Shape = {
  name: 'responses',
  path: '/v1/responses',
  modelKind: 'chat',
  keyHeaders: 'bearer',
  parse: parseResponses,
  streamReply: createResponseStream,
  wholeReply: createWholeResponse,
  errorBody: openaiErrorBody,
}
