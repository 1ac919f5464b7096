import type { ModelId } from '@mesh/catalog/catalog.ts'
import type { PrivacyClass } from '@mesh/engine/ask.ts'
import { inputTokensMax } from '@mesh/engine/input-bound.ts'
import { type Plan, plan } from '@mesh/engine/plan.ts'
import { classInTheClear, PRIVACY_CLASSES } from '@mesh/engine/privacy-class.ts'
import type { Caller } from '../accounts/caller.ts'
import { MeshError } from '../errors.ts'
import type { CallRequest } from './call-request.ts'
import { claim, unclaim } from './claim.ts'
import type { Mesh } from './mesh.ts'
import type { Asked } from './parse.ts'
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
 * Claims a call's idempotency key, plans it and reserves its money. Keys and limits come from memory; the books refuse a caller that is no longer
 * as it was read, and then everything is done again from what the database says now.
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
    await unclaim(request, asked, mesh)
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
    const planned = planFor(asked, caller, mesh)
    const reservation = await reserve(request.id, asked, planned, caller, mesh)
    if (reservation.type === 'held') return { asked, caller, plan: planned, hold: reservation.hold }
    mesh.authenticator.evict(caller.account.id)
    caller = await mesh.authenticator.authenticateForHold(request.secret())
  }
  throw new MeshError('overloaded', 'This account is being changed too quickly. Send the request again.')
}

/**
 * Who may serve this call, in which order.
 * @throws MeshError `model_not_allowed`, `privacy_unavailable`, `context_length_exceeded` or `no_endpoint`.
 */
function planFor(asked: Asked, caller: Caller, mesh: Mesh): Plan {
  const { shape, route } = asked.request
  const models: ModelId[] = asked.models.map(({ id }) => id)
  const { allows } = caller
  const planned = plan({
    models,
    shape,
    route,
    policy: {
      livemode: caller.livemode,
      ...(allows.models ? { allowedModels: allows.models as ReadonlySet<ModelId> } : {}),
      ...(allows.providers ? { allowedProviders: allows.providers } : {}),
      minimumPrivacyClass: highest(allows.minimumPrivacyClass, asked.request.privacy.minClass ?? 'standard'),
    },
    snapshot: mesh.snapshot,
    inputTokensMax,
  })
  if (planned.candidates.length === 0) throw nothingLeft(planned, asked, caller, mesh)
  return planned
}

function highest(left: PrivacyClass, right: PrivacyClass): PrivacyClass {
  return PRIVACY_CLASSES.indexOf(left) >= PRIVACY_CLASSES.indexOf(right) ? left : right
}

function nothingLeft(planned: Plan, asked: Asked, caller: Caller, mesh: Mesh): MeshError {
  const words = [...new Set(planned.excluded.map(({ by }) => by))]
  const excludedBy = Object.fromEntries(planned.excluded.map(({ endpoint, by }) => [endpoint, by]))
  const metadata = { excluded_by: words, endpoints: excludedBy }
  const [only] = words.length === 1 ? words : []
  if (only === 'allowed_models' || only === 'allowed_providers') {
    return new MeshError(
      'model_not_allowed',
      'The limits of this key, project or account do not allow this model here.',
      {
        param: 'model',
        metadata,
      },
    )
  }
  if (only === 'context_length') {
    return new MeshError(
      'context_length_exceeded',
      "The messages do not fit this model's context. Shorten them.",
      {
        param: 'messages',
        metadata,
      },
    )
  }
  if (words.includes('privacy_class')) {
    return new MeshError(
      'privacy_unavailable',
      'No endpoint of this model reaches the privacy class that is wanted.',
      {
        metadata: { ...metadata, offers: offersOf(asked, caller, mesh) },
      },
    )
  }
  return new MeshError('no_endpoint', `No endpoint of this model can serve this call: ${words.join(', ')}.`, {
    param: 'model',
    metadata,
  })
}

/** What each endpoint could offer: so that the caller can choose another floor, or another model. */
function offersOf(asked: Asked, caller: Caller, mesh: Mesh): Record<string, string> {
  const ids = new Set(asked.models.map(({ id }) => id))
  return Object.fromEntries(
    mesh.catalog.models
      .filter(({ id }) => ids.has(id))
      .flatMap(({ endpoints }) =>
        endpoints.map((endpoint) => [endpoint.id, classInTheClear(endpoint, caller.livemode)]),
      ),
  )
}
