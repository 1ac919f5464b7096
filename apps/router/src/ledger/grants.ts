import type { NanoUsd } from '@mesh/catalog/money.ts'
import { sql } from 'kysely'
import { MeshError } from '../errors.ts'
import type { AccountId, LedgerEntryId } from '../ids.ts'
import type { Database } from '../storage/database.ts'

export interface Grant {
  /** The id of the customer's ledger entry, chosen by the caller: the same id again grants nothing again. */
  readonly id: LedgerEntryId
  readonly accountId: AccountId
  readonly livemode: boolean
  /** More than nothing. */
  readonly amountNano: NanoUsd
  /** The operator's own words, shown with the entry. */
  readonly reason: string
}

/** `repeated`: this grant was made before, and nothing was added now. `conflict`: its id stands for another grant. */
export type GrantOutcome =
  | { readonly outcome: 'granted' | 'repeated'; readonly balanceAfterNano: NanoUsd }
  | { readonly outcome: 'conflict' }

interface GrantRow {
  readonly outcome: 'granted' | 'repeated' | 'conflict' | 'no_account'
  readonly balance_after: bigint | null
}

/**
 * Gives an account credit out of the house's own pocket: one ledger transaction, durable when this resolves.
 * Rejects with `not_found` where there is no such account and with `storage_unavailable`.
 */
export async function grant(database: Database, entry: Grant): Promise<GrantOutcome> {
  const { rows } = await sql<GrantRow>`
    select * from post_grant(${entry.id}, ${entry.accountId}, ${entry.livemode}, ${entry.amountNano}, ${entry.reason})
  `.execute(database.query)
  const [row] = rows
  if (row === undefined || row.outcome === 'no_account') {
    throw new MeshError('not_found', 'There is no such account.')
  }
  if (row.outcome === 'conflict') return { outcome: 'conflict' }
  return { outcome: row.outcome, balanceAfterNano: row.balance_after ?? 0n }
}
