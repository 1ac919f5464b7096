import assert from 'node:assert/strict'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, suite, test } from 'node:test'
import { bookOf, chat, nano } from '../../../apps/router/test/support/calls.ts'
import {
  ADMIN_KEY,
  startTestRouter,
  type TestAccount,
  type TestRouter,
} from '../../../apps/router/test/support/test-router.ts'
import { until } from '../../../apps/router/test/support/until.ts'
import { type MeshChatParams, MeshClient, type MeshClientOptions, type RequestEvent } from '../src/sdk.ts'
import { emptyProject, type OpenAIMajor } from './support/packed-sdk.ts'

type Sdk = typeof import('../src/sdk.ts')

const KEY = `mesh_test_${'0'.repeat(49)}`
const VARIABLES = ['MESH_API_KEY', 'MESH_BASE_URL'] as const
const OPENAI_VARIABLES = [
  'OPENAI_API_KEY',
  'OPENAI_ADMIN_KEY',
  'OPENAI_BASE_URL',
  'OPENAI_ORG_ID',
  'OPENAI_PROJECT_ID',
  'OPENAI_CUSTOM_HEADERS',
]

/** Runs with exactly these variables of MESH's and OpenAI's. */
async function withEnvironment(values: Record<string, string>, work: () => unknown): Promise<void> {
  const names = [...VARIABLES, ...OPENAI_VARIABLES]
  const before = names.map((name) => [name, process.env[name]] as const)
  for (const name of names) delete process.env[name]
  Object.assign(process.env, values)
  try {
    await work()
  } finally {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
    }
  }
}

const hello: MeshChatParams = { model: 'mesh/gpt-4o-mini', messages: [{ role: 'user', content: 'hello' }] }

/** What a client sends, without any server. */
function recorded(Client: Sdk['MeshClient'], options: MeshClientOptions = {}) {
  const sent: { readonly url: string; readonly headers: Headers; readonly body: string }[] = []
  const client = new Client({
    apiKey: KEY,
    maxRetries: 0,
    ...options,
    async fetch(input, init) {
      sent.push({ url: String(input), headers: new Headers(init?.headers), body: String(init?.body) })
      return Response.json({ data: [], next_cursor: null })
    },
  })
  return { client, sent }
}

