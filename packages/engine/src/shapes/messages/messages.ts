import type { Shape } from '../shape.ts'
import { messagesErrorBody } from './reply.ts'
import { createMessageReply } from './reply-json.ts'
import { createMessageStream } from './reply-stream.ts'
import { parseMessages } from './request.ts'

/** Anthropic's messages. https://platform.claude.com/docs/en/api/messages */
export const messages: Shape = {
  name: 'messages',
  path: '/v1/messages',
  modelKind: 'chat',
  keyHeaders: 'bearer_or_x_api_key',
  requestIdHeader: 'request-id',
  parse: parseMessages,
  streamReply: createMessageStream,
  wholeReply: createMessageReply,
  errorBody: messagesErrorBody,
}
