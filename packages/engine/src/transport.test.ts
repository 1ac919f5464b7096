import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import { type AddressInfo, createServer as createNetServer, type Server, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import type { Failure } from './failure.ts'
import type { ResponseHeaders } from './protocol.ts'
import { createTransport, type Receiver, type Transport, type TransportOptions } from './transport.ts'

/** Everything that an exchange told, and promises for what a test waits for. */
class Heard implements Receiver {
  readonly words: string[] = []
  readonly #over = Promise.withResolvers<void>()
  readonly #chunk = Promise.withResolvers<void>()
  readonly #sent = Promise.withResolvers<void>()
  status = 0
  headers: ResponseHeaders = {}
  body = ''
  bytes = 0
  failure: Failure | undefined

  get over(): Promise<void> {
    return this.#over.promise
  }

  get firstChunk(): Promise<void> {
    return this.#chunk.promise
  }

  get sent(): Promise<void> {
    return this.#sent.promise
  }

  onSent(): void {
    this.words.push('sent')
    this.#sent.resolve()
  }

  onHead(status: number, headers: ResponseHeaders): void {
    this.words.push('head')
    this.status = status
    this.headers = headers
  }

  onChunk(bytes: Uint8Array): void {
    this.bytes += bytes.length
    this.body += new TextDecoder().decode(bytes)
    this.#chunk.resolve()
  }

  onEnd(): void {
    this.words.push('end')
    this.#over.resolve()
  }

  onFailure(failure: Failure): void {
    this.words.push('failure')
    this.failure = failure
    this.#over.resolve()
  }
}

async function listen(t: TestContext, server: Server): Promise<number> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return portOf(server)
}

function portOf(server: Server): number {
  const address: AddressInfo | string | null = server.address()
  if (address === null || typeof address === 'string') throw new Error('the server has no port')
  return address.port
}

const serve = (t: TestContext, listener: RequestListener): Promise<number> =>
  listen(t, createServer(listener))

/** A server that speaks bytes rather than HTTP. */
const serveBytes = (t: TestContext, onConnection: (socket: Socket) => void): Promise<number> =>
  listen(t, createNetServer(onConnection))

function transportOf(t: TestContext, options: TransportOptions = {}): Transport {
  const transport = createTransport(options)
  t.after(() => transport.close())
  return transport
}

function post(transport: Transport, port: number, body = '{}') {
  const heard = new Heard()
  const target = { baseUrl: `http://127.0.0.1:${port}/v1/`, headers: { authorization: 'Bearer secret' } }
  const headers = { 'content-type': 'application/json' }
  const exchange = transport.send({ target, path: '/answer', headers, body }, heard)
  return { heard, exchange }
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let body = ''
  for await (const chunk of request) body += String(chunk)
  return body
}

test('a request goes out with its credentials and asks for no compression; the answer comes in chunks', async (t) => {
  let seen: Record<string, unknown> = {}
  const port = await serve(t, async (request, response) => {
    const { method, url, headers } = request
    seen = {
      method,
      url,
      body: await bodyOf(request),
      encoding: headers['accept-encoding'],
      key: headers.authorization,
    }
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write('data: 1\n\n')
    response.end('data: 2\n\n')
  })
  const { heard } = post(transportOf(t), port, '{"a":"ü"}')
  await heard.over
  assert.deepEqual(seen, {
    method: 'POST',
    url: '/v1/answer',
    body: '{"a":"ü"}',
    encoding: 'identity',
    key: 'Bearer secret',
  })
  assert.deepEqual(heard.words, ['sent', 'head', 'end'])
  assert.deepEqual([heard.status, heard.headers['content-type']], [200, 'text/event-stream'])
  assert.equal(heard.body, 'data: 1\n\ndata: 2\n\n')
})

test('a redirect is an answer like any other, and goes nowhere', async (t) => {
  const paths: (string | undefined)[] = []
  const port = await serve(t, (request, response) => {
    paths.push(request.url)
    response.writeHead(307, { location: '/elsewhere' }).end()
  })
  const { heard } = post(transportOf(t), port)
  await heard.over
  assert.deepEqual([heard.status, paths], [307, ['/v1/answer']])
})

