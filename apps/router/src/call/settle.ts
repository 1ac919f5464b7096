import { inputTokens, outputTokens } from '@mesh/catalog/token-buckets.ts'
import type { JsonObject } from '@mesh/engine/ask.ts'
import type { RunOutcome } from '@mesh/engine/run-outcome.ts'
import { MeshError } from '../errors.ts'
import type { CallEvent, Settlement } from '../ledger/books.ts'
import { receiptIdOf, receiptPayload } from '../records/receipt.ts'
import type { Admitted } from './admit.ts'
import { type Charge, chargeFor } from './charge.ts'
import { unclaim } from './claim.ts'
import type { Mesh } from './mesh.ts'
import { planRequestFor, snapshotFor } from './plan-input.ts'
import { providerIn, recordOf } from './plan-record.ts'
import { type PrivacyReport, privacyReport } from './privacy.ts'
import { attemptsOf, routingForCaller, routingReport } from './routing.ts'

/** What a call's end needs to tell its caller. */
export interface Settled {
  readonly charge: Charge
  readonly routing: JsonObject
  readonly privacy: PrivacyReport
}

/**
 * Posts the end of a call. When it resolves the charge is on disk; the caller's answer may end.
 * @throws MeshError `storage_unavailable` when that takes longer than callers wait; then a call whose answer had not
 * begun is not charged, and one whose answer had is charged as soon as the books can be written. Also where this router
 * was taken for dead, or a crash lost its holds, and others have spent what the call held: then it is not charged.
 */
export async function settle(
  admitted: Admitted,
  outcome: RunOutcome,
  ending: MeshError | undefined,
  mesh: Mesh,
): Promise<Settled> {
  const { asked, caller, hold } = admitted
  const heldNano = hold.heldNano()
  const metered = chargeFor({ outcome, heldNano, dispatchedAt: hold.dispatchedAt })
  const charge = ending?.code === 'overloaded' ? unbilled(metered, outcome) : metered
  const privacy = privacyReport(asked.request.privacy, outcome.served?.endpoint, caller.livemode)
  const routing = routingReport(admitted, outcome, privacy)
  const snapshot = snapshotFor(caller, mesh)
  const plan = recordOf(planRequestFor(asked, caller), providerIn(mesh), admitted.plan)
  const reports = { routing: { ...routing, plan }, privacy }
  const settlement = settlementFor(admitted, outcome, ending, charge, reports, mesh)
  // Whose answer has not begun is told that nothing was charged when the books are late, so nothing must be then.
  const ifLate = outcome.contentSent
    ? undefined
    : () => settlementFor(admitted, outcome, LATE, unbilled(charge, outcome), reports, mesh)
  mesh.keptSnapshots.keep(snapshot)
  const { isUnpayable } = await mesh.books.settle(settlement, ifLate).catch((error: unknown) => {
    if (!(error instanceof MeshError) || error.code !== 'storage_unavailable') throw error
    throw ifLate ? LATE : LATE_AFTER_CONTENT
  })
  if (isUnpayable) {
    await unclaim(hold.callId, asked, mesh)
    throw UNPAYABLE
  }
  return { charge, routing: routingForCaller(routing, admitted, outcome), privacy }
}

const LATE = new MeshError(
  'storage_unavailable',
  'The books could not be written in time. Nothing was charged: send the request again.',
)
const LATE_AFTER_CONTENT = new MeshError(
  'storage_unavailable',
  'The answer came, but its end could not be booked in time. It will be charged: do not send it again.',
)
const UNPAYABLE = new MeshError(
  'storage_unavailable',
  'What was held for this call was lost, and is spent by others. Nothing was charged: send the request again.',
)

/** The charge of an answer that MESH itself kept from its caller: all that it cost is carried by MESH. */
function unbilled(charge: Charge, { served }: RunOutcome): Charge {
  return {
    billingReason: 'router_crash',
    totalNano: 0n,
    upstreamNano: 0n,
    absorbed:
      served && charge.upstreamNano > 0n
        ? [...charge.absorbed, { provider: served.endpoint.provider, amountNano: charge.upstreamNano }]
        : charge.absorbed,
    clamped: false,
  }
}

function settlementFor(
  { asked, caller, hold }: Admitted,
  outcome: RunOutcome,
  ending: MeshError | undefined,
  charge: Charge,
  reports: { readonly routing: JsonObject; readonly privacy: PrivacyReport },
  mesh: Mesh,
): Settlement {
  const { usage } = outcome
  const event: CallEvent = {
    createdAt: new Date(mesh.seams.now()),
    ...(asked.targets[0] ? { modelRequested: asked.targets[0].id } : {}),
    ...(outcome.served
      ? { modelServed: outcome.served.endpoint.model, provider: outcome.served.endpoint.provider }
      : {}),
    httpStatus: ending?.status ?? 200,
    ...(ending ? { errorCode: ending.code } : {}),
    stream: asked.request.ask.stream,
    billingReason: charge.billingReason,
    ...(outcome.finishReason === undefined ? {} : { finishReason: outcome.finishReason }),
    usageSource: usage.source,
    usageFlags: charge.clamped ? [...new Set([...usage.flags, 'exceeds_hold'])] : usage.flags,
    buckets: usage.buckets,
    priceListId: hold.priceListId,
    dispatchedAt: hold.dispatchedAt,
    attempts: attemptsOf(outcome),
    routing: reports.routing,
    privacy: { ...reports.privacy },
    ...(outcome.firstTokenMs === undefined ? {} : { firstTokenMs: Math.round(outcome.firstTokenMs) }),
    durationMs: Math.round(outcome.durationMs),
  }
  const { totalNano, upstreamNano, rates } = charge
  return {
    callId: hold.callId,
    payer: caller.payer,
    heldNano: hold.heldNano(),
    heldTokens: hold.heldTokens(),
    totalNano,
    upstreamNano,
    absorbed: charge.absorbed,
    tokens: totalNano > 0n ? inputTokens(usage.buckets) + outputTokens(usage.buckets) : 0,
    ...(event.provider === undefined ? {} : { provider: event.provider }),
    event,
    receipt: {
      id: receiptIdOf(hold.callId),
      payload: receiptPayload({
        issuer: mesh.issuer(),
        callId: hold.callId,
        payer: caller.payer,
        event,
        ...(rates ? { rates } : {}),
        totalNano,
        upstreamNano,
      }),
    },
    ...(asked.idempotency ? { idempotency: totalNano > 0n ? ('billed' as const) : ('freed' as const) } : {}),
  }
}
