import type { Protocol } from '../protocol.ts'
import { classifyAnswer } from '../upstream-failure.ts'
import { messagesDecoder } from './anthropic-messages-decode.ts'
import { encodeMessages, messagesTake } from './anthropic-messages-encode.ts'

/**
 * Anthropic's messages. https://platform.claude.com/docs/en/api/messages
 *
 * `message_stop` is the terminal event of a stream, a whole message that of an answer in one piece; either ends an
 * answer only where it has said why it stopped (`answer-decoder.ts`). The path holds `/v1`, for the vendor's base URL
 * does not.
 */
export const anthropicMessages: Protocol = {
  // A message is one answer.
  choices: () => 1,
  encode: encodeMessages,
  takes: messagesTake,
  decoder: messagesDecoder,
  classify: classifyAnswer,
}
