import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { openFilesMax } from '../src/open-files.ts'
import { chat, open, send } from './support/calls.ts'
import { type HttpFixture, startHttpFixture } from './support/http-fixture.ts'
import { newRouterHome } from './support/router-process.ts'
import { until } from './support/until.ts'

const CROWD = 10_000
/** So that as many fit into the share of open files that is for callers, and this process has as many too. */
const FILES_FOR_CROWD = 14_000
/** How many connect at once: fewer than the system keeps in its queue. */
const AT_ONCE = 250
/** What a connection may cost on which nothing is asked. */
const IDLE_CONNECTION_BYTES_MAX = 30_000

/** A connection in the hands of a test. */
interface Connection {
  readonly socket: Socket
  received(): string
  isOver(): boolean
}

async function newConnection(url: string, asked = ''): Promise<Connection> {
  const { port, hostname } = new URL(url)
  const socket = connect(Number(port), hostname)
  let received = ''
  let isOver = false
  socket.on('error', () => {})
  socket.unref()
  socket.on('data', (chunk) => {
    received += chunk.toString('latin1')
  })
  socket.once('close', () => {
    isOver = true
  })
  await Promise.race([once(socket, 'connect'), once(socket, 'close')])
  if (asked !== '') socket.write(asked)
  return { socket, received: () => received, isOver: () => isOver }
}

/** Opens so many connections; on each one `asked` is sent. */
async function newConnections(url: string, count: number, asked = ''): Promise<Connection[]> {
  const all: Connection[] = []
  while (all.length < count) {
    const wave = Math.min(AT_ONCE, count - all.length)
    all.push(...(await Promise.all(Array.from({ length: wave }, () => newConnection(url, asked)))))
  }
  return all
}

function ask(path: string): string {
  return `GET ${path} HTTP/1.1\r\nHost: mesh\r\n\r\n`
}

const answersIn = (text: string): number => text.split('HTTP/1.1 ').length - 1

/** Memory that a process has in use; nothing where the system does not tell. */
function residentBytes(pid: number): number | undefined {
  const file = `/proc/${pid}/status`
  if (!existsSync(file)) return undefined
  return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(file, 'utf8'))?.[1] ?? 0) * 1_024
}

interface WaitingServer extends AsyncDisposable {
  readonly mesh: HttpFixture
  /** Answers whoever asked `/waits`. */
  letGo(): void
}

/** A server with a route that answers when it is let, and one that answers at once. */
async function startWaiting(connectionsMax: number): Promise<WaitingServer> {
  const waiting: (() => void)[] = []
  const letGo = (): void => {
    for (const goOn of waiting.splice(0)) goOn()
  }
  const mesh = await startHttpFixture({
    bounds: { connectionsMax },
    addRoutes: (server) => {
      server.get('/waits', async () => {
        await new Promise<void>((resolve) => waiting.push(resolve))
        return {}
      })
      server.get('/quick', async () => ({}))
    },
  })
  return {
    mesh,
    letGo,
    async [Symbol.asyncDispose]() {
      letGo()
      mesh.server.server.closeAllConnections()
      await mesh[Symbol.asyncDispose]()
    },
  }
}

