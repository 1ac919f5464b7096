import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadCatalog } from '@mesh/catalog/load.ts'
import { expose } from '../src/metrics/exposition.ts'
import { labelValues } from '../src/metrics/labels.ts'
import { METRIC_NAMES, METRICS, specOf } from '../src/metrics/metric-table.ts'
import { createRouterMetrics } from '../src/metrics/router-metrics.ts'
import { SERIES_MAX, seriesMaxOfAll } from '../src/metrics/series-bound.ts'
import { Canaries, CanaryCaller } from './support/canary-caller.ts'
import { callInEveryWay, POLICY } from './support/canary-calls.ts'
import { CanarySearch } from './support/canary-search.ts'
import { parseMetrics } from './support/metrics-text.ts'
import { ADMIN_KEY, startTestRouter } from './support/test-router.ts'

/** What a router under every kind of call and misuse may come to; it is several times what it does come to. */
const SERIES_IN_USE_MAX = 2_500
const ROUTES_MAX = 100
const AN_ID = /\b(?:acct|proj|key|req|rcpt|pay|led|evt|aud|rtr|opk)_[0-9a-hjkmnp-tv-z]{10,}/
const METHODS = ['GET', 'HEAD', 'POST', 'PATCH', 'PUT', 'DELETE', 'OPTIONS'] as const
/** A path for every route, with what a caller may write in the place of an id. */
const PATHS = [
  '/v1/chat/completions',
  '/v1/models',
  '/v1/models/ID',
  '/v1/models/ID/endpoints',
  '/v1/api-keys',
  '/v1/api-keys/current',
  '/v1/api-keys/ID',
  '/v1/api-keys/ID/limits',
  '/v1/api-keys/ID/rotate',
  '/v1/key',
  '/v1/credits',
  '/v1/accounts',
  '/v1/accounts/me',
  '/v1/accounts/ID',
  '/v1/accounts/ID/limits',
  '/v1/accounts/ID/grants',
  '/v1/projects',
  '/v1/projects/ID',
  '/v1/logs',
  '/v1/logs/ID',
  '/v1/ledger',
  '/v1/receipts',
  '/v1/receipts/ID',
  '/v1/usage',
  '/v1/audit',
  '/healthz',
  '/readyz',
  '/metrics',
  '/.well-known/mesh-receipt-keys.json',
  '/ID',
  '/v1/ID',
  '/v1/v1/ID',
]

test('whatever callers write, series stay few and hold nothing of it', async (t) => {
  const canaries = new Canaries()
  const mesh = await startTestRouter({
    policy: { calls: { ...POLICY.calls, deadlineMs: 1_500 } },
    environment: { OPENAI_API_KEY: canaries.of('credential'), MESH_OPENAI_BASE_URL: 'http://127.0.0.1:9' },
  })
  t.after(() => mesh.stop())
  const { key } = await mesh.account({ creditUsd: '500.00' })
  const { url, request } = mesh
  const caller = new CanaryCaller({ url, testKey: key, adminKey: ADMIN_KEY, request }, canaries)
  await callInEveryWay(caller, mesh.database)

  const bad = canaries.of('anything')
  const headers = { 'user-agent': bad, accept: bad, origin: `https://${bad}.example`, 'x-forwarded-for': bad }
  const body = { [bad]: bad, model: bad, messages: [{ role: 'user', content: bad }] }
  for (const path of PATHS) {
    const asked = `${path.replaceAll('ID', bad)}?${bad}=${bad}`
    await Promise.all(
      METHODS.flatMap((method) =>
        [key, bad].map((own) =>
          request(method, asked, {
            key: own,
            headers,
            ...(method === 'POST' || method === 'PATCH' || method === 'PUT' ? { body } : {}),
          }),
        ),
      ),
    )
  }

  const { text } = await request('GET', '/metrics', { key: ADMIN_KEY })
  const shown = parseMetrics(text)
  canaries.secret('key of a caller', key)
  canaries.secret('operator key', ADMIN_KEY)
  const search = new CanarySearch(canaries.texts)
  assert.deepEqual(search.namesIn(text), [])
  using leaking = createRouterMetrics(loadCatalog(), { version: bad, priceListId: '' })
  const { body: leaked } = await expose([await leaking.registry.snapshot()], 0, undefined)
  assert.deepEqual(search.namesIn(leaked), ['anything'], 'a control that is planted is found')
  assert.doesNotMatch(text, AN_ID)
  assert.ok(shown.series.length < SERIES_IN_USE_MAX, `${shown.series.length} series`)

  const catalog = loadCatalog()
  const routes = new Set(PATHS.map((path) => path.replace('ID', ':id')))
  const values = labelValues(catalog, routes, { version: '', priceListId: '' })
  const constant = new Set(['version', 'catalog_version', 'price_list'])
  for (const { name, labels } of shown.series) {
    for (const [label, value] of Object.entries(labels)) {
      if (label === 'le' || constant.has(label)) continue
      assert.ok(label in values, `${name} has a label ${label}`)
      if (label === 'route') assert.match(value, /^(?:none|\*|\/[a-z0-9/.:*_-]*)$/, name)
      else assert.ok(values[label as keyof typeof values].has(value), `${name} has ${label}="${value}"`)
    }
  }
  for (const route of ['/v1/accounts/:id', '/v1/models/*', '/v1/logs/:id', '/v1/chat/completions', 'none']) {
    assert.ok(shown.sum('mesh_http_requests_total', { route }) > 0, route)
  }
})

