import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { type TestContext, test } from 'node:test'
import pg from 'pg'
import { startEmbeddedPostgres } from '../src/storage/embedded-postgres.ts'
import { isPostmaster, livePostmaster } from '../src/storage/postmaster.ts'
import { StartupError } from '../src/storage/startup-error.ts'
import { canEnter, isRoot, type SystemUser, unprivilegedUser } from '../src/storage/system-user.ts'
import { until } from './support/until.ts'

const OWNER = join(import.meta.dirname, 'support', 'embedded-owner.ts')
const ROOT_ONLY = isRoot() ? false : 'only root runs PostgreSQL as somebody else'

/** A home that does not exist yet, in a folder that everybody may enter; what it grew is taken away afterwards. */
function newHome(t: TestContext, words = ''): string {
  const parent = mkdtempSync(join(tmpdir(), `mesh-home-${words}`))
  chmodSync(parent, 0o755)
  const home = join(parent, '.mesh')
  t.after(async () => {
    const folder = existsSync(join(home, 'postgres')) ? realpathSync(join(home, 'postgres')) : undefined
    if (folder !== undefined) {
      const left = livePostmaster(join(folder, 'data'))
      if (left !== undefined) process.kill(left.pid, 'SIGQUIT')
      await until('no server is left', () => livePostmaster(join(folder, 'data')) === undefined)
      rmSync(folder, { recursive: true, maxRetries: 5 })
    }
    rmSync(parent, { recursive: true, maxRetries: 5 })
  })
  return home
}

function start(home: string, notices: string[] = []) {
  return startEmbeddedPostgres({ home, notice: (text) => notices.push(text) })
}

interface Owner {
  readonly child: ChildProcess
  readonly origin: string
  readonly connection: pg.ClientConfig
  /** The next line that it prints. */
  line(): Promise<string>
  stop(): Promise<void>
}

/** The same in a process of its own, which can be killed. */
async function startOwner(t: TestContext, home: string, user?: SystemUser): Promise<Owner> {
  const child = spawn(process.execPath, [OWNER, home], {
    cwd: '/',
    stdio: ['pipe', 'pipe', 'inherit'],
    detached: true,
    ...user,
  })
  t.after(() => child.kill('SIGKILL'))
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const line = async () => String((await lines.next()).value)
  const { origin, connection } = JSON.parse(await line())
  return {
    child,
    origin,
    connection,
    line,
    async stop() {
      const ended = once(child, 'exit')
      child.stdin.end()
      assert.deepEqual(await ended, [0, null])
    },
  }
}

async function kill(child: ChildProcess): Promise<void> {
  const ended = once(child, 'exit')
  child.kill('SIGKILL')
  await ended
}

async function ask(connection: pg.ClientConfig, statement: string): Promise<unknown> {
  const client = new pg.Client(connection)
  client.on('error', () => undefined)
  await client.connect()
  try {
    const { rows } = await client.query({ text: statement, rowMode: 'array' })
    return rows[0]?.[0]
  } finally {
    await client.end()
  }
}

function refusal(words: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof StartupError, String(error))
    assert.match(error.message, words)
    assert.doesNotMatch(error.message, /\n/)
    return true
  }
}

const dataOf = (home: string) => join(realpathSync(join(home, 'postgres')), 'data')
const modeOf = (file: string) => (statSync(file).mode & 0o777).toString(8)

function serverOf(home: string): number {
  const found = livePostmaster(dataOf(home))
  assert.ok(found, 'a server runs')
  return found.pid
}

test('a first start makes a private database, and a second one finds it again', async (t) => {
  const home = newHome(t)
  const first = await start(home)
  assert.equal(first.origin, 'created')
  assert.equal(await ask(first.connection, 'show server_encoding'), 'UTF8')
  assert.equal(
    await ask(first.connection, 'select datcollate from pg_database where datname = current_database()'),
    'C',
  )
  assert.equal(await ask(first.connection, 'show listen_addresses'), '')
  assert.equal(await ask(first.connection, 'show fsync'), 'on')
  await assert.rejects(ask({ ...first.connection, password: 'wrong' }, 'select 1'), { code: '28P01' })
  await ask(first.connection, 'create table kept as select 7 as seven')
  const folder = realpathSync(join(home, 'postgres'))
  assert.equal(modeOf(join(folder, 'password')), '600')
  assert.equal(modeOf(dataOf(home)), '700')
  assert.equal(modeOf(home), isRoot() ? '710' : '700')
  await first.stop()
  assert.equal(livePostmaster(dataOf(home)), undefined)

  const second = await start(home)
  assert.equal(second.origin, 'started')
  assert.equal(await ask(second.connection, 'select seven from kept'), 7)
  await second.stop()
})

