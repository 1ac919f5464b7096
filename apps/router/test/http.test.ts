import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { after, before, test } from 'node:test'
import { MeshError } from '../src/errors.ts'
import { readJsonBody, useRawBodies } from '../src/http/raw-body.ts'
import type { Server } from '../src/http/server.ts'
import { type HttpFixture, startHttpFixture } from './support/http-fixture.ts'
import { startTestRouter } from './support/test-router.ts'
import { until } from './support/until.ts'

const BODY_BYTES_MAX = 65_536
const BODY_BYTES_AT_ONCE_MAX = 100_000
const HEADER_BYTES_MAX = 4_096
const BODY_TIMEOUT_MS = 150

let mesh: HttpFixture
before(async () => {
  mesh = await startHttpFixture({
    bounds: {
      bodyBytesMax: BODY_BYTES_MAX,
      bodyBytesAtOnceMax: BODY_BYTES_AT_ONCE_MAX,
      headerBytesMax: HEADER_BYTES_MAX,
      headersTimeoutMs: 200,
      requestTimeoutMs: 5_000,
    },
    addRoutes,
  })
})
after(() => mesh[Symbol.asyncDispose]())

/** An inference route as far as bodies go, and routes that fail in every way. */
function addRoutes(server: Server): void {
  server.register((scope, _options, done) => {
    useRawBodies(scope)
    scope.post('/v1/chat/completions', async (request) => {
      const bounds = { bodyBytesMax: BODY_BYTES_MAX, bodyTimeoutMs: BODY_TIMEOUT_MS }
      return { read: await readJsonBody(request, bounds) }
    })
    done()
  })
  server.get('/v1/streams', (_request, reply) => {
    reply.hijack()
    reply.raw.write('the beginning')
  })
  server.get('/v1/fails/unexpectedly', () => {
    throw new TypeError('a message that holds CANARY_77')
  })
  server.get('/v1/fails/soon', () => {
    throw new MeshError('rate_limit_exceeded', 'Wait.', { retryAfterMs: 1_500 })
  })
  server.get('/v1/fails/long', () => {
    throw new MeshError('rate_limit_exceeded', 'Wait long.', { retryAfterMs: 61_000 })
  })
}

