import type { Id } from '../ids.ts'
import type { Sensitive } from '../sensitive.ts'
import type { Ports } from '../serve.ts'
import type { Settings } from '../settings.ts'
import type { ConnectionOptions } from '../storage/database.ts'
import type { Gathered, ReportName, Reports } from './siblings.ts'

/**
 * What a worker serves with. All of it comes from the primary and nothing from the environment or from files, which may
 * have changed since MESH was started: every worker is like every other.
 */
export interface WorkOrder {
  /** With the port that the workers share; without what only the primary needs. */
  readonly settings: Settings
  readonly connection: Sensitive<ConnectionOptions>
  readonly signingKeyPem: Sensitive<string>
  readonly routerId: Id<'rtr'>
  /** The code that the primary runs. A worker is read from the disk when it is started, which may be much later. */
  readonly codeVersion: string
  /** The data folder, where the database is embedded. */
  readonly home?: string
  readonly primaryPid: number
}

/** What a worker asks of its primary. */
export type AskedOfPrimary = {
  readonly order: { readonly ask: undefined; readonly answer: WorkOrder }
  /** Says that the worker listens. */
  readonly serving: { readonly ask: Ports; readonly answer: undefined }
  /** Says why the worker cannot start, in one plain sentence. */
  readonly refused: { readonly ask: { readonly sentence: string }; readonly answer: undefined }
  readonly gather: { readonly ask: ReportName; readonly answer: Gathered<ReportName> }
}

/** What the primary asks of a worker. */
export type AskedOfWorker = {
  /** Answered when calls that begin from then on go by these settings. */
  readonly change: { readonly ask: Settings; readonly answer: undefined }
  /** Answered at once: the worker drains from then on, and ends. */
  readonly stop: { readonly ask: undefined; readonly answer: undefined }
  readonly report: { readonly ask: ReportName; readonly answer: Reports[ReportName] | undefined }
}
