import { randomBytes } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { setTimeout as pause } from 'node:timers/promises'
import { type ClusterConnection, ensureDatabase, findRunningServer, startServer } from './cluster.ts'
import {
  clusterMajor,
  type DataFolder,
  findDataFolder,
  prepareDataFolder,
  prepareHome,
  prepareSocketFolder,
  removeSocketFolder,
} from './data-folder.ts'
import { hasWorkers, lockHome } from './home-lock.ts'
import { type PostgresBinaries, usablePostgresBinaries } from './postgres-binaries.ts'
import { initialiseCluster } from './postgres-server.ts'
import { watchServer } from './server-watch.ts'
import { StartupError } from './startup-error.ts'

export interface EmbeddedPostgresOptions {
  /** `MESH_HOME`. */
  readonly home: string
  /** `MESH_POSTGRES_BIN`; without it, the binaries that npm installed. */
  readonly binFolder?: string | undefined
  /** Where another process has the folder: refuse (the default), or use its server without owning it. */
  readonly whenBusy?: 'refuse' | 'attach'
  /** Tells the operator something that he should know, once: where the database went, that it was started again. */
  notice(text: string): void
}

export interface EmbeddedPostgres {
  readonly connection: ClusterConnection
  /** `created`: the first start of this folder; `adopted`: the server of a router that was killed. */
  readonly origin: 'created' | 'started' | 'adopted' | 'attached'
  /** Stops the server (an attached one runs on) and gives the folder back. Call it when nothing uses it any more. */
  stop(): Promise<void>
}

const PASSWORD_BYTES = 24
/** Longer than they may take to drain, unless `shutdown.drainMs` was raised. */
const WORKERS_PATIENCE_MS = 60_000
const WORKERS_PAUSE_MS = 50

/**
 * Starts the PostgreSQL of a data folder, or adopts the one that runs there, and keeps it running until `stop`.
 * Throws `StartupError` with one plain sentence where that cannot be.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const home = await prepareHome(options.home)
  const lock = lockHome(home)
  if (lock === undefined) {
    if (options.whenBusy === 'attach') return attach(home)
    throw new StartupError(
      `Another MESH already runs on ${home}: stop it first, or give this one another MESH_HOME.`,
    )
  }
  if (options.whenBusy === 'attach' && hasWorkers(home)) {
    lock.release()
    return attach(home)
  }
  try {
    await untilWorkersEnd(home, options.notice)
    const { server, stop } = await startLocked(home, options)
    return {
      ...server,
      async stop() {
        await stop()
        lock.release()
      },
    }
  } catch (error) {
    lock.release()
    throw error
  }
}

/**
 * Waits for workers whose MESH was killed: they still end their calls. To release what those hold, or to stop the
 * database, would take the ground from under them.
 */
async function untilWorkersEnd(home: string, notice: (text: string) => void): Promise<void> {
  if (!hasWorkers(home)) return
  notice('Workers of a MESH that was killed still end their calls; this one starts when they have.')
  const deadline = performance.now() + WORKERS_PATIENCE_MS
  while (hasWorkers(home)) {
    if (performance.now() > deadline) {
      throw new StartupError(
        `Workers of a MESH that was killed still run on ${home}: end them, or try again later.`,
      )
    }
    await pause(WORKERS_PAUSE_MS)
  }
}

async function startLocked(home: string, options: EmbeddedPostgresOptions) {
  const folder = await prepareDataFolder(home, options.notice)
  const { binaries, major } = await usablePostgresBinaries(options.binFolder, folder.user)
  if (folder.initialised) await checkMajor(folder, major)
  const password = folder.initialised ? await readPassword(folder) : await createCluster(folder, binaries)
  const adopted = await findRunningServer(folder, password)
  const socketFolder = adopted?.socketFolder ?? (await prepareSocketFolder(folder))
  const start = () => startServer(folder, binaries, socketFolder, password)
  const watch = watchServer(adopted ?? (await start()), folder, start, options.notice)
  const stop = async () => {
    await watch.stop()
    await removeSocketFolder(folder, socketFolder)
  }
  try {
    const connection = await ensureDatabase(socketFolder, password)
    const started = folder.initialised ? 'started' : 'created'
    return { server: { connection, origin: adopted === undefined ? started : 'adopted' } as const, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

async function attach(home: string): Promise<EmbeddedPostgres> {
  const folder = await findDataFolder(home)
  const password = folder?.initialised ? await readPassword(folder) : undefined
  if (folder === undefined || password === undefined) {
    throw new StartupError(`Another MESH is making its database in ${home}: try again when it has started.`)
  }
  const server = await findRunningServer(folder, password)
  if (server === undefined) {
    throw new StartupError(`Another MESH has ${home}, and its database is down: try again when it is up.`)
  }
  const connection = await ensureDatabase(server.socketFolder, password)
  return { connection, origin: 'attached', stop: async () => undefined }
}

async function createCluster(folder: DataFolder, binaries: PostgresBinaries): Promise<string> {
  const password = randomBytes(PASSWORD_BYTES).toString('base64url')
  // On disk before the cluster that it opens.
  await writeFile(folder.passwordFile, password, { mode: 0o600, flush: true })
  await initialiseCluster(folder, binaries, password)
  return password
}

async function readPassword({ passwordFile }: DataFolder): Promise<string> {
  try {
    return await readFile(passwordFile, 'utf8')
  } catch (error) {
    throw new StartupError(`The password of the database, ${passwordFile}, cannot be read.`, error)
  }
}

async function checkMajor(folder: DataFolder, major: number): Promise<void> {
  const made = await clusterMajor(folder)
  if (made === major) return
  throw new StartupError(
    `The database in ${folder.folder} was made by PostgreSQL ${made}, and this is PostgreSQL ${major}: start the MESH that made it, and move the books with "npm run ops -- export" and "import".`,
  )
}
