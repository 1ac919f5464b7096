import { z } from 'zod'
import type { Catalog, Endpoint, EndpointId, ModelId, ProviderId } from './catalog.ts'
import type { PicoUsd } from './money.ts'
import type { PriceSchedule, Rates } from './price.ts'
import type { TokenBuckets } from './token-buckets.ts'

const BASIS_POINTS = 10_000n
const MARKUP_BASIS_POINTS_MAX = 1_000_000

/** What the operator adds to the providers' list prices. 100 basis points are one per cent. */
export interface PricePolicy {
  /** Where nothing more particular is said. */
  readonly markupBasisPoints: number
  /** For the endpoints of a provider; and for a model, wherever it runs, which goes before its provider's. */
  readonly byProvider?: ReadonlyMap<ProviderId, number>
  readonly byModel?: ReadonlyMap<ModelId, number>
  /** Lets the mark-up be negative: every call then loses money, which nobody should do by a slip. */
  readonly allowLoss?: boolean
}

/**
 * What every endpoint costs and is sold for, in pico-USD per token. A hold and an event name their list by its id, so
 * that any bill can be computed again years later, whatever has become of the catalogue and the policy.
 */
export interface PriceList {
  /** `prices_` and the digest of everything else in here: equal lists have equal ids. */
  readonly id: string
  readonly catalogVersion: string
  readonly markupBasisPoints: number
  readonly sell: ReadonlyMap<EndpointId, PriceSchedule>
  readonly cost: ReadonlyMap<EndpointId, PriceSchedule>
}

/** A collision-resistant digest of a text, in characters that an id may have: SHA-256 in hexadecimal, for one. */
export type Digest = (text: string) => string

/**
 * Makes the price list of a catalogue under a policy: the mark-up is put on each rate, rounded up to whole pico-USD.
 * @throws Error where the mark-up is no whole number of basis points, beyond 10,000 per cent, or negative without
 * `allowLoss`. Nothing is ever sold for nothing.
 */
export function createPriceList(catalog: Catalog, policy: PricePolicy, digest: Digest): PriceList {
  const { markupBasisPoints, byProvider, byModel, allowLoss = false } = policy
  for (const markup of [markupBasisPoints, ...(byProvider?.values() ?? []), ...(byModel?.values() ?? [])]) {
    assertMarkup(markup, allowLoss)
  }
  const cost = new Map<EndpointId, PriceSchedule>()
  const sell = new Map<EndpointId, PriceSchedule>()
  for (const model of catalog.models) {
    for (const endpoint of model.endpoints) {
      cost.set(endpoint.id, endpoint.prices)
      sell.set(endpoint.id, markedUp(endpoint.prices, markupAt(endpoint, policy)))
    }
  }
  return withId({ catalogVersion: catalog.version, markupBasisPoints, sell, cost }, digest)
}

/**
 * Writes a list as JSON: amounts as decimal strings of pico-USD, everything in a fixed order, without its id, which is
 * a function of this text.
 */
export function serializePriceList(list: Omit<PriceList, 'id'>): string {
  const endpoints = [...list.cost.keys()].sort().map((id) => [
    id,
    {
      cost: writeSchedule(scheduleAt(list.cost, id)),
      sell: writeSchedule(scheduleAt(list.sell, id)),
    },
  ])
  return JSON.stringify({
    catalogVersion: list.catalogVersion,
    markupBasisPoints: list.markupBasisPoints,
    endpoints: Object.fromEntries(endpoints),
  })
}

/**
 * Reads a stored list. The order of keys does not matter (PostgreSQL's `jsonb` keeps none); the id is computed anew,
 * so a list that was changed in the store no longer has the id under which it was stored: compare them.
 * @throws Error where the text is not a price list.
 */
export function parsePriceList(text: string, digest: Digest): PriceList {
  const parsed = storedList.safeParse(parseJson(text))
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    throw new Error(`This is not a price list: ${issue?.path.join('.')}: ${issue?.message}`)
  }
  const sell = new Map<EndpointId, PriceSchedule>()
  const cost = new Map<EndpointId, PriceSchedule>()
  for (const [id, schedules] of Object.entries(parsed.data.endpoints)) {
    const endpointId = asEndpointId(id)
    sell.set(endpointId, schedules.sell)
    cost.set(endpointId, schedules.cost)
  }
  const { catalogVersion, markupBasisPoints } = parsed.data
  return withId({ catalogVersion, markupBasisPoints, sell, cost }, digest)
}

