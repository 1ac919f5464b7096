import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { after, before, test } from 'node:test'
import { sql } from 'kysely'
import { ERRORS, type ErrorCode } from '../src/errors.ts'
import { chat, chunksOf, eventOf, open, send } from './support/calls.ts'
import { createTestDatabase } from './support/test-database.ts'
import { ADMIN_KEY, type Answered, startTestRouter, type TestRouter } from './support/test-router.ts'
import { until } from './support/until.ts'
import { startWayTo } from './support/way-to-database.ts'

/** Codes that no request to this version can meet, and why. A capability that comes takes its codes out of here. */
const LATER: Readonly<Partial<Record<ErrorCode, string>>> = {
  sealed_transport_required: 'Policies that want sealed calls come with the sealed mode.',
  undecryptable: 'Sealed requests come with the sealed mode.',
}

/** Written wherever a request can hold text: no answer may ever show it. */
const CANARY = 'canary-7Qx'
const BODY_BYTES_MAX = 1_200_000
/** Six letters that are a checksum of nothing: a key that was mistyped. */
const MISTYPED_KEY = `mesh_test_${'a'.repeat(49)}`

let mesh: TestRouter
before(async () => {
  mesh = await startTestRouter({
    policy: {
      calls: {
        bodyBytesMax: BODY_BYTES_MAX,
        bodyTimeoutMs: 300,
        firstByteTimeoutMs: 300,
        concurrencyMax: 5,
        accountSharePercent: 100,
      },
    },
  })
})
after(() => mesh.stop())

/** A chat call with the canary in everything that it says. */
function says(simulate?: string, more: object = {}): Record<string, unknown> {
  return chat(simulate, { messages: [{ role: 'user', content: CANARY }], user: CANARY, ...more })
}

async function ask(body: object = says(), limits?: Record<string, unknown>): Promise<Answered> {
  const { key } = await mesh.account(limits ? { limits } : {})
  return await send(mesh, key, { ...body })
}

/** What Node's own client does not send: bytes over a connection. Resolves with all that came back. */
async function sendRaw(bytes: string): Promise<Answered> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const { hostname, port } = new URL(mesh.url)
  let received = ''
  const socket = connect(Number(port), hostname, () => socket.write(bytes))
  socket.setEncoding('utf8').on('data', (text: string) => {
    received += text
  })
  socket.on('close', () => resolve(received)).on('error', reject)
  const [head = '', text = ''] = (await promise).split('\r\n\r\n')
  const [statusLine = '', ...lines] = head.split('\r\n')
  const headers = new Headers(
    lines.map((line): [string, string] => {
      const colon = line.indexOf(':')
      return [line.slice(0, colon), line.slice(colon + 1).trim()]
    }),
  )
  return { status: Number(statusLine.split(' ')[1]), headers, text, json: JSON.parse(text) }
}

