import type { Database } from '../../../src/storage/database.ts'
import { until } from '../../support/until.ts'
import type { Fault } from '../fault.ts'

const ENDS_BESIDE = 40

/** Those calls are poison whose callers left, so that nobody is told what is not true. */
const POISON = `
  create function refuse_event() returns trigger language plpgsql as $$
    begin
      if new.billing_reason = 'client_disconnected' then
        raise exception 'poison' using errcode = 'check_violation';
      end if;
      return new;
    end $$;
  create trigger refuse_event before insert on events for each row execute function refuse_event()`

/** What an operator does who has looked at the refused settlements and mended their cause. */
const MEND = `
  drop trigger refuse_event on events;
  drop function refuse_event;
  select settle_calls(json_build_array(settlement::json)) from refused_settlements;
  delete from refused_settlements`

export const poisonRow: Fault = {
  name: 'poison-row',
  meaning:
    'PostgreSQL refuses the settlements of some calls for their own sake, in batches with those of others.',
  rounds: { soak: 5, test: 1 },
  layout: { routers: 2 },
  async strike({ load, database }) {
    const opened = await database()
    await opened.pool.query(POISON)
    await load.moreEnds(ENDS_BESIDE)
    await until('some are refused', async () => (await refused(opened)) > 0)
    await opened.pool.query(MEND)
    // Those that were under way when it was mended.
    await until('none is refused any more', async () => {
      await opened.pool.query(MEND.slice(MEND.indexOf('select settle_calls')))
      return (await refused(opened)) === 0
    })
  },
}

async function refused({ pool }: Database): Promise<number> {
  const { rows } = await pool.query<{ count: number }>(
    'select count(*)::int as count from refused_settlements',
  )
  return rows[0]?.count ?? 0
}