/** The most particular mark-up that is said of an endpoint, in basis points. */
function markupAt(
  { model, provider }: Endpoint,
  { byModel, byProvider, markupBasisPoints }: PricePolicy,
): number {
  return byModel?.get(model) ?? byProvider?.get(provider) ?? markupBasisPoints
}

function assertMarkup(markupBasisPoints: number, allowLoss: boolean): void {
  if (!Number.isSafeInteger(markupBasisPoints) || markupBasisPoints > MARKUP_BASIS_POINTS_MAX) {
    throw new Error(
      `The mark-up must be a whole number of basis points up to ${MARKUP_BASIS_POINTS_MAX}, not ${markupBasisPoints}.`,
    )
  }
  if (BigInt(markupBasisPoints) <= -BASIS_POINTS) {
    throw new Error(`A mark-up of ${markupBasisPoints} basis points would sell for nothing.`)
  }
  if (markupBasisPoints < 0 && !allowLoss) {
    throw new Error(
      `A mark-up of ${markupBasisPoints} basis points sells below cost. Set allowLoss if that is what you want.`,
    )
  }
}

function withId(content: Omit<PriceList, 'id'>, digest: Digest): PriceList {
  return { id: `prices_${digest(serializePriceList(content))}`, ...content }
}

function markedUp(schedule: PriceSchedule, markupBasisPoints: number): PriceSchedule {
  const factor = BASIS_POINTS + BigInt(markupBasisPoints)
  const sellRate = (rate: PicoUsd): PicoUsd => (rate * factor + BASIS_POINTS - 1n) / BASIS_POINTS
  const sellRates = (rates: Rates): Rates => mapBuckets((name) => sellRate(rates[name]))
  return {
    rates: sellRates(schedule.rates),
    tiers: schedule.tiers.map((tier) => ({ ...tier, rates: sellRates(tier.rates) })),
    windows: schedule.windows.map((window) => ({ ...window, rates: sellRates(window.rates) })),
  }
}

function scheduleAt(schedules: ReadonlyMap<EndpointId, PriceSchedule>, id: EndpointId): PriceSchedule {
  const schedule = schedules.get(id)
  if (!schedule) throw new Error(`The price list has a cost but no price to sell for at ${id}.`)
  return schedule
}

function writeSchedule(schedule: PriceSchedule): object {
  const writeRates = (rates: Rates): object => mapBuckets((name) => rates[name].toString())
  return {
    rates: writeRates(schedule.rates),
    tiers: schedule.tiers.map(({ aboveInputTokens, rates }) => ({
      aboveInputTokens,
      rates: writeRates(rates),
    })),
    windows: schedule.windows.map(({ fromMinute, untilMinute, rates }) => ({
      fromMinute,
      untilMinute,
      rates: writeRates(rates),
    })),
  }
}

/** Builds a value for each bucket, in the buckets' order. */
function mapBuckets<Value>(make: (name: keyof TokenBuckets) => Value): Record<keyof TokenBuckets, Value> {
  return {
    input: make('input'),
    cacheRead: make('cacheRead'),
    cacheWrite5m: make('cacheWrite5m'),
    cacheWrite1h: make('cacheWrite1h'),
    inputAudio: make('inputAudio'),
    inputImage: make('inputImage'),
    output: make('output'),
    reasoning: make('reasoning'),
    outputAudio: make('outputAudio'),
    outputImage: make('outputImage'),
  }
}

function asEndpointId(text: string): EndpointId {
  const at = text.lastIndexOf('@')
  const model = text.slice(0, at)
  if (at < 0 || !isModelId(model)) throw new Error('This is not a price list: an endpoint has no id of ours.')
  return `${model}@${text.slice(at + 1)}`
}

function isModelId(text: string): text is ModelId {
  return text.startsWith('mesh/')
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new Error('This is not a price list: it is not JSON.')
  }
}

const pico = z
  .string()
  .regex(/^\d{1,18}$/)
  .transform((text): PicoUsd => BigInt(text))

const storedRates = z.strictObject(mapBuckets(() => pico))

const storedSchedule = z.strictObject({
  rates: storedRates,
  tiers: z.array(z.strictObject({ aboveInputTokens: z.int().nonnegative(), rates: storedRates })),
  windows: z.array(
    z.strictObject({
      fromMinute: z.int().nonnegative(),
      untilMinute: z.int().positive(),
      rates: storedRates,
    }),
  ),
})

const storedList = z.strictObject({
  catalogVersion: z.string().min(1),
  markupBasisPoints: z.int(),
  endpoints: z.record(z.string(), z.strictObject({ cost: storedSchedule, sell: storedSchedule })),
})
