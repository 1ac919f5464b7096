import { once } from 'node:events'
import { createConnection, type Socket } from 'node:net'
import { rawRequest, requestBody } from '../work.ts'
import { type Load, type LoadResult, type LoadTarget, percentiles } from './load.ts'

const HEAD_END = '\r\n\r\n'
const LAST_CHUNK = '0\r\n\r\n'

/** The generator where there is no h2load: sockets of this process. Its own ceiling is lower, and is printed. */
export const socketLoad: Load = {
  name: 'sockets of the bench itself',
  async closedLoop(target, connections, seconds) {
    const run = new Run(seconds)
    const clients = await openClients(target, connections, run)
    for (const client of clients) client.ask()
    return await run.end(clients)
  },
  async fixedRate(target, perSecond, seconds) {
    const run = new Run(seconds)
    const clients = await openClients(target, Math.min(64, perSecond), run)
    let asked = 0
    const startedAtMs = performance.now()
    const asking = setInterval(() => {
      const due = ((performance.now() - startedAtMs) * perSecond) / 1_000
      for (; asked < due; asked++) clients[asked % clients.length]?.enqueue(performance.now())
    }, 1)
    const result = await run.end(clients)
    clearInterval(asking)
    return result
  },
}

class Run {
  readonly seconds: number
  readonly latenciesMs: number[] = []
  failed = 0
  isOver = false

  constructor(seconds: number) {
    this.seconds = seconds
  }

  async end(clients: readonly Client[]): Promise<LoadResult> {
    const startedAtMs = performance.now()
    const { promise, resolve } = Promise.withResolvers<void>()
    setTimeout(resolve, this.seconds * 1_000)
    await promise
    this.isOver = true
    const seconds = (performance.now() - startedAtMs) / 1_000
    for (const client of clients) client.close()
    const { failed, latenciesMs } = this
    return { calls: latenciesMs.length, failed, seconds, ...percentiles(latenciesMs) }
  }
}

async function openClients(target: LoadTarget, count: number, run: Run): Promise<Client[]> {
  const request = rawRequest(target.port, target.kind, target.headers, requestBody(target.kind))
  return await Promise.all(
    Array.from({ length: count }, async () => {
      const socket = createConnection(target.port, '127.0.0.1')
      await once(socket, 'connect')
      return new Client(socket, request, run)
    }),
  )
}

/** One connection. Asks the next when its answer has come, or when the next is due, whichever is later. */
class Client {
  readonly #socket: Socket
  readonly #request: Buffer
  readonly #run: Run
  readonly #due: number[] = []
  #isAsking = false
  #isClosedLoop = false
  #askedAtMs = 0
  #answer = ''

  constructor(socket: Socket, request: Buffer, run: Run) {
    this.#socket = socket.setNoDelay(true).setEncoding('latin1')
    this.#request = request
    this.#run = run
    socket.on('data', (text: string) => this.#take(text))
    socket.on('error', () => socket.destroy())
  }

  ask(): void {
    this.#isClosedLoop = true
    this.#send(performance.now())
  }

  /** A call that has to wait for an earlier one is as late as its caller sees it. */
  enqueue(dueAtMs: number): void {
    if (this.#isAsking) this.#due.push(dueAtMs)
    else this.#send(dueAtMs)
  }

  close(): void {
    this.#socket.destroy()
  }

  #send(sinceMs: number): void {
    this.#isAsking = true
    this.#askedAtMs = sinceMs
    this.#answer = ''
    this.#socket.write(this.#request)
  }

  #take(text: string): void {
    this.#answer += text
    if (!isWhole(this.#answer)) return
    this.#isAsking = false
    if (this.#run.isOver) return
    if (this.#answer.startsWith('HTTP/1.1 200')) {
      this.#run.latenciesMs.push(performance.now() - this.#askedAtMs)
    } else this.#run.failed++
    const next = this.#isClosedLoop ? performance.now() : this.#due.shift()
    if (next !== undefined) this.#send(next)
  }
}

function isWhole(answer: string): boolean {
  const end = answer.indexOf(HEAD_END)
  if (end < 0) return false
  const length = /\r\ncontent-length: *(\d+)/i.exec(answer.slice(0, end))?.[1]
  if (length === undefined) return answer.endsWith(LAST_CHUNK)
  return answer.length >= end + HEAD_END.length + Number(length)
}
