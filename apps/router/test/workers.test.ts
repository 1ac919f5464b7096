import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, realpathSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { verifyLedger } from '../src/ledger/verify.ts'
import { readSettings } from '../src/settings.ts'
import type { Database } from '../src/storage/database.ts'
import { isRunning, livePostmaster } from '../src/storage/postmaster.ts'
import { requireConnections } from '../src/storage/room-for-workers.ts'
import { StartupError } from '../src/storage/startup-error.ts'
import {
  bookOf,
  chargedNano,
  chat,
  chunksOf,
  hasBegun,
  nano,
  type OpenCall,
  open,
  send,
} from './support/calls.ts'
import { type MetricsText, parseMetrics } from './support/metrics-text.ts'
import { childrenOf } from './support/process-family.ts'
import {
  commandOf,
  type Finished,
  newRouterHome,
  type RouterHome,
  type RouterProcess,
  START_PATIENCE_MS,
  workersOf,
} from './support/router-process.ts'
import { createTestDatabase } from './support/test-database.ts'
import { connectionUrl, makeAccount } from './support/test-router.ts'
import { until } from './support/until.ts'

const WORKERS = { MESH_WORKERS: '3' }
/** No more than one worker leaves rows of in a minute: they may all come to the same one. */
const CALLS_OF_ONE_BUDGET = 60
/** Long enough to be killed within, short enough to be waited for. */
const STREAM = chat('tokens=60,pace=40', { stream: true, usage: { include: true } })
/** Nobody waits for its end. */
const LONG_STREAM = chat('tokens=1000,pace=40', { stream: true })
/** More than the second that a worker has for its answer. */
const SCRAPE_MS = 5_000
/** How long what runs on a key may outlive it. */
const KEY_END_MS = 1_000
const STREAM_END = 'data: [DONE]\n\n'

function assertRefused({ code, stdout, stderr }: Finished, sentence: RegExp): void {
  assert.equal(code, 1, stderr)
  assert.equal(stdout, '')
  const said = stderr.split('\n').filter((line) => line !== '' && !line.startsWith('{'))
  assert.equal(said.length, 1, stderr)
  assert.match(said[0] ?? '', sentence)
}

function serverOf({ folder }: RouterHome) {
  const database = join(folder, 'postgres')
  return existsSync(database) ? livePostmaster(join(realpathSync(database), 'data')) : undefined
}

async function assertInOrder(database: Database): Promise<void> {
  const differences: string[] = []
  for await (const { sentence } of verifyLedger(database)) differences.push(sentence)
  assert.deepEqual(differences, [])
  assert.equal(await holdsIn(database), 0, 'nothing is held')
}

/** Streams that flow. Connections go to the workers in turn, so each has some. */
async function openStreams(
  router: RouterProcess,
  key: string,
  database: Database,
  stream = STREAM,
): Promise<OpenCall[]> {
  const calls = Array.from({ length: 6 }, () => open(router, key, stream))
  await until('all streams flow', () => calls.every(hasBegun))
  const { rowCount } = await database.pool.query('select distinct router_id from holds')
  assert.equal(rowCount, 3, 'every worker has its part')
  return calls
}

/** How many workers have begun to serve since the start. */
function serversOf({ said }: RouterProcess): number {
  return said.stderr.split('"msg":"router started"').length - 1
}

function isWhole(call: OpenCall): boolean {
  return call.text().endsWith(STREAM_END)
}

async function untilEnded(calls: readonly OpenCall[]): Promise<void> {
  await until('every stream has ended', () => calls.every((call) => call.isEnded()))
}

/** Connections go to the workers in turn, so one that came to a worker who sleeps is given up for another. */
async function scrape(router: RouterProcess): Promise<MetricsText> {
  let text: string | undefined
  await until('a worker answers', async () => {
    const answer = await fetch(`${router.url}/metrics`, {
      headers: { authorization: `Bearer ${router.adminKey}`, connection: 'close' },
      signal: AbortSignal.timeout(SCRAPE_MS),
    }).catch(() => undefined)
    text = answer?.status === 200 ? await answer.text() : undefined
    return text !== undefined
  })
  return parseMetrics(text ?? '')
}

