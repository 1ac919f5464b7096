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

/**
 * Replays the whole ledger and tells every difference: transactions that do not sum to zero, balances, holds and
 * counters that are not the sum of their parts, events without their transaction, charges that are not what their
 * price list makes of their tokens, receipts that say something else. Nothing is changed. Meant for books that rest:
 * its queries each see their own moment. Rejects with PostgreSQL's errors.
 */
export async function* verifyLedger(database: Database): AsyncGenerator<Difference> {
  yield* verifyBooks(database)
  yield* verifyCharges(database)
}
