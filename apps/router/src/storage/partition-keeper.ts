import { describeError, type Log } from '../log.ts'
import type { Database } from './database.ts'
import { createPartitions } from './partitions.ts'

/** Partitions are made months ahead, so a day between two looks leaves time for many failed ones. */
const INTERVAL_MS = 86_400_000

/** Makes the partitions of the coming months now, and looks again every day. */
export function keepPartitions(
  database: Database,
  { now, log }: { readonly now: () => number; readonly log: Log },
): { stop(): Promise<void> } {
  let running = Promise.resolve()
  const look = (): void => {
    running = createPartitions(database.pool, now()).then(
      (made) => log.debug('partitions are made', { count: made.length }),
      // Rows go to the default partition until a look succeeds: nothing is lost and nobody waits.
      (error: unknown) => log.warn('partitions could not be made', describeError(error)),
    )
  }
  look()
  const timer = setInterval(look, INTERVAL_MS)
  timer.unref()
  return {
    async stop() {
      clearInterval(timer)
      await running
    },
  }
}
