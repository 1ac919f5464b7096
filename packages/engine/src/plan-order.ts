import type { EndpointId, ProviderId } from '@mesh/catalog/catalog.ts'
import type { PicoUsd } from '@mesh/catalog/money.ts'
import { type PriceSchedule, ratesOutsideWindows } from '@mesh/catalog/price.ts'
import type { AskShape, RouteRequest } from './ask.ts'
import type { AutoRule } from './auto-rules.ts'
import { HEALTH_SAMPLES_MIN, type HealthByEndpoint, speedStep } from './endpoint-health.ts'
import { usualInputTokens } from './input-estimate.ts'
import type { PlanInput } from './plan.ts'
import type { PlanEntry, PlanState } from './plan-snapshot.ts'
import { weightedDraw } from './weighted-draw.ts'

/** The output at which endpoints are compared, where the caller allows that much. */
const COMPARED_OUTPUT_TOKENS = 512
/** Where an endpoint's throughput is known and nobody says how long its first token takes. */
const ASSUMED_FIRST_TOKEN_MS = 1_000
const UNKNOWN = Number.POSITIVE_INFINITY

/** What the endpoints of every target of one call are ordered by. */
export interface Ordering {
  readonly tokens: ComparedTokens
  readonly route: RouteRequest
  readonly health: HealthByEndpoint
  readonly preferences: PlanState['preferences']
  /** What calls are spread by among endpoints with weights. */
  readonly spreadKey: string
}

export function orderingOf({ shape, route, snapshot, spreadKey }: PlanInput): Ordering {
  const { health, preferences } = snapshot
  const tokens = comparedTokens(shape)
  return { tokens, route, health, preferences, spreadKey: route.sessionId ?? spreadKey }
}

/** An endpoint with what it is ordered by. Speeds are looked at only where nothing before them decides. */
interface Ranked {
  readonly entry: PlanEntry
  readonly preference: number
  readonly pool: number
  readonly price: PicoUsd
  speed?: Speed
  durationStep?: number
  share?: number
}

/** Which of two endpoints comes first: the one of which this is less. */
type Comparison = (a: Ranked, b: Ranked, ordering: Ordering) => number

const BY = {
  priority: (a, b, { preferences }) => priorityOf(b, preferences) - priorityOf(a, preferences),
  share: (a, b, ordering) => ascending(-shareOf(a, ordering), -shareOf(b, ordering)),
  pool: (a, b) => a.pool - b.pool,
  quality: (a, b) => a.entry.qualityRank - b.entry.qualityRank,
  price: (a, b) => (a.price < b.price ? -1 : a.price > b.price ? 1 : 0),
  /** A model's own maker comes before others who sell it at the same price. */
  maker: (a, b) => Number(b.entry.isMakers) - Number(a.entry.isMakers),
  duration: (a, b, ordering) => ascending(durationStep(a, ordering), durationStep(b, ordering)),
  firstToken: (a, b, ordering) =>
    ascending(stepOr(speedOf(a, ordering).firstTokenMs), stepOr(speedOf(b, ordering).firstTokenMs)),
  throughput: (a, b, ordering) =>
    ascending(
      -stepOr(speedOf(a, ordering).tokensPerSecond, -1),
      -stepOr(speedOf(b, ordering).tokensPerSecond, -1),
    ),
} satisfies Readonly<Record<string, Comparison>>

/** The order of one target's endpoints: the weightiest criterion first. The last key of all is the endpoint's id. */
type Criteria = readonly Comparison[]

const BY_SORT: Readonly<Record<NonNullable<RouteRequest['sort']>, Criteria>> = {
  price: [BY.price, BY.maker, BY.duration],
  throughput: [BY.throughput, BY.price, BY.maker],
  latency: [BY.firstToken, BY.price, BY.maker],
}

/** How endpoints of what a caller named are ordered, where he does not say `provider.sort`. */
export const CRITERIA = {
  models: [BY.priority, BY.share, BY.price, BY.maker, BY.duration],
  tier: [BY.price, BY.maker, BY.duration],
  cheapest: [BY.price, BY.maker, BY.duration],
  fast: [BY.duration, BY.price, BY.maker],
  best: [BY.quality, BY.price, BY.maker, BY.duration],
  auto: [BY.pool, BY.price, BY.maker, BY.duration],
} as const satisfies Readonly<Record<string, Criteria>>

/** `provider.sort` takes the place of price, speed and what the operator prefers; what else an order begins with stays. */
export function criteriaFor(by: keyof typeof CRITERIA, sort: RouteRequest['sort']): Criteria {
  if (sort === undefined) return CRITERIA[by]
  const kept = (CRITERIA[by] as Criteria).filter((compare) => compare === BY.pool || compare === BY.quality)
  return [...kept, ...BY_SORT[sort]]
}

/**
 * Endpoints of one target in the order in which they are tried: the caller's providers first, in his order; then the
 * criteria; then the id.
 */
