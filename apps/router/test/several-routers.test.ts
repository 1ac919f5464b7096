import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { formatUsd } from '@mesh/catalog/money.ts'
import { verifyLedger } from '../src/ledger/verify.ts'
import { verifyReceipt } from '../src/records/verify-receipt.ts'
import { StartupError } from '../src/storage/startup-error.ts'
import { setClock } from './support/books-fixture.ts'
import {
  assertRecordsAgree,
  bookOf,
  chargedNano,
  chat,
  chunksOf,
  eventOf,
  hasBegun,
  holdsOf,
  nano,
  open,
  requestIdOf,
  send,
} from './support/calls.ts'
import { newRouterHome, type RouterProcess } from './support/router-process.ts'
import { createTestDatabase, type TestDatabase } from './support/test-database.ts'
import {
  ADMIN_KEY,
  type Answered,
  makeAccount,
  newSigningKey,
  startTestRouter,
  type TestAccount,
  type TestRouter,
} from './support/test-router.ts'
import { until } from './support/until.ts'

const CALLS = 200
const AFFORDED = 10
const OUTPUT_TOKENS = 64

/** Three routers on one database, with one signing key. */
let shared: TestDatabase
let routers: readonly TestRouter[]
let mesh: TestRouter
/** What one call of a swarm holds. */
let holdNano: bigint
before(async () => {
  shared = await createTestDatabase()
  routers = await Promise.all([0, 1, 2].map(() => startTestRouter({ on: shared })))
  mesh = at(0)
  // The books' clock stands, so that no minute, day or month ends between two calls.
  await setClock(mesh.database, '2031-03-15T12:00:10Z')
  const account = await mesh.account()
  const probe = await send(mesh, account.key, swarmBody(0))
  holdNano = nano((await eventOf(mesh, account.key, requestIdOf(probe))).cost.heldUsd)
})
after(async () => {
  await Promise.all(routers.map((router) => router.stop()))
  await shared.close()
})

/** The router that a call goes to, in turn. */
function at(index: number): TestRouter {
  const router = routers[index % 3]
  assert.ok(router)
  return router
}

/** Every second call is streamed. */
function swarmBody(index: number, steering = ''): Record<string, unknown> {
  return chat(`tokens=${OUTPUT_TOKENS}${steering}`, { max_tokens: OUTPUT_TOKENS, stream: index % 2 === 1 })
}

function sum(amounts: readonly bigint[]): bigint {
  return amounts.reduce((total, amount) => total + amount, 0n)
}

/** What all providers together were asked, and how many of their answers stand still. */
function upstream(): { readonly requests: number; readonly held: number } {
  const stats = routers.map(({ simulator }) => simulator.stats())
  const total = (of: 'requests' | 'held') => stats.reduce((all, each) => all + each[of], 0)
  return { requests: total('requests'), held: total('held') }
}

function releaseAll(): void {
  for (const { simulator } of routers) simulator.release()
}

interface Swarm {
  readonly served: readonly Answered[]
  readonly refused: readonly Answered[]
}

/** Sends calls to all routers at once whose answers wait until all others were refused. */
async function swarm(account: TestAccount, count: number, body = swarmBody): Promise<Swarm> {
  const before = upstream()
  let refusals = 0
  const calls = Array.from({ length: count }, async (_, index) => {
    const answer = await send(at(index), account.key, body(index, ',hold'))
    if (answer.status !== 200) refusals++
    return answer
  })
  const allSent = () => refusals + upstream().held >= count
  await until('every call is held or refused', allSent).finally(releaseAll)
  const answers = await Promise.all(calls)
  const served = answers.filter(({ status }) => status === 200)
  assert.equal(upstream().requests - before.requests, served.length, 'a refused call reached the upstream')
  return { served, refused: answers.filter(({ status }) => status !== 200) }
}

