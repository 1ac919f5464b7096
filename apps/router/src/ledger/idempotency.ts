import { setTimeout as pause } from 'node:timers/promises'
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
  /**
   * Claims a key for a call, durably, before anything is held or sent. Keys are remembered for 24 hours, by the
   * database's clock. Rejects with `storage_unavailable` after as long as callers wait, and with `overloaded` where
   * others claim and free the key all the time. A claim that comes to nobody's knowledge is freed again.
   */
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
/** Somebody who claims, frees or forgets a key at the same moment has it locked for about as long. */
const RACE_MS = 50

export function createIdempotencyClaims(
  database: Pick<Database, 'query'>,
  { patienceMs = PATIENCE_MS }: { readonly patienceMs?: number } = {},
): IdempotencyClaims {
  const releases = new KeyReleases(database, patienceMs)
  const claims = new SharedStatement<IdempotencyClaim, Attempt>({
    itemsMax: KEYS_A_STATEMENT_MAX,
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
      const deadlineMs = performance.now() + patienceMs
      for (let restMs = patienceMs; restMs > 0; restMs = deadlineMs - performance.now()) {
        const attempted = await claims.ask(claim, restMs)
        if (attempted.outcome !== 'raced') return attempted
        await pause(RACE_MS)
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
  readonly #database: Pick<Database, 'query'>
  readonly #statement: SharedStatement<CallId, 'free'>
  readonly #patienceMs: number
  readonly #waiting = new Set<CallId>()
  #timer: NodeJS.Timeout | undefined

  constructor(database: Pick<Database, 'query'>, patienceMs: number) {
    this.#database = database
    this.#patienceMs = patienceMs
    this.#statement = new SharedStatement({
      itemsMax: KEYS_A_STATEMENT_MAX,
      run: (callIds) => freeKeys(database, callIds),
    })
  }

  async release(callId: CallId): Promise<void> {
    try {
      await this.#statement.ask(callId, this.#patienceMs)
    } catch (error) {
      this.releaseSometime(callId)
      throw error
    }
  }

  releaseSometime(callId: CallId): void {
    if (this.#waiting.size < RELEASES_MAX) this.#waiting.add(callId)
    this.#timer ??= setTimeout(() => void this.#releaseAll(), RELEASE_RETRY_MS).unref()
  }

  async #releaseAll(): Promise<void> {
    const callIds = [...this.#waiting]
    this.#waiting.clear()
    const failed: CallId[] = []
    for (let first = 0; first < callIds.length; first += KEYS_A_STATEMENT_MAX) {
      const some = callIds.slice(first, first + KEYS_A_STATEMENT_MAX)
      await freeKeys(this.#database, some).catch(() => failed.push(...some))
    }
    this.#timer = undefined
    // What came meanwhile has waited for this round to end.
    for (const callId of [...failed, ...this.#waiting]) this.releaseSometime(callId)
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

/** `raced`: somebody else claimed, freed or forgot the key just then, so it must be asked for again. */
type Attempt = IdempotencyOutcome | { readonly outcome: 'raced' }

/** Who has a key: this call or an earlier one. All nulls where that was decided by somebody else meanwhile. */
interface ClaimedRow {
  readonly call_id: CallId | null
  readonly body_hmac: Buffer | null
  readonly state: 'running' | 'billed' | null
  readonly receipt_id: ReceiptId | null
  readonly total_nano: NanoUsd | null
}

/**
 * Claims keys for calls; of calls that ask for one key the first has it. A key that is older than 24 hours is free,
 * whether or not it was swept already, but never while its call runs. A statement for many must wait for no
 * settlement: a key that is taken is only read, for whoever settles its call may have it locked, and so is one that is free and
 * locked. New keys are written in one order, so that no two routers wait for each other. Answers in the order of the
 * claims. Rejects with `storage_unavailable`, and with PostgreSQL's errors.
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
    ), known as (
      select earlier.*, ${isFree} as is_free from idempotency_keys earlier
      where (account_id, livemode, key_hmac) in (select account_id, livemode, key_hmac from asked)
    ), freed as (
      select account_id, livemode, key_hmac from idempotency_keys
      where (account_id, livemode, key_hmac) in (select account_id, livemode, key_hmac from known where is_free)
      for update skip locked
    ), claimed as (
      insert into idempotency_keys as earlier (account_id, livemode, key_hmac, body_hmac, call_id, state, created_at)
      select distinct on (account_id, livemode, key_hmac)
        account_id, livemode, key_hmac, body_hmac, call_id, 'running', mesh_now()
      from asked
      where (account_id, livemode, key_hmac) not in (select account_id, livemode, key_hmac from known)
        or (account_id, livemode, key_hmac) in (select account_id, livemode, key_hmac from freed)
      order by account_id, livemode, key_hmac, place
      on conflict (account_id, livemode, key_hmac) do update
        set body_hmac = excluded.body_hmac, call_id = excluded.call_id, state = excluded.state,
          receipt_id = null, total_nano = null, created_at = excluded.created_at
        where ${isFree}
      returning account_id, livemode, key_hmac, body_hmac, call_id, state, receipt_id, total_nano
    )
    select k.call_id, k.body_hmac, k.state, k.receipt_id, k.total_nano
    from asked left join (
      select account_id, livemode, key_hmac, body_hmac, call_id, state, receipt_id, total_nano
      from known where not is_free
      union all select * from claimed
    ) k using (account_id, livemode, key_hmac)
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
