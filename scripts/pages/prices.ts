import { catalogFiles, loadCatalog } from '@mesh/catalog/load.ts'
import { formatPricePerMillion, type PicoUsd } from '@mesh/catalog/money.ts'
import type { Rates } from '@mesh/catalog/price.ts'
import { type StatedRates, vendorFile } from '@mesh/catalog/schema.ts'
import sources from '../../packages/catalog/data/sources.json' with { type: 'json' }
import { table } from './markdown.ts'

/** Where prices are from, and of when. */
export function priceSources(): string {
  return sources.sources.map(({ name, url, date }) => `[${name}](${url}) of ${date}`).join(', ')
}

/** The parts of docs/models.md on prices that are more than one number, and on those that two sources dispute. */
export function priceSections(): string[] {
  return [
    '## Prices by size and hour',
    `A tier holds for all of a call whose input is strictly greater than its boundary; an hour, in UTC, for calls that are dispatched in it. A
call is held at the dearest that it can reach, and charged at what it did reach. Hours are those of the host's own price list: DeepSeek's peak
is a term of its own API, and nobody is charged by it at another host of its models.`,
    table(['model', 'provider', 'when', 'input', 'output', 'cache read'], scheduleRows()),
    '## Prices that two sources dispute',
    `Both are kept in \`packages/catalog/data\`, and the dearer is used, rate by rate. Where the second source has no list of the host's own, it
is that of the model's maker. A cached token without a price of its own costs what any input costs.`,
    table(['model', 'provider', 'first: input / output / cache read', 'second', 'used'], disputeRows()),
  ]
}

function scheduleRows(): string[][] {
  return loadCatalog().models.flatMap(({ id, endpoints }) =>
    endpoints.flatMap(({ provider, prices }) => {
      const row = (when: string, { input, output, cacheRead }: Rates): string[] => [
        ...[`\`${id}\``, provider, when],
        ...[input, output, cacheRead].map(formatPricePerMillion),
      ]
      return [
        ...prices.tiers.map(({ aboveInputTokens, rates }) => row(`more than ${aboveInputTokens}`, rates)),
        ...prices.windows.map(({ fromMinute, untilMinute, rates }) =>
          row(`${timeOf(fromMinute)}–${timeOf(untilMinute)}`, rates),
        ),
      ]
    }),
  )
}

function timeOf(minute: number): string {
  return `${String(Math.floor(minute / 60)).padStart(2, '0')}:${String(minute % 60).padStart(2, '0')}`
}

function disputeRows(): string[][] {
  const used = new Map(
    loadCatalog().models.flatMap(({ endpoints }) => endpoints.map(({ id, prices }) => [id, prices.rates])),
  )
  return Object.values(catalogFiles.models)
    .flatMap((file) => vendorFile.parse(file).models)
    .flatMap(({ id, endpoints }) =>
      endpoints.flatMap(({ provider, prices: { usdPerMillionTokens, crossCheck } }) => {
        if (!crossCheck || crossCheck.agrees) return []
        const rates = used.get(`${id}@${provider}`)
        const stated = [usdPerMillionTokens, crossCheck.usdPerMillionTokens].map(threeOf)
        return [[`\`${id}\``, provider, ...stated, rates ? threeOf(rates) : '']]
      }),
    )
}

function threeOf({ input, output, cacheRead }: Pick<StatedRates, 'input' | 'output' | 'cacheRead'>): string {
  const told = (rate: PicoUsd | null): string => (rate === null ? '–' : formatPricePerMillion(rate))
  return [input, output, cacheRead].map(told).join(' / ')
}
