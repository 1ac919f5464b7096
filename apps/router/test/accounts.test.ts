import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, before, type TestContext, test } from 'node:test'
import { makeSecret } from '../src/accounts/key-secret.ts'
import { ensureOperatorKey, findOperator } from '../src/accounts/operator-keys.ts'
import { listenForPolicy } from '../src/accounts/policy-listener.ts'
import type { StopReason } from '../src/accounts/policy-notice.ts'
import { makeFirstAccount } from '../src/first-account.ts'
import { type KeyId, newId } from '../src/ids.ts'
import { readPolicy } from '../src/policy.ts'
import { systemSeams } from '../src/seams.ts'
import { Sensitive } from '../src/sensitive.ts'
import { StartupError } from '../src/storage/startup-error.ts'
import { chat, chunksOf, open, send } from './support/calls.ts'
import { type HttpFixture, startHttpFixture } from './support/http-fixture.ts'
import { createTestDatabase } from './support/test-database.ts'
import { ADMIN_KEY, startTestRouter } from './support/test-router.ts'
import { until } from './support/until.ts'

/** What a secret is made of. */
const SECRET_BYTES = 32

let mesh: HttpFixture
before(async () => {
  mesh = await startHttpFixture()
})
after(() => mesh[Symbol.asyncDispose]())

test('a new account has a default project, two empty books and no limits', async () => {
  const made = await mesh.request('POST', '/v1/accounts', { key: mesh.operatorKey, body: { name: 'Acme' } })
  assert.equal(made.status, 201)
  const { id, defaultProjectId } = made.body
  assert.match(id, /^acct_/)
  assert.equal(made.body.status, 'active')
  assert.equal(made.body.plan, 'prepaid')
  assert.equal(made.body.balanceUsd, '0.000000000')
  assert.deepEqual(made.body.test, { balanceUsd: '0.000000000', heldUsd: '0.000000000' })
  assert.equal(made.body.limits.monthlyUsdLimit, null)

  const projects = await mesh.request('GET', `/v1/projects?accountId=${id}`, { key: mesh.operatorKey })
  assert.equal(projects.body.data.length, 1)
  assert.equal(projects.body.data[0].id, defaultProjectId)
  assert.equal(projects.body.data[0].isDefault, true)
  const refused = await mesh.request('DELETE', `/v1/projects/${defaultProjectId}`, { key: mesh.operatorKey })
  assert.equal(refused.status, 400)

  const listed = await mesh.request('GET', '/v1/accounts?limit=1', { key: mesh.operatorKey })
  assert.equal(listed.body.data[0].id, id)
})

test('an operator changes an account; its owner reads and renames it', async () => {
  const owner = await mesh.createKey()
  const path = `/v1/accounts/${owner.accountId}`
  const limited = await mesh.request('PATCH', `${path}/limits`, {
    key: mesh.operatorKey,
    body: { dailyUsdLimit: '10' },
  })
  assert.equal(limited.body.limits.dailyUsdLimit, '10.000000000')
  const renamed = await mesh.request('PATCH', '/v1/accounts/me', {
    key: owner.secret,
    body: { name: 'Mine' },
  })
  assert.equal(renamed.status, 200)
  const own = await mesh.request('GET', '/v1/accounts/me', { key: owner.secret })
  assert.equal(own.body.name, 'Mine')
  assert.equal(own.body.limits.dailyUsdLimit, '10.000000000')
  const beyond = await mesh.request('PATCH', '/v1/accounts/me', {
    key: owner.secret,
    body: { status: 'active' },
  })
  assert.equal(beyond.status, 400)

  const suspended = await mesh.request('PATCH', path, {
    key: mesh.operatorKey,
    body: { status: 'suspended' },
  })
  assert.equal(suspended.body.status, 'suspended')
  const stopped = await mesh.request('GET', '/v1/accounts/me', { key: owner.secret })
  assert.equal(stopped.status, 403)
  assert.equal(stopped.body.error.code, 'account_suspended')
  await mesh.request('PATCH', path, { key: mesh.operatorKey, body: { status: 'active' } })
  assert.equal((await mesh.request('GET', '/v1/accounts/me', { key: owner.secret })).status, 200)

  const missing = await mesh.request('PATCH', '/v1/accounts/acct_00000000000000000000000000', {
    key: mesh.operatorKey,
    body: { name: 'x' },
  })
  assert.equal(missing.status, 404)
})

