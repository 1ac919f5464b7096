import { type ChildProcessByStdio, type SpawnOptions, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, mkdtemp, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import type { TestContext } from 'node:test'
import { type Database, openDatabase } from '../../src/storage/database.ts'
import { startEmbeddedPostgres } from '../../src/storage/embedded-postgres.ts'
import { isRoot } from '../../src/storage/system-user.ts'
import { startGuard } from './guard.ts'
import { childrenOf } from './process-family.ts'
import type { TestDatabase } from './test-database.ts'
import { connectionUrl, requester, signingKeyOf, type TestRouter } from './test-router.ts'
import { until } from './until.ts'

/** How a process ended and what it had said by then. */
export interface Finished {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

/** A router in a process of its own, as an operator starts it. */
export interface RouterProcess {
  readonly url: string
  readonly pid: number
  readonly adminKeyFile: string
  readonly adminKey: string
  /** Printed by the first start of a home. */
  readonly testKey?: string
  /** What it has printed so far. */
  readonly said: Pick<Finished, 'stdout' | 'stderr'>
  readonly request: TestRouter['request']
  readonly ended: Promise<Finished>
  signal(signal: NodeJS.Signals): void
  /** Sends a signal and waits for the end. */
  kill(signal: NodeJS.Signals): Promise<Finished>
}

/** A router that may not listen yet. */
export interface StartingRouter extends Pick<RouterProcess, 'pid' | 'said' | 'ended'> {
  /** Waits until it listens, as `start` does. */
  started(): Promise<RouterProcess>
}

/** A program on a terminal, with somebody who types. */
export interface TerminalProcess {
  readonly screen: () => string
  readonly ended: Promise<Finished>
  type(text: string): void
}

type Environment = Readonly<Record<string, string>>

/** A data folder of its own, and the processes that are started on it one after the other. */
export interface RouterHome {
  /** `MESH_HOME`; the first start makes it. */
  readonly folder: string
  /** For files of the test: settings, receipts. Goes with the home. */
  readonly scratch: string
  /**
   * Starts a router and waits until it listens. Rejects with what it said when it ends before that. `openFilesMax`
   * lowers how many files and sockets the system lets it have.
   */
  start(environment?: Environment, openFilesMax?: number): Promise<RouterProcess>
  /** Starts a router that is expected to be refused, and waits for its end. */
  refused(environment?: Environment): Promise<Finished>
  /** As `start` and `refused`, for a start that something is done to while it lasts. */
  starting(environment?: Environment): StartingRouter
  /** Starts a router, sends it a signal as soon as something holds, and waits for its end. */
  interrupted(signal: NodeJS.Signals, when: () => boolean): Promise<Finished>
  /** Starts a router as a person does, who reads words. */
  startOnTerminal(): TerminalProcess
  /** Runs an operator's command to its end. */
  ops(words: readonly string[], environment?: Environment): Promise<Finished>
  /** Starts an operator's command that is to be interrupted. */
  startOps(words: readonly string[], environment?: Environment): Child
  /** Connects to the database of the router that runs on the home. */
  openDatabase(): Promise<Database>
}

/** The program that `npm start` runs. */
export const MAIN = join(import.meta.dirname, '../../src/main.ts')
const OPS = join(import.meta.dirname, '../../src/ops.ts')
const STATEMENT_TIMEOUT_MS = 30_000
/** How long a start may take on a machine that does much else at the time. */
export const START_PATIENCE_MS = 60_000

/**
 * Reads the numbers of the routers that run, line by line, until its input closes: when the test is over, and also
 * when this process is gone, however it went. Then it ends the router, its workers, and the PostgreSQL that a killed
 * one leaves, and takes the folder away, with the database where that lies elsewhere.
 */
const GUARD = `
routers=
while read -r line; do routers=$line; done
for router in $routers; do kill -KILL "-$router" 2>/dev/null || kill -KILL "$router" 2>/dev/null; done
cluster=$(cd "$1/home/postgres" 2>/dev/null && pwd -P)
if [ -n "$cluster" ]; then
  server=$(head -n 1 "$cluster/data/postmaster.pid" 2>/dev/null)
  runs() {
    command=$(tr '\\0' ' ' 2>/dev/null <"/proc/$server/cmdline" || ps -o command= -p "$server" 2>/dev/null)
    case $command in *"-D $cluster/data "*) true ;; *) false ;; esac
  }
  if [ -n "$server" ] && runs; then
    kill -QUIT "$server"
    n=0
    while runs && [ $n -lt 200 ]; do n=$((n + 1)); sleep 0.05; done
  fi
  rm -rf -- "$cluster"
fi
rm -rf -- "$1"
`

/**
 * Makes a home. Whatever was started on it is gone when the test is over. The books are in the home's own database, or
 * in that of a test, which other routers may share.
 */
export async function newRouterHome(t: TestContext, on?: TestDatabase): Promise<RouterHome> {
  const parent = await mkdtemp(join(tmpdir(), 'mesh-process-'))
  // PostgreSQL's user passes through it where the tests run as root.
  if (isRoot()) await chmod(parent, 0o755)
  const folder = join(parent, 'home')
  const scratch = join(parent, 'scratch')
  await mkdir(scratch)
  const elsewhere = on === undefined ? {} : await environmentFor(on, scratch)
  const guard = startGuard(GUARD, parent)
  const databases: Database[] = []
  t.after(async () => {
    await Promise.all(databases.map((database) => database.close().catch(() => undefined)))
    await guard.end()
  })

  // A router that was killed has ended when its workers have; by then another one may run.
  const watched = new Set<number>()
  const watch = ({ process: { pid = 0 }, ended }: Child): void => {
    guard.tell([...watched.add(pid)].join(' '))
    void ended.then(() => {
      watched.delete(pid)
      guard.tell([...watched].join(' '))
    })
  }
  const environmentOf = (added: Environment): Record<string, string> => ({
    PATH: process.env.PATH ?? '/usr/bin:/bin',
    HOME: scratch,
    ...(process.env.MESH_POSTGRES_BIN ? { MESH_POSTGRES_BIN: process.env.MESH_POSTGRES_BIN } : {}),
    MESH_HOME: folder,
    PORT: '0',
    ...elsewhere,
    ...added,
  })
  // Each router is the head of a group of processes, by which its workers are ended too.
  const node = (words: readonly string[], added: Environment): Child =>
    spawnCaptured(process.execPath, words, { cwd: scratch, env: environmentOf(added), detached: true })
  const router = (added: Environment, openFilesMax?: number): Child => {
    const child =
      openFilesMax === undefined
        ? node([MAIN, '--quiet'], added)
        : spawnCaptured(
            '/bin/sh',
            ['-c', `ulimit -n ${openFilesMax} && exec "$0" "$@"`, process.execPath, MAIN, '--quiet'],
            { cwd: scratch, env: environmentOf(added), detached: true },
          )
    watch(child)
    return child
  }

  return {
    folder,
    scratch,
    start: async (environment = {}, openFilesMax) => await listening(router(environment, openFilesMax)),
    // Another one may run on the home at the same time; it is the one to watch.
    refused: (environment = {}) => node([MAIN, '--quiet'], environment).ended,
    starting(environment = {}) {
      const child = router(environment)
      const { said, ended } = child
      return { pid: child.process.pid ?? 0, said, ended, started: () => listening(child) }
    },
    async interrupted(signal, when) {
      const child = router({})
      await until('the moment to interrupt it', when, START_PATIENCE_MS)
      child.process.kill(signal)
      return await child.ended
    },
    startOnTerminal() {
      const command = `exec '${process.execPath}' '${MAIN}'`
      const words =
        process.platform === 'darwin'
          ? ['-q', '/dev/null', process.execPath, MAIN]
          : ['-qefc', command, '/dev/null']
      const child = spawnCaptured('script', words, { cwd: scratch, env: environmentOf({}) })
      // When the terminal goes, what runs on it gets the signal to hang up.
      watch(child)
      return {
        screen: () => child.said.stdout,
        ended: child.ended,
        type: (text) => void child.process.stdin.write(text),
      }
    },
    ops: (words, environment = {}) => node([OPS, ...words], environment).ended,
    startOps: (words, environment = {}) => node([OPS, ...words], environment),
    async openDatabase() {
      if (on !== undefined) return on.database()
      const { connection } = await startEmbeddedPostgres({
        home: folder,
        whenBusy: 'attach',
        notice: () => undefined,
      })
      const database = openDatabase(connection, {
        poolSize: 2,
        applicationName: 'mesh-test',
        statementTimeoutMs: STATEMENT_TIMEOUT_MS,
      })
      databases.push(database)
      return database
    },
  }
}

/** What a router needs to use a database that is not its own. */
async function environmentFor(on: TestDatabase, folder: string): Promise<Environment> {
  const signingKeyFile = join(folder, 'signing-key.pem')
  await writeFile(signingKeyFile, signingKeyOf(on), { mode: 0o600 })
  return { DATABASE_URL: connectionUrl(on.connection), MESH_SIGNING_KEY_FILE: signingKeyFile }
}

/** The workers of a router, by the numbers of their processes. */
export function workersOf({ pid }: Pick<RouterProcess, 'pid'>): number[] {
  return childrenOf(pid).filter((child) => commandOf(child).includes('workers/worker.ts'))
}

/** The command line of a process, as everybody on the machine can read it; empty where it is gone. */
export function commandOf(pid: number): string {
  return spawnSync('ps', ['-ww', '-o', 'args=', '-p', String(pid)], { encoding: 'utf8' }).stdout
}

/** A process whose output is kept. */
export interface Child {
  readonly process: ChildProcessByStdio<Writable, Readable, Readable>
  readonly said: { stdout: string; stderr: string }
  readonly ended: Promise<Finished>
}

/** Starts a program and keeps what it prints. */
export function spawnCaptured(command: string, words: readonly string[], options: SpawnOptions): Child {
  const child = spawn(command, words, { ...options, stdio: ['pipe', 'pipe', 'pipe'] })
  const said = { stdout: '', stderr: '' }
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    said.stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said.stderr += text
  })
  const ended = once(child, 'close').then(([code, signal]): Finished => ({ code, signal, ...said }))
  return { process: child, said, ended }
}

