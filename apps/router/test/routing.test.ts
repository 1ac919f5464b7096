import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { loadCatalog } from '@mesh/catalog/load.ts'
import OpenAI from 'openai'
import { type Answered, startTestRouter, type TestAccount, type TestRouter } from './support/test-router.ts'

const catalog = loadCatalog()
const membersOf = (tier: string): string[] =>
  catalog.tiers.find(({ id }) => id === tier)?.models.map(({ model }) => model) ?? []

let router: TestRouter
let account: TestAccount

before(async () => {
  router = await startTestRouter()
  account = await router.account({ creditUsd: '100.00' })
})
after(() => router.stop())

type Body = Readonly<Record<string, unknown>>

const HELLO = [{ role: 'user', content: 'Hello' }]
const LOOK = [{ type: 'function', function: { name: 'look', parameters: { type: 'object' } } }]

function send(body: Body, key = account.key): Promise<Answered> {
  return router.request('POST', '/v1/chat/completions', { key, body: { messages: HELLO, ...body } })
}

async function served(body: Body, key?: string) {
  const { status, json, text } = await send(body, key)
  assert.equal(status, 200, text)
  return json
}

async function eventOf(id: string) {
  const { status, json } = await router.request('GET', `/v1/logs/${id}`, { key: account.key })
  assert.equal(status, 200)
  return json
}

test('every mode answers by its name, with and without mesh/, and says what it did', async () => {
  for (const mode of ['auto', 'cheapest', 'fast', 'best']) {
    for (const model of [mode, `mesh/${mode}`]) {
      const { id, routing, model: answered, provider } = await served({ model })
      assert.deepEqual(routing.requested, [`mesh/${mode}`])
      assert.equal(routing.mode, mode)
      assert.equal(routing.rule, mode === 'auto' ? 'auto.plain' : mode)
      assert.deepEqual(routing.selected, { model: answered, provider })
      const event = await eventOf(id)
      assert.deepEqual(
        [event.modelRequested, event.modelServed, event.routing.mode],
        [`mesh/${mode}`, answered, mode],
      )
      assert.equal(event.routing.snapshot, routing.snapshot)
    }
  }
})

test('who leaves the choice to the router names no model', async () => {
  assert.equal((await served({ route: 'auto' })).routing.mode, 'auto')
  assert.equal((await served({ model: 'openrouter/auto' })).routing.mode, 'auto')
  const named = await served({ route: 'auto', model: 'gpt-4o-mini' })
  assert.deepEqual([named.routing.mode, named.model], ['models', 'mesh/gpt-4o-mini'])
  const nothing = await send({})
  assert.deepEqual([nothing.status, nothing.json.error.code], [400, 'invalid_request'])
})

test('auto goes by the shape of a call, and never by its words', async () => {
  const cases: readonly (readonly [rule: string, tiers: readonly string[], body: Body])[] = [
    ['auto.plain', ['mesh/swift', 'mesh/balanced'], {}],
    ['auto.plain', ['mesh/swift', 'mesh/balanced'], { messages: [{ role: 'user', content: 'Use tools!' }] }],
    ['auto.tools', ['mesh/balanced', 'mesh/pro'], { tools: LOOK }],
    ['auto.reasoning', ['mesh/pro'], { reasoning: { effort: 'high' } }],
    [
      'auto.long_input',
      ['mesh/balanced', 'mesh/pro'],
      { messages: [{ role: 'user', content: 'word '.repeat(30_000) }], max_tokens: 16 },
    ],
  ]
  for (const [rule, tiers, body] of cases) {
    const { routing, model } = await served({ model: 'auto', ...body })
    assert.equal(routing.rule, rule)
    assert.ok(tiers.flatMap(membersOf).includes(model), `${model} by ${rule}`)
  }
})