test('a grant is made once for an idempotency key, however often and at once it is asked', async () => {
  const accountId = await mesh.createAccount()
  const ask = (body: object, key: string) =>
    mesh.request('POST', `/v1/accounts/${accountId}/grants`, {
      key: mesh.operatorKey,
      body,
      headers: { 'idempotency-key': key },
    })
  const body = { amountUsd: '5.00', reason: 'welcome' }
  // The account's books are held until all five wait, so that none is done before another begins.
  const release = await holdRow('select from balances where account_id = $1 for update', accountId)
  const asked = Array.from({ length: 5 }, () => ask(body, 'first'))
  await until('all five wait', async () => (await waitingForLocks()) === 5)
  await release()
  const answers = await Promise.all(asked)
  for (const answer of answers) {
    assert.equal(answer.status, 201)
    assert.deepEqual(answer.body, answers[0]?.body)
  }
  assert.equal(answers[0]?.body.balanceUsd, '5.000000000')
  assert.equal(answers[0]?.body.livemode, true)
  const conflict = await ask({ ...body, amountUsd: '6' }, 'first')
  assert.equal(conflict.status, 409)
  assert.equal(conflict.body.error.code, 'idempotency_conflict')
  assert.equal((await ask(body, 'second')).body.balanceUsd, '10.000000000')
  const rows = await mesh.database.query
    .selectFrom('ledger_entries')
    .select('amount_nano')
    .where('account_id', '=', accountId)
    .where('ledger_account', '=', 'customer')
    .execute()
  assert.equal(rows.length, 2)
  const audit = await mesh.request('GET', `/v1/audit?accountId=${accountId}&limit=2`, {
    key: mesh.operatorKey,
  })
  assert.deepEqual(audit.body.data[0].after, { amountUsd: '5.000000000', reason: 'welcome' })

  for (const amountUsd of ['0', '-1', 'many', '0.0000000001']) {
    const refused = await ask({ amountUsd, reason: 'x' }, 'third')
    assert.equal(refused.status, 400, amountUsd)
    assert.equal(refused.body.error.param, 'amountUsd')
  }
  const nobody = await mesh.request('POST', '/v1/accounts/acct_00000000000000000000000000/grants', {
    key: mesh.operatorKey,
    body,
  })
  assert.equal(nobody.status, 404)
})

test('a grant that would lift a balance beyond its maximum is refused, and leaves nothing', async () => {
  const accountId = await mesh.createAccount()
  const ask = (amountUsd: string, livemode = true, key?: string) =>
    mesh.request('POST', `/v1/accounts/${accountId}/grants`, {
      key: mesh.operatorKey,
      body: { amountUsd, reason: 'much', livemode },
      ...(key === undefined ? {} : { headers: { 'idempotency-key': key } }),
    })
  for (const amountUsd of ['1000000000.000000001', '9223372036.854775808', '1e30', '9'.repeat(40)]) {
    const refused = await ask(amountUsd)
    assert.deepEqual([refused.status, refused.body.error.param], [400, 'amountUsd'], amountUsd)
  }
  assert.equal((await ask('999999999.999999999')).status, 201)
  const refused = await ask('0.000000002', true, 'once')
  assert.equal(refused.status, 400, JSON.stringify(refused.body))
  assert.equal(refused.body.error.code, 'invalid_request')
  assert.match(refused.body.error.message, /would pass 1000000000\.0+ USD/)
  assert.equal((await ask('0.000000001', true, 'once')).body.balanceUsd, '1000000000.000000000')
  for (let count = 0; count < 12; count++) assert.equal((await ask('1000000000')).status, 400)
  assert.equal((await ask('1000000000', false)).status, 201)
  const { body } = await mesh.request('GET', `/v1/accounts/${accountId}`, { key: mesh.operatorKey })
  assert.equal(body.balanceUsd, '1000000000.000000000')
})

