import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'

/*
 * A provider in raw bytes, for what no HTTP library lets one send. Live keys reach it by `MESH_<PROVIDER>_BASE_URL`.
 * Nothing here is a protocol: scripts write what they like and end as they like.
 */

/** One request as it came. */
export interface RawRequest {
  /** The first part of the path, which tells whose double is asked: `/openai/…` is `openai`. */
  readonly host: string
  readonly head: string
  readonly body: string
}

/** The way back to whoever asked. */
export interface Wire {
  /** Resolves when the other side can take more; to false when it is gone. */
  write(bytes: string | Uint8Array): Promise<boolean>
  /** Whether the other side is gone. */
  readonly isGone: boolean
  /** Resolves when it is. */
  whenGone(): Promise<void>
  /** Ends the connection in good order. */
  end(): void
  /** Tears it, so that the other side's next read fails. */
  reset(): void
}

export type Script = (wire: Wire, request: RawRequest) => Promise<void> | void

export interface RawUpstream {
  /** What stands in for a provider's own base URL. */
  baseUrl(host: string): string
  readonly port: number
  /** Connections that are open. */
  readonly open: number
  /** Requests that came whole, by host. */
  readonly requests: ReadonlyMap<string, number>
  close(): Promise<void>
}

/** Starts a server that answers every request as `answer` says. */
export async function startRawUpstream(answer: (request: RawRequest) => Script): Promise<RawUpstream> {
  const sockets = new Set<Socket>()
  const requests = new Map<string, number>()
  const server: Server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    sockets.add(socket)
    // Each of the requests of a connection listens for its end.
    socket.setMaxListeners(0)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => socket.destroy())
    socket.on('end', () => socket.destroy())
    serve(socket, (request) => {
      requests.set(request.host, (requests.get(request.host) ?? 0) + 1)
      return answer(request)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' && address ? address.port : 0
  return {
    baseUrl: (host) => `http://127.0.0.1:${port}/${host}`,
    port,
    get open() {
      return sockets.size
    },
    requests,
    async close() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

/** The first byte of a TLS handshake, which this server does not speak. */
const TLS_HANDSHAKE = 0x16

/** Answers the requests of a connection, one after the other. They have a `content-length`, as MESH sends them. */
function serve(socket: Socket, answer: (request: RawRequest) => Script): void {
  let bytes = Buffer.alloc(0)
  socket.on('data', (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk])
    if (bytes[0] === TLS_HANDSHAKE) socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')
    const headEnd = bytes.indexOf('\r\n\r\n')
    if (headEnd < 0) return
    const head = bytes.subarray(0, headEnd).toString('latin1')
    const end = headEnd + 4 + Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0)
    if (bytes.length < end) return
    const body = bytes.subarray(headEnd + 4, end).toString()
    bytes = bytes.subarray(end)
    const request = { host: /^\S+ \/([^/?\s]*)/.exec(head)?.[1] ?? '', head, body }
    void answer(request)(wireOf(socket), request)
  })
}

function wireOf(socket: Socket): Wire {
  const gone = new Promise<void>((resolve) => {
    if (socket.destroyed) resolve()
    else socket.once('close', () => resolve())
  })
  return {
    get isGone() {
      return socket.destroyed
    },
    whenGone: () => gone,
    async write(bytes) {
      if (socket.destroyed) return false
      if (!socket.write(bytes)) await Promise.race([once(socket, 'drain').catch(() => undefined), gone])
      // A turn of the event loop, so that a departure is seen before the next write.
      await new Promise((resume) => setImmediate(resume))
      return !socket.destroyed
    },
    end: () => void socket.end(),
    reset: () => void socket.resetAndDestroy(),
  }
}
