import { setTimeout as pause } from 'node:timers/promises'
import type pg from 'pg'
import { MeshError } from '../errors.ts'
import { endConnection } from '../storage/database.ts'
import { BusyBooks } from './busy-books.ts'
import { postingFailure } from './posting-failure.ts'

/**
 * How a batch treats a book that somebody else has: it waits for it a moment, and fails as a whole where that was in
 * vain; or it skips it, and answers `busy` in the place of each of its items.
 */
export type LockedBooks = 'wait' | 'skip'

/**
 * What becomes of an item that was under way when the connection was lost, so that nobody knows whether it is posted.
 * `reject`: its submitter is told at once. `retry`: it is posted again for as long as its submitter waits. `keep`: it
 * stays until it is posted.
 */
export type WhenUnavailable = 'reject' | 'retry' | 'keep'

export interface BatcherOptions<Item, Result> {
  /** Opens a connection that is ready for `post`. */
  open(): Promise<pg.Client>
  /** Posts a batch in one transaction and answers in its order. */
  post(
    client: pg.Client,
    items: readonly Item[],
    lockedBooks: LockedBooks,
  ): Promise<readonly (Result | 'busy')[]>
  /** The book that an item moves: its account and world. */
  bookOf(item: Item): string
  readonly batchMax: number
  /** Items that may wait; one more is refused as `overloaded`. */
  readonly queueMax: number
  /** How long whoever submitted an item waits for its result. */
  readonly patienceMs: number
  whenUnavailable(item: Item): WhenUnavailable
  /** Told of every failure that is not one item's own. */
  onSetback(error: unknown): void
  /** Told of an item that the database refused for its own sake. */
  onRefused?(item: Item, error: unknown): void
  /** Told of the result of an item that was posted though nobody waits for it any more. */
  onUnclaimed?(item: Item, result: Result): void
  /** Told of an item that may or may not have been posted, and will not be posted again. */
  onUncertain?(item: Item): void
  /** Told once of every item that was posted or refused, whether its submitter still waits or not. */
  onDone?(item: Item): void
}

interface Entry<Item, Result> {
  item: Item
  readonly book: string
  /** Makes what takes the item's place once its submitter has stopped waiting. */
  insteadIfLate: (() => Item) | undefined
  readonly resolve: (result: Result) => void
  readonly reject: (error: unknown) => void
  readonly patience: NodeJS.Timeout
  waitedFor: boolean
  /** In the statement under way. */
  isUnderWay: boolean
}

const RETRY_FIRST_MS = 20
const RETRY_LONGEST_MS = 1_000
/**
 * After a wait in vain the next ones may be in vain too, each for another account. So long none is begun: however many
 * accounts are locked, all others lose a small share of their time.
 */
const SKIP_AFTER_WAIT_MS = 1_000

/**
 * Collects what many calls want from the database into one statement at a time, on a connection of its own: the next
 * batch leaves when the last one has ended, so that a lone item leaves at once and a crowd shares a round trip.
 * A batch that the database refuses is split in halves until the item at fault is alone. Where somebody else has a
 * book for long, its items are set aside, in order, and all others go on.
 */
export class Batcher<Item, Result> {
  readonly #options: BatcherOptions<Item, Result>
  readonly #closing = new AbortController()
  readonly #setAside = new BusyBooks<Entry<Item, Result>>(() => this.#wake())
  #queue: Entry<Item, Result>[] = []
  #client: pg.Client | undefined
  #running: Promise<void> | undefined
  #retryMs = RETRY_FIRST_MS
  /** Until then no batch waits for a book. */
  #skipUntilMs = 0
  /** Items that wait or are under way. */
  #unanswered = 0
  #whenIdle: (() => void)[] = []

  constructor(options: BatcherOptions<Item, Result>) {
    this.#options = options
  }

  /** Items that wait for their batch, or for their book. */
  get queueLength(): number {
    return this.#queue.length + this.#setAside.count
  }

  /** Whether its connection stands. */
  get isConnected(): boolean {
    return this.#client !== undefined
  }

  /** Opens the connection. Rejects where that fails; from then on it is opened again whenever it is lost. */
  async start(): Promise<void> {
    await this.#connect()
    this.#wake()
  }

