import assert from 'node:assert/strict'
import { test } from 'node:test'
import { buildCatalog, type CatalogFiles, catalogFiles, loadCatalog } from './load.ts'
import { BUCKET_NAMES } from './token-buckets.ts'

const catalog = loadCatalog()
const endpoints = catalog.models.flatMap((model) => model.endpoints)

test('46 models of 14 vendors at 14 providers, 100 endpoints in all', () => {
  assert.equal(catalog.models.length, 46)
  assert.equal(new Set(catalog.models.map((model) => model.id)).size, 46)
  assert.equal(new Set(catalog.models.map((model) => model.vendor)).size, 14)
  assert.equal(catalog.providers.length, 14)
  assert.equal(endpoints.length, 100)
  assert.equal(new Set(endpoints.map((endpoint) => endpoint.id)).size, 100)
})

test('the catalogue cannot be changed in place', () => {
  const seen = new Set<unknown>()
  const check = (value: unknown): void => {
    if (typeof value !== 'object' || value === null || seen.has(value)) return
    seen.add(value)
    assert.ok(Object.isFrozen(value))
    Object.values(value).forEach(check)
  }
  check(catalog)
  assert.ok(seen.size > 1_000)
})

test('the version names the state of the data, whatever the order of keys', () => {
  assert.match(catalog.version, /^2026-11-23\.[0-9a-f]{16}$/)
  assert.equal(buildCatalog(catalogFiles).version, catalog.version)
  const dearer = buildCatalog(
    changed('anthropic', (text) => text.replace('"output":"15"', '"output":"15.000001"')),
  )
  assert.notEqual(dearer.version, catalog.version)
  const reordered = changed('anthropic', (text) =>
    text.replace(
      '"vendor":"anthropic","vendorName":"Anthropic"',
      '"vendorName":"Anthropic","vendor":"anthropic"',
    ),
  )
  assert.equal(buildCatalog(reordered).version, catalog.version)
})

test('a cancelled call is known to stop billing only where the provider is known to stop', () => {
  const stops = (provider: string): boolean[] => [
    ...new Set(
      endpoints
        .filter((endpoint) => endpoint.provider === provider)
        .map((endpoint) => endpoint.cancelStopsBilling),
    ),
  ]
  for (const provider of [
    'openai',
    'azure',
    'anthropic',
    'fireworks',
    'deepinfra',
    'cohere',
    'xai',
    'deepseek',
  ]) {
    assert.deepEqual(stops(provider), [true], provider)
  }
  for (const provider of ['amazon-bedrock', 'groq', 'google', 'mistral', 'nearai', 'tinfoil']) {
    assert.deepEqual(stops(provider), [false], provider)
  }
})

test('no token is free, and no rate is cheaper than the one that it falls back to', () => {
  for (const { id, prices } of endpoints) {
    const generates = prices.rates.output > 0n
    for (const { rates } of [prices, ...prices.tiers, ...prices.windows]) {
      for (const name of BUCKET_NAMES) {
        const isOutput = name === 'output' || name === 'reasoning' || name.startsWith('output')
        assert.ok(rates[name] > 0n || (isOutput && !generates), `${id} ${name}`)
      }
      assert.ok(rates.cacheWrite5m >= rates.input, id)
      assert.ok(rates.cacheWrite1h >= rates.cacheWrite5m, id)
      assert.ok(rates.cacheRead <= rates.input, id)
    }
  }
})

test('a wrong row is refused with its file, model, provider and field', () => {
  const refusals: [string, (text: string) => string, RegExp][] = [
    [
      'an unknown key',
      (text) => text.replace('"tiers":[]', '"tiers":[],"discount":"1"'),
      /models\/anthropic\.json: models › mesh\/claude-sonnet-4\.5 › endpoints › anthropic › prices: .*discount/,
    ],
    [
      'a price that is a number',
      (text) => text.replace('"output":"15"', '"output":15'),
      /mesh\/claude-sonnet-4\.5 › endpoints › anthropic › prices › usdPerMillionTokens › output: .*string/,
    ],
    [
      'a price with too many places',
      (text) => text.replace('"output":"15"', '"output":"0.0000150"'),
      /usdPerMillionTokens › output: is not a price in USD per million tokens/,
    ],
    [
      'a model id without mesh/',
      (text) => text.replace('"id":"mesh/claude-sonnet-4.5"', '"id":"Claude Sonnet"'),
      /models\/anthropic\.json: models › Claude Sonnet › id: /,
    ],
    [
      'a model id with more in it',
      (text) => text.replace('"id":"mesh/claude-sonnet-4.5"', '"id":"mesh/claude-sonnet-4.5 @x"'),
      /models › mesh\/claude-sonnet-4\.5 @x › id: /,
    ],
    [
      'an unknown provider',
      (text) => text.replace('"provider":"amazon-bedrock"', '"provider":"amazon-bedrok"'),
      /models\/anthropic\.json: mesh\/claude-sonnet-4\.5: amazon-bedrok: providers\.json has no such provider/,
    ],
    [
      'an endpoint twice',
      (text) => text.replace('"provider":"amazon-bedrock"', '"provider":"anthropic"'),
      /mesh\/claude-sonnet-4\.5: anthropic: the endpoint is listed twice/,
    ],
    [
      'a model twice',
      (text) => text.replace('"id":"mesh/claude-opus-4.6"', '"id":"mesh/claude-sonnet-4.5"'),
      /mesh\/claude-sonnet-4\.5: the model is listed twice/,
    ],
    [
      "a vendor in another vendor's file",
      (text) => text.replace('"vendor":"anthropic"', '"vendor":"openai"'),
      /models\/anthropic\.json: the vendor is "openai"/,
    ],
  ]
  for (const [what, change, message] of refusals) {
    assert.throws(() => buildCatalog(changed('anthropic', change)), message, what)
  }
})

