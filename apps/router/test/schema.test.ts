import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, before, type TestContext, test } from 'node:test'
import { MeshError } from '../src/errors.ts'
import { firstIdAt } from '../src/ids.ts'
import { createLog } from '../src/log.ts'
import { type Database, openDatabase } from '../src/storage/database.ts'
import { type Migration, migrate, readMigrations } from '../src/storage/migrate.ts'
import { keepPartitions } from '../src/storage/partition-keeper.ts'
import { createPartitions } from '../src/storage/partitions.ts'
import { StartupError } from '../src/storage/startup-error.ts'
import { createTestDatabase, type TestDatabase } from './support/test-database.ts'

let server: TestDatabase
before(async () => {
  server = await createTestDatabase()
})
after(() => server.close())

/** A database with nothing in it. */
async function emptyDatabase(t: TestContext): Promise<Database> {
  const name = `empty_${randomBytes(8).toString('hex')}`
  const { pool } = server.database(1)
  await pool.query(`create database ${name}`)
  const database = openDatabase(
    { ...server.connection, database: name },
    { poolSize: 8, applicationName: 'mesh-test', statementTimeoutMs: 10_000 },
  )
  t.after(async () => {
    await database.close()
    await pool.query(`drop database ${name} with (force)`)
  })
  return database
}

/** A migrated database. */
async function freshDatabase(t: TestContext): Promise<Database> {
  const fresh = await createTestDatabase()
  t.after(() => fresh.close())
  return fresh.database()
}

function step(number: number, sql: string): Migration {
  return { number, name: 'step', sql, sha256: `sha256 of ${sql}` }
}

async function applied(database: Database): Promise<unknown> {
  const { rows } = await database.pool.query('select number, name from schema_migrations order by number')
  return rows
}

test('an empty database gets every step, once, however many routers start together', async (t) => {
  const database = await emptyDatabase(t)
  const steps = readMigrations()
  const counts = await Promise.all(Array.from({ length: 4 }, () => migrate(database.pool)))
  assert.deepEqual(counts.toSorted(), [0, 0, 0, steps.length])
  assert.deepEqual(
    await applied(database),
    steps.map(({ number, name }) => ({ number, name })),
  )
  assert.equal(await migrate(database.pool), 0)
  assert.deepEqual(await database.query.selectFrom('accounts').selectAll().execute(), [])
})

test('a step that fails leaves nothing of itself and keeps those before it', async (t) => {
  const database = await emptyDatabase(t)
  const good = step(1, 'create table one ()')
  const bad = step(2, 'create table two (); select 1/0')
  await assert.rejects(migrate(database.pool, [good, bad]), { code: '22012' })
  assert.deepEqual(await applied(database), [{ number: 1, name: 'step' }])
  const { rows } = await database.pool.query(`select to_regclass('one') as one, to_regclass('two') as two`)
  assert.deepEqual(rows, [{ one: 'one', two: null }])
  assert.equal(await migrate(database.pool, [good, step(2, 'create table two ()')]), 1)
})

test('a newer schema and another text of an old step are refused in a sentence', async (t) => {
  const database = await emptyDatabase(t)
  const [one, two] = [step(1, 'create table one ()'), step(2, 'create table two ()')]
  await migrate(database.pool, [one, two])
  await assert.rejects(migrate(database.pool, [one]), (error) => {
    assert.ok(error instanceof StartupError)
    return /newer MESH \(schema 2, and this one knows 1\)/.test(error.message)
  })
  await assert.rejects(migrate(database.pool, [step(1, 'create table uno ()'), two]), (error) => {
    assert.ok(error instanceof StartupError)
    return /another text of migration 1/.test(error.message)
  })
})

test('the columns arrive as the types that the tables promise', async (t) => {
  const { pool } = await freshDatabase(t)
  const { rows } = await pool.query(
    `select 9007199254740993::int8 as big, '{1,2}'::int8[] as many, '{}'::int8[] as none,
       '2026-11-23T00:00:00Z'::timestamptz as day, '-infinity'::timestamptz as never,
       current_setting('timezone') as zone, 3 as three`,
  )
  assert.deepEqual(rows, [
    {
      big: 9007199254740993n,
      many: [1n, 2n],
      none: [],
      day: new Date('2026-11-23T00:00:00Z'),
      never: new Date(-8.64e15),
      zone: 'UTC',
      three: 3,
    },
  ])
})

const unavailable = (error: unknown) => error instanceof MeshError && error.code === 'storage_unavailable'

