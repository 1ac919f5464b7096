import { outputTokens } from '@mesh/catalog/token-buckets.ts'
import type { Failure, FailureReason } from '../failure.ts'
import type { Trial } from '../trial.ts'
import type { AttemptReport } from './gate.ts'

/** What each reason says of the endpoint: that it is busy, that it is unwell, or nothing. */
const VERDICTS: Readonly<Record<FailureReason, 'unhealthy' | 'busy' | undefined>> = {
  connect_failed: 'unhealthy',
  connect_timeout: 'unhealthy',
  credential_missing: undefined,
  credential_refused: 'unhealthy',
  model_not_found: 'unhealthy',
  rate_limited: 'busy',
  quota_exhausted: 'unhealthy',
  overloaded: 'busy',
  server_error: 'unhealthy',
  first_byte_timeout: 'unhealthy',
  idle_timeout: 'unhealthy',
  deadline: undefined,
  connection_cut: 'unhealthy',
  stream_cut: 'unhealthy',
  malformed: 'unhealthy',
  wrong_content_type: 'unhealthy',
  empty: 'unhealthy',
  oversized: undefined,
  // The request's own fault, or its caller's will.
  invalid_request: undefined,
  context_length: undefined,
  content_policy: undefined,
  payload_too_large: undefined,
  cancelled: undefined,
  breaker_open: undefined,
}

/** Fewer tokens than this, or a shorter time, give no rate that means anything. */
const RATE_TOKENS_MIN = 16
const RATE_MS_MIN = 50

/**
 * What a trial that was dispatched says of its endpoint: `undefined` where its caller left, where the request was at
 * fault, or where MESH ended it.
 */
export function reportOf(trial: Trial): AttemptReport | undefined {
  const { failure } = trial.attempt
  if (failure) return trial.status === 'client_gone' ? undefined : reportOfFailure(failure)
  if (trial.status === 'client_gone' || trial.status === 'deadline') return undefined
  return { verdict: 'healthy', ...speedOf(trial) }
}

/** What a failure says of the endpoint that failed. */
export function reportOfFailure({ reason, retryAfterMs }: Failure): AttemptReport | undefined {
  const verdict = VERDICTS[reason]
  if (!verdict) return undefined
  return verdict === 'busy' && retryAfterMs !== undefined ? { verdict, retryAfterMs } : { verdict }
}

function speedOf({ pace, usage }: Trial): Pick<AttemptReport, 'firstTokenMs' | 'tokensPerSecond'> {
  if (!pace) return {}
  const { firstTokenMs, afterwardsMs } = pace
  const tokens = outputTokens(usage.buckets)
  if (tokens < RATE_TOKENS_MIN || afterwardsMs < RATE_MS_MIN) return { firstTokenMs }
  return { firstTokenMs, tokensPerSecond: (tokens * 1_000) / afterwardsMs }
}
