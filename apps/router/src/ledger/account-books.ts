import type { Kysely } from 'kysely'
import type { AccountId } from '../ids.ts'
import type { Tables } from '../storage/tables.ts'

const WORLDS = [true, false] as const

/**
 * Opens the books of a new account, one a world, both empty. To be done in the transaction that makes the account: an
 * account without a book can neither be given credit nor spend any.
 */
export async function openAccountBooks(query: Kysely<Tables>, accountId: AccountId): Promise<void> {
  await query
    .insertInto('balances')
    .values(WORLDS.map((livemode) => ({ account_id: accountId, livemode })))
    .onConflict((conflict) => conflict.doNothing())
    .execute()
}
