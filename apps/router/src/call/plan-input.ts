import type { ModelId } from '@mesh/catalog/catalog.ts'
import type { PrivacyClass, PrivacyRequest } from '@mesh/engine/ask.ts'
import { inputTokensMax } from '@mesh/engine/input-bound.ts'
import type { PlanInput } from '@mesh/engine/plan.ts'
import { PRIVACY_CLASSES } from '@mesh/engine/privacy-class.ts'
import type { Caller } from '../accounts/caller.ts'
import type { CallId } from '../ids.ts'
import type { NamedSnapshot } from '../plan-snapshots.ts'
import { type Mesh, termsFor } from './mesh.ts'
import type { Asked } from './parse.ts'
import type { PlanRequest } from './plan-record.ts'

/** All that decides who may serve a call, and in which order. */
export function planInputFor(
  asked: Asked,
  caller: Caller,
  mesh: Pick<Mesh, 'terms'>,
  callId: CallId,
): PlanInput {
  return {
    ...planRequestFor(asked, caller),
    snapshot: snapshotFor(caller, mesh),
    spreadKey: callId,
    inputTokensMax,
  }
}

/** The state that a caller's plans are made from. */
export function snapshotFor({ account, livemode }: Caller, mesh: Pick<Mesh, 'terms'>): NamedSnapshot {
  const { snapshots } = termsFor(mesh, account.id)
  return livemode ? snapshots.live : snapshots.test
}

/** All of it that is the call's own. */
export function planRequestFor(asked: Asked, caller: Caller): PlanRequest {
  const { shape, route } = asked.request
  const { allows } = caller
  return {
    targets: asked.targets.map(({ id }) => id),
    shape,
    route,
    policy: {
      livemode: caller.livemode,
      ...(allows.models ? { allowedModels: allows.models as ReadonlySet<ModelId> } : {}),
      ...(allows.providers ? { allowedProviders: allows.providers } : {}),
      minimumPrivacyClass: privacyFloor(asked.request.privacy, caller),
    },
  }
}

/** The class that a call must not run below: the caller's own, or that of his limits. */
export function privacyFloor({ minClass = 'standard' }: PrivacyRequest, { allows }: Caller): PrivacyClass {
  return highest(allows.minimumPrivacyClass, minClass)
}

function highest(left: PrivacyClass, right: PrivacyClass): PrivacyClass {
  return PRIVACY_CLASSES.indexOf(left) >= PRIVACY_CLASSES.indexOf(right) ? left : right
}
