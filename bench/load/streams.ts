import { once } from 'node:events'
import { createConnection, type Socket } from 'node:net'
import type { Running } from '../subjects/subject.ts'
import { endlessRequestBody, rawRequest } from '../work.ts'

/** Streams that are open, and what has come of them. */
export interface OpenStreams {
  readonly count: () => number
  /** Chunks of text that have come so far. */
  readonly chunks: () => number
  /** Opens more. Resolves when each has begun to speak. Rejects where one is refused. */
  open(count: number): Promise<void>
  close(): void
}

const DATA = Buffer.from('data: ')
/** Connections that are made at once. */
const OPENING_MAX = 50
const PATIENCE_MS = 20_000

/** Opens streams to a server, each on a connection of its own; its callers take turns. */
export function openStreams({ port, callers }: Pick<Running, 'port' | 'callers'>): OpenStreams {
  const requests = callers.map((headers) => rawRequest(port, 'sse', headers, endlessRequestBody()))
  const sockets: Socket[] = []
  let chunks = 0

  async function openOne(): Promise<void> {
    const request = requests[sockets.length % requests.length]
    const socket = createConnection(port, '127.0.0.1')
    sockets.push(socket)
    socket.on('error', () => socket.destroy())
    await once(socket, 'connect')
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    let begun = false
    const patience = setTimeout(() => reject(new Error('a stream did not begin')), PATIENCE_MS)
    socket.on('data', (bytes: Buffer) => {
      if (!begun) {
        if (!bytes.subarray(0, 12).toString('latin1').startsWith('HTTP/1.1 200')) {
          reject(new Error(`a stream was refused: ${bytes.toString('utf8')}`))
          return
        }
        begun = true
        clearTimeout(patience)
        resolve()
      }
      for (let at = bytes.indexOf(DATA); at >= 0; at = bytes.indexOf(DATA, at + DATA.length)) chunks++
    })
    if (request) socket.write(request)
    await promise
  }

  return {
    count: () => sockets.filter((socket) => !socket.destroyed).length,
    chunks: () => chunks,
    async open(count) {
      for (let opened = 0; opened < count; opened += OPENING_MAX) {
        await Promise.all(Array.from({ length: Math.min(OPENING_MAX, count - opened) }, openOne))
      }
    },
    close() {
      for (const socket of sockets) socket.destroy()
    },
  }
}
