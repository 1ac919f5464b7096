import type { NanoUsd } from '@mesh/catalog/money.ts'
import { EMPTY_BUCKETS } from '@mesh/catalog/token-buckets.ts'
import type { HoldRequest, Settlement } from './books.ts'

/**
 * The end of a call whose caller had been told by the time of its hold that the books cannot be reached, or whose hold
 * is not known to be there: it never left.
 */
export function neverLeft(request: HoldRequest, heldNano: NanoUsd, heldTokens: number): Settlement {
  return {
    callId: request.callId,
    payer: request.payer,
    heldNano,
    heldTokens,
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
