import cluster, { type Worker } from 'node:cluster'
import { once } from 'node:events'
import type { Ports } from '../serve.ts'
import type { Settings } from '../settings.ts'
import { Link } from './link.ts'
import type { AskedOfPrimary, AskedOfWorker, WorkOrder } from './questions.ts'
import type { Gathered, ReportName, Reports } from './siblings.ts'
import { closeUntakenConnections } from './untaken-connections.ts'

/** How a process ended. */
export interface WorkerEnd {
  readonly code: number | null
  readonly signal: string | null
}

/** What came of the start of a worker. */
export type WorkerStart =
  | { readonly is: 'serving'; readonly ports: Ports }
  | { readonly is: 'refused'; readonly sentence: string }
  | ({ readonly is: 'ended' } & WorkerEnd)

/** A worker as its primary sees it. */
export interface WorkerProcess {
  readonly order: WorkOrder
  readonly started: Promise<WorkerStart>
  readonly ended: Promise<WorkerEnd>
  /** What the worker answers; `undefined` where it does not, in time. */
  report<Name extends ReportName>(name: Name): Promise<Reports[Name] | undefined>
  /** Tells it to go by new settings; one that does not answer is killed. */
  change(settings: Settings): Promise<void>
  /** Lets it drain, and waits for its end. */
  stop(): Promise<void>
  kill(): void
}

/** A start takes a second; this is for machines that do much else. */
const START_PATIENCE_MS = 120_000
/** A worker that does not answer for so long does nothing any more. */
const ANSWER_MS = 10_000
/** Whoever asks for a report does not wait long for one worker. */
const REPORT_MS = 1_000

/** Starts a worker with its order. `gather` asks all workers for a report. */
export function forkWorker(
  order: WorkOrder,
  gather: (name: ReportName) => Promise<Gathered<ReportName>>,
): WorkerProcess {
  const worker = cluster.fork()
  closeUntakenConnections(worker)
  const link = linkTo(worker)
  const { promise: started, resolve } = Promise.withResolvers<WorkerStart>()
  const kill = (): void => void worker.process.kill('SIGKILL')
  const patience = setTimeout(kill, START_PATIENCE_MS)
  const ended = endOf(worker)
  void ended.then((end) => resolve({ is: 'ended', ...end }))
  void started.then(() => clearTimeout(patience))

  link.answer('order', async () => order)
  link.answer('serving', async (ports) => {
    resolve({ is: 'serving', ports })
    return undefined
  })
  link.answer('refused', async ({ sentence }) => {
    resolve({ is: 'refused', sentence })
    return undefined
  })
  link.answer('gather', gather)

  return {
    order,
    started,
    ended,
    // What is asked by a name is answered with that name's report.
    report: <Name extends ReportName>(name: Name) =>
      link.ask('report', name, REPORT_MS).catch(() => undefined) as Promise<Reports[Name] | undefined>,
    async change(settings) {
      await link.ask('change', settings, ANSWER_MS).catch(kill)
    },
    async stop() {
      await link.ask('stop', undefined, ANSWER_MS).catch(kill)
      await ended
    },
    kill,
  }
}

function linkTo(worker: Worker): Link<AskedOfWorker, AskedOfPrimary> {
  return new Link({
    send: (message, done) => void worker.send(message, done),
    onMessage: (listener) => worker.on('message', listener),
    onClosed: (listener) => worker.once('disconnect', listener),
  })
}

async function endOf(worker: Worker): Promise<WorkerEnd> {
  try {
    const [code, signal] = await once(worker, 'exit')
    return { code, signal }
  } catch {
    // The system could not start the process at all.
    return { code: null, signal: null }
  }
}
