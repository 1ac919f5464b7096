import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { calcPrice } from '@pydantic/genai-prices'
import type { Endpoint } from './catalog.ts'
import { loadCatalog } from './load.ts'
import { costPico, ratesFor } from './price.ts'
import { type VendorFile, vendorFile } from './schema.ts'
import { EMPTY_BUCKETS, inputTokens, type TokenBuckets } from './token-buckets.ts'

/*
 * What calls cost by the catalogue, next to what they cost by @pydantic/genai-prices, a price list of other people. It
 * counts in floating point, so that equal is equal to a millionth of a millionth of a USD.
 */

/** The names that it has for our providers, where they differ. */
const PROVIDERS: Readonly<Record<string, string>> = { xai: 'x-ai', 'amazon-bedrock': 'aws' }

/** Where two sources of the catalogue disagree: both are kept in its data, and the dearer rate of the two is used. */
const CONFLICTS: ReadonlySet<string> = new Set([
  'mesh/deepseek-v3.2@azure',
  'mesh/deepseek-v4-flash@azure',
  'mesh/deepseek-v4-flash@deepseek',
  'mesh/deepseek-v4-pro@azure',
  'mesh/deepseek-v4-pro@deepseek',
  'mesh/glm-5.2@fireworks',
  'mesh/gpt-5-mini@azure',
  'mesh/gpt-oss-120b@fireworks',
  'mesh/o4-mini@azure',
  'mesh/qwen3-coder-480b@amazon-bedrock',
])
/** Where the first source states no rate for cached input, which is charged as plain input then. */
const CACHE_RATE_UNSTATED: ReadonlySet<string> = new Set([
  'mesh/devstral-2@mistral',
  'mesh/kimi-k2.6@azure',
  'mesh/mistral-large-3@mistral',
  'mesh/mistral-small-4@mistral',
])
/**
 * Where the second list has no prices of the host's own it takes the maker's, with the maker's peak hours. DeepSeek's
 * hours are terms of its own API; no source states any for its models at Azure, so that they cost the same all day there.
 */
const HOURS_OF_THE_MAKER: ReadonlySet<string> = new Set([
  'mesh/deepseek-v4-flash@azure',
  'mesh/deepseek-v4-pro@azure',
])

const CALLS: readonly Partial<TokenBuckets>[] = [
  { input: 1_000, output: 500 },
  { input: 1, cacheRead: 10_000, output: 7 },
  { input: 100, cacheWrite5m: 3_000, output: 20 },
  { input: 300_000, cacheRead: 40_000, output: 8_000 },
  { output: 1 },
]
const NOON = new Date('2026-11-23T12:00:00Z')
/** Within DeepSeek's peak hours. */
const PEAK = new Date('2026-11-23T02:00:00Z')

const files: readonly VendorFile[] = readdirSync(join(import.meta.dirname, '../data/models')).map((name) =>
  vendorFile.parse(JSON.parse(readFileSync(join(import.meta.dirname, '../data/models', name), 'utf8'))),
)
const rows = new Map(
  files.flatMap(({ models }) =>
    models.flatMap(({ id, endpoints }) => endpoints.map((row) => [`${id}@${row.provider}`, row] as const)),
  ),
)

/** How far its floating point is from the exact sum. */
const FLOAT_PICO = 1n

interface SecondOpinion {
  /** In pico-USD. */
  readonly costPico: bigint
  /** Whether the price is of the host's own list; else it is the maker's. */
  readonly isOfHost: boolean
}

/** What the second source has it cost; `undefined` where it does not know the endpoint. */
function secondOpinion(
  endpoint: Endpoint,
  buckets: TokenBuckets,
  timestamp: Date,
): SecondOpinion | undefined {
  const named = /provider=(\S+) model=(\S+)/.exec(rows.get(endpoint.id)?.prices.crossCheck?.source ?? '')
  const [, providerId = PROVIDERS[endpoint.provider] ?? endpoint.provider, model = endpoint.upstreamModel] =
    named ?? []
  const usage = {
    input_tokens: inputTokens(buckets),
    cache_read_tokens: buckets.cacheRead,
    cache_write_tokens: buckets.cacheWrite5m,
    output_tokens: buckets.output,
  }
  for (const name of [model, endpoint.upstreamModel]) {
    const priced = calcPrice(usage, name, { providerId, timestamp })
    if (!priced) continue
    const isOfHost = priced.provider.models.some((listed) => listed === priced.model)
    return { costPico: BigInt(Math.round(priced.total_price * 1e12)), isOfHost }
  }
  return undefined
}

test('the conflicts that are tolerated are those that the catalogue states', () => {
  const stated = [...rows].filter(([, row]) => row.prices.crossCheck?.agrees === false).map(([id]) => id)
  assert.deepEqual(stated.sort(), [...CONFLICTS])
})

test("hours are taken from a host's own list, and no host is charged by its model's maker's", () => {
  const buckets = { ...EMPTY_BUCKETS, input: 1_000, output: 500 }
  const makersHours = new Set<string>()
  for (const endpoint of loadCatalog().models.flatMap((model) => model.endpoints)) {
    const [noon, peak] = [NOON, PEAK].map((moment) => secondOpinion(endpoint, buckets, moment))
    if (noon === undefined || peak === undefined || noon.costPico === peak.costPico) continue
    assert.equal(endpoint.prices.windows.length > 0, peak.isOfHost, endpoint.id)
    if (!peak.isOfHost) makersHours.add(endpoint.id)
  }
  assert.deepEqual([...makersHours].sort(), [...HOURS_OF_THE_MAKER])
})

test('calls cost what they cost by a second price list, and what is known to differ costs no less', (t) => {
  const endpoints = loadCatalog().models.flatMap((model) => model.endpoints)
  const known = new Set<string>()
  for (const endpoint of endpoints) {
    for (const call of CALLS) {
      // Nothing is generated there, so there is no price of it to compare.
      const buckets = { ...EMPTY_BUCKETS, ...call, ...(endpoint.outputTokensMax === 0 ? { output: 0 } : {}) }
      if (inputTokens(buckets) > endpoint.contextTokens) continue
      for (const moment of [NOON, PEAK]) {
        const theirs = secondOpinion(endpoint, buckets, moment)
        if (theirs === undefined || (moment === PEAK && HOURS_OF_THE_MAKER.has(endpoint.id))) continue
        known.add(endpoint.id)
        const ours = costPico(buckets, ratesFor(endpoint.prices, inputTokens(buckets), moment))
        const mayDiffer =
          CONFLICTS.has(endpoint.id) || (CACHE_RATE_UNSTATED.has(endpoint.id) && buckets.cacheRead > 0)
        const difference = ours - theirs.costPico
        const told = `${endpoint.id}: ${ours} and ${theirs.costPico} pico-USD for ${JSON.stringify(call)}`
        assert.ok(difference >= -FLOAT_PICO && (mayDiffer || difference <= FLOAT_PICO), told)
      }
    }
  }
  t.diagnostic(`${known.size} of ${endpoints.length} endpoints are known to both`)
  assert.ok(known.size > 50)
})
