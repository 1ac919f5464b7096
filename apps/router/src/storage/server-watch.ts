import { statSync, truncateSync } from 'node:fs'
import { type RunningServer, stopServer } from './cluster.ts'
import type { DataFolder } from './data-folder.ts'
import { isRunning } from './postmaster.ts'

const WATCH_INTERVAL_MS = 500
const LOG_BYTES_MAX = 1_048_576

export interface ServerWatch {
  /** Stops watching, and the server. */
  stop(): Promise<void>
}

/**
 * Looks after a server: starts it again when it has died (killed, out of memory) and keeps its log small. PostgreSQL
 * itself looks after its own processes; only the head of them needs this.
 */
export function watchServer(
  first: RunningServer,
  folder: DataFolder,
  start: () => Promise<RunningServer>,
  notice: (text: string) => void,
): ServerWatch {
  let server = first
  let restart: Promise<void> | undefined
  const restartServer = async () => {
    notice('PostgreSQL ended by itself; MESH starts it again.')
    try {
      server = await start()
    } catch (error) {
      // Tried again at the next look; until then calls are answered with storage_unavailable.
      notice(error instanceof Error ? error.message : 'PostgreSQL does not start.')
    }
    restart = undefined
  }
  const timer = setInterval(() => {
    boundLog(folder.logFile)
    if (restart === undefined && !isRunning(server.pid)) restart = restartServer()
  }, WATCH_INTERVAL_MS)
  timer.unref()
  return {
    async stop() {
      clearInterval(timer)
      await restart
      await stopServer(server, folder)
    },
  }
}

/** The server appends to the file that it was given, so it can be emptied under its hands. */
function boundLog(logFile: string): void {
  try {
    if ((statSync(logFile, { throwIfNoEntry: false })?.size ?? 0) > LOG_BYTES_MAX) truncateSync(logFile)
  } catch {
    // A file that another user took away must not end the router; the next look tries again.
  }
}
