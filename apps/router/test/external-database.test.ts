import assert from 'node:assert/strict'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { startRouter } from '../src/router.ts'
import { systemSeams } from '../src/seams.ts'
import { readSettings } from '../src/settings.ts'
import { StartupError } from '../src/storage/startup-error.ts'
import { createTestDatabase } from './support/test-database.ts'
import { connectionUrl, startTestRouter } from './support/test-router.ts'
import { startWayTo } from './support/way-to-database.ts'

const PASSWORD = 'CANARY_pw'

async function startOn(url: string): Promise<void> {
  const environment = { PORT: '0', DATABASE_URL: url, MESH_SIGNING_KEY_FILE: 'none.pem' }
  const settings = readSettings(environment, tmpdir())
  const log = { error() {}, warn() {}, info() {}, debug() {} }
  await startRouter({ settings, log, seams: systemSeams, notice: () => undefined })
}

/** What a start on a URL says, which is one sentence that quotes nothing of it. */
async function refusalOf(url: string): Promise<string> {
  let message = ''
  await assert.rejects(startOn(url), (error) => {
    assert.ok(error instanceof StartupError, `${url}: ${error}`)
    message = error.message
    return true
  })
  assert.match(message, /^[A-Z][^\n]*\.$/)
  for (const part of [PASSWORD, 'somebody', 'somewhere', url]) assert.ok(!message.includes(part), message)
  return message
}

async function listener(t: TestContext, onConnection: (socket: Socket) => void): Promise<string> {
  const server: Server = createServer((socket) => {
    socket.on('error', () => undefined)
    t.after(() => socket.destroy())
    onConnection(socket)
  })
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  t.after(() => server.close())
  const address = server.address()
  return `127.0.0.1:${address !== null && typeof address === 'object' ? address.port : 0}`
}

test('a URL of no database that can be used is one sentence, and none of its parts', async (t) => {
  const testDatabase = await createTestDatabase()
  const way = await startWayTo(testDatabase)
  t.after(async () => {
    await way.close()
    await testDatabase.close()
  })
  const right = new URL(way.url.replace('@/', '@localhost/'))
  const { port } = Object.fromEntries(right.searchParams)
  const at = (user: string, password: string, database: string): string =>
    `postgresql://${user}:${password}@127.0.0.1:${port}/${database}`
  const { user, password, database } =
    'url' in testDatabase.connection ? assert.fail() : testDatabase.connection

  for (const url of [
    'somewhere',
    `http://somebody:${PASSWORD}@somewhere/mesh`,
    `postgresql://somebody:${PASSWORD}@somewhere:99999/mesh`,
    `postgresql://somebody:${PASSWORD}#1@somewhere/mesh`,
    `postgresql://somebody:${PASSWORD}@somewhere/mesh?sslrootcert=/nonexistent`,
  ]) {
    assert.match(await refusalOf(url), /^DATABASE_URL must have the form postgresql:/)
  }
  assert.match(
    await refusalOf(`postgresql://somebody:${PASSWORD}@somewhere.invalid/mesh`),
    /^The host in DATABASE_URL is not found/,
  )
  assert.match(
    await refusalOf(`postgresql://somebody:${PASSWORD}@127.0.0.1:1/mesh`),
    /^Nothing takes connections at the host and port/,
  )
  assert.match(await refusalOf(at(user, PASSWORD, database)), /refuses the user or the password/)
  assert.match(await refusalOf(at('somebody', PASSWORD, database)), /refuses the user or the password/)
  assert.match(await refusalOf(at(user, password, 'somewhere_else')), /does not exist/)
  assert.match(await refusalOf(`${at(user, password, database)}?sslmode=require`), /TLS/)

  const http = await listener(t, (socket) => socket.once('data', () => socket.end('HTTP/1.1 400 \r\n\r\n')))
  const silent = await listener(t, () => undefined)
  for (const other of [http, silent]) {
    assert.match(
      await refusalOf(`postgresql://somebody:${PASSWORD}@${other}/mesh`),
      /does not answer as PostgreSQL does/,
    )
  }

  const { pool } = testDatabase.database()
  const guest = `guest_${database}`
  await pool.query(`create role ${guest} login password '${PASSWORD}'`)
  await pool.query('drop schema public cascade; create schema public')
  try {
    for (const right of ['', `grant usage on schema public to ${guest}`]) {
      await pool.query(right)
      assert.match(await refusalOf(at(guest, PASSWORD, database)), /may not make tables/)
    }
  } finally {
    await pool.query(`drop owned by ${guest}; drop role ${guest}`)
  }
})

test('settings refuse a malformed DATABASE_URL before anything is started', () => {
  const read = (url: string) =>
    readSettings({ DATABASE_URL: url, MESH_SIGNING_KEY_FILE: 'key.pem' }, tmpdir())
  for (const url of ['', 'postgres://localhost/mesh', 'postgresql://u:p%40@/mesh?host=/run/postgresql']) {
    assert.equal(read(url).databaseUrl?.reveal(), url === '' ? undefined : url)
  }
  for (const url of ['mesh', '/run/postgresql mesh', 'mysql://localhost/mesh', 'postgresql://[/mesh']) {
    assert.throws(() => read(url), StartupError, url)
  }
})

test('a start on a database elsewhere makes its folder for the journal, and an admin key where none is set', async () => {
  const parent = await mkdtemp(join(tmpdir(), 'mesh-elsewhere-'))
  const testDatabase = await createTestDatabase()
  const home = join(parent, 'new', 'home')
  const environment = { MESH_HOME: home, DATABASE_URL: connectionUrl(testDatabase.connection) }
  try {
    const configured = await startTestRouter({ environment })
    assert.equal(configured.router.adminKeyFile, null)
    await configured.stop()
    assert.deepEqual(readdirSync(home), ['revocations'])

    const made = await startTestRouter({ environment: { ...environment, MESH_ADMIN_KEY: '' } })
    try {
      assert.equal(statSync(home).mode & 0o777, 0o700)
      assert.equal(made.router.adminKeyFile, join(home, 'admin-key'))
      const key = readFileSync(join(home, 'admin-key'), 'utf8').trim()
      assert.equal((await made.request('GET', '/v1/accounts', { key })).status, 200)
    } finally {
      await made.stop()
    }
  } finally {
    await testDatabase.close()
    await rm(parent, { recursive: true })
  }
})
