import type { Endpoint, ProtocolName } from '@mesh/catalog/catalog.ts'
import type { PriceSchedule, Rates } from '@mesh/catalog/price.ts'
import type { PrivacyClass } from './ask.ts'
import { usualInputTokens } from './input-estimate.ts'
import type { PlanInput, PlanPolicy } from './plan.ts'
import type { NotSetUp, PlanEntry } from './plan-snapshot.ts'
import {
  classButForCache,
  classInTheClear,
  keepsNothing,
  mayTrain,
  reaches,
  WEAKEST_CLASS,
} from './privacy-class.ts'
import { BYTES_PER_TOKEN_MAX } from './text-size.ts'

/** Why an endpoint is not in a plan. The order is the order in which the filters run. */
export type ExcludedBy =
  | NotSetUp
  | 'allowed_models'
  | 'allowed_providers'
  | 'privacy_class'
  | 'shared_cache'
  | 'data_policy'
  | 'provider_only'
  | 'provider_ignore'
  | 'modality'
  | 'parameters'
  | 'context_length'
  | 'max_price'
  | 'breaker_open'
  | 'attempts_max'

/** A call as the filters look at it. */
export interface FilterCall extends PlanInput {
  /** Whether the caller leaves the choice of a model to the planner, which then takes none that cannot do it. */
  readonly choosesModel: boolean
  /** What an endpoint must take. */
  readonly neededParameters: readonly string[]
  readonly inputTokensFewest: number
  readonly inputTokensUsual: number
}

/** What the filters look at is worked out once for all endpoints of a target. */
export function filterCallOf(input: PlanInput, choosesModel: boolean): FilterCall {
  const { shape, route } = input
  return {
    ...input,
    choosesModel,
    neededParameters: route.requireParameters
      ? shape.parameters
      : choosesModel
        ? shape.parameters.filter((name) => NEEDED.has(name) || shape.needs?.includes(name))
        : (shape.needs ?? []),
    inputTokensFewest: Math.floor(shape.inputTokensBound.textBytes / BYTES_PER_TOKEN_MAX),
    inputTokensUsual: usualInputTokens(shape.inputTokensBound, Number.MAX_SAFE_INTEGER),
  }
}

type Filter = readonly [ExcludedBy, (entry: PlanEntry, call: FilterCall) => boolean]

/** Each filter says whether it removes an endpoint. */
const FILTERS: readonly Filter[] = [
  ['allowed_models', ({ endpoint }, { policy }) => policy.allowedModels?.has(endpoint.model) === false],
  [
    'allowed_providers',
    ({ endpoint }, { policy }) => policy.allowedProviders?.has(endpoint.provider) === false,
  ],
  ['privacy_class', ({ endpoint }, { policy }) => isBelowFloor(classButForCache, endpoint, policy)],
  ['shared_cache', ({ endpoint }, { policy }) => isBelowFloor(classInTheClear, endpoint, policy)],
  ['data_policy', againstDataPolicy],
  [
    'provider_only',
    ({ endpoint }, { route }) => route.only.length > 0 && !route.only.includes(endpoint.provider),
  ],
  ['provider_ignore', ({ endpoint }, { route }) => route.ignore.includes(endpoint.provider)],
  ['modality', lacksModality],
  ['parameters', lacksParameters],
  ['context_length', isTooSmall],
  ['max_price', aboveMaxPrice],
  ['breaker_open', ({ endpoint }, { snapshot }) => snapshot.health.get(endpoint.id)?.breaker === 'open'],
]

/** The first word that applies to an endpoint, or `undefined` where it may serve the call. */
export function excludedBy(entry: PlanEntry, call: FilterCall): ExcludedBy | undefined {
  const notSetUp = call.policy.livemode ? entry.notSetUp.live : entry.notSetUp.test
  if (notSetUp) return notSetUp
  for (const [word, removes] of FILTERS) if (removes(entry, call)) return word
  return undefined
}

function isBelowFloor(
  offeredBy: (endpoint: Endpoint, livemode: boolean) => PrivacyClass,
  endpoint: Endpoint,
  { minimumPrivacyClass = WEAKEST_CLASS, livemode }: PlanPolicy,
): boolean {
  return minimumPrivacyClass !== WEAKEST_CLASS && !reaches(offeredBy(endpoint, livemode), minimumPrivacyClass)
}

function againstDataPolicy({ endpoint }: PlanEntry, { route, policy }: FilterCall): boolean {
  if (route.zeroDataRetention && !keepsNothing(endpoint, policy.livemode)) return true
  return route.denyDataCollection && mayTrain(endpoint, policy.livemode)
}

/** These take the bytes of images and files alone. */
const FETCHES_NO_MEDIA: ReadonlySet<ProtocolName> = new Set(['bedrock_converse'])

function lacksModality({ endpoint }: PlanEntry, { shape, snapshot }: FilterCall): boolean {
  const { image, file, audio, mediaUrl, fileUrl } = shape.modalities
  const takes = endpoint.inputModalities
  return (
    (image && !takes.includes('image')) ||
    (file && !takes.includes('file')) ||
    (audio && !takes.includes('audio')) ||
    (mediaUrl === true && FETCHES_NO_MEDIA.has(endpoint.protocol)) ||
    (fileUrl === true && !snapshot.takesParameter(endpoint, 'file_url'))
  )
}

/** Without these a call is another call. Whoever names a model is sent there without them, and told what was dropped. */
const NEEDED: ReadonlySet<string> = new Set([
  'tools',
  'response_format.json_object',
  'response_format.json_schema',
  'reasoning',
])

function lacksParameters({ endpoint }: PlanEntry, { neededParameters, snapshot }: FilterCall): boolean {
  return neededParameters.some(
    (name) => !endpoint.emulatedParameters.includes(name) && !snapshot.takesParameter(endpoint, name),
  )
}

/**
 * Where the caller named the model, only a text that is too long even in the longest tokens leaves an endpoint out,
 * and the provider judges the others. A model that is chosen for him has room for what the call probably comes to.
 */
function isTooSmall({ endpoint }: PlanEntry, call: FilterCall): boolean {
  const { outputTokensMax } = endpoint
  const contextTokens = endpoint.contextTokens * (call.shape.inputTokensBound.contexts ?? 1)
  if (call.inputTokensFewest > contextTokens) return true
  if (!call.choosesModel) return false
  const outputTokens = call.shape.maxOutputTokens ?? 0
  return call.inputTokensUsual + outputTokens > contextTokens || outputTokens > outputTokensMax
}

/** A caller's price cap holds whatever tier or hour the call falls in, so the dearest that it can reach counts. */
function aboveMaxPrice({ sellPrices, endpoint }: PlanEntry, call: FilterCall): boolean {
  const { maxInputPricePico, maxOutputPricePico } = call.route
  if (maxInputPricePico === undefined && maxOutputPricePico === undefined) return false
  return reachableRates(sellPrices, inputTokensMaxAt(endpoint, call)).some(
    (rates) =>
      (maxInputPricePico !== undefined && rates.input > maxInputPricePico) ||
      (maxOutputPricePico !== undefined && rates.output > maxOutputPricePico),
  )
}

function inputTokensMaxAt(endpoint: Endpoint, { shape, inputTokensMax }: FilterCall): number {
  return inputTokensMax(shape.inputTokensBound, endpoint)
}

function reachableRates({ rates, tiers, windows }: PriceSchedule, inputTokensMax: number): Rates[] {
  const reachableTiers = tiers.filter((tier) => inputTokensMax > tier.aboveInputTokens)
  return [rates, ...windows.map((window) => window.rates), ...reachableTiers.map((tier) => tier.rates)]
}
