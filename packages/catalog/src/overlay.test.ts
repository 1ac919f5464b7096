import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadCatalog } from './load.ts'
import { createModelIndex } from './lookup.ts'
import { catalogOverlay } from './overlay.ts'

const LLAMA = {
  id: 'mesh/own-llama',
  contextTokens: 32_000,
  outputTokensMax: 4_096,
  tools: true,
  otherNames: ['llama-at-home'],
  endpoints: [
    { provider: 'own-server', upstreamModel: 'llama-70b', prices: { input: '0.1', output: '0.4' } },
  ],
}
const SERVER = { id: 'own-server', baseUrl: 'http://10.0.0.5:8000/v1' }

const laidOver = (overlay: unknown) => loadCatalog(catalogOverlay.parse(overlay))

test('nothing laid over it is the catalogue as it comes', () => {
  assert.deepEqual(laidOver({}), loadCatalog())
})

test('an own model at an own server is found, priced and without a promise that nobody made', () => {
  const catalog = laidOver({ providers: [SERVER], models: [LLAMA] })
  const builtIn = loadCatalog()
  assert.equal(catalog.models.length, builtIn.models.length + 1)
  assert.notEqual(catalog.version, builtIn.version)
  const model = createModelIndex(catalog).resolve('llama-at-home')
  assert.equal(model?.id, 'mesh/own-llama')
  const [endpoint] = model.endpoints
  assert.equal(endpoint?.id, 'mesh/own-llama@own-server')
  assert.equal(endpoint.protocol, 'openai_chat')
  assert.deepEqual([endpoint.prices.rates.input, endpoint.prices.rates.output], [100_000n, 400_000n])
  assert.ok(endpoint.supportedParameters.includes('tools'))
  assert.deepEqual(endpoint.dataPolicy, { retention: 'unknown', training: 'unknown' })
  const provider = catalog.providers.find(({ id }) => id === 'own-server')
  assert.deepEqual(provider, { id: 'own-server', name: 'own-server', baseUrl: 'http://10.0.0.5:8000/v1' })
})

test('deployments, prices and promises by contract are those of the operator', () => {
  const catalog = laidOver({
    endpoints: {
      'mesh/gpt-5-mini@azure': { upstreamModel: 'prod-mini', prices: { input: '0.3', output: '2.5' } },
    },
    retention: { azure: { retention: 'none', training: 'no', source: 'Contract 17', date: '2026-05-01' } },
  })
  const model = createModelIndex(catalog).resolve('gpt-5-mini')
  const azure = model?.endpoints.find(({ provider }) => provider === 'azure')
  assert.equal(azure?.upstreamModel, 'prod-mini')
  assert.equal(azure.prices.rates.input, 300_000n)
  assert.deepEqual(azure.dataPolicy, {
    retention: 'none',
    training: 'no',
    source: 'Contract 17',
    date: '2026-05-01',
  })
  const openai = model?.endpoints.find(({ provider }) => provider === 'openai')
  assert.equal(openai?.dataPolicy.retention, 'unknown')
})

test('what is wrong is refused by its row: ids that are taken or not there, and prices in another unit', () => {
  const refusals: [unknown, RegExp][] = [
    [{ models: [LLAMA] }, /mesh\/own-llama: own-server: providers\.json has no such provider/],
    [{ providers: [SERVER, SERVER] }, /a provider is listed twice/],
    [{ providers: [{ ...SERVER, id: 'openai' }] }, /a provider is listed twice/],
    [
      {
        models: [
          { ...LLAMA, id: 'mesh/gpt-5-mini', endpoints: [{ ...LLAMA.endpoints[0], provider: 'openai' }] },
        ],
      },
      /mesh\/gpt-5-mini/,
    ],
    [
      {
        providers: [SERVER],
        models: [
          { ...LLAMA, endpoints: [{ ...LLAMA.endpoints[0], prices: { input: '0.0000001', output: '0' } }] },
        ],
      },
      /price/i,
    ],
    [
      { endpoints: { 'mesh/gpt-5-mini@nobody': {} } },
      /catalog\.endpoints: there is no endpoint mesh\/gpt-5-mini@nobody/,
    ],
    [
      { retention: { nobody: { retention: 'none', training: 'no', source: 'x', date: '2026-01-01' } } },
      /catalog\.retention: there is no provider nobody/,
    ],
  ]
  for (const [overlay, message] of refusals) {
    assert.throws(() => laidOver(overlay), message)
  }
})
