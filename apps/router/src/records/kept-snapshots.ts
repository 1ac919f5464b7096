import { sql } from 'kysely'
import { describeError, type Log } from '../log.ts'
import type { NamedSnapshot } from '../plan-snapshots.ts'
import type { Database } from '../storage/database.ts'

/** How long a snapshot is kept after the last call that was planned from it, and how many there are at most. */
const KEPT_DAYS = 30
const KEPT_MAX = 20_000
/** A snapshot that is in use is marked so this often, and what is too old is looked for as often. */
const MARKED_EVERY_MS = 3_600_000
/** Snapshots that this process remembers to have kept. */
const REMEMBERED_MAX = 1_000

/**
 * Keeps what plans are made from, once each, off the path of calls: a call names its snapshot and does not wait. What
 * could not be written is tried again by the next call, and costs nothing but a replay.
 */
export class KeptSnapshots {
  readonly #database: Pick<Database, 'query'>
  readonly #now: () => number
  readonly #log: Log
  readonly #markedAtMs = new Map<string, number>()
  #tidiedAtMs = Number.NEGATIVE_INFINITY
  #writing: Promise<void> = Promise.resolve()

  constructor(database: Pick<Database, 'query'>, now: () => number, log: Log) {
    this.#database = database
    this.#now = now
    this.#log = log
  }

  /** Says that a call was planned from a snapshot. */
  keep(snapshot: NamedSnapshot): void {
    const nowMs = this.#now()
    const markedAtMs = this.#markedAtMs.get(snapshot.id)
    if (markedAtMs !== undefined && nowMs - markedAtMs < MARKED_EVERY_MS) return
    if (this.#markedAtMs.size >= REMEMBERED_MAX) this.#markedAtMs.clear()
    this.#markedAtMs.set(snapshot.id, nowMs)
    this.#writing = this.#writing.then(() => this.#write(snapshot, nowMs))
  }

  /** Resolves when everything that is to be kept has been written, or given up. */
  settled(): Promise<void> {
    return this.#writing
  }

  async #write({ id, content }: NamedSnapshot, nowMs: number): Promise<void> {
    try {
      await this.#database.query
        .insertInto('plan_snapshots')
        .values({ id, content: JSON.stringify(content) })
        .onConflict((conflict) => conflict.column('id').doUpdateSet({ used_at: sql<Date>`now()` }))
        .execute()
      if (nowMs - this.#tidiedAtMs < MARKED_EVERY_MS) return
      this.#tidiedAtMs = nowMs
      await this.#tidy()
    } catch (error) {
      this.#markedAtMs.delete(id)
      this.#log.warn('a snapshot of plans was not kept', describeError(error))
    }
  }

  async #tidy(): Promise<void> {
    await sql`
      delete from plan_snapshots
      where used_at < now() - make_interval(days => ${KEPT_DAYS})
        or used_at < (select used_at from plan_snapshots order by used_at desc offset ${KEPT_MAX} limit 1)
    `.execute(this.#database.query)
  }
}
