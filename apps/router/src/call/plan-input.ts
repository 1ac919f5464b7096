import type { ModelId } from '@mesh/catalog/catalog.ts'
import type { PrivacyClass } from '@mesh/engine/ask.ts'
import { inputTokensMax } from '@mesh/engine/input-bound.ts'
import type { PlanInput } from '@mesh/engine/plan.ts'
import { PRIVACY_CLASSES } from '@mesh/engine/privacy-class.ts'
import type { Caller } from '../accounts/caller.ts'
import type { CallId } from '../ids.ts'
import { type Mesh, termsFor } from './mesh.ts'
import type { Asked } from './parse.ts'

/** All that decides who may serve a call, and in which order. */
export function planInputFor(
  asked: Asked,
  caller: Caller,
  mesh: Pick<Mesh, 'terms'>,
  callId: CallId,
): PlanInput {
  const { shape, route } = asked.request
  const { allows } = caller
  const { snapshots } = termsFor(mesh, caller.account.id)
  return {
    targets: asked.targets.map(({ id }) => id),
    shape,
    route,
    policy: {
      livemode: caller.livemode,
      ...(allows.models ? { allowedModels: allows.models as ReadonlySet<ModelId> } : {}),
      ...(allows.providers ? { allowedProviders: allows.providers } : {}),
      minimumPrivacyClass: highest(allows.minimumPrivacyClass, asked.request.privacy.minClass ?? 'standard'),
    },
    snapshot: caller.livemode ? snapshots.live : snapshots.test,
    spreadKey: callId,
    inputTokensMax,
  }
}

function highest(left: PrivacyClass, right: PrivacyClass): PrivacyClass {
  return PRIVACY_CLASSES.indexOf(left) >= PRIVACY_CLASSES.indexOf(right) ? left : right
}