test('what is remembered of grants is forgotten after 30 days, a bounded number at a time', async () => {
  const accountId = await mesh.createAccount()
  const grant = (key: string) =>
    mesh.request('POST', `/v1/accounts/${accountId}/grants`, {
      key: mesh.operatorKey,
      body: { amountUsd: '1', reason: 'r' },
      headers: { 'idempotency-key': key },
    })
  const { pool } = mesh.database
  const countOf = async (age: string): Promise<number> => {
    const { rows } = await pool.query<{ count: number }>(
      'select count(*)::int from operator_requests where created_at < now() - $1::interval',
      [age],
    )
    return rows[0]?.count ?? 0
  }
  await pool.query(
    `insert into operator_requests (key_hmac, body_hmac, response, created_at)
     select sha256(n::text::bytea), '', '{}', now() - case when n > 5 then interval '31 days' else interval '29 days' end
     from generate_series(1, 255) n`,
  )
  await grant('sweeps some')
  assert.equal(await countOf('30 days'), 150)
  await Promise.all(['a', 'b', 'c', 'd', 'e'].map(grant))
  assert.equal(await countOf('30 days'), 0)
  assert.equal(await countOf('28 days'), 5)
  assert.equal((await grant('a')).body.balanceUsd.length > 0, true)
})

test('the first account is made whole or not at all', async () => {
  const testDatabase = await createTestDatabase()
  try {
    const database = testDatabase.database()
    const operator = { id: newId('opk', systemSeams), name: 'start' }
    const policy = readPolicy(undefined)
    const dyingAtTheKey = {
      ...systemSeams,
      randomBytes(size: number): Uint8Array {
        if (size === SECRET_BYTES) throw new Error('the start is killed')
        return systemSeams.randomBytes(size)
      },
    }
    await assert.rejects(makeFirstAccount(database, operator, dyingAtTheKey, policy), /is killed/)
    const made = await makeFirstAccount(database, operator, systemSeams, policy)
    assert.match(made?.testKey.reveal() ?? '', /^mesh_test_/)
    const accounts = await database.query.selectFrom('accounts').select('id').execute()
    assert.deepEqual(accounts, [{ id: made?.accountId }])
    const books = await database.query
      .selectFrom('balances')
      .select('balance_nano')
      .where('livemode', '=', false)
      .execute()
    assert.deepEqual(books, [{ balance_nano: policy.testWorld.demoCreditUsd }])
    assert.equal(await makeFirstAccount(database, operator, systemSeams, policy), undefined)
  } finally {
    await testDatabase.close()
  }
})

test('running calls of a suspended account are told so', async () => {
  const router = await startTestRouter()
  try {
    const account = await router.account()
    const whole = send(router, account.key, chat('hold'))
    const stream = open(router, account.key, chat('tokens=400,pace=50', { stream: true }))
    await until('both run', () => router.simulator.stats().held === 1 && stream.text().includes('data: '))
    await router.request('PATCH', `/v1/accounts/${account.id}`, {
      key: ADMIN_KEY,
      body: { status: 'suspended' },
    })
    const refused = await whole
    assert.deepEqual([refused.status, refused.json.error.code], [403, 'account_suspended'])
    await until('the stream has ended', () => stream.isEnded(), 1_000)
    assert.equal(chunksOf(stream.text()).at(-1)?.error.code, 'account_suspended')
  } finally {
    await router.stop()
  }
})

