import { openaiErrorBody } from '../openai-error.ts'
import type { Shape } from '../shape.ts'
import { createJsonReply } from './reply-json.ts'
import { createStreamReply } from './reply-stream.ts'
import { parseChatCompletion } from './request.ts'

/** OpenAI's chat completions. https://platform.openai.com/docs/api-reference/chat */
export const chatCompletions: Shape = {
  name: 'chat_completions',
  path: '/v1/chat/completions',
  modelKind: 'chat',
  keyHeaders: 'bearer',
  parse: parseChatCompletion,
  streamReply: createStreamReply,
  wholeReply: createJsonReply,
  errorBody: openaiErrorBody,
}