/** How each code is met. */
const MEETINGS: Readonly<Partial<Record<ErrorCode, () => Promise<Answered>>>> = {
  invalid_request: () => ask(says(undefined, { [CANARY]: true, temperature: CANARY })),
  unsupported_parameter: () => ask(says(undefined, { previous_response_id: CANARY })),
  context_length_exceeded: () =>
    ask(says(undefined, { messages: [{ role: 'user', content: `${CANARY} `.repeat(100_000) }] })),
  invalid_api_key: () => send(mesh, MISTYPED_KEY, says()),
  key_revoked: async () => {
    const { key, keyId } = await mesh.account()
    await mesh.request('DELETE', `/v1/api-keys/${keyId}`, { key: ADMIN_KEY })
    return await send(mesh, key, says())
  },
  key_expired: () => ask(says(), { expiresAt: '2020-01-01T00:00:00Z' }),
  insufficient_credits: async () => send(mesh, (await mesh.account({ creditUsd: '0' })).key, says()),
  limit_exceeded: () => ask(says(), { totalUsdLimit: '0.000000001' }),
  insufficient_scope: async () => send(mesh, (await mesh.account({ scopes: ['usage'] })).key, says()),
  model_not_allowed: () => ask(says(), { allowedModels: ['mesh/claude-haiku-4.5'] }),
  account_suspended: async () => {
    const { key, id } = await mesh.account()
    const body = { status: 'suspended' }
    await mesh.request('PATCH', `/v1/accounts/${id}`, { key: ADMIN_KEY, body })
    return await send(mesh, key, says())
  },
  model_not_found: () => ask(says(undefined, { model: CANARY })),
  not_found: async () => {
    const { key } = await mesh.account()
    return await mesh.request('GET', `/v1/logs/${CANARY}`, { key })
  },
  no_endpoint: () => ask(says(undefined, { provider: { only: ['groq'] } })),
  method_not_allowed: () => mesh.request('PUT', `/v1/chat/completions?${CANARY}`, { body: says() }),
  request_timeout: async () => {
    const { key } = await mesh.account()
    return await sendRaw(
      `POST /v1/chat/completions HTTP/1.1\r\nHost: mesh\r\nAuthorization: Bearer ${key}\r\n` +
        `Content-Type: application/json\r\nContent-Length: 500\r\n\r\n{"model":"${CANARY}`,
    )
  },
  already_rotated: async () => {
    const { keyId } = await mesh.account()
    await mesh.request('POST', `/v1/api-keys/${keyId}/rotate`, { key: ADMIN_KEY })
    return await mesh.request('POST', `/v1/api-keys/${keyId}/rotate`, { key: ADMIN_KEY })
  },
  idempotency_in_progress: async () => {
    const { key } = await mesh.account()
    const once = { 'idempotency-key': CANARY }
    const first = send(mesh, key, says('hold'), once)
    await until('the first runs', () => mesh.simulator.stats().held === 1)
    const second = await send(mesh, key, says('hold'), once)
    mesh.simulator.release()
    await first
    return second
  },
  idempotency_replay: async () => {
    const { key } = await mesh.account()
    const first = await send(mesh, key, says(), { 'idempotency-key': CANARY })
    assert.equal(first.status, 200, first.text)
    return await send(mesh, key, says(), { 'idempotency-key': CANARY })
  },
  idempotency_conflict: async () => {
    const { key } = await mesh.account()
    await send(mesh, key, says(), { 'idempotency-key': CANARY })
    return await send(mesh, key, says('tokens=9'), { 'idempotency-key': CANARY })
  },
  privacy_unavailable: () => ask(says(undefined, { privacy: { min_class: 'confidential' } })),
  payload_too_large: () => ask(says(undefined, { user: CANARY.padEnd(BODY_BYTES_MAX) })),
  unsupported_media_type: async () => {
    const { key } = await mesh.account()
    return await send(mesh, key, says(), { 'content-type': `text/${CANARY}` })
  },
  rate_limit_exceeded: () => ask(says(), { requestsPerMinute: 0 }),
  too_many_concurrent: () => ask(says(), { maxConcurrentRequests: 0 }),
  headers_too_large: () =>
    sendRaw(`GET /healthz HTTP/1.1\r\nHost: mesh\r\nX-Long: ${CANARY.padEnd(40_000, 'x')}\r\n\r\n`),
  internal: async () => {
    const { key } = await mesh.account()
    await sql`alter table audit_events rename to elsewhere`.execute(mesh.database.query)
    const answer = await mesh.request('GET', '/v1/audit', { key })
    await sql`alter table elsewhere rename to audit_events`.execute(mesh.database.query)
    return answer
  },
  provider_error: () => ask(says('server_error')),
  provider_overloaded: () => ask(says('overloaded')),
  provider_timeout: () => ask(says('timeout', { stream: true })),
  storage_unavailable: whileTheDatabaseIsAway,
  overloaded: async () => {
    const { key } = await mesh.account()
    const running = Array.from({ length: 5 }, () => send(mesh, key, says('hold')))
    await until('all places are taken', () => mesh.simulator.stats().held === 5)
    const answer = await send(mesh, key, says())
    mesh.simulator.release()
    await Promise.all(running)
    return answer
  },
}

