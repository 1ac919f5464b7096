import { type FileHandle, link, open, rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { StartupError } from './startup-error.ts'

/** What systems say when no room is left, or when a file may not grow any more. */
const FULL = new Set(['ENOSPC', 'EDQUOT', 'EFBIG'])
/** What file systems without hard links say. */
const NO_LINKS = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'])

/**
 * Makes a file that appears under its name when it is whole and on disk, readable by its owner alone. Never replaces
 * one, and leaves nothing behind where `write` fails. Throws `StartupError` where the folder or the disk is the reason.
 */
export async function publishFile<Result>(
  path: string,
  write: (file: FileHandle) => Promise<Result>,
): Promise<Result> {
  await requireAbsent(path)
  const partial = `${path}.partial`
  const file = await openNew(partial)
  try {
    const result = await write(file)
    await file.sync()
    await file.close()
    await giveName(partial, path)
    await syncFolder(dirname(path))
    return result
  } catch (error) {
    await file.close().catch(() => undefined)
    await rm(partial, { force: true })
    throw isCoded(error, FULL)
      ? new StartupError(`There is no room left for ${path}: nothing was written.`, error)
      : error
  }
}

/** Makes what was done in a folder last. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

async function requireAbsent(path: string): Promise<void> {
  if ((await stat(path).catch(() => undefined)) === undefined) return
  throw new StartupError(`${path} is there already, and is not overwritten: name another file.`)
}

async function openNew(partial: string): Promise<FileHandle> {
  try {
    return await open(partial, 'wx', 0o600)
  } catch (error) {
    if (isCoded(error, new Set(['EEXIST']))) {
      throw new StartupError(
        `${partial} is there: another export writes it at the moment, or one was interrupted; then delete it.`,
        error,
      )
    }
    if (isCoded(error, FULL)) throw new StartupError(`There is no room left for ${partial}.`, error)
    throw new StartupError(`${partial} cannot be made: name a folder that is there and is yours.`, error)
  }
}

/** A link never replaces anything, and a rename does. */
async function giveName(partial: string, path: string): Promise<void> {
  try {
    await link(partial, path)
    await rm(partial)
  } catch (error) {
    if (!isCoded(error, NO_LINKS)) {
      await requireAbsent(path)
      throw error
    }
    await requireAbsent(path)
    await rename(partial, path)
  }
}

function isCoded(error: unknown, codes: ReadonlySet<string>): boolean {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && codes.has(error.code)
}
