import type pg from 'pg'
import { MeshError } from '../errors.ts'
import type { CallId, Id } from '../ids.ts'
import { describeError, type Log } from '../log.ts'
import type { Database } from '../storage/database.ts'
import { storageError } from '../storage/storage-error.ts'
import { Batcher } from './batcher.ts'
import type {
  Books,
  ExtendDecision,
  ExtendRequest,
  HoldDecision,
  HoldRequest,
  Settled,
  Settlement,
} from './books.ts'
import { openBooksConnection, orEnd } from './books-connection.ts'
import { type Asking, type DecisionRow, extendDecision, holdDecision, postHolds } from './hold-posting.ts'
import { RunningCalls } from './running-calls.ts'
import { isPossible, keepRefused, postSettlements, type Settling } from './settlement-posting.ts'
import { unclaimedHold } from './unclaimed-hold.ts'

export interface BooksOptions {
  readonly database: Database
  /** This process, anew at every start. */
  readonly routerId: Id<'rtr'>
  readonly log: Log
  /** How long a hold outlives its last renewal. Default two minutes. */
  readonly holdTtlMs?: number
  /** The part of its account's balance that one key may hold, in basis points. Default 10,000: all of it. */
  readonly keyShareBasisPoints?: number
  /** How long a caller waits for the books before it is told `storage_unavailable`. Default five seconds. */
  readonly patienceMs?: number
  /** How long after the database's start no expired hold is reaped. Default the lifetime of a hold. */
  readonly reapGraceMs?: number
  /** Calls that one statement may decide or settle. */
  readonly batchMax?: number
  /** Calls of this router that may hold money at once, settlements that wait included. */
  readonly runningMax?: number
}

/** The books on PostgreSQL, with the life of their connections. */
export interface PostgresBooks extends Books {
  /** Opens both connections and begins to renew and to reap. Rejects with `storage_unavailable`. */
  start(): Promise<void>
  /** Releases expired holds; at the start of the only router there can be, every hold of another one. */
  reap(whose: 'expired' | 'of_other_routers'): Promise<number>
  /** Moves the expiry of all holds of calls that run here. */
  renew(): Promise<void>
  /** Resolves when every settlement is posted. */
  drain(): Promise<void>
  /** Ends the connections. What is not settled yet is left to the reaper. */
  close(): Promise<void>
}

const HOLD_TTL_MS = 120_000
const WHOLE_BASIS_POINTS = 10_000
const PATIENCE_MS = 5_000
const BATCH_MAX = 256
const RUNNING_MAX = 20_000
const REAP_BATCH_MAX = 256
/** How long a router that was taken for dead may still come back to charge a call under its idempotency key. */
const CLAIM_PATIENCE_MS = 900_000

/** Makes the books of one router. Nothing is opened until `start`. */
export function createBooks(options: BooksOptions): PostgresBooks {
  return new BooksOfRouter(options)
}

class BooksOfRouter implements PostgresBooks {
  readonly #options: Required<BooksOptions>
  readonly #running = new RunningCalls()
  /** Calls whose settlement waits to be posted. */
  readonly #settling = new Set<CallId>()
  readonly #holds: Batcher<Asking, DecisionRow>
  readonly #settlements: Batcher<Settling, Settled>
  #chores: NodeJS.Timeout | undefined
  #chore: Promise<void> = Promise.resolve()

