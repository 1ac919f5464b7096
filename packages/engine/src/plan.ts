import type {
  Catalog,
  Endpoint,
  EndpointId,
  ModelId,
  ProtocolName,
  ProviderId,
} from '@mesh/catalog/catalog.ts'
import type { PicoUsd } from '@mesh/catalog/money.ts'
import { type PriceSchedule, type Rates, ratesOutsideWindows } from '@mesh/catalog/price.ts'
import type { AskShape, InputBound, PrivacyClass, RouteRequest } from './ask.ts'
import { classInTheClear, keepsNothing, mayTrain, reaches } from './privacy-class.ts'
import { BYTES_PER_TOKEN_MAX } from './text-size.ts'

/** Why an endpoint is not in a plan. The order is the order in which the filters run. */
export type ExcludedBy =
  | 'protocol_not_built'
  | 'credential_missing'
  | 'provider_disabled'
  | 'allowed_models'
  | 'allowed_providers'
  | 'privacy_class'
  | 'data_policy'
  | 'provider_only'
  | 'provider_ignore'
  | 'modality'
  | 'parameters'
  | 'context_length'
  | 'max_price'
  | 'attempts_max'

/** An endpoint that may serve a call, with the prices that the caller would pay there. */
export interface Candidate {
  readonly endpoint: Endpoint
  /** The price list's rates: list price plus mark-up. */
  readonly sellPrices: PriceSchedule
  /** The call's input bound at this endpoint, in tokens. */
  readonly inputTokensMax: number
}

export interface Plan {
  /** All that may be tried, in this order: the hold covers every one of them. */
  readonly candidates: readonly Candidate[]
  readonly excluded: readonly { readonly endpoint: EndpointId; readonly by: ExcludedBy }[]
  /** The models that were asked for, resolved, the first choice first. */
  readonly models: readonly ModelId[]
  /** The name of the state that the plan was made from, so that it can be replayed. */
  readonly snapshot: string
}

/** What key, project, account and operator allow, already merged: the strictest of each. */
export interface PlanPolicy {
  readonly allowedModels?: ReadonlySet<ModelId>
  readonly allowedProviders?: ReadonlySet<ProviderId>
  /** The highest of all floors, the request's own included. */
  readonly minimumPrivacyClass?: PrivacyClass
  readonly livemode: boolean
}

/** The state that a plan is made from. It is named, so that anyone can make the same plan again. */
export interface PlanSnapshot {
  readonly id: string
  readonly catalog: Catalog
  readonly sellPrices: ReadonlyMap<EndpointId, PriceSchedule>
  readonly protocolBuilt: (name: ProtocolName) => boolean
  /** Whether an endpoint is sent a parameter rather than it being dropped (`Protocol.takes`). */
  readonly takesParameter: (endpoint: Endpoint, parameter: string) => boolean
  /** Providers that have a credential for live calls. Test calls need none: the simulators have their own. */
  readonly credentials: ReadonlySet<ProviderId>
  readonly enabledProviders: ReadonlySet<ProviderId>
}

export interface PlanInput {
  /** The models that were asked for, resolved, the first choice first. Duplicates are dropped. */
  readonly models: readonly ModelId[]
  readonly shape: AskShape
  readonly route: RouteRequest
  readonly policy: PlanPolicy
  readonly snapshot: PlanSnapshot
  /** The hard bound on a call's input tokens at an endpoint (`input-bound.ts`). */
  readonly inputTokensMax: (bound: InputBound, endpoint: Endpoint) => number
}

/** However many endpoints could serve a call: each that is tried costs time, and each that may be is held for. */
export const ATTEMPTS_MAX = 6
/** The output at which endpoints are compared by price, where the caller allows that much. */
const COMPARED_OUTPUT_TOKENS = 512
/**
 * Decides who may serve a call, and in which order. Pure and deterministic: the same input gives the same plan, in
 * whatever order the catalogue lists its models and endpoints, and it never reads content.
 *
 * Hard filters run in the order of `ExcludedBy`; each endpoint that is removed carries the first word that applies.
 * Then the caller's order of models rules; within a model the caller's order of providers; then the expected price,
 * lowest first; then the model's own maker, before others who sell it at the same price; then the endpoint's id. Without fallbacks only the first candidate stays; with them as many as may be
 * tried.
 */
