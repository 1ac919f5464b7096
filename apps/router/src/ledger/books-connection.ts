import type pg from 'pg'
import type { Database } from '../storage/database.ts'

const STATEMENT_TIMEOUT_MS = 4_000
const LOCK_TIMEOUT_MS = 2_000
/** The client's own bound, for a server that no longer keeps to its own. */
export const QUERY_TIMEOUT_MS = 6_000

/** `pg` takes a bound for a single query too, though its types do not say so. */
export type BoundedQuery = pg.QueryConfig & { readonly query_timeout: number }

/**
 * Opens a connection for one batcher. With `off` a commit does not wait for the disk: others see it at once, and only
 * a crash of PostgreSQL itself can lose it, within about half a second. Rejects with `storage_unavailable`.
 */
export async function openBooksConnection(
  database: Database,
  synchronousCommit: 'on' | 'off',
): Promise<pg.Client> {
  const client = await database.connect()
  await orEnd(
    client,
    client.query(
      `set synchronous_commit = ${synchronousCommit};
       set statement_timeout = ${STATEMENT_TIMEOUT_MS};
       set lock_timeout = ${LOCK_TIMEOUT_MS}`,
    ),
  )
  return client
}

/** Waits for the preparation of a connection, and ends it where that fails: nobody else would. */
export async function orEnd(client: pg.Client, preparation: Promise<unknown>): Promise<void> {
  try {
    await preparation
  } catch (error) {
    await client.end().catch(() => undefined)
    throw error
  }
}
