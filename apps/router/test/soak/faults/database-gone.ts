import { setTimeout as pause } from 'node:timers/promises'
import type { Fault, Stage } from '../fault.ts'

/** Callers are told after this long that the books are away: within a short absence as within a long one. */
const POLICY = { calls: { settleWaitMs: 1_500 } }
const FROZEN_MS = 2_500
const FROZEN_SPAN_MS = 6_000
const SLOW_MS = 300
const SLOWEST_MS = 1_900
const ENDS_WHILE_SLOW = 20

function gone(seconds: number, rounds: Fault['rounds']): Fault {
  return {
    name: `database-gone-${seconds}s`,
    meaning: `Every connection to PostgreSQL is reset, and none can be made for ${seconds} seconds.`,
    rounds,
    layout: { policy: POLICY },
    async strike({ way }) {
      way.cut()
      await pause(seconds * 1_000)
      way.restore()
    },
  }
}

export const databaseGone5s = gone(5, { soak: 10, test: 0 })
export const databaseGone30s = gone(30, { soak: 1, test: 0 })

/** What was sent meanwhile arrives late, or the connections turn out to be dead: by turns. */
export const databaseFrozen: Fault = {
  name: 'database-frozen',
  meaning: 'Nothing passes between two routers and PostgreSQL any more, and no connection is closed.',
  rounds: { soak: 10, test: 1 },
  layout: { routers: 2, policy: POLICY },
  async strike({ way, below }) {
    way.freeze()
    await pause(FROZEN_MS + below(FROZEN_SPAN_MS))
    if (below(2) === 0) way.cut()
    way.restore()
  },
}

export const databaseSlow: Fault = {
  name: 'database-slow',
  meaning: 'Every answer of PostgreSQL comes 0.3 seconds late, then 1.9. No call fails for it.',
  rounds: { soak: 3, test: 0 },
  async strike({ way, load }: Stage) {
    for (const ms of [SLOW_MS, SLOWEST_MS]) {
      way.delay(0, ms)
      await load.moreEnds(ENDS_WHILE_SLOW)
    }
    way.restore()
    const failed = load.others.get('storage_unavailable') ?? 0
    if (failed > 0) throw new Error(`${failed} calls failed though the database answered in time`)
  },
}
