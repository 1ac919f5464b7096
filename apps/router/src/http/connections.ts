import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** Connections beyond the bound that are kept for a moment, to be told that they are too many. */
const EXCESS_CONNECTIONS_MAX = 64

/**
 * The connections of one server. Who only keeps one open must not keep others out: when the server has as many as it
 * takes, the one that is idle longest makes room for the next, as nginx does it
 * (https://nginx.org/en/docs/ngx_core_module.html#worker_connections); where none is idle, the newest is told that
 * it is too many. When the server closes, idle ones are not waited for.
 */
export class Connections {
  readonly #server: Server
  readonly #countMax: number
  readonly #open = new Set<Socket>()
  /** Those with no request under way, the longest idle first. */
  readonly #idle = new Set<Socket>()
  /** How many requests are under way on the others: more than one where a client does not wait for its answers. */
  readonly #asked = new WeakMap<Socket, number>()
  readonly #excess = new WeakSet<Socket>()

  constructor(server: Server, countMax: number) {
    this.#server = server
    this.#countMax = countMax
    server.maxConnections = countMax + EXCESS_CONNECTIONS_MAX
    server.on('connection', (socket) => this.#take(socket))
    server.on('request', (request, response) => this.#serve(request.socket, response))
  }

  /** Whether a request came on a connection for which there was no room. */
  isExcess({ socket }: IncomingMessage): boolean {
    return this.#excess.has(socket)
  }

  #take(socket: Socket): void {
    this.#open.add(socket)
    socket.once('close', () => this.#forget(socket))
    const [longestIdle] = this.#idle
    if (this.#open.size <= this.#countMax) this.#idle.add(socket)
    else if (longestIdle === undefined) this.#excess.add(socket)
    else {
      this.#drop(longestIdle)
      this.#idle.add(socket)
    }
  }

  #serve(socket: Socket, response: ServerResponse): void {
    this.#idle.delete(socket)
    this.#asked.set(socket, (this.#asked.get(socket) ?? 0) + 1)
    response.once('close', () => {
      const asked = (this.#asked.get(socket) ?? 1) - 1
      this.#asked.set(socket, asked)
      if (asked === 0 && this.#open.has(socket)) this.#idle.add(socket)
      // Node ends idle connections when it stops to listen, once: those that are idle later would be waited for.
      if (!this.#server.listening) this.#server.closeIdleConnections()
    })
  }

  /** Forgotten at once: its end is heard of too late for those who come in the same moment. */
  #drop(socket: Socket): void {
    this.#forget(socket)
    socket.destroy()
  }

  #forget(socket: Socket): void {
    this.#open.delete(socket)
    this.#idle.delete(socket)
  }
}
