import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import {
  appendFile,
  copyFile,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  truncate,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { firstIdAt } from '../src/ids.ts'
import { backup } from '../src/ops/backup.ts'
import { importCommand } from '../src/ops/import.ts'
import {
  appendBooks,
  appendStops,
  compactRevocations,
  readRevocations,
  readStops,
  type Stop,
  summariseRevocations,
} from '../src/storage/revocation-file.ts'
import { chat, send } from './support/calls.ts'
import { runOps } from './support/run-ops.ts'
import { createTestDatabase, type TestDatabase } from './support/test-database.ts'
import {
  ADMIN_KEY,
  connectionUrl,
  startTestRouter,
  type TestAccount,
  type TestRouter,
} from './support/test-router.ts'
import { until } from './support/until.ts'

const HOUR_MS = 3_600_000
const CALL = chat('tokens=5')
/** Compactions in the midst of others who append. */
const MEETINGS = 20
/** All at once, so that each has long opened the file when its turn to write comes. */
const APPENDER = `
const { appendStops } = await import(process.argv[1])
const [path, from] = process.argv.slice(2)
const append = (_, count) => {
  const auditId = 'aud_' + String(Number(from) + count).padStart(26, '0')
  return appendStops(path, [{ auditId, action: 'key.revoked', target: 'key_x', at: new Date() }])
}
await Promise.all(Array.from({ length: 40 }, append))`

let folder: string
let shared: TestDatabase
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mesh-revocations-'))
  shared = await createTestDatabase()
})
after(async () => {
  await shared.close()
  await rm(folder, { recursive: true, force: true })
})

function stopAt(timeMs: number, target = 'key_one'): Stop {
  return { auditId: firstIdAt('aud', timeMs), action: 'key.revoked', target, at: new Date(timeMs) }
}

async function idsIn(path: string): Promise<string[]> {
  const ids: string[] = []
  for await (const { auditId } of readStops([path])) ids.push(auditId)
  return ids
}

/** A router on the shared books, with a home of its own whose journal the test reads. */
async function routerWith(name: string): Promise<{ mesh: TestRouter; journal: string; home: string }> {
  const home = join(folder, name)
  const mesh = await startTestRouter({ on: shared, environment: { MESH_HOME: home } })
  return { mesh, home, journal: join(home, 'revocations') }
}

/** A router for as long as `work` takes. */
async function whileServing(name: string, work: (mesh: TestRouter) => Promise<void>): Promise<TestRouter> {
  const { mesh } = await routerWith(name)
  await work(mesh).finally(() => mesh.stop())
  return mesh
}

test('a line that a crash has torn is left out, and the next one is whole', async () => {
  const path = join(folder, 'torn')
  await appendStops(path, [stopAt(1_000), stopAt(2_000)])
  assert.equal((await stat(path)).mode & 0o777, 0o600)
  await truncate(path, (await stat(path)).size - 20)
  await appendStops(path, [stopAt(3_000)])
  assert.deepEqual(await idsIn(path), [firstIdAt('aud', 1_000), firstIdAt('aud', 3_000)])
  const altered = (await readFile(path, 'utf8')).replace('key_one', 'key_two')
  await writeFile(path, altered)
  const kinds: string[] = []
  for await (const { kind } of readRevocations(path)) kinds.push(kind)
  assert.deepEqual(kinds, ['damaged', 'damaged', 'stop'])
  assert.match(altered, /^(aud_\w{26} key\.revoked key_\w+ [\d-]+T[\d:.]+Z [0-9a-f]{8}\n|.*\n)*$/)
})

test('processes that append at once, while the file is compacted, lose no line', async () => {
  const path = join(folder, 'busy')
  const module = join(import.meta.dirname, '../src/storage/revocation-file.ts')
  const run = (from: number) =>
    promisify(execFile)(process.execPath, ['--input-type=module', '-e', APPENDER, module, path, String(from)])
  let [lines, compactions] = [0, 0]
  // How often the two meet is the machine's affair.
  for (let from = 100; compactions < MEETINGS; from += 300) {
    let isOver = false
    const appending = Promise.all([from, from + 100, from + 200].map(run)).finally(() => {
      isOver = true
    })
    while (!isOver) if (await compactRevocations(path, new Date(0))) compactions++
    await appending
    lines += 120
  }
  assert.equal(new Set(await idsIn(path)).size, lines)
  await compactRevocations(path, new Date(0))
  assert.equal((await idsIn(path)).length, lines, 'what stood there twice does not')
})

