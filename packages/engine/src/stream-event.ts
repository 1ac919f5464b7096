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
      /** The provider's proof that it made the call (Gemini's thought signature), in base64. */
      readonly signature?: string
    }
  | {
      readonly type: 'tool-arguments'
      readonly choice: number
      readonly index: number
      readonly fragment: string
    }
  /** The vector of an input, by its place among them. */
  | { readonly type: 'vector'; readonly index: number; readonly vector: Vector }
  /** How well a document answers a query, by its place among the documents. */
  | { readonly type: 'score'; readonly index: number; readonly score: number }
  | {
      readonly type: 'finish'
      readonly choice: number
      readonly reason: FinishReason
      /** The caller's own sequence that ended the choice, where the upstream names it. */
      readonly stopSequence?: string
    }
  /** Usage as far as the upstream has told it; a later one replaces an earlier one. */
  | { readonly type: 'usage'; readonly usage: ReportedUsage }
  /** The upstream's own account of a failure, in place of the rest of the answer. */
  | { readonly type: 'failure'; readonly failure: Failure }
  /**
   * The answer is whole: the protocol's terminal event came, and every choice that began has had its `finish`. Without
   * it an answer is cut, however clean the connection's end was.
   */
  | { readonly type: 'end' }

/** Numbers as they are, or packed: 32-bit floats, the lowest byte first, in base64. */
export type Vector = readonly number[] | string

/** Whether an event carries something that the model produced, rather than news of the answer's course. */
export function isOutput(event: StreamEvent): boolean {
  switch (event.type) {
    case 'text':
    case 'refusal':
    case 'reasoning':
      return event.text !== ''
    case 'tool-arguments':
      return event.fragment !== ''
    case 'tool-call':
    case 'vector':
    case 'score':
      return true
    default:
      return false
  }
}

/** Usage in disjoint buckets. `flags` names what in the provider's numbers could not be true. */
export interface ReportedUsage {
  readonly buckets: TokenBuckets
  readonly flags: readonly UsageFlag[]
}

/** What can be wrong with a provider's numbers, as events show it in `usageFlags`. */
export const USAGE_FLAGS = {
  negative: 'A count was negative. It was taken as not given.',
  not_an_integer: 'A count was no whole number. A fraction was rounded up, anything else taken as not given.',
  sum_mismatch: 'Parts and totals did not add up. The larger reading was charged.',
  shrinking: 'A later count was smaller than an earlier one of the same answer. The larger was kept.',
  missing: 'Input or output was not reported, or as zero although there was some. It was estimated.',
  below_estimate: 'Fewer tokens were reported than the text can have. They were estimated.',
  above_estimate: 'More output was reported than there were bytes. It was lowered to what is possible.',
  surprising: 'The report is possible, but far from the estimate. It was charged as reported.',
  exceeds_context: 'More input was reported than the model takes. It was lowered.',
  exceeds_hold: 'More was reported or seen than was held. It was lowered to the hold.',
  exceeds_cap: 'The provider went on past the output that it was allowed. The answer was ended there.',
} as const

export type UsageFlag = keyof typeof USAGE_FLAGS