async function holdsIn(database: Database): Promise<number> {
  return (await database.pool.query('select from holds')).rowCount ?? 0
}

async function events(database: Database): Promise<Record<string, number>> {
  const { rows } = await database.pool.query<{ reason: string; count: number }>(
    'select billing_reason as reason, count(*)::int as count from events group by 1',
  )
  return Object.fromEntries(rows.map(({ reason, count }) => [reason, count]))
}

test('three workers share one port and the books; each may die, be drained, or lose its primary, and nothing is lost', async (t) => {
  const home = await newRouterHome(t)
  const router = await home.start(WORKERS)
  const key = router.testKey ?? ''
  assert.deepEqual(Object.keys(JSON.parse(router.said.stdout)), ['url', 'adminKeyFile', 'testKey'])
  const workers = workersOf(router)
  assert.equal(workers.length, 3)
  const database = await home.openDatabase()

  await t.test('a budget is one budget', async () => {
    const limits = { totalUsdLimit: '0.000400000' }
    const account = await makeAccount(router.request, { limits }, router.adminKey)
    const body = (index: number) => chat('tokens=64', { max_tokens: 64, stream: index % 2 === 1 })
    const answers = await Promise.all(
      Array.from({ length: CALLS_OF_ONE_BUDGET }, (_, index) => send(router, account.key, body(index))),
    )
    const served = answers.filter(({ status }) => status === 200)
    assert.ok(served.length > 1 && served.length < answers.length)
    assert.ok(answers.every(({ status }) => status === 200 || status === 402))
    const spent = served.reduce((sum, answer) => sum + chargedNano(answer), 0n)
    assert.ok(spent <= nano(limits.totalUsdLimit))
    assert.equal((await bookOf(database, account.id)).balanceNano, nano('10.00') - spent)
  })

  await t.test('a scrape of any worker shows the whole machine, without those who are silent', async () => {
    const shown = await scrape(router)
    assert.equal(shown.sum('mesh_workers'), 3)
    assert.equal(shown.sum('mesh_workers_silent'), 0)
    const calls = shown.sum('mesh_calls_total') + shown.sum('mesh_refusals_total')
    assert.equal(calls, CALLS_OF_ONE_BUDGET)
    // The answer of a refused call does not wait for its row.
    await until('every call has left its row', async () => {
      return Object.values(await events(database)).reduce((sum, count) => sum + count, 0) === calls
    })

    const [stopped = 0] = workersOf(router)
    process.kill(stopped, 'SIGSTOP')
    try {
      const without = await scrape(router)
      assert.equal(without.sum('mesh_workers'), 2)
      assert.equal(without.sum('mesh_workers_silent'), 1)
    } finally {
      process.kill(stopped, 'SIGCONT')
    }
    await until('it answers again', async () => (await scrape(router)).sum('mesh_workers') === 3)
  })

  await t.test(
    'a deleted key is refused by every worker, and its streams end on each within a second',
    async () => {
      const account = await makeAccount(router.request, {}, router.adminKey)
      const calls = await openStreams(router, account.key, database)
      const deleted = await router.request('DELETE', `/v1/api-keys/${account.keyId}`, {
        key: router.adminKey,
      })
      assert.equal(deleted.status, 200)
      await until('every stream has ended', () => calls.every((call) => call.isEnded()), KEY_END_MS)
      for (const call of calls) assert.equal(chunksOf(call.text()).at(-1).error.code, 'key_revoked')
      const refused = await Promise.all(calls.map(() => send(router, account.key, chat('tokens=5'))))
      assert.deepEqual([...new Set(refused.map(({ json }) => json.error.code))], ['key_revoked'])
      await assertInOrder(database)
    },
  )

  await t.test(
    'a worker that is killed is replaced; its holds are released at once, its siblings go on',
    async () => {
      const calls = await openStreams(router, key, database)
      const [victim = 0] = workers
      process.kill(victim, 'SIGKILL')
      await untilEnded(calls)
      const broken = calls.filter((call) => !isWhole(call))
      assert.ok(broken.length > 0 && broken.length < calls.length)
      // The lifetime of a hold is a minute, which nothing here waits for.
      await until('its holds are released', async () => {
        return (await events(database)).router_crash === broken.length
      })
      const { rows } = await database.pool.query(
        `select sum(total_nano)::bigint as charged from events where billing_reason = 'router_crash'`,
      )
      assert.equal(rows[0].charged, 0n)
      await until('there are three workers again', () => serversOf(router) === 4)
      assert.equal(workersOf(router).length, 3)
      await assertInOrder(database)
    },
  )

  await t.test('a worker that is asked to end drains, and is replaced', async () => {
    const calls = await openStreams(router, key, database)
    const [asked = 0] = workersOf(router)
    process.kill(asked, 'SIGTERM')
    await untilEnded(calls)
    assert.ok(calls.every(isWhole))
    await until('it is replaced', () => serversOf(router) === 5)
    assert.ok(!workersOf(router).includes(asked))
    await assertInOrder(database)
  })

  await t.test(
    'without their primary the workers end their calls, and the next start waits for them',
    async () => {
      const before = await events(database)
      const calls = await openStreams(router, key, database)
      const orphans = workersOf(router)
      const [slow = 0] = orphans
      const server = serverOf(home)
      process.kill(router.pid, 'SIGKILL')
      process.kill(slow, 'SIGSTOP')
      const starting = home.starting(WORKERS)
      const waits = /^Workers of a MESH that was killed still end their calls; .*\.$/m
      await until('the next start waits', () => waits.test(starting.said.stderr), START_PATIENCE_MS)
      assert.ok((await holdsIn(database)) > 0)
      process.kill(slow, 'SIGCONT')
      const next = await starting.started()
      await untilEnded(calls)
      assert.ok(calls.every(isWhole), 'a call was ended by the death of the primary')
      assert.ok(!orphans.some(isRunning))
      assert.deepEqual(serverOf(home), server, 'the database is adopted')
      const after = await events(database)
      assert.equal(after.completed, (before.completed ?? 0) + calls.length)
      assert.equal(after.router_crash, before.router_crash, 'a hold of a running call was released')
      await assertInOrder(database)

      const last = await openStreams(next, key, database)
      await database.close()
      // As Ctrl-C does: it reaches every process that the terminal started, and only the primary acts on it.
      process.kill(-next.pid, 'SIGINT')
      const finished = await next.ended
      assert.deepEqual([finished.code, finished.signal], [0, null])
      assert.ok(last.every(isWhole))
      assert.equal(serverOf(home), undefined)
    },
  )
})

