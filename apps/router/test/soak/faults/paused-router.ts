import { until } from '../../support/until.ts'
import type { Fault } from '../fault.ts'

const REAP_PATIENCE_MS = 30_000

export const pausedRouter: Fault = {
  name: 'paused-router',
  meaning: 'One of two routers stands still until the other has released its holds, and then goes on.',
  rounds: { soak: 10, test: 1 },
  layout: { routers: 2 },
  async strike({ routers, database, below }) {
    const router = routers[below(routers.length)]
    const { pool } = await database()
    router?.signal('SIGSTOP')
    try {
      const { rows: held } = await pool.query<{ call_id: string }>('select call_id from holds')
      const calls = held.map(({ call_id }) => call_id)
      await until(
        'the holds of the router that stands still are released',
        async () => {
          const { rows } = await pool.query<{ held: boolean; reaped: boolean }>(
            `select exists (select from holds where call_id = any ($1)) as held,
               exists (select from events where id = any ($1) and billing_reason = 'router_crash') as reaped`,
            [calls],
          )
          return rows[0]?.held === false && rows[0].reaped
        },
        REAP_PATIENCE_MS,
      )
    } finally {
      router?.signal('SIGCONT')
    }
  },
}
