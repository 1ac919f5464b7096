import type { NanoUsd } from '@mesh/catalog/money.ts'
import { sql } from 'kysely'
import { MeshError } from '../errors.ts'
import type { AccountId, CallId, ReceiptId } from '../ids.ts'
import type { Database } from '../storage/database.ts'
import { withinPatience } from '../storage/patience.ts'

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
  /** As `claimIdempotencyKey`, for as long as callers wait. A claim that comes to nobody's knowledge is freed again. */
  claim(claim: IdempotencyClaim): Promise<IdempotencyOutcome>
  /**
   * Frees the key of a call that was refused before anything was held; a call that was billed keeps its key. Where it
   * rejects, the key is freed when the database is back.
   */
  release(callId: CallId): Promise<void>
}

/** How long a caller waits for its claim where nothing else is said. */
const PATIENCE_MS = 5_000

export function createIdempotencyClaims(
  database: Pick<Database, 'query'>,
  { patienceMs = PATIENCE_MS }: { readonly patienceMs?: number } = {},
): IdempotencyClaims {
  const releases = new KeyReleases(database)
  return {
    async claim(claim) {
      const claiming = claimIdempotencyKey(database, claim)
      try {
        return await withinPatience(claiming, patienceMs)
      } catch (error) {
        // The key may be claimed, or come to be, and its call will not run.
        claiming.catch(() => undefined).finally(() => releases.releaseSometime(claim.callId))
        throw error
      }
    },
    release: (callId) => releases.release(callId),
  }
}

const RELEASES_MAX = 10_000
const RELEASE_RETRY_MS = 1_000

/**
 * Frees keys of calls that never ran. What the database could not do is tried again for as long as the router runs, up
 * to a number of keys; what is lost for all that is swept by forget_idempotency_keys.
 */
class KeyReleases {
  readonly #database: Pick<Database, 'query'>
  readonly #waiting = new Set<CallId>()
  #timer: NodeJS.Timeout | undefined

  constructor(database: Pick<Database, 'query'>) {
    this.#database = database
  }

  async release(callId: CallId): Promise<void> {
    try {
      await this.#free([callId])
    } catch (error) {
      this.releaseSometime(callId)
      throw error
    }
  }

  releaseSometime(callId: CallId): void {
    if (this.#waiting.size < RELEASES_MAX) this.#waiting.add(callId)
    if (this.#timer !== undefined) return
    this.#timer = setTimeout(() => void this.#releaseAll(), RELEASE_RETRY_MS)
    this.#timer.unref()
  }

  async #releaseAll(): Promise<void> {
    const callIds = [...this.#waiting]
    this.#waiting.clear()
    this.#timer = undefined
    try {
      await this.#free(callIds)
    } catch {
      for (const callId of callIds) this.releaseSometime(callId)
    }
  }

  async #free(callIds: readonly CallId[]): Promise<void> {
    await this.#database.query
      .deleteFrom('idempotency_keys')
      .where('call_id', 'in', callIds)
      .where('state', '=', 'running')
      .execute()
  }
}

/** A key may be freed between the attempt to claim it and the look at who has it; that often it never is. */
const ATTEMPTS_MAX = 3

/**
 * Claims a key for a call, durably, before anything is held or sent. Keys are remembered for 24 hours, by the
 * database's clock. Rejects with `storage_unavailable`.
 */
async function claimIdempotencyKey(
  database: Pick<Database, 'query'>,
  claim: IdempotencyClaim,
): Promise<IdempotencyOutcome> {
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

/** A key that is a day old is free again, whether or not it was swept already; never while its call runs. */
async function insertClaim(database: Pick<Database, 'query'>, claim: IdempotencyClaim): Promise<boolean> {
  const { rows } = await sql`
    insert into idempotency_keys as earlier (account_id, livemode, key_hmac, body_hmac, call_id, state, created_at)
    values (${claim.accountId}, ${claim.livemode}, ${Buffer.from(claim.keyHmac)}, ${Buffer.from(claim.bodyHmac)},
      ${claim.callId}, 'running', mesh_now())
    on conflict (account_id, livemode, key_hmac) do update
      set body_hmac = excluded.body_hmac, call_id = excluded.call_id, state = excluded.state,
        receipt_id = null, total_nano = null, created_at = excluded.created_at
      where earlier.created_at < mesh_now() - interval '24 hours'
        and not exists (select from holds where holds.call_id = earlier.call_id)
    returning call_id
  `.execute(database.query)
  return rows.length > 0
}
