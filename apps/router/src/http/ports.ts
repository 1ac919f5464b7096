import type { Seams } from '../ids.ts'
import type { Log } from '../log.ts'
import type { Settings } from '../settings.ts'
import type { HttpObserver } from './http-observer.ts'
import { listenAt } from './listen.ts'
import { type RoutesOptions, registerAdminRoutes, registerRoutes } from './routes.ts'
import { createServer, type HttpBounds } from './server.ts'

export interface PortsOptions {
  readonly settings: Pick<Settings, 'port' | 'host' | 'adminPort' | 'adminHost'>
  readonly bounds: HttpBounds
  readonly routes: Omit<RoutesOptions, 'hasAdminPort'>
  readonly observer: HttpObserver
  readonly log: Log
  readonly seams: Seams
}

/** The ports of one process. */
export interface Ports {
  /** The one that callers use. */
  readonly url: string
  /** The operators' own, where one is set. */
  readonly adminUrl?: string
  /** Takes no more connections; resolves when those that have a request, or a part of one, have ended. */
  close(): Promise<void>
  /** Ends those too. */
  closeAllConnections(): void
}

/**
 * Listens for callers, and for operators where they have a port of their own.
 * @throws StartupError with one plain sentence where that cannot be.
 */
export async function openPorts(options: PortsOptions): Promise<Ports> {
  const { settings, routes } = options
  const { port, host, adminPort, adminHost } = settings
  const server = createServer(options)
  const adminServer = adminPort === undefined ? undefined : createServer(options)
  const close = async (): Promise<void> => {
    await Promise.all([server.close(), adminServer?.close()])
  }
  const closeAllConnections = (): void => {
    for (const each of [server, adminServer]) each?.server.closeAllConnections()
  }
  const hasAdminPort = adminServer !== undefined
  registerRoutes(server, { ...routes, hasAdminPort })
  if (adminServer) registerAdminRoutes(adminServer, { ...routes, hasAdminPort })
  try {
    const adminUrl =
      adminServer &&
      (await listenAt(adminServer, {
        port: adminPort ?? 0,
        host: adminHost,
        portSetting: 'MESH_ADMIN_PORT',
        hostSetting: 'MESH_ADMIN_HOST',
      }))
    const url = await listenAt(server, { port, host, portSetting: 'PORT', hostSetting: 'HOST' })
    return { url, ...(adminUrl === undefined ? {} : { adminUrl }), close, closeAllConnections }
  } catch (error) {
    await close()
    throw error
  }
}