test('what a router stops is in its journal when it answers, and in those of the others soon', async (t) => {
  const [one, two] = [await routerWith('one'), await routerWith('two')]
  t.after(() => Promise.all([one.mesh.stop(), two.mesh.stop()]))
  const { id: accountId, keyId, key } = await one.mesh.account()
  const made = await one.mesh.request('POST', '/v1/api-keys', { key, body: { name: 'Child' } })
  const lines = async (journal: string) => (await readFile(journal, 'utf8')).split('\n')
  const has = async (journal: string, words: string) =>
    (await lines(journal)).some((line) => line.includes(words))
  const ask = async (method: string, path: string, body?: unknown) => {
    const { status, text } = await one.mesh.request(method, path, { key: ADMIN_KEY, body })
    assert.ok(status < 300, text)
  }
  const steps: readonly (readonly [action: () => Promise<void>, words: string])[] = [
    [
      () => ask('PATCH', `/v1/accounts/${accountId}`, { status: 'suspended' }),
      `account.suspended ${accountId}`,
    ],
    [() => ask('PATCH', `/v1/accounts/${accountId}`, { status: 'active' }), `account.active ${accountId}`],
    [() => ask('POST', `/v1/api-keys/${keyId}/rotate`, { graceSeconds: 3600 }), `key.rotated ${keyId}`],
    [() => ask('DELETE', `/v1/api-keys/${made.json.id}`), `key.revoked ${made.json.id}`],
    [() => ask('DELETE', `/v1/api-keys/${keyId}`), `key.revoked ${keyId}`],
  ]
  for (const [action, words] of steps) {
    assert.equal(await has(one.journal, words), false)
    await action()
    assert.equal(await has(one.journal, words), true, words)
    await until(`the other router hears: ${words}`, () => has(two.journal, words))
  }
  for (const line of [...(await lines(one.journal)), ...(await lines(two.journal))]) {
    assert.match(
      line,
      /^$|^books aud_\w{26} [0-9a-f]{8}$|^aud_\w{26} [a-z_.]+ (key|acct|opk)_\w{26} [\d-]{10}T[\d:.]{12}Z [0-9a-f]{8}$/,
    )
  }
})

test('a router whose folder cannot be written to serves, and says that its journal is behind', async () => {
  await writeFile(join(folder, 'in-the-way'), '')
  const { logged } = await whileServing('in-the-way', async (mesh) => {
    const { keyId, key } = await mesh.account()
    const revoked = await mesh.request('DELETE', `/v1/api-keys/${keyId}`, { key: ADMIN_KEY })
    assert.equal(revoked.status, 200, revoked.text)
    assert.equal((await send(mesh, key, CALL)).status, 401)
  })
  const lines = logged.filter(({ level }) => level === 'error').map(({ message }) => message)
  assert.deepEqual([...new Set(lines)], ['the revocation journal is behind'])
})

test('a start tells books that were set back what its journal knows, once', async () => {
  const accounts: TestAccount[] = []
  await whileServing('back', async (mesh) => {
    for (let count = 0; count < 3; count++) accounts.push(await mesh.account())
    const [stopped, graced, suspended] = accounts
    const asked = (method: string, path: string, body?: unknown) =>
      mesh.request(method, path, { key: ADMIN_KEY, body })
    await asked('DELETE', `/v1/api-keys/${stopped?.keyId}`)
    await asked('POST', `/v1/api-keys/${graced?.keyId}/rotate`, { graceSeconds: 600 })
    await asked('PATCH', `/v1/accounts/${suspended?.id}`, { status: 'closed' })
  })
  const [stopped, graced, suspended] = accounts
  assert.ok(stopped && graced && suspended)
  await setBack()
  await whileServing('back', async (mesh) => {
    const codeOf = async (key: string) => (await send(mesh, key, CALL)).json.error?.code
    assert.equal(await codeOf(stopped.key), 'key_revoked')
    assert.equal(await codeOf(suspended.key), 'account_suspended')
    assert.equal(await codeOf(graced.key), undefined, 'its grace still runs')
    const late = { key: ADMIN_KEY, body: { graceSeconds: 86_400 } }
    const rotated = await mesh.request('POST', `/v1/api-keys/${graced.keyId}/rotate`, late)
    assert.equal(rotated.status, 201, rotated.text)
    const { json: key } = await mesh.request('GET', `/v1/api-keys/${graced.keyId}`, { key: ADMIN_KEY })
    assert.ok(Date.parse(key.stopsAt) < Date.now() + HOUR_MS, 'no new grace lengthens the old one')
    const { json: audit } = await mesh.request('GET', `/v1/audit?accountId=${stopped.id}`, { key: ADMIN_KEY })
    const revoked = audit.data.filter(({ action }: { action: string }) => action === 'key.revoked')
    assert.deepEqual(
      revoked.map(({ actor, target }: { actor: string; target: string }) => [actor, target]),
      [['revocations', stopped.keyId]],
    )
    const active = { key: ADMIN_KEY, body: { status: 'active' } }
    await mesh.request('PATCH', `/v1/accounts/${suspended.id}`, active)
  })
  await whileServing('back', async (mesh) => {
    assert.equal((await send(mesh, suspended.key, CALL)).status, 200, 'the operator has decided')
  })
})

