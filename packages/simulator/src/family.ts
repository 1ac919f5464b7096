import type { IncomingHttpHeaders } from 'node:http'
import type { Answer } from './answer.ts'
import type { Json } from './json.ts'
import type { Prompt } from './prompt.ts'
import type { CacheUse, PromptCache } from './prompt-cache.ts'
import type { Seed } from './seed.ts'
import type { LyingUsage } from './steering.ts'

/** A whole HTTP answer. */
export interface Reply {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** What goes over the wire: text where the vendor's stream is text. */
export type Bytes = string | Uint8Array

/** One step of a streamed answer, as the bytes that the vendor would send for it. */
export interface Frame {
  readonly bytes: Bytes
  /** The output tokens that were generated for this step. Their sum is the answer's. */
  readonly outputTokens: number
  /** Whether a reader sees part of the answer in it; lifecycle events are no content. */
  readonly content: boolean
}

/** Why a request is turned away before a model would have seen it. */
export type RefusalKind =
  | 'no_such_route'
  | 'bad_json'
  | 'bad_steering'
  | 'too_large'
  | 'rate_limit'
  | 'overloaded'
  | 'server_error'

export interface Usage {
  /** Everything that went in, what was read from and written to a cache included. */
  readonly inputTokens: number
  readonly cache: CacheUse
  /** Everything that came out, reasoning included, over all choices. */
  readonly outputTokens: number
  readonly reasoningTokens: number
}

/** A request that was understood, with everything that its answer is rendered from. */
export interface Exchange {
  readonly requestId: string
  readonly seed: Seed
  readonly createdMs: number
  readonly prompt: Prompt
  /** One for each choice. */
  readonly answers: readonly Answer[]
  /** Absent where the tester asked for an answer without usage. */
  readonly usage?: Usage
}

/** A request in a vendor's own shape, either understood or turned away as the vendor does it. */
export type ReadRequest =
  | { readonly kind: 'refused'; readonly reply: Reply }
  | {
      readonly kind: 'understood'
      readonly prompt: Prompt
      /** Whether reasoning is spent without a trace in the stream. */
      readonly hidesReasoning: boolean
      useCache(cache: PromptCache): CacheUse
      /** Renders the answer in the shape that this request asked for. */
      readonly render: Rendering
    }
  | Computed

/** A request that was understood and for which nothing is generated: vectors and scores are made of what it holds. */
export interface Computed {
  readonly kind: 'computed'
  readonly model: string
  readonly inputTokens: number
  /** The whole answer. `isEmpty` where the tester asked for one with nothing in it. */
  json(usage: Usage | undefined, isEmpty: boolean): string
}

export interface Rendering {
  json(exchange: Exchange): string
  frames(exchange: Exchange): Generator<Frame>
  /** The event by which the vendor reports a failure inside a stream. */
  errorEvent(exchange: Exchange): Bytes
}

/** A protocol family as one provider speaks it. Pure: nothing here does I/O or keeps state. */
export interface Family {
  /** The vendor's own 401, when the request carries no credential where this vendor looks for it. */
  credentialRefusal(headers: IncomingHttpHeaders, requestId: string): Reply | undefined
  refusal(kind: RefusalKind, requestId: string, detail: string): Reply
  /** What a filter in front of the models answers to a prompt that it stops, where the vendor has one. */
  filteredPrompt?(requestId: string): Reply
  /** `path` is below the provider's base: some vendors have the model in it, and whether to stream. */
  read(body: Json, headers: IncomingHttpHeaders, requestId: string, path: string): ReadRequest
  streamHeaders(requestId: string): Readonly<Record<string, string>>
  jsonHeaders(requestId: string): Readonly<Record<string, string>>
  /** A piece of a stream that no parser takes. */
  readonly malformedEvent: Bytes
  /** A piece of a stream that says nothing. */
  readonly emptyEvent: Bytes
  /** How an event begins that is as long as this, in bytes. */
  oversizedStart(bytes: number): Bytes
}

/** The same in every stream of server-sent events: a comment, and a field whose line does not end. */
export const sseFillers = { emptyEvent: ':\n', oversizedStart: () => 'data: ' } as const

/** The usage that a lying provider would report for `usage`. */
export function usageToReport(usage: Usage, lie: LyingUsage | undefined): Usage | undefined {
  switch (lie) {
    case undefined:
      return usage
    case 'negative':
      return { ...usage, inputTokens: -usage.inputTokens, outputTokens: -usage.outputTokens }
    case 'huge':
      return { ...usage, inputTokens: 4_000_000_000, outputTokens: 4_000_000_000 }
    case 'missing':
      return undefined
    case 'zero':
      return { ...usage, inputTokens: 0, outputTokens: 0, reasoningTokens: 0 }
    case 'inflated':
      return { ...usage, outputTokens: 3 * usage.outputTokens }
    case 'deflated':
      return { ...usage, outputTokens: 1, reasoningTokens: 0 }
  }
}
