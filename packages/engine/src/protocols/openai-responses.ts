import type { Protocol } from '../protocol.ts'
import { classifyAnswer } from '../upstream-failure.ts'
import { responsesDecoder } from './openai-responses-decode.ts'
import { encodeResponses } from './openai-responses-encode.ts'
import { responsesTakes } from './openai-responses-quirks.ts'

/**
 * OpenAI's Responses, stateless: nothing is stored, and a model's reasoning comes and goes encrypted.
 * https://platform.openai.com/docs/api-reference/responses
 *
 * `response.completed`, `response.incomplete` and `response.failed` are the terminal events of a stream; an answer in
 * one piece is whole where its status says so. There is no word for several answers.
 */
export const openaiResponses: Protocol = {
  choices: () => 1,
  encode: encodeResponses,
  takes: responsesTakes,
  decoder: responsesDecoder,
  classify: classifyAnswer,
}
