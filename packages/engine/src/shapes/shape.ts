import type { Model } from '@mesh/catalog/catalog.ts'
import type { Ask, AskShape, JsonObject, PrivacyRequest, RouteRequest } from '../ask.ts'
import type { RequestFault } from './fault.ts'
import type { ReplyInfo, StreamReply, WholeReply } from './reply.ts'

/**
 * How callers of one API write a call and want it answered: OpenAI's chat completions, Anthropic's messages, …
 * Pure, as a `Protocol` is on the other side: what stands between the two, an `Ask` and its `StreamEvent`s, knows
 * neither. A call takes the same stages whatever its shape.
 */
export interface Shape {
  /** As events name it. */
  readonly name: string
  readonly path: `/v1/${string}`
  /** The kind of model that its calls are for; another is refused before anything is planned. */
  readonly modelKind: Model['kind']
  /** The headers in which its clients present their key. */
  readonly keyHeaders: 'bearer' | 'bearer_or_x_api_key'
  /** Where its clients look for the request's id, beside `x-request-id`. */
  readonly requestIdHeader?: string
  /**
   * Reads a JSON body. Linear in its size, and safe on any parsed JSON; a fault is a 400 whose message says what to do
   * and holds nothing of the request.
   */
  parse(body: unknown, options: ParseOptions): ParsedRequest
  /** Absent where no caller of this shape can ask for a stream. */
  streamReply?(info: ReplyInfo): StreamReply
  wholeReply(info: ReplyInfo): WholeReply
  /** The body of an answer that is an error. */
  errorBody(error: ErrorFacts, requestId: string): JsonObject
}

export interface ParseOptions {
  /**
   * A keyed, non-reversible stand-in for a caller's own string, salted per account: an end user's name, a prompt
   * cache key and a session id never leave, and are never stored, as they came.
   */
  pseudonym(purpose: 'end_user' | 'cache_key' | 'session', text: string): string
}

/** A call as it was asked for, in the engine's own terms. */
export interface CallerRequest {
  readonly ask: Ask
  readonly shape: AskShape
  readonly route: RouteRequest
  readonly privacy: PrivacyRequest
  readonly metadata: Readonly<Record<string, string>>
  /** Parameters that MESH does not take, by names that are safe to show: for `routing.dropped_params`. */
  readonly droppedParameters: readonly string[]
  /** How many more there were, whose names are not shown. */
  readonly droppedUnnamed: number
}

export type ParsedRequest = { readonly ok: true; readonly request: CallerRequest } | RequestFault

/** An error of MESH's, before a shape puts it into its own envelope. */
export interface ErrorFacts {
  readonly status: number
  /** MESH's own word (`errors.ts`), and OpenAI's word for its family. */
  readonly code: string
  readonly type: string
  /** Says what to do, and quotes nothing. */
  readonly message: string
  readonly param?: string
  readonly metadata?: JsonObject
}
