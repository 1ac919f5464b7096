import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { loadCatalog } from '@mesh/catalog/load.ts'
import { BUCKET_NAMES } from '@mesh/catalog/token-buckets.ts'
import type { ErrorCode } from '../src/errors.ts'
import type { PostgresBooks } from '../src/ledger/postgres-books.ts'
import { expose } from '../src/metrics/exposition.ts'
import { createRouterMetrics } from '../src/metrics/router-metrics.ts'
import { openDatabase } from '../src/storage/database.ts'
import { granted, holdRequest, makeAccount, openBooksFixture, settlementOf } from './support/books-fixture.ts'
import { chat, hasBegun, holdsOf, nano, open } from './support/calls.ts'
import { type MetricsText, parseMetrics } from './support/metrics-text.ts'
import { createTestDatabase } from './support/test-database.ts'
import { ADMIN_KEY, startTestRouter, type TestRouter } from './support/test-router.ts'
import { until } from './support/until.ts'
import { startWayTo } from './support/way-to-database.ts'

const SONNET = 'mesh/claude-sonnet-4.5'
/** At DeepInfra first, then at Groq. */
const GPT_OSS_SMALL = 'mesh/gpt-oss-20b'

let mesh: TestRouter
before(async () => {
  mesh = await startTestRouter({ policy: { calls: { firstByteTimeoutMs: 2_000, idleTimeoutMs: 2_000 } } })
})
after(() => mesh.stop())

async function scrape(router: Pick<TestRouter, 'request'> = mesh): Promise<MetricsText> {
  const { status, text } = await router.request('GET', '/metrics', { key: ADMIN_KEY })
  assert.equal(status, 200, text)
  return parseMetrics(text)
}

/** Waits until nothing is under way any more, so that everything is counted. */
async function settled({ database }: TestRouter): Promise<void> {
  await until('no call has a hold', async () => {
    const { rows } = await database.pool.query('select from holds')
    return rows.length === 0
  })
}

/** Dollars of a metric as nano-USD. */
function nanoOf(usd: number): bigint {
  return nano(usd.toFixed(9))
}

/** What was done to the router, as its callers saw it. */
interface Done {
  readonly statuses: readonly number[]
  /** Refused calls by world and code. */
  readonly refused: Readonly<Record<string, number>>
}

/** Makes calls that end in every way that moves a counter. */
async function callInEveryWay(): Promise<Done> {
  const statuses: number[] = []
  const refused: Record<string, number> = {}
  const account = await mesh.account({ creditUsd: '50.00' })
  const ask = async (
    expected: number | ErrorCode,
    body: object | string,
    { by = account, world = 'test', headers = {} } = {},
  ): Promise<void> => {
    const { status, text, json } = await mesh.request('POST', '/v1/chat/completions', {
      key: by.key,
      body,
      headers,
    })
    statuses.push(status)
    assert.equal(typeof expected === 'number' ? status : json.error.code, expected, text)
    if (typeof expected === 'number') return
    const name = `${world} ${expected}`
    refused[name] = (refused[name] ?? 0) + 1
  }

  await ask(200, chat('tokens=20'))
  await ask(200, chat('tokens=20', { stream: true }))
  await ask(200, chat('tokens=200', { max_tokens: 10 }))
  await ask(200, chat('deepinfra=overloaded', { model: GPT_OSS_SMALL }))
  await ask(502, chat('server_error', { model: GPT_OSS_SMALL }))
  await ask(200, chat('empty'))
  const poor = await mesh.account({ creditUsd: '0.07' })
  await ask(200, chat('tokens=20000', { model: SONNET, stream: true }), { by: poor })

  const left = open(mesh, account.key, chat('tokens=100,hold=20', { stream: true }))
  await until('the answer has begun', () => hasBegun(left))
  left.destroy()
  statuses.push(200)

  const headers = { 'idempotency-key': 'the-same' }
  await ask(200, chat(), { headers })
  await ask('idempotency_replay', chat(), { headers })
  await ask('idempotency_conflict', chat('tokens=3'), { headers })
  await ask('insufficient_credits', chat(), { by: await mesh.account({ creditUsd: '0' }) })
  await ask('limit_exceeded', chat(), {
    by: await mesh.account({ limits: { maxUsdPerRequest: '0.000000001' } }),
  })
  const busy = await mesh.account({ limits: { maxConcurrentRequests: 1 } })
  const held = open(mesh, busy.key, chat('tokens=20,hold'))
  await until('a call runs', () => mesh.simulator.stats().held > 0)
  await ask('too_many_concurrent', chat(), { by: busy })
  mesh.simulator.release()
  await until('the call has ended', () => held.isEnded())
  statuses.push(200)
  await ask('model_not_found', chat(undefined, { model: 'mesh/nonsense' }))
  await ask('invalid_request', chat('nothing of this kind'))
  await ask('invalid_request', '{"model": ')
  await ask('unsupported_media_type', 'text', { headers: { 'content-type': 'text/plain' } })
  const stranger = { ...account, key: `${account.key.slice(0, -8)}00000000` }
  await ask('invalid_api_key', chat(), { by: stranger, world: 'none' })
  await until(
    'the call that was left is settled',
    async () => (await holdsOf(mesh.database, account.id)) === 0,
  )
  await settled(mesh)
  await until('every answer is counted', async () => {
    const labels = { route: '/v1/chat/completions' }
    return (await scrape()).sum('mesh_http_requests_total', labels) === statuses.length
  })
  return { statuses, refused }
}

