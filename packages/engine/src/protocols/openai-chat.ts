import type { Protocol } from '../protocol.ts'
import { classifyAnswer } from '../upstream-failure.ts'
import { chatDecoder } from './openai-chat-decode.ts'
import { chatChoices, chatTakes, encodeChat } from './openai-chat-encode.ts'

/**
 * OpenAI's chat completions, spoken by OpenAI and, with the differences in `quirks.ts`, by most others.
 * https://platform.openai.com/docs/api-reference/chat
 *
 * `[DONE]` is the terminal event of a stream, a whole document with choices that of an answer in one piece; either
 * ends an answer only where its choices have said why they finished (`answer-decoder.ts`).
 */
export const openaiChat: Protocol = {
  choices: chatChoices,
  encode: encodeChat,
  takes: chatTakes,
  decoder: chatDecoder,
  classify: classifyAnswer,
}
