import type OpenAI from 'openai'
import type { CallId, LedgerEntryId } from '../ids.ts'
import { type ListParams, listOf, type MeshList } from '../page.ts'

/** A row of the account's ledger. USD as decimal strings; what was spent is below zero. */
export interface LedgerEntry {
  readonly id: LedgerEntryId
  readonly object: 'ledger_entry'
  readonly livemode: boolean
  readonly createdAt: string
  readonly type: 'grant' | 'purchase' | 'usage' | 'refund' | 'adjustment'
  readonly amountUsd: string
  readonly balanceAfterUsd: string
  readonly requestId: CallId | null
  readonly reason: string | null
}

/** `mesh.ledger`: grants, purchases and what calls cost, for keys with the scope `usage`. */
export class Ledger {
  readonly #client: OpenAI

  constructor(client: OpenAI) {
    this.#client = client
  }

  list(query: ListParams = {}, options?: OpenAI.RequestOptions): MeshList<LedgerEntry> {
    return listOf(this.#client, '/ledger', { ...query }, options)
  }
}
