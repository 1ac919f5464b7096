import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { StartupError } from './startup-error.ts'

/** The right to use a folder, held by one process at a time. */
export interface HomeLock {
  release(): void
}

const SQLITE_BUSY = 5

/**
 * Takes the folder for this process, or returns `undefined` where another process has it. The lock is the system's
 * own on an open file, by way of SQLite, for Node offers it nowhere else: it ends with the process however that
 * ends, so there is nothing to go stale.
 */
export function lockHome(home: string): HomeLock | undefined {
  const file = join(home, 'lock')
  try {
    const holder = new DatabaseSync(file, { timeout: 0 })
    try {
      holder.exec('begin exclusive')
    } catch (error) {
      holder.close()
      throw error
    }
    return { release: () => holder.close() }
  } catch (error) {
    if (error instanceof Error && 'errcode' in error && error.errcode === SQLITE_BUSY) return undefined
    throw new StartupError(
      `This user may not use ${home}: start MESH as the user who made it, or set MESH_HOME.`,
      error,
    )
  }
}
