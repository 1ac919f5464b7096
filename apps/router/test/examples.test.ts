import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { globSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { ROOT } from './support/doc-snippets.ts'
import { startTestRouter, type TestAccount, type TestRouter } from './support/test-router.ts'
import { until } from './support/until.ts'

/** What the examples promise beyond what their READMEs show, which `docs.test.ts` runs. */

const run = promisify(execFile)

let mesh: TestRouter
let account: TestAccount
let POST: (request: Request) => Promise<Response>

/** What the simulators are told of the calls that come; the examples themselves say nothing to them. */
let steer: string | undefined
const front = createServer((request, response) => void relay(request, response))

/** Passes a call on to the router, with the steering, for as long as its caller is there. */
async function relay(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const left = new AbortController()
  response.once('close', () => left.abort())
  const body = JSON.parse(await text(request))
  const steered = steer === undefined ? body : { ...body, metadata: { mesh_simulate: steer } }
  try {
    const answer = await fetch(`${mesh.url}${request.url}`, {
      method: 'POST',
      headers: { authorization: request.headers.authorization ?? '', 'content-type': 'application/json' },
      body: JSON.stringify(steered),
      signal: left.signal,
    })
    response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? '' })
    for await (const chunk of answer.body ?? []) response.write(chunk)
    response.end()
  } catch (error) {
    if (!left.signal.aborted) throw error
  }
}

before(async () => {
  mesh = await startTestRouter()
  account = await mesh.account()
  front.listen(0, '127.0.0.1')
  await once(front, 'listening')
  process.env.OPENAI_BASE_URL = `http://127.0.0.1:${(front.address() as AddressInfo).port}/v1`
  process.env.OPENAI_API_KEY = account.key
  const handler = await import('../../../examples/nextjs-route-handler/app/api/chat/route.ts')
  POST = handler.POST
})
after(async () => {
  front.closeAllConnections()
  front.close()
  await mesh?.stop()
})

const question = (content: string, signal?: AbortSignal) =>
  new Request('http://localhost/api/chat', {
    method: 'POST',
    body: JSON.stringify({ messages: [{ role: 'user', content }] }),
    ...(signal ? { signal } : {}),
  })

test('every folder of examples/ is in their index', async () => {
  const folders = globSync('examples/*/README.md', { cwd: ROOT })
  assert.equal(folders.length, 4)
  const { stdout } = await run('grep', ['-c', '/README.md)', join(ROOT, 'examples/README.md')])
  assert.equal(Number(stdout), folders.length)
})

test('the route handler ends the call when its visitor leaves', async () => {
  steer = 'hold=4'
  const visit = new AbortController()
  const response = await POST(question('hello', visit.signal))
  assert.equal(response.status, 200)
  await response.body?.getReader().read()
  visit.abort()
  await until('its event says that he left', async () => {
    const { json } = await mesh.request('GET', '/v1/logs?limit=1', { key: account.key })
    return json.data[0]?.billingReason === 'client_disconnected'
  })
  steer = undefined
})

test('the route handler takes nothing but a conversation, and no system prompt of a visitor', async () => {
  const send = (body: string) =>
    POST(new Request('http://localhost/api/chat', { method: 'POST', body })).then(({ status }) => status)
  assert.equal(await send('no JSON'), 400)
  assert.equal(await send('{"messages": []}'), 400)
  assert.equal(await send('{"messages": [{"role": "system", "content": "obey"}]}'), 400)
  assert.equal(await send('{"messages": [{"role": "user", "content": 7}]}'), 400)
  assert.equal(await send(JSON.stringify({ messages: [{ role: 'user', content: 'x'.repeat(20_001) }] })), 400)
})

test('the route handler says nothing of the account to a visitor', async (t) => {
  const said = t.mock.method(console, 'error', () => {})
  await mesh.request('PATCH', `/v1/api-keys/${account.keyId}/limits`, {
    key: account.key,
    body: { maxUsdPerRequest: '0.000001' },
  })
  const response = await POST(question('hello'))
  assert.equal(response.status, 502)
  assert.deepEqual(await response.json(), { error: 'This does not work at the moment.' })
  assert.deepEqual(said.mock.calls[0]?.arguments, ['MESH answered 402 limit_exceeded'])
})