test('what is counted of calls is what the books say of them', async () => {
  const { statuses, refused } = await callInEveryWay()
  const shown = await scrape()
  const by = (name: string, ...labels: readonly string[]): Record<string, number> =>
    Object.fromEntries(
      shown.series
        .filter((one) => one.name === name && one.value !== 0)
        .map((one) => [labels.map((label) => one.labels[label]).join(' '), one.value]),
    )
  const rows = async (text: string): Promise<Record<string, number>> => {
    const found = await mesh.database.pool.query<{ name: string; value: string }>(text)
    return Object.fromEntries(found.rows.map(({ name, value }) => [name, Number(value)]))
  }
  const settledCalls = `events where billing_reason <> 'rejected_not_billed'`
  const place = `coalesce(model_served, model_requested) || ' ' || coalesce(provider, 'none')`

  const calls = await rows(
    `select concat_ws(' ', 'test', ${place}, billing_reason) as name, count(*) as value from ${settledCalls} group by 1`,
  )
  assert.deepEqual(by('mesh_calls_total', 'world', 'model', 'provider', 'billing_reason'), calls)
  const reasons = new Set(Object.keys(calls).map((name) => name.split(' ').at(-1)))
  for (const reason of [
    'completed',
    'truncated_by_length',
    'credit_cutoff',
    'client_disconnected',
    'zero_completion_not_billed',
    'upstream_error_not_billed',
  ]) {
    assert.ok(reasons.has(reason), `a call ended as ${reason}`)
  }
  assert.deepEqual(
    by('mesh_call_errors_total', 'code'),
    await rows(
      `select error_code as name, count(*) as value from ${settledCalls} and error_code is not null group by 1`,
    ),
  )
  assert.deepEqual(by('mesh_refusals_total', 'world', 'code'), refused)
  assert.deepEqual(by('mesh_http_bodies_refused_total', 'code'), {
    invalid_request: 1,
    unsupported_media_type: 1,
  })
  assert.deepEqual(by('mesh_holds_refused_total', 'refusal'), {
    insufficient_credits: 1,
    limit_exceeded: 1,
    too_many_concurrent: 1,
  })
  for (const status of new Set(statuses)) {
    const labels = { route: '/v1/chat/completions', status: String(status) }
    assert.equal(
      shown.sum('mesh_http_requests_total', labels),
      statuses.filter((one) => one === status).length,
    )
  }
  assert.equal(
    shown.sum('mesh_call_duration_seconds_count'),
    Object.values(calls).reduce((sum, count) => sum + count, 0),
  )
  const tokens = BUCKET_NAMES.map(
    (bucket) =>
      `select '${bucket}' as name, sum((buckets ->> '${bucket}')::int) as value from ${settledCalls}`,
  ).join(' union all ')
  assert.deepEqual(
    Object.fromEntries(BUCKET_NAMES.map((bucket) => [bucket, shown.sum('mesh_tokens_total', { bucket })])),
    await rows(tokens),
  )
  const attempts = `from ${settledCalls.replace(' where', ', jsonb_array_elements(attempts) with ordinality a (entry, place) where')}`
  assert.deepEqual(
    by('mesh_attempts_total', 'provider', 'outcome'),
    await rows(
      `select concat_ws(' ', entry ->> 'provider', entry ->> 'outcome') as name, count(*) as value ${attempts} group by 1`,
    ),
  )
  assert.deepEqual(
    by('mesh_attempt_failures_total', 'provider', 'failure'),
    await rows(
      `select concat_ws(' ', entry ->> 'provider', entry ->> 'reason') as name, count(*) as value ${attempts}
       and entry ->> 'reason' is not null group by 1`,
    ),
  )
  assert.deepEqual(
    by('mesh_fallbacks_total', 'provider'),
    await rows(
      `select entry ->> 'provider' as name, count(*) as value ${attempts}
       and a.place < jsonb_array_length(attempts) group by 1`,
    ),
  )
  assert.ok(shown.sum('mesh_fallbacks_total', { provider: 'deepinfra' }) >= 1)

  const ledger = await mesh.database.pool.query<{ account: string; nano: bigint }>(
    `select split_part(ledger_account, ':', 1) as account, sum(amount_nano)::bigint as nano
     from ledger_entries where kind in ('usage', 'absorbed') group by 1`,
  )
  const booked = Object.fromEntries(ledger.rows.map(({ account, nano: sum }) => [account, sum]))
  assert.ok(
    (booked.revenue ?? 0n) > 0n && (booked.absorbed ?? 0n) < 0n,
    'something was charged, and something absorbed',
  )
  assert.equal(nanoOf(shown.sum('mesh_charged_usd_total')), -(booked.customer ?? 0n))
  assert.equal(nanoOf(shown.sum('mesh_upstream_cost_usd_total')), -(booked.cost_of_sales ?? 0n))
  assert.equal(nanoOf(shown.sum('mesh_absorbed_cost_usd_total')), -(booked.absorbed ?? 0n))
  assert.equal(shown.sum('mesh_refunded_usd_total'), 0)
})

