import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { startTestRouter, type TestAccount, type TestRouter } from './support/test-router.ts'

/** `POST /v1/tokens/count`: free, and it says how exact it is. */

let router: TestRouter
let account: TestAccount

before(async () => {
  router = await startTestRouter()
  account = await router.account({ creditUsd: '0' })
})
after(() => router.stop())

const count = (body: object, key = account.key) => router.request('POST', '/v1/tokens/count', { key, body })

test('texts are counted exactly for models whose vocabulary is known', async () => {
  const { status, json } = await count({ model: 'gpt-5-mini', input: 'Hello, world!' })
  assert.equal(status, 200)
  assert.deepEqual(json, {
    object: 'token_count',
    model: 'mesh/gpt-5-mini',
    input_tokens: 4,
    exact: true,
    method: 'o200k_base',
  })
  const several = await count({ model: 'text-embedding-3-small', input: ['Hello, world!', 'Hello'] })
  assert.deepEqual([several.json.input_tokens, several.json.method], [5, 'cl100k_base'])
})

test('for other models, and for conversations, the estimate says that it is one', async () => {
  const { json } = await count({ model: 'mesh/claude-sonnet-4.5', input: 'Hello, world!' })
  assert.deepEqual([json.input_tokens, json.exact, json.method], [4, false, 'estimate:o200k_base'])
  const conversation = {
    model: 'gpt-5-mini',
    messages: [{ role: 'user', content: 'Hello, world!' }],
    tools: [{ type: 'function', function: { name: 'look', description: 'Looks around.' } }],
  }
  const counted = await count(conversation)
  assert.equal(counted.json.exact, false)
  assert.ok(counted.json.input_tokens > 4 && counted.json.input_tokens < 40, counted.text)
})

test('a large text is counted beside the calls, which go on', async () => {
  const counting = count({ model: 'gpt-5-mini', input: 'The quick brown fox. '.repeat(400_000) })
  const started = performance.now()
  assert.equal((await router.request('GET', '/healthz')).status, 200)
  assert.ok(performance.now() - started < 1_500)
  const { json } = await counting
  assert.ok(Math.abs(json.input_tokens - 2_000_000) < 100_000, String(json.input_tokens))
})

test('it costs nothing and leaves nothing behind', async () => {
  await count({ model: 'gpt-5-mini', input: 'Hello' })
  const { json: logs } = await router.request('GET', '/v1/logs', { key: account.key })
  assert.deepEqual(logs.data, [])
  const { json: ledger } = await router.request('GET', '/v1/ledger', { key: account.key })
  assert.deepEqual(ledger.data, [])
})

const REFUSED: readonly (readonly [name: string, body: object, code: string, message: RegExp])[] = [
  ['neither texts nor messages', {}, 'invalid_request', /either input.* or messages/],
  ['both', { input: 'a', messages: [{ role: 'user', content: 'a' }] }, 'invalid_request', /either/],
  ['something else', { input: [1] }, 'invalid_request', /input/],
  ['a message that is none', { messages: [{ role: 'nobody' }] }, 'invalid_request', /messages\[0\]/],
  ['no such model', { model: 'mesh/nothing', input: 'a' }, 'model_not_found', /no such model/],
  ['a mode', { model: 'auto', input: 'a' }, 'model_not_found', /no such model/],
]

for (const [name, body, code, message] of REFUSED) {
  test(`what cannot be counted is refused, with what to do: ${name}`, async () => {
    const { status, json } = await count({ model: 'gpt-5-mini', ...body })
    assert.equal(status, code === 'model_not_found' ? 404 : 400)
    assert.equal(json.error.code, code)
    assert.match(json.error.message, message)
  })
}

test('only keys that may make calls may count', async () => {
  const { key } = await router.account({ scopes: ['usage'] })
  assert.equal((await count({ model: 'gpt-5-mini', input: 'a' }, key)).json.error.code, 'insufficient_scope')
})