function post(
  body: string | Uint8Array<ArrayBuffer>,
  headers: Record<string, string> = {},
  path = '/v1/chat/completions',
) {
  return fetch(`${mesh.url}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body,
  })
}

async function refusal(answer: Response, status: number, code: string): Promise<{ message: string }> {
  const { error } = (await answer.json()) as { error: { message: string; type: string; code: string } }
  assert.equal(answer.status, status, JSON.stringify(error))
  assert.equal(error.code, code)
  assert.equal(typeof error.type, 'string')
  assert.ok('param' in error)
  assert.match(answer.headers.get('x-request-id') ?? '', /^req_[0-9a-z]{26}$/)
  assert.match(answer.headers.get('content-type') ?? '', /^application\/json/)
  return error
}

/** Sends bytes as they are and reads what comes until the connection closes. */
async function sendRaw(text: string): Promise<string> {
  const socket = connect(Number(new URL(mesh.url).port), '127.0.0.1')
  let received = ''
  socket.on('data', (chunk) => {
    received += chunk.toString('latin1')
  })
  socket.write(text)
  await once(socket, 'close')
  return received
}

function assertRawRefusal(received: string, status: number, code: string): void {
  assert.match(received, new RegExp(`^HTTP/1\\.1 ${status} `))
  assert.match(received, /\r\nx-request-id: req_[0-9a-z]{26}\r\n/i)
  assert.equal(JSON.parse(received.slice(received.indexOf('\r\n\r\n') + 4)).error.code, code)
}

test('a path that is not there is told what to change', async (t) => {
  const cases: [string, string, RegExp][] = [
    ['POST', '/v1/v1/chat/completions', /\/v1 twice/],
    ['POST', '/chat/completions', /lacks \/v1/],
    ['POST', '/completions', /lacks \/v1/],
    ['GET', '/api-keys', /lacks \/v1/],
    ['POST', '/v1/chat/completions/', /slash/],
    ['POST', '/v1//chat/completions', /slash/],
    ['POST', '/v1/completions', /\/v1\/chat\/completions/],
    ['GET', '/v1/files/file_CANARY', /inside the message/],
    ['GET', '/v1/nonsense/CANARY', /nothing at this path/],
    ['GET', '/nonsense', /nothing at this path/],
    ['PROPFIND', '/nonsense', /nothing at this path/],
  ]
  for (const [method, path, advice] of cases) {
    await t.test(`${method} ${path}`, async () => {
      const error = await refusal(await fetch(`${mesh.url}${path}`, { method }), 404, 'not_found')
      assert.match(error.message, advice)
      assert.ok(!error.message.includes('CANARY'))
    })
  }
})

/** Routes of the contract that this version does not have, and of OpenAI that no version will. */
const ABSENT_ROUTES = [
  '/v1/attestation',
  '/v1/attestation/verify',
  '/v1/auth/siwe/nonce',
  '/v1/auth/session',
  '/v1/payments',
  '/v1/payments/intents',
  '/v1/credits/topup',
  '/v1/webhooks',
  '/v1/prices',
  '/log/checkpoint',
  '/.well-known/hpke-keys',
]
const OPENAI_ROUTES = [
  'completions',
  'messages/batches',
  'assistants',
  'threads',
  'vector_stores/vs_1',
  'files',
  'organization',
  'responses/resp_1',
]

test('what is said to do instead of an absent route can be done', async () => {
  const router = await startTestRouter()
  const ask = (method: string, path: string) =>
    router.request(method, path, { ...(method === 'POST' ? { body: {} } : {}) })
  try {
    const absent = ABSENT_ROUTES.map((path) => [
      path,
      /^MESH does not have this route in this version\. [A-Z]/,
    ])
    const never = OPENAI_ROUTES.map((path) => [`/v1/${path}`, /^MESH /])
    for (const [path, message] of [...absent, ...never, ['/v1/nonsense', /^There is nothing/]] as const) {
      for (const method of ['GET', 'POST']) {
        const { status, json } = await ask(method, String(path))
        assert.deepEqual([status, json.error.code], [404, 'not_found'], String(path))
        assert.match(json.error.message, message as RegExp)
        assert.doesNotMatch(json.error.message, /API reference/)
        for (const [, named = '', at = ''] of json.error.message.matchAll(
          /\b(GET|POST) (\/[^\s,:]*[^\s,:.])/g,
        )) {
          const advised = await ask(named, at.replace('{id}', 'acct_1'))
          assert.ok([200, 400, 401].includes(advised.status), `${path}: ${named} ${at} is ${advised.status}`)
        }
      }
    }
  } finally {
    await router.stop()
  }
})

test('a method that a route does not take is answered with those that it does', async () => {
  const answer = await fetch(`${mesh.url}/v1/api-keys`, { method: 'PUT' })
  assert.equal(answer.headers.get('allow'), 'GET, POST')
  await refusal(answer, 405, 'method_not_allowed')
  await refusal(await fetch(`${mesh.url}/v1/chat/completions?x=1`), 405, 'method_not_allowed')
  const head = await fetch(`${mesh.url}/v1/accounts/me`, { method: 'HEAD' })
  assert.equal(head.status, 401)
  assert.equal(await head.text(), '')
})

test('bodies that cannot be read are refused alike before and behind authentication', async (t) => {
  const large = JSON.stringify({ text: 'x'.repeat(BODY_BYTES_MAX) })
  for (const path of ['/v1/chat/completions', '/v1/api-keys']) {
    const key = path === '/v1/api-keys' ? { authorization: `Bearer ${mesh.operatorKey}` } : {}
    const send = (body: string | Uint8Array<ArrayBuffer>, headers: Record<string, string> = {}) =>
      post(body, { ...key, ...headers }, path)
    await t.test(path, async () => {
      await refusal(await send(large), 413, 'payload_too_large')
      await refusal(await send('{}', { 'content-type': 'text/plain' }), 415, 'unsupported_media_type')
      await refusal(
        await send('a=1', { 'content-type': 'application/x-www-form-urlencoded' }),
        415,
        'unsupported_media_type',
      )
      await refusal(
        await send('{}', { 'content-type': 'application/json; charset=latin1' }),
        415,
        'unsupported_media_type',
      )
      await refusal(await send('{}', { 'content-encoding': 'gzip' }), 415, 'unsupported_media_type')
      const malformed = await refusal(await send('{"CANARY": '), 400, 'invalid_request')
      assert.ok(!malformed.message.includes('CANARY'))
      await refusal(await send(new Uint8Array([0x22, 0xff, 0x22])), 400, 'invalid_request')
      await refusal(await send('{"__proto__": {"admin": true}}'), 400, 'invalid_request')
      await refusal(await send('{"\\u005f_proto__": 1}'), 400, 'invalid_request')
    })
  }
  await t.test('a chunked body is counted as it comes', async () => {
    const half = new TextEncoder().encode('x'.repeat(BODY_BYTES_MAX / 2 + 1))
    const answer = await fetch(`${mesh.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: new ReadableStream({
        start(controller) {
          for (let count = 0; count < 8; count++) controller.enqueue(half)
          controller.close()
        },
      }),
      duplex: 'half',
    })
    await refusal(answer, 413, 'payload_too_large')
  })
  await t.test('what can be read is read', async () => {
    const answer = await post('{"text": "\\"__proto__\\": ü"}', {
      'content-type': 'application/json;charset=UTF-8',
    })
    assert.deepEqual(await answer.json(), { read: { text: '"__proto__": ü' } })
  })
  await t.test('a body that never ends is given up', async () => {
    const received = await sendRaw(
      'POST /v1/chat/completions HTTP/1.1\r\nHost: mesh\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{',
    )
    assertRawRefusal(received, 408, 'request_timeout')
  })
})

