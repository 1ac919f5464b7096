import { setTimeout as pause } from 'node:timers/promises'
import type pg from 'pg'
import { MeshError } from '../errors.ts'
import { type PostingFailure, postingFailure } from './posting-failure.ts'

export interface BatcherOptions<Item, Result> {
  /** Opens a connection that is ready for `post`. */
  open(): Promise<pg.Client>
  /** Posts a batch in one transaction and answers in its order. */
  post(client: pg.Client, items: readonly Item[]): Promise<readonly Result[]>
  readonly batchMax: number
  /** Items that may wait; one more is refused as `overloaded`. */
  readonly queueMax: number
  /** How long whoever submitted an item waits for its result. */
  readonly patienceMs: number
  /**
   * What becomes of items while the database cannot serve. `reject`: those under way are rejected, and those whose
   * submitter stopped waiting are never posted. `keep`: all stay, in order, until they are posted.
   */
  readonly whenUnavailable: 'reject' | 'keep'
  /** Told of every failure that is not one item's own. */
  onSetback(error: unknown): void
  /** Told of an item that the database refused for its own sake. */
  onRefused?(item: Item, error: unknown): void
  /** Told of the result of an item that was posted though nobody waits for it any more. */
  onUnclaimed?(item: Item, result: Result): void
  /** Told once of every item that was posted or refused, whether its submitter still waits or not. */
  onDone?(item: Item): void
}

interface Entry<Item, Result> {
  item: Item
  /** What takes the item's place once its submitter has stopped waiting. */
  insteadIfLate: Item | undefined
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
 * Collects what many calls want from the database into one statement at a time, on a connection of its own: the next
 * batch leaves when the last one has ended, so that a lone item leaves at once and a crowd shares a round trip.
 * A batch that the database refuses is split in halves until the item at fault is alone.
 */
export class Batcher<Item, Result> {
  readonly #options: BatcherOptions<Item, Result>
  readonly #closing = new AbortController()
  #queue: Entry<Item, Result>[] = []
  #client: pg.Client | undefined
  #running: Promise<void> | undefined
  #retryMs = RETRY_FIRST_MS
  /** Items that wait or are under way. */
  #unanswered = 0
  #whenIdle: (() => void)[] = []

  constructor(options: BatcherOptions<Item, Result>) {
    this.#options = options
  }

  /** Items that wait for their batch. */
  get queueLength(): number {
    return this.#queue.length
  }

  /** Opens the connection. Rejects where that fails; from then on it is opened again whenever it is lost. */
  async start(): Promise<void> {
    await this.#connect()
    this.#wake()
  }

  /**
   * Resolves with the item's result once its batch has committed. Rejects with `overloaded` where the queue is full,
   * with `storage_unavailable` where it took too long, and with the database's error where the item is at fault.
   * Once it took too long, `insteadIfLate` is posted in the item's place; after it, where the item was posted after all.
   */
  submit(item: Item, insteadIfLate?: Item): Promise<Result> {
    const { queueMax, patienceMs } = this.#options
    if (this.#closing.signal.aborted) return Promise.reject(unavailable())
    if (this.#queue.length >= queueMax) {
      return Promise.reject(
        new MeshError('overloaded', 'Too many calls wait for the books; try again shortly.'),
      )
    }
    const { promise, resolve, reject } = Promise.withResolvers<Result>()
    const entry: Entry<Item, Result> = {
      item,
      insteadIfLate,
      resolve,
      reject,
      waitedFor: true,
      isUnderWay: false,
      patience: setTimeout(() => {
        entry.waitedFor = false
        if (!entry.isUnderWay) replaceLate(entry)
        reject(unavailable())
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
    await client?.end()
    for (const entry of this.#queue) this.#end(entry, () => entry.reject(unavailable()))
    this.#queue = []
  }

  #enqueue(entry: Entry<Item, Result>): void {
    this.#queue.push(entry)
    this.#unanswered++
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
    return !this.#closing.signal.aborted && (this.#queue.length > 0 || this.#client === undefined)
  }

  async #run(): Promise<void> {
    while (this.#hasWork()) {
      try {
        const client = this.#client ?? (await this.#connect())
        await this.#post(client, this.#takeBatch())
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
    return this.#queue.splice(0, this.#options.batchMax)
  }

  async #post(client: pg.Client, taken: readonly Entry<Item, Result>[]): Promise<void> {
    const batch = this.#withoutUnclaimed(taken)
    if (batch.length === 0) return
    if (this.#client !== client) {
      this.#setBack(batch, 'unavailable')
      return
    }
    for (const entry of batch) entry.isUnderWay = true
    try {
      const results = await this.#options.post(
        client,
        batch.map(({ item }) => item),
      )
      this.#retryMs = RETRY_FIRST_MS
      for (const [index, entry] of batch.entries()) this.#answer(entry, results[index])
    } catch (error) {
      await this.#handleFailure(client, batch, error)
    }
  }

  /** Where items are not kept, one that nobody waits for any more is never posted: not in a split batch either. */
  #withoutUnclaimed(taken: readonly Entry<Item, Result>[]): readonly Entry<Item, Result>[] {
    if (this.#options.whenUnavailable === 'keep') return taken
    for (const entry of taken) if (!entry.waitedFor) this.#end(entry, () => undefined)
    return taken.filter((entry) => entry.waitedFor)
  }

  #answer(entry: Entry<Item, Result>, result: Result | undefined): void {
    this.#options.onDone?.(entry.item)
    if (!entry.waitedFor && result !== undefined) this.#options.onUnclaimed?.(entry.item, result)
    if (!entry.waitedFor && entry.insteadIfLate !== undefined) {
      const { insteadIfLate: item, ...submitted } = entry
      this.#enqueue({ ...submitted, item, insteadIfLate: undefined, isUnderWay: false })
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
    error: unknown,
  ): Promise<void> {
    const failure = postingFailure(error)
    for (const entry of batch) {
      entry.isUnderWay = false
      if (!entry.waitedFor) replaceLate(entry)
    }
    if (failure !== 'at_fault') this.#options.onSetback(error)
    if (failure !== 'unavailable' && batch.length > 1) {
      const middle = batch.length >> 1
      await this.#post(client, batch.slice(0, middle))
      await this.#post(client, batch.slice(middle))
      return
    }
    if (failure === 'at_fault') {
      for (const entry of batch) {
        this.#options.onRefused?.(entry.item, error)
        this.#options.onDone?.(entry.item)
        this.#end(entry, () => entry.reject(error))
      }
      return
    }
    this.#setBack(batch, failure, error)
    // Waiting for a lock was pause enough.
    if (failure === 'contended') return
    this.#abandon(client)
    await this.#backOff()
  }

  #setBack(batch: readonly Entry<Item, Result>[], failure: PostingFailure, error?: unknown): void {
    if (this.#options.whenUnavailable === 'keep') {
      // What waits for a lock lets the others pass.
      if (failure === 'contended') this.#queue.push(...batch)
      else this.#queue.unshift(...batch)
      return
    }
    for (const entry of batch) this.#end(entry, () => entry.reject(unavailable(error)))
  }

  #abandon(client: pg.Client): void {
    if (this.#client === client) this.#client = undefined
    client.end().catch(() => undefined)
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

function replaceLate<Item>(entry: { item: Item; insteadIfLate: Item | undefined }): void {
  if (entry.insteadIfLate === undefined) return
  entry.item = entry.insteadIfLate
  entry.insteadIfLate = undefined
}

function unavailable(cause?: unknown): MeshError {
  return new MeshError('storage_unavailable', 'The books cannot be reached at the moment; try again later.', {
    cause,
  })
}
