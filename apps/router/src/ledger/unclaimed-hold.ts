import { EMPTY_BUCKETS } from '@mesh/catalog/token-buckets.ts'
import type { HoldGranted, HoldRequest, Settlement } from './books.ts'

/** The end of a call that was granted a hold after its caller had been told to come again: it never left. */
export function unclaimedHold(request: HoldRequest, { heldNano, outputTokens }: HoldGranted): Settlement {
  return {
    callId: request.callId,
    payer: request.payer,
    heldNano,
    heldTokens: request.inputTokens + outputTokens,
    totalNano: 0n,
    upstreamNano: 0n,
    absorbed: [],
    tokens: 0,
    event: {
      createdAt: new Date(),
      modelRequested: request.model,
      httpStatus: 503,
      errorCode: 'storage_unavailable',
      stream: false,
      billingReason: 'rejected_not_billed',
      usageSource: 'none',
      usageFlags: [],
      buckets: EMPTY_BUCKETS,
      attempts: [],
      routing: {},
      privacy: {},
      durationMs: 0,
    },
    idempotency: 'freed',
  }
}
