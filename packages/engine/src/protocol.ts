import type { Endpoint } from '@mesh/catalog/catalog.ts'
import type { Ask } from './ask.ts'
import type { Failure } from './failure.ts'
import type { StreamEvent } from './stream-event.ts'

/**
 * A provider's wire format as three pure functions. It knows nothing of HTTP clients, keys, prices or MESH's own API.
 * A provider's quirks are rows in `quirks.ts`, not branches here.
 */
export interface Protocol {
  /** How many answers `encode` asks an endpoint for: one where its provider has no word for more. */
  choices(ask: Ask, endpoint: Endpoint): number
  encode(ask: Ask, endpoint: Endpoint, options: EncodeOptions): EncodedRequest
  /**
   * Whether an endpoint is sent a parameter, by its name in the catalogue's vocabulary or its OpenAI name, rather than
   * `encode` dropping it.
   */
  takes(endpoint: Endpoint, parameter: string): boolean
  /** A fresh decoder for one answer, however it was asked for: what comes is what counts. */
  decoder(bounds: AnswerBounds): Decoder
  /** Reads a non-2xx answer. `body` is at most `classifiedBytesMax` long and is never passed on. */
  classify(status: number, headers: ResponseHeaders, body: string): Failure
}

export interface EncodeOptions {
  /** Whether the upstream is asked to stream; not always what the caller asked for. */
  readonly stream: boolean
  /** The output cap to send, in tokens for each answer; absent where the hold is extended as the answer grows. */
  readonly outputTokensCap?: number
}

export interface EncodedRequest {
  /** Below the provider's base URL, as in `/chat/completions`. */
  readonly path: string
  /** Without credentials: those are added by the transport. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  /** Parameters of the ask that this endpoint does not take, in the caller's vocabulary. */
  readonly droppedParameters: readonly string[]
}

/** How large a provider's answer may be, piece by piece. What is larger is no answer. */
export interface AnswerBounds {
  /** Characters of one server-sent event, all its lines together. */
  readonly eventCharactersMax: number
  /** Bytes of an answer in one piece. */
  readonly documentBytesMax: number
}

/** A tool call with a file in it fits into an event, and the longest answer of any model into a document. */
export const DEFAULT_ANSWER_BOUNDS: AnswerBounds = {
  eventCharactersMax: 8 * 1024 * 1024,
  documentBytesMax: 32 * 1024 * 1024,
}

export interface Decoder {
  /** Takes the next bytes, split anywhere, and returns what they complete. Never throws: bad bytes are a `failure`. */
  push(bytes: Uint8Array): readonly StreamEvent[]
  /** The connection ended cleanly. */
  end(): readonly StreamEvent[]
}

/** Lower-case names, as undici gives them. */
export type ResponseHeaders = Readonly<Record<string, string | readonly string[] | undefined>>
