import type { Failure, FailureReason } from '@mesh/engine/failure.ts'
import type { RunOutcome } from '@mesh/engine/run-outcome.ts'
import { type ErrorCode, MeshError } from '../errors.ts'
import { attemptsOf } from './routing.ts'

/** What a caller is told of each way in which providers fail. None of the provider's own words are in it. */
const ANSWERS: Readonly<Record<FailureReason, readonly [ErrorCode, string]>> = {
  connect_failed: ['provider_error', 'The provider could not be reached.'],
  connect_timeout: ['provider_timeout', 'The provider could not be reached in time.'],
  credential_missing: ['provider_error', 'This router has no credential for the provider.'],
  credential_refused: [
    'provider_error',
    "The provider refused this router's credential. The operator must mend it.",
  ],
  model_not_found: ['provider_error', 'The provider does not offer this model to this router.'],
  rate_limited: ['provider_overloaded', 'The provider limits the rate of requests.'],
  quota_exhausted: ['provider_overloaded', "This router's quota at the provider is used up."],
  overloaded: ['provider_overloaded', 'The provider is overloaded.'],
  server_error: ['provider_error', 'The provider failed.'],
  first_byte_timeout: ['provider_timeout', 'The provider did not answer in time.'],
  idle_timeout: ['provider_timeout', 'The provider fell silent within its answer.'],
  deadline: ['provider_timeout', 'The call took longer than calls may take.'],
  connection_cut: ['provider_error', 'The connection to the provider broke.'],
  stream_cut: ['provider_error', 'The provider ended its answer before the end.'],
  malformed: ['provider_error', 'The provider sent an answer that cannot be read.'],
  wrong_content_type: ['provider_error', 'The provider sent something that is not an answer.'],
  empty: ['provider_error', 'The provider sent an empty answer.'],
  oversized: ['provider_error', 'The provider sent an answer larger than answers may be.'],
  invalid_request: [
    'invalid_request',
    'The provider refuses this request as invalid for this model. Check its parameters and messages.',
  ],
  context_length: [
    'context_length_exceeded',
    "Messages and output do not fit this model's context. Shorten them.",
  ],
  content_policy: ['invalid_request', "The provider's content policy refuses this request."],
  payload_too_large: ['payload_too_large', 'The request is larger than the provider takes.'],
  breaker_open: [
    'provider_overloaded',
    'The provider fails, and is left alone until it has recovered. Try again, or name another model.',
  ],
  cancelled: ['client_disconnected', 'The caller left before the end.'],
}

/** The error of a call that no provider answered, or not to the end. */
export function runFailure(outcome: RunOutcome, failure: Failure): MeshError {
  const [code, message] = ANSWERS[failure.reason]
  const retryAfterMs = shortestRetryAfter(outcome)
  const tried = outcome.attempts.length
  return new MeshError(
    code,
    tried > 1 ? `${message} ${tried} attempts were made; this was the last.` : message,
    {
      metadata: { attempts: attemptsOf(outcome) },
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    },
  )
}

function shortestRetryAfter({ attempts }: RunOutcome): number | undefined {
  const advised = attempts.flatMap(({ failure }) => failure?.retryAfterMs ?? [])
  return advised.length > 0 ? Math.min(...advised) : undefined
}
