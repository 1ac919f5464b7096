import type pg from 'pg'
import { type Database, endConnection } from '../storage/database.ts'

const STATEMENT_TIMEOUT_MS = 4_000
/**
 * How long a batch waits for a book that somebody else has, and all of its accounts with it. Other batches have one
 * for milliseconds; what is longer is somebody's own doing, and the accounts that nobody has go on without the others.
 */
const LOCK_TIMEOUT_MS = 200
/** The client's own bound, for a server that no longer keeps to its own. */
export const QUERY_TIMEOUT_MS = 6_000

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
    await endConnection(client)
    throw error
  }
}
