import { addBuckets, EMPTY_BUCKETS } from '@mesh/catalog/token-buckets.ts'
import type { Answer } from './answer.ts'
import type { AttemptEnd, UpstreamAttempt } from './attempt.ts'
import type { JsonResult } from './emulated-json.ts'
import type { ExpectedAnswer } from './expected-answer.ts'
import type { Failure } from './failure.ts'
import type { Meter } from './meter.ts'
import type { Candidate } from './plan.ts'
import type { Attempt, MeteredUsage, RunOutcome } from './run-outcome.ts'
import type { FinishReason } from './stream-event.ts'

/** A request that was sent to a candidate, and what is known of its answer. */
export interface Dispatched {
  readonly candidate: Candidate
  readonly attempt: UpstreamAttempt
  readonly meter: Meter
  readonly answer: Answer
  readonly expected: ExpectedAnswer
  /** Whether its answer is kept back until it was looked at. */
  readonly keepsBack: boolean
  /** Whether the upstream was asked to stream. */
  readonly isStreamed: boolean
  /** How many answers it was asked for. */
  readonly choices: number
  /** The most output that it was allowed, or can produce, for all choices together. */
  readonly outputTokensAllowed: number
  /** The same where it is less than what was asked for, because no more could be held. */
  readonly outputTokensLowered?: number
  readonly droppedParameters: readonly string[]
  readonly startedAtMs: number
}

/** How an attempt ended for the call. `cut`: the hold could not be widened. `overrun`: it went on past its cap. */
export type RelayEnd = AttemptEnd | { readonly type: 'cut' | 'overrun' }

/** One attempt, and what becomes of the call if it is the last. */
export interface Trial {
  readonly attempt: Attempt
  readonly status: RunOutcome['status']
  /** Whether it is this provider who answered, in whole or in part. */
  readonly isServed: boolean
  readonly usage: MeteredUsage
  readonly contentSent: boolean
  /** Its credential was turned away, and the same candidate can be tried with another one. */
  readonly hasAnotherCredential?: true
  readonly outputTokensLowered?: number
  readonly droppedParameters: readonly string[]
  readonly finishReason?: FinishReason
  readonly json?: JsonResult
  readonly firstContentAtMs?: number
  /** How quickly it answered; only a stream shows that, and only one that was dispatched. */
  readonly pace?: { readonly firstTokenMs: number; readonly afterwardsMs: number }
}

const NO_USAGE: MeteredUsage = { buckets: EMPTY_BUCKETS, source: 'none', flags: [] }

/** Where the call stands when an attempt has ended. */
export interface TrialContext {
  readonly readerLeft: boolean
  readonly outputTokensHeld: number
  readonly nowMs: number
}

/** Judges an attempt that was dispatched. */
export function trialOf(dispatched: Dispatched, end: RelayEnd, context: TrialContext): Trial {
  const { candidate, answer, outputTokensLowered, droppedParameters, startedAtMs } = dispatched
  const failure = failureOf(dispatched, end, context)
  const status = statusOf(end, failure, context)
  const isServed = !failure || (status === 'failed' && answer.contentSent)
  const isCut = end.type === 'cut' || end.type === 'overrun'
  const finishReason = isCut ? 'length' : answer.finishReason
  return {
    attempt: attemptOf(candidate, failure, context.nowMs - startedAtMs),
    status,
    isServed,
    usage: isServed ? usageOf(dispatched, end, context) : NO_USAGE,
    contentSent: answer.contentSent,
    ...(outputTokensLowered === undefined ? {} : { outputTokensLowered }),
    droppedParameters,
    ...(finishReason && isServed ? { finishReason } : {}),
    ...(answer.firstContentAtMs !== undefined && isServed
      ? { firstContentAtMs: answer.firstContentAtMs }
      : {}),
    ...paceOf(dispatched, context.nowMs),
  }
}

function paceOf({ answer, isStreamed, startedAtMs }: Dispatched, nowMs: number): Pick<Trial, 'pace'> {
  const { firstContentAtMs } = answer
  if (!isStreamed || firstContentAtMs === undefined) return {}
  return { pace: { firstTokenMs: firstContentAtMs - startedAtMs, afterwardsMs: nowMs - firstContentAtMs } }
}

/** What went past the cap was not asked for, so it is not charged for. */
function usageOf(
  { meter, outputTokensAllowed }: Dispatched,
  end: RelayEnd,
  { outputTokensHeld, nowMs }: TrialContext,
): MeteredUsage {
  const whole = end.type === 'complete'
  if (end.type !== 'overrun') return meter.usage({ whole, outputTokensHeld, endedAtMs: nowMs })
  const most = Math.min(outputTokensHeld, outputTokensAllowed)
  const usage = meter.usage({ whole, outputTokensHeld: most, endedAtMs: nowMs })
  return { ...usage, flags: [...usage.flags, 'exceeds_cap'] }
}

