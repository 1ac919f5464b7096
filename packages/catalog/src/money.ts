/**
 * Money in MESH is an integer. Amounts are nano-USD (1e-9 USD), prices are pico-USD (1e-12 USD) per token:
 * the cheapest published price, 0.0025 USD per million tokens, is 2,500 pico-USD a token and not a whole
 * number of nano-USD. A `number` never holds money.
 */

/** An amount in nano-USD: 1 USD is 1_000_000_000n. */
export type NanoUsd = bigint

/** A price or an exact sum of prices in pico-USD: 1 USD is 1_000_000_000_000n. */
export type PicoUsd = bigint

const NANO_PER_USD = 1_000_000_000n
const PICO_PER_NANO = 1_000n
const USD_AMOUNT = /^(-?)(\d{1,10})(?:\.(\d{1,9}))?$/
const USD_PER_MILLION = /^(\d{1,6})(?:\.(\d{1,6}))?$/

/** Writes an amount as the decimal string that the API shows, always with nine places: `"0.008775000"`. */
export function formatUsd(amount: NanoUsd): string {
  const sign = amount < 0n ? '-' : ''
  const magnitude = amount < 0n ? -amount : amount
  return `${sign}${magnitude / NANO_PER_USD}.${(magnitude % NANO_PER_USD).toString().padStart(9, '0')}`
}

/** Reads a decimal string of USD with at most nine places. Returns `undefined` for anything else. */
export function parseUsd(text: string): NanoUsd | undefined {
  const match = USD_AMOUNT.exec(text)
  if (!match) return undefined
  const [, sign = '', whole = '0', fraction = ''] = match
  const magnitude = BigInt(whole) * NANO_PER_USD + BigInt(fraction.padEnd(9, '0'))
  return sign === '-' ? -magnitude : magnitude
}

/**
 * Reads a list price in USD per million tokens, as providers publish it, into pico-USD per token.
 * Returns `undefined` for anything that is not such a price.
 */
export function parsePricePerMillion(text: string): PicoUsd | undefined {
  const match = USD_PER_MILLION.exec(text)
  if (!match) return undefined
  const [, whole = '0', fraction = ''] = match
  return BigInt(whole) * 1_000_000n + BigInt(fraction.padEnd(6, '0'))
}

/** Writes a price in pico-USD per token as USD per million tokens, without trailing zeros: `"0.3"`. */
export function formatPricePerMillion(price: PicoUsd): string {
  const fraction = (price % 1_000_000n).toString().padStart(6, '0').replace(/0+$/, '')
  return fraction === '' ? `${price / 1_000_000n}` : `${price / 1_000_000n}.${fraction}`
}

/** Rounds an exact sum up to whole nano-USD. A call is rounded once, after everything in it is added. */
export function roundUpToNano(sum: PicoUsd): NanoUsd {
  return sum <= 0n ? 0n : (sum + PICO_PER_NANO - 1n) / PICO_PER_NANO
}
