import { setTimeout as pause } from 'node:timers/promises'
import type { Id } from '../ids.ts'
import { applicationName, type Database } from '../storage/database.ts'
import { storageError } from '../storage/storage-error.ts'

/** Holds that one statement releases. */
const BATCH_MAX = 256
/** How long books that somebody else has are waited for, and how often it is looked for them. */
const BUSY_PATIENCE_MS = 1_000
const BUSY_PAUSE_MS = 20
/** How long PostgreSQL may take to end one session. */
const SESSION_END_MS = 5_000

/** Which holds are released; `routerId` is the router that they are of, or are not of. */
export interface DeadHolds {
  readonly whose: 'expired' | 'of_router' | 'of_other_routers'
  readonly routerId: Id<'rtr'>
  /** How long after the database's own start no expired hold is released. */
  readonly graceMs?: number
  /** The moment at which they must have expired. Default the present, by the database's clock. */
  readonly asOf?: Date | undefined
}

/**
 * Releases what nobody will settle any more, and returns how many holds that were. Nothing is charged; what providers
 * may bill is absorbed. Holds of accounts that somebody else keeps locked stay until the next time. Rejects with
 * `storage_unavailable`.
 */
export async function releaseHolds(
  { pool }: Pick<Database, 'pool'>,
  { whose, routerId, graceMs = 0, asOf }: DeadHolds,
): Promise<number> {
  let released = 0
  const deadline = performance.now() + BUSY_PATIENCE_MS
  while (true) {
    const { rows } = await pool
      .query<{ count: number; rest: boolean }>(
        `select release_holds($1, $2, $3 * interval '1 millisecond', $4, $5) as count,
           dead_holds_rest($1, $2, $3 * interval '1 millisecond', $5) as rest`,
        [whose, routerId, graceMs, BATCH_MAX, asOf ?? null],
      )
      .catch(rethrow)
    const { count = 0, rest = false } = rows[0] ?? {}
    released += count
    if (!rest) return released
    if (count > 0) continue
    // Somebody else has their books, who mostly needs them for a moment.
    if (performance.now() > deadline) return released
    await pause(BUSY_PAUSE_MS)
  }
}

/**
 * Releases at once what a router held whose process is known to have ended; otherwise that waits for the expiry. Its
 * sessions are ended first: a settlement that PostgreSQL still has in hand would be posted after the release, and the
 * idempotency key, free by then, could be charged a second time. Returns `undefined` where sessions stay: then the
 * holds do too, until they expire.
 */
export async function releaseHoldsOfDead(
  { pool }: Pick<Database, 'pool'>,
  routerId: Id<'rtr'>,
): Promise<number | undefined> {
  const ofRouter = `pg_stat_activity where datname = current_database() and application_name = $1`
  const name = [applicationName(routerId)]
  await pool
    .query(`select pg_terminate_backend(pid, ${SESSION_END_MS}) from ${ofRouter}`, name)
    .catch(rethrow)
  // Asked again, for of a session that was ending by itself PostgreSQL says that it could not be ended.
  const { rowCount: left } = await pool.query(`select from ${ofRouter}`, name).catch(rethrow)
  if (left !== 0) return undefined
  return await releaseHolds({ pool }, { whose: 'of_router', routerId })
}

function rethrow(error: unknown): never {
  throw storageError(error)
}
