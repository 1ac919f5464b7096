import { connect, createServer, type Socket } from 'node:net'
import type { TestDatabase } from './test-database.ts'
import { connectionUrl } from './test-router.ts'

export interface WayToDatabase {
  /** What DATABASE_URL takes to go this way. */
  readonly url: string
  cut(): void
  restore(): void
  close(): Promise<void>
}

/** A way to a database that can be cut as a network can: what is open breaks, and nothing new opens. */
export async function startWayTo({ connection }: TestDatabase): Promise<WayToDatabase> {
  if ('url' in connection) throw new Error('a test database is reached by its parts')
  const { host, port } = connection
  const ends = new Set<Socket>()
  let isCut = false
  const server = createServer((near) => {
    if (isCut) return void near.destroy()
    const far = connect(`${host}/.s.PGSQL.${port}`)
    for (const [end, other] of [
      [near, far],
      [far, near],
    ] as const) {
      ends.add(end)
      end.on('error', () => other.destroy()).on('close', () => other.destroy())
      end.pipe(other)
    }
  })
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  const address = server.address()
  const nearPort = address !== null && typeof address === 'object' ? address.port : 0
  return {
    url: connectionUrl({ ...connection, host: '127.0.0.1', port: nearPort }),
    cut(): void {
      isCut = true
      for (const end of ends) end.destroy()
    },
    restore(): void {
      isCut = false
    },
    close: () => new Promise<void>((closed) => server.close(() => closed())),
  }
}
