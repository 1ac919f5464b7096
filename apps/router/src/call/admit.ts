import { type Plan, plan } from '@mesh/engine/plan.ts'
import type { ExcludedBy } from '@mesh/engine/plan-filters.ts'
import type { Caller } from '../accounts/caller.ts'
import { MeshError } from '../errors.ts'
import { authenticate } from './authenticate.ts'
import type { CallRequest } from './call-request.ts'
import { claim, unclaim } from './claim.ts'
import type { Mesh } from './mesh.ts'
import { nothingLeft } from './nothing-left.ts'
import type { Asked } from './parse.ts'
import { planInputFor } from './plan-input.ts'
import { type Hold, reserve } from './reserve.ts'

/** A call that may leave: planned, and its money set aside. */
export interface Admitted {
  readonly asked: Asked
  readonly caller: Caller
  readonly plan: Plan
  readonly hold: Hold
}

/** An account that changes faster than a call can be planned is being changed by a program: that is its own doing. */
const ATTEMPTS_AT_A_STALE_CALLER_MAX = 5

/**
 * Claims a call's idempotency key, plans it and reserves its money. Keys and limits come from memory; the books refuse
 * a caller that is no longer as it was read, and then everything is done again from what the database says now.
 * @throws MeshError all that a claim, a plan and a hold refuse with.
 */
export async function admit(
  request: CallRequest,
  asked: Asked,
  known: Caller,
  mesh: Mesh,
): Promise<Admitted> {
  await claim(request, asked, known, mesh)
  try {
    return await planAndReserve(request, asked, known, mesh)
  } catch (error) {
    const unclaimed = unclaim(request.id, asked, mesh)
    // Its caller has waited long enough for the database.
    if (!(error instanceof MeshError) || error.code !== 'storage_unavailable') await unclaimed
    throw error
  }
}

async function planAndReserve(
  request: CallRequest,
  asked: Asked,
  known: Caller,
  mesh: Mesh,
): Promise<Admitted> {
  let caller = known
  for (let attempt = 1; attempt <= ATTEMPTS_AT_A_STALE_CALLER_MAX; attempt++) {
    const input = planInputFor(asked, caller, mesh, request.id)
    const planned = plan(input)
    if (planned.candidates.length > 0) {
      const reservation = await reserve(request.id, asked, planned, caller, mesh)
      if (reservation.type === 'held') return { asked, caller, plan: planned, hold: reservation.hold }
    } else if (attempt > 1 || !planned.excluded.some(({ by }) => BY_LIMITS.has(by))) {
      throw nothingLeft(planned, input)
    }
    mesh.authenticator.evict(caller.account.id)
    caller = await authenticate(request, mesh)
  }
  throw new MeshError('overloaded', 'This account is being changed too quickly. Send the request again.')
}

/** What limits exclude is decided on memory, which no hold has proved right: it is looked at again before it is said. */
const BY_LIMITS: ReadonlySet<ExcludedBy> = new Set([
  'allowed_models',
  'allowed_providers',
  'privacy_class',
  'shared_cache',
])
