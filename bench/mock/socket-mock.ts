/** The program of `startSocketMock`. Prints its port. */
import { createServer, type Socket } from 'node:net'
import { ACCEPTS, JSON_ANSWER, ROLE_CHUNK, STREAM_ANSWER, TEXT_CHUNK } from '../work.ts'

const HEAD_END = '\r\n\r\n'
const ACCEPTS_STREAM = `accept: ${ACCEPTS.sse}`
/** Streams take turns within the time between two chunks, so that they do not all speak in one moment. */
const TURNS_PER_SECOND = 200

const chunksPerSecond = Number(process.argv[2] ?? 0)
const turns: Set<Socket>[] = Array.from(
  { length: chunksPerSecond > 0 ? Math.max(1, Math.round(TURNS_PER_SECOND / chunksPerSecond)) : 1 },
  () => new Set(),
)
const WHOLE_JSON = answer(ACCEPTS.json, JSON_ANSWER)
const WHOLE_STREAM = answer(ACCEPTS.sse, STREAM_ANSWER)
const STREAM_HEAD = `HTTP/1.1 200 OK\r\ncontent-type: ${ACCEPTS.sse}\r\ntransfer-encoding: chunked\r\n\r\n`
const FIRST_CHUNK = `${STREAM_HEAD}${chunked(ROLE_CHUNK)}`
const NEXT_CHUNK = Buffer.from(chunked(TEXT_CHUNK))

function answer(contentType: string, body: string): Buffer {
  const length = Buffer.byteLength(body)
  return Buffer.from(
    `HTTP/1.1 200 OK\r\ncontent-type: ${contentType}\r\ncontent-length: ${length}${HEAD_END}${body}`,
  )
}

function chunked(text: string): string {
  return `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`
}

function serve(socket: Socket): void {
  let read: Buffer = Buffer.alloc(0)
  socket.setNoDelay(true)
  socket.on('error', () => socket.destroy())
  socket.on('close', () => {
    for (const turn of turns) turn.delete(socket)
  })
  socket.on('data', (bytes: Buffer) => {
    read = read.length === 0 ? bytes : Buffer.concat([read, bytes])
    for (;;) {
      const end = read.indexOf(HEAD_END)
      if (end < 0) return
      const head = read.toString('latin1', 0, end).toLowerCase()
      const length = Number(/content-length: *(\d+)/.exec(head)?.[1] ?? 0)
      const next = end + HEAD_END.length + length
      if (read.length < next) return
      read = read.subarray(next)
      reply(socket, head.includes(ACCEPTS_STREAM))
    }
  })
}

let opened = 0

function reply(socket: Socket, isStreamed: boolean): void {
  if (!isStreamed) socket.write(WHOLE_JSON)
  else if (chunksPerSecond === 0) socket.write(WHOLE_STREAM)
  else {
    socket.write(FIRST_CHUNK)
    turns[opened++ % turns.length]?.add(socket)
  }
}

/** Each of the turns speaks `chunksPerSecond` times a second. A late timer catches up, so that the rate holds. */
function speak(): void {
  const startedAtMs = performance.now()
  let spoken = 0
  setInterval(() => {
    const due = ((performance.now() - startedAtMs) * chunksPerSecond * turns.length) / 1_000
    for (; spoken < due; spoken++) {
      for (const socket of turns[spoken % turns.length] ?? []) socket.write(NEXT_CHUNK)
    }
  }, 2)
}

if (chunksPerSecond > 0) speak()
const server = createServer(serve).listen({ port: 0, host: '127.0.0.1', backlog: 4_096 }, () => {
  const address = server.address()
  process.stdout.write(`${typeof address === 'object' && address !== null ? address.port : ''}\n`)
})
