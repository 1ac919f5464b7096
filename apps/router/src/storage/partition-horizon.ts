import type { Database } from './database.ts'
import { partitionsUntil } from './partitions.ts'

/** Partitions are made a month ahead, so an hour is soon enough to see that none were. */
const INTERVAL_MS = 3_600_000

/** Until when there are partitions, as this process last saw it. */
export interface PartitionHorizon {
  /** In milliseconds since 1970; `undefined` before the first look. */
  readonly untilMs: number | undefined
  stop(): Promise<void>
}

/** Looks now and then until when rows have partitions, whoever makes them. Never rejects. */
export function watchPartitions({ pool }: Pick<Database, 'pool'>, now: () => number): PartitionHorizon {
  let untilMs: number | undefined
  const look = (): Promise<void> =>
    partitionsUntil(pool, now()).then(
      (seenMs) => {
        untilMs = seenMs
      },
      // What was seen last stands, and says by itself when it is too old.
      () => undefined,
    )
  let running = look()
  const timer = setInterval(() => {
    running = look()
  }, INTERVAL_MS)
  timer.unref()
  return {
    get untilMs() {
      return untilMs
    },
    async stop() {
      clearInterval(timer)
      await running
    },
  }
}