test('what Node refuses by itself has the same shape', async (t) => {
  await t.test('no HTTP', async () =>
    assertRawRefusal(await sendRaw('NONSENSE\r\n\r\n'), 400, 'invalid_request'),
  )
  await t.test('headers too large', async () => {
    const received = await sendRaw(
      `GET / HTTP/1.1\r\nHost: mesh\r\nX-Large: ${'x'.repeat(HEADER_BYTES_MAX)}\r\n\r\n`,
    )
    assertRawRefusal(received, 431, 'headers_too_large')
  })
  await t.test('headers too slow', async () => {
    assertRawRefusal(await sendRaw('GET / HTTP/1.1\r\nHost: mesh\r\n'), 408, 'request_timeout')
  })
  await t.test('no Host', async () => {
    assertRawRefusal(await sendRaw('GET / HTTP/1.1\r\nConnection: close\r\n\r\n'), 400, 'invalid_request')
  })
  await t.test('an expectation that nobody can meet', async () => {
    const received = await sendRaw(
      'GET /nonsense HTTP/1.1\r\nHost: mesh\r\nExpect: wonders\r\nConnection: close\r\n\r\n',
    )
    assertRawRefusal(received, 404, 'not_found')
  })
  await t.test('two lengths', async () => {
    const received = await sendRaw(
      'POST / HTTP/1.1\r\nHost: mesh\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}',
    )
    assertRawRefusal(received, 400, 'invalid_request')
  })
  await t.test('an escape that is none', async () => {
    const answer = await fetch(`${mesh.url}/v1/api-keys/%zz`)
    assert.equal(answer.headers.get('access-control-allow-origin'), '*')
    await refusal(answer, 400, 'invalid_request')
  })
  await t.test('a part of the path too long', async () => {
    await refusal(await fetch(`${mesh.url}/v1/api-keys/${'x'.repeat(1_000)}`), 400, 'invalid_request')
  })
})