test('a name that would mean two models is refused with both', () => {
  const claimed = changed('anthropic', (text) =>
    text.replace('"upstreamModel":"claude-opus-4-6"', '"upstreamModel":"claude-sonnet-4-5"'),
  )
  assert.throws(
    () => buildCatalog(claimed),
    /the name "claude-sonnet-4-5" would mean each of mesh\/claude-opus-4\.6, mesh\/claude-sonnet-4\.5/,
  )
})

test('a price in another unit or of another magnitude is refused', () => {
  const refusals: [string, string, (text: string) => string, RegExp][] = [
    [
      'input per token',
      'anthropic',
      (text) => text.replace('"input":"3"', '"input":"0.000003"'),
      /claude-sonnet-4\.5: anthropic: prices: .*input of 0\.000003 is no price.*typed per token/,
    ],
    [
      'output per token',
      'anthropic',
      (text) => text.replace('"output":"15"', '"output":"0.000015"'),
      /claude-sonnet-4\.5: anthropic: prices: .*output of 0\.000015 is no price/,
    ],
    [
      'input per thousand tokens',
      'anthropic',
      (text) => text.replace('"input":"3"', '"input":"0.003"'),
      /input of 0\.003 is no price/,
    ],
    [
      'all prices a thousandth, at one of two endpoints',
      'openai',
      (text) =>
        text.replace(
          '"input":"5","output":"30","cacheRead":"0.5"',
          '"input":"0.005","output":"0.03","cacheRead":"0.005"',
        ),
      /mesh\/gpt-5\.5: input costs 0\.005 at one endpoint and 5 at another/,
    ],
    [
      'a million times too much',
      'anthropic',
      (text) => text.replace('"input":"3"', '"input":"3000"'),
      /input of 3000 is no price/,
    ],
    [
      'a cached token per token',
      'anthropic',
      (text) => text.replace('"cacheRead":"0.3"', '"cacheRead":"0.0003"'),
      /cacheRead of 0\.0003 is no price/,
    ],
    [
      'cache reads dearer than input',
      'anthropic',
      (text) => text.replace('"cacheRead":"0.3"', '"cacheRead":"3.1"'),
      /cacheRead is dearer than input/,
    ],
    [
      'a one-hour write cheaper than a five-minute one',
      'anthropic',
      (text) => text.replace('"cacheWrite1h":"6"', '"cacheWrite1h":"3.5"'),
      /cacheWrite1h is cheaper/,
    ],
    [
      'output cheaper than input',
      'anthropic',
      (text) => text.replace('"output":"15"', '"output":"1.5"'),
      /output is cheaper than input/,
    ],
    [
      'a chat model without an output price',
      'anthropic',
      (text) => text.replace('"output":"15"', '"output":null'),
      /a chat model states an output price/,
    ],
    [
      'a window that ends before it begins',
      'deepseek',
      (text) => text.replace('"fromUtc":"01:00","untilUtc":"04:00"', '"fromUtc":"22:00","untilUtc":"04:00"'),
      /windows\.0 ends before it begins/,
    ],
    [
      'a tier and a window together',
      'deepseek',
      (text) =>
        text.replace(
          '"tiers":[],"windows":[{',
          '"tiers":[{"aboveInputTokens":100000,"usdPerMillionTokens":{"input":"2","output":"4","cacheRead":null,"cacheWrite5m":null,"cacheWrite1h":null}}],"windows":[{',
        ),
      /both tiers and windows/,
    ],
    [
      'tiers in the wrong order',
      'openai',
      (text) => text.replace(/"tiers":\[(\{"aboveInputTokens".*?\}\})\]/, '"tiers":[$1,$1]'),
      /tiers\.1 begins no higher/,
    ],
    [
      'windows that overlap',
      'deepseek',
      (text) => text.replace('"fromUtc":"06:00"', '"fromUtc":"03:59"'),
      /windows\.1 begins before the window before it ends/,
    ],
    [
      'a second source in another unit',
      'openai',
      (text) =>
        text.replace(/"agrees":false,"usdPerMillionTokens":\{"input":"0.25"/, (row) =>
          row.replace('0.25', '0.00025'),
        ),
      /crossCheck/,
    ],
  ]
  for (const [what, vendor, change, message] of refusals) {
    assert.throws(() => buildCatalog(changed(vendor, change)), message, what)
  }
})

