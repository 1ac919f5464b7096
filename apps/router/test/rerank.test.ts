import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { bookOf, nano } from './support/calls.ts'
import { startTestRouter, type TestAccount, type TestRouter } from './support/test-router.ts'

/** `POST /v1/rerank`: as Cohere, Jina and OpenRouter have it, through the same stages as a chat. */

const MODEL = 'mesh/qwen3-reranker-0.6b'
const DOCUMENTS = ['stock market prices fell', { text: 'a red fox runs home', id: 7 }, 'red paint']

let router: TestRouter
let account: TestAccount

before(async () => {
  router = await startTestRouter()
  account = await router.account()
})
after(() => router.stop())

const rerank = (body: object = {}, key = account.key) =>
  router.request('POST', '/v1/rerank', {
    key,
    body: { model: MODEL, query: 'red fox', documents: DOCUMENTS, ...body },
  })

test('documents come back by place and score, the best first', async () => {
  const { status, json } = await rerank()
  assert.equal(status, 200)
  assert.match(json.id, /^req_/)
  assert.deepEqual([json.model, json.provider], [MODEL, 'nearai'])
  assert.deepEqual(
    json.results.map(({ index }: { index: number }) => index),
    [1, 2, 0],
  )
  assert.ok(json.results[0].relevance_score > json.results[1].relevance_score)
  assert.deepEqual(Object.keys(json.results[0]), ['index', 'relevance_score'])
})

test('as many as are wanted, and their texts where they are wanted', async () => {
  const { json } = await rerank({ top_n: 2, return_documents: true })
  assert.deepEqual(
    json.results.map(({ document }: { document: object }) => document),
    [{ text: 'a red fox runs home' }, { text: 'red paint' }],
  )
  assert.equal((await rerank({ top_n: 99 })).json.results.length, 3)
})

test('a call leaves its cost and event, and the query is paid for with every document', async () => {
  const payer = await router.account()
  const { json } = await rerank({}, payer.key)
  const { json: logs } = await router.request('GET', '/v1/logs?limit=1', { key: payer.key })
  const [event] = logs.data
  assert.equal(event.billingReason, 'completed')
  assert.equal(event.routing.api, 'rerank')
  assert.equal(event.tokens.input, 3 * 42 + 6 + 5 + 3)
  assert.deepEqual(json.usage.total_tokens, event.tokens.input)
  // $0.01 a million and five per cent, rounded up once.
  assert.equal(nano(event.cost.totalUsd), (140n * 10_500n + 999n) / 1_000n)
  const { balanceNano, heldNano } = await bookOf(router.database, payer.id, false)
  assert.deepEqual([balanceNano, heldNano], [10_000_000_000n - nano(event.cost.totalUsd), 0n])
})

test('half a ranking is none, and costs nothing', async () => {
  const payer = await router.account()
  for (const fault of ['empty', 'malformed', 'early_eof']) {
    const { status, json } = await rerank({ metadata: { mesh_simulate: fault } }, payer.key)
    assert.deepEqual([status, json.error.code], [502, 'provider_error'], fault)
  }
  assert.equal((await bookOf(router.database, payer.id, false)).balanceNano, 10_000_000_000n)
})

const REFUSED: readonly (readonly [name: string, body: object, code: string, message: RegExp])[] = [
  ['no query', { query: '' }, 'invalid_request', /query must have at least 1 character/],
  ['no documents', { documents: [] }, 'invalid_request', /documents must have at least 1 item/],
  ['a document without a text', { documents: [{ id: 1 }] }, 'invalid_request', /documents\[0\]/],
  ['no results', { top_n: 0 }, 'invalid_request', /top_n must be at least 1/],
  ['a stream', { stream: true }, 'unsupported_parameter', /stream must be false/],
  ['an embedding model', { model: 'mesh/text-embedding-3-small' }, 'invalid_request', /rerank models/],
]

for (const [name, body, code, message] of REFUSED) {
  test(`a call that cannot be made is refused, with what to do: ${name}`, async () => {
    const { status, json } = await rerank(body)
    assert.equal(status, 400)
    assert.equal(json.error.code, code)
    assert.match(json.error.message, message)
  })
}
