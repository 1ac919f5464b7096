import cluster from 'node:cluster'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { newId, type Seams } from '../ids.ts'
import { releaseHoldsOfDead } from '../ledger/dead-routers.ts'
import { describeError, type Log } from '../log.ts'
import type { Machine } from '../machine.ts'
import { Sensitive } from '../sensitive.ts'
import type { Change, Ports, Serving } from '../serve.ts'
import type { Settings } from '../settings.ts'
import { StartupError } from '../storage/startup-error.ts'
import { codeVersion } from './code-version.ts'
import type { WorkOrder } from './questions.ts'
import { respawnDelayMs, STEADY_MS } from './respawn.ts'
import { type Gathered, gathered, type ReportName } from './siblings.ts'
import { forkWorker, type WorkerEnd, type WorkerProcess } from './worker-process.ts'

export interface WorkersOptions {
  readonly settings: Settings
  readonly machine: Machine
  readonly log: Log
  readonly seams: Seams
  /** Says to whoever started MESH why a worker cannot take a dead one's place. */
  readonly notice: (text: string) => void
}

const PROGRAM = join(import.meta.dirname, 'worker.ts')
/** How often a worker may die before it serves, at the start of MESH. */
const START_ATTEMPTS_MAX = 3

/**
 * Starts `settings.workers` processes that serve on one port, and keeps as many: one that dies is replaced. Resolves
 * when all of them listen. Once a process.
 * @throws StartupError where a worker is refused, or dies again and again.
 */
export async function startWorkers(options: WorkersOptions): Promise<Serving> {
  const pool = new WorkerPool(options)
  try {
    return {
      ...(await pool.start()),
      change: (change) => pool.change(change),
      stop: () => pool.stop(),
    }
  } catch (error) {
    await pool.kill()
    throw error
  }
}

class WorkerPool {
  readonly #options: WorkersOptions
  /** With the policy that counts now, which may be newer than the start. */
  #settings: Settings
  readonly #stopping = new AbortController()
  readonly #workers = new Set<WorkerProcess>()
  #codeVersion: string
  /** What workers ask for when they listen: all must ask alike to share it, also where it is 0 for any free port. */
  #port: number
  #url: string | undefined

  constructor(options: WorkersOptions) {
    this.#options = options
    this.#settings = options.settings
    this.#codeVersion = codeVersion(options.machine.prices)
    this.#port = options.settings.port
  }

