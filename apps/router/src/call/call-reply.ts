import type { Reply } from '@mesh/engine/answer.ts'
import type { Ask } from '@mesh/engine/ask.ts'
import type { Candidate } from '@mesh/engine/plan.ts'
import type {
  ReplyClosing,
  ReplyFailure,
  ReplyInfo,
  StreamReply,
  WholeReply,
} from '@mesh/engine/shapes/reply.ts'
import type { Shape } from '@mesh/engine/shapes/shape.ts'
import type { CallId } from '../ids.ts'

/** The answer of one call in the form that its caller asked for, from its first byte to its last. */
export interface CallReply {
  /** Opened when it is certain whose answer it is. */
  open(served: Candidate): Reply
  /** What is sent last: the end of the stream, or the whole body. */
  finish(closing: ReplyClosing): string
  /** The error that ends a stream. */
  fail(failure: ReplyFailure): string
}

/** `createdSeconds` is Unix time, as OpenAI has it. */
export function createCallReply(shape: Shape, id: CallId, ask: Ask, createdSeconds: number): CallReply {
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
    ...(ask.task ? { task: ask.task } : {}),
    usageChunk: ask.usageChunk,
    excludeReasoning: ask.reasoning?.exclude === true,
  })
  const { streamReply } = shape
  return ask.stream && streamReply
    ? streamed((served) => streamReply(infoFor(served)))
    : whole((served) => shape.wholeReply(infoFor(served)))
}

function streamed(replyFor: (served?: Candidate) => StreamReply): CallReply {
  let opened: StreamReply | undefined
  const reply = (): StreamReply => {
    opened ??= replyFor()
    return opened
  }
  return {
    open(served) {
      opened = replyFor(served)
      return opened
    },
    finish: (closing) => reply().finish(closing),
    fail: (failure) => reply().fail(failure),
  }
}

function whole(replyFor: (served?: Candidate) => WholeReply): CallReply {
  let opened: WholeReply | undefined
  return {
    open(served) {
      const reply = replyFor(served)
      opened = reply
      return {
        event(event) {
          reply.event(event)
          return ''
        },
      }
    },
    finish: (closing) => (opened ?? replyFor()).finish(closing),
    // A whole answer that fails is an error of its own, not a part of this body.
    fail: () => '',
  }
}
