import type pg from 'pg'
import { to as copyTo } from 'pg-copy-streams'
import { type BooksContents, type BooksHeader, type TableRows, writeBooks } from './books-file.ts'
import { BOOKS_TABLES } from './books-tables.ts'
import { type Database, endConnection } from './database.ts'
import { checkApplied, readMigrations } from './migrate.ts'
import { publishFile } from './new-file.ts'
import { partitionedMonths } from './partitions.ts'
import { StartupError } from './startup-error.ts'

export interface ExportOptions {
  /** Written beside it first; a file that is there is never replaced. */
  readonly path: string
  /** The version of MESH. */
  readonly mesh: string
  /** The key that derives the marks of idempotency keys; absent where it is not known here. */
  readonly signingKeyId?: string | undefined
  readonly signal: AbortSignal
  /** Told of rows as they are written. */
  onRows(table: string, count: number): void
}

export interface ExportedBooks extends BooksContents {
  readonly header: BooksHeader
}

/** What is read is written so by every server, whatever its settings. */
const SESSION = `set local statement_timeout = 0; set local idle_in_transaction_session_timeout = 0;
  set local datestyle = 'ISO, YMD'; set local intervalstyle = 'postgres'; set local bytea_output = 'hex';
  set local extra_float_digits = 1; set local row_security = off`

/**
 * Writes the books as they are at one moment into one file, whole or not at all; routers may go on meanwhile. Throws
 * `StartupError` with one plain sentence where there are no books, or no room for the file.
 */
export async function exportBooks(
  database: Pick<Database, 'connect'>,
  options: ExportOptions,
): Promise<ExportedBooks> {
  const client = await database.connect()
  const onAbort = (): void => void client.end().catch(() => undefined)
  options.signal.addEventListener('abort', onAbort, { once: true })
  try {
    await client.query('begin isolation level repeatable read read only')
    await client.query(SESSION)
    const header = await describeBooks(client, options)
    const contents = await publishFile(options.path, (file) =>
      writeBooks(file, header, readTables(client, header), options),
    )
    return { header, ...contents }
  } finally {
    options.signal.removeEventListener('abort', onAbort)
    await endConnection(client)
  }
}

async function describeBooks(client: pg.Client, options: ExportOptions): Promise<BooksHeader> {
  const { rows: migrations } = (await hasTable(client, 'schema_migrations'))
    ? await client.query<BooksHeader['migrations'][number]>(
        'select number, name, sha256 from schema_migrations order by number',
      )
    : { rows: [] }
  if (migrations.length === 0) throw new StartupError('There are no books in this database.')
  checkApplied(migrations, readMigrations())
  return {
    mesh: options.mesh,
    takenAt: await momentOf(client),
    books: await oldestAudit(client),
    final: await isOutOfUse(client),
    migrations,
    tables: await columnsOfTables(client),
    months: await partitionedMonths(client),
    signingKeyIds: await signingKeysOf(client, options.signingKeyId),
  }
}

/** The key that is in use, where it is known to be one of these books; else any of them may be. */
async function signingKeysOf(client: pg.Client, inUse: string | undefined): Promise<string[]> {
  const { rows } = await client.query<{ key_id: string }>('select key_id from signing_keys order by key_id')
  const all = rows.map(({ key_id }) => key_id)
  return inUse !== undefined && all.includes(inUse) ? [inUse] : all
}

async function oldestAudit(client: pg.Client): Promise<string | null> {
  const { rows } = await client.query<{ id: string }>('select id from audit_events order by id limit 1')
  return rows[0]?.id ?? null
}

async function hasTable(client: pg.Client, table: string): Promise<boolean> {
  const { rowCount } = await client.query('select where to_regclass($1) is not null', [table])
  return rowCount !== 0
}

/** Whether the books were moved away, so that nothing happens to them after this moment. */
async function isOutOfUse(client: pg.Client): Promise<boolean> {
  if (!(await hasTable(client, 'moved_away'))) return false
  const { rowCount } = await client.query('select from moved_away')
  return rowCount !== 0
}

async function momentOf(client: pg.Client): Promise<string> {
  const { rows } = await client.query<{ now: Date }>('select now()')
  return (rows[0]?.now ?? new Date(0)).toISOString()
}

/** The tables of the books that this schema has, with their columns. */
export async function columnsOfTables(client: pg.ClientBase): Promise<BooksHeader['tables']> {
  const { rows } = await client.query<{ name: string; columns: string[] }>(
    `select t.name, array_agg(a.attname::text order by a.attnum) as columns
     from unnest($1::text[]) with ordinality t (name, place)
     join pg_attribute a on a.attrelid = to_regclass(t.name)
     where a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
     group by t.name, t.place order by t.place`,
    [BOOKS_TABLES],
  )
  return rows
}

async function* readTables(client: pg.Client, { tables }: BooksHeader): AsyncGenerator<TableRows> {
  for (const { name, columns } of tables) {
    // As a query, for COPY reads no partitioned table.
    yield {
      table: name,
      rows: client.query(copyTo(`copy (select ${columnList(columns)} from ${name}) to stdout`)),
    }
  }
}

/** Columns as SQL names them. */
export function columnList(columns: readonly string[]): string {
  return columns.map((column) => `"${column.replaceAll('"', '""')}"`).join(', ')
}