test('a gauge shows what runs, what is held and what waits', async () => {
  const account = await mesh.account()
  const running = open(mesh, account.key, chat('tokens=20,hold'))
  await until('a call runs', () => mesh.simulator.stats().held > 0)
  const shown = await scrape()
  for (const name of ['mesh_calls_running', 'mesh_holds_held', 'mesh_simulator_requests_running']) {
    assert.equal(shown.sum(name), 1, name)
  }
  assert.equal(shown.sum('mesh_database_up'), 3)
  assert.ok(shown.sum('mesh_calls_running_max') > 1)
  assert.ok(shown.sum('mesh_partitions_until_timestamp_seconds') * 1000 > Date.now())
  assert.ok(shown.sum('process_resident_memory_bytes') > 1_000_000)
  const notices = shown.sum('mesh_policy_notices_total')
  await mesh.request('PATCH', `/v1/accounts/${account.id}`, { key: ADMIN_KEY, body: { name: 'Renamed' } })
  await until('the notice was heard', async () => (await scrape()).sum('mesh_policy_notices_total') > notices)
  mesh.simulator.release()
  await until('the call has ended', () => running.isEnded())
  await settled(mesh)
  await until('nothing runs', async () => (await scrape()).sum('mesh_calls_running') === 0)
})

test('a charge that comes too late is counted, and so is that it is given back', async (t) => {
  const testDatabase = await createTestDatabase()
  const way = await startWayTo(testDatabase)
  t.after(() => way.close())
  using metrics = createRouterMetrics(loadCatalog(), { version: '1', priceListId: 'prices' })
  const fixture = await openBooksFixture(t, { routers: 0 }, testDatabase)
  const database = openDatabase(
    { url: way.url },
    { poolSize: 2, applicationName: 'mesh-test', statementTimeoutMs: 10_000 },
  )
  const books: PostgresBooks = await fixture.openRouter({
    database,
    patienceMs: 300,
    observer: metrics.books,
  })
  t.after(() => database.close())
  const payer = await makeAccount(fixture.database)
  const request = holdRequest(payer)
  const hold = granted(await books.hold(request))
  const charge = settlementOf(request, hold)
  const nothing = settlementOf(request, hold, { totalNano: 0n, upstreamNano: 0n })
  way.delay(0, 600)
  await assert.rejects(
    books.settle(charge, () => nothing),
    { code: 'storage_unavailable' },
  )
  way.restore()
  await books.drain()

  const { body } = await expose([await metrics.registry.snapshot()], 0, undefined)
  const shown = parseMetrics(body)
  const { rows } = await fixture.database.pool.query<{ kind: string; nano: bigint }>(
    `select kind, sum(amount_nano)::bigint as nano from ledger_entries
     where ledger_account = 'customer' and kind <> 'grant' group by 1 order by 1`,
  )
  assert.deepEqual(rows, [
    { kind: 'refund', nano: charge.totalNano },
    { kind: 'usage', nano: -charge.totalNano },
  ])
  assert.equal(nanoOf(shown.sum('mesh_charged_usd_total')), charge.totalNano)
  assert.equal(nanoOf(shown.sum('mesh_refunded_usd_total')), charge.totalNano)
  assert.equal(shown.sum('mesh_calls_total'), 1)
  assert.equal(shown.sum('mesh_settlements_late_total'), 1)
  assert.equal(shown.sum('mesh_books_batch_items_count', { queue: 'settlements' }), 2)
})

