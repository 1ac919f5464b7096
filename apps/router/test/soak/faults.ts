import type { Fault } from './fault.ts'
import { clockJump } from './faults/clock-jump.ts'
import { databaseFrozen, databaseGone5s, databaseGone30s, databaseSlow } from './faults/database-gone.ts'
import { drainRouter } from './faults/drain-router.ts'
import { fullDisk } from './faults/full-disk.ts'
import { killBoth } from './faults/kill-both.ts'
import { killPostgres } from './faults/kill-postgres.ts'
import { killRouter } from './faults/kill-router.ts'
import { killRouterOfTwo } from './faults/kill-router-of-two.ts'
import { killedWorker } from './faults/killed-worker.ts'
import { lockedAccount } from './faults/locked-account.ts'
import { none } from './faults/none.ts'
import { pausedRouter } from './faults/paused-router.ts'
import { poisonRow } from './faults/poison-row.ts'
import { terminatedConnections } from './faults/terminated-connections.ts'

/** Everything that the soak breaks, in the order of the table. */
export const FAULTS: readonly Fault[] = [
  none,
  killRouter,
  killRouterOfTwo,
  killPostgres,
  killBoth,
  drainRouter,
  pausedRouter,
  killedWorker,
  databaseGone5s,
  databaseGone30s,
  databaseFrozen,
  databaseSlow,
  lockedAccount,
  terminatedConnections,
  poisonRow,
  clockJump,
  fullDisk,
]