/** Makes the books those of before every stop, as a database is that somebody restored by its own means. */
async function setBack(): Promise<void> {
  await shared.database().pool.query(`
    alter table audit_events disable trigger user;
    delete from audit_events where action in ('key.revoked', 'key.rotated', 'account.updated');
    alter table audit_events enable trigger user;
    update api_keys set revoked_at = null, stops_at = null, successor_id = null;
    update accounts set status = 'active'`)
}

test('backups are kept by number, and the journal back to the oldest of them', async () => {
  const home = join(folder, 'one')
  const journal = join(home, 'revocations')
  const backups = join(folder, 'backups')
  const environment = {
    MESH_HOME: home,
    DATABASE_URL: connectionUrl(shared.connection),
    MESH_SIGNING_KEY_FILE: join(home, 'none.pem'),
  }
  const [old, recent] = [stopAt(Date.now() - 2 * HOUR_MS), stopAt(Date.now() - HOUR_MS / 2)]
  await appendStops(journal, [old, recent])
  await copyFile(journal, `${journal}.whole`)
  const made: string[] = []
  for (const keep of ['2', '2', '2', '1']) {
    // Their names are of the second.
    await until('a new second', () => made.length === 0 || !made.at(-1)?.includes(secondNow()))
    const { code, said } = await runOps(backup, [backups], { keep, json: true }, environment)
    assert.equal(code, 0, said)
    made.push(JSON.parse(said).file)
    const kept = await readdir(backups)
    assert.deepEqual(
      kept.sort(),
      made.slice(-keep).map((path) => path.slice(backups.length + 1)),
    )
  }
  const ids: string[] = await idsIn(journal)
  assert.deepEqual([ids.includes(old.auditId), ids.includes(recent.auditId)], [false, true])
  const since = (await summariseRevocations(journal))?.since
  assert.ok(since !== undefined && since.getTime() < Date.now() - HOUR_MS)

  // The journal begins at the oldest backup, so for a file from before it says too little.
  const before = { since: new Date(Date.now() + HOUR_MS) }
  await compactRevocations(journal, before.since)
  const target = await createTestDatabase()
  const into = { ...environment, DATABASE_URL: connectionUrl(target.connection) }
  const newest = made.at(-1) ?? ''
  const options = { 'new-signing-key': true }
  const refused = await runOps(importCommand, [newest], options, into)
  assert.deepEqual(
    [refused.code, /The journals are of other books, or begin after/.test(refused.said)],
    [1, true],
    refused.said,
  )
  // Nor does one of another database, which knows nothing of these keys and says so by its silence.
  const ofOthers = join(folder, 'of-others')
  await appendBooks(ofOthers, firstIdAt('aud', 1))
  const elsewhere = await runOps(importCommand, [newest], { ...options, revocations: [ofOthers] }, into)
  assert.deepEqual([elsewhere.code, /The journals are of other books/.test(elsewhere.said)], [1, true])
  const whole = { ...options, revocations: [`${journal}.whole`] }
  assert.equal((await runOps(importCommand, [newest], whole, into)).code, 0)
  await target.close()
})

test('what cannot be a backup is told in one line for programs', async () => {
  const environment = { MESH_HOME: join(folder, 'nothing') }
  const { code, said } = await runOps(backup, [join(folder, 'backups-2')], { json: true }, environment)
  assert.equal(code, 1)
  assert.match(JSON.parse(said).error, /^There is no database in .* yet: /)
  await appendFile(join(folder, 'file'), '')
  const noFolder = await runOps(backup, [join(folder, 'file')], { json: true }, environment)
  assert.match(JSON.parse(noFolder.said).error, /cannot be made/)
})

function secondNow(): string {
  return new Date().toISOString().slice(0, 19).replace(/[-:]/g, '')
}
