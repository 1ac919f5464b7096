import { StartupError } from '../storage/startup-error.ts'
import type { Server } from './server.ts'

/** Where a server listens, and the settings that say so. */
export interface ListeningPlace {
  readonly port: number
  readonly host: string
  readonly portSetting: string
  readonly hostSetting: string
}

/**
 * Listens, and returns the URL.
 * @throws StartupError with one plain sentence where the place cannot be had.
 */
export async function listenAt(server: Server, place: ListeningPlace): Promise<string> {
  const { port, host, portSetting, hostSetting } = place
  try {
    await server.listen({ port, host })
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (code === 'EADDRINUSE') {
      throw new StartupError(
        `Port ${port} on ${host} is in use: stop what uses it, or set ${portSetting} to another one.`,
      )
    }
    if (code === 'EACCES')
      throw new StartupError(`This user may not listen on port ${port}: set ${portSetting} to 1024 or more.`)
    if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND') {
      throw new StartupError(`${host} is not an address of this machine: set ${hostSetting} to one that is.`)
    }
    throw error
  }
  const bound = server.server.address()
  const boundPort = bound !== null && typeof bound === 'object' ? bound.port : port
  const shown = host.includes(':') ? `[${host}]` : host
  return `http://${shown}:${boundPort}`
}
