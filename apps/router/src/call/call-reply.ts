import type { TokenBuckets } from '@mesh/catalog/token-buckets.ts'
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
  open(served: Candidate, input: TokenBuckets): Reply
  /** What is sent last: the end of the stream, or the whole body. */
  finish(closing: ReplyClosing): string
  /** The error that ends a stream. */
  fail(failure: ReplyFailure): string
}

/** `createdSeconds` is Unix time, as OpenAI has it. */
export function createCallReply(shape: Shape, id: CallId, ask: Ask, createdSeconds: number): CallReply {
  const infoFor = (served?: Candidate, input?: TokenBuckets): ReplyInfo => ({
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
    ...(input ? { input } : {}),
    ask,
    usageChunk: ask.usageChunk,
    excludeReasoning: ask.reasoning?.exclude === true,
  })
  const { streamReply } = shape
  return ask.stream && streamReply
    ? streamed((served, input) => streamReply(infoFor(served, input)))
    : whole((served, input) => shape.wholeReply(infoFor(served, input)))
}

type ReplyFor<Form> = (served?: Candidate, input?: TokenBuckets) => Form

function streamed(replyFor: ReplyFor<StreamReply>): CallReply {
  let opened: StreamReply | undefined
  const reply = (): StreamReply => {
    opened ??= replyFor()
    return opened
  }
  return {
    open(served, input) {
      opened = replyFor(served, input)
      return opened
    },
    finish: (closing) => reply().finish(closing),
    fail: (failure) => reply().fail(failure),
  }
}

function whole(replyFor: ReplyFor<WholeReply>): CallReply {
  let opened: WholeReply | undefined
  return {
    open(served, input) {
      const reply = replyFor(served, input)
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