test('every metric of the table is shown, by a name that says its unit, and no other', async (t) => {
  const mesh = await startTestRouter()
  t.after(() => mesh.stop())
  const { text } = await mesh.request('GET', '/metrics', { key: ADMIN_KEY })
  assert.deepEqual([...parseMetrics(text).types.keys()], METRIC_NAMES)
  for (const name of METRIC_NAMES) {
    const { type, help, buckets } = specOf(name)
    assert.match(name, /^(?:mesh|process|nodejs)_[a-z0-9_]+$/)
    assert.equal(name.endsWith('_total'), type === 'counter', name)
    assert.doesNotMatch(name, /_(?:ms|milliseconds|kb|mb|minutes|nano)(?:_|$)/)
    assert.match(help, /^[A-Z0-9].*\.$/, name)
    assert.equal(buckets !== undefined, type === 'histogram', name)
  }
})

test('a value that is not in its set is shown as other', async () => {
  using metrics = createRouterMetrics(loadCatalog(), { version: '1', priceListId: 'prices' })
  const { registry } = metrics
  const written = 'sk-a-secret "\\\n} 1'
  registry.count('mesh_http_requests_total', { route: `/v1/${written}`, status: written })
  registry.observer('mesh_call_duration_seconds', { world: 'live', provider: written })(1)
  registry.read('mesh_tokens_total', () => [
    { labels: { world: 'test', model: written, provider: 'openai', bucket: 'input' }, value: 5 },
    { labels: { world: 'test', model: `${written}.`, provider: 'openai', bucket: 'input' }, value: 6 },
  ])
  const { body } = await expose([await registry.snapshot()], 0, undefined)
  assert.ok(!body.includes('secret'))
  const shown = parseMetrics(body)
  assert.equal(shown.sum('mesh_http_requests_total', { route: 'other', status: 'other' }), 1)
  assert.equal(shown.sum('mesh_call_duration_seconds_count', { world: 'live', provider: 'other' }), 1)
  assert.equal(shown.sum('mesh_tokens_total', { model: 'other', bucket: 'input' }), 11)
})

test('there can never be more series than is said', () => {
  const catalog = loadCatalog()
  const routes = new Set(Array.from({ length: ROUTES_MAX }, (_, place) => `/${place}`))
  const most = seriesMaxOfAll(labelValues(catalog, routes, { version: '', priceListId: '' }), catalog)
  assert.ok(most <= SERIES_MAX, `${most} series`)
  assert.ok(Object.keys(METRICS).length < 80)
})
