import type pg from 'pg'
import { siblingId } from '../ids.ts'
import type { BoundedQuery } from '../storage/database.ts'
import type { LockedBooks } from './batcher.ts'
import type { Settled, Settlement } from './books.ts'
import { QUERY_TIMEOUT_MS } from './books-connection.ts'
import { payerColumns } from './hold-posting.ts'

/** A row that `settle_calls` answers with: see `storage/migrations/0003-settlements.sql`. */
interface SettledRow {
  readonly ledger_entry_id: string | null
  /** Null where somebody else has the account's book: see `0005-busy-books.sql`. */
  readonly duplicate: boolean | null
}

/** A settlement, or one that stands instead of an earlier one of the same call. */
export interface Settling {
  readonly settlement: Settlement
  /** Whether what the earlier one charged, if it was posted, is given back. */
  readonly withdraws: boolean
  /** Whether it is given back where it is posted too late. */
  readonly isWithdrawnIfLate?: boolean
}

/** Posts a batch in one statement. Where books that others have are skipped, the answer for their items is `busy`. */
export async function postSettlements(
  client: pg.Client,
  batch: readonly Settling[],
  lockedBooks: LockedBooks,
): Promise<readonly (Settled | 'busy')[]> {
  const name = lockedBooks === 'wait' ? 'settle_calls' : 'settle_free_calls'
  const statement: BoundedQuery = {
    name,
    text: `select * from ${name}($1)`,
    query_timeout: QUERY_TIMEOUT_MS,
    values: [JSON.stringify(batch.map(settlementRow))],
  }
  const { rows } = await client.query<SettledRow>(statement)
  return rows.map(({ ledger_entry_id, duplicate }, index) => {
    if (duplicate === null) return 'busy'
    if (ledger_entry_id !== null) return { ledgerEntryId: siblingId('led', ledger_entry_id), duplicate }
    // Whatever is charged has its entry.
    const isUnpayable = (batch[index]?.settlement.totalNano ?? 0n) > 0n
    return { duplicate, ...(isUnpayable ? { isUnpayable } : {}) }
  })
}

/**
 * Whether a call can have ended with these amounts: `totalNano` is within what was held, nothing is negative, and a
 * cost is owed to somebody. Anything else is a mistake of the code.
 */
export function isPossible(settlement: Settlement): boolean {
  const { heldNano, totalNano, upstreamNano, absorbed, tokens, provider } = settlement
  return (
    totalNano >= 0n &&
    totalNano <= heldNano &&
    upstreamNano >= 0n &&
    (upstreamNano === 0n || provider !== undefined) &&
    absorbed.every(({ amountNano }) => amountNano >= 0n) &&
    Number.isSafeInteger(tokens) &&
    tokens >= 0
  )
}

/** Keeps a settlement that the database refused. Rejects with PostgreSQL's errors. */
export async function keepRefused(pool: Pick<pg.Pool, 'query'>, settling: Settling): Promise<void> {
  await pool.query(
    'insert into refused_settlements (call_id, settlement) values ($1, $2) on conflict (call_id) do nothing',
    [settling.settlement.callId, JSON.stringify(settlementRow(settling, 0))],
  )
}

function settlementRow({ settlement, withdraws }: Settling, index: number): object {
  const { callId, payer, event, receipt } = settlement
  return {
    place: index + 1,
    ...payerColumns(callId, payer),
    held_nano: settlement.heldNano.toString(),
    held_tokens: settlement.heldTokens,
    total_nano: settlement.totalNano.toString(),
    upstream_nano: settlement.upstreamNano.toString(),
    payable_to: settlement.provider,
    absorbed: settlement.absorbed.map(({ provider, amountNano }) => ({
      provider,
      amount_nano: amountNano.toString(),
    })),
    tokens: settlement.tokens,
    receipt_id: receipt?.id,
    receipt_payload: receipt && Buffer.from(receipt.payload).toString('base64'),
    idempotency: settlement.idempotency,
    withdraws,
    created_at: event.createdAt,
    model_requested: event.modelRequested,
    model_served: event.modelServed,
    provider: event.provider,
    http_status: event.httpStatus,
    error_code: event.errorCode,
    stream: event.stream,
    billing_reason: event.billingReason,
    finish_reason: event.finishReason,
    usage_source: event.usageSource,
    usage_flags: event.usageFlags,
    buckets: event.buckets,
    price_list_id: event.priceListId,
    dispatched_at: event.dispatchedAt,
    attempts: event.attempts,
    routing: event.routing,
    privacy: event.privacy,
    first_token_ms: event.firstTokenMs,
    duration_ms: event.durationMs,
  }
}
