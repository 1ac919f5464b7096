import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { newId } from '../src/ids.ts'
import { routeReplay } from '../src/ops/route-replay.ts'
import { systemSeams } from '../src/seams.ts'
import { requestIdOf } from './support/calls.ts'
import { type Ran, runOps } from './support/run-ops.ts'
import { createTestDatabase, type TestDatabase } from './support/test-database.ts'
import { connectionUrl, startTestRouter, type TestAccount, type TestRouter } from './support/test-router.ts'
import { until } from './support/until.ts'

let database: TestDatabase
let router: TestRouter
let account: TestAccount

before(async () => {
  database = await createTestDatabase()
  router = await startTestRouter({ on: database })
  account = await router.account({ creditUsd: '100.00' })
})
after(async () => {
  await router.stop()
  await database.close()
})

type Body = Readonly<Record<string, unknown>>

const HELLO = [{ role: 'user', content: 'Hello' }]

async function send(body: Body, key = account.key) {
  const answered = await router.request('POST', '/v1/chat/completions', {
    key,
    body: { messages: HELLO, ...body },
  })
  const id = requestIdOf(answered)
  await until('the event and its snapshot are kept', async () => {
    const { rows } = await router.database.pool.query(
      `select 1 from events, plan_snapshots where events.id = $1 and plan_snapshots.id = routing->>'snapshot'`,
      [id],
    )
    return rows.length > 0
  })
  return { id, ...answered }
}

function replay(id: string): Promise<Ran> {
  const environment = {
    MESH_HOME: '/nonexistent',
    DATABASE_URL: connectionUrl(database.connection),
    MESH_SIGNING_KEY_FILE: '/nonexistent/signing-key.pem',
  }
  return runOps(routeReplay, [id], {}, environment)
}

test('the decision of a call is made again from the books alone, and is what happened', async () => {
  const limited = await router.account({
    limits: {
      allowedModels: ['mesh/gpt-4o-mini', 'mesh/gpt-oss-120b'],
      allowedProviders: ['openai', 'groq'],
    },
  })
  const calls: readonly (readonly [body: Body, key?: string])[] = [
    [{ model: 'mesh/gpt-4o-mini' }],
    [{ model: 'auto', tools: [{ type: 'function', function: { name: 'f' } }], max_tokens: 99 }],
    [
      {
        model: 'best',
        reasoning: { effort: 'high' },
        provider: { ignore: ['anthropic', 'no-such-provider'] },
      },
    ],
    [
      {
        models: ['mesh/swift', 'mesh/pro'],
        provider: { sort: 'latency', order: ['groq'], max_price: { prompt: '2' } },
      },
    ],
    [{ model: 'mesh/gpt-oss-120b', metadata: { mesh_simulate: 'deepinfra=overloaded,nearai=rate_limit' } }],
    [{ model: 'cheapest' }, limited.key],
  ]
  for (const [body, key] of calls) {
    const { id, status, json } = await send(body, key)
    assert.equal(status, 200)
    const { code, said } = await replay(id)
    assert.equal(code, 0, said)
    const { requested, mode, rule, chain } = json.routing
    assert.ok(said.includes(`asked     ${requested.join(', ')}`))
    assert.ok(said.includes(`mode      ${mode}, by the rule ${rule}`))
    assert.match(said, new RegExp(`^ {2}1 {2}${chain[0].model}@${chain[0].provider} .*about \\$0\\.`, 'm'))
    assert.match(said, /^This is what happened\.$/m)
  }
})

test('a refusal for want of an endpoint is made again too', async () => {
  const { id, status } = await send({ model: 'mesh/gpt-4o-mini', provider: { only: ['groq'] } })
  assert.equal(status, 404)
  const { code, said } = await replay(id)
  assert.equal(code, 0, said)
  assert.match(said, /mesh\/gpt-4o-mini@openai +provider_only/)
})

test('what would be decided otherwise is told', async () => {
  const { id } = await send({ model: 'mesh/gpt-oss-120b' })
  const { rows } = await router.database.pool.query(
    `select routing->>'snapshot' as id from events where id = $1`,
    [id],
  )
  const [{ id: snapshot }] = rows
  const before = await router.database.pool.query('select content from plan_snapshots where id = $1', [
    snapshot,
  ])
  // As if the endpoint that served it had been known to fail.
  const open = [['mesh/gpt-oss-120b@deepinfra', { successRate: 0, samples: 20, breaker: 'open' }]]
  await router.database.pool.query(
    `update plan_snapshots set content = jsonb_set(content, '{health}', $2) where id = $1`,
    [snapshot, JSON.stringify(open)],
  )
  const { code, said } = await replay(id)
  assert.equal(code, 1)
  assert.match(said, /mesh\/gpt-oss-120b@deepinfra +breaker_open/)
  assert.match(said, /This is not what happened: mesh\/gpt-oss-120b@deepinfra was tried and is not in it\./)
  await router.database.pool.query('update plan_snapshots set content = $2 where id = $1', [
    snapshot,
    JSON.stringify(before.rows[0].content),
  ])
  assert.equal((await replay(id)).code, 0)
})

test('what cannot be replayed is one plain sentence', async () => {
  assert.match((await replay('evt_1')).said, /begins with req_/)
  const { code, said } = await replay(newId('req', systemSeams))
  assert.deepEqual([code, said], [1, 'There is no event of this id.'])
  const { id } = await send({ model: 'mesh/gpt-4o-mini' })
  await router.database.pool.query('create table kept as select * from plan_snapshots')
  await router.database.pool.query('delete from plan_snapshots')
  assert.match((await replay(id)).said, /is not kept any more/)
  await router.database.pool.query('insert into plan_snapshots select * from kept')
  await router.database.pool.query('drop table kept')
})

test('a snapshot is kept once, however many calls were planned from it, and no answer has what a plan keeps', async () => {
  const count = async () =>
    (await router.database.pool.query('select count(*)::int as rows from plan_snapshots')).rows[0].rows
  const before = await count()
  for (let call = 0; call < 3; call++) {
    const { id, json } = await send({ model: 'auto', messages: [{ role: 'user', content: 'kanarie' }] })
    assert.equal(json.routing.plan, undefined)
    const event = await router.request('GET', `/v1/logs/${id}`, { key: account.key })
    assert.equal(event.json.routing.plan, undefined)
    assert.equal(event.json.routing.rule, 'auto.plain')
  }
  assert.equal(await count(), before)
  const { rows } = await router.database.pool.query(
    `select 1 from events where routing::text like '%kanarie%' union all
     select 1 from plan_snapshots where content::text like '%kanarie%'`,
  )
  assert.deepEqual(rows, [])
})
