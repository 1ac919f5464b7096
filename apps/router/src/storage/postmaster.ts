import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'

/** The running server of a data folder, as it describes itself in `postmaster.pid`. */
export interface Postmaster {
  readonly pid: number
  readonly socketFolder: string
  /** Whether it says that it takes connections: it is neither starting nor stopping. */
  readonly ready: boolean
}

/**
 * The server that runs on a data folder, be it still starting or already stopping; `undefined` where none does,
 * whatever a dead one left behind, and for the instant in which a new one has not described itself yet.
 * https://www.postgresql.org/docs/18/storage-file-layout.html
 */
export function livePostmaster(dataFolder: string): Postmaster | undefined {
  const [pid, , , , socketFolder, , , status] = readOrNothing(postmasterFile(dataFolder)).split('\n')
  if (!Number(pid) || !socketFolder || !isPostmaster(Number(pid), dataFolder)) return undefined
  return { pid: Number(pid), socketFolder, ready: status?.trim() === 'ready' }
}

/**
 * Whether a process is the server of a data folder, and neither dead nor another one that has its number by now:
 * in a container the numbers of the last run come again.
 */
export function isPostmaster(pid: number, dataFolder: string): boolean {
  if (process.platform === 'linux')
    return readOrNothing(`/proc/${pid}/cmdline`).includes(`-D\0${dataFolder}\0`)
  try {
    const command = execFileSync('/bin/ps', ['-o', 'command=', '-p', String(pid)], { encoding: 'utf8' })
    return command.includes(`-D ${dataFolder} `)
  } catch {
    return false
  }
}

/** Whether a process is there: cheaper than `isPostmaster`, for one that was known to be it a moment ago. */
export function isRunning(pid: number): boolean {
  // A dead process that nobody has collected yet has an empty command line, but still takes signals.
  if (process.platform === 'linux') return readOrNothing(`/proc/${pid}/cmdline`) !== ''
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

/**
 * Takes away the `postmaster.pid` of a server that is gone. PostgreSQL does so itself unless another process of the
 * same user has the number now. Processes that outlived their head are still noticed, by their shared memory.
 */
export async function removeStalePostmasterFile(dataFolder: string): Promise<void> {
  const file = postmasterFile(dataFolder)
  const pid = Number(readOrNothing(file).split('\n')[0])
  if (!isPostmaster(pid, dataFolder)) await rm(file, { force: true })
}

function postmasterFile(dataFolder: string): string {
  return join(dataFolder, 'postmaster.pid')
}

function readOrNothing(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}
