import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { test } from 'node:test'
import { loadCatalog } from '@mesh/catalog/load.ts'
import { listenAt } from '../src/http/listen.ts'
import { createServer, DEFAULT_HTTP_BOUNDS } from '../src/http/server.ts'
import { createLog } from '../src/log.ts'
import { expose } from '../src/metrics/exposition.ts'
import { createRouterMetrics, type RouterMetrics } from '../src/metrics/router-metrics.ts'
import { systemSeams } from '../src/seams.ts'
import { readSettings } from '../src/settings.ts'
import { StartupError } from '../src/storage/startup-error.ts'
import { chat, send } from './support/calls.ts'
import { parseMetrics } from './support/metrics-text.ts'
import { ADMIN_KEY, requester, startTestRouter } from './support/test-router.ts'
import { until } from './support/until.ts'

const PROMETHEUS = 'text/plain; version=0.0.4; charset=utf-8'
const OPEN_METRICS = 'application/openmetrics-text; version=1.0.0; charset=utf-8'
/** What Prometheus 3 sends. */
const NEW_ACCEPT =
  'application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2'

function newMetrics(): RouterMetrics {
  return createRouterMetrics(loadCatalog(), { version: '1', priceListId: 'prices' })
}

test('metrics are for operators, and nobody keeps or shares them', async (t) => {
  const mesh = await startTestRouter()
  t.after(() => mesh.stop())
  const account = await mesh.account({ scopes: ['chat', 'usage', 'keys'] })
  const codeFor = async (key?: string): Promise<string> => {
    const { status, json } = await mesh.request('GET', '/metrics', key === undefined ? {} : { key })
    return `${status} ${json?.error?.code}`
  }
  assert.equal(await codeFor(), '401 invalid_api_key')
  assert.equal(await codeFor(account.key), '403 insufficient_scope')
  assert.equal(await codeFor(`${account.key.slice(0, -1)}0`), '401 invalid_api_key')
  assert.equal(await codeFor(`${ADMIN_KEY}0`), '401 invalid_api_key')
  assert.equal(await codeFor(ADMIN_KEY.slice(1)), '401 invalid_api_key')
  const inHeader = await mesh.request('GET', '/metrics', { headers: { 'x-api-key': ADMIN_KEY } })
  assert.equal(inHeader.status, 401)

  const { status, headers } = await mesh.request('GET', '/metrics', {
    key: ADMIN_KEY,
    headers: { origin: 'https://elsewhere.example' },
  })
  assert.equal(status, 200)
  assert.equal(headers.get('cache-control'), 'no-store')
  assert.equal(headers.get('access-control-allow-origin'), null)
  assert.equal(headers.get('x-content-type-options'), 'nosniff')
  const { status: posted, headers: refusal } = await mesh.request('POST', '/metrics', {
    key: ADMIN_KEY,
    body: {},
  })
  assert.equal(posted, 405)
  assert.match(refusal.get('allow') ?? '', /GET/)
})

test('the format is the one that the scraper likes best', async (t) => {
  const mesh = await startTestRouter()
  t.after(() => mesh.stop())
  const { key } = await mesh.account()
  assert.equal((await send(mesh, key, chat('tokens=5'))).status, 200)
  for (const [accept, contentType] of [
    ['*/*', PROMETHEUS],
    ['text/plain', PROMETHEUS],
    ['application/openmetrics-text;q=0.1, text/plain;q=0.9', PROMETHEUS],
    ['application/openmetrics-text;q=0', PROMETHEUS],
    ['application/openmetrics-text;q=nonsense', PROMETHEUS],
    ['application/openmetrics-text', OPEN_METRICS],
    [NEW_ACCEPT, OPEN_METRICS],
  ] as const) {
    const { headers, text } = await mesh.request('GET', '/metrics', { key: ADMIN_KEY, headers: { accept } })
    assert.equal(headers.get('content-type'), contentType, accept)
    const shown = parseMetrics(text, contentType === OPEN_METRICS ? 'openmetrics' : 'prometheus')
    assert.equal(shown.sum('mesh_calls_total'), 1)
    assert.equal(shown.sum('mesh_call_duration_seconds_count'), 1)
  }
})

test('half a request on the port of operators keeps no router from stopping', {
  timeout: 60_000,
}, async () => {
  const mesh = await startTestRouter({ environment: { MESH_ADMIN_PORT: '0' } })
  const { port } = new URL(mesh.router.adminUrl ?? '')
  const socket = connect(Number(port), '127.0.0.1')
  socket.on('error', () => undefined)
  const head = 'GET /healthz HTTP/1.1\r\nhost: x\r\n'
  // The answer to the first says that half of the second has come too.
  socket.write(`${head}\r\n${head}`)
  await once(socket, 'data')
  await mesh.stop()
})

