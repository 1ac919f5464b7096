import { execFile } from 'node:child_process'
import { chown, cp, mkdir, rename, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { isRunning } from '../../../src/storage/postmaster.ts'
import { isRoot } from '../../../src/storage/system-user.ts'
import { startGuard } from '../../support/guard.ts'
import { until } from '../../support/until.ts'
import type { Fault, StagedServer } from '../fault.ts'

const run = promisify(execFile)
/** Small for PostgreSQL's log of changes, which is what fills first under load. */
const DISK_BYTES = 96 * 1024 * 1024
const ENDS_ON_SMALL_DISK = 10
const FULL_PATIENCE_MS = 60_000

/**
 * Takes the file system away when this process is gone, however it went. PostgreSQL's own folder goes at the same time,
 * but for what is mounted in it.
 */
const UNMOUNTING = `
read -r _
umount -l "$1" 2>/dev/null
rmdir "$1" "\${1%/*}" 2>/dev/null
`

/**
 * PostgreSQL's log of changes lies on a file system of its own, and that is full: it can neither commit nor check
 * itself, and may end. When there is space again it is started by whoever looks after it.
 */
export const fullDisk: Fault = {
  name: 'full-disk',
  meaning: "The disk under PostgreSQL's log of changes fills up under load, and later has space again.",
  rounds: { soak: 2, test: 0 },
  layout: {
    policy: { calls: { settleWaitMs: 1_500 } },
    serverSettings: { max_wal_size: '32MB', min_wal_size: '32MB', wal_recycle: 'off' },
  },
  async unavailable() {
    if (!isRoot()) return 'only root may make a small file system'
    const folder = '/tmp/mesh-mount-try'
    await mkdir(folder, { recursive: true })
    try {
      await run('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', folder])
      await run('umount', [folder])
      return undefined
    } catch {
      return 'this machine lets nobody mount a file system'
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  },
  async strike({ server, load, database }) {
    const disk = join(dirname(server.dataFolder), 'small-disk')
    const guard = startGuard(UNMOUNTING, disk)
    await moveLog(server, disk)
    try {
      await load.moreEnds(ENDS_ON_SMALL_DISK)
      const refused = load.others.get('storage_unavailable') ?? 0
      const { pool } = await database()
      await fill(join(disk, 'other-files'))
      await until(
        'calls are refused',
        async () => {
          // The file that is written to has its space already; the next one finds none.
          await pool.query('select pg_switch_wal()').catch(() => undefined)
          return (load.others.get('storage_unavailable') ?? 0) > refused
        },
        FULL_PATIENCE_MS,
      )
      await rm(join(disk, 'other-files'))
      // It may have ended by itself, and then nobody but whoever looks after it starts it.
      if (!isRunning(server.pid())) await server.start()
      await load.moreEnds(ENDS_ON_SMALL_DISK)
    } finally {
      await moveLogBack(server, disk).finally(() => guard.end())
    }
  },
}

async function moveLog(server: StagedServer, disk: string): Promise<void> {
  await server.kill()
  const log = join(server.dataFolder, 'pg_wal')
  const { uid, gid } = await stat(log)
  await mkdir(disk)
  await run('mount', ['-t', 'tmpfs', '-o', `size=${DISK_BYTES}`, 'tmpfs', disk])
  await copyTo(log, join(disk, 'pg_wal'))
  await run('chown', ['-R', `${uid}:${gid}`, disk])
  await rename(log, `${log}.before`)
  await symlink(join(disk, 'pg_wal'), log)
  await server.start()
}

async function moveLogBack(server: StagedServer, disk: string): Promise<void> {
  await rm(join(disk, 'other-files'), { force: true })
  if (isRunning(server.pid())) await server.kill()
  const log = join(server.dataFolder, 'pg_wal')
  const { uid, gid } = await stat(join(disk, 'pg_wal'))
  await rm(log)
  await rm(`${log}.before`, { recursive: true })
  await copyTo(join(disk, 'pg_wal'), log)
  await run('chown', ['-R', `${uid}:${gid}`, log])
  await chown(log, uid, gid)
  await run('umount', [disk])
  await rm(disk, { recursive: true })
  await server.start()
}

async function copyTo(from: string, to: string): Promise<void> {
  await cp(from, to, { recursive: true, preserveTimestamps: true })
}

/** Takes all space that there is. */
async function fill(file: string): Promise<void> {
  const piece = Buffer.alloc(1024 * 1024)
  const tail = Buffer.alloc(4096)
  for (const bytes of [piece, tail]) {
    for (;;) {
      try {
        await writeFile(file, bytes, { flag: 'a' })
      } catch (error) {
        if (error instanceof Error && 'code' in error && error.code === 'ENOSPC') break
        throw error
      }
    }
  }
}
