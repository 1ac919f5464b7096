import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import OpenAI from 'openai'
import { bookOf, holdsOf, nano } from './support/calls.ts'
import { startTestRouter, type TestAccount, type TestRouter } from './support/test-router.ts'

/** `POST /v1/embeddings`: OpenAI's API, through the same stages as a chat. */

const SMALL = 'mesh/text-embedding-3-small'
const GEMINI = 'mesh/gemini-embedding-001'
const QWEN = 'mesh/qwen3-embedding-0.6b'

let router: TestRouter
let account: TestAccount
let client: OpenAI

before(async () => {
  router = await startTestRouter()
  account = await router.account()
  client = new OpenAI({ baseURL: router.baseUrl, apiKey: account.key, maxRetries: 0 })
})
after(() => router.stop())

const embed = (body: object, key = account.key, headers: Readonly<Record<string, string>> = {}) =>
  router.request('POST', '/v1/embeddings', {
    key,
    headers,
    body: { model: SMALL, input: 'Hello there', ...body },
  })

/** The newest event of an account. */
async function eventOf({ key }: TestAccount) {
  const { json } = await router.request('GET', '/v1/logs?limit=1', { key })
  return json.data[0]
}

test('the official client gets vectors, packed as it asks and plain as it may ask', async () => {
  const packed = await client.embeddings.create({ model: SMALL, input: 'Hello there', dimensions: 64 })
  assert.equal(packed.model, SMALL)
  assert.equal(packed.data[0]?.embedding.length, 64)
  const plain = await client.embeddings.create({
    model: 'text-embedding-3-small',
    input: ['Hello there', 'Something else'],
    dimensions: 64,
    encoding_format: 'float',
  })
  assert.deepEqual(plain.data[0]?.embedding, [...(packed.data[0]?.embedding ?? [])])
  assert.deepEqual(
    plain.data.map(({ index }) => index),
    [0, 1],
  )
  assert.equal(plain.usage.prompt_tokens, 3 + 4)
  assert.equal(plain.usage.total_tokens, plain.usage.prompt_tokens)
})

test('texts may come as tokens, where the model’s hosts take them', async () => {
  const { data, usage } = await client.embeddings.create({ model: SMALL, input: [[1, 2, 3], [4]] })
  assert.equal(data.length, 2)
  assert.equal(usage.prompt_tokens, 4)
  const single = await client.embeddings.create({ model: SMALL, input: [1, 2, 3] })
  assert.deepEqual([...(single.data[0]?.embedding ?? [])], [...(data[0]?.embedding ?? [])])
})

test('an open model answers at its own host, in either encoding', async () => {
  for (const encoding_format of ['float', 'base64'] as const) {
    const { json } = await embed({ model: QWEN, encoding_format })
    assert.equal(json.provider, 'nearai')
    const { embedding } = json.data[0]
    const length =
      typeof embedding === 'string' ? Buffer.from(embedding, 'base64').length / 4 : embedding.length
    assert.equal(length, 1024)
  }
})

test('Gemini’s vectors are estimated, for it tells no usage', async () => {
  const payer = await router.account()
  const body = { model: GEMINI, input: ['Hello', 'there'], dimensions: 768, input_type: 'search_query' }
  const { json } = await embed(body, payer.key)
  assert.equal(json.provider, 'google')
  assert.equal(json.data[1].embedding.length, 768)
  assert.equal(json.routing.dropped_params, undefined)
  const event = await eventOf(payer)
  assert.equal(event.billingReason, 'estimated_usage')
  assert.deepEqual(event.usageFlags, ['missing'])
  assert.ok(nano(event.cost.totalUsd) > 0n)
  const packed = await embed({ model: GEMINI, encoding_format: 'base64' })
  assert.equal(Buffer.from(packed.json.data[0].embedding, 'base64').length, 4 * 3072)
})

test('what no endpoint of a model takes is refused before anything is spent, and said', async () => {
  for (const [body, words] of [
    [{ input: [1, 2] }, 'texts as tokens'],
    [{ input: Array.from({ length: 101 }, () => 'a') }, '101 texts at once'],
  ] as const) {
    const { status, json } = await embed({ model: GEMINI, ...body })
    assert.deepEqual([status, json.error.code], [404, 'no_endpoint'])
    assert.ok(json.error.message.includes(words), json.error.message)
  }
})

test('a call leaves its cost, event, ledger row and receipt, and only input is paid for', async () => {
  const payer = await router.account()
  const { json, headers } = await embed({ input: 'x'.repeat(4_000) }, payer.key)
  const event = await eventOf(payer)
  assert.equal(event.billingReason, 'completed')
  assert.equal(event.modelServed, SMALL)
  assert.equal(event.routing.api, 'embeddings')
  assert.deepEqual([event.tokens.input, event.tokens.output], [1_000, 0])
  // $0.02 a million and five per cent.
  assert.equal(nano(event.cost.totalUsd), 21_000n)
  assert.equal(nano(event.cost.upstreamCostUsd), 20_000n)
  assert.equal(json.usage.cost_details.total, event.cost.totalUsd)
  assert.equal(headers.get('x-mesh-total-usd'), event.cost.totalUsd)
  const { json: receipt } = await router.request('GET', `/v1/receipts/${event.receiptId}`, { key: payer.key })
  assert.equal(receipt.receipt.modelServed, SMALL)
  const { balanceNano, heldNano } = await bookOf(router.database, payer.id, false)
  assert.deepEqual([balanceNano, heldNano], [10_000_000_000n - 21_000n, 0n])
  assert.equal(await holdsOf(router.database, payer.id), 0)
})