test('an unexpected error tells its caller an id and the log no message', async () => {
  const error = await refusal(await fetch(`${mesh.url}/v1/fails/unexpectedly`), 500, 'internal')
  assert.match(error.message, /req_[0-9a-z]{26}/)
  assert.ok(!error.message.includes('CANARY'))
  const [line] = mesh.logLines.filter(({ message }) => message === 'request failed')
  assert.equal(line?.fields.errorName, 'TypeError')
  assert.equal(line?.fields.route, '/v1/fails/unexpectedly')
  assert.ok(error.message.includes(line?.fields.requestId ?? '-'))
  assert.match(line?.fields.frames?.[0] ?? '', /^apps\/router\/test\/http\.test\.ts:\d+$/)
  assert.ok(!JSON.stringify(mesh.logLines).includes('CANARY'))
})

test('a retry is advised where it can help, and switched off where it cannot', async () => {
  const soon = await fetch(`${mesh.url}/v1/fails/soon`)
  assert.equal(soon.headers.get('retry-after'), '2')
  assert.equal(soon.headers.get('retry-after-ms'), '1500')
  assert.equal(soon.headers.get('x-should-retry'), null)
  const long = await fetch(`${mesh.url}/v1/fails/long`)
  assert.equal(long.headers.get('retry-after'), '61')
  assert.equal(long.headers.get('x-should-retry'), 'false')
  const wrong = await fetch(`${mesh.url}/v1/nonsense`)
  assert.equal(wrong.headers.get('x-should-retry'), 'false')
  assert.equal(wrong.headers.get('retry-after'), null)
})

test('pages of any origin may call /v1 and ask for the keys of receipts, and nothing else', async () => {
  const origin = 'https://app.example'
  const preflight = await fetch(`${mesh.url}/v1/chat/completions`, {
    method: 'OPTIONS',
    headers: {
      origin,
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization,content-type,x-stainless-lang,x-stainless-retry-count',
    },
  })
  assert.equal(preflight.status, 204)
  assert.equal(preflight.headers.get('access-control-allow-origin'), '*')
  assert.equal(preflight.headers.get('access-control-allow-credentials'), null)
  assert.match(preflight.headers.get('access-control-allow-methods') ?? '', /POST.*DELETE/)
  const allowed = preflight.headers.get('access-control-allow-headers') ?? ''
  for (const name of ['authorization', 'content-type', 'x-stainless-lang', 'x-stainless-retry-count']) {
    assert.ok(allowed.includes(name), name)
  }
  const refused = await fetch(`${mesh.url}/v1/accounts/me`, { headers: { origin } })
  assert.equal(refused.status, 401)
  assert.equal(refused.headers.get('access-control-allow-origin'), '*')
  assert.match(refused.headers.get('access-control-expose-headers') ?? '', /x-request-id.*x-mesh-receipt-id/)
  assert.equal(refused.headers.get('cache-control'), 'no-store')
  const plain = await fetch(`${mesh.url}/v1/chat/completions`, { method: 'OPTIONS' })
  assert.equal(plain.status, 204)
  // The SDK in a page asks for these as it asks for everything, with headers of its own.
  const keys = await fetch(`${mesh.url}/.well-known/mesh-receipt-keys.json`, {
    method: 'OPTIONS',
    headers: {
      origin,
      'access-control-request-method': 'GET',
      'access-control-request-headers': 'authorization,x-stainless-lang',
    },
  })
  assert.deepEqual([keys.status, keys.headers.get('access-control-allow-origin')], [204, '*'])
  assert.match(keys.headers.get('access-control-allow-headers') ?? '', /authorization.*x-stainless-lang/)
  const given = await fetch(`${mesh.url}/.well-known/mesh-receipt-keys.json`, { headers: { origin } })
  assert.equal(given.headers.get('access-control-allow-origin'), '*')
  const elsewhere = await fetch(`${mesh.url}/console`, {
    method: 'OPTIONS',
    headers: { origin, 'access-control-request-method': 'GET' },
  })
  assert.equal(elsewhere.headers.get('access-control-allow-origin'), null)
  assert.equal(elsewhere.status, 404)
})