test('with a port of their own operators come there, and nowhere else', async (t) => {
  const mesh = await startTestRouter({ environment: { MESH_ADMIN_PORT: '0' } })
  t.after(() => mesh.stop())
  const { adminUrl = '' } = mesh.router
  assert.match(adminUrl, /^http:\/\/127\.0\.0\.1:\d+$/)
  const admin = requester(adminUrl)

  const open = await admin('GET', '/metrics')
  assert.equal(open.status, 200)
  assert.equal(open.headers.get('access-control-allow-origin'), null)
  assert.equal(parseMetrics(open.text).sum('mesh_workers'), 1)
  assert.equal((await admin('GET', '/healthz')).status, 200)
  assert.equal((await admin('GET', '/readyz')).status, 200)
  assert.equal((await admin('POST', '/v1/accounts', { body: { name: 'Nobody' } })).status, 401)
  const made = await admin('POST', '/v1/accounts', { key: ADMIN_KEY, body: { name: 'Somebody' } })
  assert.equal(made.status, 201, made.text)
  const body = { name: 'A key', accountId: made.json.id, livemode: false }
  const { json: key } = await admin('POST', '/v1/api-keys', { key: ADMIN_KEY, body })

  for (const path of ['/v1/accounts', `/v1/accounts/${made.json.id}`, '/v1/audit', '/v1/api-keys']) {
    const { status, json } = await mesh.request('GET', path, { key: ADMIN_KEY })
    assert.deepEqual([status, json.error.code], [401, 'invalid_api_key'], path)
    // Whether it is an operator's key at all is not told.
    const other = await mesh.request('GET', path, { key: 'another-key-0123456789-0123456789-0123' })
    assert.equal(other.text, (await mesh.request('GET', path, { key: ADMIN_KEY })).text)
  }
  assert.equal((await mesh.request('GET', '/metrics', { key: ADMIN_KEY })).status, 404)
  assert.equal((await mesh.request('GET', '/v1/key', { key: key.secret })).status, 200)
  assert.equal((await send(mesh, key.secret, chat())).status, 402)
  assert.equal((await admin('POST', '/v1/chat/completions', { key: key.secret, body: chat() })).status, 404)
  const shown = parseMetrics((await admin('GET', '/metrics')).text)
  assert.equal(shown.sum('mesh_refusals_total', { code: 'insufficient_credits' }), 1)
})

test('a wrong place for operators stops the start with one sentence', async (t) => {
  assert.throws(
    () => readSettings({ MESH_ADMIN_PORT: 'many' }, tmpdir()),
    new StartupError('MESH_ADMIN_PORT must be a whole number from 0 to 65535.'),
  )
  const server = createServer({
    bounds: DEFAULT_HTTP_BOUNDS,
    log: createLog('silent'),
    seams: systemSeams,
  })
  t.after(() => server.close())
  const settings = { portSetting: 'MESH_ADMIN_PORT', hostSetting: 'MESH_ADMIN_HOST' }
  await assert.rejects(
    listenAt(server, { port: 0, host: '192.0.2.1', ...settings }),
    new StartupError('192.0.2.1 is not an address of this machine: set MESH_ADMIN_HOST to one that is.'),
  )
})

test('what several processes count is one text, and who is silent is counted', async () => {
  using first = newMetrics()
  using second = newMetrics()
  for (const { calls, books } of [first, second, second]) {
    calls.refused('live', 'overloaded')
    books.batch('holds', 3, 20)
  }
  first.registry.read('mesh_database_up', () => [{ labels: { connection: 'holds' }, value: 1 }])
  second.registry.read('mesh_database_up', () => [{ labels: { connection: 'holds' }, value: 0 }])
  first.registry.readOne('mesh_settlements_oldest_seconds', () => 7)
  second.registry.readOne('mesh_settlements_oldest_seconds', () => 2)
  const snapshots = await Promise.all([first, second].map(({ registry }) => registry.snapshot()))
  // As they come over the way between processes.
  const carried = structuredClone(snapshots)
  for (const [accept, format] of [
    ['text/plain', 'prometheus'],
    ['application/openmetrics-text', 'openmetrics'],
  ] as const) {
    const shown = parseMetrics((await expose(carried, 1, accept)).body, format)
    assert.equal(shown.sum('mesh_refusals_total', { world: 'live', code: 'overloaded' }), 3)
    assert.equal(shown.sum('mesh_books_batch_items_count', { queue: 'holds' }), 3)
    assert.equal(shown.sum('mesh_books_batch_items_bucket', { queue: 'holds', le: '4' }), 3)
    assert.equal(shown.sum('mesh_database_up', { connection: 'holds' }), 0)
    assert.equal(shown.sum('mesh_settlements_oldest_seconds'), 7)
    assert.equal(shown.sum('mesh_workers'), 2)
    assert.equal(shown.sum('mesh_workers_silent'), 1)
    assert.equal(shown.sum('mesh_build_info'), 1)
  }
})

test('a reader who is cut off for his slowness is counted', async (t) => {
  using metrics = newMetrics()
  const server = createServer({
    bounds: { ...DEFAULT_HTTP_BOUNDS, readerStallMs: 200 },
    log: createLog('silent'),
    seams: systemSeams,
    observer: metrics.http,
  })
  server.get('/much', async () => Buffer.alloc(32_000_000))
  t.after(() => server.close())
  const { hostname, port } = new URL(await server.listen({ port: 0, host: '127.0.0.1' }))
  const socket = connect(Number(port), hostname)
  t.after(() => socket.destroy())
  socket.on('error', () => undefined).pause()
  socket.write('GET /much HTTP/1.1\r\nHost: mesh\r\n\r\n')
  await until('the reader is cut off, and counted', async () => {
    const { body } = await expose([await metrics.registry.snapshot()], 0, undefined)
    return parseMetrics(body).sum('mesh_slow_readers_cut_total') === 1
  })
})
