import type pg from 'pg'
import { MeshError } from '../errors.ts'
import type { CallId, Id } from '../ids.ts'
import { describeError, type Log } from '../log.ts'
import type { Database } from '../storage/database.ts'
import { storageError } from '../storage/storage-error.ts'
import { Batcher, type BatcherOptions, type LockedBooks } from './batcher.ts'
import type {
  Books,
  ExtendDecision,
  ExtendRequest,
  HoldDecision,
  HoldRequest,
  Payer,
  Settled,
  Settlement,
} from './books.ts'
import { openBooksConnection, orEnd } from './books-connection.ts'
import type { BooksObserver, BooksState } from './books-observer.ts'
import { ClockWatch } from './clock-watch.ts'
import { releaseHolds } from './dead-routers.ts'
import { type Asking, type DecisionRow, extendDecision, holdDecision, postHolds } from './hold-posting.ts'
import { RefusedSettlements } from './refused-settlements.ts'
import { RunningCalls } from './running-calls.ts'
import { isPossible, postSettlements, type Settling } from './settlement-posting.ts'
import { neverLeft } from './unclaimed-hold.ts'
import { type Tell, tellTo, watchedHolds, watchedSettlements } from './watched-batches.ts'

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
  /** Is told what the books do. */
  readonly observer?: BooksObserver
}

/** The books on PostgreSQL, with the life of their connections. */
export interface PostgresBooks extends Books {
  /** Opens both connections and begins to renew and to reap. Rejects with `storage_unavailable`. */
  start(): Promise<void>
  /** Releases holds, of whichever router they are, that had expired at a moment: default the present. */
  reap(asOf?: Date): Promise<number>
  /** Moves the expiry of all holds of calls that run here. */
  renew(): Promise<void>
  /** How the books stand now. */
  state(): BooksState
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
/** How long a router that was taken for dead may still come back to charge a call under its idempotency key. */
const CLAIM_PATIENCE_MS = 900_000

/** Makes the books of one router. Nothing is opened until `start`. */
export function createBooks(options: BooksOptions): PostgresBooks {
  return new BooksOfRouter(options)
}

class BooksOfRouter implements PostgresBooks {
  readonly #options: Required<Omit<BooksOptions, 'observer'>>
  readonly #running: RunningCalls
  readonly #refused: RefusedSettlements
  readonly #clock: ClockWatch
  /** Calls whose settlement waits to be posted, the longest waiting first, with when that began. */
  readonly #settling = new Map<CallId, number>()
  readonly #tell: Tell
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
    const { batchMax, runningMax, patienceMs, log, database, routerId } = this.#options
    this.#tell = tellTo(options.observer, log)
    this.#running = new RunningCalls({ pool: database.pool, routerId, holdTtlMs, log })
    this.#refused = new RefusedSettlements(database.pool, log)
    // So long it takes until whoever is alive has renewed what he holds.
    this.#clock = new ClockWatch({ toleranceMs: holdTtlMs / 4, graceMs: holdTtlMs })
    const holds: BatcherOptions<Asking, DecisionRow> = {
      open: () => this.#openForHolds(),
      post: (client, batch, lockedBooks) => this.#postHolds(client, batch, lockedBooks),
      bookOf: ({ request }) => bookOf(request.payer),
      batchMax,
      queueMax: runningMax,
      patienceMs,
      // A hold that may be there already cannot be asked for again. An extension can: what it holds too much goes with
      // its call, and an answer need not be cut because a connection was.
      whenUnavailable: ({ kind }) => (kind === 'extend' ? 'retry' : 'reject'),
      onSetback: (error) => log.warn('holds cannot be posted at the moment', describeError(error)),
      onUnclaimed: (asking, row) => this.#releaseUnclaimed(asking, row),
      onUncertain: (asking) => this.#release(asking, 0n, 0),
    }
    this.#holds = new Batcher(watchedHolds(holds, this.#tell))
    const settlements: BatcherOptions<Settling, Settled> = {
      open: () => openBooksConnection(this.#options.database, 'on'),
      post: postSettlements,
      bookOf: ({ settlement }) => bookOf(settlement.payer),
      batchMax,
      // Calls that hold money always find a place: they and those that hold none are bounded apart.
      queueMax: 2 * runningMax,
      patienceMs,
      whenUnavailable: () => 'keep',
      onSetback: (error) => log.warn('settlements wait for the database', describeError(error)),
      onRefused: (settling, error) => this.#refused.keep(settling, error),
      onDone: ({ settlement: { callId } }) => {
        this.#settling.delete(callId)
        this.#running.end(callId)
      },
    }
    this.#settlements = new Batcher(watchedSettlements(settlements, this.#tell))
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

  async settle(settlement: Settlement, insteadIfLate?: () => Settlement): Promise<Settled> {
    const { callId } = settlement
    if (!this.#running.has(callId) && this.#settlements.queueLength >= this.#options.runningMax) {
      throw overloaded()
    }
    if (!isPossible(settlement)) {
      // Its hold is renewed no longer, so the reaper ends it.
      this.#running.end(callId)
      this.#options.log.error('a settlement with impossible amounts', { callId })
      throw new MeshError('internal', 'A call ended with amounts that cannot be.')
    }
    this.#settling.set(callId, performance.now())
    return await this.#settlements.submit(
      { settlement, withdraws: false, isWithdrawnIfLate: insteadIfLate !== undefined },
      insteadIfLate && (() => ({ settlement: insteadIfLate(), withdraws: true })),
    )
  }

