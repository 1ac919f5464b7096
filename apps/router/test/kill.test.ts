import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { realpathSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { parseUsd } from '@mesh/catalog/money.ts'
import { verifyLedger } from '../src/ledger/verify.ts'
import type { Database } from '../src/storage/database.ts'
import { livePostmaster } from '../src/storage/postmaster.ts'
import { STREAM_END, streamPayloads } from './support/chat-stream.ts'
import { newRouterHome, type RouterHome, type RouterProcess } from './support/router-process.ts'
import { until } from './support/until.ts'

const ROUNDS_PER_HOME = 5
/** The round in which PostgreSQL dies with its router, as when the plug is pulled. */
const ROUND_OF_BOTH = 3
const CALLERS = 36
/** Each round waits for so many answers, then kills at any moment of the span that follows. */
const ANSWERS_BEFORE_KILL = 20
const KILL_SPAN_MS = 1_200
const START_CREDIT = { amountUsd: '500.00', reason: 'For the load', livemode: false }

/** The call of an answer whose end a caller has seen, and what he was told that it cost. */
interface SeenEnd {
  readonly callId: string
  readonly costUsd: number
  readonly totalNano: bigint
}

interface Load {
  /** Ends that were seen, and other answers by what they were. */
  readonly seen: SeenEnd[]
  readonly others: Map<string, number>
  /** Resolves when every caller has given up. */
  readonly over: Promise<unknown>
}

/** Numbers below a bound, the same for the same seed (mulberry32). */
function numbersFrom(seed: number): (bound: number) => number {
  let state = seed
  return (bound) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * bound)
  }
}

const MODELS = ['mesh/claude-sonnet-4.5', 'mesh/claude-haiku-4.5', 'mesh/gpt-5-mini', 'mesh/gpt-4.1']

/** A call of any kind; how long its answer takes spreads the calls over all stages at every instant. */
function anyCall(below: (bound: number) => number): object {
  const faults = ['', '', '', '', '', '', '', ',overloaded', ',cut_stream', ',slow']
  const steering = `tokens=${1 + below(120)},pace=${below(8)}${faults[below(faults.length)] ?? ''}`
  return {
    model: MODELS[below(MODELS.length)],
    messages: [{ role: 'user', content: 'Tell me something.' }],
    stream: below(3) > 0,
    ...(below(2) === 0 ? { max_tokens: 300 } : {}),
    ...(below(2) === 0 ? { usage: { include: true } } : {}),
    metadata: { mesh_simulate: steering },
  }
}

function endOf(payload: string): SeenEnd {
  const { id, usage } = JSON.parse(payload)
  return { callId: id, costUsd: usage.cost, totalNano: parseUsd(usage.cost_details.total) ?? -1n }
}

/** Makes one call and says what came of it: the end that was seen, or a word. Rejects when the connection breaks. */
async function makeCall(url: string, key: string, body: object): Promise<SeenEnd | string> {
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  if (response.status !== 200) return JSON.parse(await response.text()).error.code
  if (!response.headers.get('content-type')?.startsWith('text/event-stream'))
    return endOf(await response.text())
  let usage = ''
  for await (const payload of streamPayloads(response)) {
    if (payload === STREAM_END) return endOf(usage)
    if (payload.includes('"usage":{')) usage = payload
    if (payload.includes('"error":{')) return JSON.parse(payload).error.code
  }
  return 'ended early'
}

/** Callers who each make one call after the other, for as long as the router answers. */
function startLoad(url: string, key: string, below: (bound: number) => number): Load {
  const seen: SeenEnd[] = []
  const others = new Map<string, number>()
  const caller = async (): Promise<void> => {
    try {
      while (true) {
        const result = await makeCall(url, key, anyCall(below))
        if (typeof result !== 'string') seen.push(result)
        else others.set(result, (others.get(result) ?? 0) + 1)
      }
    } catch (error) {
      // What a broken connection is told as; anything else is a fault of this test or of an answer.
      if (!(error instanceof TypeError)) throw error
    }
  }
  return { seen, others, over: Promise.all(Array.from({ length: CALLERS }, caller)) }
}

/** Kills at a moment of any length after the load is under way. */
async function killAtRandom(
  home: RouterHome,
  router: RouterProcess,
  load: Load,
  options: { readonly afterMs: number; readonly both: boolean },
): Promise<void> {
  await until('answers have come', () => load.seen.length >= ANSWERS_BEFORE_KILL)
  // Not a wait for anything: the instant itself is what is drawn.
  await new Promise((resolve) => setTimeout(resolve, options.afterMs))
  const server = livePostmaster(join(realpathSync(join(home.folder, 'postgres')), 'data'))
  assert.ok(server)
  router.signal('SIGKILL')
  if (options.both) process.kill(server.pid, 'SIGKILL')
  assert.equal((await router.ended).signal, 'SIGKILL')
  await load.over
}

