import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createConnection, createServer } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'

/** A program that the bench started, and ends. */
export interface Program {
  readonly pid: number
  /** What it has printed so far: on its output, and in all. */
  readonly printed: () => string
  readonly said: () => string
  /** Resolves when it has ended. */
  readonly ended: Promise<void>
  stop(): Promise<void>
}

export interface ProgramOptions {
  readonly core: number | undefined
  readonly environment?: Readonly<Record<string, string>>
  readonly folder?: string
}

const PATIENCE_MS = 30_000

/** What still runs when the bench itself ends, of whatever cause, ends with it. A router then stops its PostgreSQL. */
const running = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of running) child.kill('SIGTERM')
})

/** Starts a program on a core. It sees nothing of this process's environment but the path to programs. */
export function startProgram(
  command: string,
  words: readonly string[],
  { core, environment, folder }: ProgramOptions,
): Program {
  const pinned = core === undefined ? [command] : ['taskset', '-c', String(core), command]
  const [first = command, ...rest] = [...pinned, ...words]
  const child = spawn(first, rest, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env.PATH ?? '/usr/bin:/bin', HOME: process.env.HOME ?? '/', ...environment },
    ...(folder === undefined ? {} : { cwd: folder }),
  })
  let printed = ''
  let said = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    printed += text
    said += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text
  })
  running.add(child)
  const ended = once(child, 'close').then(() => void running.delete(child))
  return {
    pid: child.pid ?? 0,
    printed: () => printed,
    said: () => said,
    ended,
    stop: () => stop(child, ended),
  }
}

async function stop(child: ChildProcess, ended: Promise<void>): Promise<void> {
  child.kill('SIGTERM')
  const patience = setTimeout(() => child.kill('SIGKILL'), PATIENCE_MS)
  await ended
  clearTimeout(patience)
}

/** A port that nobody listens on at the moment. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('a server without a port')
  return address.port
}

/** Waits until something listens. Rejects with what the program said where it ends before that. */
export async function listening(program: Program, port: number): Promise<void> {
  let hasEnded = false
  void program.ended.then(() => {
    hasEnded = true
  })
  const giveUpAtMs = performance.now() + PATIENCE_MS
  while (!(await answersAt(port))) {
    if (hasEnded || performance.now() > giveUpAtMs) throw new Error(`nothing listens: ${program.said()}`)
    await pause(20)
  }
}

/** Waits for the first line that a program prints. */
export async function firstLine(program: Program): Promise<string> {
  let hasEnded = false
  void program.ended.then(() => {
    hasEnded = true
  })
  while (!program.printed().includes('\n')) {
    if (hasEnded) throw new Error(`it ended before it said anything: ${program.said()}`)
    await pause(5)
  }
  return program.printed().split('\n', 1)[0] ?? ''
}

function answersAt(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(port, '127.0.0.1')
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
