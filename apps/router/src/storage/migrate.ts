import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type pg from 'pg'
import type { BoundedQuery } from './database.ts'
import { StartupError } from './startup-error.ts'

const MIGRATIONS_FOLDER = join(import.meta.dirname, 'migrations')
const FILE_NAME = /^(\d{4})-([a-z0-9-]+)\.sql$/
/** Any number will do that nothing else in the database locks: "MESH" in ASCII, then a place of its own. */
const MIGRATION_LOCK = 0x4d455348_0001n
const OLDEST_SERVER_VERSION = 150000

/** One numbered step of the schema. Once released it never changes; a later step corrects it. */
export interface Migration {
  readonly number: number
  readonly name: string
  readonly sql: string
  readonly sha256: string
}

/** Reads the steps of a folder in the order of their numbers: `0001-tables.sql`, `0002-…`, with no gap. */
export function readMigrations(folder: string = MIGRATIONS_FOLDER): Migration[] {
  const migrations = readdirSync(folder)
    .filter((file) => file.endsWith('.sql'))
    .sort()
    .map((file): Migration => {
      const [, number, name] = FILE_NAME.exec(file) ?? []
      if (number === undefined || name === undefined) throw new Error(`${file} is not named NNNN-words.sql`)
      const sql = readFileSync(join(folder, file), 'utf8')
      return { number: Number(number), name, sql, sha256: createHash('sha256').update(sql).digest('hex') }
    })
  for (const [index, { number }] of migrations.entries()) {
    if (number !== index + 1) throw new Error(`migration ${index + 1} is missing or there twice`)
  }
  return migrations
}

/**
 * Brings the schema up to date: each step in a transaction of its own, under a lock that lets any number of routers
 * start at once. Returns how many steps were new. Throws `StartupError` for a database that this version of MESH
 * must not touch; other errors are PostgreSQL's.
 */
export async function migrate(
  pool: pg.Pool,
  migrations: readonly Migration[] = readMigrations(),
): Promise<number> {
  const client = await pool.connect()
  try {
    // A step may take longer than any request, and so may waiting for the router that is at it.
    await client.query('set statement_timeout = 0; set lock_timeout = 0')
    await lockSchema(client)
    return await applyMissing(client, migrations)
  } finally {
    // Closing the connection gives the lock back and takes the session's settings along.
    client.release(true)
  }
}

/**
 * Checks that MESH can use the server, and keeps everybody else from changing the schema for as long as the session
 * lives: routers that start wait. Throws `StartupError`.
 */
export async function lockSchema(client: pg.ClientBase): Promise<void> {
  await checkServer(client)
  await client.query(unhurried('select pg_advisory_lock($1)', [MIGRATION_LOCK]))
}

async function checkServer(client: pg.ClientBase): Promise<void> {
  const { rows } = await client.query<{ version: number; encoding: string }>(
    `select current_setting('server_version_num')::int as version, current_setting('server_encoding') as encoding`,
  )
  const server = rows[0]
  if (server === undefined || server.version < OLDEST_SERVER_VERSION) {
    throw new StartupError(
      `MESH needs PostgreSQL 15 or newer, and this database is version ${Math.floor((server?.version ?? 0) / 10_000)}.`,
    )
  }
  if (server.encoding !== 'UTF8') {
    throw new StartupError(
      `MESH needs a database in the encoding UTF8, and this one is in ${server.encoding}.`,
    )
  }
}

async function applyMissing(client: pg.PoolClient, migrations: readonly Migration[]): Promise<number> {
  const missing = await missingMigrations(client, migrations)
  for (const migration of missing) await apply(client, migration)
  return missing.length
}

/**
 * The steps that a locked database does not have yet; makes the table that remembers them. Throws `StartupError` where
 * it has others.
 */
export async function missingMigrations(
  client: pg.ClientBase,
  migrations: readonly Migration[],
): Promise<readonly Migration[]> {
  await client.query(
    `create table if not exists schema_migrations (
       number integer primary key,
       name text not null,
       sha256 text not null,
       applied_at timestamptz not null default now()
     )`,
  )
  const { rows: applied } = await client.query<{ number: number; sha256: string }>(
    'select number, sha256 from schema_migrations order by number',
  )
  checkApplied(applied, migrations)
  return migrations.slice(applied.length)
}

/** Throws `StartupError` where a database has steps that are not the first of these. */
export function checkApplied(
  applied: readonly { number: number; sha256: string }[],
  migrations: readonly Migration[],
): void {
  const newest = applied.at(-1)?.number ?? 0
  if (newest > migrations.length) {
    throw new StartupError(
      `The database is of a newer MESH (schema ${newest}, and this one knows ${migrations.length}): start the newer version.`,
    )
  }
  for (const [index, { number, sha256 }] of applied.entries()) {
    const migration = migrations[index]
    if (migration?.number !== number || migration.sha256 !== sha256) {
      throw new StartupError(
        `The database was made with another text of migration ${index + 1} than this MESH has: start the version that made it.`,
      )
    }
  }
}

async function apply(client: pg.PoolClient, migration: Migration): Promise<void> {
  await client.query('begin')
  try {
    await applyWithin(client, migration)
    await client.query('commit')
  } catch (error) {
    await client.query('rollback').catch(() => undefined)
    throw error
  }
}

/** Applies one step in the transaction that the session is in. */
export async function applyWithin(
  client: pg.ClientBase,
  { number, name, sql, sha256 }: Migration,
): Promise<void> {
  await client.query(unhurried(sql))
  await client.query('insert into schema_migrations (number, name, sha256) values ($1, $2, $3)', [
    number,
    name,
    sha256,
  ])
}

/** Takes the client's own bound away too, which the connections of a pool have. `pg` knows no larger time. */
function unhurried(text: string, values?: unknown[]): BoundedQuery {
  return { text, ...(values ? { values } : {}), query_timeout: 2 ** 31 - 1 }
}
