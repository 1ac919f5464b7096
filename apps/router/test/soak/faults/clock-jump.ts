import { existsSync, globSync } from 'node:fs'
import { rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Database } from '../../../src/storage/database.ts'
import type { Fault } from '../fault.ts'

const LIBRARY = globSync('/usr/lib/*/faketime/libfaketime.so.1')[0]
/** Read by the routers' own libfaketime at every look at a clock. */
const CLOCK_FILE = join(tmpdir(), `mesh-clock-${process.pid}`)
const ROUTER_JUMPS = ['+3600', '-3600', '+86400', '-86400'] as const
/** Short of the day for which idempotency keys are remembered, which goes by this clock. */
const BOOKS_JUMPS = ['+3600', '-3600', '+36000', '-36000'] as const
const ENDS_AFTER_JUMP = 15

/** The routers' wall clocks jump, and that of the books; time-outs of running calls go by neither. */
export const clockJump: Fault = {
  name: 'clock-jump',
  meaning: 'The clocks of two routers, then that of the database, jump by hours and a day, forward and back.',
  rounds: { soak: 5, test: 1 },
  layout: {
    routers: 2,
    environment: {
      LD_PRELOAD: LIBRARY ?? '',
      FAKETIME_TIMESTAMP_FILE: CLOCK_FILE,
      FAKETIME_NO_CACHE: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
    },
  },
  async unavailable() {
    if (LIBRARY !== undefined && existsSync(LIBRARY)) return undefined
    return "the Debian package faketime, which moves a process's clock, is not installed"
  },
  async strike({ database, load, below }) {
    const opened = await database()
    try {
      for (const jump of shuffled(ROUTER_JUMPS, below)) {
        await setRouterClock(jump)
        await load.moreEnds(ENDS_AFTER_JUMP)
      }
      for (const jump of shuffled(BOOKS_JUMPS, below)) {
        await setBooksClock(opened, jump)
        await load.moreEnds(ENDS_AFTER_JUMP)
      }
    } finally {
      await setBooksClock(opened, '+0')
      await rm(CLOCK_FILE, { force: true })
    }
  },
}

function shuffled<Value>(values: readonly Value[], below: (bound: number) => number): Value[] {
  const left = [...values]
  return values.flatMap(() => left.splice(below(left.length), 1))
}

/** In one step, for a file that is half written is a clock of its own. */
async function setRouterClock(jump: string): Promise<void> {
  await writeFile(`${CLOCK_FILE}.new`, jump)
  await rename(`${CLOCK_FILE}.new`, CLOCK_FILE)
}

async function setBooksClock({ pool }: Database, jump: string): Promise<void> {
  await pool.query(
    `create or replace function mesh_now() returns timestamptz language sql volatile
       as $$ select clock_timestamp() + interval '${Number(jump)} seconds' $$`,
  )
}
