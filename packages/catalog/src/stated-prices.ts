import type { PicoUsd } from './money.ts'
import type { PriceSchedule, Rates } from './price.ts'
import type { StatedPrices, StatedRates } from './schema.ts'

/**
 * Turns what sources state into what tokens cost. Where two sources disagree the dearer is used, rate by rate: a
 * price that is too low is paid by MESH. A second source states no tiers and no windows, so its rates hold in all.
 */
export function scheduleOf(prices: StatedPrices): PriceSchedule {
  const second =
    prices.crossCheck && !prices.crossCheck.agrees ? prices.crossCheck.usdPerMillionTokens : undefined
  return {
    rates: ratesOf(prices.usdPerMillionTokens, second),
    tiers: prices.tiers.map(({ aboveInputTokens, usdPerMillionTokens }) => ({
      aboveInputTokens,
      rates: ratesOf(usdPerMillionTokens, second),
    })),
    windows: prices.windows.map(({ fromUtc, untilUtc, usdPerMillionTokens }) => ({
      fromMinute: fromUtc,
      untilMinute: untilUtc,
      rates: ratesOf(usdPerMillionTokens, second),
    })),
  }
}

function ratesOf(first: StatedRates, second: StatedRates | undefined): Rates {
  const one = complete(first)
  if (!second) return one
  const other = complete(second)
  return {
    input: dearer(one.input, other.input),
    cacheRead: dearer(one.cacheRead, other.cacheRead),
    cacheWrite5m: dearer(one.cacheWrite5m, other.cacheWrite5m),
    cacheWrite1h: dearer(one.cacheWrite1h, other.cacheWrite1h),
    inputAudio: dearer(one.inputAudio, other.inputAudio),
    inputImage: dearer(one.inputImage, other.inputImage),
    output: dearer(one.output, other.output),
    reasoning: dearer(one.reasoning, other.reasoning),
    outputAudio: dearer(one.outputAudio, other.outputAudio),
    outputImage: dearer(one.outputImage, other.outputImage),
  }
}

/**
 * Fills in the rates that a source does not state: no cache rate means that the tokens are billed as plain input, no
 * one-hour rate that they are billed as a five-minute write, and every other kind of token as text of its direction.
 * A model without an output price generates nothing (the lint sees to that).
 */
function complete(stated: StatedRates): Rates {
  const { input } = stated
  const output = stated.output ?? 0n
  const cacheWrite5m = stated.cacheWrite5m ?? input
  return {
    input,
    cacheRead: stated.cacheRead ?? input,
    cacheWrite5m,
    cacheWrite1h: stated.cacheWrite1h ?? cacheWrite5m,
    inputAudio: stated.inputAudio ?? input,
    inputImage: stated.inputImage ?? input,
    output,
    reasoning: stated.reasoning ?? output,
    outputAudio: stated.outputAudio ?? output,
    outputImage: stated.outputImage ?? output,
  }
}

function dearer(one: PicoUsd, other: PicoUsd): PicoUsd {
  return one > other ? one : other
}
