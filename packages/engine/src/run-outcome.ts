import type { TokenBuckets } from '@mesh/catalog/token-buckets.ts'
import type { JsonResult } from './emulated-json.ts'
import type { Failure } from './failure.ts'
import type { Candidate } from './plan.ts'
import type { FinishReason, UsageFlag } from './stream-event.ts'

/** Where an answer goes: an HTTP response, or a sealing one. The engine does not know which. */
export interface Sink {
  /**
   * Sends the status and headers of a stream. Called at most once, before the first `write`. `served` is absent where
   * a keep-alive must leave before it is known who will answer.
   */
  head(served?: Candidate): void
  /** Resolves when the sink can take more, `undefined` where it can at once; rejects when the reader is gone or too slow. */
  write(bytes: Uint8Array | string): Promise<void> | undefined
}

/** A call's hold, as the engine sees it: a number of output tokens that may be spent, and a way to ask for more. */
export interface Budget {
  /** Output tokens that are held now, hidden reasoning included. */
  readonly outputTokensHeld: number
  /** The most that this call may ever hold: the caller's `max_tokens`, as lowered by what it can pay. */
  readonly outputTokensCap: number
  /** Asks to hold up to `outputTokensHeld` in all. Resolves to what is held afterwards; the same as before if refused. */
  extend(outputTokensHeld: number): Promise<number>
}

/** One dispatch, as it is kept in the event: words and numbers only. */
export interface Attempt {
  readonly candidate: Candidate
  readonly outcome: 'served' | Failure['outcome']
  readonly failure?: Failure
  readonly durationMs: number
}

/** What became of a call, in everything that its charge, event and receipt need. */
export interface RunOutcome {
  /**
   * - `completed`: the upstream's terminal event came, or the answer has all the output that it was allowed.
   * - `cut`: the hold could not be extended; the answer ends with `length`.
   * - `client_gone`: the reader left or could not keep up.
   * - `deadline`: the call's own deadline struck after content had left; no provider failed, and what came was made.
   * - `failed`: no answer, or not the whole of one.
   */
  readonly status: 'completed' | 'cut' | 'client_gone' | 'deadline' | 'failed'
  readonly attempts: readonly Attempt[]
  /** The candidate whose bytes the caller saw, or would have seen. */
  readonly served?: Candidate
  /** Set when `status` is `failed` or `deadline`. */
  readonly failure?: Failure
  readonly usage: MeteredUsage
  readonly finishReason?: FinishReason
  /** How the JSON that was asked for came about; absent where none was asked for, or nobody answered. */
  readonly json?: JsonResult
  /** Whether any content byte left for the caller. */
  readonly contentSent: boolean
  /** The output that the last provider was allowed, in tokens, where it is less than was asked for: no more was held. */
  readonly outputTokensLowered?: number
  readonly droppedParameters: readonly string[]
  /** From the call's start. */
  readonly firstTokenMs?: number
  readonly durationMs: number
}

/** Tokens to be charged, and how they are known. */
export interface MeteredUsage {
  readonly buckets: TokenBuckets
  readonly source: 'reported' | 'estimated' | 'none'
  readonly flags: readonly UsageFlag[]
}
