import { type NanoUsd, type PicoUsd, roundUpToNano } from './money.ts'
import { BUCKET_NAMES, inputTokens, type TokenBuckets } from './token-buckets.ts'

/** What one token of each bucket costs, in pico-USD. */
export type Rates = { readonly [Bucket in keyof TokenBuckets]: PicoUsd }

/** Rates that apply where the call's input is strictly greater than a boundary. */
export interface PriceTier {
  readonly aboveInputTokens: number
  readonly rates: Rates
}

/** Rates that apply at a time of day, by the moment of dispatch. Minutes are UTC, the end is exclusive. */
export interface PriceWindow {
  readonly fromMinute: number
  readonly untilMinute: number
  readonly rates: Rates
}

/** Everything that decides what a token costs at one endpoint. */
export interface PriceSchedule {
  readonly rates: Rates
  readonly tiers: readonly PriceTier[]
  readonly windows: readonly PriceWindow[]
}

/** The rates of a call: the highest tier that its input exceeds, else the window that it falls in, else the base. */
export function ratesFor(schedule: PriceSchedule, inputTokenCount: number, dispatchedAt: Date): Rates {
  const tier = highestTier(schedule, inputTokenCount)
  if (tier) return tier.rates
  const minute = dispatchedAt.getUTCHours() * 60 + dispatchedAt.getUTCMinutes()
  const window = schedule.windows.find(
    ({ fromMinute, untilMinute }) => minute >= fromMinute && minute < untilMinute,
  )
  return window?.rates ?? schedule.rates
}

/** The rates of a call outside every time window. */
export function ratesOutsideWindows(schedule: PriceSchedule, inputTokenCount: number): Rates {
  return highestTier(schedule, inputTokenCount)?.rates ?? schedule.rates
}

function highestTier({ tiers }: PriceSchedule, inputTokenCount: number): PriceTier | undefined {
  let chosen: PriceTier | undefined
  for (const tier of tiers) {
    if (inputTokenCount <= tier.aboveInputTokens) continue
    if (!chosen || tier.aboveInputTokens > chosen.aboveInputTokens) chosen = tier
  }
  return chosen
}

/** The exact cost of a call at some rates, before rounding. */
export function costPico(buckets: TokenBuckets, rates: Rates): PicoUsd {
  let sum = 0n
  for (const name of BUCKET_NAMES) {
    if (buckets[name] !== 0) sum += BigInt(buckets[name]) * rates[name]
  }
  return sum
}

/** What a call costs at an endpoint's schedule: one exact sum, rounded up once. */
export function costNano(buckets: TokenBuckets, schedule: PriceSchedule, dispatchedAt: Date): NanoUsd {
  return roundUpToNano(costPico(buckets, ratesFor(schedule, inputTokens(buckets), dispatchedAt)))
}

/** The most that one input token and one output token can cost, whatever bucket, tier or window they fall in. */
export interface DearestRates {
  readonly inputPico: PicoUsd
  readonly outputPico: PicoUsd
}

/**
 * The dearest rates that a call with at most `inputTokensMax` input tokens can reach. Any bucket may turn out to
 * be the one that is used (a provider may write a cache unasked), so a hold is taken at the dearest of them.
 */
export function dearestRates(schedule: PriceSchedule, inputTokensMax: number): DearestRates {
  const reachable = [
    schedule.rates,
    ...schedule.windows.map((window) => window.rates),
    ...schedule.tiers.filter((tier) => inputTokensMax > tier.aboveInputTokens).map((tier) => tier.rates),
  ]
  let inputPico = 0n
  let outputPico = 0n
  for (const rates of reachable) {
    inputPico = largest(
      inputPico,
      rates.input,
      rates.cacheRead,
      rates.cacheWrite5m,
      rates.cacheWrite1h,
      rates.inputAudio,
      rates.inputImage,
    )
    outputPico = largest(outputPico, rates.output, rates.reasoning, rates.outputAudio, rates.outputImage)
  }
  return { inputPico, outputPico }
}

function largest(...values: readonly PicoUsd[]): PicoUsd {
  return values.reduce((most, value) => (value > most ? value : most), 0n)
}
