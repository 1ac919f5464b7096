import { dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { StartupError } from './startup-error.ts'

/** The right to use a folder, or to change a file, held by one process at a time. */
export interface HomeLock {
  release(): void
}

const SQLITE_BUSY = 5

/** Takes the folder for this process, or returns `undefined` where another process has it. */
export function lockHome(home: string): HomeLock | undefined {
  return lockBy(join(home, 'lock'))
}

/**
 * Says that this process is a worker on the folder; any number of them may be, beside the process that has it. That
 * keeps the next one away while they end the calls of one that was killed. `undefined` where that next one looks at
 * the moment.
 */
export function lockHomeAsWorker(home: string): HomeLock | undefined {
  // A transaction that has read holds SQLite's shared lock until it ends.
  return lockBy(workersFile(home), 'begin; select count(*) from sqlite_schema')
}

/** Whether workers are on a folder. To be asked by whoever has it, before he has workers himself. */
export function hasWorkers(home: string): boolean {
  const alone = lockBy(workersFile(home))
  alone?.release()
  return alone === undefined
}

function workersFile(home: string): string {
  return join(home, 'workers.lock')
}

/**
 * Takes what a file stands for, or returns `undefined` where another process has it. The lock is the system's own on
 * an open file, by way of SQLite, for Node offers it nowhere else: it ends with the process however that ends, so
 * there is nothing to go stale.
 */
export function lockBy(file: string, statement = 'begin exclusive'): HomeLock | undefined {
  try {
    const holder = new DatabaseSync(file, { timeout: 0 })
    try {
      holder.exec(statement)
    } catch (error) {
      holder.close()
      throw error
    }
    return { release: () => holder.close() }
  } catch (error) {
    if (error instanceof Error && 'errcode' in error && error.errcode === SQLITE_BUSY) return undefined
    throw new StartupError(
      `This user may not use ${dirname(file)}: start MESH as the user who made it, or set MESH_HOME.`,
      error,
    )
  }
}
