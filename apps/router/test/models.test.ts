import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { loadCatalog } from '@mesh/catalog/load.ts'
import OpenAI from 'openai'
import { startTestRouter, type TestAccount, type TestRouter } from './support/test-router.ts'

interface ListedModel {
  readonly id: string
  readonly object: string
  readonly type: string
  readonly kind: string
  readonly aliases: readonly string[]
  readonly providers: readonly string[]
  readonly available: boolean
  readonly unavailable_reason?: string
}

interface Listed {
  readonly provider: string
  readonly privacy: { readonly ceiling: string }
}

const SONNET = 'mesh/claude-sonnet-4.5'
const BUILT_PROTOCOLS = [
  'anthropic_messages',
  'azure_openai',
  'azure_openai_embeddings',
  'bedrock_converse',
  'cohere_v2',
  'gemini',
  'gemini_embed',
  'jina_style_rerank',
  'openai_chat',
  'openai_embeddings',
  'openai_responses',
]

const catalog = loadCatalog()
let router: TestRouter
let account: TestAccount
let client: OpenAI
let listed: readonly ListedModel[]

before(async () => {
  router = await startTestRouter()
  account = await router.account({ creditUsd: '100.00' })
  client = new OpenAI({ baseURL: router.baseUrl, apiKey: account.key, maxRetries: 0 })
  const answered = await router.request('GET', '/v1/models')
  listed = answered.json.data.filter(({ type }: ListedModel) => type === 'model')
})
after(() => router.stop())

test('the list has the 46 models of the catalogue, each once, and needs no key', async () => {
  assert.equal(listed.length, 46)
  assert.deepEqual(listed.map(({ id }) => id).sort(), catalog.models.map(({ id }) => id).sort())
  assert.equal(new Set(listed.map(({ id }) => id)).size, 46)
  assert.equal(new Set(listed.flatMap(({ providers }) => providers)).size, 14)
  assert.ok(listed.every(({ object }) => object === 'model'))
  const names = listed.flatMap(({ id, aliases }) => [id, ...aliases])
  assert.equal(new Set(names).size, names.length, 'no name means two models')
})

test('all 46 models at 14 providers are available, each at every endpoint of its', () => {
  for (const model of catalog.models) {
    const shown = listed.find(({ id }) => id === model.id)
    assert.equal(shown?.available, true, model.id)
    assert.equal(shown?.unavailable_reason, undefined, model.id)
  }
  const spoken = new Set(catalog.models.flatMap(({ endpoints }) => endpoints.map(({ protocol }) => protocol)))
  assert.deepEqual([...spoken].sort(), BUILT_PROTOCOLS)
})

test('modes and tiers are listed as aliases, with what they stand for', async () => {
  const { json } = await router.request('GET', '/v1/models')
  const aliases = json.data.filter(({ type }: ListedModel) => type === 'alias')
  assert.deepEqual(
    aliases.map(({ id }: ListedModel) => id),
    ['auto', 'cheapest', 'fast', 'best', 'swift', 'balanced', 'pro', 'embed'].map((name) => `mesh/${name}`),
  )
  assert.equal(json.data.length, listed.length + aliases.length)
  for (const alias of aliases) {
    assert.ok(alias.description.length > 20, alias.id)
    assert.equal(alias.object, 'model')
    assert.equal((await client.models.retrieve(alias.id.slice('mesh/'.length))).id, alias.id)
  }
  const [auto] = aliases
  assert.equal(auto.rules.at(-1).rule, 'auto.plain')
  const swift = aliases.find(({ id }: ListedModel) => id === 'mesh/swift')
  assert.ok(swift.models.every(({ model, why }: { model: string; why: string }) => model && why))
  assert.equal(swift.available, true)
  const endpoints = await router.request('GET', '/v1/models/mesh%2Fswift/endpoints')
  const models = new Set(endpoints.json.data.map(({ model }: { model: string }) => model))
  assert.equal(models.size, swift.models.length)
})

test('a model is found by its id, with its slash encoded or not, and by every alias', async () => {
  for (const path of ['mesh/claude-sonnet-4.5', 'mesh%2Fclaude-sonnet-4.5', 'mesh%2fclaude-sonnet-4.5']) {
    const answered = await router.request('GET', `/v1/models/${path}`)
    assert.equal(answered.status, 200, path)
    assert.equal(answered.json.id, SONNET)
  }
  for (const { id, aliases } of listed) {
    for (const alias of aliases) assert.equal((await client.models.retrieve(alias)).id, id, alias)
  }
})

test('a model lists its endpoints with their providers, prices and whether they are served', async () => {
  for (const path of [SONNET, 'mesh%2Fclaude-sonnet-4.5', 'claude-sonnet-4.5']) {
    const { status, json } = await router.request('GET', `/v1/models/${path}/endpoints`)
    assert.equal(status, 200, path)
    assert.equal(json.id, SONNET)
    const [anthropic, bedrock] = json.data
    assert.equal(json.data.length, 2)
    assert.equal(anthropic.provider, 'anthropic')
    assert.equal(anthropic.available, true)
    // List price and the default mark-up of five per cent.
    assert.equal(anthropic.pricing.usd_per_million.input, '3.15')
    assert.equal(anthropic.pricing.usd_per_million.output, '15.75')
    assert.deepEqual(anthropic.data_policy, { retention: 'unknown', training: 'unknown' })
    assert.deepEqual(anthropic.privacy, {
      in_the_clear: 'standard',
      ceiling: 'private_gateway',
      confidential_host: null,
    })
    assert.equal(anthropic.health, null)
    assert.equal(bedrock.provider, 'amazon-bedrock')
    assert.equal(bedrock.available, true)
  }
})