test('the hold covers every text, each with a context of its own', async () => {
  const texts = Array.from({ length: 20 }, () => 'word '.repeat(6_000))
  const payer = await router.account()
  const { status, json } = await embed({ input: texts }, payer.key)
  assert.equal(status, 200)
  const event = await eventOf(payer)
  assert.equal(event.tokens.input, 20 * 7_500)
  assert.deepEqual(event.usageFlags, [])
  assert.equal(json.data.length, 20)
})

test('another endpoint of the same model answers where one fails, also with half an answer', async () => {
  for (const fault of ['rate_limit', 'empty', 'malformed', 'cut_stream', 'html', 'server_error']) {
    const { json } = await embed({ metadata: { mesh_simulate: `openai=${fault}` } })
    assert.equal(json.provider, 'azure', fault)
    const [first, second] = json.routing.chain
    assert.notEqual(first.outcome, 'served', fault)
    assert.equal(second.outcome, 'served', fault)
  }
})

test('what every provider fails at is an error, and costs nothing', async () => {
  const payer = await router.account()
  for (const [fault, status] of [
    ['empty', 502],
    ['overloaded', 503],
    ['malformed', 502],
  ] as const) {
    const answered = await embed({ metadata: { mesh_simulate: fault } }, payer.key)
    assert.equal(answered.status, status, answered.text)
    assert.equal((await eventOf(payer)).billingReason, 'upstream_error_not_billed')
  }
  assert.equal((await bookOf(router.database, payer.id, false)).balanceNano, 10_000_000_000n)
})

test('usage that a provider does not tell is estimated, and what it cannot be is lowered', async () => {
  const payer = await router.account()
  const input = 'x'.repeat(400)
  for (const [lie, reason, flag] of [
    ['missing', 'estimated_usage', 'missing'],
    ['zero', 'estimated_usage', 'missing'],
    ['huge', 'completed', 'exceeds_hold'],
  ] as const) {
    await embed({ input, metadata: { mesh_simulate: `lying_usage=${lie}` } }, payer.key)
    const event = await eventOf(payer)
    assert.equal(event.billingReason, reason, lie)
    assert.ok(event.usageFlags.includes(flag), `${lie}: ${event.usageFlags}`)
    assert.ok(event.tokens.input >= 100 && event.tokens.input <= 1_000, lie)
    assert.ok(nano(event.cost.totalUsd) > 0n, lie)
  }
})

test('an idempotency key is used up by a call that was charged', async () => {
  const headers = { 'idempotency-key': 'vectors-1' }
  assert.equal((await embed({}, account.key, headers)).status, 200)
  const repeated = await embed({}, account.key, headers)
  assert.deepEqual([repeated.status, repeated.json.error.code], [409, 'idempotency_replay'])
})

test('limits hold as for any call', async () => {
  const limited = await router.account({ limits: { allowedModels: [QWEN] } })
  const refused = await embed({}, limited.key)
  assert.deepEqual([refused.status, refused.json.error.code], [403, 'model_not_allowed'])
  const poor = await router.account({ creditUsd: '0.000001' })
  const unpaid = await embed({ input: 'x'.repeat(100_000) }, poor.key)
  assert.deepEqual([unpaid.status, unpaid.json.error.code], [402, 'insufficient_credits'])
  const scoped = await router.account({ scopes: ['usage'] })
  assert.equal((await embed({}, scoped.key)).json.error.code, 'insufficient_scope')
})

test('an end user leaves as a stand-in only, and only to who takes one', async () => {
  const { json } = await embed({ model: QWEN, user: 'ann@example.com' })
  assert.deepEqual(json.routing.dropped_params, ['user'])
  assert.equal((await embed({ user: 'ann@example.com' })).json.routing.dropped_params, undefined)
})

const REFUSED: readonly (readonly [name: string, body: object, code: string, message: RegExp])[] = [
  ['no input', { input: undefined }, 'invalid_request', /input/],
  ['an empty text', { input: '' }, 'invalid_request', /input must have at least 1 character/],
  ['no texts', { input: [] }, 'invalid_request', /input must have at least 1 item/],
  ['an empty text among others', { input: ['a', ''] }, 'invalid_request', /input/],
  ['texts and tokens', { input: ['a', 1] }, 'invalid_request', /input/],
  ['too many texts', { input: Array.from({ length: 2_049 }, () => 'a') }, 'invalid_request', /at most 2048/],
  ['a token that is none', { input: [1.5] }, 'invalid_request', /input/],
  ['no dimensions', { dimensions: 0 }, 'invalid_request', /dimensions must be at least 1/],
  ['an unknown encoding', { encoding_format: 'int8' }, 'invalid_request', /encoding_format/],
  ['a stream', { stream: true }, 'unsupported_parameter', /stream must be false/],
  ['several models', { models: [QWEN] }, 'unsupported_parameter', /cannot be compared/],
  ['a chat model', { model: 'mesh/gpt-4o-mini' }, 'invalid_request', /embedding models/],
  ['no such model', { model: 'mesh/nothing' }, 'model_not_found', /no such model/],
  ['too many dimensions for the model', { dimensions: 4_096 }, 'invalid_request', /refuses/],
]

for (const [name, body, code, message] of REFUSED) {
  test(`a call that cannot be made is refused, with what to do: ${name}`, async () => {
    const { status, json } = await embed(body)
    assert.ok(status >= 400 && status < 500, String(status))
    assert.equal(json.error.code, code)
    assert.match(json.error.message, message)
  })
}

test('a chat is not for an embedding model', async () => {
  const { json } = await router.request('POST', '/v1/chat/completions', {
    key: account.key,
    body: { model: SMALL, messages: [{ role: 'user', content: 'Hello' }] },
  })
  assert.equal(json.error.code, 'invalid_request')
})
