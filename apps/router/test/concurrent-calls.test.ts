import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { bookOf, chat, holdsOf, type OpenCall, open, send } from './support/calls.ts'
import { SCOPES, setLimits } from './support/set-limits.ts'
import { ADMIN_KEY, startTestRouter, type TestAccount, type TestRouter } from './support/test-router.ts'
import { until } from './support/until.ts'

const DEADLINE_MS = 4_000
const SONNET = 'mesh/claude-sonnet-4.5'

let mesh: TestRouter
before(async () => {
  mesh = await startTestRouter({ policy: { calls: { deadlineMs: DEADLINE_MS } } })
})
after(() => mesh.stop())

for (const scope of SCOPES) {
  test(`maxConcurrentRequests of the ${scope} is exact in a swarm, and every slot comes back`, async () => {
    const limit = 3
    const account = await mesh.account({ creditUsd: '100.00' })
    await setLimits(mesh, scope, account, { maxConcurrentRequests: limit })
    const { requests } = mesh.simulator.stats()
    for (let round = 1; round <= 3; round++) {
      const statuses: number[] = []
      const swarm = Array.from({ length: 30 }, async (_, at) => {
        const answer = await send(mesh, account.key, chat('tokens=20,hold', { stream: at % 2 === 0 }))
        statuses.push(answer.status)
        if (answer.status === 200) return
        assert.equal(answer.json.error.code, 'too_many_concurrent')
        assert.deepEqual(answer.json.error.metadata, { scope, limit: 'maxConcurrentRequests' })
        assert.equal(answer.headers.get('retry-after'), '1')
        assert.equal(answer.headers.get('x-should-retry'), null)
      })
      await until('all but those that may run are refused', () => statuses.length === 30 - limit)
      assert.ok(statuses.every((status) => status === 429))
      await mesh.simulator.until(({ held }) => held === limit)
      assert.equal(mesh.simulator.stats().requests, requests + round * limit)
      mesh.simulator.release()
      await Promise.all(swarm)
    }
  })
}

/** How a call can end. Each makes one and resolves when it is over for its caller. */
const ENDINGS: Readonly<Record<string, (account: TestAccount) => Promise<void>>> = {
  'a whole answer': answered('tokens=20'),
  'a whole stream': answered('tokens=20', { stream: true }),
  'an empty answer': answered('empty'),
  'a provider that fails': answered('server_error'),
  'a provider that is overloaded': answered('overloaded'),
  'an answer in one piece that breaks off': answered('cut_stream', { max_tokens: 50 }),
  'a stream that breaks off': answered('tokens=50,cut_stream=20', { stream: true }),
  'a stream with an error in it': answered('tokens=50,error_mid=20', { stream: true }),
  'an answer that credit cannot carry': answered('tokens=20000', { model: SONNET, stream: true }),
  'a stream whose caller hangs up': left((call) => call.destroy()),
  'a stream whose caller resets the connection': left((call) => call.reset()),
  'a stream whose caller closes his side': left((call) => call.halfClose()),
  'a stream that reaches the deadline': answered('tokens=50,stall=20', { stream: true }),
  'a stream whose key is revoked': async (account) => {
    const made = await mesh.request('POST', '/v1/api-keys', { key: account.key, body: { name: 'Other' } })
    const call = open(mesh, made.json.secret, chat('tokens=50,stall=20', { stream: true }))
    await until('the stream has begun', () => call.text().includes('content'))
    await mesh.request('DELETE', `/v1/api-keys/${made.json.id}`, { key: ADMIN_KEY })
    await until('it has ended', () => call.text().includes('key_revoked'))
  },
}

function answered(simulate: string, more: object = {}): (account: TestAccount) => Promise<void> {
  return async ({ key }) => {
    const answer = await send(mesh, key, chat(simulate, { ...more }))
    assert.notEqual(answer.status, 429)
  }
}

function left(leave: (call: OpenCall) => void): (account: TestAccount) => Promise<void> {
  return async ({ key }) => {
    const call = open(mesh, key, chat('tokens=50,stall=20', { stream: true }))
    await until('the stream has begun', () => call.text().includes('content'))
    leave(call)
    await until('the connection has ended', () => call.isEnded())
  }
}

test('a slot comes back however its call ends, and there is never one too many', async () => {
  const ended = Object.entries(ENDINGS).map(async ([name, end]) => {
    const account = await mesh.account({ creditUsd: '0.07' })
    await setLimits(mesh, 'account', account, { maxConcurrentRequests: 1 })
    await end(account)
    // Who has left may be ahead of his own settlement; everybody else has his slot with the end of his answer.
    if (/caller|revoked/.test(name)) {
      await until(
        `nothing is held after ${name}`,
        async () => (await holdsOf(mesh.database, account.id)) === 0,
      )
    }
    const next = open(mesh, account.key, chat('tokens=20,stall=4', { stream: true, max_tokens: 20 }))
    await until(`another call runs after ${name}`, () => next.text().includes('content') || next.isEnded())
    assert.equal((await next.head).statusCode, 200, `after ${name}: ${next.text()}`)
    const refused = await send(mesh, account.key, chat('tokens=20', { max_tokens: 20 }))
    assert.deepEqual([refused.status, refused.json.error.code], [429, 'too_many_concurrent'], name)
    next.destroy()
    await until('nothing is held', async () => (await bookOf(mesh.database, account.id)).heldNano === 0n)
  })
  await Promise.all(ended)
})

test('one account never fills a router: it is told to wait, and others get through', async (t) => {
  const small = await startTestRouter({ policy: { calls: { concurrencyMax: 8, accountSharePercent: 25 } } })
  t.after(() => small.stop())
  const [crowd, ...others] = await Promise.all(Array.from({ length: 5 }, () => small.account()))
  assert.ok(crowd)
  const holdOf = (key: string) => [0, 1].map(() => send(small, key, chat('hold')))
  const running = holdOf(crowd.key)
  await until('two run', () => small.simulator.stats().held === 2)
  for (const refused of await Promise.all(Array.from({ length: 10 }, () => send(small, crowd.key, chat())))) {
    assert.equal(refused.status, 429)
    assert.equal(refused.json.error.code, 'too_many_concurrent')
    assert.equal(refused.headers.get('retry-after'), '1')
  }
  for (const { key } of others) assert.equal((await send(small, key, chat())).status, 200)
  // Three others fill their shares, and with them the router.
  running.push(...others.slice(0, 3).flatMap(({ key }) => holdOf(key)))
  await until('eight run', () => small.simulator.stats().held === 8)
  const full = await send(small, others[3]?.key ?? '', chat())
  assert.deepEqual([full.status, full.json.error.code], [503, 'overloaded'])
  small.simulator.release()
  for (const { status } of await Promise.all(running)) assert.equal(status, 200)
  for (const { key } of [crowd, ...others]) assert.equal((await send(small, key, chat())).status, 200)
})