test('the log of the database holds nothing of statements, parameters or rows', async (t) => {
  const home = newHome(t)
  const postgres = await start(home)
  t.after(() => postgres.stop())
  const canary = 'canary-in-a-statement'
  await ask(postgres.connection, 'create table marks (mark text unique)')
  await ask(postgres.connection, `insert into marks values ('${canary}')`)
  await assert.rejects(ask(postgres.connection, `insert into marks values ('${canary}')`), { code: '23505' })
  await assert.rejects(ask(postgres.connection, `select '${canary}'::int`), { code: '22P02' })
  await assert.rejects(ask(postgres.connection, `select '{${canary}'::json`), { code: '22P02' })
  await assert.rejects(ask(postgres.connection, `do $$ begin raise '${canary}'; end $$`), { code: 'P0001' })
  // What is fatal is logged, and names no more than a database: so this test can see.
  await assert.rejects(ask({ ...postgres.connection, database: 'planted-name' }, 'select 1'), {
    code: '3D000',
  })
  const log = readFileSync(join(home, 'postgres', 'postgres.log'), 'utf8')
  assert.match(log, /planted-name/)
  assert.doesNotMatch(log, /canary/)
})

test('a killed router leaves its database running, and the next start adopts it', async (t) => {
  const home = newHome(t)
  const owner = await startOwner(t, home)
  const server = serverOf(home)
  await kill(owner.child)
  const next = await start(home)
  assert.equal(next.origin, 'adopted')
  assert.equal(serverOf(home), server)
  assert.equal(await ask(next.connection, 'select 1'), 1)
  await next.stop()
  assert.equal(isPostmaster(server, dataOf(home)), false)
})

test('after router and database were killed, the next start clears up and keeps what was committed', async (t) => {
  const home = newHome(t)
  const owner = await startOwner(t, home)
  await ask(owner.connection, 'create table kept as select 7 as seven')
  const server = serverOf(home)
  await kill(owner.child)
  process.kill(server, 'SIGKILL')
  const next = await start(home)
  t.after(() => next.stop())
  assert.notEqual(serverOf(home), server)
  assert.equal(await ask(next.connection, 'select seven from kept'), 7)
})

test('a stale postmaster.pid whose number another process has by now is no obstacle', async (t) => {
  const home = newHome(t)
  const first = await start(home)
  const file = join(dataOf(home), 'postmaster.pid')
  const text = readFileSync(file, 'utf8')
  await first.stop()
  // A stranger of the same user, for PostgreSQL disregards those of other users by itself.
  const stranger = spawn('/bin/sh', ['-c', 'read -r _'], {
    cwd: '/',
    ...(isRoot() ? unprivilegedUser() : {}),
  })
  t.after(() => stranger.kill())
  writeFileSync(file, text.replace(/^\d+/, String(stranger.pid)))
  const { uid, gid } = statSync(dataOf(home))
  chownSync(file, uid, gid)
  const second = await start(home)
  t.after(() => second.stop())
  assert.equal(second.origin, 'started')
})

test('a second router on the same folder is refused, and other commands use the database of the first', async (t) => {
  const home = newHome(t)
  const owner = await startOwner(t, home)
  await assert.rejects(start(home), refusal(/^Another MESH already runs on .*MESH_HOME/))
  const attached = await startEmbeddedPostgres({ home, whenBusy: 'attach', notice: () => undefined })
  assert.equal(attached.origin, 'attached')
  assert.equal(await ask(attached.connection, 'select 1'), 1)
  await attached.stop()
  assert.equal(await ask(owner.connection, 'select 1'), 1)
  await owner.stop()
  const next = await start(home)
  assert.equal(next.origin, 'started')
  await next.stop()
})

test('Ctrl-C reaches the router and not the database', async (t) => {
  const owner = await startOwner(t, newHome(t))
  assert.ok(owner.child.pid)
  process.kill(-owner.child.pid, 'SIGINT')
  assert.equal(await owner.line(), 'interrupted')
  assert.equal(await ask(owner.connection, 'select 1'), 1)
  await owner.stop()
})

test('a database that dies under a running router is started again', async (t) => {
  const home = newHome(t)
  const notices: string[] = []
  const postgres = await start(home, notices)
  const server = serverOf(home)
  process.kill(server, 'SIGKILL')
  await until('another server runs', () => (livePostmaster(dataOf(home))?.pid ?? server) !== server)
  await until('it answers', () =>
    ask(postgres.connection, 'select 1').then(
      (one) => one === 1,
      () => false,
    ),
  )
  await postgres.stop()
  assert.equal(livePostmaster(dataOf(home)), undefined)
  assert.ok(notices.includes('PostgreSQL ended by itself; MESH starts it again.'))
})