test('a key that was revoked while its request waited changes nothing', async () => {
  const key = await mesh.createKey()
  const release = await holdRow('select from accounts where id = $1 for update', key.accountId)
  const revoked = mesh.request('DELETE', `/v1/api-keys/${key.id}`, { key: mesh.operatorKey })
  await until('the revocation waits', async () => (await waitingForLocks()) === 1)
  const made = mesh.request('POST', '/v1/api-keys', { key: key.secret, body: { name: 'too late' } })
  await until('the request of the key waits', async () => (await waitingForLocks()) === 2)
  await release()
  assert.equal((await revoked).status, 200)
  assert.equal((await made).body.error.code, 'key_revoked')
})

test('deleting a project revokes its keys and the keys that these made', async () => {
  const owner = await mesh.createKey()
  const project = await mesh.request('POST', '/v1/projects', {
    key: owner.secret,
    body: { name: 'short-lived' },
  })
  assert.equal(project.status, 201)
  const renamed = await mesh.request('PATCH', `/v1/projects/${project.body.id}`, {
    key: owner.secret,
    body: { name: 'renamed' },
  })
  assert.equal(renamed.body.name, 'renamed')
  const inside = await mesh.createKey({ accountId: owner.accountId, projectId: project.body.id })
  const made = await mesh.request('POST', '/v1/api-keys', {
    key: inside.secret,
    body: { name: 'made', limits: {} },
  })
  const tester = await mesh.createKey({ accountId: owner.accountId, livemode: false })
  const byTester = await mesh.request('DELETE', `/v1/projects/${project.body.id}`, { key: tester.secret })
  assert.equal(byTester.status, 403)
  const deleted = await mesh.request('DELETE', `/v1/projects/${project.body.id}`, { key: owner.secret })
  assert.equal(deleted.body.deleted, true)
  for (const { secret } of [inside, made.body]) {
    assert.equal((await mesh.request('GET', '/v1/key', { key: secret })).body.error.code, 'key_revoked')
  }
  assert.equal((await mesh.request('GET', '/v1/key', { key: owner.secret })).status, 200)
  const again = await mesh.request('DELETE', `/v1/projects/${project.body.id}`, { key: owner.secret })
  assert.equal(again.status, 404)
})

test('operator keys are refused where an account is meant, and keys where an operator is', async () => {
  const { secret } = await mesh.createKey()
  const me = await mesh.request('GET', '/v1/accounts/me', { key: mesh.operatorKey })
  assert.equal(me.status, 403)
  await assert.rejects(mesh.authenticator.authenticate(new Sensitive(mesh.operatorKey)), {
    code: 'insufficient_scope',
    message: /operator key/,
  })
  assert.equal((await mesh.request('GET', '/v1/accounts', { key: secret })).status, 403)
  const wrong = await mesh.request('GET', '/v1/accounts', { key: `${mesh.operatorKey.slice(0, -1)}!` })
  assert.equal(wrong.status, 401)
})

/** The routers of a test with a database of their own, and which operator keys work after each start. */
async function operatorStarts(t: TestContext, isShared: boolean) {
  const testDatabase = await createTestDatabase()
  const parent = await mkdtemp(join(tmpdir(), 'mesh-homes-'))
  t.after(async () => {
    await testDatabase.close()
    await rm(parent, { recursive: true })
  })
  const database = testDatabase.database()
  const file = (home: string) => join(parent, home, 'admin-key')
  return {
    database,
    file,
    start: (home: string, configured?: string) =>
      ensureOperatorKey({
        database,
        seams: systemSeams,
        file: file(home),
        isShared,
        ...(configured === undefined ? {} : { configured: new Sensitive(configured) }),
      }),
    keyIn: async (home: string) => (await readFile(file(home), 'utf8')).trim(),
    works: async (secret: string) => (await findOperator(database, new Sensitive(secret))) !== undefined,
  }
}
const FIRST = 'a'.repeat(32)
const SECOND = 'b'.repeat(32)