for (const major of [7, 6] as const satisfies OpenAIMajor[]) {
  suite(`the packed client beside openai ${major}`, () => {
    let sdk: Sdk
    let mesh: TestRouter
    let account: TestAccount
    let remove: () => Promise<void>

    before(async () => {
      const project = await emptyProject(major)
      remove = project.remove
      sdk = await import(project.entry)
      mesh = await startTestRouter()
      account = await mesh.account()
    })
    after(async () => {
      await mesh?.stop()
      await remove?.()
    })

    const connect = (options: MeshClientOptions = {}) =>
      new sdk.MeshClient({ apiKey: account.key, baseURL: mesh.baseUrl, ...options })

    test('finds its key and its base URL where it says that it looks', async () => {
      const other = KEY.replace('test', 'live')
      await withEnvironment({ MESH_API_KEY: `${KEY}\n`, OPENAI_API_KEY: other }, () => {
        const client = new sdk.MeshClient()
        assert.deepEqual([client.apiKey, client.baseURL], [KEY, 'https://api.meshrouter.app/v1'])
      })
      await withEnvironment({ OPENAI_API_KEY: other, OPENAI_BASE_URL: 'https://api.openai.com/v1' }, () => {
        const client = new sdk.MeshClient()
        assert.deepEqual([client.apiKey, client.baseURL], [other, sdk.DEFAULT_BASE_URL])
      })
      await withEnvironment({ MESH_API_KEY: KEY, MESH_BASE_URL: 'http://localhost:8787/v1' }, () => {
        assert.equal(new sdk.MeshClient().baseURL, 'http://localhost:8787/v1')
        assert.equal(new sdk.MeshClient({ baseURL: 'http://there/v1' }).baseURL, 'http://there/v1')
        // OpenAI's client takes an empty one for OpenAI's own.
        assert.equal(new sdk.MeshClient({ baseURL: '' }).baseURL, 'http://localhost:8787/v1')
      })
    })

    test('never sends a key of MESH to OpenAI, or to another host than that of its base URL', async () => {
      await withEnvironment({}, async () => {
        for (const baseURL of ['', ' ']) {
          const { client, sent } = recorded(sdk.MeshClient, { baseURL })
          await client.chat.completions.create(hello)
          await client.withOptions({ baseURL }).models.list()
          for (const { url } of sent) assert.ok(url.startsWith('https://api.meshrouter.app/v1/'), url)
        }
        const { client, sent } = recorded(sdk.MeshClient)
        await assert.rejects(async () => await client.get('https://elsewhere.example/v1/models'), {
          code: 'not_this_mesh',
        })
        assert.equal(sent.length, 0)
        await client.receipts.keys()
        assert.equal(sent[0]?.url, 'https://api.meshrouter.app/.well-known/mesh-receipt-keys.json')
      })
    })

    test('never quotes a key that a function gave and no header can carry', async () => {
      for (const key of [`${KEY}\n${KEY}`, `${KEY}\u0436`]) {
        const { client, sent } = recorded(sdk.MeshClient, { apiKey: async () => key })
        await assert.rejects(
          async () => await client.models.list(),
          (error: Error) => error instanceof sdk.MeshClientError && !error.message.includes(KEY.slice(0, 20)),
        )
        assert.equal(sent.length, 0)
      }
    })

    test('never sends a key that is not one of MESH, wherever it comes from', async () => {
      const foreign = 'sk-proj-abcdefghijklmnopqrstuvwxyz'
      const refuses = (code: string, make: () => unknown) =>
        assert.throws(make, (error: unknown) => {
          assert.ok(error instanceof sdk.MeshClientError)
          assert.equal(error.code, code)
          assert.ok(!error.message.includes(foreign) && error.message.includes('MESH_API_KEY'))
          return true
        })
      await withEnvironment({}, () => refuses('no_key', () => new sdk.MeshClient()))
      await withEnvironment({ OPENAI_API_KEY: foreign }, () => refuses('no_key', () => new sdk.MeshClient()))
      await withEnvironment({ MESH_API_KEY: foreign, OPENAI_API_KEY: KEY }, () =>
        refuses('not_a_mesh_key', () => new sdk.MeshClient()),
      )
      await withEnvironment({}, () => {
        refuses('not_a_mesh_key', () => new sdk.MeshClient({ apiKey: foreign }))
        assert.throws(() => new sdk.MeshClient({ apiKey: KEY.slice(0, -1) }), { code: 'mistyped_key' })
        const { client } = recorded(sdk.MeshClient)
        assert.throws(() => client.withOptions({ apiKey: foreign }), { code: 'not_a_mesh_key' })
      })
      await withEnvironment(
        { OPENAI_ADMIN_KEY: foreign, OPENAI_ORG_ID: 'org-1', OPENAI_PROJECT_ID: 'proj-1' },
        async () => {
          const { client, sent } = recorded(sdk.MeshClient)
          await client.chat.completions.create(hello)
          await client.admin.organization.projects.list().catch(() => {})
          const headers = sent.map((each) => JSON.stringify([...each.headers])).join()
          assert.ok(sent.length > 0 && !/sk-proj|org-1|proj-1/.test(headers))
        },
      )
      const called = recorded(sdk.MeshClient, { apiKey: async () => foreign })
      await assert.rejects(async () => called.client.models.list(), { code: 'not_a_mesh_key' })
      for (const headers of [
        { Authorization: `Bearer ${foreign}` },
        { 'api-key': foreign },
        { 'x-api-key': foreign },
      ]) {
        const { client, sent } = recorded(sdk.MeshClient)
        const call = () => client.chat.completions.create(hello, { headers })
        await assert.rejects(async () => call(), { code: 'not_a_mesh_key' })
        assert.equal(sent.length, 0)
      }
      await withEnvironment({ OPENAI_CUSTOM_HEADERS: `Authorization: Bearer ${foreign}` }, async () => {
        const { client, sent } = recorded(sdk.MeshClient)
        await assert.rejects(async () => client.chat.completions.create(hello), { code: 'not_a_mesh_key' })
        assert.equal(sent.length, 0)
      })
      assert.equal(called.sent.length, 0)
    })

    test("throws for privacy: { mode: 'mesh' } before anything is sent, and for nothing else", async () => {
      const { client, sent } = recorded(sdk.MeshClient)
      const privacy = { mode: 'mesh' } as const
      const params = { ...hello, privacy }
      const calls: (() => unknown)[] = [
        () => client.chat.completions.create(params),
        () => client.chat.completions.create({ ...params, stream: true }),
        () => client.responses.create({ model: 'mesh/gpt-5-mini', input: 'hello', privacy }),
        () => client.embeddings.create({ model: 'mesh/text-embedding-3-small', input: 'hello', privacy }),
        () => client.rerank({ model: 'mesh/qwen3-reranker-0.6b', query: 'q', documents: ['d'], privacy }),
        () => client.post('/chat/completions', { body: params }),
      ]
      for (const call of calls) {
        await assert.rejects(async () => await call(), { code: 'sealing_not_available' })
      }
      assert.equal(sent.length, 0)
      const content = 'Explain "privacy": {"mode": "mesh"}'
      await client.chat.completions.create({
        ...hello,
        privacy: { mode: 'protected' },
        messages: [{ role: 'user', content }],
      })
      assert.equal(sent.length, 1)
    })

    test('gives every billable call a key of its own, and free calls none', async () => {
      const { client, sent } = recorded(sdk.MeshClient)
      await client.chat.completions.create(hello)
      await client.chat.completions.create(hello)
      await client.responses.create({ model: 'mesh/gpt-5-mini', input: 'hello' })
      await client.embeddings.create({ model: 'mesh/text-embedding-3-small', input: 'hello' })
      await client.rerank({ model: 'mesh/qwen3-reranker-0.6b', query: 'q', documents: ['d'] })
      await client.post('/messages', { body: { model: 'mesh/claude-sonnet-4.5' } })
      const keys = sent.map(({ headers }) => headers.get('idempotency-key'))
      assert.ok(keys.every((key) => key !== null && /^mesh-sdk-[0-9a-f]{32}$/.test(key)))
      assert.equal(new Set(keys).size, 6)
      await client.chat.completions.create(hello, { headers: { 'Idempotency-Key': 'mine' } })
      await client.chat.completions.create(hello, { idempotencyKey: 'mine too' })
      await client.route(hello)
      await client.countTokens({ model: 'mesh/gpt-4o-mini', input: 'hello' })
      await client.keys.list()
      assert.deepEqual(
        sent.slice(6).map(({ headers }) => headers.get('idempotency-key')),
        ['mine', 'mine too', null, null, null],
      )
    })

    test('keeps that key on its retries, and does not retry what makes a secret or a project', async () => {
      const asked: IncomingMessage[] = []
      const server = createServer((request, response) => {
        asked.push(request)
        request.resume()
        response.writeHead(503, { 'retry-after-ms': '1' }).end()
      }).listen(0, '127.0.0.1')
      try {
        await until('the server listens', () => server.listening)
        const baseURL = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`
        const client = new sdk.MeshClient({ apiKey: KEY, baseURL })
        const attempts = async (call: () => unknown) => {
          const from = asked.length
          await assert.rejects(async () => await call())
          return asked.slice(from).map(({ headers }) => headers['idempotency-key'])
        }
        for (const stream of [false, true]) {
          const [first, ...retries] = await attempts(() =>
            client.post('/chat/completions', { body: { ...hello, stream }, stream }),
          )
          assert.ok(first)
          assert.deepEqual(retries, [first, first])
        }
        assert.equal((await attempts(() => client.keys.create({ name: 'k' }))).length, 1)
        assert.equal((await attempts(() => client.keys.rotate('key_1'))).length, 1)
        assert.equal((await attempts(() => client.projects.create({ name: 'p' }))).length, 1)
        assert.equal((await attempts(() => client.keys.revoke('key_1'))).length, 3)
      } finally {
        server.close()
        server.closeAllConnections()
      }
    })

    test('a call answers with what it cost and how it was routed', async () => {
      const client = connect()
      const answer = await client.chat.completions.create({
        model: 'mesh/claude-sonnet-4.5',
        models: ['mesh/llama-4-maverick'],
        route: 'fallback',
        provider: { sort: 'price' },
        messages: [{ role: 'user', content: 'hello' }],
      })
      assert.match(answer.choices[0]?.message.content ?? '', /^Simulated answer/)
      assert.deepEqual(answer.routing.requested, ['mesh/claude-sonnet-4.5', 'mesh/llama-4-maverick'])
      const { upstream_cost, margin, total } = answer.usage.cost_details
      assert.equal(nano(upstream_cost) + nano(margin), nano(total))
      const event = await client.logs.retrieve(answer.id)
      assert.equal(event.cost.totalUsd, total)
      const named = await client.chat.completions.create({
        models: ['mesh/gpt-4o-mini'],
        messages: [{ role: 'user', content: 'hello' }],
      })
      assert.equal(named.model, 'mesh/gpt-4o-mini')
    })

    test('a stream with fallbacks and JSON output runs as the product page has it', async () => {
      const client = connect()
      const stream = await client.chat.completions.create({
        model: 'mesh/claude-sonnet-4.5',
        models: ['mesh/claude-opus-4.6', 'mesh/llama-4-maverick'],
        route: 'fallback',
        messages: [{ role: 'user', content: 'hello' }],
        response_format: { type: 'json_object' },
        metadata: { mesh_simulate: 'anthropic=overloaded' },
        stream: true,
      })
      let text = ''
      let last: unknown
      for await (const chunk of stream) {
        text += chunk.choices[0]?.delta.content ?? ''
        last = chunk.routing ?? last
      }
      assert.equal(typeof JSON.parse(text), 'object')
      const { chain } = last as { chain: { provider: string; outcome: string }[] }
      assert.notEqual(chain[0]?.outcome, 'served')
      assert.equal(chain.at(-1)?.outcome, 'served')
    })

    test('errors are told apart by their code, in an answer and in a stream', async () => {
      const poor = await mesh.account({ limits: { maxUsdPerRequest: '0.000000001' } })
      const limited = connect({ apiKey: poor.key })
      await assert.rejects(
        async () => limited.chat.completions.create(hello),
        (error: unknown) => {
          assert.ok(sdk.isMeshError(error, 'limit_exceeded'))
          assert.ok(error instanceof sdk.OpenAI.APIError && error.status === 402)
          const { scope, limit } = error.error.metadata ?? {}
          assert.deepEqual([scope, limit], ['key', 'maxUsdPerRequest'])
          assert.ok(sdk.isMeshError(error) && !sdk.isMeshError(error, 'not_found'))
          return true
        },
      )
      const broken = await connect().chat.completions.create({
        ...hello,
        metadata: { mesh_simulate: 'cut_stream' },
        stream: true,
      })
      await assert.rejects(
        async () => {
          for await (const _chunk of broken);
        },
        (error: unknown) => {
          assert.ok(sdk.isMeshError(error, 'provider_error'))
          assert.match(error.error.metadata?.receipt_id ?? '', /^rcpt_/)
          return true
        },
      )
      const gone = connect({ baseURL: 'http://127.0.0.1:9/v1', maxRetries: 0 })
      await assert.rejects(
        async () => gone.models.list(),
        (error: unknown) => !sdk.isMeshError(error),
      )
    })

    test('projects, keys with limits, records and receipts do what they say', async () => {
      const client = connect()
      const project = await client.projects.create({ name: 'Search', limits: { dailyUsdLimit: '2.00' } })
      const made = await client.keys.create({
        name: 'reader',
        projectId: project.id,
        scopes: ['chat', 'usage'],
        limits: { monthlyUsdLimit: 1.5, requestsPerMinute: 60 },
      })
      const reader = client.withOptions({ apiKey: made.secret })
      await reader.chat.completions.create(hello)
      const current = await reader.keys.current()
      assert.equal(current.limits.monthlyUsdLimit, '1.500000000')
      assert.equal(current.remaining.requestsPerMinute?.remaining, 59)
      assert.equal(
        (await client.keys.updateLimits(made.id, { requestsPerMinute: 1 })).limits.requestsPerMinute,
        1,
      )
      assert.equal((await client.keys.update(made.id, { name: 'writer' })).name, 'writer')
      const successor = await client.keys.rotate(made.id)
      await assert.rejects(
        async () => reader.accounts.current(),
        (error: unknown) => sdk.isMeshError(error, 'key_revoked') && error.status === 401,
      )
      await client.keys.revoke(successor.id)
      assert.equal((await client.keys.retrieve(successor.id)).status, 'revoked')
      assert.equal((await client.projects.update(project.id, { name: 'Found' })).name, 'Found')
      assert.equal((await client.projects.delete(project.id)).deleted, true)
      assert.equal((await client.accounts.current()).id, account.id)
      assert.equal((await client.accounts.update({ name: 'Ada' })).name, 'Ada')
      assert.ok((await client.usage.retrieve({ groupBy: ['model'] })).data.length > 0)
      assert.equal((await client.monitoring.summary({ window: '5m' })).window, '5m')
      assert.ok((await client.providers.health()).data.length >= 14)
      assert.equal((await client.models.retrieve('mesh/claude-sonnet-4.5')).kind, 'chat')
      assert.ok((await client.models.endpoints('mesh/claude-sonnet-4.5')).data.length > 1)
      assert.ok((await client.models.list()).data.length > 46)
      const plan = await client.route({ model: 'mesh/auto', messages: [{ role: 'user', content: 'hello' }] })
      assert.ok(plan.selected && plan.candidates.length > 1)
      assert.equal((await client.countTokens({ model: 'mesh/gpt-5-mini', input: 'hello' })).input_tokens, 1)
      const ranking = await client.rerank({
        model: 'mesh/qwen3-reranker-0.6b',
        query: 'q',
        documents: ['a', 'b'],
      })
      assert.equal(ranking.results.length, 2)
    })

    test('lists go on from page to page, and stop', async () => {
      const client = connect({ apiKey: (await mesh.account()).key })
      for (let calls = 0; calls < 3; calls++) await client.chat.completions.create(hello)
      await until('three events are there', async () => (await client.logs.list()).data.length === 3)
      const seen: string[] = []
      for await (const event of client.logs.list({ limit: 1 })) seen.push(event.id)
      assert.equal(new Set(seen).size, 3)
      const page = await client.ledger.list({ limit: 2 })
      assert.ok(page.data.length === 2 && page.hasNextPage() && page.next_cursor !== null)
      const rest = await page.getNextPage()
      assert.deepEqual([rest.data.length, rest.hasNextPage()], [2, false])
      const actions: string[] = []
      for await (const { action } of client.audit.list({ limit: 1 })) actions.push(action)
      assert.ok(actions.includes('key.created'))
      for await (const { limits } of client.projects.list()) assert.equal(limits.dailyUsdLimit, null)
    })

    test("a router's receipts verify offline with the keys that it publishes, and a changed one does not", async () => {
      const client = connect()
      const { response } = await client.chat.completions.create(hello).withResponse()
      const id = response.headers.get('x-mesh-receipt-id') as `rcpt_${string}`
      const receipt = await client.receipts.retrieve(id)
      const keys = await client.receipts.keys()
      const claims = await sdk.verifyReceipt(receipt, keys)
      assert.deepEqual(claims, receipt.receipt)
      assert.deepEqual(await client.receipts.verify(receipt.jws, { keys }), claims)
      const cheaper = { ...receipt, receipt: { ...receipt.receipt, totalUsd: '0.000000001' } }
      await assert.rejects(client.receipts.verify(cheaper, { keys }), sdk.ReceiptError)
      for await (const each of client.receipts.list({ limit: 2 })) await sdk.verifyReceipt(each, keys)
    })

    test('only an operator key reaches what is for operators, and goes nowhere else', async () => {
      assert.throws(() => connect().accounts.updateLimits('acct_1', {}), { code: 'operator_key_missing' })
      const operator = connect({ operatorKey: ADMIN_KEY })
      const id = account.id as `acct_${string}`
      const { limits } = await operator.accounts.updateLimits(id, { requestsPerMinute: 900 })
      assert.equal(limits.requestsPerMinute, 900)
      assert.equal((await operator.withOptions({ timeout: 9_000 }).accounts.updateLimits(id, {})).id, id)
      const { client, sent } = recorded(sdk.MeshClient, { operatorKey: ADMIN_KEY })
      await client.keys.list()
      assert.equal(sent[0]?.headers.get('authorization'), `Bearer ${KEY}`)
    })

    test('a call that times out and is sent again, or is aborted, is charged at most once', async () => {
      for (const stream of [false, true]) {
        const payer = await mesh.account({ creditUsd: '1.00' })
        const client = connect({ apiKey: payer.key, timeout: 700, maxRetries: 2 })
        const { requests } = mesh.simulator.stats()
        const body = chat('tokens=40,hold', { stream, max_tokens: 100 })
        await assert.rejects(
          async () => client.post('/chat/completions', { body, stream }),
          (error: unknown) => sdk.isMeshError(error, 'idempotency_in_progress'),
        )
        assert.equal(mesh.simulator.stats().requests, requests + 1)
        mesh.simulator.release()
        const abort = new AbortController()
        const aborted = client.post('/chat/completions', { body, stream, signal: abort.signal })
        await mesh.simulator.until((now) => now.requests === requests + 2 && now.held === 1)
        abort.abort()
        await assert.rejects(async () => aborted, sdk.OpenAI.APIUserAbortError)
        mesh.simulator.release()
        let events: RequestEvent[] = []
        await until('both calls are settled', async () => {
          // The retry was refused, and left an event that says so.
          const { data } = await client.logs.list()
          events = data.filter(({ billingReason }) => billingReason !== 'rejected_not_billed')
          return events.length >= 2 && (await bookOf(mesh.database, payer.id)).heldNano === 0n
        })
        assert.equal(events.length, 2)
        const spent = events.reduce((sum, { cost }) => sum + nano(cost.totalUsd), 0n)
        const { balanceNano } = await bookOf(mesh.database, payer.id)
        assert.equal(balanceNano, nano('1.00') - spent)
        const rows = (await client.ledger.list({ limit: 100 })).data.filter(({ type }) => type === 'usage')
        assert.ok(rows.length <= 2 && new Set(rows.map(({ requestId }) => requestId)).size === rows.length)
      }
    })
  })
}

test('the source is an OpenAI client, and asks for leave to run in a browser', () => {
  const client = new MeshClient({ apiKey: KEY })
  assert.ok(client instanceof Object.getPrototypeOf(MeshClient))
  Object.assign(globalThis, { window: { document: {} } })
  try {
    assert.throws(() => new MeshClient({ apiKey: KEY }), /dangerouslyAllowBrowser/)
    assert.ok(new MeshClient({ apiKey: KEY, dangerouslyAllowBrowser: true }))
  } finally {
    Reflect.deleteProperty(globalThis, 'window')
  }
})
