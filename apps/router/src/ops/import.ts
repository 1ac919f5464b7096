import type pg from 'pg'
import { replayRevocations } from '../accounts/revocation-replay.ts'
import { verifySnapshot } from '../ledger/verify.ts'
import { systemSeams } from '../seams.ts'
import { homeFile } from '../settings.ts'
import { type BooksHeader, checkBooks, openBooks } from '../storage/books-file.ts'
import { type Database, endConnection } from '../storage/database.ts'
import { loadBooks, requireKnownSchema } from '../storage/import-books.ts'
import { lockSchema } from '../storage/migrate.ts'
import { readStops, summariseRevocations } from '../storage/revocation-file.ts'
import { StartupError } from '../storage/startup-error.ts'
import { type Command, type OpsContext, type OptionValues, UsageError } from './command.ts'
import { settleIn } from './imported-books.ts'
import { withDatabase } from './open-database.ts'
import { ownSigningKeyId } from './own-signing-key.ts'
import { rowsIn } from './progress.ts'

export const importCommand: Command = {
  words: ['import'],
  options: {
    revocations: { type: 'string', multiple: true },
    'stop-all-keys': { type: 'boolean' },
    'without-revocations': { type: 'boolean' },
    'new-signing-key': { type: 'boolean' },
    'accept-differences': { type: 'boolean' },
  },
  operands: [1, 1],
  help: `import FILE [--revocations FILE]…
    Puts exported books into an empty database, verifies them, or changes nothing. Copy signing-key.pem first.
    --revocations FILE     a journal of a router: keys that were revoked after the export stay revoked.
                           MESH_HOME/revocations is read without being named
    --stop-all-keys        where no journal is left: revokes every key, so that none revives; make new ones
    --without-revocations  nothing was revoked since the export: you are sure
    --new-signing-key      the old signing key is lost: old idempotency keys are not recognised any more
    --accept-differences   imports books although "ledger verify" finds something in them`,
  run: (context, [file = ''], options) => importBooks(context, context.pathOf(file), options),
}

async function importBooks(context: OpsContext, path: string, options: OptionValues): Promise<number> {
  const file = await openBooks(path)
  requireKnownSchema(file.header)
  const journals = await findJournals(context, file.header, options)
  await requireSigningKey(context, file.header, options)
  context.tell(`Checking ${path} …`)
  const { sha256 } = await checkBooks(path)
  return await withDatabase(context, { whenBusy: 'refuse', create: true }, async (database) => {
    const { counts, differences } = await inOneTransaction(context, database, async (client) => {
      context.tell('Importing …')
      const rows = new Map<string, number>()
      await loadBooks(client, file, {
        signal: context.signal,
        onTable: (table, count) => {
          rows.set(table, count)
          context.tell(`  ${table}: ${count.toLocaleString('en')} rows`)
        },
      })
      const replayed = await replayRevocations(client, readStops(journals))
      const settled = await settleIn(client, systemSeams, {
        header: file.header,
        sha256,
        stopAllKeys: options['stop-all-keys'] === true,
      })
      context.tell('Verifying …')
      const found = await verify(context, client)
      if (found > 0 && options['accept-differences'] !== true) {
        throw new StartupError(
          `The books of the file have ${found} ${found === 1 ? 'difference' : 'differences'}, so nothing was imported. To import them as they are: --accept-differences`,
        )
      }
      return { counts: { ...settled, ...replayed, rows: rowsIn(rows) }, differences: found }
    })
    context.say(
      `Imported ${counts.rows.toLocaleString('en')} rows as of ${file.header.takenAt}. ${differences === 0 ? 'The books are in order.' : `${differences} differences were accepted.`}`,
    )
    context.say(
      `Stopped by journals: ${counts.keys} keys, ${counts.accounts} accounts. Stopped for want of one: ${counts.keysStopped} keys.`,
    )
    context.say(
      `Released without a charge: ${counts.holdsReleased} calls that ran at the export. Operator keys withdrawn: ${counts.operatorKeysWithdrawn}; the next start lets in the one in MESH_ADMIN_KEY or MESH_HOME/admin-key.`,
    )
    return 0
  })
}

async function inOneTransaction<Result>(
  { signal }: OpsContext,
  database: Database,
  work: (client: pg.Client) => Promise<Result>,
): Promise<Result> {
  const client = await database.connect()
  const onAbort = (): void => void client.end().catch(() => undefined)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    await lockSchema(client)
    await client.query('begin')
    const result = await work(client)
    signal.throwIfAborted()
    await client.query('commit')
    return result
  } catch (error) {
    await client.query('rollback').catch(() => undefined)
    throw error
  } finally {
    signal.removeEventListener('abort', onAbort)
    await endConnection(client)
  }
}

async function verify({ say }: OpsContext, client: pg.Client): Promise<number> {
  let differences = 0
  for await (const { check, sentence } of verifySnapshot(client)) {
    differences++
    say(`${check}: ${sentence}`)
  }
  return differences
}

/**
 * The journals to replay. Throws `StartupError` where none is of these books and goes back to the export, for keys that were revoked since
 * would be good again; the operator may decide otherwise in so many words.
 */
async function findJournals(
  { settings, pathOf, tell }: OpsContext,
  { books, final, takenAt }: BooksHeader,
  options: OptionValues,
): Promise<string[]> {
  const stopAll = options['stop-all-keys'] === true
  const without = options['without-revocations'] === true
  if (stopAll && without)
    throw new UsageError('--stop-all-keys and --without-revocations exclude each other.')
  const own = homeFile(settings(), 'revocations')
  const named = Array.isArray(options.revocations)
    ? options.revocations.map((name) => pathOf(String(name)))
    : []
  const journals: string[] = []
  let isCovered = false
  for (const path of [own, ...named]) {
    const journal = await summariseRevocations(path)
    if (journal === undefined) {
      if (path !== own) throw new StartupError(`The file ${path} cannot be read.`)
      continue
    }
    journals.push(path)
    const goesBack = journal.since === undefined || journal.since <= new Date(takenAt)
    isCovered ||= goesBack && (books === null || journal.books.has(books))
    tell(`${path}: ${journal.stops} stops, the newest of ${journal.newestAt?.toISOString() ?? 'never'}`)
    if (journal.damagedLines > 0) {
      tell(`${path}: ${journal.damagedLines} lines are cut off or altered, and were left out.`)
    }
  }
  if (isCovered || final || stopAll || without) return journals
  throw new StartupError(
    journals.length === 0
      ? `Nothing here knows which keys were revoked after ${takenAt}, when the file was written. Name a router's journal with --revocations FILE; where none is left, say --stop-all-keys; where nothing was revoked, --without-revocations.`
      : `The journals are of other books, or begin after ${takenAt}, when the file was written: name another one, or a newer export, or say --stop-all-keys.`,
  )
}

async function requireSigningKey(
  { settings }: OpsContext,
  { signingKeyIds }: BooksHeader,
  options: OptionValues,
): Promise<void> {
  if (signingKeyIds.length === 0 || options['new-signing-key'] === true) return
  const own = await ownSigningKeyId(settings())
  if (own !== undefined && signingKeyIds.includes(own)) return
  const file = settings().signingKeyFile ?? homeFile(settings(), 'signing-key.pem')
  throw new StartupError(
    `${file} is not the signing key of these books: without it, a request that is repeated under its old Idempotency-Key would be charged twice. Put the old key there; where it is lost, say --new-signing-key.`,
  )
}