  /**
   * Resolves with the item's result once its batch has committed. Rejects with `overloaded` where the queue is full,
   * with `storage_unavailable` where it took too long, and with the database's error where the item is at fault.
   * Once it took too long, what `insteadIfLate` makes is posted in the item's place; after it, where the item was posted after all.
   */
  submit(item: Item, insteadIfLate?: () => Item): Promise<Result> {
    const { queueMax, patienceMs, bookOf } = this.#options
    if (this.#closing.signal.aborted) return Promise.reject(unavailable())
    if (this.queueLength >= queueMax) {
      return Promise.reject(
        new MeshError('overloaded', 'Too many calls wait for the books; try again shortly.'),
      )
    }
    const { promise, resolve, reject } = Promise.withResolvers<Result>()
    const entry: Entry<Item, Result> = {
      item,
      book: bookOf(item),
      insteadIfLate,
      resolve,
      reject,
      waitedFor: true,
      isUnderWay: false,
      patience: setTimeout(() => {
        entry.waitedFor = false
        if (!entry.isUnderWay) replaceLate(entry)
        reject(unavailable())
        this.#dropUnclaimed()
      }, patienceMs),
    }
    this.#enqueue(entry)
    return promise
  }

  /** Resolves when nothing waits and nothing is under way. */
  idle(): Promise<void> {
    if (this.#unanswered === 0) return Promise.resolve()
    return new Promise((resolve) => this.#whenIdle.push(resolve))
  }

  /** Ends the connection after the batch under way, and rejects what still waits. */
  async close(): Promise<void> {
    this.#closing.abort()
    await this.#running
    const client = this.#client
    this.#client = undefined
    if (client) await endConnection(client)
    for (const entry of [...this.#queue, ...this.#setAside.clear()]) {
      this.#end(entry, () => entry.reject(unavailable()))
    }
    this.#queue = []
  }

  #enqueue(entry: Entry<Item, Result>): void {
    this.#unanswered++
    if (this.#setAside.queue(entry)) return
    this.#queue.push(entry)
    this.#wake()
  }

  #wake(): void {
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined
      if (this.#hasWork()) this.#wake()
    })
  }

  /** A lost connection is work too: what `open` restores must not wait for the next item. */
  #hasWork(): boolean {
    if (this.#closing.signal.aborted) return false
    return this.#queue.length > 0 || this.#setAside.isDue || this.#client === undefined
  }

  async #run(): Promise<void> {
    while (this.#hasWork()) {
      try {
        const client = this.#client ?? (await this.#connect())
        if (this.#setAside.isDue) await this.#askForBooks(client)
        await this.#post(client, this.#takeBatch(), performance.now() < this.#skipUntilMs ? 'skip' : 'wait')
      } catch (error) {
        this.#options.onSetback(error)
        await this.#backOff()
      }
    }
  }

  async #connect(): Promise<pg.Client> {
    const client = await this.#options.open()
    this.#client = client
    client.once('end', () => this.#lose(client))
    return client
  }

  #lose(client: pg.Client): void {
    if (this.#client !== client) return
    this.#client = undefined
    if (!this.#closing.signal.aborted) this.#wake()
  }

  #takeBatch(): Entry<Item, Result>[] {
    const taken = this.#queue.splice(0, this.#options.batchMax)
    return taken.filter((entry) => !this.#setAside.queue(entry))
  }

  async #askForBooks(client: pg.Client): Promise<void> {
    const taken = this.#setAside.take(this.#options.batchMax)
    const before = this.#unanswered
    await this.#post(client, taken, 'skip')
    this.#setAside.asked(this.#unanswered < before)
  }

  async #post(
    client: pg.Client,
    taken: readonly Entry<Item, Result>[],
    lockedBooks: LockedBooks,
  ): Promise<void> {
    const batch = this.#withoutUnclaimed(taken)
    if (batch.length === 0) return
    if (this.#client !== client) {
      // It never left, so nothing about it is uncertain.
      this.#queue.unshift(...batch)
      return
    }
    for (const entry of batch) entry.isUnderWay = true
    try {
      const items = batch.map(({ item }) => item)
      const results = await this.#options.post(client, items, lockedBooks)
      this.#retryMs = RETRY_FIRST_MS
      const busy: Entry<Item, Result>[] = []
      for (const [index, entry] of batch.entries()) {
        const result = results[index]
        if (result === 'busy') busy.push(entry)
        else this.#answer(entry, result)
      }
      this.#putAside(busy)
    } catch (error) {
      await this.#handleFailure(client, batch, lockedBooks, error)
    }
  }

  /** Where items are not kept, one that nobody waits for any more is never posted: not in a split batch either. */
  #withoutUnclaimed(taken: readonly Entry<Item, Result>[]): readonly Entry<Item, Result>[] {
    const [unclaimed = [], wanted = []] = partition(taken, (entry) => this.#isUnclaimed(entry))
    for (const entry of unclaimed) this.#end(entry, () => undefined)
    return wanted
  }

  #isUnclaimed({ item, waitedFor }: Entry<Item, Result>): boolean {
    return !waitedFor && this.#options.whenUnavailable(item) !== 'keep'
  }

