import { formatPricePerMillion, type PicoUsd } from './money.ts'
import type { ModelRow, StatedPrices, StatedRates } from './schema.ts'

/**
 * Rules that tell a price from a slip. A price that is typed per token, or per thousand tokens, is a valid number a
 * million or a thousand times too low, and everyone who finds it first is served at MESH's cost.
 */

/**
 * The least and the most that a rate can be, in pico-USD per token: wide enough for every price that is published,
 * too narrow for one that is typed in another unit.
 */
const BOUNDS = [
  ['input', 5_000n, 200_000_000n],
  ['inputAudio', 5_000n, 200_000_000n],
  ['inputImage', 5_000n, 200_000_000n],
  ['cacheRead', 1_000n, 200_000_000n],
  ['output', 10_000n, 1_000_000_000n],
  ['reasoning', 10_000n, 1_000_000_000n],
  ['outputAudio', 10_000n, 1_000_000_000n],
  ['outputImage', 10_000n, 1_000_000_000n],
] as const satisfies readonly (readonly [keyof StatedRates, PicoUsd, PicoUsd])[]

/** How far two endpoints of one model may be apart, and two sources of one price. */
const SPREAD_MAX = 30n
/** How much dearer a written token may be than a plain one, and an output token than an input token. */
const CACHE_WRITE_FACTOR_MAX = 4n
const OUTPUT_FACTOR_MAX = 20n

/** What is wrong with an endpoint's prices, in sentences. */
export function lintPrices(prices: StatedPrices, kind: ModelRow['kind']): string[] {
  const problems = lintRates(prices.usdPerMillionTokens, kind, 'usdPerMillionTokens')
  prices.tiers.forEach((tier, index) => {
    problems.push(...lintRates(tier.usdPerMillionTokens, kind, `tiers.${index}`))
    const previous = prices.tiers[index - 1]
    if (previous && previous.aboveInputTokens >= tier.aboveInputTokens) {
      problems.push(`tiers.${index} begins no higher than the tier before it`)
    }
  })
  prices.windows.forEach((window, index) => {
    problems.push(...lintRates(window.usdPerMillionTokens, kind, `windows.${index}`))
    if (window.fromUtc >= window.untilUtc) {
      problems.push(`windows.${index} ends before it begins (write one over midnight as two)`)
    }
    const previous = prices.windows[index - 1]
    if (previous && previous.untilUtc > window.fromUtc) {
      problems.push(`windows.${index} begins before the window before it ends`)
    }
  })
  if (prices.tiers.length > 0 && prices.windows.length > 0) {
    problems.push('it has both tiers and windows: a schedule cannot say what a tier costs inside a window')
  }
  problems.push(...lintCrossCheck(prices, kind))
  return problems
}

/** What is wrong between the endpoints of one model: one of them may be off by a thousand. */
export function lintSpread(model: ModelRow): string[] {
  return (['input', 'output'] as const).flatMap((name) => {
    const rates = model.endpoints.flatMap(({ prices }) => prices.usdPerMillionTokens[name] ?? [])
    const least = rates.reduce((a, b) => (b < a ? b : a), rates[0] ?? 0n)
    const most = rates.reduce((a, b) => (b > a ? b : a), 0n)
    if (most <= least * SPREAD_MAX) return []
    return [
      `${name} costs ${formatPricePerMillion(least)} at one endpoint and ${formatPricePerMillion(most)} at another: one of them is in another unit`,
    ]
  })
}

function lintRates(stated: StatedRates, kind: ModelRow['kind'], where: string): string[] {
  const { input, output, cacheRead, cacheWrite5m, cacheWrite1h } = stated
  const problems: string[] = []
  const check = (holds: boolean, problem: string): void => {
    if (!holds) problems.push(`${where}: ${problem}`)
  }
  for (const [name, least, most] of BOUNDS) {
    const rate = stated[name]
    if (rate === null || rate === undefined) continue
    check(
      rate >= least && rate <= most,
      `${name} of ${formatPricePerMillion(rate)} is no price in USD per million tokens: it lies outside ${formatPricePerMillion(least)} to ${formatPricePerMillion(most)} (typed per token or per thousand?)`,
    )
  }
  check(
    (kind === 'chat') === (output !== null),
    'a chat model states an output price, and no other kind does',
  )
  if (output !== null) {
    check(output >= input, 'output is cheaper than input')
    check(output <= input * OUTPUT_FACTOR_MAX, `output costs more than ${OUTPUT_FACTOR_MAX} times the input`)
  }
  if (cacheRead !== null) check(cacheRead <= input, 'cacheRead is dearer than input')
  const write = cacheWrite5m ?? input
  check(write >= input, 'cacheWrite5m is cheaper than input')
  check((cacheWrite1h ?? write) >= write, 'cacheWrite1h is cheaper than a five-minute write')
  check(
    dearest(write, cacheWrite1h) <= input * CACHE_WRITE_FACTOR_MAX,
    `a cache write costs more than ${CACHE_WRITE_FACTOR_MAX} times the input`,
  )
  return problems
}

function lintCrossCheck(
  { usdPerMillionTokens: first, crossCheck }: StatedPrices,
  kind: ModelRow['kind'],
): string[] {
  if (!crossCheck || crossCheck.agrees) return []
  const second = crossCheck.usdPerMillionTokens
  const problems = lintRates(second, kind, 'crossCheck')
  const names = ['input', 'output', 'cacheRead', 'cacheWrite5m', 'cacheWrite1h'] as const
  if (names.every((name) => first[name] === second[name])) {
    problems.push('crossCheck: it says that it disagrees and states the same prices')
  }
  for (const name of names) {
    const one = first[name]
    const other = second[name]
    if (one === null || other === null) continue
    if (one > other * SPREAD_MAX || other > one * SPREAD_MAX) {
      problems.push(`crossCheck: the two sources of ${name} are more than ${SPREAD_MAX} times apart`)
    }
  }
  return problems
}

function dearest(one: PicoUsd, other: PicoUsd | null): PicoUsd {
  return other !== null && other > one ? other : one
}
