import pg from 'pg'
import { type Database, endConnection } from './database.ts'
import { lockSchema } from './migrate.ts'
import { StartupError } from './startup-error.ts'

/** How long the move waits for statements of others; a router that works holds no lock for as long. */
const LOCK_TIMEOUT_MS = 10_000
const LOCK_NOT_AVAILABLE = '55P03'
/** The sessions of routers, by the names that they give themselves. */
const OF_ROUTERS = `datname = current_database() and pid <> pg_backend_pid()
  and (application_name = 'mesh' or application_name like 'mesh rtr\\_%')`

/** Throws `StartupError` where the books were moved to another database: they must be spent in one place only. */
export async function requireNotMovedAway(database: Pick<Database, 'pool'>): Promise<void> {
  const { rows } = await database.pool.query<{ moved_at: Date }>('select moved_at from moved_away')
  const [moved] = rows
  if (moved === undefined) return
  throw new StartupError(
    `The books of this database were moved away on ${moved.moved_at.toISOString().slice(0, 10)}: start MESH where they were imported, or take the move back with "npm run ops -- export --undo".`,
  )
}

/** Throws `StartupError` where a router is connected to the books. */
export async function requireNoRouter(client: Pick<pg.ClientBase, 'query'>): Promise<void> {
  const { rowCount } = await client.query(`select from pg_stat_activity where ${OF_ROUTERS}`)
  if (rowCount !== 0) throw new StartupError('A router runs on these books: stop every router first.')
}

/**
 * Puts the books out of use, so that what is read afterwards stays what they are: no router starts on them, nothing is
 * held, granted or charged. Returns whether they were in use. Throws `StartupError` where a router uses them, or calls
 * run.
 */
export async function moveAway(database: Pick<Database, 'connect'>): Promise<boolean> {
  let wereInUse = false
  await alone(database, async (client) => {
    await requireNoRouter(client)
    await lockBooks(client)
    const { rowCount: running } = await client.query(
      'select from holds where expires_at > mesh_now() limit 1',
    )
    if (running !== 0) {
      throw new StartupError(
        'Calls still run on these books, or their router died a moment ago: stop every router and try again in a minute.',
      )
    }
    const { rowCount } = await client.query(
      'insert into moved_away default values on conflict do nothing returning moved_at',
    )
    wereInUse = rowCount !== 0
    await setTriggers(client, 'enable')
  })
  return wereInUse
}

/** Takes a move back. Returns whether there was one. */
export async function undoMove(database: Pick<Database, 'connect'>): Promise<boolean> {
  let found = false
  await alone(database, async (client) => {
    const { rowCount } = await client.query('delete from moved_away')
    found = rowCount !== 0
    await lockBooks(client)
    await setTriggers(client, 'disable')
  })
  return found
}

/** Runs a change of the books' use in one transaction, while no router starts. */
async function alone(
  database: Pick<Database, 'connect'>,
  work: (client: pg.Client) => Promise<void>,
): Promise<void> {
  const client = await database.connect()
  try {
    await lockSchema(client)
    await client.query(`begin; set local lock_timeout = ${LOCK_TIMEOUT_MS}`)
    await work(client)
    await client.query('commit')
  } catch (error) {
    if (error instanceof pg.DatabaseError && error.code === LOCK_NOT_AVAILABLE) {
      throw new StartupError('The books are in use: stop every router first.', error)
    }
    throw error
  } finally {
    await endConnection(client)
  }
}

/** In the order in which settlements take them. */
async function lockBooks(client: pg.Client): Promise<void> {
  await client.query('lock table ledger_entries, holds in share row exclusive mode')
}

async function setTriggers(client: pg.Client, change: 'enable' | 'disable'): Promise<void> {
  for (const table of ['ledger_entries', 'holds']) {
    await client.query(`alter table ${table} ${change} trigger ${table}_moved_away`)
  }
}