/** A call to a router that has lost its database. */
async function whileTheDatabaseIsAway(): Promise<Answered> {
  const own = await createTestDatabase()
  const way = await startWayTo(own)
  const router = await startTestRouter({
    on: own,
    environment: { DATABASE_URL: way.url },
    policy: { calls: { settleWaitMs: 300 } },
  })
  try {
    const { key } = await router.account()
    assert.equal((await send(router, key, says())).status, 200)
    way.cut()
    return await send(router, key, says())
  } finally {
    way.restore()
    await router.stop()
    await way.close()
    await own.close()
  }
}

function assertIsError(code: ErrorCode, { status, headers, text, json }: Answered): void {
  const row = ERRORS[code]
  assert.equal(status, row.status, text)
  assert.deepEqual([json.error.code, json.error.type], [code, row.type])
  assert.deepEqual(Object.keys(json), ['error'])
  const known = ['message', 'type', 'code', 'param', 'metadata']
  assert.deepEqual(Object.keys(json.error), known.slice(0, 'metadata' in json.error ? 5 : 4))
  assert.match(json.error.message, /^\S.{10,}\.$/)
  assert.match(headers.get('content-type') ?? '', /^application\/json/)
  assert.match(headers.get('x-request-id') ?? '', /^req_[0-9a-z]{26}$/)
  if (code === 'internal') assert.ok(json.error.message.includes(headers.get('x-request-id')))
  assert.equal(headers.get('x-should-retry'), row.retry ? null : 'false')
  const retryAfter = headers.get('retry-after')
  if (status === 429 || status === 503) {
    assert.match(retryAfter ?? '', /^[0-9]+$/)
    assert.ok(Number(headers.get('retry-after-ms')) > 0)
  }
  assert.ok(!`${text}${[...headers].join()}`.includes(CANARY), 'the answer quotes the request')
}

for (const [code, meet] of Object.entries(MEETINGS) as [ErrorCode, () => Promise<Answered>][]) {
  test(`${code} is answered as the table says`, async () => assertIsError(code, await meet()))
}

test('client_disconnected is in the event alone, for nobody is there to be told', async () => {
  const { key } = await mesh.account()
  const call = open(mesh, key, says('tokens=50,hold=10', { stream: true }))
  await until('the answer flows', () => call.text().includes('data: '))
  const { headers } = await call.head
  call.destroy()
  const event = await eventOf(mesh, key, String(headers['x-request-id']))
  assert.deepEqual([event.status, event.errorCode], [499, 'client_disconnected'])
  assert.ok(!JSON.stringify(event).includes(CANARY))
})

test('an error within a stream is told by the same code', async () => {
  const { key } = await mesh.account()
  const { status, text } = await send(mesh, key, says('tokens=50,cut_stream', { stream: true }))
  assert.equal(status, 200)
  const last = chunksOf(text).at(-1)
  assert.deepEqual([last.error.code, last.error.type], ['provider_error', 'server_error'])
  assert.equal(last.choices[0].finish_reason, 'error')
  assert.ok(!text.includes('[DONE]'))
})

test('a refusal by a provider advises when to come again', async () => {
  const { headers, json, status } = await ask(says('rate_limit'))
  assert.deepEqual([status, json.error.code], [503, 'provider_overloaded'])
  assert.ok(Number(headers.get('retry-after')) >= 1)
})

test('every code of the table is met, or is said to come later', () => {
  const accounted = [...Object.keys(MEETINGS), ...Object.keys(LATER), 'client_disconnected']
  assert.deepEqual(accounted.sort(), Object.keys(ERRORS).sort())
  assert.equal(new Set(accounted).size, accounted.length, 'a code is in two places')
})