  constructor(options: BooksOptions) {
    const holdTtlMs = options.holdTtlMs ?? HOLD_TTL_MS
    this.#options = {
      keyShareBasisPoints: WHOLE_BASIS_POINTS,
      patienceMs: PATIENCE_MS,
      reapGraceMs: holdTtlMs,
      batchMax: BATCH_MAX,
      runningMax: RUNNING_MAX,
      ...options,
      holdTtlMs,
    }
    const { batchMax, runningMax, patienceMs, log } = this.#options
    this.#holds = new Batcher({
      open: () => this.#openForHolds(),
      post: (client, batch) => postHolds(client, batch, this.#options),
      batchMax,
      queueMax: runningMax,
      patienceMs,
      whenUnavailable: 'reject',
      onSetback: (error) => log.warn('holds cannot be posted at the moment', describeError(error)),
      onUnclaimed: (asking, row) => this.#releaseUnclaimed(asking, row),
    })
    this.#settlements = new Batcher({
      open: () => openBooksConnection(this.#options.database, 'on'),
      post: postSettlements,
      batchMax,
      // Calls that hold money always find a place: they and those that hold none are bounded apart.
      queueMax: 2 * runningMax,
      patienceMs,
      whenUnavailable: 'keep',
      onSetback: (error) => log.warn('settlements wait for the database', describeError(error)),
      onRefused: (settling, error) => this.#quarantine(settling, error),
      onDone: ({ settlement: { callId } }) => {
        this.#settling.delete(callId)
        this.#running.end(callId)
      },
    })
  }

  async start(): Promise<void> {
    await Promise.all([this.#holds.start(), this.#settlements.start()])
    let isBusy = false
    this.#chores = setInterval(() => {
      if (isBusy) return
      isBusy = true
      this.#chore = this.#doChores().finally(() => {
        isBusy = false
      })
    }, this.#options.holdTtlMs / 4)
    this.#chores.unref()
  }

  async hold(request: HoldRequest): Promise<HoldDecision> {
    if (this.#running.size + this.#holds.queueLength >= this.#options.runningMax) throw overloaded()
    const decision = holdDecision(await this.#holds.submit({ kind: 'hold', request }))
    if (decision.granted) this.#running.begin(request, decision)
    return decision
  }

  async extend(request: ExtendRequest): Promise<ExtendDecision> {
    const decision = extendDecision(await this.#holds.submit({ kind: 'extend', request }))
    this.#running.widen(request, decision)
    return decision
  }

  async settle(settlement: Settlement, insteadIfLate?: Settlement): Promise<Settled> {
    const { callId } = settlement
    if (!this.#running.has(callId) && this.#settlements.queueLength >= this.#options.runningMax) {
      throw overloaded()
    }
    if (!isPossible(settlement) || (insteadIfLate && !isPossible(insteadIfLate))) {
      // Its hold is renewed no longer, so the reaper ends it.
      this.#running.end(callId)
      this.#options.log.error('a settlement with impossible amounts', { callId })
      throw new MeshError('internal', 'A call ended with amounts that cannot be.')
    }
    this.#settling.add(callId)
    return await this.#settlements.submit(
      { settlement, withdraws: false },
      insteadIfLate && { settlement: insteadIfLate, withdraws: true },
    )
  }

  abandon(callId: CallId): void {
    if (!this.#settling.has(callId)) this.#running.end(callId)
  }

  async reap(whose: 'expired' | 'of_other_routers'): Promise<number> {
    const { routerId, reapGraceMs } = this.#options
    let released = 0
    while (true) {
      const [row] = await this.#query<{ reaped: number }>(
        `select reap_holds($1, $2, $3 * interval '1 millisecond', $4) as reaped`,
        [routerId, whose === 'of_other_routers', reapGraceMs, REAP_BATCH_MAX],
      )
      const reaped = row?.reaped ?? 0
      released += reaped
      if (reaped < REAP_BATCH_MAX) return released
    }
  }

  async renew(): Promise<void> {
    const { holdTtlMs } = this.#options
    if (this.#running.size === 0) return
    await this.#query(`select renew_holds($1, $2 * interval '1 millisecond')`, [
      this.#running.ids(),
      holdTtlMs,
    ])
  }

  async drain(): Promise<void> {
    await Promise.all([this.#holds.idle(), this.#settlements.idle()])
  }

  async close(): Promise<void> {
    clearInterval(this.#chores)
    await this.#chore
    await Promise.all([this.#holds.close(), this.#settlements.close()])
  }

  async #doChores(): Promise<void> {
    const { log } = this.#options
    try {
      await this.renew()
      const reaped = await this.reap('expired')
      if (reaped > 0) log.warn('holds of dead routers were released', { count: reaped })
      await this.#query(`select forget_idempotency_keys($1 * interval '1 millisecond')`, [CLAIM_PATIENCE_MS])
    } catch (error) {
      log.warn('holds were neither renewed nor reaped', describeError(error))
    }
  }

  /** Holds need not be on disk: a crash of PostgreSQL that loses them ends this connection, and then they come back. */
  async #openForHolds(): Promise<pg.Client> {
    const client = await openBooksConnection(this.#options.database, 'off')
    const { routerId, holdTtlMs } = this.#options
    await orEnd(client, this.#running.restore(client, routerId, holdTtlMs))
    return client
  }

  /** Its hold is left to the reaper; what should have been posted is kept. */
  #quarantine(settling: Settling, error: unknown): void {
    const { database, log } = this.#options
    const { callId } = settling.settlement
    log.error('a settlement was refused', { callId, ...describeError(error) })
    keepRefused(database.pool, settling).catch((fault: unknown) => {
      log.error('a refused settlement could not be kept', { callId, ...describeError(fault) })
    })
  }

  /** Gives back what was held for a call whose caller had been told by then that the books cannot be reached. */
  #releaseUnclaimed(asking: Asking, row: DecisionRow): void {
    if (asking.kind !== 'hold') return
    const decision = holdDecision(row)
    if (!decision.granted) return
    this.settle(unclaimedHold(asking.request, decision)).catch((error: unknown) => {
      const { callId } = asking.request
      this.#options.log.warn('an unclaimed hold is left to the reaper', { callId, ...describeError(error) })
    })
  }

  async #query<Row extends pg.QueryResultRow>(
    text: string,
    values: readonly unknown[],
  ): Promise<readonly Row[]> {
    try {
      return (await this.#options.database.pool.query<Row>(text, [...values])).rows
    } catch (error) {
      throw storageError(error)
    }
  }
}

function overloaded(): MeshError {
  return new MeshError('overloaded', 'This router runs as many calls as it can; try again shortly.')
}