test('a rating or a tier that names no model, or not every one, is refused', () => {
  const refusals: [string, 'quality' | 'tiers', (text: string) => string, RegExp][] = [
    [
      'a rating of a model that is not there',
      'quality',
      (text) => text.replace('mesh/gpt-5.5"', 'mesh/gpt-9"'),
      /quality\.json: mesh\/gpt-9: there is no such model[\s\S]*quality\.json: mesh\/gpt-5\.5 has no row/,
    ],
    [
      'a proxy that claims a score',
      'quality',
      (text) => text.replace('"score":null', '"score":1500'),
      /quality\.json: models › #\d+ › source: is "list price \(proxy\)" where there is no score/,
    ],
    [
      'a score without its date',
      'quality',
      (text) => text.replace(',"date":"2026-08-21"', ''),
      /quality\.json: models › #1 › date/,
    ],
    [
      'a tier of a model that is not there',
      'tiers',
      (text) => text.replace('mesh/gpt-oss-20b', 'mesh/gpt-oss-2b'),
      /tiers\.json: mesh\/swift: mesh\/gpt-oss-2b: there is no such model/,
    ],
    [
      'a tier of two kinds',
      'tiers',
      (text) => text.replace('mesh/gpt-oss-20b', 'mesh/text-embedding-3-small'),
      /tiers\.json: mesh\/swift: mesh\/text-embedding-3-small is a model for embedding calls/,
    ],
    [
      'two models for embeddings in one tier',
      'tiers',
      (text) =>
        text.replace(
          '[{"model":"mesh/text-embedding-3-small"',
          '[{"model":"mesh/gemini-embedding-001","why":"x"},{"model":"mesh/text-embedding-3-small"',
        ),
      /tiers\.json: mesh\/embed: a tier for embeddings has one model/,
    ],
    [
      'a tier with the name of a mode',
      'tiers',
      (text) => text.replace('mesh/swift', 'mesh/auto'),
      /mesh\/auto is the id of a mode, a model or a tier already/,
    ],
  ]
  for (const [what, file, change, message] of refusals) {
    const before = JSON.stringify(catalogFiles[file])
    const after = change(before)
    assert.notEqual(after, before, what)
    assert.throws(() => buildCatalog({ ...catalogFiles, [file]: JSON.parse(after) }), message, what)
  }
})

test('every model has a rating with its source and date, or says that the list price stands in', () => {
  for (const { id, quality } of catalog.models) {
    assert.match(quality?.date ?? '', /^\d{4}-\d{2}-\d{2}$/, id)
    assert.equal(quality?.score === undefined, quality?.source === 'list price (proxy)', id)
  }
  assert.equal(catalog.models.filter(({ quality }) => quality?.score === undefined).length, 7)
})

test('everything that is wrong is said at once', () => {
  const files = changed('anthropic', (text) =>
    text.replace('"output":"15"', '"output":"cheap"').replace('"output":"25"', '"output":"dear"'),
  )
  assert.throws(
    () => buildCatalog(files),
    (error: Error) =>
      error.message.includes('claude-sonnet-4.5') && error.message.includes('claude-opus-4.6'),
  )
})

test('the dearer of two sources is used, rate by rate, in windows too', () => {
  const files = changed('deepseek', (text) =>
    text.replace(/"agrees":false,"usdPerMillionTokens":\{"input":"0.435","output":"0.87"/, (row) =>
      row.replace('0.87', '4.5'),
    ),
  )
  const [endpoint] =
    buildCatalog(files).models.find((model) => model.id === 'mesh/deepseek-v4-pro')?.endpoints ?? []
  assert.equal(endpoint?.prices.rates.input, 660_000n)
  assert.equal(endpoint?.prices.rates.output, 4_500_000n)
  assert.equal(endpoint?.prices.windows[0]?.rates.input, 1_320_000n)
  assert.equal(endpoint?.prices.windows[0]?.rates.output, 4_500_000n)
})

/** The catalogue's files with one of them changed as text. */
function changed(vendor: string, change: (text: string) => string): CatalogFiles {
  const before = JSON.stringify(catalogFiles.models[vendor])
  const after = change(before)
  assert.notEqual(after, before, 'the test changes nothing')
  return { ...catalogFiles, models: { ...catalogFiles.models, [vendor]: JSON.parse(after) } }
}
