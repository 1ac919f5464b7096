/**
 * The program of one worker: a router process that its primary started. It asks the primary what to serve with, serves,
 * and ends when it is told to, or when the primary has died. Ctrl-C and a closed terminal are the primary's business.
 */
import cluster from 'node:cluster'
import { catalogOf } from '../catalog.ts'
import { endOnCrash } from '../crash.ts'
import { giveBackMemoryWhenIdle } from '../give-back-memory.ts'
import { createLog, describeError, type Log, ofRouter } from '../log.ts'
import { priceBookOf } from '../prices.ts'
import { signingKeyFrom } from '../records/signing-key.ts'
import { systemSeams } from '../seams.ts'
import { type Serving, serve } from '../serve.ts'
import { POOL_SIZE, STATEMENT_TIMEOUT_MS } from '../storage/connections.ts'
import { applicationName, openDatabase } from '../storage/database.ts'
import { type HomeLock, lockHomeAsWorker } from '../storage/home-lock.ts'
import { StartupError } from '../storage/startup-error.ts'
import { codeVersion } from './code-version.ts'
import { Link } from './link.ts'
import type { AskedOfPrimary, AskedOfWorker, WorkOrder } from './questions.ts'
import { type Gathered, gathered, OwnReports, type Siblings } from './siblings.ts'

/** How long the primary may take to answer; it does little else. */
const ANSWER_MS = 10_000
/** How long a worker without a primary waits for a database that may be as dead, once its calls have ended. */
const ORPHAN_BOOKS_MS = 10_000
/** When a worker without a primary ends whatever holds it, counted from the end of the drain. */
const ORPHAN_END_MS = 30_000

const primary = new Link<AskedOfPrimary, AskedOfWorker>({
  send: (message, done) => void process.send?.(message, undefined, {}, done),
  onMessage: (listener) => process.on('message', listener),
  onClosed: (listener) => process.once('disconnect', listener),
})
const own = new OwnReports()
const siblings: Siblings = {
  report: (name, make) => own.set(name, make),
  // Alone in the moment in which the primary dies.
  gather: async (name) => {
    const asked = primary.ask('gather', name, ANSWER_MS) as Promise<Gathered<typeof name>>
    return await asked.catch(async () => gathered([await own.make(name)]))
  },
}

/** A worker that serves. */
interface Running {
  readonly order: WorkOrder
  readonly log: Log
  /** Kept for as long as the process lives. */
  readonly lock: HomeLock | undefined
  readonly change: Serving['change']
  /** As `Serving.stop`, and closes the database. */
  stop(booksPatienceMs?: number): Promise<void>
}

async function start(): Promise<Running> {
  const order = await primary.ask('order', undefined, ANSWER_MS)
  const { settings, routerId } = order
  const log = ofRouter(createLog(settings.logLevel ?? 'info'), routerId)
  endOnCrash(log)
  try {
    const lock = requireLivingPrimary(order)
    const catalog = catalogOf(settings.policy)
    const prices = priceBookOf(catalog, settings.policy)
    if (codeVersion(prices) !== order.codeVersion) {
      throw new StartupError('The files of MESH were changed while it ran: stop it, and start it again.')
    }
    const database = openDatabase(order.connection.reveal(), {
      poolSize: POOL_SIZE,
      keepsConnections: true,
      applicationName: applicationName(routerId),
      statementTimeoutMs: STATEMENT_TIMEOUT_MS,
    })
    const signingKey = signingKeyFrom(order.signingKeyPem)
    const serving = await serve({
      ...{ settings, catalog, prices, signingKey, database, routerId, siblings, log },
      seams: systemSeams,
    })
    const { stop: _, change, ...ports } = serving
    await primary.ask('serving', ports, ANSWER_MS)
    giveBackMemoryWhenIdle()
    return {
      order,
      log,
      lock,
      change,
      async stop(booksPatienceMs) {
        await serving.stop(booksPatienceMs)
        await database.close()
      },
    }
  } catch (error) {
    if (error instanceof StartupError) await primary.ask('refused', { sentence: error.message }, ANSWER_MS)
    else log.error('a worker could not start', describeError(error))
    throw error
  }
}

/**
 * Takes the worker's part of the folder, and looks only then whether the primary lives: if it does the next one waits
 * for this worker to end, and if not this worker must not begin.
 */
function requireLivingPrimary({ home, primaryPid }: WorkOrder): HomeLock | undefined {
  const lock = home === undefined ? undefined : lockHomeAsWorker(home)
  const isTaken = home === undefined || lock !== undefined
  if (isTaken && process.ppid === primaryPid) return lock
  throw new Error('the primary has died')
}

let isLeaving = false

/** Drains and ends the process. Where the start fails, that has ended it. */
async function leave(): Promise<void> {
  if (isLeaving) return
  isLeaving = true
  const { stop } = await starting
  await stop(process.connected ? undefined : ORPHAN_BOOKS_MS)
  process.exit(0)
}

async function leaveWithoutPrimary(): Promise<void> {
  const { order, log } = await starting
  log.warn('the primary has died, so this worker ends')
  setTimeout(() => process.exit(1), order.settings.policy.shutdown.drainMs + ORPHAN_END_MS)
  await leave()
}

primary.answer('report', (name) => own.make(name))
primary.answer('change', async (settings) => {
  const { change } = await starting
  const { policy } = settings
  await change({ settings, prices: priceBookOf(catalogOf(policy), policy) })
  return undefined
})
primary.answer('stop', async () => {
  void leave()
  return undefined
})
process.on('SIGINT', () => undefined)
process.on('SIGHUP', () => undefined)
// Of somebody who wants another one in this worker's place.
process.on('SIGTERM', () => void leave())
cluster.worker?.once('disconnect', () => {
  // Else Node ends the process here and now, with all its calls.
  if (cluster.worker) cluster.worker.exitedAfterDisconnect = true
  void leaveWithoutPrimary()
})

const starting = start()
starting.catch(() => process.exit(1))