export function plan(input: PlanInput): Plan {
  const models = [...new Set(input.models)]
  const candidates: Candidate[] = []
  const excluded: Plan['excluded'][number][] = []
  for (const model of models) {
    const ofModel: Candidate[] = []
    for (const endpoint of modelOf(input.snapshot.catalog, model)?.endpoints ?? []) {
      const candidate = candidateAt(endpoint, input)
      const by = excludedBy(candidate, input)
      if (by) excluded.push({ endpoint: endpoint.id, by })
      else ofModel.push(candidate)
    }
    candidates.push(...ordered(ofModel, input))
  }
  const { id: snapshot } = input.snapshot
  if (!input.route.allowFallbacks) return { candidates: candidates.slice(0, 1), excluded, models, snapshot }
  const tried = worthTrying(candidates)
  for (const candidate of candidates) {
    if (!tried.includes(candidate)) excluded.push({ endpoint: candidate.endpoint.id, by: 'attempts_max' })
  }
  return { candidates: tried, excluded, models, snapshot }
}

/**
 * The best endpoint of every model has a place before the second best of any, so that a fault of one model (its
 * context, its only provider) never uses up the places of the others. The order stays.
 */
function worthTrying(candidates: readonly Candidate[]): Candidate[] {
  const isBest = ({ endpoint }: Candidate, at: number) =>
    endpoint.model !== candidates[at - 1]?.endpoint.model
  const places = [
    ...candidates.filter(isBest),
    ...candidates.filter((candidate, at) => !isBest(candidate, at)),
  ].slice(0, ATTEMPTS_MAX)
  return candidates.filter((candidate) => places.includes(candidate))
}

/** A catalogue is replaced whole and never changed, so what is worked out of one is good for as long as it is. */
const KNOWN_MODELS = new WeakMap<Catalog, ReadonlyMap<ModelId, KnownModel>>()

/** What a plan needs of a model. */
interface KnownModel {
  readonly vendor: string
  /** By id, so that the catalogue's own order cannot matter. */
  readonly endpoints: readonly Endpoint[]
}

function modelOf(catalog: Catalog, id: ModelId): KnownModel | undefined {
  let known = KNOWN_MODELS.get(catalog)
  if (!known) {
    const byId = (a: Endpoint, b: Endpoint) => compareIds(a.id, b.id)
    known = new Map(
      catalog.models.map(({ id, vendor, endpoints }) => [
        id,
        { vendor, endpoints: [...endpoints].sort(byId) },
      ]),
    )
    KNOWN_MODELS.set(catalog, known)
  }
  return known.get(id)
}

function candidateAt(endpoint: Endpoint, { snapshot, shape, inputTokensMax }: PlanInput): Candidate {
  const sellPrices = snapshot.sellPrices.get(endpoint.id)
  if (!sellPrices) throw new Error(`the price list has no price for ${endpoint.id}`)
  return { endpoint, sellPrices, inputTokensMax: inputTokensMax(shape.inputTokensBound, endpoint) }
}

type Filter = readonly [ExcludedBy, (candidate: Candidate, input: PlanInput) => boolean]

/** Each filter says whether it removes a candidate. */
const FILTERS: readonly Filter[] = [
  ['protocol_not_built', ({ endpoint }, { snapshot }) => !snapshot.protocolBuilt(endpoint.protocol)],
  [
    'credential_missing',
    ({ endpoint }, { snapshot, policy }) => policy.livemode && !snapshot.credentials.has(endpoint.provider),
  ],
  ['provider_disabled', ({ endpoint }, { snapshot }) => !snapshot.enabledProviders.has(endpoint.provider)],
  ['allowed_models', ({ endpoint }, { policy }) => policy.allowedModels?.has(endpoint.model) === false],
  [
    'allowed_providers',
    ({ endpoint }, { policy }) => policy.allowedProviders?.has(endpoint.provider) === false,
  ],
  [
    'privacy_class',
    ({ endpoint }, { policy }) =>
      !reaches(classInTheClear(endpoint, policy.livemode), policy.minimumPrivacyClass ?? 'standard'),
  ],
  ['data_policy', againstDataPolicy],
  [
    'provider_only',
    ({ endpoint }, { route }) => route.only.length > 0 && !route.only.includes(endpoint.provider),
  ],
  ['provider_ignore', ({ endpoint }, { route }) => route.ignore.includes(endpoint.provider)],
  ['modality', lacksModality],
  ['parameters', lacksParameters],
  ['context_length', ({ endpoint }, { shape }) => fewestInputTokens(shape) > endpoint.contextTokens],
  ['max_price', aboveMaxPrice],
]

