import assert from 'node:assert/strict'
import { copyFile, mkdir, readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { verifyReceipt } from '../src/records/verify-receipt.ts'
import { chat, open, requestIdOf, send } from './support/calls.ts'
import { newRouterHome, type RouterHome, type RouterProcess } from './support/router-process.ts'
import { createTestDatabase, type TestDatabase } from './support/test-database.ts'
import { type Answered, connectionUrl } from './support/test-router.ts'
import { until } from './support/until.ts'

interface Key {
  readonly id: string
  readonly secret: string
}

/** What a customer and an operator have in their hands when the home is lost. */
interface Lost {
  /** The folder of the backup, the journal and the signing key: what was kept elsewhere. */
  readonly kept: string
  readonly backup: string
  readonly accountId: string
  readonly suspendedId: string
  readonly keys: Readonly<Record<KeyName, Key>>
  readonly balanceUsd: string
  readonly liveBalanceUsd: string
  /** As they were read before the loss, by id. */
  readonly receipts: ReadonlyMap<string, string>
  readonly publishedKeys: string
  readonly granted: Answered
  readonly adminKey: string
  /** The call that ran while the backup was made. */
  readonly runningCallId: string
}

const KEY_NAMES = [
  'lasting',
  'revokedBefore',
  'rotatedBefore',
  'revokedAfter',
  'rotatedAfter',
  'graced',
  'parent',
  'ofSuspended',
] as const
type KeyName = (typeof KEY_NAMES)[number]

const GRANT = { amountUsd: '25.00', reason: 'Paid by transfer', livemode: true }
const GRANT_KEY = { 'idempotency-key': 'grant-of-november' }
const ONCE = { 'idempotency-key': 'call-of-november' }
const CALL = chat('tokens=20')
const JOURNAL = 'revocations'
const SIGNING_KEY = 'signing-key.pem'
const DAY_SECONDS = 86_400
/** The sessions of operators' commands. */
const OF_OPS = `pg_stat_activity where datname = current_database() and application_name = 'mesh ops'`

function expect<Wanted extends Answered>(answered: Wanted, status: number): Wanted {
  assert.equal(answered.status, status, answered.text)
  return answered
}

function admin(router: RouterProcess, method: string, path: string, body?: unknown, headers = {}) {
  return router.request(method, path, { key: router.adminKey, body, headers })
}

async function makeAccount(router: RouterProcess): Promise<string> {
  const { json } = expect(await admin(router, 'POST', '/v1/accounts', { name: 'Customer' }), 201)
  const grant = { amountUsd: '10.00', reason: 'For tests', livemode: false }
  expect(await admin(router, 'POST', `/v1/accounts/${json.id}/grants`, grant), 201)
  return json.id
}

async function makeKey(router: RouterProcess, accountId: string): Promise<Key> {
  const scopes = ['chat', 'usage', 'keys']
  const body = { name: 'Key', accountId, livemode: false, scopes }
  const { json } = expect(await admin(router, 'POST', '/v1/api-keys', body), 201)
  return { id: json.id, secret: json.secret }
}

async function rotate(router: RouterProcess, { id }: Key, graceSeconds = 0): Promise<Key> {
  const { json } = expect(await admin(router, 'POST', `/v1/api-keys/${id}/rotate`, { graceSeconds }), 201)
  return { id: json.id, secret: json.secret }
}

async function revoke(router: RouterProcess, { id }: Key): Promise<void> {
  expect(await admin(router, 'DELETE', `/v1/api-keys/${id}`), 200)
}

function accountOf(router: RouterProcess, id: string): Promise<Answered> {
  return admin(router, 'GET', `/v1/accounts/${id}`)
}

async function balancesOf(router: RouterProcess, id: string) {
  const { json } = expect(await accountOf(router, id), 200)
  return { liveBalanceUsd: json.balanceUsd, balanceUsd: json.test.balanceUsd, heldUsd: json.test.heldUsd }
}

async function receiptOf(router: RouterProcess, key: Key, answered: Answered): Promise<[string, string]> {
  const id = answered.headers.get('x-mesh-receipt-id') ?? ''
  const { text } = expect(
    await router.request('GET', `/v1/receipts/${id}?format=jws`, { key: key.secret }),
    200,
  )
  return [id, text]
}

/** A life up to the loss: everything that may revive or happen twice happens on either side of the backup. */
async function liveAndLose(t: TestContext): Promise<Lost> {
  const home = await newRouterHome(t)
  const router = await home.start()
  const accountId = await makeAccount(router)
  const suspendedId = await makeAccount(router)
  const keys = Object.fromEntries(
    await Promise.all(
      KEY_NAMES.map(async (name) => [
        name,
        await makeKey(router, name === 'ofSuspended' ? suspendedId : accountId),
      ]),
    ),
  ) as Record<KeyName, Key>
  const grants = `/v1/accounts/${accountId}/grants`
  const granted = expect(await admin(router, 'POST', grants, GRANT, GRANT_KEY), 201)
  const receipts = new Map<string, string>()
  for (const headers of [{}, ONCE]) {
    const answered = expect(await send(router, keys.lasting.secret, CALL, headers), 200)
    receipts.set(...(await receiptOf(router, keys.lasting, answered)))
  }
  // Its receipt is not read before the loss, so it is signed after it.
  const unread = expect(await send(router, keys.lasting.secret, CALL), 200)
  await revoke(router, keys.revokedBefore)
  await rotate(router, keys.rotatedBefore)
  const before = await balancesOf(router, accountId)

  const running = open(router, keys.lasting.secret, chat('tokens=4000,pace=50', { stream: true }))
  const { headers } = await running.head
  const kept = join(home.scratch, 'kept')
  const backup = await backUp(home, kept)

  await revoke(router, keys.revokedAfter)
  const successor = await rotate(router, keys.rotatedAfter)
  await rotate(router, keys.graced, DAY_SECONDS)
  await revoke(router, keys.parent)
  expect(await admin(router, 'PATCH', `/v1/accounts/${suspendedId}`, { status: 'suspended' }), 200)
  expect(await send(router, successor.secret, CALL), 200)
  expect(await admin(router, 'POST', grants, { ...GRANT, reason: 'Another' }), 201)
  const { text: publishedKeys } = await router.request('GET', '/.well-known/mesh-receipt-keys.json')
  // No wait: what is answered is in the journal.
  for (const file of [JOURNAL, SIGNING_KEY]) await copyFile(join(home.folder, file), join(kept, file))
  await router.kill('SIGKILL')
  running.destroy()
  receipts.set(unread.headers.get('x-mesh-receipt-id') ?? '', '')
  const runningCallId = String(headers['x-request-id'])
  const { adminKey } = router
  return {
    ...{
      kept,
      backup,
      accountId,
      suspendedId,
      keys,
      receipts,
      publishedKeys,
      granted,
      adminKey,
      runningCallId,
    },
    balanceUsd: before.balanceUsd,
    liveBalanceUsd: before.liveBalanceUsd,
  }
}

async function backUp(home: RouterHome, folder: string): Promise<string> {
  const made = await home.ops(['backup', folder, '--json'])
  assert.equal(made.code, 0, made.stdout + made.stderr)
  assert.equal(made.stderr, '', 'one line, and nothing else')
  const { file, sha256, rows } = JSON.parse(made.stdout)
  assert.match(sha256, /^[0-9a-f]{64}$/)
  assert.ok(rows > 20)
  assert.deepEqual(await readdir(folder), [file.slice(folder.length + 1)], 'no half file is left')
  assert.equal((await stat(file)).mode & 0o777, 0o600)
  return file
}

/** A home in which nothing is but the old signing key. */
async function newHome(t: TestContext, { kept }: Lost, on?: TestDatabase): Promise<RouterHome> {
  const home = await newRouterHome(t, on)
  await mkdir(home.folder, { mode: 0o700 })
  await copyFile(join(kept, SIGNING_KEY), join(home.folder, SIGNING_KEY))
  return home
}

async function assertRefused(router: RouterProcess, key: Key, code: string): Promise<void> {
  const { status, json, text } = await send(router, key.secret, CALL)
  assert.ok(status === 401 || status === 403, text)
  assert.equal(json.error.code, code, text)
}

async function assertNothingRevives(router: RouterProcess, { keys, adminKey }: Lost): Promise<void> {
  for (const name of ['revokedBefore', 'rotatedBefore', 'revokedAfter', 'rotatedAfter', 'parent'] as const) {
    await assertRefused(router, keys[name], 'key_revoked')
  }
  await assertRefused(router, keys.ofSuspended, 'account_suspended')
  expect(await router.request('GET', '/v1/accounts', { key: adminKey }), 401)
}

async function assertNothingTwice(router: RouterProcess, lost: Lost): Promise<void> {
  const { accountId, keys, granted, balanceUsd, liveBalanceUsd } = lost
  assert.deepEqual(await balancesOf(router, accountId), {
    balanceUsd,
    liveBalanceUsd,
    heldUsd: '0.000000000',
  })
  const again = await admin(router, 'POST', `/v1/accounts/${accountId}/grants`, GRANT, GRANT_KEY)
  assert.equal(again.json.id, granted.json.id, again.text)
  const replay = expect(await send(router, keys.lasting.secret, CALL, ONCE), 409)
  assert.equal(replay.json.error.code, 'idempotency_replay')
  const { json: event } = expect(
    await router.request('GET', `/v1/logs/${lost.runningCallId}`, { key: keys.lasting.secret }),
    200,
  )
  assert.equal(event.billingReason, 'router_crash', 'what ran at the backup is released')
  assert.deepEqual(await balancesOf(router, accountId), {
    balanceUsd,
    liveBalanceUsd,
    heldUsd: '0.000000000',
  })
}

async function assertReceiptsStand(router: RouterProcess, lost: Lost): Promise<void> {
  const { json: keys } = await router.request('GET', '/.well-known/mesh-receipt-keys.json')
  assert.equal(JSON.stringify(keys), lost.publishedKeys)
  for (const [id, text] of lost.receipts) {
    const found = await router.request('GET', `/v1/receipts/${id}?format=jws`, {
      key: lost.keys.lasting.secret,
    })
    if (text !== '') assert.equal(found.text, text)
    assert.equal(verifyReceipt(found.text, keys).valid, true)
  }
}

async function assertCallsGoOn(home: RouterHome, router: RouterProcess, lost: Lost): Promise<void> {
  const answered = expect(await send(router, lost.keys.lasting.secret, CALL), 200)
  assert.equal((await send(router, lost.keys.graced.secret, CALL)).status, 200, 'its grace still runs')
  const { json } = await router.request('GET', `/v1/logs/${requestIdOf(answered)}`, {
    key: lost.keys.lasting.secret,
  })
  assert.notEqual(json.cost.totalUsd, '0.000000000')
  const { balanceUsd } = await balancesOf(router, lost.accountId)
  const nano = (usd: string) => BigInt(usd.replace('.', ''))
  // Two calls that are the same in everything that is priced.
  assert.equal(nano(lost.balanceUsd) - nano(balanceUsd), 2n * nano(json.cost.totalUsd))
  const books = await home.ops(['ledger', 'verify'])
  assert.equal(books.code, 0, books.stdout)
}

/** What an operator decides after the restore is not overruled by a journal that says otherwise. */
async function assertOperatorDecides(home: RouterHome, router: RouterProcess, lost: Lost): Promise<void> {
  const path = `/v1/accounts/${lost.suspendedId}`
  expect(await admin(router, 'PATCH', path, { status: 'active' }), 200)
  await copyFile(join(lost.kept, JOURNAL), join(home.folder, JOURNAL))
  assert.equal((await router.kill('SIGTERM')).code, 0)
  const again = await home.start()
  assert.equal((await accountOf(again, lost.suspendedId)).json.status, 'active')
  await assertRefused(again, lost.keys.revokedAfter, 'key_revoked')
  await again.kill('SIGTERM')
}

/** Books that were moved away are not spent where they were, until that is taken back. */
async function assertMoveLeavesOnePlace(home: RouterHome, { keys }: Lost): Promise<void> {
  const file = join(home.scratch, 'move.mesh')
  const moved = await home.ops(['export', file, '--final'])
  assert.equal(moved.code, 0, moved.stderr)
  await assert.rejects(
    home.start(),
    /did not start: The books of this database were moved away on [\d-]+: start MESH where [^\n]+\n$/,
  )
  const undone = await home.ops(['export', '--undo'])
  assert.equal(undone.code, 0, undone.stderr)
  const router = await home.start()
  expect(await send(router, keys.lasting.secret, CALL), 200)
}

test('the restore drill: no revoked key revives, nothing is credited or charged twice', async (t) => {
  const lost = await liveAndLose(t)
  const journal = ['--revocations', join(lost.kept, JOURNAL)]

  await t.test('into a new home', async (t) => {
    const home = await newHome(t, lost)
    const unsure = await home.ops(['import', lost.backup])
    assert.deepEqual(
      [unsure.code, /Nothing here knows which keys were revoked/.test(unsure.stderr)],
      [1, true],
    )
    assert.deepEqual(await readdir(home.folder), [SIGNING_KEY], 'nothing was written')
    const imported = await home.ops(['import', lost.backup, ...journal])
    assert.equal(imported.code, 0, imported.stderr)
    assert.match(imported.stdout, /Stopped by journals: 4 keys, 1 accounts/)
    const router = await home.start()
    await assertNothingRevives(router, lost)
    await assertNothingTwice(router, lost)
    await assertReceiptsStand(router, lost)
    await assertCallsGoOn(home, router, lost)
    const own = await readFile(join(home.folder, JOURNAL), 'utf8')
    for (const name of ['revokedBefore', 'revokedAfter', 'rotatedAfter', 'graced'] as const) {
      assert.ok(own.includes(` ${lost.keys[name].id} `), `the new journal knows of ${name}`)
    }
    await assertOperatorDecides(home, router, lost)
    await assertMoveLeavesOnePlace(home, lost)
  })

  await t.test('into an external database', async (t) => {
    const database = await createTestDatabase()
    t.after(() => database.close())
    const home = await newHome(t, lost)
    const environment = {
      DATABASE_URL: connectionUrl(database.connection),
      MESH_SIGNING_KEY_FILE: join(home.folder, SIGNING_KEY),
    }
    // The journal that lies in the home is read without being named.
    await copyFile(join(lost.kept, JOURNAL), join(home.folder, JOURNAL))
    const imported = await home.ops(['import', lost.backup], environment)
    assert.equal(imported.code, 0, imported.stderr)
    const router = await home.start(environment)
    await assertNothingRevives(router, lost)
    await assertNothingTwice(router, lost)
    const twice = await home.ops(['import', lost.backup], environment)
    assert.equal(twice.code, 1)
    assert.match(twice.stderr, /into an empty database only, and this one holds rows/)
    await assertNothingTwice(router, lost)
  })

  await t.test('an import that is interrupted or killed leaves nothing', async (t) => {
    const database = await createTestDatabase()
    t.after(() => database.close())
    const home = await newHome(t, lost)
    const environment = {
      DATABASE_URL: connectionUrl(database.connection),
      MESH_SIGNING_KEY_FILE: join(home.folder, SIGNING_KEY),
    }
    const { pool } = database.database(3)
    // The last table waits until it is told to go on, with all others in.
    await pool.query(`create function wait_here() returns trigger language plpgsql as
      $$ begin perform pg_advisory_lock(77); return new; end $$;
      create trigger wait_here before insert on signing_keys for each row execute function wait_here()`)
    for (const end of ['SIGTERM', 'SIGKILL', 'a lost connection'] as const) {
      const gate = await pool.connect()
      const ended = (async () => {
        await gate.query('select pg_advisory_lock(77)')
        const importing = home.startOps(['import', lost.backup, ...journal], environment)
        await until('the import is in its last table', async () => {
          const { rowCount } = await pool.query(
            `select from pg_locks where locktype = 'advisory' and objid = 77 and not granted`,
          )
          return rowCount === 1
        })
        if (end === 'a lost connection') await pool.query(`select pg_terminate_backend(pid) from ${OF_OPS}`)
        else importing.process.kill(end)
        return await importing.ended
      })()
      const { code, stderr } = await ended.finally(() => gate.release(true))
      const told = { SIGTERM: /^Interrupted: /m, SIGKILL: /^/, 'a lost connection': /^The database cannot /m }
      assert.match(stderr, told[end])
      assert.equal(code, end === 'SIGKILL' ? null : 1)
      await until('its session is gone', async () => {
        const { rowCount } = await pool.query(`select from ${OF_OPS}`)
        return rowCount === 0
      })
      const { rows } = await pool.query<{ accounts: boolean; entries: boolean; events: boolean }>(
        'select exists (select from accounts) as accounts, exists (select from ledger_entries) as entries, exists (select from events) as events',
      )
      assert.deepEqual(rows, [{ accounts: false, entries: false, events: false }])
    }
    await pool.query('drop function wait_here cascade')
    const imported = await home.ops(['import', lost.backup, '--stop-all-keys'], environment)
    assert.equal(imported.code, 0, imported.stderr)
    const { rowCount: alive } = await pool.query(
      'select from api_keys where revoked_at is null and coalesce(stops_at, mesh_now()) >= mesh_now()',
    )
    assert.equal(alive, 0, 'every key was stopped for want of a journal')
  })
})