test(`${CALLS} calls at once over three routers on a balance for ${AFFORDED}: ten run, and the rest costs nothing`, async () => {
  const account = await mesh.account({ creditUsd: formatUsd(BigInt(AFFORDED) * holdNano) })
  const { served, refused } = await swarm(account, CALLS)
  assert.equal(served.length, AFFORDED)
  for (const { status, json, text } of refused) {
    assert.deepEqual([status, json.error.code], [402, 'insufficient_credits'], text)
  }
  const spent = sum(served.map(chargedNano))
  assert.ok(spent > 0n && spent <= BigInt(AFFORDED) * holdNano)
  const left = { balanceNano: BigInt(AFFORDED) * holdNano - spent, heldNano: 0n }
  assert.deepEqual(await bookOf(mesh.database, account.id), left)
})

for (const limit of ['dailyUsdLimit', 'totalUsdLimit']) {
  test(`a ${limit} for ${AFFORDED} is exact over three routers`, async () => {
    const account = await mesh.account({ limits: { [limit]: formatUsd(BigInt(AFFORDED) * holdNano) } })
    const { served, refused } = await swarm(account, 60)
    assert.equal(served.length, AFFORDED)
    for (const { status, json } of refused) {
      assert.deepEqual([status, json.error.metadata.limit], [402, limit])
    }
  })
}

test('calls in motion over three routers never spend more than there is, and all records agree', async () => {
  const budgetNano = BigInt(AFFORDED) * holdNano
  const account = await mesh.account({ creditUsd: formatUsd(budgetNano) })
  const requestsBefore = upstream().requests
  const answers = await Promise.all(
    Array.from({ length: 120 }, (_, index) => send(at(index), account.key, swarmBody(index))),
  )
  const served = answers.filter(({ status }) => status === 200)
  assert.ok(served.length >= AFFORDED)
  assert.equal(upstream().requests - requestsBefore, served.length)
  const spent = sum(served.map(chargedNano))
  assert.deepEqual(await bookOf(mesh.database, account.id), { balanceNano: budgetNano - spent, heldNano: 0n })
  for (const [index, answer] of served.entries()) {
    await assertRecordsAgree(at(index + 1), account, requestIdOf(answer))
  }
})

test('requestsPerMinute lets exactly so many through, whichever router they ask', async () => {
  const account = await mesh.account({ limits: { requestsPerMinute: 7 } })
  const { served, refused } = await swarm(account, 60)
  assert.equal(served.length, 7)
  assert.ok(refused.every(({ status, json }) => status === 429 && json.error.code === 'rate_limit_exceeded'))
})

test('tokensPerMinute is never passed, whichever router they ask', async () => {
  const account = await mesh.account({ limits: { tokensPerMinute: 1_000 } })
  const answers = await Promise.all(
    Array.from({ length: 45 }, (_, index) =>
      send(at(index), account.key, chat('tokens=100', { max_tokens: 100 })),
    ),
  )
  const served = answers.filter(({ status }) => status === 200)
  const used = served.reduce((total, { json }) => total + json.usage.total_tokens, 0)
  assert.ok(served.length > 1 && used <= 1_000, `${used} tokens were used in a minute`)
  for (const { status, json } of answers.filter((answer) => answer.status !== 200)) {
    assert.deepEqual([status, json.error.metadata.limit], [429, 'tokensPerMinute'])
  }
})

test('maxConcurrentRequests counts the calls of all routers, and a place that is left can be had on any', async () => {
  const account = await mesh.account({ limits: { maxConcurrentRequests: 4 } })
  const { served, refused } = await swarm(account, 30)
  assert.equal(served.length, 4)
  assert.ok(refused.every(({ status, json }) => status === 429 && json.error.code === 'too_many_concurrent'))
  assert.deepEqual((await swarm(account, 4)).refused, [])
})

const ONCE = { 'idempotency-key': 'once' }

