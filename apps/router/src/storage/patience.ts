import { MeshError } from '../errors.ts'

/** What a caller is told who has waited for as long as callers wait. */
export const LATE_DATABASE = 'The database does not answer in time; try again later.'

/**
 * Waits for the database no longer than so. Rejects with `storage_unavailable` then, and as `work` does before that;
 * `work` itself goes on, and what becomes of it later is told to nobody.
 */
export async function withinPatience<Value>(work: Promise<Value>, patienceMs: number): Promise<Value> {
  const { promise: late, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => {
    reject(new MeshError('storage_unavailable', LATE_DATABASE))
  }, patienceMs)
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
