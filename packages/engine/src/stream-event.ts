import type { TokenBuckets } from '@mesh/catalog/token-buckets.ts'
import type { Json } from './ask.ts'
import type { Failure } from './failure.ts'

export type FinishReason = 'stop' | 'length' | 'tool_calls' | 'content_filter'

/**
 * What an upstream said, one step at a time, in whatever protocol it said it. JSON answers decode into the same
 * events as streams. `choice` and tool `index` count from 0.
 */
export type StreamEvent =
  | { readonly type: 'text'; readonly choice: number; readonly text: string; readonly logprobs?: Json }
  | { readonly type: 'refusal'; readonly choice: number; readonly text: string }
  | { readonly type: 'reasoning'; readonly choice: number; readonly text: string }
  /** Ends a reasoning block and carries what is needed to give it back. */
  | {
      readonly type: 'reasoning-end'
      readonly choice: number
      readonly signature?: string
      readonly redacted?: string
    }
  | {
      readonly type: 'tool-call'
      readonly choice: number
      readonly index: number
      readonly id: string
      readonly name: string
    }
  | {
      readonly type: 'tool-arguments'
      readonly choice: number
      readonly index: number
      readonly fragment: string
    }
  | { readonly type: 'finish'; readonly choice: number; readonly reason: FinishReason }
  /** Usage as far as the upstream has told it; a later one replaces an earlier one. */
  | { readonly type: 'usage'; readonly usage: ReportedUsage }
  /** The upstream's own account of a failure, in place of the rest of the answer. */
  | { readonly type: 'failure'; readonly failure: Failure }
  /**
   * The answer is whole: the protocol's terminal event came, and every choice that began has had its `finish`. Without
   * it an answer is cut, however clean the connection's end was.
   */
  | { readonly type: 'end' }

/** Usage in disjoint buckets. `flags` names what in the provider's numbers could not be true. */
export interface ReportedUsage {
  readonly buckets: TokenBuckets
  readonly flags: readonly UsageFlag[]
}

export type UsageFlag =
  | 'negative'
  | 'not_an_integer'
  | 'sum_mismatch'
  | 'exceeds_context'
  | 'exceeds_hold'
  | 'above_estimate'
  | 'missing'
