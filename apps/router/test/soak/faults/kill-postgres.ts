import { setTimeout as pause } from 'node:timers/promises'
import type { Fault } from '../fault.ts'

const SPAN_MS = 1_000
const AWAY_SPAN_MS = 400

/** Of two routers: what the crash has lost of the one's holds, the other must not give away. */
export const killPostgres: Fault = {
  name: 'kill-postgres',
  meaning: 'PostgreSQL and all its processes are killed with -9 and started again, under two routers.',
  rounds: { soak: 50, test: 1 },
  layout: { routers: 2 },
  async strike({ server, below }) {
    await pause(below(SPAN_MS))
    await server.kill()
    await pause(below(AWAY_SPAN_MS))
    await server.start()
  },
}
