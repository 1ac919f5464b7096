import { randomBytes } from 'node:crypto'
import { chown, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { usablePostgresBinaries } from '../../src/storage/postgres-binaries.ts'
import {
  initialiseCluster,
  POSTGRES_PORT,
  POSTGRES_USER,
  socketFits,
  spawnPostgres,
} from '../../src/storage/postgres-server.ts'
import { removeStalePostmasterFile } from '../../src/storage/postmaster.ts'
import { canEnter, isRoot, type SystemUser, unprivilegedUser } from '../../src/storage/system-user.ts'
import { guardFolder } from './guard.ts'
import { killFamily } from './process-family.ts'
import { until } from './until.ts'

/** A PostgreSQL to make databases on. */
export interface TestServer {
  readonly host: string
  readonly port: number
  readonly user: string
  readonly password: string
}

/** Nobody's data are at stake, so nothing waits for the disk; several files of tests share it. */
const TEST_SETTINGS = { fsync: 'off', full_page_writes: 'off', max_connections: '300' }

/** A PostgreSQL of a test's own, which can be killed and started again. */
export interface TestPostgres {
  readonly server: TestServer
  readonly dataFolder: string
  readonly logFile: string
  /** The postmaster's pid: that of the last start. */
  pid(): number
  /** `kill -9` of the postmaster and all its children, and waits until they are gone. */
  kill(): Promise<void>
  /** Starts it again after its end, and waits until it answers. */
  start(): Promise<void>
  /** Ends it and takes its folder away. */
  stop(): Promise<void>
}

/**
 * Starts a PostgreSQL in a temporary folder. It never outlives this process. Without settings it never waits for the
 * disk, which is for data that no test lets crash.
 */
export async function startTestPostgres(
  settings: Readonly<Record<string, string>> = TEST_SETTINGS,
): Promise<TestPostgres> {
  const user = isRoot() ? unprivilegedUser() : undefined
  const { binaries } = await usablePostgresBinaries(process.env.MESH_POSTGRES_BIN, user)
  const folder = await temporaryFolder(user)
  const place = { dataFolder: join(folder, 'data'), logFile: join(folder, 'log'), user }
  const password = randomBytes(16).toString('hex')
  await initialiseCluster(place, binaries, password)
  const server: TestServer = { host: folder, port: POSTGRES_PORT, user: POSTGRES_USER, password }
  const wards = guardFolder(folder)
  let pid = 0
  const start = async (): Promise<void> => {
    await removeStalePostmasterFile(place.dataFolder)
    const child = spawnPostgres(place, binaries, folder, settings)
    if (child.pid === undefined) throw new Error('PostgreSQL did not start')
    pid = child.pid
    wards.watch([{ pid, signal: 'QUIT' }])
    await until('PostgreSQL answers', () => answers(server))
  }
  await start()
  return {
    server,
    dataFolder: place.dataFolder,
    logFile: place.logFile,
    pid: () => pid,
    async kill() {
      await killFamily(pid)
      wards.watch([])
    },
    start,
    stop: () => wards.end(),
  }
}

/** A private folder that the server's user can enter and whose socket path is short enough. */
async function temporaryFolder(user: SystemUser | undefined): Promise<string> {
  for (const parent of [tmpdir(), '/tmp']) {
    const folder = await mkdtemp(join(parent, 'mesh-test-'))
    if (user !== undefined) await chown(folder, user.uid, user.gid)
    if (socketFits(folder) && (await canEnter(folder, user))) return folder
    await rm(folder, { recursive: true })
  }
  throw new Error('no temporary folder that PostgreSQL can use')
}

async function answers(server: TestServer): Promise<boolean> {
  const client = new pg.Client({ ...server, database: 'postgres' })
  client.on('error', () => undefined)
  try {
    await client.connect()
    await client.query('select 1')
    return true
  } catch {
    return false
  } finally {
    await client.end().catch(() => undefined)
  }
}