test('one idempotency key on three routers at once: one runs, two are told so, and none is charged twice', async () => {
  const account = await mesh.account()
  const body = chat('tokens=20,hold')
  const before = upstream()
  let refusals = 0
  const calls = [0, 1, 2].map(async (index) => {
    const answer = await send(at(index), account.key, body, ONCE)
    if (answer.status !== 200) refusals++
    return answer
  })
  await until('two are refused and one is held', () => refusals === 2 && upstream().held === 1)
  releaseAll()
  const answers = await Promise.all(calls)
  const [served] = answers.filter(({ status }) => status === 200)
  assert.ok(served)
  for (const { status, json, headers } of answers.filter((answer) => answer !== served)) {
    assert.deepEqual([status, json.error.code], [409, 'idempotency_in_progress'])
    assert.equal(headers.get('x-should-retry'), 'false')
  }
  for (const router of routers) {
    const again = await send(router, account.key, body, ONCE)
    assert.deepEqual([again.status, again.json.error.code], [409, 'idempotency_replay'])
    assert.equal(again.json.error.metadata.receiptId, served.headers.get('x-mesh-receipt-id'))
    const other = await send(router, account.key, chat('tokens=21'), ONCE)
    assert.deepEqual([other.status, other.json.error.code], [409, 'idempotency_conflict'])
  }
  assert.equal(upstream().requests, before.requests + 1)
  const { balanceNano } = await bookOf(mesh.database, account.id)
  assert.equal(balanceNano, nano('10.00') - chargedNano(served))
})

const CALL = chat('tokens=5')

/** Makes every router remember a key, as routers that have served it do. */
async function warm(key: string): Promise<void> {
  for (const router of routers) assert.equal((await send(router, key, CALL)).status, 200)
}

/** Asserts that the very next request is refused on each router, and reaches nobody. */
async function assertRefusedEverywhere(key: string, status: number, code: string): Promise<void> {
  const { requests } = upstream()
  for (const answer of await Promise.all(routers.map((router) => send(router, key, CALL)))) {
    assert.deepEqual([answer.status, answer.json.error.code], [status, code], answer.text)
  }
  assert.equal(upstream().requests, requests)
}

test('a deleted key is refused at the next request on every router, and its streams end everywhere within a second', async () => {
  const account = await mesh.account()
  await warm(account.key)
  const calls = routers.map((router) =>
    open(router, account.key, chat('tokens=5000,pace=20', { stream: true })),
  )
  await until('a stream flows on every router', () => calls.every(hasBegun))
  const deleted = await at(1).request('DELETE', `/v1/api-keys/${account.keyId}`, { key: ADMIN_KEY })
  assert.equal(deleted.status, 200)
  const ends = until('every stream ends', () => calls.every((call) => call.isEnded()), 1_000)
  await Promise.all([ends, assertRefusedEverywhere(account.key, 401, 'key_revoked')])

  await until('nothing is held', async () => (await holdsOf(mesh.database, account.id)) === 0)
  const { json } = await mesh.request('POST', '/v1/api-keys', {
    key: ADMIN_KEY,
    body: { name: 'Reader', accountId: account.id, livemode: false, scopes: ['usage'] },
  })
  const reader = { ...account, key: json.secret }
  for (const [index, call] of calls.entries()) {
    const chunks = chunksOf(call.text())
    assert.ok(!call.text().includes('[DONE]'))
    assert.equal(chunks.at(-1).error.code, 'key_revoked')
    const event = await assertRecordsAgree(at(index + 1), reader, chunks[0].id)
    assert.ok(nano(event.cost.totalUsd) > 0n, 'what the provider had produced is paid')
  }
})

test('of three rotations at once one makes the successor, which works everywhere; the old key nowhere', async () => {
  const account = await mesh.account({ limits: { monthlyRequestLimit: 6 } })
  await warm(account.key)
  const path = `/v1/api-keys/${account.keyId}/rotate`
  const answers = await Promise.all(
    routers.map((router) => router.request('POST', path, { key: ADMIN_KEY, body: {} })),
  )
  assert.deepEqual(answers.map(({ status }) => status).toSorted(), [201, 409, 409])
  await assertRefusedEverywhere(account.key, 401, 'key_revoked')
  const successor = answers.find(({ status }) => status === 201)?.json.secret
  await warm(successor)
  await assertRefusedEverywhere(successor, 402, 'limit_exceeded')
})

