import { MeshError } from '../errors.ts'
import { LATE_DATABASE } from './patience.ts'

export interface SharedStatementOptions<Item, Result> {
  /** Asks the database for all of them at once, and answers in their order. */
  run(items: readonly Item[]): Promise<readonly Result[]>
  /** Items that one statement takes. */
  readonly itemsMax: number
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

/** A statement that takes longer keeps the next one back no more: its connection may be dead, and others alive. */
const KEEPS_BACK_MS = 500

/**
 * What many ask of the database, a few statements in all: a lone question leaves at once, and those that come while it
 * is under way share the next. So a database that answers late delays a crowd by little more than one of its answers,
 * where statements of their own would take turns at the connections of the pool.
 */
export class SharedStatement<Item, Result> {
  readonly #options: SharedStatementOptions<Item, Result>
  /** In the order of their arrival. */
  readonly #waiting = new Set<Entry<Item, Result>>()
  /** The statement that the next one waits for. */
  #keepsBack: object | undefined

  constructor(options: SharedStatementOptions<Item, Result>) {
    this.#options = options
  }

  /** Rejects as the statement does, and with `storage_unavailable` where it takes longer than `patienceMs`. */
  ask(item: Item, patienceMs: number): Promise<Result> {
    const { promise, resolve, reject } = Promise.withResolvers<Result>()
    const entry: Entry<Item, Result> = {
      item,
      resolve,
      reject,
      isWaitedFor: true,
      patience: setTimeout(() => {
        entry.isWaitedFor = false
        // What no statement has taken by now never leaves.
        this.#waiting.delete(entry)
        reject(new MeshError('storage_unavailable', LATE_DATABASE))
      }, patienceMs),
    }
    this.#waiting.add(entry)
    this.#runNext()
    return promise
  }

  #runNext(): void {
    if (this.#keepsBack !== undefined || this.#waiting.size === 0) return
    const entries = [...this.#waiting].slice(0, this.#options.itemsMax)
    for (const entry of entries) this.#waiting.delete(entry)
    this.#keepsBack = entries
    const goOn = (): void => {
      if (this.#keepsBack !== entries) return
      this.#keepsBack = undefined
      this.#runNext()
    }
    const timer = setTimeout(goOn, KEEPS_BACK_MS)
    void this.#run(entries).finally(() => {
      clearTimeout(timer)
      goOn()
    })
  }

  async #run(entries: readonly Entry<Item, Result>[]): Promise<void> {
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
