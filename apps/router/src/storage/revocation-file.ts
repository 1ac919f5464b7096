import { createHash } from 'node:crypto'
import { chown, type FileHandle, mkdir, open, rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { type Id, idTimeMs, isId } from '../ids.ts'
import { lockBy } from './home-lock.ts'
import { syncFolder } from './new-file.ts'
import { StartupError } from './startup-error.ts'

/** What stops, or in the case of an account goes on. The words are those of a line. */
export const STOP_ACTIONS = [
  'key.revoked',
  'key.rotated',
  'account.suspended',
  'account.closed',
  'account.active',
  'operator_key.replaced',
] as const
export type StopAction = (typeof STOP_ACTIONS)[number]

/** That something was stopped: ids and times, and nothing else. */
export interface Stop {
  /** The audit event that says so; books that have it know of the stop. */
  readonly auditId: Id<'aud'>
  readonly action: StopAction
  /** The key, account or operator key. */
  readonly target: string
  /** When it stops: for a key that was rotated with a grace, the end of that. */
  readonly at: Date
}

/** What a file of stops says: how far back it goes, and what it holds. */
export type RevocationLine =
  | { readonly kind: 'stop'; readonly stop: Stop }
  /** Which books it is of, by the oldest event of their audit: they keep that wherever they are restored. */
  | { readonly kind: 'books'; readonly books: Id<'aud'> }
  /** Older stops were taken out, for backups that were kept have them. */
  | { readonly kind: 'since'; readonly since: Date }
  /** Cut off or altered. */
  | { readonly kind: 'damaged' }

const SUM_CHARACTERS = 8
const LINE_FEED = 0x0a
/** Where a compaction puts what it is about to read: appends go to a new file meanwhile. */
const SET_ASIDE = '.old'

/** What a line is when it is whole: words, then the beginning of their SHA-256. */
function toLine(words: string): string {
  return `${words} ${sumOf(words)}\n`
}

function sumOf(words: string): string {
  return createHash('sha256').update(words).digest('hex').slice(0, SUM_CHARACTERS)
}

function readLine(line: string): RevocationLine {
  const words = line.slice(0, -SUM_CHARACTERS - 1)
  if (line !== `${words} ${sumOf(words)}`) return { kind: 'damaged' }
  const [first = '', second = '', target = '', time = ''] = words.split(' ')
  if (first === 'since') return { kind: 'since', since: new Date(second) }
  if (first === 'books' && isId('aud', second)) return { kind: 'books', books: second }
  const action = STOP_ACTIONS.find((known) => known === second)
  const at = new Date(time)
  if (!isId('aud', first) || action === undefined || Number.isNaN(at.getTime())) return { kind: 'damaged' }
  return { kind: 'stop', stop: { auditId: first, action, target, at } }
}

/**
 * Appends stops and has them on disk when it resolves. Any number of processes may append at once, also while the file
 * is compacted. Makes the file where there is none, readable by its owner alone.
 */
export async function appendStops(path: string, stops: readonly Stop[]): Promise<void> {
  await append(
    path,
    stops.map(({ auditId, action, target, at }) =>
      toLine(`${auditId} ${action} ${target} ${at.toISOString()}`),
    ),
  )
}

/** Says that all stops of some books follow, from the oldest on. As `appendStops`. */
export async function appendBooks(path: string, books: Id<'aud'>): Promise<void> {
  await append(path, [toLine(`books ${books}`)])
}

async function append(path: string, lines: readonly string[]): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  for (;;) {
    const file = await open(path, 'a+', 0o600)
    try {
      // A line that a crash has torn stays a line of its own.
      await file.appendFile(`${(await endsWithin(file)) ? '\n' : ''}${lines.join('')}`)
      await file.sync()
      const [written, named] = [await file.stat(), await stat(path).catch(() => undefined)]
      // One that was set aside in the meantime may have been read before this was written.
      if (named?.ino === written.ino) break
    } finally {
      await file.close()
    }
  }
  await syncFolder(dirname(path))
}

