import type { NanoUsd } from '@mesh/catalog/money.ts'
import { sql } from 'kysely'
import { MeshError } from '../errors.ts'
import type { AccountId, CallId, ReceiptId } from '../ids.ts'
import type { Database } from '../storage/database.ts'
import { SharedStatement } from '../storage/shared-statement.ts'

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
const KEYS_A_STATEMENT_MAX = 500
/** Another router may claim a key just when this one does, and free it again; that often it never does. */
const ATTEMPTS_MAX = 3

export function createIdempotencyClaims(
  database: Pick<Database, 'query'>,
  { patienceMs = PATIENCE_MS }: { readonly patienceMs?: number } = {},
): IdempotencyClaims {
  const releases = new KeyReleases(database, patienceMs)
  const claims = new SharedStatement<IdempotencyClaim, Attempt>({
    itemsMax: KEYS_A_STATEMENT_MAX,
    patienceMs,
    async run(asked) {
      try {
        return await claimKeys(database, asked)
      } catch (error) {
        // They may be claimed all the same, and their calls will not run.
        for (const { callId } of asked) releases.releaseSometime(callId)
        throw error
      }
    },
    onUnclaimed: ({ callId }) => releases.releaseSometime(callId),
  })
  return {
    async claim(claim) {
      for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
        const attempted = await claims.ask(claim)
        if (attempted.outcome !== 'raced') return attempted
      }
      throw new MeshError(
        'overloaded',
        'Too many requests use this Idempotency-Key at once; try again shortly.',
      )
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
  readonly #statement: SharedStatement<CallId, 'free'>
  readonly #waiting = new Set<CallId>()
  #timer: NodeJS.Timeout | undefined

  constructor(database: Pick<Database, 'query'>, patienceMs: number) {
    this.#statement = new SharedStatement({
      itemsMax: KEYS_A_STATEMENT_MAX,
      patienceMs,
      run: (callIds) => freeKeys(database, callIds),
    })
  }

  async release(callId: CallId): Promise<void> {
    try {
      await this.#statement.ask(callId)
    } catch (error) {
      this.releaseSometime(callId)
      throw error
    }
  }

  releaseSometime(callId: CallId): void {
    if (this.#waiting.size < RELEASES_MAX) this.#waiting.add(callId)
    this.#timer ??= setTimeout(() => this.#releaseAll(), RELEASE_RETRY_MS).unref()
  }

  #releaseAll(): void {
    const callIds = [...this.#waiting]
    this.#waiting.clear()
    this.#timer = undefined
    for (const callId of callIds) this.release(callId).catch(() => undefined)
  }
}

async function freeKeys(database: Pick<Database, 'query'>, callIds: readonly CallId[]): Promise<'free'[]> {
  await database.query
    .deleteFrom('idempotency_keys')
    .where('call_id', 'in', callIds)
    .where('state', '=', 'running')
    .execute()
  return callIds.map(() => 'free')
}

/** `freed_meanwhile`: when it was asked for, somebody had it, and has it no more. */
type Attempt = IdempotencyOutcome | { readonly outcome: 'raced' }

/** A key that was claimed, by this call or an earlier one; nulls where it is nobody's. */
interface ClaimedRow {
  readonly call_id: CallId | null
  readonly body_hmac: Buffer | null
  readonly state: 'running' | 'billed' | null
  readonly receipt_id: ReceiptId | null
  readonly total_nano: NanoUsd | null
}

/**
 * Claims keys for calls, durably, before anything is held or sent; of calls that ask for one key the first has it.
 * Keys are remembered for 24 hours, by the database's clock: one that is older is free, whether or not it was swept
 * already, but never while its call runs. A key that is taken is only read, for whoever settles its call may have it
 * locked; all claim in the order of the keys, so that no two routers wait for each other. Answers in the order of the
 * claims. Rejects with `storage_unavailable`.
 */
async function claimKeys(
  database: Pick<Database, 'query'>,
  claims: readonly IdempotencyClaim[],
): Promise<Attempt[]> {
  const isFree = sql`(
    earlier.created_at < mesh_now() - interval '24 hours'
    and not exists (select from holds where holds.call_id = earlier.call_id)
  )`
  const { rows } = await sql<ClaimedRow>`
    with asked as (
      select * from unnest(
        ${claims.map(({ accountId }) => accountId)}::text[],
        ${claims.map(({ livemode }) => livemode)}::boolean[],
        ${claims.map(({ keyHmac }) => Buffer.from(keyHmac))}::bytea[],
        ${claims.map(({ bodyHmac }) => Buffer.from(bodyHmac))}::bytea[],
        ${claims.map(({ callId }) => callId)}::text[]
      ) with ordinality as a (account_id, livemode, key_hmac, body_hmac, call_id, place)
    ), taken as (
      select earlier.* from idempotency_keys earlier
      where (account_id, livemode, key_hmac) in (select account_id, livemode, key_hmac from asked) and not ${isFree}
    ), claimed as (
      insert into idempotency_keys as earlier (account_id, livemode, key_hmac, body_hmac, call_id, state, created_at)
      select distinct on (account_id, livemode, key_hmac)
        account_id, livemode, key_hmac, body_hmac, call_id, 'running', mesh_now()
      from asked
      where (account_id, livemode, key_hmac) not in (select account_id, livemode, key_hmac from taken)
      order by account_id, livemode, key_hmac, place
      on conflict (account_id, livemode, key_hmac) do update
        set body_hmac = excluded.body_hmac, call_id = excluded.call_id, state = excluded.state,
          receipt_id = null, total_nano = null, created_at = excluded.created_at
        where ${isFree}
      returning *
    )
    select k.call_id, k.body_hmac, k.state, k.receipt_id, k.total_nano
    from asked left join (select * from taken union all select * from claimed) k
      using (account_id, livemode, key_hmac)
    order by place
  `.execute(database.query)
  return claims.map((claim, index) => attemptOf(claim, rows[index]))
}

function attemptOf(claim: IdempotencyClaim, row: ClaimedRow | undefined): Attempt {
  if (!row?.body_hmac) return { outcome: 'raced' }
  if (row.call_id === claim.callId) return { outcome: 'claimed' }
  if (!row.body_hmac.equals(claim.bodyHmac)) return { outcome: 'conflict' }
  if (row.state === 'running') return { outcome: 'in_progress' }
  return {
    outcome: 'replay',
    ...(row.receipt_id === null ? {} : { receiptId: row.receipt_id }),
    totalNano: row.total_nano ?? 0n,
  }
}
