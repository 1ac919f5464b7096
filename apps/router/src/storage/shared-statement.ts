import { MeshError } from '../errors.ts'

export interface SharedStatementOptions<Item, Result> {
  /** Asks the database for all of them at once, and answers in their order. */
  run(items: readonly Item[]): Promise<readonly Result[]>
  /** Items that one statement takes. */
  readonly itemsMax: number
  /** How long whoever asked waits. */
  readonly patienceMs: number
  /** Told of a result that came when nobody waited for it any more. */
  onUnclaimed?(item: Item, result: Result): void
}

interface Entry<Item, Result> {
  readonly item: Item
  readonly resolve: (result: Result) => void
  readonly reject: (error: unknown) => void
  readonly patience: NodeJS.Timeout
  isWaitedFor: boolean
}

/**
 * What many ask of the database, in one statement at a time: a lone question leaves at once, and those that come
 * meanwhile share the next. So a database that answers late delays everybody by two of its answers at most, where
 * statements of their own would take turns at the connections of the pool.
 */
export class SharedStatement<Item, Result> {
  readonly #options: SharedStatementOptions<Item, Result>
  /** In the order of their arrival. */
  readonly #waiting = new Set<Entry<Item, Result>>()
  #isRunning = false

  constructor(options: SharedStatementOptions<Item, Result>) {
    this.#options = options
  }

  /**
   * Rejects as the statement does, and with `storage_unavailable` where it takes too long. What had not left for the
   * database by then never does.
   */
  ask(item: Item): Promise<Result> {
    const { promise, resolve, reject } = Promise.withResolvers<Result>()
    const entry: Entry<Item, Result> = {
      item,
      resolve,
      reject,
      isWaitedFor: true,
      patience: setTimeout(() => {
        entry.isWaitedFor = false
        this.#waiting.delete(entry)
        reject(new MeshError('storage_unavailable', 'The database does not answer in time; try again later.'))
      }, this.#options.patienceMs),
    }
    this.#waiting.add(entry)
    void this.#runAll()
    return promise
  }

  async #runAll(): Promise<void> {
    if (this.#isRunning) return
    this.#isRunning = true
    while (this.#waiting.size > 0) await this.#runNext()
    this.#isRunning = false
  }

  async #runNext(): Promise<void> {
    const entries = [...this.#waiting].slice(0, this.#options.itemsMax)
    for (const entry of entries) this.#waiting.delete(entry)
    try {
      const results = await this.#options.run(entries.map(({ item }) => item))
      for (const [index, entry] of entries.entries()) this.#answer(entry, results[index])
    } catch (error) {
      for (const { reject } of entries) reject(error)
    } finally {
      for (const { patience } of entries) clearTimeout(patience)
    }
  }

  #answer(entry: Entry<Item, Result>, result: Result | undefined): void {
    if (result === undefined) entry.reject(new MeshError('internal', 'The database gave no answer for this.'))
    else if (entry.isWaitedFor) entry.resolve(result)
    else this.#options.onUnclaimed?.(entry.item, result)
  }
}
