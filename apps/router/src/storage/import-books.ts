import { pipeline } from 'node:stream/promises'
import pg from 'pg'
import { from as copyFrom } from 'pg-copy-streams'
import type { BooksFile, BooksHeader } from './books-file.ts'
import { BOOKS_TABLES, TABLES_LEFT_OUT } from './books-tables.ts'
import { columnList, columnsOfTables } from './export-books.ts'
import { applyWithin, type Migration, missingMigrations, readMigrations } from './migrate.ts'
import { createPartitionsOf } from './partitions.ts'
import { StartupError } from './startup-error.ts'

/** So that what is read is understood as it was written. */
const SESSION = `set local statement_timeout = 0; set local lock_timeout = 0; set local synchronous_commit = on;
  set local idle_in_transaction_session_timeout = 0; set local datestyle = 'ISO, YMD'; set local row_security = off`

export interface LoadOptions {
  readonly signal: AbortSignal
  /** Told of each table when its rows are in. */
  onTable(table: string, count: number): void
}

/** Throws `StartupError` where this MESH cannot know what the file's schema is. */
export function requireKnownSchema({ mesh, migrations }: BooksHeader): void {
  const known = readMigrations()
  if (migrations.length > known.length) {
    throw new StartupError(
      `The file is of a newer MESH (${mesh}, schema ${migrations.length}, and this one knows ${known.length}): import it with that version.`,
    )
  }
  for (const [index, { number, sha256 }] of migrations.entries()) {
    if (known[index]?.number === number && known[index].sha256 === sha256) continue
    throw new StartupError(
      `The file was made with another text of migration ${index + 1} than this MESH has: import it with the version that made it (${mesh}).`,
    )
  }
}

/**
 * Puts the books of a file into an empty database, in the transaction that the session is in and has locked the schema
 * for; then brings them to this version's schema. Throws `StartupError` where the database is not empty, or the file is
 * not what it was; the caller rolls back.
 */
export async function loadBooks(client: pg.Client, file: BooksFile, options: LoadOptions): Promise<void> {
  const { header } = file
  await client.query(SESSION)
  await requireNothingElse(client)
  const steps = readMigrations()
  await applyAll(client, await missingAtFile(client, steps.slice(0, header.migrations.length)))
  await requireNoRows(client)
  await requireSameTables(client, header)
  await createPartitionsOf(client, header.months)
  await copyTables(client, file, options)
  await applyAll(client, steps.slice(header.migrations.length))
  // What follows reads all of it; without statistics each table would be taken for an empty one.
  await client.query('analyze')
}

async function applyAll(client: pg.Client, steps: readonly Migration[]): Promise<void> {
  for (const step of steps) await applyWithin(client, step)
}

/** A table that no version of ours made belongs to somebody; those of extensions to nobody. */
async function requireNothingElse(client: pg.Client): Promise<void> {
  const { rowCount } = await client.query(
    `select from pg_class c
     where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p', 'f', 'm')
       and not c.relispartition and c.relname <> all ($1)
       and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e')`,
    [[...BOOKS_TABLES, ...Object.keys(TABLES_LEFT_OUT)]],
  )
  if (rowCount !== 0) throw notEmpty('holds tables that are not of MESH')
}

async function missingAtFile(client: pg.Client, steps: readonly Migration[]): Promise<readonly Migration[]> {
  try {
    return await missingMigrations(client, steps)
  } catch (error) {
    if (!(error instanceof StartupError)) throw error
    throw notEmpty('has a schema that is not the one of the file')
  }
}

async function requireNoRows(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ name: string }>(
    'select t.name from unnest($1::text[]) t (name) where to_regclass(t.name) is not null',
    [[...BOOKS_TABLES, 'moved_away']],
  )
  const names = rows.map(({ name }) => name)
  // First without a lock, so that books that are in use are not disturbed by a mistake.
  await requireEachEmpty(client, names)
  await client.query(`lock table ${names.join(', ')} in access exclusive mode`)
  await requireEachEmpty(client, names)
}

async function requireEachEmpty(client: pg.Client, tables: readonly string[]): Promise<void> {
  for (const table of tables) {
    const { rowCount } = await client.query(`select from ${table} limit 1`)
    if (rowCount !== 0) throw notEmpty('holds rows')
  }
}

function notEmpty(why: string): StartupError {
  return new StartupError(
    `Books are imported into an empty database only, and this one ${why}: name a new MESH_HOME, or a new database in DATABASE_URL.`,
  )
}

/** The header's names go into statements, so they are those of the schema and nothing else. */
async function requireSameTables(client: pg.Client, { tables }: BooksHeader): Promise<void> {
  if (JSON.stringify(await columnsOfTables(client)) === JSON.stringify(tables)) return
  throw new StartupError('The file has other tables than its schema: it was not written by MESH.')
}

async function copyTables(client: pg.Client, file: BooksFile, options: LoadOptions): Promise<void> {
  const columns = new Map(file.header.tables.map((table) => [table.name, table.columns]))
  const counts = new Map<string, number>()
  const reading = file.tables()
  let next = await reading.next()
  for (; !next.done; next = await reading.next()) {
    const { table, rows } = next.value
    const names = columns.get(table)
    if (names === undefined) throw new StartupError('The file has a table that its header does not name.')
    const sink = client.query(copyFrom(`copy ${table} (${columnList(names)}) from stdin`))
    await pipeline(rows, sink, { signal: options.signal }).catch((error: unknown) => {
      throw isRefusedRow(error) ? refusedRows(table, error) : error
    })
    counts.set(table, sink.rowCount)
    options.onTable(table, sink.rowCount)
  }
  for (const [table, count] of next.value.rowsByTable) {
    if (counts.get(table) !== count) throw new StartupError(`The rows of ${table} did not all arrive.`)
  }
}

/** What the database says of rows, not of itself: classes 22 and 23. Its words quote what is in them. */
function isRefusedRow(error: unknown): error is pg.DatabaseError {
  return error instanceof pg.DatabaseError && /^2[23]/.test(error.code ?? '')
}

function refusedRows(table: string, error: pg.DatabaseError): StartupError {
  return new StartupError(
    `The database refuses rows of ${table} in the file (its code ${error.code}), so nothing was imported.`,
    error,
  )
}