async function endsWithin(file: FileHandle): Promise<boolean> {
  const { size } = await file.stat()
  if (size === 0) return false
  const { buffer } = await file.read(Buffer.alloc(1), 0, 1, size - 1)
  return buffer[0] !== LINE_FEED
}

/** Reads what was appended; a line that is not whole is told as `damaged`. Throws `StartupError` for what cannot be read. */
export async function* readRevocations(path: string): AsyncGenerator<RevocationLine> {
  for (const part of [`${path}${SET_ASIDE}`, path]) if (await exists(part)) yield* readOne(part)
}

/** The stops alone. */
export async function* readStops(paths: readonly string[]): AsyncGenerator<Stop> {
  for (const path of paths) {
    for await (const line of readRevocations(path)) if (line.kind === 'stop') yield line.stop
  }
}

/** What a journal is good for. */
export interface JournalSummary {
  readonly stops: number
  readonly damagedLines: number
  readonly books: ReadonlySet<string>
  /** It knows every stop from then on that its routers heard of; absent where it goes back to the beginning. */
  readonly since?: Date
  readonly newestAt?: Date
}

/** Looks a journal through. `undefined` where there is none. */
export async function summariseRevocations(path: string): Promise<JournalSummary | undefined> {
  if (!(await exists(path)) && !(await exists(`${path}${SET_ASIDE}`))) return undefined
  const books = new Set<string>()
  let [stops, damagedLines, sinceMs, newestMs] = [0, 0, 0, 0]
  for await (const line of readRevocations(path)) {
    if (line.kind === 'damaged') damagedLines++
    if (line.kind === 'books') books.add(line.books)
    if (line.kind === 'since') sinceMs = Math.max(sinceMs, line.since.getTime())
    if (line.kind !== 'stop') continue
    stops++
    newestMs = Math.max(newestMs, idTimeMs(line.stop.auditId))
  }
  return {
    stops,
    damagedLines,
    books,
    ...(sinceMs > 0 ? { since: new Date(sinceMs) } : {}),
    ...(newestMs > 0 ? { newestAt: new Date(newestMs) } : {}),
  }
}

/**
 * Takes out the stops that are older than a time, and what stands there twice. Routers may append meanwhile. Returns
 * whether that was done: where there is no file, or somebody else is at it, it was not.
 */
export async function compactRevocations(path: string, since: Date): Promise<boolean> {
  if (!(await exists(path))) return false
  const lockFile = `${path}.lock`
  const lock = lockBy(lockFile)
  if (lock === undefined) return false
  const aside = `${path}${SET_ASIDE}`
  try {
    const { uid, gid } = await stat(path)
    await chown(lockFile, uid, gid)
    // What a compaction that was interrupted left.
    if (await exists(aside)) await keepNewer(aside, path, since)
    await rename(path, aside)
    await keepNewer(aside, path, since)
    return true
  } finally {
    lock.release()
  }
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined
}

async function keepNewer(aside: string, path: string, since: Date): Promise<void> {
  const { uid, gid } = await stat(aside)
  const file = await open(path, 'a', 0o600)
  // Whoever compacts, the file stays that of the router's user.
  await file.chown(uid, gid).finally(() => file.close())
  const kept = new Map<string, string>()
  let oldest = since
  for await (const line of readOne(aside)) {
    if (line.kind === 'since' && line.since > oldest) oldest = line.since
    if (line.kind === 'books') kept.set(line.books, toLine(`books ${line.books}`))
    if (line.kind !== 'stop' || idTimeMs(line.stop.auditId) < since.getTime()) continue
    const { auditId, action, target, at } = line.stop
    kept.set(auditId, toLine(`${auditId} ${action} ${target} ${at.toISOString()}`))
  }
  await append(path, [toLine(`since ${oldest.toISOString()}`), ...kept.values()])
  await rm(aside)
  await syncFolder(dirname(path))
}

async function* readOne(path: string): AsyncGenerator<RevocationLine> {
  const file = await open(path, 'r').catch((error: unknown) => {
    throw new StartupError(`The file ${path} cannot be read.`, error)
  })
  try {
    for await (const line of file.readLines()) if (line !== '') yield readLine(line)
  } finally {
    await file.close()
  }
}