test('the first operator key is made once and kept private', async (t) => {
  const { database, start, file, keyIn } = await operatorStarts(t, false)
  const first = await start('home')
  const made = await keyIn('home')
  assert.equal((await stat(file('home'))).mode & 0o777, 0o600)
  assert.equal((await stat(dirname(file('home')))).mode & 0o777, 0o700, 'the start made its folder')
  assert.deepEqual(await start('home'), first)
  assert.deepEqual(await findOperator(database, new Sensitive(made)), first)
  await assert.rejects(start('home', 'short'), StartupError)
  await assert.rejects(start('home', `with spaces ${'c'.repeat(32)}`), StartupError)
  await assert.rejects(start('home', makeSecret(true, systemSeams)), StartupError)
  const stored = await database.query.selectFrom('operator_keys').selectAll().execute()
  assert.ok(!JSON.stringify(stored).includes(made))
})

test('the only router of a database withdraws every operator key but the one in force', async (t) => {
  const { database, start, file, keyIn, works } = await operatorStarts(t, false)
  await start('home')
  const withdrawn = await keyIn('home')
  await rm(file('home'))
  await start('home')
  const kept = await keyIn('home')
  assert.deepEqual([await works(withdrawn), await works(kept)], [false, true])

  await start('home', FIRST)
  assert.deepEqual([await works(kept), await works(FIRST)], [false, true])
  await start('home', SECOND)
  assert.deepEqual([await works(FIRST), await works(SECOND)], [false, true])
  await start('home')
  assert.deepEqual([await works(SECOND), await works(kept), await works(withdrawn)], [false, true, false])
  const audit = await database.query
    .selectFrom('audit_events')
    .select('id')
    .where('action', '=', 'operator_key.replaced')
    .execute()
  assert.equal(audit.length, 4)
})

test("routers that share a database do not withdraw each other's operator keys", async (t) => {
  const { start, file, keyIn, works } = await operatorStarts(t, true)
  await Promise.all([start('one'), start('two')])
  const [one, two] = [await keyIn('one'), await keyIn('two')]
  assert.deepEqual([await works(one), await works(two)], [true, true])

  await rm(file('one'))
  await start('one')
  const next = await keyIn('one')
  assert.deepEqual([await works(one), await works(next), await works(two)], [false, true, true])

  const [first] = await Promise.all([start('one', FIRST), start('two', FIRST)])
  assert.deepEqual(await start('two', FIRST), first)
  assert.deepEqual([await works(next), await works(two), await works(FIRST)], [false, false, true])
  await start('three')
  assert.deepEqual([await works(FIRST), await works(await keyIn('three'))], [true, true])
  await start('one', SECOND)
  assert.deepEqual([await works(FIRST), await works(await keyIn('three'))], [false, false])
})

test('what a router remembers of a key is gone as soon as any router changes it', async () => {
  const { id, secret, accountId } = await mesh.createKey()
  const presented = new Sensitive(secret)
  const before = await mesh.authenticator.authenticateForHold(presented)
  assert.equal(await mesh.authenticator.authenticateForHold(presented), before)

  const aborted: (readonly [KeyId, StopReason])[] = []
  const wasAborted = (id: KeyId, reason: StopReason): boolean =>
    aborted.some(([keyId, given]) => keyId === id && given === reason)
  const listener = await listenForPolicy({
    database: mesh.openDatabase(),
    authenticator: mesh.authenticator,
    liveCalls: {
      keyIds: [],
      abortKeys: (keyIds, reason) => void aborted.push(...keyIds.map((keyId) => [keyId, reason] as const)),
    },
    log: { error() {}, warn() {}, info() {}, debug() {} },
  })
  try {
    await mesh.authenticator.authenticateForHold(presented)
    await mesh.request('PATCH', `/v1/api-keys/${id}/limits`, {
      key: mesh.operatorKey,
      body: { allowedModels: ['alpha'] },
    })
    await until('the change is seen', async () => {
      const caller = await mesh.authenticator.authenticateForHold(presented)
      return (
        caller.allows.models?.has('mesh/alpha') === true &&
        caller.payer.policyVersion > before.payer.policyVersion
      )
    })
    assert.equal(aborted.length, 0)
    const { body: successor } = await mesh.request('POST', `/v1/api-keys/${id}/rotate`, {
      key: mesh.operatorKey,
    })
    await until('the calls of the key are cut', () => wasAborted(id, 'key_revoked'), 1_000)
    await assert.rejects(mesh.authenticator.authenticateForHold(presented), { code: 'key_revoked' })
    await mesh.request('DELETE', `/v1/api-keys/${successor.id}`, { key: mesh.operatorKey })
    await until('the calls of its successor are cut', () => wasAborted(successor.id, 'key_revoked'), 1_000)
    const other = await mesh.createKey({ accountId })
    await mesh.request('PATCH', `/v1/accounts/${accountId}`, {
      key: mesh.operatorKey,
      body: { status: 'closed' },
    })
    await until(
      'the calls of the closed account are cut',
      () => wasAborted(other.id, 'account_suspended'),
      1_000,
    )
  } finally {
    await listener.close()
  }
})