/** An answer that was asked for twice: both are charged, and the second is what its caller gets. */
export function repairedTrial(first: Trial, second: Trial): Trial {
  const { candidate } = first.attempt
  const durationMs = first.attempt.durationMs + second.attempt.durationMs
  return {
    ...second,
    attempt: { ...second.attempt, candidate, durationMs },
    usage: usageTogether(first.usage, second.usage),
    ...(first.pace ? { pace: first.pace } : {}),
  }
}

function usageTogether(first: MeteredUsage, second: MeteredUsage): MeteredUsage {
  const isReported = first.source === 'reported' && second.source === 'reported'
  return {
    buckets: addBuckets(first.buckets, second.buckets),
    source: isReported ? 'reported' : 'estimated',
    flags: [...new Set([...first.flags, ...second.flags])],
  }
}

/** An attempt that ended before anything was sent. */
export function trialWithoutDispatch(candidate: Candidate, failure: Failure): Trial {
  return {
    attempt: attemptOf(candidate, failure, 0),
    status: 'failed',
    isServed: false,
    usage: NO_USAGE,
    contentSent: false,
    droppedParameters: [],
  }
}

/** What became of a call whose last trial this is; without one, its reader left first, or nobody could be tried. */
export function outcomeOf(
  trials: readonly Trial[],
  { readerLeft, startedAtMs, nowMs }: { readerLeft: boolean; startedAtMs: number; nowMs: number },
): RunOutcome {
  const attempts = trials.map(({ attempt }) => attempt)
  const durationMs = nowMs - startedAtMs
  const last = trials.at(-1)
  if (!last) {
    return {
      ...(readerLeft ? { status: 'client_gone' } : { status: 'failed', failure: NOBODY_TO_TRY }),
      attempts,
      usage: NO_USAGE,
      contentSent: false,
      droppedParameters: [],
      durationMs,
    }
  }
  const { attempt, isServed, usage, finishReason, contentSent, droppedParameters, firstContentAtMs } = last
  // A reader who leaves while an attempt fails, but before the next, is gone all the same.
  const status = readerLeft && last.status === 'failed' && !contentSent ? 'client_gone' : last.status
  return {
    status,
    attempts,
    ...(isServed ? { served: attempt.candidate } : {}),
    ...failureToTell(status, attempt),
    usage,
    ...(finishReason ? { finishReason } : {}),
    ...(last.json && isServed ? { json: last.json } : {}),
    contentSent,
    ...(last.outputTokensLowered === undefined ? {} : { outputTokensLowered: last.outputTokensLowered }),
    droppedParameters,
    ...(firstContentAtMs === undefined ? {} : { firstTokenMs: firstContentAtMs - startedAtMs }),
    durationMs,
  }
}

function failureToTell(status: RunOutcome['status'], { failure }: Attempt): { readonly failure?: Failure } {
  if (status === 'deadline') return { failure: { outcome: 'uncertain', reason: 'deadline' } }
  return status === 'failed' && failure ? { failure } : {}
}

const NOBODY_TO_TRY: Failure = { outcome: 'not_dispatched', reason: 'model_not_found' }

function statusOf(
  end: RelayEnd,
  failure: Failure | undefined,
  { readerLeft }: TrialContext,
): Trial['status'] {
  if (readerLeft) return 'client_gone'
  if (failure) return 'failed'
  switch (end.type) {
    case 'cut':
      return 'cut'
    case 'failed':
      return 'deadline'
    case 'complete':
    case 'overrun':
    case 'stopped':
      return 'completed'
  }
}

function attemptOf(candidate: Candidate, failure: Failure | undefined, durationMs: number): Attempt {
  return failure
    ? { candidate, outcome: failure.outcome, failure, durationMs }
    : { candidate, outcome: 'served', durationMs }
}

/** Why an attempt is no answer; absent where it is one, be it a part that ended through no fault of the provider. */
function failureOf(
  { attempt, answer }: Dispatched,
  end: RelayEnd,
  { readerLeft }: TrialContext,
): Failure | undefined {
  switch (end.type) {
    case 'failed':
      return answer.contentSent && (readerLeft || end.failure.reason === 'deadline') ? undefined : end.failure
    case 'complete':
    case 'cut':
    case 'overrun':
      return undefined
    case 'stopped':
      if (attempt.isAccepted) return undefined
      return { outcome: attempt.isSent ? 'uncertain' : 'not_dispatched', reason: 'cancelled' }
  }
}
