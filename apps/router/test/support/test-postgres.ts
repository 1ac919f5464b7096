import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
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
import { canEnter, isRoot, type SystemUser, unprivilegedUser } from '../../src/storage/system-user.ts'
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

/**
 * Ends the server and takes its folder away as soon as this process is gone, however it went: the pipe that it
 * reads from then closes.
 */
const GUARD =
  'read -r _; kill -QUIT "$1"; n=0; while kill -0 "$1" 2>/dev/null && [ $n -lt 200 ]; do n=$((n+1)); sleep 0.05; done; rm -rf -- "$2"'

/** Starts a PostgreSQL in a temporary folder. It never outlives this process. */
export async function startTestPostgres(): Promise<{ server: TestServer; stop(): Promise<void> }> {
  const user = isRoot() ? unprivilegedUser() : undefined
  const { binaries } = await usablePostgresBinaries(process.env.MESH_POSTGRES_BIN, user)
  const folder = await temporaryFolder(user)
  const place = { dataFolder: join(folder, 'data'), logFile: join(folder, 'log'), user }
  const password = randomBytes(16).toString('hex')
  await initialiseCluster(place, binaries, password)
  const { pid } = spawnPostgres(place, binaries, folder, TEST_SETTINGS)
  if (pid === undefined) throw new Error('PostgreSQL did not start')
  const guard = spawn('/bin/sh', ['-c', GUARD, 'sh', String(pid), folder], {
    cwd: '/',
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  })
  guard.unref()
  if ('unref' in guard.stdin && typeof guard.stdin.unref === 'function') guard.stdin.unref()
  const server: TestServer = { host: folder, port: POSTGRES_PORT, user: POSTGRES_USER, password }
  await until('PostgreSQL answers', () => answers(server))
  return {
    server,
    async stop() {
      guard.ref()
      const ended = once(guard, 'exit')
      guard.stdin.end()
      await ended
    },
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
