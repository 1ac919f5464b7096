import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { closeSync, fchownSync, openSync } from 'node:fs'
import { chown, mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { EMBEDDED_CONNECTIONS_MAX } from './connections.ts'
import type { PostgresBinaries } from './postgres-binaries.ts'
import type { SystemUser } from './system-user.ts'

/** Where one server lies and whom it runs as (`undefined`: this process's user). */
export interface PostgresPlace {
  /** The cluster itself. */
  readonly dataFolder: string
  readonly logFile: string
  readonly user: SystemUser | undefined
}

export const POSTGRES_USER = 'mesh'
export const POSTGRES_PORT = 5432

/**
 * The longest path of a Unix socket, in bytes, without its closing zero.
 * https://www.man7.org/linux/man-pages/man7/unix.7.html (108 on Linux, 104 on macOS, with it)
 */
const SOCKET_PATH_BYTES_MAX = process.platform === 'darwin' ? 103 : 107

/**
 * Settings of every start. No TCP port. Small memory: the books are read by key. `max_wal_size` bounds how long a
 * start after a crash replays (570 MB took 4.5 s). `mmap` because `/dev/shm` is tiny in many containers.
 * The log can hold no content: no statement, no parameter, no detail of an error, and below `log` no error message
 * at all, since those quote values ("invalid input syntax for type json: …").
 */
const SETTINGS: Readonly<Record<string, string>> = {
  listen_addresses: '',
  port: String(POSTGRES_PORT),
  unix_socket_permissions: '0700',
  max_connections: String(EMBEDDED_CONNECTIONS_MAX),
  shared_buffers: '64MB',
  max_wal_size: '128MB',
  min_wal_size: '32MB',
  dynamic_shared_memory_type: 'mmap',
  // Nothing is replicated from here, and the process that would start replication takes 2 MB.
  max_logical_replication_workers: '0',
  jit: 'off',
  ssl: 'off',
  timezone: 'UTC',
  log_timezone: 'UTC',
  lc_messages: 'C',
  update_process_title: 'off',
  log_min_messages: 'log',
  log_min_error_statement: 'panic',
  log_error_verbosity: 'terse',
  log_statement: 'none',
  log_min_duration_statement: '-1',
  log_duration: 'off',
  log_parameter_max_length: '0',
  log_parameter_max_length_on_error: '0',
  log_checkpoints: 'off',
  log_lock_waits: 'off',
  log_autovacuum_min_duration: '-1',
  log_temp_files: '-1',
  logging_collector: 'off',
  log_destination: 'stderr',
}

/** Whether a server's socket in this folder has a path that the system accepts. */
export function socketFits(folder: string): boolean {
  return Buffer.byteLength(join(folder, `.s.PGSQL.${POSTGRES_PORT}`)) <= SOCKET_PATH_BYTES_MAX
}

/**
 * Makes the cluster: UTF-8, byte order as collation, passwords by SCRAM. It appears under its name only when it is
 * whole, so that a kill in between leaves nothing that looks like a database.
 */
export async function initialiseCluster(
  { dataFolder, user }: PostgresPlace,
  { binFolder }: PostgresBinaries,
  password: string,
): Promise<void> {
  const parent = dirname(dataFolder)
  await removeUnfinished(parent)
  const unfinished = join(parent, `${UNFINISHED}${process.pid}`)
  const passwordFile = `${unfinished}.password`
  await mkdir(unfinished, { mode: 0o700 })
  await writeFile(passwordFile, password, { mode: 0o600 })
  if (user !== undefined) {
    await chown(unfinished, user.uid, user.gid)
    await chown(passwordFile, user.uid, user.gid)
  }
  const paths = ['--pgdata', unfinished, '--username', POSTGRES_USER, '--pwfile', passwordFile]
  try {
    await promisify(execFile)(
      join(binFolder, 'initdb'),
      [...paths, '--encoding=UTF8', '--locale=C', '--auth=scram-sha-256', '--no-instructions'],
      { cwd: '/', env: serverEnvironment(), ...user },
    )
  } finally {
    await rm(passwordFile, { force: true })
  }
  await rename(unfinished, dataFolder)
}

const UNFINISHED = 'unfinished-'

async function removeUnfinished(folder: string): Promise<void> {
  for (const entry of await readdir(folder)) {
    if (entry.startsWith(UNFINISHED)) await rm(join(folder, entry), { recursive: true, force: true })
  }
}

/**
 * Starts the server and returns at once. It is the head of a process group of its own, so that Ctrl-C in a terminal
 * does not reach it: whoever started it stops it, after his calls have ended.
 */
export function spawnPostgres(
  { dataFolder, logFile, user }: PostgresPlace,
  { binFolder }: PostgresBinaries,
  socketFolder: string,
  overrides: Readonly<Record<string, string>> = {},
): ChildProcess {
  // Quoted, for the setting is a list and a path may hold its commas.
  const unix_socket_directories = `"${socketFolder.replaceAll('"', '""')}"`
  const settings = Object.entries({ ...SETTINGS, unix_socket_directories, ...overrides })
  const options = settings.flatMap(([name, value]) => ['-c', `${name}=${value}`])
  const log = openSync(logFile, 'a', 0o600)
  try {
    if (user !== undefined) fchownSync(log, user.uid, user.gid)
    const child = spawn(join(binFolder, 'postgres'), ['-D', dataFolder, ...options], {
      cwd: '/',
      env: serverEnvironment(),
      stdio: ['ignore', log, log],
      detached: true,
      ...user,
    })
    // A failed spawn is seen as a process that is not there; without a listener it would end this process.
    child.on('error', () => undefined)
    child.unref()
    return child
  } finally {
    closeSync(log)
  }
}

/** Nothing of this process's environment reaches the database: it holds providers' credentials. */
function serverEnvironment(): Record<string, string> {
  return { LC_ALL: 'C', TZ: 'UTC', PATH: '/usr/bin:/bin' }
}
