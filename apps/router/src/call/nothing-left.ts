import type { EndpointId } from '@mesh/catalog/catalog.ts'
import type { Plan, PlanInput } from '@mesh/engine/plan.ts'
import type { ExcludedBy } from '@mesh/engine/plan-filters.ts'
import type { PlanSnapshot } from '@mesh/engine/plan-snapshot.ts'
import { classInTheClear } from '@mesh/engine/privacy-class.ts'
import { MeshError } from '../errors.ts'
import { HEALTH_EPOCH_MS } from '../plan-snapshots.ts'

/** What is not set up on this router: it stands in every caller's way, and says nothing of this call. */
const BY_ROUTER: ReadonlySet<ExcludedBy> = new Set([
  'protocol_not_built',
  'credential_missing',
  'provider_disabled',
])

/**
 * Why a plan has no endpoint: `model_not_allowed`, `context_length_exceeded`, `privacy_unavailable`,
 * `provider_overloaded` or `no_endpoint`.
 */
export function nothingLeft(planned: Plan, { snapshot, policy, shape }: PlanInput): MeshError {
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
      { param: 'model', metadata },
    )
  }
  if (isAllOf('context_length')) {
    return new MeshError(
      'context_length_exceeded',
      "The messages do not fit this model's context. Shorten them.",
      { param: 'messages', metadata },
    )
  }
  if (words.includes('privacy_class') || words.includes('shared_cache')) {
    return new MeshError(
      'privacy_unavailable',
      'No endpoint of this model reaches the privacy class that is wanted.',
      { metadata: { ...metadata, offers: offersOf(planned, snapshot, policy.livemode) } },
    )
  }
  if (isAllOf('breaker_open')) {
    return new MeshError(
      'provider_overloaded',
      'Every provider that could serve this call has failed too often just now. Send the request again later.',
      { metadata, retryAfterMs: HEALTH_EPOCH_MS },
    )
  }
  const { needs = [] } = shape
  const message =
    isAllOf('parameters') && needs.length > 0
      ? `No endpoint of this model takes all that this call needs: ${needs.map(needInWords).join(', ')}.`
      : `No endpoint can serve this call: ${words.join(', ')}.`
  return new MeshError('no_endpoint', message, { param: 'model', metadata })
}

/** A need of `AskShape`, as it is said to a caller. */
function needInWords(need: string): string {
  if (need === 'input.tokens') return 'texts as tokens'
  return need.replace(/^input\.(\d+)_texts$/, '$1 texts at once')
}

/** What each endpoint could offer: so that the caller can choose another floor, or another model. */
function offersOf({ excluded }: Plan, { catalog }: PlanSnapshot, livemode: boolean): Record<string, string> {
  const ids = new Set<EndpointId>(excluded.map(({ endpoint }) => endpoint))
  const endpoints = catalog.models.flatMap((model) => model.endpoints).filter(({ id }) => ids.has(id))
  return Object.fromEntries(endpoints.map((endpoint) => [endpoint.id, classInTheClear(endpoint, livemode)]))
}