test('the request id is our own', async () => {
  const answer = await fetch(`${mesh.url}/v1/nonsense`, {
    headers: { 'x-request-id': 'theirs', 'request-id': 'theirs' },
  })
  assert.match(answer.headers.get('x-request-id') ?? '', /^req_/)
})

test('bodies that are read at once take a bounded number of bytes, and give them back', async (t) => {
  const body = JSON.stringify({ text: 'x'.repeat(60_000) })
  const head = `POST /v1/api-keys HTTP/1.1\r\nHost: mesh\r\nAuthorization: Bearer ${mesh.operatorKey}\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n`
  const begin = () => {
    const socket = connect(Number(new URL(mesh.url).port), '127.0.0.1')
    t.after(() => socket.destroy())
    let received = ''
    socket.on('data', (chunk) => {
      received += chunk.toString('latin1')
    })
    socket.write(head + body.slice(0, -1))
    return { socket, received: () => received }
  }
  const whole = () => post(body)
  assert.equal((await whole()).status, 200)
  const held = begin()
  await until('the body in hand leaves no room for another', async () => {
    const answer = await whole()
    if (answer.status === 200) return false
    assert.equal(answer.headers.get('retry-after'), '1')
    await refusal(answer, 503, 'overloaded')
    return true
  })
  assert.equal((await post('{}')).status, 200, 'small ones fit in')
  held.socket.write(body.slice(-1))
  await until('the body in hand is answered', () => held.received().startsWith('HTTP/1.1 400 '))
  assert.equal((await whole()).status, 200, 'a body that was parsed gives its room back')
  const left = begin()
  await until('another is in hand', async () => (await whole()).status === 503)
  left.socket.destroy()
  await until('one that was given up gives its room back', async () => (await whole()).status === 200)
})

test('a connection survives a body that was refused', async () => {
  const body = JSON.stringify({ text: 'x'.repeat(BODY_BYTES_MAX) })
  const head = 'POST /v1/chat/completions HTTP/1.1\r\nHost: mesh\r\nContent-Type: application/json\r\n'
  const received = await sendRaw(
    `${head}Content-Length: ${body.length}\r\n\r\n${body}${head}Content-Length: 2\r\nConnection: close\r\n\r\n{}`,
  )
  assert.match(received, /^HTTP\/1\.1 413 /)
  assert.match(received, /HTTP\/1\.1 200 [\s\S]*\{"read":\{\}\}$/)
})

test('no error is written into the middle of an answer', async () => {
  const socket = connect(Number(new URL(mesh.url).port), '127.0.0.1')
  let received = ''
  socket.on('data', (chunk) => {
    received += chunk.toString('latin1')
  })
  socket.write('GET /v1/streams HTTP/1.1\r\nHost: mesh\r\n\r\n')
  await until('the answer has begun', () => received.includes('the beginning'))
  socket.write('NONSENSE\r\n\r\n')
  await once(socket, 'close')
  assert.equal(received.split('HTTP/1.1').length, 2)
})

test('a server that closes refuses what still comes on open connections', async () => {
  await using closing = await startHttpFixture({
    addRoutes: (server) => {
      server.get('/slow', async (request, reply) => {
        await once(request.raw.socket, 'end-the-wait')
        return reply.send({})
      })
    },
  })
  const socket = connect(Number(new URL(closing.url).port), '127.0.0.1')
  let received = ''
  socket.on('data', (chunk) => {
    received += chunk.toString('latin1')
  })
  const accepted = once(closing.server.server, 'request')
  socket.write('GET /slow HTTP/1.1\r\nHost: mesh\r\n\r\n')
  const [request] = await accepted
  const closed = closing.server.close()
  await until('the server takes no connections', () => !closing.server.server.listening)
  const second = once(closing.server.server, 'request')
  socket.write('GET /v1/key HTTP/1.1\r\nHost: mesh\r\n\r\n')
  await second
  request.socket.emit('end-the-wait')
  await until('the second answer has come', () => received.includes('"code":"overloaded"'))
  assert.match(received, /HTTP\/1\.1 503 [\s\S]*retry-after/i)
  socket.destroy()
  await closed
})
