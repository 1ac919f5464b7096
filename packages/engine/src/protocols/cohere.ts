import { answerDecoder } from '../answer-decoder.ts'
import type { Failure } from '../failure.ts'
import type { AnswerBounds, Decoder, Protocol, ResponseHeaders } from '../protocol.ts'
import { classifyAnswer } from '../upstream-failure.ts'
import { cohereChatReader } from './cohere-chat-decode.ts'
import { cohereChatTakes, encodeCohereChat } from './cohere-chat-encode.ts'
import { cohereEmbedTakes, encodeCohereEmbed, encodeCohereRerank, readCohereTask } from './cohere-tasks.ts'

/**
 * Cohere's API, version 2: chat, embeddings and ranking. https://docs.cohere.com/reference/about
 *
 * `message-end` is the terminal event of a stream, a whole document that of an answer in one piece. The base URL holds
 * `/v2`.
 */
export const cohereV2: Protocol = {
  // A message is one answer.
  choices: () => 1,
  encode(ask, endpoint, options) {
    if (ask.task?.type === 'embed') return encodeCohereEmbed(ask.task, ask, endpoint)
    if (ask.task?.type === 'rank') return encodeCohereRerank(ask.task, ask, endpoint)
    return encodeCohereChat(ask, endpoint, options)
  },
  takes: (endpoint, parameter) => cohereEmbedTakes(parameter) ?? cohereChatTakes(endpoint, parameter),
  decoder: cohereDecoder,
  classify: classifyCohere,
}

function cohereDecoder(bounds: AnswerBounds): Decoder {
  const chat = cohereChatReader()
  return answerDecoder(
    {
      message: chat.event,
      // Follows `message-end`, which has said it all.
      done: () => {},
      document(body, emit) {
        if (!readCohereTask(body, emit)) chat.document(body, emit)
      },
    },
    bounds,
  )
}

/** A status of Cohere's own: the request, or what would answer it, has a token that is on its list of forbidden ones. */
const FORBIDDEN_TOKEN = 498

function classifyCohere(status: number, headers: ResponseHeaders, body: string): Failure {
  if (status === FORBIDDEN_TOKEN) return { outcome: 'request_fault', reason: 'content_policy', status }
  return classifyAnswer(status, headers, body)
}
