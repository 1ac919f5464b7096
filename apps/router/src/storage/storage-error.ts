import { MeshError } from '../errors.ts'

/** What `pg` and Node say, without a code of PostgreSQL's, when a connection cannot be had or breaks. */
const LOST_CONNECTION =
  /^(Connection terminated|timeout expired|timeout exceeded when trying to connect|Client (has encountered|was closed)|Query read timeout|Cannot use a pool after)/
const SYSTEM_CODES: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ENOENT',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EACCES',
])
/**
 * SQLSTATE classes and codes of a database that cannot serve now: connection exceptions (08), insufficient
 * resources (53), operator intervention (57: shutdown, starting, cancelled by a time-out), system errors (58), a
 * standby after a fail-over (25006), and a session that is not the one a statement was prepared in (26000, 42P05), as
 * behind a proxy that hands sessions around. https://www.postgresql.org/docs/18/errcodes-appendix.html
 */
const UNAVAILABLE_STATE = /^(08|53|57|58)...$|^(25006|26000|42P05)$/

/** Whether an error says that the database cannot be reached or cannot serve, not that the statement was wrong. */
function isStorageUnavailable(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  if (error instanceof AggregateError) return error.errors.some(isStorageUnavailable)
  if ('code' in error && typeof error.code === 'string') {
    return SYSTEM_CODES.has(error.code) || UNAVAILABLE_STATE.test(error.code)
  }
  return LOST_CONNECTION.test(error.message)
}

/**
 * The error to throw for one that came from PostgreSQL: `storage_unavailable` where the database cannot serve, else
 * the error itself. For those who use the pool or a connection directly; `Database.query` and `connect` do it
 * themselves.
 */
export function storageError(error: unknown): unknown {
  return isStorageUnavailable(error) ? connectionError(error) : error
}

/** The error to throw where no connection could be had: whatever the reason is, no statement is at fault. */
export function connectionError(error: unknown): MeshError {
  return new MeshError('storage_unavailable', 'The database cannot serve at the moment; try again later.', {
    cause: error,
  })
}
