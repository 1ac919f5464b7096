import type { ModelId } from '@mesh/catalog/catalog.ts'
import type { PrivacyClass } from '@mesh/engine/ask.ts'
import { inputTokensMax } from '@mesh/engine/input-bound.ts'
import { type ExcludedBy, type Plan, plan } from '@mesh/engine/plan.ts'
import { classInTheClear, PRIVACY_CLASSES } from '@mesh/engine/privacy-class.ts'
import type { Caller } from '../accounts/caller.ts'
import { MeshError } from '../errors.ts'
import { authenticate } from './authenticate.ts'
import type { CallRequest } from './call-request.ts'
import { claim, unclaim } from './claim.ts'
import { type Mesh, termsFor } from './mesh.ts'
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
    const unclaimed = unclaim(request, asked, mesh)
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
    const planned = planFor(asked, caller, mesh)
    if (planned.candidates.length > 0) {
      const reservation = await reserve(request.id, asked, planned, caller, mesh)
      if (reservation.type === 'held') return { asked, caller, plan: planned, hold: reservation.hold }
    } else if (attempt > 1 || !planned.excluded.some(({ by }) => BY_LIMITS.has(by))) {
      throw nothingLeft(planned, asked, caller, mesh)
    }
    mesh.authenticator.evict(caller.account.id)
    caller = await authenticate(request, mesh)
  }
  throw new MeshError('overloaded', 'This account is being changed too quickly. Send the request again.')
}

/** What limits exclude is decided on memory, which no hold has proved right: it is looked at again before it is said. */
const BY_LIMITS: ReadonlySet<ExcludedBy> = new Set(['allowed_models', 'allowed_providers', 'privacy_class'])

/** What is not set up on this router: it stands in every caller's way, and says nothing of this call. */
const BY_ROUTER: ReadonlySet<ExcludedBy> = new Set([
  'protocol_not_built',
  'credential_missing',
  'provider_disabled',
])

/** Who may serve this call, in which order. */
function planFor(asked: Asked, caller: Caller, mesh: Mesh): Plan {
  const { shape, route } = asked.request
  const models: ModelId[] = asked.models.map(({ id }) => id)
  const { allows } = caller
  return plan({
    models,
    shape,
    route,
    policy: {
      livemode: caller.livemode,
      ...(allows.models ? { allowedModels: allows.models as ReadonlySet<ModelId> } : {}),
      ...(allows.providers ? { allowedProviders: allows.providers } : {}),
      minimumPrivacyClass: highest(allows.minimumPrivacyClass, asked.request.privacy.minClass ?? 'standard'),
    },
    snapshot: termsFor(mesh, caller.account.id).snapshot,
    inputTokensMax,
  })
}

function highest(left: PrivacyClass, right: PrivacyClass): PrivacyClass {
  return PRIVACY_CLASSES.indexOf(left) >= PRIVACY_CLASSES.indexOf(right) ? left : right
}

/** Why no endpoint is left: `model_not_allowed`, `context_length_exceeded`, `privacy_unavailable` or `no_endpoint`. */
function nothingLeft(planned: Plan, asked: Asked, caller: Caller, mesh: Mesh): MeshError {
  const words = [...new Set(planned.excluded.map(({ by }) => by))]
  const excludedBy = Object.fromEntries(planned.excluded.map(({ endpoint, by }) => [endpoint, by]))
  const metadata = { excluded_by: words, endpoints: excludedBy }
  const ofThisCall = words.filter((word) => !BY_ROUTER.has(word))
  const isAllOf = (...causes: ExcludedBy[]) =>
    ofThisCall.length > 0 && ofThisCall.every((word) => causes.includes(word))
  if (isAllOf('allowed_models', 'allowed_providers')) {
    return new MeshError(
      'model_not_allowed',
      'The limits of this key, project or account do not allow this model here.',
      {
        param: 'model',
        metadata,
      },
    )
  }
  if (isAllOf('context_length')) {
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