  /** While no batch leaves, what nobody waits for any more must not take the places of others. It is the oldest. */
  #dropUnclaimed(): void {
    for (let first = this.#queue[0]; first && this.#isUnclaimed(first); first = this.#queue[0]) {
      this.#queue.shift()
      this.#end(first, () => undefined)
    }
  }

  #answer(entry: Entry<Item, Result>, result: Result | undefined): void {
    this.#options.onDone?.(entry.item)
    if (!entry.waitedFor && result !== undefined) this.#options.onUnclaimed?.(entry.item, result)
    if (!entry.waitedFor && entry.insteadIfLate !== undefined) {
      const { insteadIfLate: make, ...submitted } = entry
      this.#enqueue({ ...submitted, item: make(), insteadIfLate: undefined, isUnderWay: false })
    }
    this.#end(entry, () => {
      if (result === undefined)
        entry.reject(new MeshError('internal', 'The books gave no answer for this call.'))
      else entry.resolve(result)
    })
  }

  async #handleFailure(
    client: pg.Client,
    batch: readonly Entry<Item, Result>[],
    lockedBooks: LockedBooks,
    error: unknown,
  ): Promise<void> {
    const failure = postingFailure(error)
    if (failure !== 'at_fault') this.#options.onSetback(error)
    if (failure === 'unavailable') {
      this.#setBack(batch, error)
      this.#abandon(client)
      await this.#backOff()
      return
    }
    for (const entry of batch) notUnderWay(entry)
    if (failure === 'contended' && lockedBooks === 'wait') {
      this.#skipUntilMs = performance.now() + SKIP_AFTER_WAIT_MS
      await this.#post(client, batch, 'skip')
    } else if (batch.length > 1) {
      const middle = batch.length >> 1
      await this.#post(client, batch.slice(0, middle), lockedBooks)
      await this.#post(client, batch.slice(middle), lockedBooks)
    } else if (failure === 'contended') {
      this.#putAside(batch)
    } else {
      for (const entry of batch) this.#refuse(entry, error)
    }
  }

  #refuse(entry: Entry<Item, Result>, error: unknown): void {
    this.#options.onRefused?.(entry.item, error)
    this.#options.onDone?.(entry.item)
    this.#end(entry, () => entry.reject(error))
  }

  #putAside(entries: readonly Entry<Item, Result>[]): void {
    if (entries.length === 0) return
    for (const entry of entries) notUnderWay(entry)
    this.#setAside.put(entries)
  }

  #setBack(batch: readonly Entry<Item, Result>[], error: unknown): void {
    const stays: Entry<Item, Result>[] = []
    for (const entry of batch) {
      const fate = this.#options.whenUnavailable(entry.item)
      notUnderWay(entry)
      if (fate === 'keep' || (fate === 'retry' && entry.waitedFor)) {
        stays.push(entry)
        continue
      }
      this.#options.onUncertain?.(entry.item)
      this.#end(entry, () => entry.reject(unavailable(error)))
    }
    this.#queue.unshift(...stays)
  }

  #abandon(client: pg.Client): void {
    if (this.#client === client) this.#client = undefined
    void endConnection(client)
  }

  #end(entry: Entry<Item, Result>, tell: () => void): void {
    clearTimeout(entry.patience)
    tell()
    this.#unanswered--
    if (this.#unanswered > 0) return
    for (const resolve of this.#whenIdle) resolve()
    this.#whenIdle = []
  }

  async #backOff(): Promise<void> {
    const { signal } = this.#closing
    await pause(this.#retryMs, undefined, { signal }).catch(() => undefined)
    this.#retryMs = Math.min(this.#retryMs * 2, RETRY_LONGEST_MS)
  }
}

/** Its statement has ended without it: who stopped waiting meanwhile gets what stands instead. */
function notUnderWay<Item, Result>(entry: Entry<Item, Result>): void {
  entry.isUnderWay = false
  if (!entry.waitedFor) replaceLate(entry)
}

function replaceLate<Item>(entry: { item: Item; insteadIfLate: (() => Item) | undefined }): void {
  if (entry.insteadIfLate === undefined) return
  entry.item = entry.insteadIfLate()
  entry.insteadIfLate = undefined
}

function partition<Value>(values: readonly Value[], isFirst: (value: Value) => boolean): [Value[], Value[]] {
  const parts: [Value[], Value[]] = [[], []]
  for (const value of values) parts[isFirst(value) ? 0 : 1].push(value)
  return parts
}

function unavailable(cause?: unknown): MeshError {
  return new MeshError('storage_unavailable', 'The books cannot be reached at the moment; try again later.', {
    cause,
  })
}