test('a suspended account is refused on every router at once, and served again at once', async () => {
  const account = await mesh.account()
  await warm(account.key)
  const path = `/v1/accounts/${account.id}`
  for (const [index, status] of ['suspended', 'active'].entries()) {
    const changed = await at(index).request('PATCH', path, { key: ADMIN_KEY, body: { status } })
    assert.equal(changed.status, 200)
    if (status === 'suspended') await assertRefusedEverywhere(account.key, 403, 'account_suspended')
    else await warm(account.key)
  }
})

test('a receipt is the same bytes on every router, also where all read it at once for the first time', async () => {
  const account = await mesh.account()
  const receiptId = (await send(mesh, account.key, CALL)).headers.get('x-mesh-receipt-id')
  const read = (router: TestRouter) =>
    router.request('GET', `/v1/receipts/${receiptId}?format=jws`, { key: account.key })
  const copies = (await Promise.all(routers.map(read))).map(({ text }) => text)
  assert.equal(new Set([...copies, (await read(at(2))).text]).size, 1)
  for (const router of routers) {
    const { json } = await router.request('GET', '/.well-known/mesh-receipt-keys.json')
    assert.equal(json.keys.length, 1)
    const verdict = verifyReceipt(copies[0] ?? '', json)
    assert.ok(verdict.valid)
    assert.equal(verdict.claims.receiptId, receiptId)
  }
})

test('a router with another signing key is refused while others run; afterwards the key can be changed', async (t) => {
  const testDatabase = await createTestDatabase()
  const { scratch } = await newRouterHome(t)
  const keyFile = join(scratch, 'other-key.pem')
  await writeFile(keyFile, newSigningKey())
  const running = new Set<TestRouter>()
  const start = async (environment: Record<string, string> = {}): Promise<TestRouter> => {
    const router = await startTestRouter({ on: testDatabase, environment })
    running.add(router)
    return router
  }
  t.after(async () => {
    await Promise.all([...running].map((router) => router.stop()))
    await testDatabase.close()
  })

  const first = await start()
  await assert.rejects(start({ MESH_SIGNING_KEY_FILE: keyFile }), (error) => {
    assert.ok(error instanceof StartupError)
    assert.match(error.message, /^Another router on this database signs with another key: .*\.$/)
    return true
  })
  const account = await first.account()
  const receiptId = (await send(first, account.key, CALL)).headers.get('x-mesh-receipt-id')
  const path = `/v1/receipts/${receiptId}?format=jws`
  const old = await first.request('GET', path, { key: account.key })
  assert.equal((await first.request('GET', '/.well-known/mesh-receipt-keys.json')).json.keys.length, 1)
  running.delete(first)
  await first.stop()

  const second = await start({ MESH_SIGNING_KEY_FILE: keyFile })
  const { json } = await second.request('GET', '/.well-known/mesh-receipt-keys.json')
  assert.equal(json.keys.length, 2, 'the old key stays published')
  assert.equal((await second.request('GET', path, { key: account.key })).text, old.text)
  assert.ok(verifyReceipt(old.text, json).valid)
})

test('the books of three routers are in order', async () => {
  await assertInOrder(shared)
})

async function assertInOrder(database: TestDatabase): Promise<void> {
  const differences: string[] = []
  for await (const { sentence } of verifyLedger(database.database(2))) differences.push(sentence)
  assert.deepEqual(differences, [])
  const { rows } = await database.database(1).pool.query('select call_id from holds')
  assert.deepEqual(rows, [])
}

const CALLERS = 8

/** What came of the calls of one caller, who calls until he is told to stop or his router is gone. */
interface Called {
  readonly ends: Answered[]
  readonly others: Answered[]
  /** Connections that broke or were refused. */
  broken: number
}

interface Calling {
  /** Grows as they call. */
  readonly called: Called
  readonly over: Promise<void>
}

