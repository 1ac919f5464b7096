// Made by `npm run docs` from apps/router/src/records/billing-reason.ts. Change it there.

/** Why a call cost what it cost. docs/billing-reasons.md says what each of them means. */
export const BILLING_REASONS = [
  'completed',
  'truncated_by_length',
  'credit_cutoff',
  'client_disconnected',
  'estimated_usage',
  'zero_completion_not_billed',
  'upstream_error_not_billed',
  'router_crash',
  'rejected_not_billed',
] as const

export type BillingReason = (typeof BILLING_REASONS)[number]
