import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setClock } from './support/books-fixture.ts'
import { chat, eventOf, requestIdOf, send } from './support/calls.ts'
import { SCOPES, setLimits } from './support/set-limits.ts'
import {
  ADMIN_KEY,
  type Answered,
  startTestRouter,
  type TestAccount,
  type TestRouter,
} from './support/test-router.ts'
import { until } from './support/until.ts'

let mesh: TestRouter
before(async () => {
  mesh = await startTestRouter()
  await setClock(mesh.database, '2031-03-15T12:00:10Z')
})
after(() => mesh.stop())

/** How each limit, set so that nothing more fits, refuses the next call. */
const BLOCKS: readonly {
  readonly limit: string
  readonly value: unknown
  readonly status: number
  readonly code: string
}[] = [
  { limit: 'requestsPerMinute', value: 1, status: 429, code: 'rate_limit_exceeded' },
  { limit: 'tokensPerMinute', value: 10, status: 429, code: 'rate_limit_exceeded' },
  { limit: 'maxConcurrentRequests', value: 0, status: 429, code: 'too_many_concurrent' },
  { limit: 'monthlyRequestLimit', value: 1, status: 402, code: 'limit_exceeded' },
  { limit: 'monthlyTokenLimit', value: 10, status: 402, code: 'limit_exceeded' },
  { limit: 'dailyUsdLimit', value: '0.000000001', status: 402, code: 'limit_exceeded' },
  { limit: 'monthlyUsdLimit', value: '0.000000001', status: 402, code: 'limit_exceeded' },
  { limit: 'totalUsdLimit', value: '0.000000001', status: 402, code: 'limit_exceeded' },
  { limit: 'maxUsdPerRequest', value: '0.000000001', status: 402, code: 'limit_exceeded' },
  { limit: 'allowedModels', value: ['mesh/claude-haiku-4.5'], status: 403, code: 'model_not_allowed' },
  { limit: 'allowedProviders', value: ['anthropic'], status: 403, code: 'model_not_allowed' },
  { limit: 'minimumPrivacyClass', value: 'confidential', status: 412, code: 'privacy_unavailable' },
  { limit: 'expiresAt', value: '2031-03-15T12:00:09Z', status: 401, code: 'key_expired' },
]

for (const { limit, value, status, code } of BLOCKS) {
  test(`${limit} is set, and lifted, for the very next request, at each scope`, async () => {
    for (const scope of SCOPES) {
      const account = await mesh.account()
      assert.equal((await send(mesh, account.key, chat())).status, 200)
      const { requests } = mesh.simulator.stats()
      await setLimits(mesh, scope, account, { [limit]: value })
      const refused = await send(mesh, account.key, chat())
      assert.equal(refused.status, status, `${scope}: ${refused.text}`)
      assert.equal(refused.json.error.code, code)
      if (status === 402 || status === 429) {
        const { metadata } = refused.json.error
        assert.deepEqual([metadata.scope, metadata.limit], [scope, limit])
      }
      assert.equal(mesh.simulator.stats().requests, requests, 'the refused call reached the upstream')
      await setLimits(mesh, scope, account, { [limit]: null })
      assert.equal((await send(mesh, account.key, chat())).status, 200, scope)
    }
  })
}

test('the scope chat is taken, and given back, for the very next request', async () => {
  const account = await mesh.account()
  const setScopes = (scopes: readonly string[]) =>
    mesh.request('PATCH', `/v1/api-keys/${account.keyId}`, { key: ADMIN_KEY, body: { scopes } })
  assert.equal((await send(mesh, account.key, chat())).status, 200)
  const { requests } = mesh.simulator.stats()
  await setScopes(['usage'])
  const refused = await send(mesh, account.key, chat())
  assert.deepEqual([refused.status, refused.json.error.code], [403, 'insufficient_scope'])
  assert.equal(mesh.simulator.stats().requests, requests)
  await setScopes(['chat'])
  assert.equal((await send(mesh, account.key, chat())).status, 200)
})

function headersOf({ headers }: Answered, names: readonly string[]): (string | null)[] {
  return names.map((name) => headers.get(name))
}

const REQUEST_HEADERS = ['limit', 'remaining', 'reset'].map((what) => `x-ratelimit-${what}-requests`)
const TOKEN_HEADERS = ['limit', 'remaining', 'reset'].map((what) => `x-ratelimit-${what}-tokens`)

async function inParallel(account: TestAccount, count: number, body = chat()): Promise<Answered[]> {
  return await Promise.all(Array.from({ length: count }, () => send(mesh, account.key, body)))
}