export function ordered(
  entries: readonly PlanEntry[],
  criteria: Criteria,
  autoRule: AutoRule | undefined,
  ordering: Ordering,
): readonly PlanEntry[] {
  if (entries.length < 2) return entries
  return entries
    .map((entry) => rankedOf(entry, autoRule, ordering))
    .sort((a, b) => {
      if (a.preference !== b.preference) return a.preference - b.preference
      for (const compare of criteria) {
        const difference = compare(a, b, ordering)
        if (difference !== 0) return difference
      }
      return a.entry.endpoint.id < b.entry.endpoint.id ? -1 : 1
    })
    .map(({ entry }) => entry)
}

function rankedOf(entry: PlanEntry, autoRule: AutoRule | undefined, { route, tokens }: Ordering): Ranked {
  const { endpoint } = entry
  return {
    entry,
    preference: preferenceOf(endpoint.provider, route.order),
    pool: autoRule && !entry.tiers.some((tier) => autoRule.prefers.includes(tier)) ? 1 : 0,
    price: priceOf(entry.sellPrices, tokens, endpoint.contextTokens),
  }
}

function priorityOf({ entry }: Ranked, preferences: PlanState['preferences']): number {
  return preferences.get(entry.endpoint.provider)?.priority ?? 0
}

/** What has no weight comes behind everything that has one. */
const NO_SHARE = Number.NEGATIVE_INFINITY
/** An endpoint's draw for this call. */
function shareOf(ranked: Ranked, { preferences, spreadKey }: Ordering): number {
  ranked.share ??= drawFor(
    ranked.entry.endpoint.id,
    preferences.get(ranked.entry.endpoint.provider)?.weight,
    spreadKey,
  )
  return ranked.share
}

function drawFor(id: EndpointId, weight: number | undefined, spreadKey: string): number {
  if (weight === undefined) return NO_SHARE
  return weightedDraw(`${spreadKey}/${id}`, weight)
}

function ascending(a: number, b: number): number {
  return a < b ? -1 : a > b ? 1 : 0
}

/** Providers that the caller did not name come after those that he did. */
function preferenceOf(provider: ProviderId, order: readonly ProviderId[]): number {
  if (order.length === 0) return 0
  const place = order.indexOf(provider)
  return place === -1 ? order.length : place
}

interface Speed {
  readonly firstTokenMs: number | undefined
  readonly tokensPerSecond: number | undefined
}

/** As measured lately; else as the catalogue states it; else unknown. */
function speedOf(ranked: Ranked, { health }: Ordering): Speed {
  if (ranked.speed) return ranked.speed
  const { endpoint } = ranked.entry
  const seen = health.get(endpoint.id)
  const isKnown = seen !== undefined && seen.samples >= HEALTH_SAMPLES_MIN
  const speed = {
    firstTokenMs: (isKnown ? seen.firstTokenMsP50 : undefined) ?? endpoint.speed?.firstTokenMs,
    tokensPerSecond: (isKnown ? seen.tokensPerSecondP50 : undefined) ?? endpoint.speed?.tokensPerSecond,
  }
  ranked.speed = speed
  return speed
}

/** Until the last token of an answer of usual length. */
function durationStep(ranked: Ranked, ordering: Ordering): number {
  ranked.durationStep ??= durationStepAt(speedOf(ranked, ordering), ordering.tokens.output)
  return ranked.durationStep
}

function durationStepAt({ firstTokenMs, tokensPerSecond }: Speed, outputTokens: number): number {
  if (tokensPerSecond === undefined) return UNKNOWN
  return speedStep((firstTokenMs ?? ASSUMED_FIRST_TOKEN_MS) + (outputTokens * 1_000) / tokensPerSecond)
}

/** The step of a speed; what is unknown comes last. */
function stepOr(value: number | undefined, unknown = UNKNOWN): number {
  return value === undefined ? unknown : speedStep(value)
}

/** The tokens that endpoints are compared at: what the input probably comes to, and an answer of usual length. */
interface ComparedTokens {
  readonly input: number
  readonly inputBig: bigint
  readonly output: number
  readonly outputBig: bigint
}

function comparedTokens(shape: AskShape): ComparedTokens {
  const input = usualInputTokens(shape.inputTokensBound, Number.MAX_SAFE_INTEGER)
  const each = Math.min(shape.maxOutputTokens ?? COMPARED_OUTPUT_TOKENS, COMPARED_OUTPUT_TOKENS)
  const output = each * shape.choices
  return { input, inputBig: BigInt(input), output: each, outputBig: BigInt(output) }
}

/** What a call is expected to cost at some prices: its usual input, and an answer of at most 512 tokens a choice. */
export function expectedPrice(prices: PriceSchedule, shape: AskShape, contextTokens: number): PicoUsd {
  return priceOf(prices, comparedTokens(shape), contextTokens)
}

function priceOf(prices: PriceSchedule, tokens: ComparedTokens, contextTokens: number): PicoUsd {
  const isWithin = tokens.input <= contextTokens
  const input = isWithin ? tokens.inputBig : BigInt(contextTokens)
  // A plan knows no time of day, so that it can be made again.
  const rates = ratesOutsideWindows(prices, isWithin ? tokens.input : contextTokens)
  return input * rates.input + tokens.outputBig * rates.output
}
