import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { AccountId, KeyId, ProjectId } from '../src/ids.ts'
import { setClock } from './support/books-fixture.ts'
import {
  assertRecordsAgree,
  bookOf,
  chat,
  chunksOf,
  hasBegun,
  holdsOf,
  nano,
  type OpenCall,
  open,
  requestIdOf,
  send,
} from './support/calls.ts'
import { createTestDatabase, type TestDatabase } from './support/test-database.ts'
import {
  ADMIN_KEY,
  type Answered,
  startTestRouter,
  type TestAccount,
  type TestRouter,
} from './support/test-router.ts'
import { until } from './support/until.ts'

/** Two routers that share their books: what one is told, the other must obey. */
let shared: TestDatabase
let mesh: TestRouter
let other: TestRouter
before(async () => {
  shared = await createTestDatabase()
  mesh = await startTestRouter({ on: shared })
  other = await startTestRouter({ on: shared })
})
after(async () => {
  await Promise.all([mesh.stop(), other.stop()])
  await shared.close()
})

const CALL = chat('tokens=5')

async function makeKey(key: string, body: object = {}): Promise<{ id: string; secret: string }> {
  const made = await mesh.request('POST', '/v1/api-keys', { key, body: { name: 'Made', ...body } })
  assert.equal(made.status, 201, made.text)
  return { id: made.json.id, secret: made.json.secret }
}

async function revoke(id: string, at: TestRouter = mesh): Promise<void> {
  assert.equal((await at.request('DELETE', `/v1/api-keys/${id}`, { key: ADMIN_KEY })).status, 200)
}

function rotate(id: string, body: object = {}, at: TestRouter = mesh): Promise<Answered> {
  return at.request('POST', `/v1/api-keys/${id}/rotate`, { key: ADMIN_KEY, body })
}

function assertRevoked({ status, json, text, headers }: Answered): void {
  assert.equal(status, 401, text)
  assert.equal(json.error.code, 'key_revoked')
  assert.equal(headers.get('x-should-retry'), 'false')
}

/** Makes a router remember a key, as one that has served it does. */
async function warm(key: string): Promise<void> {
  for (const router of [mesh, other]) assert.equal((await send(router, key, CALL)).status, 200)
}

test('the next 20 requests of a revoked key, and of one that it made, are refused on every router', async () => {
  const account = await mesh.account()
  const child = await makeKey(account.key)
  await warm(account.key)
  await warm(child.secret)
  const before = [mesh, other].map(({ simulator }) => simulator.stats().requests)
  await revoke(account.keyId)
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, index) =>
      send(index % 2 === 0 ? mesh : other, index % 4 < 2 ? account.key : child.secret, {
        ...CALL,
        stream: index % 3 === 0,
      }),
    ),
  )
  answers.forEach(assertRevoked)
  assert.deepEqual(
    [mesh, other].map(({ simulator }) => simulator.stats().requests),
    before,
    'a call of a revoked key reached the upstream',
  )
  assertRevoked(await mesh.request('GET', '/v1/logs', { key: account.key }))
})

test('a router that was told nothing refuses all the same: the hold asks the database', async () => {
  const account = await mesh.account()
  await warm(account.key)
  const { query } = mesh.database
  const allow = async (models: string[] | null) => {
    await query
      .updateTable('limits')
      .set({ allowed_models: models })
      .where('subject_id', '=', account.projectId as ProjectId)
      .execute()
    await query
      .updateTable('accounts')
      .set((set) => ({ policy_version: set('policy_version', '+', 1n) }))
      .where('id', '=', account.id as AccountId)
      .execute()
  }
  await allow(['mesh/claude-haiku-4.5'])
  for (const router of [mesh, other]) {
    assert.equal((await send(router, account.key, CALL)).json.error.code, 'model_not_allowed')
  }
  await allow(null)
  await warm(account.key)
  await query
    .updateTable('api_keys')
    .set({ revoked_at: new Date() })
    .where('id', '=', account.keyId as KeyId)
    .execute()
  for (const router of [mesh, other]) assertRevoked(await send(router, account.key, CALL))
})