test('on a database elsewhere too; no secret is in the arguments of a worker or in the log', async (t) => {
  const testDatabase = await createTestDatabase()
  t.after(() => testDatabase.close())
  const database = testDatabase.database(2)
  const home = await newRouterHome(t, testDatabase)
  const secrets = {
    MESH_ADMIN_KEY: 'canary-of-an-admin-key-0123456789-0123456789',
    OPENAI_API_KEY: 'canary-of-a-credential',
    DATABASE_URL: connectionUrl(testDatabase.connection),
  }
  const router = await home.start({ ...WORKERS, ...secrets, MESH_LOG_LEVEL: 'debug' })
  const workers = workersOf(router)
  assert.equal(workers.length, 3)
  const password = 'url' in testDatabase.connection ? '' : testDatabase.connection.password
  const seen = [router.pid, ...workers].map(commandOf).join('\n') + router.said.stderr
  assert.ok(seen.includes('workers/worker.ts') && password !== '')
  for (const secret of [...Object.values(secrets), password, 'BEGIN PRIVATE KEY']) {
    assert.ok(!seen.includes(secret))
  }

  const { key } = await makeAccount(router.request, {}, secrets.MESH_ADMIN_KEY)
  await t.test('all workers die at once, and others listen on the same port', async () => {
    const calls = await openStreams(router, key, database)
    for (const worker of workers) process.kill(worker, 'SIGKILL')
    await untilEnded(calls)
    await until('three others serve', () => serversOf(router) === 6)
    await until('nothing is held', async () => (await holdsIn(database)) === 0)
    assert.equal((await router.request('GET', '/readyz')).status, 200)
    assert.equal((await events(database)).router_crash, calls.length)
    await assertInOrder(database)
  })

  await t.test('a second signal ends all of them at once', async () => {
    const calls = await openStreams(router, key, database, LONG_STREAM)
    const others = workersOf(router)
    router.signal('SIGTERM')
    await until('the drain has begun', () => router.request('GET', '/healthz').then(refusedNow, () => true))
    const { code } = await router.kill('SIGTERM')
    assert.equal(code, 1)
    await until('no worker is left', () => !others.some(isRunning))
    assert.ok(!calls.some(isWhole))
  })
})

