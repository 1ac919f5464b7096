import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { chmod, mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { type Database, openDatabase } from '../../src/storage/database.ts'
import { guardFolder } from '../support/guard.ts'
import { startTestPostgres } from '../support/test-postgres.ts'
import { until } from '../support/until.ts'
import { startWayTo, type WayToDatabase } from '../support/way-to-database.ts'
import type { Layout, Stage, StagedServer } from './fault.ts'
import { type OwnRouter, startStagedRouter } from './staged-router.ts'

/** A stage before its callers come: it serves one round after the other. */
export interface OpenStage extends Pick<Stage, 'server' | 'way' | 'database'> {
  readonly layout: Layout
  readonly routers: readonly OwnRouter[]
  readonly way: WayToDatabase
  readonly adminKey: string
  /** PostgreSQL's own log. */
  readonly serverLogFile: string
  /** Ends everything and takes all files away. */
  close(): Promise<void>
}

const DATABASE = 'mesh'
const STATEMENT_TIMEOUT_MS = 30_000
const DATABASE_PATIENCE_MS = 30_000
const SERVER_SETTINGS = { max_connections: '300' }

/**
 * The policy of a stage where its layout says nothing else. What a dead router held comes back after two seconds, and
 * a provider that falls silent is given up after one: both keep a round short.
 */
const POLICY = {
  holds: { lifetimeMs: 2_000 },
  calls: { firstByteTimeoutMs: 1_000, idleTimeoutMs: 1_000, deadlineMs: 5_000, drainMs: 1_000 },
  shutdown: { drainMs: 1_500 },
}

/**
 * Starts a PostgreSQL that syncs to disk and routers that reach it over a way of their own. Nothing of it outlives
 * this process, however that goes.
 */
export async function openStage(layout: Layout): Promise<OpenStage> {
  const closers: (() => Promise<void>)[] = []
  const close = async (): Promise<void> => {
    for (const closer of closers.splice(0).reverse()) await closer()
  }
  try {
    const postgres = await startTestPostgres({ ...SERVER_SETTINGS, ...layout.serverSettings })
    closers.push(postgres.stop)
    const connection = { ...postgres.server, database: DATABASE }
    await createDatabase({ ...postgres.server, database: 'postgres' })
    const way = await startWayTo({ connection })
    closers.push(async () => {
      way.cut()
      await way.close()
    })
    const adminKey = randomBytes(32).toString('hex')
    const { routers, end } = await startRouters(layout, way, adminKey)
    closers.push(end)
    const database = openOn(connection)
    closers.push(() => database.close().catch(() => undefined))
    const { pid, dataFolder, kill, start } = postgres
    const server: StagedServer = { pid, dataFolder, kill, start }
    return {
      ...{ layout, adminKey, routers, way, server, close },
      serverLogFile: postgres.logFile,
      async database() {
        await until('the database serves', () => serves(database), DATABASE_PATIENCE_MS)
        return database
      },
    }
  } catch (error) {
    await close()
    throw error
  }
}

/** Starts a layout's routers in a folder of their own. */
async function startRouters(layout: Layout, way: WayToDatabase, adminKey: string) {
  const folder = await mkdtemp(join(tmpdir(), 'mesh-stage-'))
  await chmod(folder, 0o700)
  const wards = guardFolder(folder)
  const pids = new Set<number>()
  const watch = (): void => wards.watch([...pids].map((pid) => ({ pid, signal: 'KILL' as const })))
  try {
    const environment = await environmentOf(layout, folder, way)
    const routers: OwnRouter[] = []
    for (let index = 0; index < (layout.routers ?? 1); index++) {
      const router = await startStagedRouter({
        environment: { ...environment, MESH_ADMIN_KEY: adminKey, MESH_HOME: join(folder, `home-${index}`) },
        folder,
        onStart(pid) {
          pids.add(pid)
          watch()
        },
        onEnd(pid) {
          pids.delete(pid)
          watch()
        },
      })
      routers.push(router)
    }
    return { routers, end: () => wards.end() }
  } catch (error) {
    await wards.end()
    throw error
  }
}

async function environmentOf(
  layout: Layout,
  folder: string,
  way: WayToDatabase,
): Promise<Record<string, string>> {
  const signingKeyFile = join(folder, 'signing-key.pem')
  const { privateKey } = generateKeyPairSync('ed25519')
  await writeFile(signingKeyFile, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 })
  const policyFile = join(folder, 'policy.json')
  const { policy = {} } = layout
  await writeFile(
    policyFile,
    JSON.stringify({
      ...policy,
      holds: { ...POLICY.holds, ...policy.holds },
      calls: { ...POLICY.calls, ...policy.calls },
      shutdown: { ...POLICY.shutdown, ...policy.shutdown },
    }),
  )
  return {
    PATH: process.env.PATH ?? '/usr/bin:/bin',
    HOME: folder,
    DATABASE_URL: way.url,
    MESH_SIGNING_KEY_FILE: signingKeyFile,
    MESH_SETTINGS: policyFile,
    // Everything that could be written is written, so that a leak shows.
    MESH_LOG_LEVEL: 'debug',
    ...(layout.workers === undefined ? {} : { MESH_WORKERS: String(layout.workers) }),
    ...layout.environment,
  }
}

function openOn(connection: Parameters<typeof openDatabase>[0]): Database {
  return openDatabase(connection, {
    poolSize: 2,
    applicationName: 'mesh-soak',
    statementTimeoutMs: STATEMENT_TIMEOUT_MS,
  })
}

async function serves({ pool }: Database): Promise<boolean> {
  return await pool.query('select 1').then(
    () => true,
    () => false,
  )
}

async function createDatabase(connection: pg.ClientConfig): Promise<void> {
  const client = new pg.Client(connection)
  await client.connect()
  try {
    await client.query(`create database ${DATABASE}`)
  } finally {
    await client.end()
  }
}