test('an endpoint shows its other prices, and the confidential host where it has one', async () => {
  const deepseek = await router.request('GET', '/v1/models/mesh/deepseek-v4-pro/endpoints')
  const [windowed] = deepseek.json.data[0].pricing_exceptions
  assert.deepEqual([windowed.from_utc, windowed.until_utc], ['01:00', '04:00'])
  const gpt = await router.request('GET', '/v1/models/mesh/gpt-5.5/endpoints')
  assert.equal(gpt.json.data[0].pricing_exceptions[0].above_input_tokens, 272_000)
  const open = await router.request('GET', '/v1/models/mesh/gpt-oss-120b/endpoints')
  const ceilings = open.json.data.map(({ provider, privacy }: Listed) => [provider, privacy.ceiling])
  assert.deepEqual(Object.fromEntries(ceilings), {
    groq: 'private_gateway',
    fireworks: 'private_gateway',
    deepinfra: 'private_gateway',
    tinfoil: 'confidential',
    nearai: 'confidential',
  })
})

test('an unknown model is 404 with the nearest ids, wherever it is named', async () => {
  const messages = [{ role: 'user', content: 'Hello' }]
  const answers = [
    await router.request('GET', '/v1/models/mesh/claude-sonet-4.5'),
    await router.request('GET', '/v1/models/mesh%2Fclaude-sonet-4.5/endpoints'),
    await router.request('POST', '/v1/chat/completions', {
      key: account.key,
      body: { model: 'mesh/claude-sonet-4.5', messages },
    }),
  ]
  for (const { status, json } of answers) {
    assert.equal(status, 404)
    assert.equal(json.error.code, 'model_not_found')
    assert.equal(json.error.metadata.nearest[0], SONNET)
    assert.match(json.error.message, /claude-sonnet-4\.5/)
  }
})

test('every available chat model answers through the OpenAI SDK, whole and streamed', async (t) => {
  const messages = [{ role: 'user' as const, content: 'Hello' }]
  const available = listed.filter(({ kind, available }) => kind === 'chat' && available)
  for (const { id } of available) {
    const whole = await client.chat.completions.create({ model: id, messages })
    assert.equal(whole.model, id)
    assert.match(whole.choices[0]?.message.content ?? '', /^Simulated answer/, id)
    assert.equal(whole.choices[0]?.finish_reason, 'stop', id)
    assert.ok((whole.usage?.completion_tokens ?? 0) > 0, id)

    let text = ''
    let finish: string | null | undefined
    for await (const chunk of await client.chat.completions.create({ model: id, messages, stream: true })) {
      assert.equal(chunk.model, id)
      text += chunk.choices[0]?.delta.content ?? ''
      finish = chunk.choices[0]?.finish_reason
    }
    assert.match(text, /^Simulated answer/, id)
    assert.equal(finish, 'stop', id)
  }
  t.diagnostic(`${available.length} models answered`)
  const logs = await router.request('GET', '/v1/logs?limit=100', { key: account.key })
  const completed = logs.json.data.filter(
    ({ billingReason }: { billingReason: string }) => billingReason === 'completed',
  )
  assert.equal(completed.length, available.length * 2)
})

test('every endpoint of a built protocol answers where it alone may', async (t) => {
  const messages = [{ role: 'user', content: 'Hello' }]
  const endpoints = catalog.models
    .filter(({ kind }) => kind === 'chat')
    .flatMap((model) => model.endpoints.filter(({ protocol }) => BUILT_PROTOCOLS.includes(protocol)))
  for (const { id, model, provider } of endpoints) {
    for (const stream of [false, true]) {
      const { status, text } = await router.request('POST', '/v1/chat/completions', {
        key: account.key,
        body: { model, messages, stream, provider: { only: [provider] } },
      })
      assert.equal(status, 200, id)
      assert.match(text, new RegExp(`"selected":\\{"model":"${model}","provider":"${provider}"\\}`), id)
      assert.doesNotMatch(text, /"error"/, id)
    }
  }
  t.diagnostic(`${endpoints.length} endpoints answered`)
})

test('every endpoint for vectors or scores answers where it alone may', async (t) => {
  const paths = { embedding: '/v1/embeddings', rerank: '/v1/rerank' } as const
  const said = { input: 'Hello', query: 'Hello', documents: ['Hello', 'there'] }
  const endpoints = catalog.models.flatMap(({ kind, endpoints }) =>
    kind === 'chat' ? [] : endpoints.map((endpoint) => ({ ...endpoint, path: paths[kind] })),
  )
  for (const { id, model, provider, path } of endpoints) {
    const { status, json } = await router.request('POST', path, {
      key: account.key,
      body: { model, provider: { only: [provider] }, ...said },
    })
    assert.equal(status, 200, id)
    assert.deepEqual(json.routing.selected, { model, provider }, id)
  }
  t.diagnostic(`${endpoints.length} endpoints answered`)
  assert.equal(endpoints.length, 5)
})

test('a model of another kind is refused with the reason', async () => {
  const messages = [{ role: 'user', content: 'Hello' }]
  for (const { id, kind } of listed) {
    if (kind === 'chat') continue
    const { status, json } = await router.request('POST', '/v1/chat/completions', {
      key: account.key,
      body: { model: id, messages },
    })
    assert.deepEqual([status, json.error.code], [400, 'invalid_request'], id)
    assert.match(json.error.message, /takes chat models/, id)
  }
})
