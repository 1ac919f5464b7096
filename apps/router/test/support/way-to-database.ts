import { connect, createServer, type Socket } from 'node:net'
import type { TestDatabase } from './test-database.ts'
import { connectionUrl } from './test-router.ts'

export interface WayToDatabase {
  /** What DATABASE_URL takes to go this way. */
  readonly url: string
  /** Connections that are open on it. */
  readonly connections: number
  /** Resets what is open, and whatever opens later. */
  cut(): void
  /** Lets no byte pass in either direction and closes nothing, as where packets vanish. */
  freeze(): void
  /** Freezes what is open for ever, and nothing that opens later: as where the other end has moved away. */
  strand(): void
  /** From now on every byte takes so much longer to the database, and back from it. */
  delay(thereMs: number, backMs?: number): void
  /** Takes cut, freeze and delay back. What was sent into a freeze arrives. */
  restore(): void
  close(): Promise<void>
}

/** What a frozen or slow way holds of one direction; the sender is stopped beyond it, as a full window stops him. */
const WAITING_BYTES_MAX = 1024 * 1024

interface Weather {
  isCut: boolean
  isFrozen: boolean
  thereMs: number
  backMs: number
}

/**
 * A way to a database that can fail as networks do: cut, frozen, slow. It leads to whatever listens on the database's
 * socket at the time, so it outlives a restart of the server.
 */
export async function startWayTo({ connection }: Pick<TestDatabase, 'connection'>): Promise<WayToDatabase> {
  if ('url' in connection) throw new Error('a test database is reached by its parts')
  const { host, port } = connection
  const weather: Weather = { isCut: false, isFrozen: false, thereMs: 0, backMs: 0 }
  const open = new Map<Socket, readonly [there: Direction, back: Direction]>()
  const drop = (near: Socket, far: Socket): void => {
    for (const direction of open.get(near) ?? []) direction.stop()
    open.delete(near)
    reset(near)
    far.destroy()
  }
  const server = createServer({ allowHalfOpen: true }, (near) => {
    near.on('error', () => undefined)
    if (weather.isCut) return reset(near)
    const far = connect({ path: `${host}/.s.PGSQL.${port}`, allowHalfOpen: true })
    far.on('error', () => drop(near, far))
    far.on('close', () => open.delete(near))
    open.set(near, [
      new Direction(near, far, weather, () => weather.thereMs),
      new Direction(far, near, weather, () => weather.backMs),
    ])
  })
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  const address = server.address()
  const nearPort = address !== null && typeof address === 'object' ? address.port : 0
  const dropAll = (): void => {
    for (const [near, [there]] of open) drop(near, there.to)
  }
  return {
    url: connectionUrl({ ...connection, host: '127.0.0.1', port: nearPort }),
    get connections() {
      return open.size
    },
    cut(): void {
      weather.isCut = true
      dropAll()
    },
    freeze(): void {
      weather.isFrozen = true
    },
    strand(): void {
      for (const directions of open.values()) for (const direction of directions) direction.stop()
    },
    delay(thereMs: number, backMs: number = thereMs): void {
      Object.assign(weather, { thereMs, backMs })
    },
    restore(): void {
      Object.assign(weather, { isCut: false, isFrozen: false, thereMs: 0, backMs: 0 })
      for (const directions of open.values()) for (const direction of directions) direction.hurry()
    },
    close: () =>
      new Promise<void>((closed) => {
        server.close(() => closed())
        dropAll()
      }),
  }
}

/** A connection that is saying goodbye cannot be reset: Node would wait for the goodbye when the process ends, for ever. */
function reset(socket: Socket): void {
  if (socket.writableEnded) socket.destroy()
  else socket.resetAndDestroy()
}

/** Carries one direction of a connection, in order, each piece when its time has come. */
class Direction {
  readonly to: Socket
  readonly #from: Socket
  readonly #weather: Weather
  #waiting: { readonly dueAtMs: number; readonly bytes: Buffer | undefined }[] = []
  #waitingBytes = 0
  #timer: NodeJS.Timeout | undefined
  #isStopped = false

  constructor(from: Socket, to: Socket, weather: Weather, delayMs: () => number) {
    this.#from = from
    this.to = to
    this.#weather = weather
    const take = (bytes: Buffer | undefined): void => {
      this.#waiting.push({ dueAtMs: performance.now() + delayMs(), bytes })
      this.#waitingBytes += bytes?.length ?? 0
      if (this.#waitingBytes > WAITING_BYTES_MAX) from.pause()
      this.#carry()
    }
    from.on('data', take)
    // A side that goes is not seen to go before its last bytes have passed.
    from.on('end', () => take(undefined))
    from.on('close', () => take(undefined))
  }

  /** What waits is due at once. */
  hurry(): void {
    this.#waiting = this.#waiting.map(({ bytes }) => ({ dueAtMs: 0, bytes }))
    this.#carry()
  }

  /** Carries nothing any more. */
  stop(): void {
    this.#isStopped = true
    clearTimeout(this.#timer)
  }

  #carry(): void {
    clearTimeout(this.#timer)
    if (this.#weather.isFrozen || this.#isStopped) return
    for (let first = this.#waiting[0]; first; first = this.#waiting[0]) {
      const waitMs = first.dueAtMs - performance.now()
      if (waitMs > 0) {
        this.#timer = setTimeout(() => this.#carry(), waitMs)
        return
      }
      this.#waiting.shift()
      this.#waitingBytes -= first.bytes?.length ?? 0
      if (first.bytes === undefined) this.to.end()
      else if (this.to.writable) this.to.write(first.bytes)
    }
    this.#from.resume()
  }
}
