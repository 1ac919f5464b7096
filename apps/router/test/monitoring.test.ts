import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startTestRouter } from './support/test-router.ts'

test('a summary tells of the calls of a while: how many, how they ended, how long they took, what they cost', async (t) => {
  const mesh = await startTestRouter()
  t.after(() => mesh.stop())
  const account = await mesh.account()
  const other = await mesh.account()
  const call = (key: string, metadata?: object) =>
    mesh.request('POST', '/v1/chat/completions', {
      key,
      body: {
        model: 'mesh/gpt-5-mini',
        max_tokens: 64,
        messages: [{ role: 'user', content: 'Hello' }],
        ...(metadata ? { metadata } : {}),
      },
    })
  const summary = async (query = '') =>
    (await mesh.request('GET', `/v1/monitoring/summary${query}`, { key: account.key })).json

  const empty = await summary()
  assert.deepEqual(
    [empty.window, empty.requests, empty.errorRate, empty.totalUsd],
    ['1h', 0, null, '0.000000000'],
  )

  const answers = [await call(account.key), await call(account.key)]
  await call(account.key, { mesh_simulate: 'server_error' })
  await call(other.key)
  const { requests, failed, errorRate, totalUsd, durationMs, byEndpoint } = await summary('?window=5m')
  assert.deepEqual([requests, failed, errorRate], [3, 1, 0.3333])
  const cost = answers.reduce(
    (sum, { json }) => sum + BigInt(json.usage.cost_details.total.replace('.', '')),
    0n,
  )
  assert.equal(BigInt(totalUsd.replace('.', '')), cost)
  assert.ok(durationMs.p50 >= 0 && durationMs.p95 >= durationMs.p50)
  assert.equal(byEndpoint.length, 1)
  assert.deepEqual(
    [byEndpoint[0].model, byEndpoint[0].requests, byEndpoint[0].failed],
    ['mesh/gpt-5-mini', 2, 0],
  )

  const wrong = await mesh.request('GET', '/v1/monitoring/summary?window=1y', { key: account.key })
  assert.equal(wrong.status, 400)
  assert.match(wrong.json.error.message, /5m.*1h.*7d/)
})
