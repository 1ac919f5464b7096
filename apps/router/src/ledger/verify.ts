import type pg from 'pg'
import type { Database } from '../storage/database.ts'
import { verifyBooks } from './verify-books.ts'
import { verifyCharges } from './verify-charges.ts'

/** Something in the books that is not as it must be. */
export interface Difference {
  /** The rule that is broken. */
  readonly check: string
  /** The id of what breaks it. */
  readonly subject: string
  /** What is wrong, for people. */
  readonly sentence: string
}

/** One connection that sees one moment of the books. */
export type Snapshot = Pick<pg.Client, 'query'>

/**
 * Replays the whole ledger and tells every difference: transactions that do not sum to zero, balances, holds and
 * counters that are not the sum of their parts, events without their transaction, charges that are not what their
 * price list makes of their tokens, receipts that say something else. Nothing is changed, and all of it is read
 * as of one moment, so routers may go on meanwhile. Rejects with PostgreSQL's errors, and with `storage_unavailable`.
 */
export async function* verifyLedger(database: Database): AsyncGenerator<Difference> {
  const snapshot = await database.connect()
  try {
    await snapshot.query('begin isolation level repeatable read read only; set local statement_timeout = 0')
    yield* verifySnapshot(snapshot)
  } finally {
    await snapshot.end()
  }
}

/** As `verifyLedger`, over a connection that is in a transaction: what that has written counts. */
export async function* verifySnapshot(snapshot: Snapshot): AsyncGenerator<Difference> {
  yield* verifyBooks(snapshot)
  yield* verifyCharges(snapshot)
}