test('nobody is refused from memory: what stood against a key may have been lifted', async () => {
  const { id, secret } = await mesh.createKey({ limits: { expiresAt: '2020-01-01T00:00:00Z' } })
  const presented = new Sensitive(secret)
  await assert.rejects(mesh.authenticator.authenticateForHold(presented), { code: 'key_expired' })
  await mesh.request('PATCH', `/v1/api-keys/${id}/limits`, {
    key: mesh.operatorKey,
    body: { expiresAt: null },
  })
  assert.equal((await mesh.authenticator.authenticateForHold(presented)).key.id, id)
})

test('a router that lost its connection forgets everything and checks its running calls', async () => {
  const revoked = await mesh.createKey()
  const replaced = await mesh.createKey()
  const suspended = await mesh.createKey()
  const kept = await mesh.createKey()
  const database = mesh.openDatabase()
  const aborted: (readonly [readonly KeyId[], StopReason])[] = []
  let keyIds: KeyId[] = []
  const listener = await listenForPolicy({
    database,
    authenticator: mesh.authenticator,
    liveCalls: {
      get keyIds() {
        return keyIds
      },
      abortKeys: (...stop) => void aborted.push(stop),
    },
    log: { error() {}, warn() {}, info() {}, debug() {} },
    reconnectMs: 5,
    heartbeatMs: 60_000,
  })
  try {
    const { pool } = mesh.database
    await pool.query('update api_keys set revoked_at = now() where id = $1', [revoked.id])
    await pool.query('update api_keys set stops_at = now() where id = $1', [replaced.id])
    await pool.query("update api_keys set stops_at = now() + interval '1 hour' where id = $1", [kept.id])
    await pool.query("update accounts set status = 'suspended' where id = any ($1)", [
      [suspended.accountId, revoked.accountId],
    ])
    keyIds = [kept.id, revoked.id, replaced.id, suspended.id]
    await endListeners()
    await until('the running calls are cut', () => aborted.length > 1)
    assert.deepEqual(aborted, [
      [[revoked.id, replaced.id], 'key_revoked'],
      [[suspended.id], 'account_suspended'],
    ])
  } finally {
    await listener.close()
  }
})

test('a router that stops while it connects anew for notices of changes stops', {
  timeout: 20_000,
}, async (t) => {
  const database = mesh.openDatabase()
  const connectsAnew = Promise.withResolvers<void>()
  const mayConnect = Promise.withResolvers<void>()
  let connections = 0
  const listener = await listenForPolicy({
    database: {
      async connect() {
        connections++
        if (connections > 1) {
          connectsAnew.resolve()
          await mayConnect.promise
        }
        return await database.connect()
      },
    },
    authenticator: mesh.authenticator,
    liveCalls: { keyIds: [], abortKeys() {} },
    log: { error() {}, warn() {}, info() {}, debug() {} },
    reconnectMs: 5,
    heartbeatMs: 60_000,
  })
  t.after(() => {
    mayConnect.resolve()
    void listener.close()
  })
  await endListeners()
  await connectsAnew.promise
  const closed = listener.close()
  mayConnect.resolve()
  await closed
})