test('a folder whose path is too long for a socket works all the same', async (t) => {
  const home = newHome(t, 'long-'.repeat(24))
  const postgres = await start(home)
  assert.equal(await ask(postgres.connection, 'select 1'), 1)
  assert.ok(!postgres.connection.host.startsWith(realpathSync(home)))
  assert.equal(modeOf(postgres.connection.host), '700')
  await postgres.stop()
  assert.equal(existsSync(postgres.connection.host), false)
})

test('a database of another major version is refused', async (t) => {
  const home = newHome(t)
  await (await start(home)).stop()
  writeFileSync(join(dataOf(home), 'PG_VERSION'), '17\n')
  await assert.rejects(start(home), refusal(/made by PostgreSQL 17, and this is PostgreSQL \d+/))
})

test('programs that do not run here are refused, by name where they were named', async (t) => {
  const home = newHome(t)
  const named = { home, binFolder: '/nowhere', notice: () => undefined }
  await assert.rejects(startEmbeddedPostgres(named), refusal(/MESH_POSTGRES_BIN names \/nowhere/))
})

test('a folder that cannot be made is refused', async () => {
  await assert.rejects(start('/dev/null/mesh'), refusal(/cannot be made: set MESH_HOME/))
})

test('root: below a closed folder the database moves to where its user can reach it, and says so once', {
  skip: ROOT_ONLY,
}, async (t) => {
  const home = newHome(t)
  chmodSync(join(home, '..'), 0o700)
  const notices: string[] = []
  const first = await start(home, notices)
  await ask(first.connection, 'create table kept as select 7 as seven')
  await first.stop()
  assert.equal(notices.length, 1)
  const target = readlinkSync(join(home, 'postgres'))
  assert.ok(notices[0]?.includes(target))
  assert.equal(await canEnter(join(target, 'data'), unprivilegedUser()), true)
  const second = await start(home, notices)
  assert.equal(await ask(second.connection, 'select seven from kept'), 7)
  await second.stop()
  assert.equal(notices.length, 1)

  rmSync(target, { recursive: true })
  await assert.rejects(start(home), refusal(/which is gone/))
  rmSync(join(home, 'postgres'))
})

test('root: the database stays with the project where its user can reach it', {
  skip: ROOT_ONLY,
}, async (t) => {
  const home = newHome(t)
  if (!(await canEnter(join(home, '..'), unprivilegedUser()))) return t.skip('the temporary folder is closed')
  const postgres = await start(home)
  await postgres.stop()
  assert.ok(lstatSync(join(home, 'postgres')).isDirectory())
  assert.equal(statSync(dataOf(home)).uid, unprivilegedUser().uid)
  assert.equal(statSync(join(home, 'postgres')).uid, 0)
})

test('an ordinary user starts it as himself; root adopts it for him, and another user is refused', async (t) => {
  if (!isRoot()) return t.skip('this run is an ordinary user, as every other test here shows')
  const user = unprivilegedUser()
  if (!(await canEnter(import.meta.dirname, user))) return t.skip('that user cannot enter the project')
  const parent = join(newHome(t), '..')
  chownSync(parent, user.uid, user.gid)
  const home = join(parent, '.mesh')
  const owner = await startOwner(t, home, user)
  assert.equal(owner.origin, 'created')
  assert.equal(modeOf(home), '700')
  assert.equal(statSync(home).uid, user.uid)
  await kill(owner.child)
  const byRoot = await start(home)
  assert.equal(byRoot.origin, 'adopted')
  await byRoot.stop()
  const again = await startOwner(t, home, user)
  assert.equal(again.origin, 'started')
  await again.stop()
})

test("another user's folder is refused", async (t) => {
  if (!isRoot()) return t.skip('only root can make a folder of another user')
  const user = unprivilegedUser()
  if (!(await canEnter(import.meta.dirname, user))) return t.skip('that user cannot enter the project')
  const home = newHome(t)
  mkdirSync(home, { mode: 0o700 })
  const child = spawn(process.execPath, [OWNER, home], { cwd: '/', ...user })
  const said = child.stderr.toArray()
  assert.deepEqual(await once(child, 'exit'), [1, null])
  assert.match(Buffer.concat(await said).toString(), /^This user may not use .*\n$/)
})