test('a connection is used again', async (t) => {
  let connections = 0
  const server = createServer((_, response) => response.end('{}'))
  server.on('connection', () => connections++)
  const port = await listen(t, server)
  const transport = transportOf(t)
  await post(transport, port).heard.over
  // The connection is free when its last byte has been dealt with, a turn after the end is heard.
  await new Promise((resolve) => setImmediate(resolve))
  await post(transport, port).heard.over
  assert.equal(connections, 1)
})

test('a refused connection was never dispatched', async (t) => {
  const server = createServer()
  const port = await listen(t, server)
  server.close()
  await once(server, 'close')
  const { heard } = post(transportOf(t), port)
  await heard.over
  assert.deepEqual(heard.words, ['failure'])
  assert.deepEqual(heard.failure, { outcome: 'not_dispatched', reason: 'connect_failed' })
})

test('a name that does not resolve was never dispatched', async (t) => {
  const heard = new Heard()
  const target = { baseUrl: 'http://nowhere.invalid', headers: {} }
  transportOf(t).send({ target, path: '/', headers: {}, body: '' }, heard)
  await heard.over
  assert.deepEqual(heard.failure, { outcome: 'not_dispatched', reason: 'connect_failed' })
})

test('a request that cannot be written was never dispatched, and its failure does not quote it', async (t) => {
  const heard = new Heard()
  const target = { baseUrl: 'http://127.0.0.1:9', headers: { authorization: 'Bearer se\ncret' } }
  transportOf(t).send({ target, path: '/', headers: {}, body: '' }, heard)
  await heard.over
  assert.deepEqual(heard.failure, { outcome: 'not_dispatched', reason: 'connect_failed' })
})