test('an account, a project, a key and its maker allow together what each of them allows', async () => {
  const accountId = await mesh.createAccount()
  await mesh.request('PATCH', `/v1/accounts/${accountId}/limits`, {
    key: mesh.operatorKey,
    body: { allowedModels: ['alpha', 'mesh/beta'], minimumPrivacyClass: 'protected' },
  })
  const parent = await mesh.createKey({ accountId })
  const child = await mesh.request('POST', '/v1/api-keys', { key: parent.secret, body: { name: 'child' } })
  await mesh.request('PATCH', `/v1/api-keys/${parent.id}/limits`, {
    key: mesh.operatorKey,
    body: { allowedModels: ['mesh/beta'], allowedProviders: ['openai'], expiresAt: '2099-01-01T00:00:00Z' },
  })
  const caller = await mesh.authenticator.authenticate(new Sensitive(child.body.secret))
  assert.deepEqual([...(caller.allows.models ?? [])], ['mesh/beta'])
  assert.deepEqual([...(caller.allows.providers ?? [])], ['openai'])
  assert.equal(caller.allows.minimumPrivacyClass, 'protected')
  assert.equal(caller.payer.parentLineageId, parent.id)
  await mesh.request('PATCH', `/v1/api-keys/${parent.id}/limits`, {
    key: mesh.operatorKey,
    body: { expiresAt: '2020-01-01T00:00:00Z' },
  })
  await assert.rejects(mesh.authenticator.authenticate(new Sensitive(child.body.secret)), {
    code: 'key_expired',
  })
})

test('what a key has used is counted in the windows that run now', async () => {
  const key = await mesh.createKey({
    limits: { requestsPerMinute: 5, dailyUsdLimit: '1', monthlyUsdLimit: '4' },
  })
  await mesh.database.pool.query(
    `insert into counters (subject_id, livemode, account_id, minute_start, minute_requests, day_start, day_nano,
       month_start, month_nano, total_nano, held_nano)
     values ($1, true, $2, window_start('minute', now()) - interval '1 minute', 5, window_start('day', now()), 250000000,
       window_start('month', now()), 4500000000, 4500000000, 500000000)`,
    [key.id, key.accountId],
  )
  const { body } = await mesh.request('GET', '/v1/api-keys/current', { key: key.secret })
  assert.equal(body.remaining.requestsPerMinute.remaining, 5)
  assert.equal(body.remaining.dailyUsdLimit.remaining, '0.750000000')
  assert.equal(body.remaining.monthlyUsdLimit.remaining, '0.000000000')
  assert.equal(body.usage.requestsThisMinute, 0)
  assert.equal(body.usage.usdThisMonth, '4.500000000')
  const openRouter = await mesh.request('GET', '/v1/key', { key: key.secret })
  assert.equal(openRouter.body.data.usage, 4.5)
  assert.equal(openRouter.body.data.limit, 4)
  assert.equal(openRouter.body.data.limit_remaining, 0)
  assert.equal(openRouter.body.data.limit_reset, 'monthly')
})

/** Holds the lock of a row until what it answers with is called. */
async function holdRow(statement: string, id: string): Promise<() => Promise<void>> {
  const holder = await mesh.database.connect()
  await holder.query('begin')
  await holder.query(statement, [id])
  return async () => {
    await holder.query('commit')
    await holder.end()
  }
}

async function waitingForLocks(): Promise<number | null> {
  const { rowCount } = await mesh.database.pool.query(
    "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
  )
  return rowCount
}

/** Those whose last statement that was: heartbeats come later. */
async function endListeners(): Promise<void> {
  await mesh.database.pool.query(
    "select pg_terminate_backend(pid) from pg_stat_activity where query ilike 'listen %' and datname = current_database()",
  )
}
