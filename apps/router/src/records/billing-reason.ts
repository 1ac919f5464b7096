/** Why a call cost what it cost. One table for code, documents and tests. */
export const BILLING_REASONS = {
  completed: 'The answer came whole; the provider reported its usage.',
  truncated_by_length: "The answer ended at max_tokens or at the model's own limit; what came is charged.",
  credit_cutoff: 'Credit or a limit ended while the answer ran; what came until then is charged.',
  client_disconnected:
    'The caller left or read too slowly, or its key or account was ended, before the end; what the provider had produced is charged.',
  estimated_usage:
    'The provider reported no usage that can be true, went on past the output that it was allowed, or was still at it at the deadline; MESH counted instead.',
  zero_completion_not_billed: 'The model answered nothing; nothing is charged.',
  upstream_error_not_billed: 'No provider gave a whole answer; nothing is charged.',
  router_crash:
    'The router died, was stopped or could not write its books before the end of the answer; nothing is charged.',
  rejected_not_billed: 'The call was refused before it was sent; nothing is charged.',
} as const satisfies Record<string, string>

export type BillingReason = keyof typeof BILLING_REASONS