const BREAKS: readonly (readonly [string, (socket: Socket) => void, readonly string[], Failure['reason']])[] =
  [
    ['a reset before the head', (socket) => socket.resetAndDestroy(), ['sent', 'failure'], 'connection_cut'],
    ['an end before the head', (socket) => socket.end(), ['sent', 'failure'], 'connection_cut'],
    [
      'a reset within the body',
      (socket) =>
        socket.write('HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nhello', () =>
          setImmediate(() => socket.resetAndDestroy()),
        ),
      ['sent', 'head', 'failure'],
      'connection_cut',
    ],
    [
      'an end before the length that was promised',
      (socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nhello'),
      ['sent', 'head', 'failure'],
      'connection_cut',
    ],
    [
      'an end within a chunked body',
      (socket) => socket.end('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n'),
      ['sent', 'head', 'failure'],
      'connection_cut',
    ],
    [
      'something that is not HTTP',
      (socket) => socket.end('SSH-2.0-OpenSSH\r\n'),
      ['sent', 'failure'],
      'malformed',
    ],
    [
      'headers without end',
      (socket) => socket.write(`HTTP/1.1 200 OK\r\nx: ${'y'.repeat(40_000)}\r\n`),
      ['sent', 'failure'],
      'oversized',
    ],
  ]

for (const [name, breakOff, words, reason] of BREAKS) {
  test(`${name} is uncertain: ${reason}`, async (t) => {
    const port = await serveBytes(t, (socket) => socket.once('data', () => breakOff(socket)))
    const { heard } = post(transportOf(t), port)
    await heard.over
    assert.deepEqual(heard.words, words)
    assert.deepEqual(heard.failure, { outcome: 'uncertain', reason })
  })
}

test('an answer beyond its bound is dropped', async (t) => {
  const closed = Promise.withResolvers<void>()
  const port = await serve(t, (_, response) => {
    response.on('close', () => closed.resolve())
    response.write('x'.repeat(600))
    response.write('x'.repeat(600))
  })
  const { heard } = post(transportOf(t, { responseBytesMax: 1_000 }), port)
  await heard.over
  assert.deepEqual(heard.failure, { outcome: 'uncertain', reason: 'oversized' })
  await closed.promise
})

test('a stalled answer stays open until it is aborted, and then says no more', async (t) => {
  const closed = Promise.withResolvers<void>()
  const port = await serve(t, (_, response) => {
    response.on('close', () => closed.resolve())
    response.write('hello')
  })
  const { heard, exchange } = post(transportOf(t), port)
  await heard.firstChunk
  exchange.abort()
  await closed.promise
  exchange.pause()
  exchange.resume()
  assert.deepEqual(heard.words, ['sent', 'head'])
})

test('a request that is aborted while it waits for a connection never leaves', async (t) => {
  const received: string[] = []
  const port = await serve(t, async (request, response) => {
    received.push(await bodyOf(request))
    response.end('{}')
  })
  const transport = transportOf(t)
  const { heard, exchange } = post(transport, port, 'aborted')
  exchange.abort()
  await post(transport, port, 'kept').heard.over
  assert.deepEqual(heard.words, [])
  assert.deepEqual(received, ['kept'])
})

test('a slow drip arrives whole', async (t) => {
  const port = await serve(t, (_, response) => {
    let left = 50
    const drip = (): void => {
      response.write('.')
      if (--left > 0) setImmediate(drip)
      else response.end()
    }
    drip()
  })
  const { heard } = post(transportOf(t), port)
  await heard.over
  assert.equal(heard.body, '.'.repeat(50))
})

test('a paused exchange takes no more, and the server feels it', async (t) => {
  const answer: { response?: ServerResponse } = {}
  const total = 32 * 1024 * 1024
  const port = await serve(t, (_, response) => {
    answer.response = response
    let left = total
    const push = (): void => {
      while (left > 0) {
        left -= 65_536
        if (!response.write('x'.repeat(65_536))) {
          response.once('drain', push)
          return
        }
      }
      response.end()
    }
    push()
  })
  const { heard, exchange } = post(transportOf(t), port)
  await heard.firstChunk
  exchange.pause()
  await quiet(() => heard.bytes)
  assert.ok(heard.bytes < total / 2)
  assert.equal(answer.response?.writableEnded, false)
  exchange.resume()
  await heard.over
  assert.equal(heard.bytes, total)
})

/** Resolves when a measure has stopped growing. */
async function quiet(measure: () => number): Promise<void> {
  for (let same = 0, last = measure(); same < 200; ) {
    await new Promise((resolve) => setImmediate(resolve))
    same = measure() === last ? same + 1 : 0
    last = measure()
  }
}

test('more exchanges than an origin may have are refused before dispatch, and room is made by those that end', async (t) => {
  const waiting: ServerResponse[] = []
  const port = await serve(t, (_, response) => {
    waiting.push(response)
  })
  const transport = transportOf(t, { exchangesPerOriginMax: 2 })
  const running = [post(transport, port), post(transport, port)]
  await Promise.all(running.map(({ heard }) => heard.sent))
  const refused = post(transport, port)
  assert.deepEqual(refused.heard.failure, { outcome: 'not_dispatched', reason: 'overloaded' })
  running[0]?.exchange.abort()
  const next = post(transport, port)
  await next.heard.sent
  assert.deepEqual(next.heard.words, ['sent'])
})

test('closing ends what still runs', async (t) => {
  const port = await serve(t, (_, response) => {
    response.write('hello')
  })
  const transport = createTransport()
  const { heard } = post(transport, port)
  await heard.firstChunk
  await transport.close()
  await heard.over
  assert.deepEqual(heard.failure, { outcome: 'uncertain', reason: 'connection_cut' })
})

test('https goes through the proxy that is set, but for the hosts that are not to', async (t) => {
  const asked: string[] = []
  const proxy = createServer()
  proxy.on('connect', (request, socket) => {
    asked.push(String(request.url))
    socket.end('HTTP/1.1 503 Service Unavailable\r\n\r\n')
  })
  const proxyPort = await listen(t, proxy)
  const direct = await serve(t, (_, response) => response.end('{}'))
  const transport = transportOf(t, {
    proxy: { httpsProxy: `http://127.0.0.1:${proxyPort}`, noProxy: '127.0.0.1' },
  })
  const heard = new Heard()
  transport.send(
    { target: { baseUrl: 'https://provider.test', headers: {} }, path: '/', headers: {}, body: '' },
    heard,
  )
  await heard.over
  assert.deepEqual(asked, ['provider.test:443'])
  assert.deepEqual(heard.failure, { outcome: 'not_dispatched', reason: 'connect_failed' })
  const straight = post(transport, direct).heard
  await straight.over
  assert.equal(straight.status, 200)
})
