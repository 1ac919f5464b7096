import type {
  Catalog,
  Endpoint,
  EndpointId,
  Model,
  ModelId,
  ProtocolName,
  ProviderId,
} from '@mesh/catalog/catalog.ts'
import type { PicoUsd } from '@mesh/catalog/money.ts'
import type { PriceSchedule } from '@mesh/catalog/price.ts'
import type { HealthByEndpoint } from './endpoint-health.ts'

/** What a plan is made from, beside the call: what the router is set up with, and how its endpoints do. */
export interface PlanState {
  /** Names all of it, health included: whoever has what it names makes the same plan again. */
  readonly id: string
  readonly catalog: Catalog
  readonly sellPrices: ReadonlyMap<EndpointId, PriceSchedule>
  readonly protocolBuilt: (name: ProtocolName) => boolean
  /** Whether an endpoint is sent a parameter rather than it being dropped (`Protocol.takes`). */
  readonly takesParameter: (endpoint: Endpoint, parameter: string) => boolean
  /** Providers that have a credential for live calls. Test calls need none: the simulators have their own. */
  readonly credentials: ReadonlySet<ProviderId>
  readonly enabledProviders: ReadonlySet<ProviderId>
  /** What the operator prefers, by provider; one without a preference has priority 0 and no weight. */
  readonly preferences: ReadonlyMap<ProviderId, ProviderPreference>
  /** Frozen (`freezeHealth`): it does not change while a plan is made. */
  readonly health: HealthByEndpoint
}

/** How an operator wants the endpoints of one model to be used, where the caller does not say. */
export interface ProviderPreference {
  /** A higher one comes first, whatever it costs. */
  readonly priority: number
  /** Among those of one priority that have a weight, calls are spread in this proportion. */
  readonly weight?: number
}

/** The state, with what can be worked out once for every plan that is made from it. */
export interface PlanSnapshot extends PlanState {
  readonly index: PlanIndex
}

/** Endpoints as plans look for them; every list is in the order of the endpoints' ids. */
export interface PlanIndex {
  readonly ofModel: ReadonlyMap<ModelId, readonly PlanEntry[]>
  readonly ofTier: ReadonlyMap<ModelId, readonly PlanEntry[]>
  /** What modes choose from. */
  readonly chat: readonly PlanEntry[]
}

/** One endpoint, with what does not change from call to call. */
export interface PlanEntry {
  readonly endpoint: Endpoint
  readonly sellPrices: PriceSchedule
  /** Among models of its kind, 0 is the best; models of one rating share a rank. */
  readonly qualityRank: number
  readonly tiers: readonly ModelId[]
  /** Whether the model's own maker runs it. */
  readonly isMakers: boolean
  /** What the router is not set up for, by world. */
  readonly notSetUp: { readonly live?: NotSetUp; readonly test?: NotSetUp }
}

/** What is not set up on a router: it stands in every caller's way, and says nothing of his call. */
export type NotSetUp = 'protocol_not_built' | 'credential_missing' | 'provider_disabled'

/**
 * Works out what all plans share.
 * @throws Error where the price list lacks an endpoint of the catalogue.
 */
export function createPlanSnapshot(state: PlanState): PlanSnapshot {
  const ranks = qualityRanks(state.catalog)
  const ofModel = new Map<ModelId, readonly PlanEntry[]>()
  for (const model of state.catalog.models) {
    const tiers = state.catalog.tiers.filter((tier) =>
      tier.models.some((member) => member.model === model.id),
    )
    const entries = model.endpoints.map((endpoint) => entryOf(endpoint, state))
    const shared = { qualityRank: ranks.get(model.id) ?? 0, tiers: tiers.map(({ id }) => id) }
    const whole = entries.map((entry) => ({
      ...entry,
      ...shared,
      isMakers: entry.endpoint.provider === model.vendor,
    }))
    ofModel.set(model.id, whole.sort(byId))
  }
  const entriesOf = (models: readonly ModelId[]) => models.flatMap((id) => ofModel.get(id) ?? []).sort(byId)
  const chat = state.catalog.models.filter(({ kind }) => kind === 'chat').map(({ id }) => id)
  const ofTier = state.catalog.tiers.map(
    ({ id, models }) => [id, entriesOf(models.map(({ model }) => model))] as const,
  )
  return { ...state, index: { ofModel, ofTier: new Map(ofTier), chat: entriesOf(chat) } }
}

function entryOf(
  endpoint: Endpoint,
  state: PlanState,
): Omit<PlanEntry, 'qualityRank' | 'tiers' | 'isMakers'> {
  const sellPrices = state.sellPrices.get(endpoint.id)
  if (!sellPrices) throw new Error(`the price list has no price for ${endpoint.id}`)
  const isBuilt = state.protocolBuilt(endpoint.protocol)
  const isEnabled = state.enabledProviders.has(endpoint.provider)
  const inBoth: NotSetUp | undefined = !isBuilt
    ? 'protocol_not_built'
    : !isEnabled
      ? 'provider_disabled'
      : undefined
  const live: NotSetUp | undefined =
    isBuilt && !state.credentials.has(endpoint.provider) ? 'credential_missing' : inBoth
  return {
    endpoint,
    sellPrices,
    notSetUp: { ...(live ? { live } : {}), ...(inBoth ? { test: inBoth } : {}) },
  }
}

/** Rated models first, the highest rating before the others; then those whose list price stands in, the dearest first. */
function qualityRanks({ models }: Catalog): ReadonlyMap<ModelId, number> {
  const ranks = new Map<ModelId, number>()
  const sorted = [...models].sort(compareQuality)
  let rank = 0
  sorted.forEach((model, at) => {
    const previous = sorted[at - 1]
    if (previous && compareQuality(previous, model) !== 0) rank = at
    ranks.set(model.id, rank)
  })
  return ranks
}

function compareQuality(a: Model, b: Model): number {
  const [one, other] = [a.quality?.score, b.quality?.score]
  if (one !== undefined && other !== undefined) return other - one
  if (one !== undefined) return -1
  if (other !== undefined) return 1
  const [left, right] = [listPrice(a), listPrice(b)]
  return left > right ? -1 : left < right ? 1 : 0
}

/** The cheapest endpoint's, at three tokens of input to one of output. */
function listPrice({ endpoints }: Model): PicoUsd {
  return endpoints
    .map(({ prices: { rates } }) => 3n * rates.input + rates.output)
    .reduce((least, price) => (least === 0n || price < least ? price : least), 0n)
}

function byId(a: PlanEntry, b: PlanEntry): number {
  return a.endpoint.id < b.endpoint.id ? -1 : 1
}
