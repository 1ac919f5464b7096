import type { NanoUsd } from '@mesh/catalog/money.ts'
import { sql } from 'kysely'
import { MeshError } from '../errors.ts'
import type { AccountId, CallId, ReceiptId } from '../ids.ts'
import type { Database } from '../storage/database.ts'

/** A caller's `Idempotency-Key` and the body that it stands for, as HMACs: neither is kept. */
export interface IdempotencyClaim {
  readonly accountId: AccountId
  readonly livemode: boolean
  readonly keyHmac: Uint8Array
  readonly bodyHmac: Uint8Array
  readonly callId: CallId
}

/**
 * `claimed`: this call may run. `in_progress`: the first call under this key runs. `replay`: it ran and was billed.
 * `conflict`: the key stands for another body.
 */
export type IdempotencyOutcome =
  | { readonly outcome: 'claimed' }
  | { readonly outcome: 'in_progress' }
  | { readonly outcome: 'replay'; readonly receiptId?: ReceiptId; readonly totalNano: NanoUsd }
  | { readonly outcome: 'conflict' }

/** Where calls claim their keys. */
export interface IdempotencyClaims {
  /** As `claimIdempotencyKey`. */
  claim(claim: IdempotencyClaim): Promise<IdempotencyOutcome>
  /** Frees the key of a call that was refused before anything was held; a call that was billed keeps its key. */
  release(callId: CallId): Promise<void>
}

export function createIdempotencyClaims(database: Database): IdempotencyClaims {
  return {
    claim: (claim) => claimIdempotencyKey(database, claim),
    async release(callId) {
      await database.query
        .deleteFrom('idempotency_keys')
        .where('call_id', '=', callId)
        .where('state', '=', 'running')
        .execute()
    },
  }
}

/** A key may be freed between the attempt to claim it and the look at who has it; that often it never is. */
const ATTEMPTS_MAX = 3

/**
 * Claims a key for a call, durably, before anything is held or sent. Keys are remembered for 24 hours, by the
 * database's clock. Rejects with `storage_unavailable`.
 */
async function claimIdempotencyKey(database: Database, claim: IdempotencyClaim): Promise<IdempotencyOutcome> {
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    if (await insertClaim(database, claim)) return { outcome: 'claimed' }
    const earlier = await database.query
      .selectFrom('idempotency_keys')
      .select(['body_hmac', 'state', 'receipt_id', 'total_nano'])
      .where('account_id', '=', claim.accountId)
      .where('livemode', '=', claim.livemode)
      .where('key_hmac', '=', Buffer.from(claim.keyHmac))
      .executeTakeFirst()
    if (earlier === undefined) continue
    if (!earlier.body_hmac.equals(claim.bodyHmac)) return { outcome: 'conflict' }
    if (earlier.state === 'running') return { outcome: 'in_progress' }
    return {
      outcome: 'replay',
      ...(earlier.receipt_id === null ? {} : { receiptId: earlier.receipt_id }),
      totalNano: earlier.total_nano ?? 0n,
    }
  }
  throw new MeshError('overloaded', 'Too many requests use this Idempotency-Key at once; try again shortly.')
}

/** A key that is a day old is free again, whether or not it was swept already. */
async function insertClaim(database: Database, claim: IdempotencyClaim): Promise<boolean> {
  const { rows } = await sql`
    insert into idempotency_keys as earlier (account_id, livemode, key_hmac, body_hmac, call_id, state, created_at)
    values (${claim.accountId}, ${claim.livemode}, ${Buffer.from(claim.keyHmac)}, ${Buffer.from(claim.bodyHmac)},
      ${claim.callId}, 'running', mesh_now())
    on conflict (account_id, livemode, key_hmac) do update
      set body_hmac = excluded.body_hmac, call_id = excluded.call_id, state = excluded.state,
        receipt_id = null, total_nano = null, created_at = excluded.created_at
      where earlier.created_at < mesh_now() - interval '24 hours'
    returning call_id
  `.execute(database.query)
  return rows.length > 0
}
