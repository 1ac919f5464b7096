import { firstIdAt, type Id, idTimeMs, type Seams } from '../ids.ts'
import { describeError, type Log } from '../log.ts'
import type { Database } from '../storage/database.ts'
import {
  appendBooks,
  appendStops,
  readRevocations,
  readStops,
  type Stop,
  type StopAction,
  summariseRevocations,
} from '../storage/revocation-file.ts'
import type { AuditAction } from './audit.ts'

/**
 * The journal of what was stopped: keys, accounts, operator keys. It lies outside the database, so that books that are
 * restored from an older backup can be told what they do not know.
 */
export interface Revocations {
  /**
   * Appends what the books know and the journal does not; it is on disk when this resolves. Never rejects: what could
   * not be written is tried again until it is.
   */
  sync(): Promise<void>
  close(): Promise<void>
}

export interface RevocationsOptions {
  readonly database: Pick<Database, 'pool'>
  readonly path: string
  readonly seams: Pick<Seams, 'now'>
  readonly log: Log
}

/**
 * How far back each look goes. Ids carry the clock of the router that made them, and a transaction commits after its
 * ids are made; routers whose clocks differ by more than this would not hear of each other's stops.
 */
const LOOK_BACK_MS = 600_000
/** A folder that cannot be written to may be one for good, so the pauses between retries grow up to the longest. */
const RETRY_MS = 1_000
const RETRY_MS_MAX = 300_000
const PAGE_ROWS = 1_000

/** What a change that stops something, or lets an account go on, is audited as. */
export const STOPPING: ReadonlySet<AuditAction> = new Set<AuditAction>([
  'key.revoked',
  'key.rotated',
  'account.updated',
])

const STOPS = `select id, action, target, created_at, after ->> 'status' as status,
    coalesce((after ->> 'stopsAt')::timestamptz,
      created_at + coalesce((after ->> 'graceSeconds')::integer, 0) * interval '1 second') as at
  from audit_events
  where id > $1 and (
    action in ('key.revoked', 'key.rotated', 'operator_key.replaced')
    or (action = 'account.updated' and after ->> 'status' is distinct from before ->> 'status')
  )
  order by id limit ${PAGE_ROWS}`

interface StopRow {
  readonly id: Id<'aud'>
  readonly action: string
  readonly target: string
  readonly status: string | null
  readonly at: Date
}

/**
 * Opens the journal. Its first look reads what this machine has missed since the newest line, or everything where the
 * journal is not of these books yet.
 */
export function createRevocations({ database, path, seams, log }: RevocationsOptions): Revocations {
  /** Audit ids in the journal, as far back as a look goes. */
  let written = new Set<string>()
  let lookedAtMs: number | undefined
  /** Whether it says that it has every stop of these books. */
  let isOfBooks = false
  let isClosed = false
  let retry: NodeJS.Timeout | undefined
  let retryMs = RETRY_MS
  let running: Promise<void> = Promise.resolve()
  let next: Promise<void> | undefined

  const look = async (): Promise<void> => {
    const nowMs = seams.now()
    const books = isOfBooks ? undefined : await oldestAudit(database)
    if (lookedAtMs === undefined) {
      await appendStops(path, [])
      const journal = await summariseRevocations(path)
      isOfBooks = books !== undefined && journal?.books.has(books) === true
      lookedAtMs = isOfBooks ? await newestMs(path, nowMs) : 0
      written = await idsSince(path, lookedAtMs - LOOK_BACK_MS)
    }
    // The clock may have been set back since.
    const sinceMs = Math.max(0, Math.min(lookedAtMs, nowMs) - LOOK_BACK_MS)
    let after: string = firstIdAt('aud', sinceMs)
    for (let isLast = false; !isLast; ) {
      const { rows } = await database.pool.query<StopRow>(STOPS, [after])
      const stops = rows.filter(({ id }) => !written.has(id)).map(toStop)
      if (stops.length > 0) await appendStops(path, stops)
      for (const { auditId } of stops) written.add(auditId)
      after = rows.at(-1)?.id ?? after
      isLast = rows.length < PAGE_ROWS
    }
    lookedAtMs = nowMs
    // Not before all of them are in: a journal that says so is believed.
    if (!isOfBooks && books !== undefined) {
      await appendBooks(path, books)
      isOfBooks = true
    }
    const oldest = firstIdAt('aud', sinceMs)
    for (const id of written) if (id < oldest) written.delete(id)
  }

  const lookOrRetry = async (): Promise<void> => {
    next = undefined
    clearTimeout(retry)
    try {
      await look()
      retryMs = RETRY_MS
    } catch (error) {
      if (isClosed) return
      log.error('the revocation journal is behind', describeError(error))
      retry = setTimeout(() => void sync(), retryMs)
      retry.unref()
      retryMs = Math.min(2 * retryMs, RETRY_MS_MAX)
    }
  }

  // Who asks while a look is under way needs the one after it, for that one may have passed his change already.
  const sync = (): Promise<void> => {
    if (next === undefined) {
      next = running.then(lookOrRetry)
      running = next
    }
    return next
  }

  return {
    sync,
    async close() {
      isClosed = true
      await running
      clearTimeout(retry)
    },
  }
}

function toStop({ id, action, target, status, at }: StopRow): Stop {
  return {
    auditId: id,
    action: action === 'account.updated' ? statusAction(status) : (action as StopAction),
    target,
    at,
  }
}

function statusAction(status: string | null): StopAction {
  if (status === 'suspended') return 'account.suspended'
  return status === 'closed' ? 'account.closed' : 'account.active'
}

async function oldestAudit({ pool }: Pick<Database, 'pool'>): Promise<Id<'aud'> | undefined> {
  const { rows } = await pool.query<{ id: Id<'aud'> }>('select id from audit_events order by id limit 1')
  return rows[0]?.id
}

/**
 * Until when a journal is known to know of stops; the beginning of time for a new one. What a clock that was ahead has
 * dated after now says nothing of the time until now.
 */
async function newestMs(path: string, nowMs: number): Promise<number> {
  let newest = 0
  for await (const line of readRevocations(path)) {
    const timeMs = line.kind === 'stop' ? idTimeMs(line.stop.auditId) : 0
    if (timeMs <= nowMs) newest = Math.max(newest, timeMs)
    if (line.kind === 'since') newest = Math.max(newest, Math.min(line.since.getTime(), nowMs))
  }
  return newest
}

async function idsSince(path: string, sinceMs: number): Promise<Set<string>> {
  const ids = new Set<string>()
  for await (const { auditId } of readStops([path])) if (idTimeMs(auditId) >= sinceMs) ids.add(auditId)
  return ids
}
