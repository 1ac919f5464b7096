import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { realpathSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { numbersFrom, seedOf } from '@mesh/simulator/seed.ts'
import { livePostmaster } from '../src/storage/postmaster.ts'
import { Auditor } from './soak/audit.ts'
import { newWords } from './soak/call-kinds.ts'
import { startLoad } from './soak/load.ts'
import { makePayers } from './soak/payers.ts'
import { newRouterHome, type RouterHome, type RouterProcess } from './support/router-process.ts'

const ROUNDS = 3
/** The round in which PostgreSQL dies with its router, as when the plug is pulled; else it lives and is taken over. */
const ROUND_OF_BOTH = 2
const CALLERS = 36
/** Each round waits for so many answers, then kills at any moment of the span that follows. */
const ANSWERS_BEFORE_KILL = 20
const KILL_SPAN_MS = 1_200

function serverOf(home: RouterHome): number {
  const server = livePostmaster(join(realpathSync(join(home.folder, 'postgres')), 'data'))
  assert.ok(server)
  return server.pid
}

async function killAll(home: RouterHome, router: RouterProcess, isServerToo: boolean): Promise<void> {
  const server = serverOf(home)
  router.signal('SIGKILL')
  if (isServerToo) process.kill(server, 'SIGKILL')
  assert.equal((await router.ended).signal, 'SIGKILL')
}

test('kill -9 of the built-in default under load: every end that was seen is charged once, nothing twice, nothing held', async (t) => {
  const seed = Number(process.env.MESH_TEST_SEED ?? randomInt(2 ** 31))
  t.diagnostic(`seed ${seed}: set MESH_TEST_SEED to draw the same calls and instants`)
  const below = numbersFrom(seedOf(String(seed), 'instants'))
  const home = await newRouterHome(t)
  let router = await home.start()
  const payers = await makePayers(router.url, router.adminKey)
  const callers = Array.from({ length: CALLERS }, newWords)
  const auditor = new Auditor()
  for (let round = 1; round <= ROUNDS; round++) {
    const load = startLoad({ urls: [router.url], payers, callers, seed: seedOf(String(seed), String(round)) })
    await load.moreEnds(ANSWERS_BEFORE_KILL)
    // Not a wait for anything: the instant itself is what is drawn.
    const afterMs = below(KILL_SPAN_MS)
    await pause(afterMs)
    await killAll(home, router, round === ROUND_OF_BOTH)
    const record = await load.end()
    router = await home.start()
    const database = await home.openDatabase()
    const { rows } = await database.pool.query('select call_id from holds')
    assert.deepEqual(rows, [], 'the start itself released what the dead router held')
    const { url } = router
    const result = await auditor.audit({ database, record, unbrokenUrls: new Set(), url, leaks: [] })
    t.diagnostic(`round ${round}, killed after ${afterMs} ms: ${load.ends} ends of ${result.calls} calls`)
    assert.deepEqual(result, {
      calls: record.calls.length,
      lost: 0,
      double: 0,
      overspent: 0,
      leaked: 0,
      findings: [],
    })
    assert.ok(!load.others.has('internal') && !load.others.has('ended early'))
    await database.close()
  }
  const database = await home.openDatabase()
  const { rows } = await database.pool.query(`select from events where billing_reason = 'router_crash'`)
  t.diagnostic(`calls that a crash ended: ${rows.length}`)
  assert.ok(rows.length > ROUNDS, 'the kills struck running calls')
})
