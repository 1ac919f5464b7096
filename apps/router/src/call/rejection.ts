import { EMPTY_BUCKETS } from '@mesh/catalog/token-buckets.ts'
import type { Caller } from '../accounts/caller.ts'
import { type ErrorCode, MeshError } from '../errors.ts'
import { describeError } from '../log.ts'
import type { CallRequest } from './call-request.ts'
import type { Mesh } from './mesh.ts'
import type { Asked } from './parse.ts'
import { planRequestFor, snapshotFor } from './plan-input.ts'
import { providerIn, recordOf } from './plan-record.ts'
import { privacyReport } from './privacy.ts'

/** Refusals that exist to shed load leave no row: a row for each would be load of its own. */
const UNRECORDED: ReadonlySet<ErrorCode> = new Set([
  'rate_limit_exceeded',
  'too_many_concurrent',
  'overloaded',
  'storage_unavailable',
  'client_disconnected',
  'internal',
])

/** Waits for a stage that may refuse the call, and leaves an event of the refusal, up to a number for each key. */
export async function orReject<Value>(
  stage: Promise<Value>,
  request: CallRequest,
  caller: Caller,
  mesh: Mesh,
  asked?: Asked,
): Promise<Value> {
  try {
    return await stage
  } catch (error) {
    if (error instanceof MeshError && !UNRECORDED.has(error.code) && mesh.refusalRows.take(caller.key.id)) {
      record(error, request, caller, mesh, asked)
    }
    throw error
  }
}

/** The caller's answer does not wait for it: it moves no money. */
function record(error: MeshError, request: CallRequest, caller: Caller, mesh: Mesh, asked?: Asked): void {
  const requested = asked?.targets[0]?.id
  const snapshot = snapshotFor(caller, mesh)
  if (asked) mesh.keptSnapshots.keep(snapshot)
  mesh.books
    .settle({
      callId: request.id,
      payer: caller.payer,
      heldNano: 0n,
      heldTokens: 0,
      totalNano: 0n,
      upstreamNano: 0n,
      absorbed: [],
      tokens: 0,
      event: {
        createdAt: new Date(mesh.seams.now()),
        ...(requested === undefined ? {} : { modelRequested: requested }),
        httpStatus: error.status,
        errorCode: error.code,
        stream: asked?.request.ask.stream ?? false,
        billingReason: 'rejected_not_billed',
        usageSource: 'none',
        usageFlags: [],
        buckets: EMPTY_BUCKETS,
        attempts: [],
        routing: {
          api: request.shape.name,
          requested: asked?.targets.map(({ id }) => id) ?? [],
          ...(asked
            ? { snapshot: snapshot.id, plan: recordOf(planRequestFor(asked, caller), providerIn(mesh)) }
            : {}),
        },
        privacy: asked ? { ...privacyReport(asked.request.privacy, undefined, caller.livemode) } : {},
        durationMs: 0,
      },
    })
    .catch((fault: unknown) => {
      mesh.log.warn('a refusal left no event', { callId: request.id, ...describeError(fault) })
    })
}
