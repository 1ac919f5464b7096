import type { ChildProcess } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { setTimeout as pause } from 'node:timers/promises'
import pg from 'pg'
import type { DataFolder } from './data-folder.ts'
import type { PostgresBinaries } from './postgres-binaries.ts'
import { POSTGRES_PORT, POSTGRES_USER, spawnPostgres } from './postgres-server.ts'
import { isPostmaster, livePostmaster, removeStalePostmasterFile } from './postmaster.ts'
import { StartupError } from './startup-error.ts'

/** A server that answers. */
export interface RunningServer {
  readonly pid: number
  readonly socketFolder: string
}

/** How to reach it. */
export interface ClusterConnection {
  readonly host: string
  readonly port: number
  readonly user: string
  readonly password: string
  readonly database: string
}

const DATABASE = 'mesh'
/** How long a start is tried again: what a killed server leaves behind can outlive it by seconds. */
const START_PATIENCE_MS = 10_000
const START_PAUSE_MS = 200
/** How long a living server may take until it answers: it replays its log after a crash, or stops first. */
const READY_PATIENCE_MS = 120_000
const READY_PAUSE_MS = 5
/** A fast shutdown writes everything out; after this long it is cut short, which costs a replay at the next start. */
const STOP_PATIENCE_MS = 30_000
const INVALID_AUTHORIZATION = '28'

/**
 * The server that already runs on the folder, for instance one whose router was killed; waits for one that is
 * starting or stopping. `undefined` where none runs.
 */
export async function findRunningServer(
  { dataFolder }: DataFolder,
  password: string,
): Promise<RunningServer | undefined> {
  let deadline = performance.now() + READY_PATIENCE_MS
  for (;;) {
    const found = livePostmaster(dataFolder)
    if (found === undefined) return undefined
    if (found.ready) {
      if (await answers(found.socketFolder, password)) return found
      // It says that it takes connections, so little is left to wait for.
      deadline = Math.min(deadline, performance.now() + START_PATIENCE_MS)
    }
    if (performance.now() > deadline) {
      throw new StartupError(
        `The PostgreSQL of ${dataFolder} (process ${found.pid}) does not answer: end it, then start again.`,
      )
    }
    await pause(READY_PAUSE_MS)
  }
}

/** Starts the server of a folder on which none runs. Throws `StartupError` with PostgreSQL's own reason. */
export async function startServer(
  folder: DataFolder,
  binaries: PostgresBinaries,
  socketFolder: string,
  password: string,
): Promise<RunningServer> {
  const deadline = performance.now() + START_PATIENCE_MS
  for (;;) {
    await removeStalePostmasterFile(folder.dataFolder)
    const child = spawnPostgres(folder, binaries, socketFolder)
    if (child.pid !== undefined && (await becomesReady(child, folder, socketFolder, password))) {
      return { pid: child.pid, socketFolder }
    }
    if (performance.now() > deadline) {
      throw new StartupError(
        `PostgreSQL does not start${await lastWords(folder.logFile)}; its log is ${folder.logFile}.`,
      )
    }
    await pause(START_PAUSE_MS)
  }
}

/** Ends a server: running statements are cancelled, everything is written out. */
export async function stopServer({ pid }: RunningServer, { dataFolder }: DataFolder): Promise<void> {
  // PostgreSQL's own words for it: SIGINT is the fast shutdown, SIGQUIT the immediate one.
  for (const signal of ['SIGINT', 'SIGQUIT'] as const) {
    const deadline = performance.now() + STOP_PATIENCE_MS
    if (isPostmaster(pid, dataFolder)) process.kill(pid, signal)
    while (isPostmaster(pid, dataFolder) && performance.now() < deadline) await pause(READY_PAUSE_MS)
  }
}

/** Makes MESH's database within the cluster where it is not there yet, and says how to reach it. */
export async function ensureDatabase(socketFolder: string, password: string): Promise<ClusterConnection> {
  const client = maintenanceClient(socketFolder, password)
  try {
    await client.connect()
    const { rowCount } = await client.query('select from pg_database where datname = $1', [DATABASE])
    if (rowCount === 0) await client.query(`create database ${DATABASE}`)
  } finally {
    await client.end()
  }
  return connectionTo(socketFolder, password, DATABASE)
}

async function becomesReady(
  child: ChildProcess,
  { dataFolder }: DataFolder,
  socketFolder: string,
  password: string,
): Promise<boolean> {
  const deadline = performance.now() + READY_PATIENCE_MS
  while (child.exitCode === null && child.signalCode === null) {
    const found = livePostmaster(dataFolder)
    if (found?.pid === child.pid && found?.ready && (await answers(socketFolder, password))) return true
    if (performance.now() > deadline) {
      child.kill('SIGQUIT')
      return false
    }
    await pause(READY_PAUSE_MS)
  }
  return false
}

/** Whether the server takes a query; a wrong password is an error, everything else a matter of time. */
async function answers(socketFolder: string, password: string): Promise<boolean> {
  const client = maintenanceClient(socketFolder, password)
  try {
    await client.connect()
    await client.query('select 1')
    return true
  } catch (error) {
    if (error instanceof pg.DatabaseError && error.code?.startsWith(INVALID_AUTHORIZATION)) {
      throw new StartupError(`The password beside the database does not open it (${socketFolder}).`, error)
    }
    return false
  } finally {
    await client.end().catch(() => undefined)
  }
}

function maintenanceClient(socketFolder: string, password: string): pg.Client {
  const client = new pg.Client({
    ...connectionTo(socketFolder, password, 'postgres'),
    connectionTimeoutMillis: START_PATIENCE_MS,
  })
  // What breaks is reported by the call that waits for it; without a listener it would end the process.
  client.on('error', () => undefined)
  return client
}

function connectionTo(host: string, password: string, database: string): ClusterConnection {
  return { host, port: POSTGRES_PORT, user: POSTGRES_USER, password, database }
}

/** The last fatal line of a log that can hold no content. */
async function lastWords(logFile: string): Promise<string> {
  const log = await readFile(logFile, 'utf8').catch(() => '')
  const line = log.split('\n').findLast((text) => text.includes('FATAL:'))
  return line === undefined ? '' : ` (${line.slice(line.indexOf('FATAL:') + 'FATAL:'.length).trim()})`
}