/** Waits until a router has said on one line where it listens. Rejects with what it said when it ends before that. */
export async function readyLine(child: Child): Promise<string> {
  await Promise.race([firstLine(child), child.ended])
  if (!child.said.stdout.includes('\n')) throw new Error(`the router did not start: ${child.said.stderr}`)
  return child.said.stdout
}

async function listening(child: Child): Promise<RouterProcess> {
  const { url, adminKeyFile, testKey } = JSON.parse(await readyLine(child))
  // A key that is set in the environment is in no file.
  const adminKey = adminKeyFile === null ? '' : (await readFile(adminKeyFile, 'utf8')).trim()
  return {
    url,
    pid: child.process.pid ?? 0,
    adminKeyFile,
    adminKey,
    ...(testKey === undefined ? {} : { testKey }),
    said: child.said,
    request: requester(url),
    ended: child.ended,
    signal: (signal) => void child.process.kill(signal),
    kill(signal) {
      child.process.kill(signal)
      return child.ended
    },
  }
}

function firstLine({ process: { stdout }, said }: Child): Promise<void> {
  return new Promise((resolve) => {
    const onData = (): void => {
      if (!said.stdout.includes('\n')) return
      stdout.off('data', onData)
      resolve()
    }
    stdout.on('data', onData)
    onData()
  })
}
