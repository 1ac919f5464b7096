import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { type ClientRequest, get, type IncomingMessage, request, type ServerResponse } from 'node:http'
import { connect, type Socket } from 'node:net'
import { suite, test } from 'node:test'
import type { HttpBounds } from '../src/http/server.ts'
import { assertRecordsAgree, bookOf, chat, nano } from './support/calls.ts'
import { startHttpFixture } from './support/http-fixture.ts'
import { newRouterHome } from './support/router-process.ts'
import { startStreamingUpstream } from './support/streaming-upstream.ts'
import { makeAccount, startTestRouter, type TestAccount, type TestRouter } from './support/test-router.ts'
import { until } from './support/until.ts'

const MEGABYTE = 1_000_000
/** More than what the system itself keeps for a connection on either side of MESH, and less than the model may say. */
const ANSWER_BYTES = 24 * MEGABYTE
const ANSWER = { contentBytes: ANSWER_BYTES, deltaBytes: 40_000, thinksAloud: true }
const MODEL = { model: 'mesh/deepseek-v4-pro', provider: { only: ['deepseek'] }, max_tokens: 384_000 }
/** What a caller may cost in memory, however much waits for him: some chunks on their way in and out. */
const READER_BYTES_MAX = 2 * MEGABYTE

/** A caller on a connection of his own, who takes nothing until he is let. */
function askWithoutReading(url: string, key: string, body: object): Socket {
  const { host, hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  socket.on('error', () => {})
  socket.unref()
  socket.pause()
  const text = JSON.stringify(body)
  socket.write(
    `POST /v1/chat/completions HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer ${key}\r\n` +
      `Connection: close\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
  )
  return socket
}

/** Reads to the end of a connection. */
async function restOf(socket: Socket): Promise<string> {
  let text = ''
  socket.setEncoding('latin1').on('data', (chunk: string) => {
    text += chunk
  })
  socket.resume()
  await until('the connection has ended', () => socket.destroyed)
  return text
}

/** Whether a connection is over, seen by somebody who does not read: line feeds between requests mean nothing. */
async function untilDropped(socket: Socket): Promise<void> {
  await until('the connection was dropped', () => {
    socket.write('\r\n')
    return socket.destroyed
  })
}

interface Slow {
  readonly mesh: TestRouter
  readonly account: TestAccount
  readonly upstream: Awaited<ReturnType<typeof startStreamingUpstream>>
}

/** A router whose live provider says as much as it is let. */
async function withRouter(
  calls: object,
  use: (slow: Slow) => Promise<void>,
  more: object = {},
): Promise<void> {
  const upstream = await startStreamingUpstream(ANSWER)
  const mesh = await startTestRouter({
    environment: { DEEPSEEK_API_KEY: 'a-credential', MESH_DEEPSEEK_BASE_URL: upstream.baseUrl },
    policy: { calls, ...more },
  })
  try {
    await use({ mesh, upstream, account: await mesh.account({ creditUsd: '100.00', livemode: true }) })
  } finally {
    await mesh.stop()
    await upstream.close()
  }
}

/** The event of the account's only call, when all that was held for it is free again. */
async function settledCall({ mesh, account }: Slow) {
  let id = ''
  await until('the call has its event', async () => {
    const { json } = await mesh.request('GET', '/v1/logs', { key: account.key })
    id = json.data[0]?.id ?? ''
    return id !== ''
  })
  const event = await assertRecordsAgree(mesh, account, id)
  assert.deepEqual(await bookOf(mesh.database, account.id, true), {
    balanceNano: nano('100.00') - nano(event.cost.totalUsd),
    heldNano: 0n,
  })
  return event
}

suite('slow readers', { concurrency: true }, () => {
  test('a caller who reads nothing of a stream is cut, and pays for what had come; his provider is stopped', async () => {
    await withRouter({ readerStallMs: 400 }, async (slow) => {
      const { mesh, account, upstream } = slow
      const socket = askWithoutReading(mesh.url, account.key, { ...chat(undefined, MODEL), stream: true })
      const event = await settledCall(slow)
      assert.deepEqual([event.billingReason, event.status], ['client_disconnected', 499])
      const [exchange] = upstream.exchanges
      assert.ok(exchange)
      await until('the provider was stopped', () => exchange.isDropped())
      const { output } = event.tokens
      assert.ok(output > 0 && output * 4 <= exchange.sentBytes() + ANSWER.deltaBytes, `${output} tokens`)
      assert.ok(exchange.sentBytes() < ANSWER_BYTES)
      await untilDropped(socket)
    })
  })

  test('a caller who reads nothing of a whole answer is cut when it has been charged', async () => {
    await withRouter({ readerStallMs: 400 }, async (slow) => {
      const socket = askWithoutReading(slow.mesh.url, slow.account.key, chat(undefined, MODEL))
      const event = await settledCall(slow)
      assert.deepEqual([event.billingReason, event.status], ['completed', 200])
      await untilDropped(socket)
    })
  })

  test('a caller who reads a whole answer slowly gets all of it', async () => {
    await withRouter({ readerStallMs: 2_500 }, async ({ mesh, account }) => {
      const asking = request(`${mesh.url}/v1/chat/completions`, {
        method: 'POST',
        agent: false,
        headers: { authorization: `Bearer ${account.key}`, 'content-type': 'application/json' },
      })
      asking.end(JSON.stringify(chat(undefined, MODEL)))
      assert.ok((await takeSlowly(asking, 250)) > ANSWER_BYTES)
    })
  })

  test('the deadline ends a call though its caller still has to read, and it is charged', async () => {
    await withRouter({ deadlineMs: 2_000 }, async (slow) => {
      const { mesh, account, upstream } = slow
      const socket = askWithoutReading(mesh.url, account.key, { ...chat(undefined, MODEL), stream: true })
      const event = await settledCall(slow)
      assert.deepEqual(
        [event.billingReason, event.status, event.errorCode],
        ['estimated_usage', 504, 'provider_timeout'],
      )
      assert.ok(event.tokens.output > 0)
      assert.ok(upstream.exchanges.every((exchange) => exchange.isDropped()))
      // What is there for him ends with an error, and he may still read it.
      const text = await restOf(socket)
      assert.match(text.slice(-2_000), /"code":"provider_timeout"/)
    })
  })

  test('callers who read nothing do not hold up a shutdown, and are not charged for it', async () => {
    await withRouter(
      {},
      async (slow) => {
        const { mesh, account, upstream } = slow
        askWithoutReading(mesh.url, account.key, { ...chat(undefined, MODEL), stream: true })
        await until('much has come', () => (upstream.exchanges[0]?.sentBytes() ?? 0) > MEGABYTE)
        await mesh.router.stop()
        const { rows } = await mesh.database.pool.query('select billing_reason, held_nano from events')
        assert.equal(rows.length, 1)
        assert.equal(rows[0].billing_reason, 'router_crash')
        assert.equal((await bookOf(mesh.database, account.id, true)).balanceNano, nano('100.00'))
      },
      { shutdown: { drainMs: 200 } },
    )
  })

  test('a reader who takes something, but less than the least rate, is cut', async () => {
    assert.ok(await isCutOff({ readerStallMs: 1_000, readerBytesPerSecondMin: 20 * MEGABYTE }))
  })

  test('a reader who takes as little, where that is enough, gets all', async () => {
    assert.equal(await isCutOff({ readerStallMs: 5_000, readerBytesPerSecondMin: 64 }), false)
  })

  test('no byte waits for its reader longer than an answer may take, whatever he takes now and then', async () => {
    assert.ok(await isCutOff({ readerStallMs: 8_000, readerDeadlineMs: 1_000 }, 3_000))
  })

  test('what callers who do not read cost in memory is bounded, whatever their providers would send', async (t) => {
    if (!existsSync('/proc/self/status'))
      return t.skip('SKIPPED: this system has no /proc to read memory from')
    const readers = 30
    const upstream = await startStreamingUpstream(ANSWER)
    t.after(() => upstream.close())
    const home = await newRouterHome(t)
    const mesh = await home.start({
      DEEPSEEK_API_KEY: 'a-credential',
      MESH_DEEPSEEK_BASE_URL: upstream.baseUrl,
    })
    const credit = { creditUsd: '100.00', livemode: true }
    const { key } = await makeAccount(mesh.request, credit, mesh.adminKey)
    // One answer that is read to its end: after that the program itself has what it needs.
    const body = { ...chat(undefined, MODEL), stream: true }
    assert.match((await mesh.request('POST', '/v1/chat/completions', { key, body })).text.slice(-20), /DONE/)
    const beforeBytes = residentBytes(mesh.pid)
    const sockets = Array.from({ length: readers }, () => askWithoutReading(mesh.url, key, body))
    const sentBytes = (): number[] => upstream.exchanges.slice(1).map((exchange) => exchange.sentBytes())
    let last = ''
    let quietLooks = 0
    await until('the providers have to wait', () => {
      const sent = sentBytes().join()
      quietLooks = sent === last ? quietLooks + 1 : 0
      last = sent
      return sentBytes().length === readers && quietLooks > 50
    })
    const perReaderBytes = (residentBytes(mesh.pid) - beforeBytes) / readers
    t.diagnostic(`${Math.round(perReaderBytes / 1_000)} kB for each of ${readers} callers who do not read`)
    assert.ok(sentBytes().every((bytes) => bytes < ANSWER_BYTES))
    assert.ok(perReaderBytes < READER_BYTES_MAX, `${perReaderBytes} bytes for each reader`)
    for (const socket of sockets) socket.destroy()
  })
})

/** Memory that a process has in use. */
function residentBytes(pid: number): number {
  const [, kilobytes = '0'] = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Number(kilobytes) * 1_024
}

/** Whether a large answer of any route, of which a megabyte is read at a time, is cut off. */
async function isCutOff(bounds: Partial<HttpBounds>, paceMs = 100): Promise<boolean> {
  const over = Promise.withResolvers<boolean>()
  await using mesh = await startHttpFixture({
    bounds,
    addRoutes: (server) => {
      server.get('/large', async (_request, reply) => {
        reply.hijack()
        const { raw } = reply
        raw.once('close', () => over.resolve(!raw.writableFinished))
        const part = Buffer.alloc(16_384, 'x')
        for (let sent = 0; sent < ANSWER_BYTES && !raw.destroyed; sent += part.length) {
          if (!raw.write(part)) await drained(raw)
        }
        raw.end()
      })
    },
  })
  const asking = get(`${mesh.url}/large`, { agent: false })
  void takeSlowly(asking, paceMs)
  const isCut = await over.promise
  asking.destroy()
  return isCut
}

/** Takes the body of an answer a megabyte at a time; resolves to the bytes that came when the connection has ended. */
async function takeSlowly(request: ClientRequest, paceMs: number): Promise<number> {
  let received = 0
  let ahead = 0
  let isOver = false
  request
    .on('error', () => {})
    .once('close', () => {
      isOver = true
    })
  request.once('response', (response: IncomingMessage) => {
    response.on('error', () => {})
    response.on('data', (chunk: Buffer) => {
      received += chunk.length
      ahead += chunk.length
      if (ahead >= MEGABYTE) response.pause()
    })
    const reading = setInterval(() => {
      ahead = 0
      response.resume()
    }, paceMs)
    response.once('close', () => clearInterval(reading))
  })
  await until('the answer has ended', () => isOver)
  return received
}

function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off('drain', done).off('close', done)
      resolve()
    }
    response.on('drain', done).on('close', done)
  })
}
