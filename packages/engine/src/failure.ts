/**
 * How an attempt failed, in the four ways that matter to what happens next.
 * - `not_dispatched`: no byte of the request left. Moving on is free.
 * - `refused_unbilled`: the provider answered that it did nothing (429, 503, 401, 404 model). Moving on is free.
 * - `uncertain`: the provider may have worked and may bill us (time-out, reset, 5xx, cut stream). MESH carries it.
 * - `request_fault`: the request itself is at fault. Another endpoint would only say the same, unless the fault is
 *   one that another model may not share (context length).
 */
export type FailureOutcome = 'not_dispatched' | 'refused_unbilled' | 'uncertain' | 'request_fault'

/** A closed list: events, receipts and messages are made from these words, never from an upstream's own text. */
export type FailureReason =
  | 'connect_failed'
  | 'connect_timeout'
  | 'credential_missing'
  | 'credential_refused'
  | 'model_not_found'
  | 'rate_limited'
  | 'quota_exhausted'
  | 'overloaded'
  | 'server_error'
  | 'first_byte_timeout'
  | 'idle_timeout'
  | 'deadline'
  | 'connection_cut'
  | 'stream_cut'
  | 'malformed'
  | 'wrong_content_type'
  | 'empty'
  | 'oversized'
  | 'invalid_request'
  | 'context_length'
  | 'content_policy'
  | 'payload_too_large'
  | 'cancelled'
  /** It failed for others lately, and is left alone for a while. */
  | 'breaker_open'

export interface Failure {
  readonly outcome: FailureOutcome
  readonly reason: FailureReason
  /** The upstream's HTTP status, where there was one. */
  readonly status?: number
  readonly retryAfterMs?: number
}

const OF_CREDENTIAL: ReadonlySet<FailureReason> = new Set([
  'credential_refused',
  'rate_limited',
  'quota_exhausted',
])

/** Whether a provider turned away a credential rather than the call, which another credential may carry through. */
export function isOfCredential({ outcome, reason }: Failure): boolean {
  return outcome === 'refused_unbilled' && OF_CREDENTIAL.has(reason)
}