function excludedBy(candidate: Candidate, input: PlanInput): ExcludedBy | undefined {
  return FILTERS.find(([, removes]) => removes(candidate, input))?.[0]
}

function againstDataPolicy({ endpoint }: Candidate, { route, policy }: PlanInput): boolean {
  if (route.zeroDataRetention && !keepsNothing(endpoint, policy.livemode)) return true
  return route.denyDataCollection && mayTrain(endpoint, policy.livemode)
}

function lacksModality({ endpoint }: Candidate, { shape }: PlanInput): boolean {
  const { image, file, audio } = shape.modalities
  const takes = endpoint.inputModalities
  return (
    (image && !takes.includes('image')) ||
    (file && !takes.includes('file')) ||
    (audio && !takes.includes('audio'))
  )
}

function lacksParameters({ endpoint }: Candidate, { shape, route, snapshot }: PlanInput): boolean {
  if (!route.requireParameters) return false
  return shape.parameters.some(
    (name) => !endpoint.emulatedParameters.includes(name) && !snapshot.takesParameter(endpoint, name),
  )
}

/** Only a text that is too long even in the longest tokens leaves an endpoint out; the provider judges the others. */
function fewestInputTokens(shape: AskShape): number {
  return Math.floor(shape.inputTokensBound.textBytes / BYTES_PER_TOKEN_MAX)
}

/** A caller's price cap holds whatever tier or hour the call falls in, so the dearest that it can reach counts. */
function aboveMaxPrice({ sellPrices, inputTokensMax }: Candidate, { route }: PlanInput): boolean {
  const { maxInputPricePico, maxOutputPricePico } = route
  if (maxInputPricePico === undefined && maxOutputPricePico === undefined) return false
  return reachableRates(sellPrices, inputTokensMax).some(
    (rates) =>
      (maxInputPricePico !== undefined && rates.input > maxInputPricePico) ||
      (maxOutputPricePico !== undefined && rates.output > maxOutputPricePico),
  )
}

function reachableRates({ rates, tiers, windows }: PriceSchedule, inputTokensMax: number): Rates[] {
  const reachableTiers = tiers.filter((tier) => inputTokensMax > tier.aboveInputTokens)
  return [rates, ...windows.map((window) => window.rates), ...reachableTiers.map((tier) => tier.rates)]
}

function ordered(
  candidates: readonly Candidate[],
  { route, shape, snapshot }: PlanInput,
): readonly Candidate[] {
  if (candidates.length < 2) return candidates
  const outputTokens = Math.min(shape.maxOutputTokens ?? COMPARED_OUTPUT_TOKENS, COMPARED_OUTPUT_TOKENS)
  return candidates
    .map((candidate) => ({
      candidate,
      preference: preferenceOf(candidate.endpoint.provider, route.order),
      price: expectedPrice(candidate, outputTokens),
      resale:
        candidate.endpoint.provider === modelOf(snapshot.catalog, candidate.endpoint.model)?.vendor ? 0 : 1,
    }))
    .sort(
      (a, b) =>
        a.preference - b.preference ||
        compareAmounts(a.price, b.price) ||
        a.resale - b.resale ||
        compareIds(a.candidate.endpoint.id, b.candidate.endpoint.id),
    )
    .map(({ candidate }) => candidate)
}

/** Providers that the caller did not name come after those that he did. */
function preferenceOf(provider: ProviderId, order: readonly ProviderId[]): number {
  const place = order.indexOf(provider)
  return place === -1 ? order.length : place
}

/** Outside every time window: a plan knows no time of day, so that it can be made again. */
function expectedPrice({ sellPrices, inputTokensMax }: Candidate, outputTokens: number): PicoUsd {
  const { input, output } = ratesOutsideWindows(sellPrices, inputTokensMax)
  return BigInt(inputTokensMax) * input + BigInt(outputTokens) * output
}

function compareAmounts(a: PicoUsd, b: PicoUsd): number {
  return a < b ? -1 : a > b ? 1 : 0
}

function compareIds(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