test('a suspended account is refused at once, and works again at once', async () => {
  const account = await mesh.account()
  await warm(account.key)
  const setStatus = (status: string) =>
    mesh.request('PATCH', `/v1/accounts/${account.id}`, { key: ADMIN_KEY, body: { status } })
  await setStatus('suspended')
  for (const router of [mesh, other]) {
    const { status, json } = await send(router, account.key, CALL)
    assert.deepEqual([status, json.error.code], [403, 'account_suspended'])
  }
  await setStatus('active')
  await warm(account.key)
})

/** Waits for a revoked call's end, which must come within a second. */
async function endOf(call: OpenCall): Promise<void> {
  try {
    await until('the revoked call ends', () => call.isEnded(), 1_000)
  } finally {
    call.destroy()
  }
}

const OPEN_STREAMS = [
  { what: 'stands still', steering: 'tokens=100,hold=20' },
  { what: 'flows', steering: 'tokens=5000,pace=20' },
] as const

for (const { what, steering } of OPEN_STREAMS) {
  test(`a stream that ${what} ends with an error chunk when its key is revoked on another router`, async () => {
    const account = await mesh.account()
    const child = await makeKey(account.key)
    const calls = [account.key, child.secret].map((key) =>
      open(mesh, key, chat(steering, { stream: true, stream_options: { include_usage: true } })),
    )
    await until('both streams flow', () => calls.every(hasBegun))
    await revoke(account.keyId, other)
    await Promise.all(calls.map(endOf))
    for (const call of calls) {
      assert.ok(!call.text().includes('[DONE]'))
      const last = chunksOf(call.text()).at(-1)
      assert.equal(last.error.code, 'key_revoked')
      assert.equal(last.choices[0]?.finish_reason, 'error')
      assert.match(last.error.metadata.receipt_id, /^rcpt_/)
    }
    mesh.simulator.release()
    await until('nothing is held', async () => (await holdsOf(mesh.database, account.id)) === 0)
    for (const call of calls) {
      const id = requestIdOf({ headers: new Headers({ 'x-request-id': chunksOf(call.text())[0].id }) })
      await assertSettled(account, id)
    }
    const { heldNano, balanceNano } = await bookOf(mesh.database, account.id)
    assert.equal(heldNano, 0n)
    assert.ok(balanceNano > 0n)
  })
}

test('a stream that began within the grace of a rotation ends when what is left of its lineage is revoked', async () => {
  const account = await mesh.account()
  const call = open(mesh, account.key, chat('tokens=5000,pace=20', { stream: true }))
  await until('the stream flows', () => hasBegun(call))
  const { json } = await rotate(account.keyId, { graceSeconds: 1 })
  await until('the grace has ended', async () => (await send(mesh, account.key, CALL)).status === 401)
  assert.ok(!call.isEnded(), 'what began in time may go on')
  await revoke(json.id, other)
  await endOf(call)
  assert.equal(chunksOf(call.text()).at(-1).error.code, 'key_revoked')
  await until('nothing is held', async () => (await holdsOf(mesh.database, account.id)) === 0)
})

/** A revoked key can read nothing, so another key of the account reads what its call left. */
async function assertSettled(account: TestAccount, id: string): Promise<void> {
  const reading = await mesh.request('POST', '/v1/api-keys', {
    key: ADMIN_KEY,
    body: { name: 'Reader', accountId: account.id, livemode: false, scopes: ['usage'] },
  })
  const event = await assertRecordsAgree(mesh, { ...account, key: reading.json.secret }, id)
  assert.equal(event.errorCode, 'key_revoked')
  assert.equal(event.billingReason, 'client_disconnected')
  assert.ok(nano(event.cost.totalUsd) > 0n, 'what the provider had produced is paid')
}

test('a call that waits for its provider ends when its key is revoked, streamed or not', async () => {
  for (const stream of [false, true]) {
    const account = await mesh.account()
    const call = open(mesh, account.key, chat('tokens=100,hold', { stream }))
    await until('the provider is silent', () => mesh.simulator.stats().held === 1)
    await revoke(account.keyId)
    const head = await call.head
    await endOf(call)
    assert.equal(head.statusCode, 401)
    assert.equal(JSON.parse(call.text()).error.code, 'key_revoked')
    mesh.simulator.release()
    await until('nothing is held', async () => (await holdsOf(mesh.database, account.id)) === 0)
  }
})

