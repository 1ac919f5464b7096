import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { nano } from './support/calls.ts'
import { startTestRouter, type TestAccount, type TestRouter } from './support/test-router.ts'

let router: TestRouter
let account: TestAccount

before(async () => {
  router = await startTestRouter()
  account = await router.account({ creditUsd: '100.00' })
})
after(() => router.stop())

type Body = Readonly<Record<string, unknown>>

const HELLO = [{ role: 'user', content: 'Hello' }]

function dryRun(body: Body, key = account.key) {
  return router.request('POST', '/v1/route', { key, body })
}

async function route(body: Body, key?: string) {
  const { status, json, text } = await dryRun(body, key)
  assert.equal(status, 200, text)
  return json
}

test('it says what a call does then: who serves it, by which rule, and no more than it costs', async () => {
  for (const body of [
    { model: 'auto', messages: HELLO, max_tokens: 50 },
    { model: 'mesh/best', messages: HELLO, max_tokens: 50, n: 2 },
    { models: ['mesh/gpt-4o-mini', 'cheapest'], messages: HELLO },
    { model: 'mesh/swift', messages: HELLO, provider: { sort: 'throughput', ignore: ['groq'] } },
  ]) {
    const told = await route(body)
    const call = await router.request('POST', '/v1/chat/completions', { key: account.key, body })
    assert.equal(call.status, 200, call.text)
    const { routing, usage } = call.json
    for (const field of ['requested', 'mode', 'rule', 'selected', 'snapshot']) {
      assert.deepEqual(told[field], routing[field], field)
    }
    assert.ok(nano(usage.cost_details.total) <= nano(told.max_cost_usd))
    assert.ok(nano(told.hold_usd) <= nano(told.max_cost_usd))
    assert.ok(nano(told.expected_cost_usd) > 0n)
    const event = await router.request('GET', `/v1/logs/${call.json.id}`, { key: account.key })
    assert.equal(event.json.cost.heldUsd, told.hold_usd)
  }
})

test('it ranks what may be tried, and gives every other endpoint its word', async () => {
  const told = await route({
    model: 'mesh/gpt-oss-120b',
    messages: HELLO,
    provider: { ignore: ['groq'], max_price: { completion: '0.3' } },
  })
  const rows = [...told.candidates, ...told.excluded]
  const endpoints = await router.request('GET', '/v1/models/mesh/gpt-oss-120b/endpoints')
  assert.deepEqual(
    rows.map(({ provider }) => provider).sort(),
    endpoints.json.data.map(({ provider }: { provider: string }) => provider).sort(),
  )
  assert.deepEqual(
    told.candidates.map(({ rank }: { rank: number }) => rank),
    [1],
  )
  const words = Object.fromEntries(
    told.excluded.map(({ provider, excluded_by }: Record<string, string>) => [provider, excluded_by]),
  )
  assert.deepEqual(words, {
    fireworks: 'max_price',
    groq: 'provider_ignore',
    nearai: 'max_price',
    tinfoil: 'max_price',
  })
})

test('it tells what a call would be refused with, and why', async () => {
  const told = await route({ model: 'mesh/gpt-4o-mini', messages: HELLO, provider: { only: ['groq'] } })
  assert.deepEqual([told.selected, told.candidates, told.hold_usd], [null, [], null])
  assert.deepEqual([told.refusal.status, told.refusal.code], [404, 'no_endpoint'])
  assert.ok(told.excluded.every(({ excluded_by }: { excluded_by: string }) => excluded_by))
})

test('the limits and floors of the key hold', async () => {
  const limited = await router.account({ limits: { allowedModels: ['mesh/gpt-4o-mini'] } })
  const told = await route({ model: 'best', messages: HELLO }, limited.key)
  assert.deepEqual(told.selected, { model: 'mesh/gpt-4o-mini', provider: 'openai' })
  const words = new Set(told.excluded.map(({ excluded_by }: { excluded_by: string }) => excluded_by))
  assert.ok(words.has('allowed_models'))
  const floor = await router.account({ limits: { minimumPrivacyClass: 'confidential' } })
  assert.equal(
    (await route({ model: 'auto', messages: HELLO }, floor.key)).refusal.code,
    'privacy_unavailable',
  )
})

test('it needs no messages, and takes those of other shapes', async () => {
  assert.equal((await route({ model: 'auto' })).rule, 'auto.plain')
  assert.equal(
    (await route({ route: 'auto', tools: [{ type: 'function', function: { name: 'f' } }] })).rule,
    'auto.tools',
  )
  const short = await route({ model: 'mesh/gpt-4o-mini', input: 'Hello', max_tokens: 1 })
  const long = await route({ model: 'mesh/gpt-4o-mini', input: 'Hello '.repeat(1_000), max_tokens: 1 })
  assert.ok(nano(long.expected_cost_usd) > nano(short.expected_cost_usd))
  const embed = await route({ model: 'mesh/embed', input: ['one', 'two'] })
  assert.deepEqual([embed.requested, embed.mode, embed.rule], [['mesh/embed'], 'tier', 'embed'])
  const unknown = await dryRun({ model: 'mesh/nothing' })
  assert.deepEqual([unknown.status, unknown.json.error.code], [404, 'model_not_found'])
  const broken = await dryRun({ model: 'auto', temperature: 9 })
  assert.deepEqual([broken.status, broken.json.error.param], [400, 'temperature'])
})

test('it is free: nothing is held, sent, kept or charged', async () => {
  const fresh = await router.account({ creditUsd: '0' })
  const sent = router.simulator.stats().records.length
  const told = await route({ model: 'best', messages: HELLO }, fresh.key)
  assert.ok(told.selected)
  assert.equal(router.simulator.stats().records.length, sent)
  for (const path of ['/v1/logs', '/v1/ledger']) {
    const { json } = await router.request('GET', path, { key: fresh.key })
    assert.deepEqual(json.data, [], path)
  }
  const { rows } = await router.database.pool.query('select 1 from holds where account_id = $1', [fresh.id])
  assert.deepEqual(rows, [])
})
