import { setTimeout as pause } from 'node:timers/promises'
import { childrenOf, killFamily } from '../support/process-family.ts'
import { type Child, MAIN, readyLine, START_PATIENCE_MS, spawnCaptured } from '../support/router-process.ts'
import type { StagedRouter } from './fault.ts'

/** How long a start waits for its port, which any connection may have been given in the meantime. */
const PORT_PAUSE_MS = 200

/** A router process and what it wrote, over all its starts. */
export interface OwnRouter extends StagedRouter {
  /** What it wrote since this was asked last. */
  takeOutput(): string
}

export interface RouterStart {
  /** All that it is told but `PORT`. */
  readonly environment: Readonly<Record<string, string>>
  readonly folder: string
  readonly onStart: (pid: number) => void
  readonly onEnd: (pid: number) => void
}

/** Starts a router on a free port, which it keeps through every later start. */
export async function startStagedRouter(options: RouterStart): Promise<OwnRouter> {
  let unread = ''
  const launch = (port: string): Child => {
    const env = { ...options.environment, PORT: port }
    const child = spawnCaptured(process.execPath, [MAIN, '--quiet'], {
      cwd: options.folder,
      env,
      // Ctrl-C on a terminal is for who watches the rounds, and not for what they break.
      detached: true,
    })
    for (const stream of [child.process.stdout, child.process.stderr]) {
      stream.on('data', (text: string) => {
        unread += text
      })
    }
    const { pid } = child.process
    if (pid !== undefined) {
      options.onStart(pid)
      void child.ended.then(() => options.onEnd(pid))
    }
    return child
  }
  let child = launch('0')
  const { url } = JSON.parse(await readyLine(child))
  const pid = (): number => child.process.pid ?? 0
  const isRunning = (): boolean => child.process.exitCode === null && child.process.signalCode === null
  return {
    url,
    get pid() {
      return pid()
    },
    get ended() {
      return child.ended
    },
    isRunning,
    workerPids: () => (isRunning() ? childrenOf(pid()) : []),
    signal: (signal) => void child.process.kill(signal),
    async kill() {
      await killFamily(pid())
      await child.ended
    },
    async start() {
      const deadline = performance.now() + START_PATIENCE_MS
      for (;;) {
        child = launch(new URL(url).port)
        try {
          await readyLine(child)
          return
        } catch (error) {
          if (!child.said.stderr.includes('is in use') || performance.now() > deadline) throw error
          await pause(PORT_PAUSE_MS)
        }
      }
    },
    takeOutput() {
      const text = unread
      unread = ''
      return text
    },
  }
}