function refusedNow({ status }: { readonly status: number }): boolean {
  return status === 503
}

test('what stands in the way of workers is one plain sentence', async (t) => {
  const testDatabase = await createTestDatabase()
  t.after(() => testDatabase.close())
  const home = await newRouterHome(t, testDatabase)
  for (const workers of ['0', '17', 'two', '1.5']) {
    assert.throws(
      () => readSettings({ MESH_WORKERS: workers }, tmpdir()),
      (error) => error instanceof StartupError && /^MESH_WORKERS must be .* 1 to 16: /.test(error.message),
    )
  }

  const { pool } = testDatabase.database(1)
  const { rows } = await pool.query<{ name: string }>('select current_database() as name')
  const [{ name } = { name: '' }] = rows
  await pool.query(`alter database ${name} connection limit 40`)
  await requireConnections(testDatabase.database(1), 1)
  await requireConnections(testDatabase.database(1), 2)
  assertRefused(await home.refused(WORKERS), /^MESH_WORKERS=3 takes up to \d+ connections .* allows 40: /)
  await pool.query(`alter database ${name} connection limit -1`)

  const other = createServer().listen(0, '127.0.0.1')
  t.after(() => other.close())
  await once(other, 'listening')
  const { port } = other.address() as AddressInfo
  assertRefused(
    await home.refused({ ...WORKERS, PORT: String(port) }),
    /^Port \d+ on 127\.0\.0\.1 is in use: /,
  )
})

test('workers that die again and again at the start end it', async (t) => {
  const testDatabase = await createTestDatabase()
  t.after(() => testDatabase.close())
  const home = await newRouterHome(t, testDatabase)
  const { ended, pid } = home.starting(WORKERS)
  let isOver = false
  const refused = ended.finally(() => {
    isOver = true
  })
  await until(
    'the start ends',
    () => {
      for (const worker of isRunning(pid) ? workersOf({ pid }) : []) process.kill(worker, 'SIGKILL')
      return isOver
    },
    START_PATIENCE_MS,
  )
  assertRefused(await refused, /^A worker ended 3 times before it could serve \(SIGKILL\): .*MESH_WORKERS/)
})

test('one worker is one process', async (t) => {
  const testDatabase = await createTestDatabase()
  t.after(() => testDatabase.close())
  const router = await (await newRouterHome(t, testDatabase)).start({ MESH_WORKERS: '1' })
  assert.deepEqual(childrenOf(router.pid), [])
  assert.equal((await router.kill('SIGTERM')).code, 0)
})
