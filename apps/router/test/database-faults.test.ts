import assert from 'node:assert/strict'
import { tmpdir } from 'node:os'
import { type TestContext, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { verifyLedger } from '../src/ledger/verify.ts'
import { startRouter } from '../src/router.ts'
import { systemSeams } from '../src/seams.ts'
import { readSettings } from '../src/settings.ts'
import { type Database, endConnection, openDatabase } from '../src/storage/database.ts'
import { StartupError } from '../src/storage/startup-error.ts'
import {
  assertRecordsAgree,
  bookOf,
  chat,
  chunksOf,
  eventOf,
  holdsOf,
  open,
  requestIdOf,
  send,
} from './support/calls.ts'
import { createTestDatabase, type TestDatabase } from './support/test-database.ts'
import { startTestPostgres, type TestPostgres } from './support/test-postgres.ts'
import {
  type Answered,
  connectionUrl,
  startTestRouter,
  type TestAccount,
  type TestRouter,
} from './support/test-router.ts'
import { until } from './support/until.ts'
import { startWayTo, type WayToDatabase } from './support/way-to-database.ts'

/** What a caller waits for the books; what it waits at most in all is some of these. */
const SHORT_WAIT_MS = 700
const CREDIT_NANO = 10_000_000_000n
/** By then everything that is refused has been, on a busy machine too: some waits one after the other. */
const REFUSAL_MS = 8_000

interface Stage {
  readonly mesh: TestRouter
  readonly way: WayToDatabase
  /** Reaches the database past the way. */
  readonly database: Database
}

/** A router that reaches its database over a way that can fail. */
async function openStage(t: TestContext, policy: object = {}, given?: TestDatabase): Promise<Stage> {
  const own = given ?? (await createTestDatabase())
  const way = await startWayTo(own)
  const mesh = await startTestRouter({ on: own, environment: { DATABASE_URL: way.url }, policy })
  t.after(async () => {
    way.restore()
    await mesh.stop()
    await way.close()
    await own.close()
  })
  return { mesh, way, database: own.database() }
}

/** A database on a server of its own, as one that tests share but for what is done to that server. */
async function databaseOn(t: TestContext, postgres: TestPostgres): Promise<TestDatabase> {
  const connection = { ...postgres.server, database: 'postgres' }
  const opened: Database[] = []
  t.after(() => postgres.stop())
  return {
    connection,
    database(poolSize = 2) {
      const options = { poolSize, applicationName: 'mesh-test', statementTimeoutMs: 10_000 }
      opened.push(openDatabase(connection, options))
      return opened.at(-1) ?? assert.fail()
    },
    async close() {
      await Promise.all(opened.map((database) => database.close()))
    },
  }
}

function assertUnavailable(answered: Answered): void {
  assert.equal(answered.status, 503, answered.text)
  assert.equal(answered.json.error.code, 'storage_unavailable')
  assert.match(answered.headers.get('retry-after') ?? '', /^[0-9]+$/)
}

async function serves({ mesh }: Stage, { key }: TestAccount): Promise<boolean> {
  return (await send(mesh, key, chat('tokens=5'))).status === 200
}

/** Rejects where these take longer: callers must not be left hanging. */
async function within<Value>(ms: number, work: readonly Promise<Value>[]): Promise<readonly Value[]> {
  const enough = new AbortController()
  const late = pause(ms, 'late' as const, { signal: enough.signal }).catch(() => 'late' as const)
  const first = await Promise.race([Promise.all(work), late])
  enough.abort()
  return first === 'late' ? assert.fail(`not answered within ${ms} ms`) : first
}

/** Waits until nothing is held, and asserts that the books replay. */
async function assertSettled({ database }: Stage, account: TestAccount): Promise<void> {
  await until('nothing is held', async () => (await holdsOf(database, account.id)) === 0)
  assert.equal((await bookOf(database, account.id)).heldNano, 0n)
  for await (const { sentence } of verifyLedger(database)) assert.fail(sentence)
}

async function held(mesh: TestRouter, count: number): Promise<void> {
  await until(`${count} answers are held`, () => mesh.simulator.stats().held === count)
}

for (const fault of ['cut', 'freeze'] as const) {
  test(`peer bug 19 (litellm#38193): with the database away (${fault}) nothing new runs, what ran is charged once or not at all, and all goes on by itself`, async (t) => {
    const stage = await openStage(t, { calls: { settleWaitMs: SHORT_WAIT_MS } })
    const { mesh, way, database } = stage
    const account = await mesh.account()
    const stranger = await mesh.account()
    const { key } = account
    assert.equal(await serves(stage, account), true)
    const before = await bookOf(database, account.id)
    const running = { stream: true, usage: { include: true } }
    const streamed = send(mesh, key, chat('tokens=40,hold=20', running), { 'idempotency-key': 'streamed' })
    const whole = send(mesh, key, chat('tokens=40,hold'), { 'idempotency-key': 'whole' })
    await held(mesh, 2)
    const asked = mesh.simulator.stats().requests

    way[fault]()
    const refused = await within(REFUSAL_MS, [
      send(mesh, key, chat('tokens=5')),
      send(mesh, key, chat('tokens=5', { stream: true })),
      send(mesh, key, chat('tokens=5'), { 'idempotency-key': 'new' }),
      // One that the router has not in memory.
      send(mesh, stranger.key, chat('tokens=5')),
      mesh.request('GET', '/readyz'),
    ])
    for (const answered of refused) assertUnavailable(answered)
    assert.equal((await mesh.request('GET', '/healthz')).status, 200)
    assert.equal(mesh.simulator.stats().requests, asked, 'nothing new left')

    mesh.simulator.release()
    const late = await whole
    assertUnavailable(late)
    assert.equal(late.headers.get('x-should-retry'), 'false')
    const cut = chunksOf((await streamed).text).at(-1)
    assert.equal(cut?.error?.code, 'storage_unavailable')
    assert.ok(!(await streamed).text.includes('[DONE]'), 'no clean end')

    way.restore()
    await until('it is ready', async () => (await mesh.request('GET', '/readyz')).status === 200)
    await until('calls are served', () => serves(stage, account))
    await until('keys work that it never knew', () => serves(stage, stranger))
    await assertSettled(stage, account)
    const streamedEvent = await eventOf(mesh, key, requestIdOf(await streamed))
    assert.equal(streamedEvent.billingReason, 'completed')
    await assertRecordsAgree(mesh, account, requestIdOf(await streamed))
    assert.equal((await eventOf(mesh, key, requestIdOf(late))).cost.totalUsd, '0.000000000')
    assert.ok((await bookOf(database, account.id)).balanceNano < before.balanceNano)

    // What was charged never runs again under its key; what was not may.
    const repeat = await send(mesh, key, chat('tokens=40,hold=20', running), {
      'idempotency-key': 'streamed',
    })
    assert.equal(repeat.json.error.code, 'idempotency_replay')
    for (const name of ['whole', 'new']) {
      await until(`the key of ${name} is free`, async () => {
        const answered = await send(mesh, key, chat('tokens=5'), { 'idempotency-key': name })
        return answered.status === 200 || answered.json.error.code === 'idempotency_conflict'
      })
    }
  })

  test(`an answer that outgrows its hold waits for a database that is away (${fault}) and goes on; where it stays away, it is cut and charged later`, async (t) => {
    const stage = await openStage(t, {
      holds: { outputSliceTokens: 64, outputFloorTokens: 16 },
      calls: { settleWaitMs: 1_500 },
    })
    const { mesh, way } = stage
    const account = await mesh.account()
    const body = chat('tokens=300,hold=20', { stream: true, usage: { include: true } })

    const waits = open(mesh, account.key, body)
    await held(mesh, 1)
    way[fault]()
    mesh.simulator.release()
    await until('it has come as far as its hold', () => mesh.simulator.stats().held === 0)
    // Long enough that an answer which did not wait would be over.
    const { status } = await send(mesh, account.key, chat('tokens=5'))
    assert.equal(status, 503)
    way.restore()
    await until('it ends', waits.isEnded)
    assert.match(waits.text(), /data: \[DONE\]/)
    const usage = chunksOf(waits.text()).findLast((chunk) => chunk.usage)?.usage
    assert.equal(usage?.completion_tokens, 300)

    await until('calls are served', () => serves(stage, account))
    const stays = open(mesh, account.key, body)
    await held(mesh, 1)
    way[fault]()
    mesh.simulator.release()
    await until('it ends', stays.isEnded)
    assert.equal(chunksOf(stays.text()).at(-1)?.error?.code, 'storage_unavailable')
    way.restore()
    await until('calls are served', () => serves(stage, account))
    await assertSettled(stage, account)
    const event = await assertRecordsAgree(
      mesh,
      account,
      requestIdOf({ headers: await headersOf(stays.head) }),
    )
    assert.equal(event.billingReason, 'credit_cutoff')
    assert.notEqual(event.cost.totalUsd, '0.000000000')
  })
}

async function headersOf(head: ReturnType<typeof open>['head']): Promise<Headers> {
  return new Headers((await head).headers as Record<string, string>)
}

test('connections whose other end has vanished are given up, in the pool and beside it, and new ones serve', async (t) => {
  const own = await createTestDatabase()
  const way = await startWayTo(own)
  const options = { poolSize: 1, applicationName: 'mesh-test', statementTimeoutMs: 300 }
  const database = openDatabase({ url: way.url }, options)
  t.after(async () => {
    await database.close()
    await way.close()
    await own.close()
  })
  const count = () => database.query.selectFrom('accounts').select('id').execute()
  const client = await database.connect()
  assert.deepEqual(await count(), [])
  way.strand()
  await within(REFUSAL_MS, [
    assert.rejects(count(), { code: 'storage_unavailable' }),
    assert.rejects(client.query('select 1'), /timeout/),
  ])
  assert.deepEqual(await count(), [])
  await endConnection(client)
})

test('a router stops though its database no longer answers', async () => {
  const own = await createTestDatabase()
  const way = await startWayTo(own)
  const mesh = await startTestRouter({ on: own, environment: { DATABASE_URL: way.url } })
  const { key } = await mesh.account()
  assert.equal((await send(mesh, key, chat('tokens=5'))).status, 200)
  way.freeze()
  await mesh.stop()
  await way.close()
  await own.close()
})

test('a slow database makes calls slow and batches large, and fails none', async (t) => {
  const stage = await openStage(t)
  const { mesh, way } = stage
  const account = await mesh.account()
  assert.equal(await serves(stage, account), true)
  for (const [backMs, count, apartMs] of [
    // All at once they would share a statement or two, and one connection would do.
    [1_900, 30, 100],
    [300, 60, 0],
  ] as const) {
    way.delay(0, backMs)
    const answers = await Promise.all(
      Array.from({ length: count }, async (_, index) => {
        await pause(index * apartMs)
        const body = chat('tokens=10', { stream: index % 2 === 0 })
        return await send(mesh, account.key, body, { 'idempotency-key': `${backMs}-${index}` })
      }),
    )
    assert.deepEqual(
      answers
        .filter(({ status, text }) => status !== 200 || text.includes('"error"'))
        .map(({ text }) => text),
      [],
    )
  }
  way.restore()
  await assertSettled(stage, account)
})

test('calls of other accounts go on while somebody has one account locked, whose own wait and are told so in time', async (t) => {
  const stage = await openStage(t, { calls: { settleWaitMs: SHORT_WAIT_MS } })
  const { mesh, database } = stage
  const [locked, other] = [await mesh.account(), await mesh.account()]
  for (const account of [locked, other]) assert.equal(await serves(stage, account), true)
  const client = await database.connect()
  await client.query('begin')
  await client.query('select from balances where account_id = $1 for update', [locked.id])
  const waiting = send(mesh, locked.key, chat('tokens=5'))
  for (let call = 0; call < 10; call++) assert.equal(await serves(stage, other), true)
  assertUnavailable(await waiting)
  const patient = send(mesh, locked.key, chat('tokens=5'))
  assert.equal(await serves(stage, other), true)
  await client.query('commit')
  await client.end()
  assert.equal((await patient).status, 200)
  await assertSettled(stage, locked)
})

test('sessions that an operator ends one after the other cost nobody money and no answer its truth', async (t) => {
  const stage = await openStage(t)
  const { mesh, database } = stage
  const account = await mesh.account()
  assert.equal(await serves(stage, account), true)
  let isOver = false
  const answers: Answered[] = []
  const callers = Array.from({ length: 12 }, async (_, index) => {
    while (!isOver) answers.push(await send(mesh, account.key, chat('tokens=8', { stream: index % 2 === 0 })))
  })
  for (let round = 0; round < 30; round++) {
    const came = answers.length
    await database.pool.query(
      `select pg_terminate_backend(pid) from (
         select pid from pg_stat_activity
         where datname = current_database() and (application_name like 'mesh rtr%' or application_name = 'mesh')
         order by random() limit 1
       ) one`,
    )
    await until('answers come', () => answers.length > came + 3)
  }
  isOver = true
  await Promise.all(callers)
  const words = new Set(
    answers.map(({ status, text, json }) => {
      if (status !== 200) return json.error.code
      return text.includes('"error"') ? chunksOf(text).at(-1)?.error?.code : 'served'
    }),
  )
  for (const word of words) assert.ok(['served', 'storage_unavailable'].includes(word), word)
  await until('calls are served', () => serves(stage, account))
  await assertSettled(stage, account)
  const charged = answers.filter(({ status, text }) => status === 200 && !text.includes('"error"')).length
  assert.ok(charged > 30)
})

test('a server without connections left, a standby, and a restart: calls fail closed and then go on', async (t) => {
  const postgres = await startTestPostgres({ fsync: 'off', max_connections: '40' })
  const own = await databaseOn(t, postgres)
  const stage = await openStage(t, { calls: { settleWaitMs: SHORT_WAIT_MS } }, own)
  const { mesh, database } = stage
  const account = await mesh.account()
  const stranger = await mesh.account()
  assert.equal(await serves(stage, account), true)

  const hogs: Awaited<ReturnType<Database['connect']>>[] = []
  const hog = async (): Promise<void> => {
    for (;;) {
      const client = await database.connect().catch(() => undefined)
      if (client === undefined) return
      hogs.push(client)
    }
  }
  await hog()
  // Whoever starts now is told why in a sentence, and whoever loses a connection now gets no other.
  await assert.rejects(startOn(connectionUrl(own.connection)), (error) => {
    assert.ok(error instanceof StartupError, String(error))
    return /no connection left/.test(error.message)
  })
  await until('the router has no connection, and finds none', async () => {
    const ending = endSessionsOfRouters(hogs[0] ?? assert.fail())
    // A router asks for another at once: only many that ask all the while get what it loses before it does.
    let isOver = false
    const racers = Array.from({ length: 8 }, async () => {
      while (!isOver) await hog()
    })
    const left = await ending.finally(() => {
      isOver = true
    })
    await Promise.all(racers)
    return left === 0
  })
  assertUnavailable(await send(mesh, stranger.key, chat('tokens=5')))
  assertUnavailable(await mesh.request('GET', '/readyz'))
  await Promise.all(hogs.map((client) => client.end()))
  await until('calls are served', () => serves(stage, account))
  await until('keys work that it never knew', () => serves(stage, stranger))

  const standby = async (is: 'on' | 'off'): Promise<void> => {
    const client = await database.connect()
    await client.query(`set default_transaction_read_only = off`)
    await client.query(`alter system set default_transaction_read_only = ${is}`)
    await client.query('select pg_reload_conf()')
    await client.end()
  }
  await standby('on')
  await until('it says so', async () => (await mesh.request('GET', '/readyz')).status === 503)
  assertUnavailable(await send(mesh, account.key, chat('tokens=5')))
  await standby('off')
  await until('it is ready', async () => (await mesh.request('GET', '/readyz')).status === 200)
  await until('calls are served', () => serves(stage, account))

  const late = send(mesh, account.key, chat('tokens=40,hold=20', { stream: true }))
  await held(mesh, 1)
  // A fast shutdown: https://www.postgresql.org/docs/18/server-shutdown.html
  process.kill(postgres.pid(), 'SIGINT')
  await until('it is down', () => connects(database).then((can) => !can))
  assertUnavailable(await send(mesh, account.key, chat('tokens=5')))
  mesh.simulator.release()
  assert.equal(chunksOf((await late).text).at(-1)?.error?.code, 'storage_unavailable')
  await until('the shutdown is over', () => !isThere(postgres.pid()))
  await postgres.start()
  await until('calls are served', () => serves(stage, account))
  await assertSettled(stage, account)
  assert.equal((await eventOf(mesh, account.key, requestIdOf(await late))).billingReason, 'completed')
  assert.ok((await bookOf(database, account.id)).balanceNano < CREDIT_NANO)
})

async function startOn(url: string): Promise<void> {
  const environment = { PORT: '0', DATABASE_URL: url, MESH_SIGNING_KEY_FILE: 'none.pem' }
  const settings = readSettings(environment, tmpdir())
  const log = { error() {}, warn() {}, info() {}, debug() {} }
  await startRouter({ settings, log, seams: systemSeams, notice: () => undefined })
}

/** Waits for their end, and returns how many there were. */
async function endSessionsOfRouters(client: Awaited<ReturnType<Database['connect']>>): Promise<number> {
  const { rows } = await client.query(
    `select pg_terminate_backend(pid, 5000) from pg_stat_activity
     where datname = current_database() and (application_name like 'mesh rtr%' or application_name = 'mesh')`,
  )
  return rows.length
}

async function connects(database: Database): Promise<boolean> {
  return await database.connect().then(
    (client) => client.end().then(() => true),
    () => false,
  )
}

function isThere(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
