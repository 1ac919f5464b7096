import { MeshError } from '../errors.ts'
import { storageError } from '../storage/storage-error.ts'

/**
 * Why a batch was not posted. `unavailable`: the database cannot serve, or whether it did is not known.
 * `contended`: nothing was posted because a lock was not to be had. `at_fault`: an item of the batch is refused.
 */
export type PostingFailure = 'unavailable' | 'contended' | 'at_fault'

/**
 * SQLSTATEs of statements that were rolled back for another's sake: serialization_failure, deadlock_detected,
 * lock_not_available, query_canceled. https://www.postgresql.org/docs/18/errcodes-appendix.html
 */
const CONTENDED: ReadonlySet<string> = new Set(['40001', '40P01', '55P03', '57014'])

/** Tells the failures of a posting apart. */
export function postingFailure(error: unknown): PostingFailure {
  if (
    error instanceof Error &&
    'code' in error &&
    typeof error.code === 'string' &&
    CONTENDED.has(error.code)
  ) {
    return 'contended'
  }
  return storageError(error) instanceof MeshError ? 'unavailable' : 'at_fault'
}
