import type { Reply } from '@mesh/engine/answer.ts'
import type { Ask } from '@mesh/engine/ask.ts'
import type { Candidate } from '@mesh/engine/plan.ts'
import type { ReplyClosing, ReplyFailure, ReplyInfo } from '@mesh/engine/shapes/chat-completions/reply.ts'
import { createJsonReply, type JsonReply } from '@mesh/engine/shapes/chat-completions/reply-json.ts'
import { createStreamReply, type StreamReply } from '@mesh/engine/shapes/chat-completions/reply-stream.ts'
import type { CallId } from '../ids.ts'

/** The answer of one call in the form that its caller asked for, from its first byte to its last. */
export interface ChatReply {
  /** Opened when it is certain whose answer it is. */
  open(served: Candidate): Reply
  /** What is sent last: the end of the stream, or the whole body. */
  finish(closing: ReplyClosing): string
  /** The error chunk that ends a stream. */
  fail(failure: ReplyFailure): string
}

/** `createdSeconds` is Unix time, as OpenAI has it. */
export function createChatReply(id: CallId, ask: Ask, createdSeconds: number): ChatReply {
  const infoFor = (served?: Candidate): ReplyInfo => ({
    id,
    createdSeconds,
    ...(served
      ? {
          served: {
            model: served.endpoint.model,
            provider: served.endpoint.provider,
            protocol: served.endpoint.protocol,
          },
        }
      : {}),
    usageChunk: ask.usageChunk,
    excludeReasoning: ask.reasoning?.exclude === true,
  })
  return ask.stream ? streamed(infoFor) : whole(infoFor)
}

function streamed(infoFor: (served?: Candidate) => ReplyInfo): ChatReply {
  let opened: StreamReply | undefined
  const reply = (): StreamReply => {
    opened ??= createStreamReply(infoFor())
    return opened
  }
  return {
    open(served) {
      opened = createStreamReply(infoFor(served))
      return opened
    },
    finish: (closing) => reply().finish(closing),
    fail: (failure) => reply().fail(failure),
  }
}

function whole(infoFor: (served?: Candidate) => ReplyInfo): ChatReply {
  let opened: JsonReply | undefined
  return {
    open(served) {
      const reply = createJsonReply(infoFor(served))
      opened = reply
      return {
        event(event) {
          reply.event(event)
          return ''
        },
      }
    },
    finish: (closing) => (opened ?? createJsonReply(infoFor())).finish(closing),
    // A whole answer that fails is an error of its own, not a part of this body.
    fail: () => '',
  }
}