test('a tier is served by one of its models, and falls back within it', async () => {
  for (const tier of ['mesh/swift', 'mesh/balanced', 'mesh/pro']) {
    const { routing, model } = await served({ model: tier })
    assert.deepEqual([routing.requested, routing.mode, routing.rule], [[tier], 'tier', tier.slice(5)])
    assert.ok(membersOf(tier).includes(model))
  }
  const first = await served({ model: 'mesh/swift' })
  const other = await served({
    model: 'mesh/swift',
    metadata: { mesh_simulate: `${first.provider}=overloaded` },
  })
  assert.notEqual(other.provider, first.provider)
  assert.ok(membersOf('mesh/swift').includes(other.model))
  const embed = await send({ model: 'mesh/embed' })
  assert.deepEqual([embed.status, embed.json.error.param], [400, 'model'])
})

test('the tier for embeddings falls back to another host of its model, and never to another model', async () => {
  const embed = (metadata?: Body) =>
    router.request('POST', '/v1/embeddings', {
      key: account.key,
      body: { model: 'mesh/embed', input: 'hello', ...(metadata ? { metadata } : {}) },
    })
  const first = await embed()
  assert.equal(first.status, 200, first.text)
  const other = await embed({ mesh_simulate: `${first.json.provider}=overloaded` })
  assert.equal(other.status, 200, other.text)
  assert.notEqual(other.json.provider, first.json.provider)
  assert.equal(other.json.model, first.json.model)
})

test('the order of models wins, with modes among them', async () => {
  const models = ['mesh/claude-sonnet-4.5', 'cheapest']
  const body = { models, metadata: { mesh_simulate: 'anthropic=overloaded,amazon-bedrock=overloaded' } }
  const { routing, model } = await served(body)
  assert.deepEqual(routing.requested, ['mesh/claude-sonnet-4.5', 'mesh/cheapest'])
  assert.equal(routing.mode, 'models')
  assert.equal(routing.chain[0].model, 'mesh/claude-sonnet-4.5')
  assert.notEqual(model, 'mesh/claude-sonnet-4.5')
})

test('the limits of a key hold through mode, tier, alias and fallback', async () => {
  const limits = { allowedModels: ['mesh/gpt-4o-mini'], allowedProviders: ['openai', 'anthropic'] }
  const limited = await router.account({ limits })
  for (const model of ['auto', 'cheapest', 'fast', 'best']) {
    const answer = await served({ model, tools: LOOK }, limited.key)
    assert.deepEqual([answer.model, answer.provider], ['mesh/gpt-4o-mini', 'openai'], model)
  }
  for (const body of [
    { model: 'mesh/pro' },
    { model: 'claude-sonnet-4-5-20250929', models: ['mesh/balanced'] },
  ]) {
    const refused = await send(body, limited.key)
    assert.deepEqual([refused.status, refused.json.error.code], [403, 'model_not_allowed'])
  }
  const floor = await router.account({ limits: { minimumPrivacyClass: 'confidential' } })
  const unavailable = await send({ model: 'auto' }, floor.key)
  assert.deepEqual([unavailable.status, unavailable.json.error.code], [412, 'privacy_unavailable'])
})

test('sort is acted on and told', async () => {
  const { routing } = await served({ model: 'gpt-oss-120b', provider: { sort: 'throughput' } })
  assert.deepEqual([routing.rule, routing.dropped_params], ['throughput', undefined])
  const mode = await served({ model: 'auto', provider: { sort: 'latency' } })
  assert.equal(mode.routing.rule, 'auto.plain.by_latency')
})

test('modes stream through the OpenAI SDK', async () => {
  const client = new OpenAI({ baseURL: router.baseUrl, apiKey: account.key, maxRetries: 0 })
  const stream = await client.chat.completions.create({
    model: 'mesh/auto',
    messages: [{ role: 'user', content: 'Hello' }],
    stream: true,
  })
  let text = ''
  let model = ''
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta.content ?? ''
    model = chunk.model
  }
  assert.match(text, /^Simulated answer/)
  assert.match(model, /^mesh\//)
  assert.notEqual(model, 'mesh/auto')
})
