import { describeError, type Log } from '../log.ts'
import type { Database } from './database.ts'
import { createPartitions } from './partitions.ts'

/** Partitions are made a month ahead, so a day between two looks leaves time for many failed ones. */
const INTERVAL_MS = 86_400_000

export interface PartitionKeeper {
  /**
   * The first look is over. To be awaited before anything is written: a month's first row decides where the whole
   * month lies. Never rejects.
   */
  readonly ready: Promise<void>
  stop(): Promise<void>
}

/** Makes the partitions of this month and the next now, and looks again every day. */
export function keepPartitions(
  { pool }: Database,
  { now, log }: { readonly now: () => number; readonly log: Log },
): PartitionKeeper {
  const look = (): Promise<void> =>
    createPartitions(pool, now()).then(
      (made) => log.debug('partitions are made', { count: made.length }),
      // Rows go to the default partition until a look succeeds: nothing is lost and nobody waits.
      (error: unknown) => log.warn('partitions could not be made', describeError(error)),
    )
  const ready = look()
  let running = ready
  const timer = setInterval(() => {
    running = look()
  }, INTERVAL_MS)
  timer.unref()
  return {
    ready,
    async stop() {
      clearInterval(timer)
      await running
    },
  }
}