  abandon(callId: CallId): void {
    if (!this.#settling.has(callId)) this.#running.end(callId)
  }

  async reap(asOf?: Date): Promise<number> {
    const { database, routerId, reapGraceMs } = this.#options
    return await releaseHolds(database, { whose: 'expired', routerId, graceMs: reapGraceMs, asOf })
  }

  async renew(): Promise<void> {
    const { holdTtlMs } = this.#options
    if (this.#running.size === 0) return
    await this.#query(`select renew_holds($1, $2 * interval '1 millisecond')`, [
      this.#running.ids(),
      holdTtlMs,
    ])
  }

  state(): BooksState {
    const [oldestSinceMs] = this.#settling.values()
    return {
      holds: { items: this.#holds.queueLength, isConnected: this.#holds.isConnected },
      settlements: { items: this.#settlements.queueLength, isConnected: this.#settlements.isConnected },
      oldestSettlementMs: oldestSinceMs === undefined ? 0 : performance.now() - oldestSinceMs,
      held: this.#running.size,
    }
  }

  async drain(): Promise<void> {
    await Promise.all([this.#holds.idle(), this.#settlements.idle()])
    await this.#refused.kept()
  }

  async close(): Promise<void> {
    clearInterval(this.#chores)
    await this.#chore
    await Promise.all([this.#holds.close(), this.#settlements.close()])
    this.#refused.close()
    this.#running.close()
  }

  async #doChores(): Promise<void> {
    const { log } = this.#options
    try {
      await this.renew()
      const [look] = await this.#query<{ now: Date }>('select mesh_now() as now', [])
      if (look === undefined) throw new TypeError('a select without a table has one row')
      const { now } = look
      if (!this.#clock.isSteady(now.getTime(), performance.now())) {
        log.warn('the clock of the database was set, so nothing is taken for expired yet')
        return
      }
      // As of that moment: the clock may jump after it was looked at.
      const reaped = await this.reap(now)
      this.#tell((observer) => observer.reaped(reaped))
      if (reaped > 0) log.warn('holds of dead routers were released', { count: reaped })
      await this.#query(`select forget_idempotency_keys($1 * interval '1 millisecond', $2)`, [
        CLAIM_PATIENCE_MS,
        now,
      ])
    } catch (error) {
      log.warn('holds were neither renewed nor reaped', describeError(error))
    }
  }

  /** Holds need not be on disk: a crash of PostgreSQL that loses them ends this connection, and then they come back. */
  async #openForHolds(): Promise<pg.Client> {
    const client = await openBooksConnection(this.#options.database, 'off')
    await orEnd(client, this.#running.restore(client))
    return client
  }

  /** Nothing is decided for an account while holds of its calls, which a crash lost, wait for its book to come back. */
  async #postHolds(
    client: pg.Client,
    batch: readonly Asking[],
    lockedBooks: LockedBooks,
  ): Promise<readonly (DecisionRow | 'busy')[]> {
    const unrestored = this.#running.unrestoredBooks()
    const ready = batch.filter(({ request }) => !unrestored.has(bookOf(request.payer)))
    const rows = ready.length > 0 ? await postHolds(client, ready, this.#options, lockedBooks) : []
    if (ready.length === batch.length) return rows
    const decided = new Map(ready.map((asking, index) => [asking, rows[index] ?? ('busy' as const)]))
    return batch.map((asking) => decided.get(asking) ?? 'busy')
  }

  /** Gives back what was held for a call whose caller had been told by then that the books cannot be reached. */
  #releaseUnclaimed(asking: Asking, row: DecisionRow): void {
    if (asking.kind !== 'hold') return
    const decision = holdDecision(row)
    if (!decision.granted) return
    this.#release(asking, decision.heldNano, asking.request.inputTokens + decision.outputTokens)
  }

  /** Releases what is held for a call that never left; nothing is known to be where that is 0. */
  #release(asking: Asking, heldNano: bigint, heldTokens: number): void {
    if (asking.kind !== 'hold') return
    this.settle(neverLeft(asking.request, heldNano, heldTokens)).catch((error: unknown) => {
      const { callId } = asking.request
      this.#options.log.warn('a hold that nobody has is left to the reaper', {
        callId,
        ...describeError(error),
      })
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

/** What a batch locks of an account: its book in one world. */
function bookOf({ accountId, livemode }: Payer): string {
  return `${accountId} ${livemode}`
}

function overloaded(): MeshError {
  return new MeshError('overloaded', 'This router runs as many calls as it can; try again shortly.')
}