suite('crowds', { concurrency: true }, () => {
  test(`${CROWD} idle connections keep nobody out, cost little, and hold no shutdown up`, async (t) => {
    const files = openFilesMax() ?? Number.POSITIVE_INFINITY
    if (files < FILES_FOR_CROWD) {
      return t.skip(`SKIPPED: a process may open ${files} files here, and ${FILES_FOR_CROWD} are needed`)
    }
    const home = await newRouterHome(t)
    const settings = join(home.scratch, 'settings.json')
    await writeFile(settings, JSON.stringify({ http: { headersTimeoutMs: 60_000 } }))
    const mesh = await home.start({ MESH_SETTINGS: settings })
    const key = mesh.testKey ?? ''
    assert.equal((await send(mesh, key, chat())).status, 200)
    const before = residentBytes(mesh.pid)
    const silent = await newConnections(mesh.url, CROWD / 2)
    const served = await newConnections(mesh.url, CROWD / 2, ask('/healthz'))
    await until('half of them are answered', () => served.every(({ received }) => received() !== ''), 60_000)
    const after = residentBytes(mesh.pid)
    if (before !== undefined && after !== undefined) {
      const eachBytes = Math.round((after - before) / CROWD)
      t.diagnostic(`${eachBytes} bytes for each idle connection`)
      assert.ok(eachBytes < IDLE_CONNECTION_BYTES_MAX)
    }
    const idle = [...silent, ...served]
    assert.ok(idle.every(({ isOver }) => !isOver()))
    assert.equal((await send(mesh, key, chat())).status, 200)

    const running = open(mesh, key, chat('tokens=100,stall=4', { stream: true }))
    await until('a call runs', () => running.text().includes('content'))
    mesh.signal('SIGTERM')
    await until('nobody idle is left', () => idle.every(({ isOver }) => isOver()), 60_000)
    assert.equal(running.isEnded(), false)
    running.destroy()
    assert.equal((await mesh.ended).code, 0)
  })

  test('more connections than files can be opened end no call, and keep none out', async (t) => {
    const home = await newRouterHome(t)
    const mesh = await home.start({}, 600)
    const key = mesh.testKey ?? ''
    const running = open(mesh, key, chat('tokens=100,stall=4', { stream: true }))
    await until('a call runs', () => running.text().includes('content'))
    const crowd = await newConnections(mesh.url, 1_000)
    for (let round = 0; round < 3; round++) {
      assert.equal((await send(mesh, key, chat('tokens=10', { stream: round % 2 === 0 }))).status, 200)
      crowd.push(...(await newConnections(mesh.url, 200, ask('/healthz'))))
    }
    await until('there is room for some only', () => crowd.filter(({ isOver }) => isOver()).length > 700)
    assert.ok(crowd.some(({ isOver }) => !isOver()))
    assert.equal(running.isEnded(), false)
    for (const { socket } of crowd) socket.destroy()
    running.destroy()
    assert.equal((await mesh.kill('SIGTERM')).code, 0)
  })

  test('who connects and asks nothing, or nothing more, is closed in time', async () => {
    await using mesh = await startHttpFixture({
      bounds: { headersTimeoutMs: 300, keepAliveTimeoutMs: 300, requestTimeoutMs: 1_000 },
    })
    const silent = await newConnections(mesh.url, 20)
    const halfway = await newConnections(mesh.url, 20, 'GET /v1/key HTTP/1.1\r\nHo')
    const served = await newConnections(mesh.url, 20, ask('/v1/key'))
    const nonsense = await newConnections(mesh.url, 20, 'NONSENSE\r\n\r\n')
    const all = [...silent, ...halfway, ...served, ...nonsense]
    await until('all are closed', () => all.every(({ isOver }) => isOver()))
    for (const { received } of [...silent, ...halfway]) assert.match(received(), /^HTTP\/1\.1 408 /)
    for (const { received } of served) assert.match(received(), /^HTTP\/1\.1 401 /)
    for (const { received } of nonsense) assert.match(received(), /^HTTP\/1\.1 400 /)
  })

  test('where there is no room, whoever is idle longest makes some', async () => {
    await using waiting = await startWaiting(10)
    const { mesh, letGo } = waiting
    const busy = await newConnection(mesh.url, ask('/waits'))
    // Two questions at once: after the first answer nothing is idle yet.
    const doubly = await newConnection(mesh.url, ask('/quick') + ask('/waits'))
    await until('the first of two is answered', () => answersIn(doubly.received()) === 1)
    const idle: Connection[] = []
    for (let one = 0; one < 8; one++) idle.push(await newConnection(mesh.url, one % 2 ? ask('/quick') : ''))
    await until('all are answered', () => idle.filter(({ received }) => received() !== '').length === 4)
    const late = await newConnections(mesh.url, 3, ask('/quick'))
    await until('the late are answered', () => late.every(({ received }) => received() !== ''))
    for (const { received } of late) assert.match(received(), /^HTTP\/1\.1 200 /)
    await until('three made room', () => idle.filter(({ isOver }) => isOver()).length === 3)
    letGo()
    await until('nobody who waited was closed', () => answersIn(busy.received() + doubly.received()) === 3)
  })

  test('where everybody waits for an answer, the next is told so, and served once there is room', async () => {
    await using waiting = await startWaiting(10)
    const { mesh, letGo } = waiting
    const arrived = mesh.server.server
    let requests = 0
    arrived.on('request', () => {
      requests++
    })
    const busy = await newConnections(mesh.url, 10, ask('/waits'))
    await until('all wait', () => requests === 10)
    const late = await newConnections(mesh.url, 5, ask('/quick'))
    await until('the late are told', () => late.every(({ isOver }) => isOver()))
    for (const { received } of late) {
      assert.match(received(), /^HTTP\/1\.1 503 /)
      assert.match(received(), /retry-after: 1\r\n/i)
      assert.match(received(), /connection: close\r\n/i)
      assert.match(received(), /"code":"overloaded"/)
    }
    letGo()
    await until('all are answered', () => busy.every(({ received }) => answersIn(received()) === 1))
    const next = await newConnection(mesh.url, ask('/quick'))
    await until('the next is served', () => next.received().startsWith('HTTP/1.1 200 '))
  })
})