test('requestsPerMinute lets exactly so many through, says so in headers, and begins anew with the minute', async () => {
  const account = await mesh.account({ limits: { requestsPerMinute: 3 } })
  const answers = await inParallel(account, 20)
  const served = answers.filter(({ status }) => status === 200)
  const refused = answers.filter(({ status }) => status === 429)
  assert.deepEqual([served.length, refused.length], [3, 17])
  assert.deepEqual(served.map((answer) => headersOf(answer, REQUEST_HEADERS)).sort(), [
    ['3', '0', '50s'],
    ['3', '1', '50s'],
    ['3', '2', '50s'],
  ])
  for (const answer of refused) {
    assert.equal(answer.json.error.code, 'rate_limit_exceeded')
    assert.deepEqual(headersOf(answer, ['retry-after', 'retry-after-ms', 'x-should-retry']), [
      '50',
      '50000',
      null,
    ])
    assert.deepEqual(headersOf(answer, REQUEST_HEADERS), ['3', '0', '50s'])
  }
  await setClock(mesh.database, '2031-03-15T12:01:00Z')
  assert.equal((await send(mesh, account.key, chat())).status, 200)
})

test('tokensPerMinute counts what a call may use while it runs, and what it used when it has ended', async () => {
  const account = await mesh.account({ limits: { tokensPerMinute: 1_000 } })
  const body = chat('tokens=100', { max_tokens: 100 })
  const first = await send(mesh, account.key, body)
  assert.equal(first.status, 200)
  const { usage } = first.json
  const heldTokens = 1_000 - Number(first.headers.get('x-ratelimit-remaining-tokens'))
  assert.ok(heldTokens > usage.total_tokens)
  const second = await send(mesh, account.key, body)
  assert.deepEqual(headersOf(second, TOKEN_HEADERS), [
    '1000',
    String(1_000 - usage.total_tokens - heldTokens),
    '60s',
  ])
  const answers = await inParallel(account, 20, body)
  const served = answers.filter(({ status }) => status === 200)
  const refused = answers.filter(({ status }) => status === 429)
  assert.equal(served.length + refused.length, 20)
  assert.ok(refused.length > 0)
  const used = [first, second, ...served].reduce((sum, { json }) => sum + json.usage.total_tokens, 0)
  assert.ok(used <= 1_000, `${used} tokens were used in a minute`)
  for (const answer of refused) {
    assert.equal(answer.json.error.metadata.limit, 'tokensPerMinute')
    assert.deepEqual(headersOf(answer, ['retry-after', 'x-ratelimit-limit-tokens']), ['60', '1000'])
  }
})

test('maxConcurrentRequests lets another call run as soon as one has ended', async () => {
  const account = await mesh.account({ limits: { maxConcurrentRequests: 2 } })
  const running = [0, 1].map(() => send(mesh, account.key, chat('hold')))
  await until('two run', () => mesh.simulator.stats().held === 2)
  for (const answer of await inParallel(account, 5)) {
    assert.equal(answer.status, 429)
    assert.equal(answer.json.error.code, 'too_many_concurrent')
    assert.equal(answer.headers.get('retry-after'), '1')
  }
  mesh.simulator.release()
  for (const { status } of await Promise.all(running)) assert.equal(status, 200)
  assert.equal((await send(mesh, account.key, chat())).status, 200)
})

test('windows end with the day and the month in UTC; a total never does', async () => {
  const steps = [
    { limit: 'dailyUsdLimit', before: '2031-03-30T23:59:59Z', after: '2031-03-31T00:00:00Z' },
    { limit: 'monthlyUsdLimit', before: '2031-03-31T23:59:59Z', after: '2031-04-01T00:00:00Z' },
    { limit: 'totalUsdLimit', before: '2031-04-01T00:00:00Z', after: '2032-04-01T00:00:00Z' },
  ]
  for (const { limit, before: moment, after: later } of steps) {
    await setClock(mesh.database, moment)
    const account = await mesh.account()
    const body = chat('tokens=50', { max_tokens: 50 })
    const probe = await eventOf(mesh, account.key, requestIdOf(await send(mesh, account.key, body)))
    await setLimits(mesh, 'key', account, { [limit]: probe.cost.heldUsd })
    const refused = await send(mesh, account.key, body)
    assert.equal(refused.status, 402, limit)
    assert.equal(refused.json.error.metadata.limit, limit)
    await setClock(mesh.database, later)
    const next = await send(mesh, account.key, body)
    assert.equal(next.status, limit === 'totalUsdLimit' ? 402 : 200, limit)
  }
})

test('refusals leave no more than a bounded number of events a minute for each key', async () => {
  const account = await mesh.account()
  const refused = await inParallel(account, 150, { ...chat(), model: 'mesh/no-such-model' })
  assert.ok(refused.every(({ status }) => status === 404))
  const other = await mesh.account()
  const last = await send(mesh, other.key, { ...chat(), model: 'mesh/no-such-model' })
  await eventOf(mesh, other.key, requestIdOf(last))
  const { rowCount } = await mesh.database.pool.query('select from events where account_id = $1', [
    account.id,
  ])
  // A minute may have begun in between.
  assert.ok(rowCount === 60 || rowCount === 120, `${rowCount} rows`)
})