interface BilledRow {
  readonly call: string
  readonly nano: bigint
}

async function rowsByCall(database: Database, sql: string): Promise<Map<string, bigint[]>> {
  const { rows } = await database.pool.query<BilledRow>(sql)
  const byCall = new Map<string, bigint[]>()
  for (const { call, nano } of rows) byCall.set(call, [...(byCall.get(call) ?? []), nano])
  return byCall
}

/** Compares what callers saw with what the books say. Nothing runs at the time. */
async function checkBooks(database: Database, seen: readonly SeenEnd[]): Promise<void> {
  const charged = await rowsByCall(
    database,
    `select call_id as call, -amount_nano as nano from ledger_entries
     where kind = 'usage' and ledger_account = 'customer'`,
  )
  const events = await rowsByCall(database, 'select left(id, 30) as call, total_nano as nano from events')
  for (const { callId, costUsd, totalNano } of seen) {
    assert.deepEqual(charged.get(callId), [totalNano], `${callId} is charged once, as its caller was told`)
    assert.deepEqual(events.get(callId), [totalNano], `${callId} has one event over the same amount`)
    assert.equal(BigInt(Math.round(costUsd * 1e9)), totalNano)
  }
  const twice = [...charged, ...events].filter(([, amounts]) => amounts.length > 1)
  assert.deepEqual(twice, [], 'no call has two rows or two events')

  const { rows } = await database.pool.query(
    `select (select count(*)::int from holds) as holds,
       (select count(*)::int from counters where held_nano <> 0 or active_requests <> 0) as counters,
       (select count(*)::int from balances where held_nano <> 0) as balances`,
  )
  assert.deepEqual(rows, [{ holds: 0, counters: 0, balances: 0 }], 'no hold is left')

  const differences: string[] = []
  for await (const { sentence } of verifyLedger(database)) differences.push(sentence)
  assert.deepEqual(differences, [], 'the books replay')
}

/** Five rounds on one home, from its first start on. Resolves to how many calls the crashes ended. */
async function killAgainAndAgain(t: TestContext, below: (bound: number) => number): Promise<number> {
  const home = await newRouterHome(t)
  let router = await home.start()
  const key = router.testKey ?? ''
  const { json: account } = await router.request('GET', '/v1/accounts/me', { key })
  const grant = { key: router.adminKey, body: START_CREDIT }
  const granted = await router.request('POST', `/v1/accounts/${account.id}/grants`, grant)
  assert.equal(granted.status, 201, granted.text)

  const seen: SeenEnd[] = []
  for (let round = 1; round <= ROUNDS_PER_HOME; round++) {
    const load = startLoad(router.url, key, below)
    const options = { afterMs: below(KILL_SPAN_MS), both: round === ROUND_OF_BOTH }
    await killAtRandom(home, router, load, options)
    seen.push(...load.seen)
    router = await home.start()
    const database = await home.openDatabase()
    await checkBooks(database, seen)
    const { json: after } = await router.request('GET', '/v1/accounts/me', { key })
    assert.equal(after.heldUsd, '0.000000000')
    const others = [...load.others].map(([word, count]) => `${count} ${word}`).join(', ')
    t.diagnostic(
      `round ${round}, killed after ${options.afterMs} ms: ${load.seen.length} ends seen; ${others}`,
    )
    assert.deepEqual(
      [...load.others.keys()].filter((word) => word !== 'provider_overloaded' && word !== 'provider_error'),
      [],
      'nothing but the wanted faults failed',
    )
    await database.close()
  }
  const database = await home.openDatabase()
  const { rows } = await database.pool.query<{ crashes: number }>(
    `select count(*)::int as crashes from events where billing_reason = 'router_crash'`,
  )
  return rows[0]?.crashes ?? 0
}

test('kill -9 under load, ten rounds: every end that was seen is charged once, nothing twice, nothing held', async (t) => {
  const seed = Number(process.env.MESH_TEST_SEED ?? randomInt(2 ** 31))
  t.diagnostic(`seed ${seed}: set MESH_TEST_SEED to draw the same calls and instants`)
  const below = numbersFrom(seed)
  const crashes = [await killAgainAndAgain(t, below), await killAgainAndAgain(t, below)]
  t.diagnostic(`calls that a crash ended: ${crashes.join(' and ')}`)
  assert.ok(
    crashes.every((count) => count > ROUNDS_PER_HOME),
    'the kills struck running calls',
  )
})
