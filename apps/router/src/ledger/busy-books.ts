const PAUSE_FIRST_MS = 20
const PAUSE_LONGEST_MS = 200

/** Something that waits for the book of one account in one world. */
interface Waiting {
  readonly book: string
}

/**
 * What waits for books that somebody else has, by book and in order. It is looked after again and again, in pauses that
 * grow while nothing is given back, so that a book which stays away for long is asked for a few times a second.
 */
export class BusyBooks<Entry extends Waiting> {
  readonly #books = new Map<string, Entry[]>()
  readonly #onDue: () => void
  #isDue = false
  #pauseMs = PAUSE_FIRST_MS
  #timer: NodeJS.Timeout | undefined

  /** `onDue` is told when it is time to ask again. */
  constructor(onDue: () => void) {
    this.#onDue = onDue
  }

  /** Whether it is time to ask again for what waits. */
  get isDue(): boolean {
    return this.#isDue
  }

  get count(): number {
    let count = 0
    for (const entries of this.#books.values()) count += entries.length
    return count
  }

  /** Takes an entry whose book is waited for already: it comes after those before it. Says whether it did. */
  queue(entry: Entry): boolean {
    const entries = this.#books.get(entry.book)
    entries?.push(entry)
    return entries !== undefined
  }

  /** Takes entries, in their order, that were found waiting for their books: they come before what came meanwhile. */
  put(found: readonly Entry[]): void {
    for (const [book, entries] of Map.groupBy(found, (entry) => entry.book)) {
      this.#books.set(book, [...entries, ...(this.#books.get(book) ?? [])])
    }
    this.#ask()
  }

  /**
   * Gives out what is to be asked for now: an equal share of every book, for one that stays away must not be in the way
   * of one that is back. Those that are not given back by `put` are done with.
   */
  take(countMax: number): Entry[] {
    this.#isDue = false
    const share = Math.max(1, Math.floor(countMax / this.#books.size))
    const taken: Entry[] = []
    for (const [book, entries] of [...this.#books]) {
      if (taken.length >= countMax) break
      taken.push(...entries.splice(0, share))
      // Its place is behind all others from now on.
      this.#books.delete(book)
      if (entries.length > 0) this.#books.set(book, entries)
    }
    return taken
  }

  /** Tells how the last question ended: with an answer for somebody, or with none. */
  asked(hasAnswers: boolean): void {
    this.#pauseMs = hasAnswers ? 0 : Math.min(Math.max(this.#pauseMs * 2, PAUSE_FIRST_MS), PAUSE_LONGEST_MS)
    this.#ask()
  }

  /** Gives everything out, and asks no more. */
  clear(): Entry[] {
    clearTimeout(this.#timer)
    const all = [...this.#books.values()].flat()
    this.#books.clear()
    return all
  }

  #ask(): void {
    if (this.#books.size === 0 || this.#timer !== undefined || this.#isDue) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#isDue = this.#books.size > 0
      if (this.#isDue) this.#onDue()
    }, this.#pauseMs)
  }
}
