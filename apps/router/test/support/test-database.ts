import { createHash, randomBytes } from 'node:crypto'
import pg from 'pg'
import { type ConnectionOptions, type Database, openDatabase } from '../../src/storage/database.ts'
import { migrate, readMigrations } from '../../src/storage/migrate.ts'
import { startTestPostgres, type TestServer } from './test-postgres.ts'

export interface TestDatabase {
  readonly connection: ConnectionOptions
  /** Opens one more set of connections to it, as one more router would. Closed with the test database. */
  database(poolSize?: number): Database
  close(): Promise<void>
}

/** The PostgreSQL that `scripts/test.ts` started for the whole run, as the JSON of a `TestServer`. */
const SHARED_SERVER = 'MESH_TEST_POSTGRES'
const TEMPLATE_LOCK = 1
const STATEMENT_TIMEOUT_MS = 30_000

let server: Promise<TestServer> | undefined
let template: Promise<string> | undefined

/**
 * A database of its own with the newest schema, copied from a template. On the server of the run where there is one,
 * else on one that this process starts and takes down with it.
 */
export async function createTestDatabase(): Promise<TestDatabase> {
  server ??= findServer()
  const at = await server
  template ??= prepareTemplate(at)
  const name = `test_${randomBytes(8).toString('hex')}`
  const from = await template
  await onServer(at, `create database ${name} template ${from}`)
  const connection = { ...at, database: name }
  const opened: Database[] = []
  return {
    connection,
    database(poolSize = 8) {
      const database = openDatabase(connection, {
        poolSize,
        applicationName: 'mesh-test',
        statementTimeoutMs: STATEMENT_TIMEOUT_MS,
      })
      opened.push(database)
      return database
    },
    async close() {
      await Promise.all(opened.map((database) => database.close()))
      await onServer(at, `drop database if exists ${name} with (force)`)
    },
  }
}

async function findServer(): Promise<TestServer> {
  const shared = process.env[SHARED_SERVER]
  return shared === undefined ? (await startTestPostgres()).server : JSON.parse(shared)
}

/** The migrated database that all others are copies of, made once for each text of the migrations. */
async function prepareTemplate(at: TestServer): Promise<string> {
  const migrations = readMigrations()
  const text = createHash('sha256')
  for (const { sha256 } of migrations) text.update(sha256)
  const name = `template_${text.digest('hex').slice(0, 16)}`
  const client = await connect(at)
  try {
    // The lock goes with the connection; processes that start together make one template.
    await client.query('select pg_advisory_lock($1)', [TEMPLATE_LOCK])
    const { rowCount } = await client.query('select from pg_database where datname = $1', [name])
    if (rowCount === 0) {
      const unfinished = `unfinished_${name}`
      await client.query(`drop database if exists ${unfinished} with (force)`)
      await client.query(`create database ${unfinished}`)
      const pool = new pg.Pool({ ...at, database: unfinished, max: 1 })
      await migrate(pool, migrations).finally(() => pool.end())
      await client.query(`alter database ${unfinished} rename to ${name}`)
    }
    return name
  } finally {
    await client.end()
  }
}

async function onServer(at: TestServer, statement: string): Promise<void> {
  const client = await connect(at)
  try {
    await client.query(statement)
  } finally {
    await client.end()
  }
}

async function connect(at: TestServer): Promise<pg.Client> {
  const client = new pg.Client({ ...at, database: 'postgres' })
  await client.connect()
  return client
}