function keepCalling(router: RouterProcess, key: string, isOver: () => boolean): Calling {
  const called: Called = { ends: [], others: [], broken: 0 }
  const caller = async (_: unknown, index: number): Promise<void> => {
    while (!isOver()) {
      const body = chat(`tokens=30,pace=${index % 5}`, { stream: index % 2 === 0, usage: { include: true } })
      const answer = await send(router, key, body).catch(() => undefined)
      if (answer === undefined) {
        called.broken++
        return
      }
      const isWhole = answer.status === 200 && (index % 2 === 1 || answer.text.endsWith('data: [DONE]\n\n'))
      ;(isWhole ? called.ends : called.others).push(answer)
      if (answer.status !== 200) return
    }
  }
  return { called, over: Promise.all(Array.from({ length: CALLERS }, caller)).then(() => undefined) }
}

const ENDINGS = [
  { signal: 'SIGTERM', what: 'drained' },
  { signal: 'SIGKILL', what: 'killed' },
] as const

test('of two router processes under load one is drained, one killed: the other is not disturbed, nothing is lost', async (t) => {
  const testDatabase = await createTestDatabase()
  t.after(() => testDatabase.close())
  const [home, otherHome] = [await newRouterHome(t, testDatabase), await newRouterHome(t, testDatabase)]
  const policy = join(home.scratch, 'policy.json')
  await writeFile(policy, JSON.stringify({ holds: { lifetimeMs: 2_000 } }))
  const environment = { MESH_SETTINGS: policy }
  const [steady, firstOther] = await Promise.all([home.start(environment), otherHome.start(environment)])
  const account = await makeAccount(steady.request, { creditUsd: '100.00' }, steady.adminKey)
  const ends: Answered[] = []
  let other = firstOther
  for (const { signal, what } of ENDINGS) {
    let isOver = false
    t.after(() => {
      isOver = true
    })
    const watched = keepCalling(steady, account.key, () => isOver)
    const ended = keepCalling(other, account.key, () => isOver)
    const { pool } = testDatabase.database(1)
    await until('both routers run calls', async () => {
      const { rows } = await pool.query('select distinct router_id from holds')
      return rows.length === 2
    })
    const finished = await other.kill(signal)
    assert.equal(finished.code, signal === 'SIGTERM' ? 0 : null)
    await ended.over
    const [kept, left] = [watched.called, ended.called]
    // Each of its callers may have had a call under way when the other went, and gets another answered after that.
    const endsBefore = kept.ends.length
    await until('the other router serves on', () => kept.ends.length > endsBefore + CALLERS)
    isOver = true
    await watched.over
    assert.deepEqual([kept.broken, kept.others.length], [0, 0], 'the other router was disturbed')
    if (what === 'drained') {
      for (const answer of left.others) assert.equal(answer.status, 503, answer.text)
      assert.ok(left.ends.length > 0)
    }
    ends.push(...kept.ends, ...left.ends)
    if (what === 'drained') other = await otherHome.start(environment)
  }
  await until('what the dead one held is released', async () => {
    return (await holdsOf(testDatabase.database(1), account.id)) === 0
  })
  await assertInOrder(testDatabase)
  const charged = await steady.request('GET', '/v1/accounts/me', { key: account.key })
  assert.equal(charged.json.test.heldUsd, '0.000000000')
  await assertChargedAsTold(testDatabase, ends)
  assert.equal((await steady.kill('SIGTERM')).code, 0)
})

/** Every end that was seen is in the ledger once, with the amount that its caller was told. */
async function assertChargedAsTold(database: TestDatabase, ends: readonly Answered[]): Promise<void> {
  const { rows } = await database
    .database(1)
    .pool.query<{ call_id: string; amount_nano: bigint }>(
      `select call_id, amount_nano from ledger_entries where ledger_account = 'customer' and kind = 'usage'`,
    )
  const byCall = Map.groupBy(rows, ({ call_id }) => call_id)
  for (const answer of ends) {
    const id = requestIdOf(answer)
    assert.deepEqual(
      byCall.get(id)?.map(({ amount_nano }) => -amount_nano),
      [chargedNano(answer)],
      id,
    )
  }
}