  async start(): Promise<Ports> {
    // The primary takes connections and hands them out in turn: the system itself would give most to few.
    cluster.schedulingPolicy = cluster.SCHED_RR
    cluster.setupPrimary({
      exec: PROGRAM,
      args: [],
      serialization: 'advanced',
      // Lines of the log alone: what a start prints, the primary prints.
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    const { workers } = this.#options.settings
    const all = await Promise.all(Array.from({ length: workers }, () => this.#startOne()))
    return all[0] ?? { url: '' }
  }

  /** Tells every worker. One that does not take it is ended, and the next one begins with it. */
  async change({ settings, prices }: Change): Promise<void> {
    this.#settings = settings
    this.#codeVersion = codeVersion(prices)
    await Promise.all([...this.#workers].map((worker) => worker.change(this.#ofWorker())))
  }

  /** Lets every worker drain, and waits for their ends. */
  async stop(): Promise<void> {
    this.#stopping.abort()
    // Who does not want to wait for that ends this process; its workers would drain all the same.
    process.once('exit', () => this.#killAll())
    await Promise.all([...this.#workers].map((worker) => worker.stop()))
  }

  async kill(): Promise<void> {
    this.#stopping.abort()
    this.#killAll()
    await Promise.all([...this.#workers].map(({ ended }) => ended))
  }

  #killAll(): void {
    for (const worker of this.#workers) worker.kill()
  }

  /** Starts one worker and keeps it, or another one in its place, from then on. */
  async #startOne(): Promise<Ports> {
    for (let attempt = 1; ; attempt++) {
      const worker = this.#fork()
      const start = await worker.started
      if (start.is === 'serving') {
        this.#url ??= start.ports.url
        void this.#keep(worker)
        return start.ports
      }
      if (start.is === 'refused') throw new StartupError(start.sentence)
      if (attempt === START_ATTEMPTS_MAX || this.#stopping.signal.aborted) {
        throw new StartupError(
          `A worker ended ${attempt} times before it could serve (${shown(start)}): see the log, or set MESH_WORKERS lower.`,
        )
      }
      await this.#pause(respawnDelayMs(attempt))
    }
  }

  async #keep(first: WorkerProcess): Promise<void> {
    let worker = first
    let quickDeaths = 0
    while (true) {
      const startedAt = performance.now()
      const end = await worker.ended
      if (this.#stopping.signal.aborted) return
      this.#tellOf(worker, end)
      quickDeaths = performance.now() - startedAt < STEADY_MS ? quickDeaths + 1 : 0
      await this.#pause(respawnDelayMs(quickDeaths))
      if (this.#stopping.signal.aborted) return
      worker = this.#fork()
      const start = await worker.started
      if (start.is === 'refused') this.#options.notice(start.sentence)
      // The last of the others died while this one started, and any free port was another one.
      if (start.is === 'serving' && start.ports.url !== this.#url) worker.kill()
    }
  }

  #fork(): WorkerProcess {
    // With the last worker the port was closed: from now on it is asked for by its number.
    if (this.#url !== undefined && this.#workers.size === 0) this.#port = Number(new URL(this.#url).port)
    const worker = forkWorker(this.#order(), (name) => this.#gather(name))
    this.#workers.add(worker)
    void worker.ended.then(() => {
      this.#workers.delete(worker)
      void this.#release(worker)
    })
    return worker
  }

  #order(): WorkOrder {
    const { machine, seams } = this.#options
    return {
      settings: this.#ofWorker(),
      connection: new Sensitive(machine.connection),
      signingKeyPem: machine.signingKey.pem,
      routerId: newId('rtr', seams),
      codeVersion: this.#codeVersion,
      ...(machine.isEmbedded ? { home: this.#settings.home } : {}),
      primaryPid: process.pid,
    }
  }

  /** The settings as workers have them: with the port that they share, without what only the primary needs. */
  #ofWorker(): Settings {
    const { adminKey: _, ...ofWorker } = this.#settings
    return { ...ofWorker, port: this.#port }
  }

  async #gather(name: ReportName): Promise<Gathered<ReportName>> {
    return gathered(await Promise.all([...this.#workers].map((worker) => worker.report(name))))
  }

  #tellOf({ order: { routerId } }: WorkerProcess, { code, signal }: WorkerEnd): void {
    const { log } = this.#options
    if (code === 0) log.info('a worker ended and is replaced', { routerId })
    else log.error('a worker died and is replaced', { routerId, ...(signal === null ? {} : { signal }) })
  }

  /** What a dead worker held is released at once; one that drained holds nothing. */
  async #release({ order: { routerId } }: WorkerProcess): Promise<void> {
    const { log, machine } = this.#options
    if (this.#stopping.signal.aborted) return
    try {
      const count = await releaseHoldsOfDead(machine.database, routerId)
      if (count === undefined) log.warn('the holds of a dead worker are left to expire', { routerId })
      else if (count > 0) log.warn('the holds of a dead worker were released', { routerId, count })
    } catch (error) {
      log.warn('the holds of a dead worker are left to expire', { routerId, ...describeError(error) })
    }
  }

  async #pause(ms: number): Promise<void> {
    await pause(ms, undefined, { signal: this.#stopping.signal }).catch(() => undefined)
  }
}

function shown({ code, signal }: WorkerEnd): string {
  return signal ?? (code === null ? 'no process could be made' : `exit code ${code}`)
}
