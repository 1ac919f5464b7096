import { mkdir, readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { homeFile } from '../settings.ts'
import { checkBooks, openBooks } from '../storage/books-file.ts'
import type { ExportedBooks } from '../storage/export-books.ts'
import { compactRevocations, summariseRevocations } from '../storage/revocation-file.ts'
import { StartupError } from '../storage/startup-error.ts'
import { type Command, type OpsContext, UsageError } from './command.ts'
import { exportTo } from './export.ts'
import { withDatabase } from './open-database.ts'
import { rowsIn } from './progress.ts'

const KEPT_DEFAULT = 7
const NAME = /^mesh-books-\d{8}T\d{6}Z\.mesh$/
const PARTIAL = /^mesh-books-\d{8}T\d{6}Z\.mesh\.partial$/
/** No backup takes as long, so whoever wrote such a file is gone. */
const ABANDONED_MS = 86_400_000
/**
 * A stop that was made shortly before a backup may have been committed after it, and clocks differ; so stops of that
 * time stay in the journal.
 */
const JOURNAL_MARGIN_MS = 3_600_000

export const backup: Command = {
  words: ['backup'],
  options: { keep: { type: 'string' }, json: { type: 'boolean' } },
  operands: [1, 1],
  help: `backup FOLDER [--keep N] [--json]
    Exports into a file named after the time, reads it back, and deletes all but the newest N (${KEPT_DEFAULT}).
    Routers go on meanwhile. --json prints one line for programs and nothing else.`,
  async run(context, [folder = ''], { keep, json }) {
    const kept = readKeep(keep)
    if (json !== true) return await makeBackup(context, context.pathOf(folder), kept, describe)
    try {
      return await makeBackup({ ...context, tell: () => undefined }, context.pathOf(folder), kept, (made) =>
        JSON.stringify(made),
      )
    } catch (error) {
      if (!(error instanceof StartupError)) throw error
      context.say(JSON.stringify({ error: error.message }))
      return 1
    }
  },
}

interface Made {
  readonly file: string
  readonly takenAt: string
  readonly bytes: number
  readonly rows: number
  readonly sha256: string
  /** Older ones that were deleted. */
  readonly removed: readonly string[]
  /** The journal of revocations after the backup; null where this machine has none. */
  readonly journal: {
    readonly stops: number
    readonly since: string | null
    readonly newestAt: string | null
  } | null
}

async function makeBackup(
  context: OpsContext,
  folder: string,
  kept: number,
  render: (made: Made) => string,
): Promise<number> {
  await prepareFolder(folder)
  const time = new Date()
    .toISOString()
    .replace(/\.\d+Z$/, 'Z')
    .replace(/[-:]/g, '')
  const file = join(folder, `mesh-books-${time}.mesh`)
  const exported = await withDatabase(context, { whenBusy: 'attach', create: false }, (database) =>
    exportTo(context, database, file),
  )
  context.tell('Reading it back …')
  await readBack(file, exported)
  const { removed, oldest } = await rotate(folder, kept)
  const journal = homeFile(context.settings(), 'revocations')
  if (oldest !== undefined) {
    await compactRevocations(journal, new Date(oldest.getTime() - JOURNAL_MARGIN_MS))
  }
  const summary = await summariseRevocations(journal)
  context.say(
    render({
      file,
      takenAt: exported.header.takenAt,
      bytes: (await stat(file)).size,
      rows: rowsIn(exported.rowsByTable),
      sha256: exported.sha256,
      removed,
      journal: summary
        ? {
            stops: summary.stops,
            since: summary.since?.toISOString() ?? null,
            newestAt: summary.newestAt?.toISOString() ?? null,
          }
        : null,
    }),
  )
  return 0
}

function describe({ file, takenAt, bytes, rows, sha256, removed }: Made): string {
  return [
    `${file}: ${rows.toLocaleString('en')} rows as of ${takenAt}, ${bytes.toLocaleString('en')} bytes, read back; SHA-256 ${sha256}`,
    ...removed.map((name) => `deleted ${name}`),
  ].join('\n')
}

function readKeep(text: unknown): number {
  if (text === undefined) return KEPT_DEFAULT
  if (typeof text === 'string' && /^[1-9]\d{0,5}$/.test(text)) return Number(text)
  throw new UsageError('--keep takes how many backups to keep, 1 or more.')
}

async function prepareFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 })
  } catch (error) {
    throw new StartupError(`The folder ${folder} cannot be made: name one that you may write to.`, error)
  }
}

/** What a disk or a network returns is not always what it took. */
async function readBack(file: string, { sha256 }: ExportedBooks): Promise<void> {
  const found = await checkBooks(file).catch((error: unknown) => {
    if (error instanceof StartupError) return undefined
    throw error
  })
  if (found?.sha256 === sha256) return
  await rm(file, { force: true })
  throw new StartupError(
    `${file} reads back as something else than was written, and was deleted: check the disk.`,
  )
}

/** Deletes all backups but the newest. `oldest` is when the oldest of those that can be read was taken. */
async function rotate(
  folder: string,
  kept: number,
): Promise<{ removed: string[]; oldest: Date | undefined }> {
  const entries = await readdir(folder)
  for (const name of entries.filter((entry) => PARTIAL.test(entry))) {
    const { mtimeMs } = await stat(join(folder, name))
    if (Date.now() - mtimeMs > ABANDONED_MS) await rm(join(folder, name), { force: true })
  }
  const backups = entries.filter((entry) => NAME.test(entry)).sort()
  const removed = backups.slice(0, -kept).map((name) => join(folder, name))
  for (const path of removed) await rm(path, { force: true })
  for (const name of backups.slice(-kept)) {
    const books = await openBooks(join(folder, name)).catch(() => undefined)
    if (books !== undefined) return { removed, oldest: new Date(books.header.takenAt) }
  }
  return { removed, oldest: undefined }
}
