import type { ModelId, ProtocolName, ProviderId } from '@mesh/catalog/catalog.ts'
import type { NanoUsd } from '@mesh/catalog/money.ts'
import type { TokenBuckets } from '@mesh/catalog/token-buckets.ts'
import type { Ask, Json, JsonObject, Task } from '../ask.ts'
import type { FinishReason, StreamEvent } from '../stream-event.ts'
import type { ErrorFacts } from './shape.ts'

/**
 * An answer as server-sent events. Each method returns the text to send now. One of `finish` and `fail` is called,
 * once, and nothing after it.
 */
export interface StreamReply {
  /** What an event adds; `''` where it adds nothing. The ends of choices are held back for `finish`. */
  event(event: StreamEvent): string
  /** The end, with usage and `routing`: sent when the charge is durable. */
  finish(closing: ReplyClosing): string
  /** The error that ends a stream. Nothing of it may look like a clean end. */
  fail(failure: ReplyFailure): string
}

/** An answer as one JSON body. It is sent whole, when its charge is durable; a call that fails is an error instead. */
export interface WholeReply {
  event(event: StreamEvent): void
  /** The body. Called once. */
  finish(closing: ReplyClosing): string
}

/** What is known of an answer when its first byte leaves. */
export interface ReplyInfo {
  /** The call's id, `req_…`. */
  readonly id: string
  /** Unix time, in seconds, as OpenAI has it. */
  readonly createdSeconds: number
  /** Who answers. Absent when a call fails before anybody does. */
  readonly served?: {
    readonly model: ModelId
    readonly provider: ProviderId
    readonly protocol: ProtocolName
  }
  /** What was asked for instead of an answer to messages. */
  readonly task?: Task
  /** What went in, as far as it is known by then: the provider's count, or an estimate. Absent where nobody answers. */
  readonly input?: TokenBuckets
  /** What was asked, for the shapes whose answers repeat some of it. */
  readonly ask?: Ask
  /** The caller wants usage in a chunk of its own. */
  readonly usageChunk: boolean
  /** The caller wants no reasoning in the answer. */
  readonly excludeReasoning: boolean
}

/** What is known of an answer when its charge is durable. */
export interface ReplyClosing {
  /** For choices that have no end of their own: an answer that is cut when credit ends has `length`. */
  readonly finishReason: FinishReason
  readonly usage: ReplyUsage
  readonly routing: JsonObject
}

/** What was used, and what the caller pays for it: `totalNano` is `upstreamNano` + `marginNano`. */
export interface ReplyUsage {
  readonly buckets: TokenBuckets
  readonly upstreamNano: NanoUsd
  readonly marginNano: NanoUsd
}

/** How an answer that has begun ends badly. */
export interface ReplyFailure {
  readonly error: ErrorFacts
  readonly receiptId: string
  /** Usage up to the failure, where anything was used. */
  readonly usage?: ReplyUsage
}

/** Says whose reasoning block it is, in OpenRouter's words, so that it comes back to where it was made. */
export function reasoningFormat(info: ReplyInfo): string {
  switch (info.served?.protocol) {
    case 'anthropic_messages':
    case 'bedrock_converse':
      return 'anthropic-claude-v1'
    case 'gemini':
      return 'google-gemini-v1'
    case 'openai_responses':
      return 'openai-responses-v1'
    default:
      return 'unknown'
  }
}

/** Line breaks to Python's `str.splitlines`, on which some SSE readers rely; JSON leaves them unescaped. */
const PYTHON_LINE_BREAK = /[\u0085\u2028\u2029]/
const EACH_PYTHON_LINE_BREAK = /[\u0085\u2028\u2029]/g

/** A value as JSON that stays one line to every reader of server-sent events. */
export function quote(value: Json): string {
  const text = JSON.stringify(value)
  if (!PYTHON_LINE_BREAK.test(text)) return text
  return text.replace(
    EACH_PYTHON_LINE_BREAK,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}
