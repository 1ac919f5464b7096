import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { promisify } from 'node:util'
import { StartupError } from './startup-error.ts'

/** Whom a child process runs as. */
export interface SystemUser {
  readonly uid: number
  readonly gid: number
}

/** The names that are tried, in this order: one that an administrator made for MESH, then everybody's. */
const USER_NAMES = ['mesh', 'nobody'] as const

const run = promisify(execFile)

/** Whether this process is root, whom PostgreSQL refuses to run as. */
export function isRoot(): boolean {
  return process.getuid?.() === 0
}

/** A user without privileges for root to run PostgreSQL as. Throws `StartupError` where the system has none. */
export function unprivilegedUser(): SystemUser {
  for (const name of USER_NAMES) {
    const user = readUsers().find((entry) => entry.name === name)
    if (user !== undefined && user.uid > 0) return { uid: user.uid, gid: user.gid }
  }
  throw new StartupError(
    'PostgreSQL does not run as root, and this system has no user "mesh" or "nobody" to run it as: start MESH as an ordinary user, or set DATABASE_URL.',
  )
}

/** The user of that number, with the group that the system gives him, or the group of the same number. */
export function userOf(uid: number): SystemUser {
  return { uid, gid: readUsers().find((entry) => entry.uid === uid)?.gid ?? uid }
}

/**
 * Whether a user can enter a folder. The kernel is asked, as that user: modes of every parent, access lists and
 * mount options all count. `undefined` is this process's own user.
 */
export async function canEnter(folder: string, user: SystemUser | undefined): Promise<boolean> {
  try {
    await run('/bin/sh', ['-c', 'cd -- "$1"', 'sh', folder], { cwd: '/', env: {}, ...user })
    return true
  } catch {
    return false
  }
}

function readUsers(): { name: string; uid: number; gid: number }[] {
  return readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
    .map(([name = '', , uid, gid]) => ({ name, uid: Number(uid), gid: Number(gid) }))
    .filter(({ name, uid, gid }) => name !== '' && Number.isInteger(uid) && Number.isInteger(gid))
}