test('a scrape answers while the database is away, to operators alone', async (t) => {
  const testDatabase = await createTestDatabase()
  const way = await startWayTo(testDatabase)
  const router = await startTestRouter({ on: testDatabase, environment: { DATABASE_URL: way.url } })
  t.after(async () => {
    await router.stop()
    await way.close()
    await testDatabase.close()
  })
  assert.equal((await scrape(router)).sum('mesh_database_up'), 3)
  way.cut()
  await until('every connection is known to be lost', async () => {
    const shown = await scrape(router)
    return shown.sum('mesh_database_up') === 0 && shown.sum('mesh_books_setbacks_total') > 0
  })
  const { status } = await router.request('GET', '/metrics', { key: `${ADMIN_KEY}x` })
  assert.equal(status, 401)
  way.restore()
  await until('the database is back', async () => (await scrape(router)).sum('mesh_database_up') === 3)
})

test('a fault of whoever counts is no fault of what is counted', async (t) => {
  const fail = (): never => {
    throw new Error('cannot count')
  }
  const observer = {
    ...{ batch: fail, setback: fail, holdRefused: fail, settled: fail },
    ...{ late: fail, withdrawn: fail, quarantined: fail, reaped: fail },
  }
  const { database, openRouter } = await openBooksFixture(t, { routers: 0 })
  const books = await openRouter({ observer })
  const request = holdRequest(await makeAccount(database))
  await books.settle(settlementOf(request, granted(await books.hold(request))))
  assert.equal((await database.pool.query('select from events')).rowCount, 1)
  assert.equal((await database.pool.query('select from refused_settlements')).rowCount, 0)
})
