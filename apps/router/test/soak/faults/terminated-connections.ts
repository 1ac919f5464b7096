import { setTimeout as pause } from 'node:timers/promises'
import type { Fault } from '../fault.ts'

const BLOWS = 20
const SPAN_MS = 100

export const terminatedConnections: Fault = {
  name: 'terminated-connections',
  meaning: 'Sessions of two routers are ended with pg_terminate_backend, one after the other at random.',
  rounds: { soak: 10, test: 1 },
  layout: { routers: 2 },
  async strike({ database, below }) {
    const { pool } = await database()
    for (let blow = 0; blow < BLOWS; blow++) {
      const { rows } = await pool.query<{ pid: number }>(
        `select pid from pg_stat_activity
         where datname = current_database() and application_name <> current_setting('application_name')
         order by pid`,
      )
      const chosen = rows[below(Math.max(1, rows.length))]
      if (chosen) await pool.query('select pg_terminate_backend($1)', [chosen.pid])
      await pause(below(SPAN_MS))
    }
  },
}