test('of two rotations at once, on two routers, exactly one makes a successor; the old key stops', async () => {
  const account = await mesh.account()
  await warm(account.key)
  const answers = await Promise.all([rotate(account.keyId), rotate(account.keyId, {}, other)])
  const winner = answers.find(({ status }) => status === 201)
  const loser = answers.find(({ status }) => status === 409)
  assert.ok(winner && loser)
  assert.equal(loser.json.error.code, 'already_rotated')
  assert.equal(loser.json.error.metadata.successorId, winner.json.id)
  for (const router of [mesh, other]) assertRevoked(await send(router, account.key, CALL))
  await warm(winner.json.secret)
})

test('a rotated key works until its grace ends, and not a moment longer', async () => {
  const clocked = await startTestRouter()
  try {
    await setClock(clocked.database, '2031-03-15T12:00:00Z')
    const account = await clocked.account()
    assert.equal((await send(clocked, account.key, CALL)).status, 200)
    const successor = await rotate(account.keyId, { graceSeconds: 600 }, clocked)
    await setClock(clocked.database, '2031-03-15T12:09:59Z')
    assert.equal((await send(clocked, account.key, CALL)).status, 200)
    await setClock(clocked.database, '2031-03-15T12:10:00Z')
    assertRevoked(await send(clocked, account.key, CALL))
    assert.equal((await send(clocked, successor.json.secret, CALL)).status, 200)
  } finally {
    await clocked.stop()
  }
})

test('what a key has spent counts for its successor', async () => {
  const account = await mesh.account({ limits: { monthlyRequestLimit: 2 } })
  assert.equal((await send(mesh, account.key, CALL)).status, 200)
  const { json } = await rotate(account.keyId)
  assert.equal((await send(other, json.secret, CALL)).status, 200)
  const third = await send(mesh, json.secret, CALL)
  assert.deepEqual([third.status, third.json.error.metadata?.limit], [402, 'monthlyRequestLimit'])
})

test('a test key makes no live key and reads no live row', async () => {
  const { simulator } = mesh
  const environment = { OPENAI_API_KEY: 'sk-simulated', MESH_OPENAI_BASE_URL: simulator.baseUrl('openai') }
  const both = await startTestRouter({ on: shared, environment })
  try {
    const account = await both.account({ livemode: true })
    const tester = await both.request('POST', '/v1/api-keys', {
      key: account.key,
      body: { name: 'Tester', livemode: false, scopes: ['chat', 'usage', 'keys'] },
    })
    const call = await send(both, account.key, CALL)
    assert.equal(call.status, 200)
    const event = await assertRecordsAgree(both, account, requestIdOf(call))
    const paths = [
      `/v1/logs/${event.id}`,
      `/v1/receipts/${event.receiptId}`,
      `/v1/receipts/${event.receiptId}?format=jws`,
      `/v1/api-keys/${account.keyId}`,
    ]
    const key = await ownTester(account)
    for (const path of paths) {
      assert.equal((await both.request('GET', path, { key: account.key })).status, 200, path)
      for (const secret of [tester.json.secret, key]) {
        const hidden = await both.request('GET', path, { key: secret })
        assert.deepEqual([hidden.status, hidden.json.error.code], [404, 'not_found'], path)
      }
    }
    for (const path of ['/v1/logs', '/v1/ledger', '/v1/receipts', '/v1/usage']) {
      const { json } = await both.request('GET', path, { key })
      assert.deepEqual(
        json.data.filter(({ requests }: { requests?: number }) => requests !== 0),
        [],
        path,
      )
    }
    const live = await both.request('POST', '/v1/api-keys', { key, body: { name: 'Live', livemode: true } })
    assert.deepEqual([live.status, live.json.error.code], [403, 'insufficient_scope'])
    const revoked = await both.request('DELETE', `/v1/api-keys/${account.keyId}`, { key })
    assert.equal(revoked.status, 404)
    assert.equal((await send(both, account.key, CALL)).status, 200)
    const me = await both.request('GET', '/v1/accounts/me', { key })
    assert.equal(me.json.balanceUsd, '0.000000000')
  } finally {
    await both.stop()
  }
})

/** A test key of an account that nobody but the operator made. */
async function ownTester({ id }: TestAccount): Promise<string> {
  const scopes = ['chat', 'usage', 'keys']
  return (await makeKey(ADMIN_KEY, { accountId: id, livemode: false, scopes })).secret
}