test('a database that cannot be reached is storage_unavailable', async () => {
  const nowhere = { host: '/nonexistent', port: 5432, user: 'mesh', password: 'none', database: 'mesh' }
  const database = openDatabase(nowhere, {
    poolSize: 1,
    applicationName: 'mesh-test',
    statementTimeoutMs: 1_000,
  })
  await assert.rejects(database.query.selectFrom('accounts').selectAll().execute(), unavailable)
  await assert.rejects(database.connect(), unavailable)
  await database.close()
})

test('a lost connection is storage_unavailable once, and the next query has a new one', async (t) => {
  const database = await freshDatabase(t)
  const broken = database.query.transaction().execute(async (transaction) => {
    await database.pool.query(
      'select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()',
    )
    await transaction.selectFrom('accounts').selectAll().execute()
  })
  await assert.rejects(broken, unavailable)
  assert.deepEqual(await database.query.selectFrom('accounts').selectAll().execute(), [])
})

test("a statement's own fault is not storage_unavailable", async (t) => {
  const { query } = await freshDatabase(t)
  const insert = query.insertInto('operator_keys').values({
    id: `opk_${'0'.repeat(26)}`,
    name: 'one',
    secret_sha256: Buffer.alloc(32),
  })
  await insert.execute()
  await assert.rejects(insert.execute(), { code: '23505' })
})

const NOVEMBER_MS = Date.UTC(2026, 10, 23)
const DECEMBER_MS = Date.UTC(2026, 11, 5)

async function addEntries(database: Database, timeMs: number): Promise<void> {
  const id = firstIdAt('led', timeMs)
  await database.query
    .insertInto('ledger_entries')
    .values(
      [1n, -1n].map((amount_nano, index) => ({
        id: `${id.slice(0, -1)}${index}` as typeof id,
        transaction_id: id,
        kind: 'grant' as const,
        ledger_account: index === 0 ? 'customer' : 'grants',
        account_id: firstIdAt('acct', 0),
        livemode: false,
        amount_nano,
      })),
    )
    .execute()
}

async function partitionsInUse({ pool }: Database): Promise<unknown> {
  const { rows } = await pool.query(
    'select distinct tableoid::regclass::text as name from ledger_entries order by 1',
  )
  return rows.map(({ name }) => name)
}

test('partitions are made for this month and the next, once, by any number of routers', async (t) => {
  const database = await freshDatabase(t)
  const made = await Promise.all(
    Array.from({ length: 4 }, () => createPartitions(database.pool, NOVEMBER_MS)),
  )
  assert.deepEqual(made.flat().toSorted(), [
    'events_2026_11',
    'events_2026_12',
    'ledger_entries_2026_11',
    'ledger_entries_2026_12',
  ])
  await addEntries(database, NOVEMBER_MS)
  await addEntries(database, DECEMBER_MS)
  assert.deepEqual(await partitionsInUse(database), ['ledger_entries_2026_11', 'ledger_entries_2026_12'])
  assert.deepEqual(await createPartitions(database.pool, DECEMBER_MS), [
    'events_2027_01',
    'ledger_entries_2027_01',
  ])
})

test('a router makes the next partitions as time goes on', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const database = await freshDatabase(t)
  let nowMs = NOVEMBER_MS
  const keeper = keepPartitions(database, { now: () => nowMs, log: createLog('silent') })
  await keeper.ready
  nowMs = DECEMBER_MS
  t.mock.timers.tick(24 * 60 * 60_000)
  await keeper.stop()
  await addEntries(database, NOVEMBER_MS)
  await addEntries(database, Date.UTC(2027, 0, 31))
  assert.deepEqual(await partitionsInUse(database), ['ledger_entries_2026_11', 'ledger_entries_2027_01'])
})

test('a partition keeps the rules of its table', async (t) => {
  const database = await freshDatabase(t)
  await createPartitions(database.pool, NOVEMBER_MS)
  await addEntries(database, NOVEMBER_MS)
  const { pool } = database
  await assert.rejects(addEntries(database, NOVEMBER_MS), { code: '23505' })
  await assert.rejects(pool.query('delete from ledger_entries_2026_11'), { code: '23001' })
  await assert.rejects(pool.query('update ledger_entries set amount_nano = 2'), { code: '23001' })
})

test('a month whose rows lie in the default partition already stays there', async (t) => {
  const database = await freshDatabase(t)
  await addEntries(database, NOVEMBER_MS)
  const made = await createPartitions(database.pool, NOVEMBER_MS)
  assert.deepEqual(made.toSorted(), ['events_2026_11', 'events_2026_12', 'ledger_entries_2026_12'])
  assert.deepEqual(await partitionsInUse(database), ['ledger_entries_default'])
  assert.deepEqual(await createPartitions(database.pool, NOVEMBER_MS), [])
})
