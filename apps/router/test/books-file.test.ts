import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { mkdtemp, open, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, type TestContext, test } from 'node:test'
import { promisify } from 'node:util'
import { zstdDecompressSync } from 'node:zlib'
import { firstIdAt } from '../src/ids.ts'
import { exportCommand } from '../src/ops/export.ts'
import { importCommand } from '../src/ops/import.ts'
import { type BooksHeader, openBooks, type TableRows, writeBooks } from '../src/storage/books-file.ts'
import { BOOKS_TABLES, TABLES_LEFT_OUT } from '../src/storage/books-tables.ts'
import { type Database, openDatabase } from '../src/storage/database.ts'
import { migrate, readMigrations } from '../src/storage/migrate.ts'
import { createPartitions } from '../src/storage/partitions.ts'
import { type Ran, runOps } from './support/run-ops.ts'
import { createTestDatabase, type TestDatabase } from './support/test-database.ts'
import { connectionUrl } from './support/test-router.ts'
import { until } from './support/until.ts'

const OPS = join(import.meta.dirname, '../src/ops.ts')
const NOVEMBER_MS = Date.UTC(2026, 10, 3)
const ACCOUNT = firstIdAt('acct', NOVEMBER_MS)
/** What COPY has to escape, and what only looks like it. */
const ODD_NAME = 'Tab\tline\nback\\slash \\. \\N "quoted" ünïcode 𝄞'

let folder: string
let server: TestDatabase
let books: Database
/** An export of books with a grant, from a database that has partitions. */
let file: string

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mesh-books-'))
  const { privateKey } = generateKeyPairSync('ed25519')
  await writeFile(join(folder, 'key.pem'), privateKey.export({ type: 'pkcs8', format: 'pem' }))
  server = await createTestDatabase()
  books = server.database()
  await createPartitions(books.pool, NOVEMBER_MS)
  await addAccount(books)
  await books.pool.query(`select * from post_grant($1, $2, true, 5000000000, 'By hand')`, [
    firstIdAt('led', NOVEMBER_MS),
    ACCOUNT,
  ])
  file = join(folder, 'books.mesh')
  assert.deepEqual((await exportFrom(server, file)).code, 0)
})
after(async () => {
  await server.close()
  await rm(folder, { recursive: true, force: true })
})

async function addAccount({ pool }: Database): Promise<void> {
  await pool.query('insert into accounts (id, name, policy_version) values ($1, $2, 41)', [ACCOUNT, ODD_NAME])
  await pool.query('insert into balances (account_id, livemode) values ($1, true), ($1, false)', [ACCOUNT])
}

function environmentOf({ connection }: Pick<TestDatabase, 'connection'>): Record<string, string> {
  return {
    MESH_HOME: folder,
    DATABASE_URL: connectionUrl(connection),
    MESH_SIGNING_KEY_FILE: join(folder, 'key.pem'),
  }
}

function exportFrom(from: Pick<TestDatabase, 'connection'>, path: string, options = {}): Promise<Ran> {
  return runOps(exportCommand, [path], options, environmentOf(from))
}

function importInto(to: Pick<TestDatabase, 'connection'>, path: string, options = {}): Promise<Ran> {
  return runOps(importCommand, [path], { 'without-revocations': true, ...options }, environmentOf(to))
}

interface EmptyDatabase {
  readonly connection: TestDatabase['connection']
  readonly database: Database
}

/** A database in which nothing was ever made. */
async function emptyDatabase(t: TestContext): Promise<EmptyDatabase> {
  const name = `empty_${randomBytes(8).toString('hex')}`
  await books.pool.query(`create database ${name}`)
  const connection = { ...server.connection, database: name } as TestDatabase['connection']
  const database = openDatabase(connection, {
    poolSize: 2,
    applicationName: 'mesh-test',
    statementTimeoutMs: 30_000,
  })
  t.after(async () => {
    await database.close()
    await books.pool.query(`drop database ${name} with (force)`)
  })
  return { connection, database }
}

async function tablesIn({ pool }: Database): Promise<string[]> {
  const { rows } = await pool.query<{ name: string }>(
    `select relname as name from pg_class
     where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relispartition order by 1`,
  )
  return rows.map(({ name }) => name)
}

/** Writes the file anew with something else in it, and a trailer that fits. */
async function rewritten(change: {
  header?: Partial<BooksHeader>
  rows?: (table: string, text: string) => string
}): Promise<string> {
  const original = await openBooks(file)
  const path = join(folder, `${randomBytes(4).toString('hex')}.mesh`)
  const target = await open(path, 'wx')
  const tables = async function* (): AsyncGenerator<TableRows> {
    for await (const { table, rows } of original.tables()) {
      const pieces: Buffer[] = []
      for await (const piece of rows) pieces.push(piece)
      const text = Buffer.concat(pieces).toString()
      const changed = change.rows?.(table, text) ?? text
      yield {
        table,
        rows: (async function* () {
          if (changed !== '') yield Buffer.from(changed)
        })(),
      }
    }
  }
  const options = { signal: new AbortController().signal, onRows: () => undefined }
  await writeBooks(target, { ...original.header, ...change.header }, tables(), options)
  await target.close()
  return path
}

test('every table of the schema is exported, or is named with the reason why not', async () => {
  const tables = await tablesIn(books)
  assert.deepEqual(tables, [...BOOKS_TABLES, ...Object.keys(TABLES_LEFT_OUT)].sort())
  const header = await openBooks(file).then(({ header }) => header)
  assert.deepEqual(
    header.tables.map(({ name }) => name),
    [...BOOKS_TABLES],
  )
})

test('no sequence counts on beside the rows, and each table comes after those that it refers to', async () => {
  const { rowCount: sequences } = await books.pool.query(
    `select from pg_class where relkind = 'S' and relnamespace = 'public'::regnamespace`,
  )
  assert.equal(sequences, 0, 'an import would have to set it')
  const { rows } = await books.pool.query<{ child: string; parent: string }>(
    `select conrelid::regclass::text as child, confrelid::regclass::text as parent from pg_constraint where contype = 'f'`,
  )
  assert.ok(rows.length > 3)
  const place = (name: string): number => [...BOOKS_TABLES].indexOf(name as never)
  for (const { child, parent } of rows) assert.ok(place(parent) <= place(child), `${child} before ${parent}`)
})

test('what is imported is what was exported, in a database in which nothing was', async (t) => {
  const target = await emptyDatabase(t)
  const imported = await importInto(target, file)
  assert.equal(imported.code, 0, imported.said)
  for (const table of BOOKS_TABLES.filter((name) => name !== 'audit_events')) {
    const all = `select to_json(t)::text as row from ${table} t order by 1`
    const { rows: before } = await books.pool.query(all)
    const { rows: after } = await target.database.pool.query(all)
    assert.deepEqual(after, before, table)
  }
  const { rows } = await target.database.pool.query(
    `select a.name, a.policy_version, e.tableoid::regclass::text as partition
     from accounts a join ledger_entries e on e.account_id = a.id where e.ledger_account = 'customer'`,
  )
  assert.deepEqual(rows, [{ name: ODD_NAME, policy_version: 41n, partition: 'ledger_entries_2026_11' }])
  const { rows: audited } = await target.database.pool.query(
    `select actor, target, after ->> 'final' as final from audit_events where action = 'books.imported'`,
  )
  assert.deepEqual(audited, [{ actor: 'import', target: 'books', final: 'false' }])
  await assert.rejects(target.database.pool.query('delete from ledger_entries'), { code: '23001' })
})

test('an export is of one moment, whatever happens while it is written', async (t) => {
  const source = await emptyDatabase(t)
  assert.equal((await importInto(source, file)).code, 0)
  const { pool } = source.database
  const gate = await pool.connect()
  const path = join(folder, 'moment.mesh')
  // Those of the money are written by then, that of the audit is not.
  await gate.query('begin; lock table operator_requests in access exclusive mode')
  const exporting = exportFrom(source, path)
  try {
    await until('the export waits for the table', async () => {
      const { rowCount } = await pool.query(
        `select from pg_locks where relation = 'operator_requests'::regclass and not granted`,
      )
      return rowCount === 1
    })
    const late = [firstIdAt('led', NOVEMBER_MS + 1), ACCOUNT]
    await gate.query(`select * from post_grant($1, $2, true, 1, 'Later')`, late)
    await gate.query(
      `insert into audit_events (id, actor, action, target) values ($1, 'opk', 'account.granted', 'later')`,
      [firstIdAt('aud', NOVEMBER_MS)],
    )
    await gate.query('commit')
  } finally {
    gate.release(true)
  }
  assert.equal((await exporting).code, 0)
  const target = await emptyDatabase(t)
  assert.equal((await importInto(target, path)).code, 0)
  const { rowCount } = await target.database.pool.query(`select from audit_events where target = 'later'`)
  assert.equal(rowCount, 0, 'the grant that the books of that moment do not have')
})

test('a file of an older schema is brought forward; that of a database which nobody brought forward yet too', async (t) => {
  const old = await emptyDatabase(t)
  const steps = readMigrations()
  await migrate(old.database.pool, steps.slice(0, 3))
  await addAccount(old.database)
  const path = join(folder, 'old.mesh')
  assert.equal((await exportFrom(old, path)).code, 0)
  assert.equal((await openBooks(path)).header.migrations.length, 3)
  const target = await emptyDatabase(t)
  const imported = await importInto(target, path)
  assert.equal(imported.code, 0, imported.said)
  assert.equal(await migrate(target.database.pool), 0, 'nothing is left to be done')
  const { rows } = await target.database.pool.query('select name from accounts')
  assert.deepEqual(rows, [{ name: ODD_NAME }])
})

/** A copy with one bit flipped, of those that matter: what is compressed may be written in more ways than one. */
function withOtherContent(bytes: Buffer): Buffer {
  const start = bytes.indexOf('\n', bytes.indexOf('\n') + 1) + 1
  const contentOf = (file: Buffer): Buffer | undefined => {
    try {
      return zstdDecompressSync(file.subarray(start))
    } catch {
      return undefined
    }
  }
  const content = contentOf(bytes)
  assert.ok(content)
  for (let at = bytes.length - 40; at > start; at--) {
    const flipped = Buffer.from(bytes)
    flipped[at] = (flipped[at] ?? 0) ^ 1
    if (!contentOf(flipped)?.equals(content)) return flipped
  }
  throw new Error('no bit matters')
}

test('a file that is cut, altered, foreign or newer is refused with a sentence, and nothing is written', async (t) => {
  const bytes = await readFile(file)
  const end = bytes.length
  const flipped = withOtherContent(bytes)
  const inHeader = Buffer.from(bytes.toString('latin1').replace('"final":false', '"final": true'), 'latin1')
  const [newest] = readMigrations().slice(-1)
  const migrations = (await openBooks(file)).header.migrations
  const newer = [...migrations, { number: migrations.length + 1, name: 'future', sha256: 'f'.repeat(64) }]
  const other = migrations.map((step) => (step.number === newest?.number ? { ...step, sha256: '0' } : step))
  const DAMAGED = /is damaged or was cut short/
  const cases: readonly [content: Buffer | string, sentence: RegExp][] = [
    [bytes.subarray(0, end - 1), DAMAGED],
    [bytes.subarray(0, Math.floor(end / 2)), DAMAGED],
    [bytes.subarray(0, 20), DAMAGED],
    [Buffer.concat([bytes, Buffer.from('x')]), DAMAGED],
    [flipped, DAMAGED],
    [inHeader, DAMAGED],
    [Buffer.from('PGDMP and so on'), /is no export of MESH/],
    [Buffer.alloc(0), /is no export of MESH/],
    [Buffer.from(bytes.toString('latin1').replace('MESH books 1', 'MESH books 2'), 'latin1'), /newer MESH/],
    [await rewritten({ header: { migrations: newer } }), /is of a newer MESH/],
    [await rewritten({ header: { migrations: other } }), /another text of migration/],
    [
      await rewritten({ header: { tables: [{ name: 'accounts; drop table accounts', columns: ['id'] }] } }),
      DAMAGED,
    ],
  ]
  const target = await emptyDatabase(t)
  for (const [index, [content, sentence]] of cases.entries()) {
    const path = typeof content === 'string' ? content : join(folder, `bad-${index}.mesh`)
    if (typeof content !== 'string') await writeFile(path, content)
    const refused = await importInto(target, path)
    assert.equal(refused.code, 1, `case ${index}`)
    assert.match(refused.said, sentence, `case ${index}`)
    assert.equal(refused.said.split('\n').length, 1, 'one sentence')
  }
  assert.deepEqual(await tablesIn(target.database), [])
})

test('books that do not add up are refused whole, and can be taken as they are', async (t) => {
  const more = (table: string, text: string): string =>
    table === 'balances' ? text.replace('5000000000', '6000000000') : text
  const path = await rewritten({ rows: more })
  const target = await emptyDatabase(t)
  const refused = await importInto(target, path)
  assert.equal(refused.code, 1)
  assert.match(refused.said, /^balance: The live balance of .* is \$6\.000000000/m)
  assert.match(refused.said, /so nothing was imported/)
  assert.deepEqual(await tablesIn(target.database), [])

  const oneSided = await rewritten({
    rows: (table, text) => (table === 'ledger_entries' ? `${text.split('\n')[0]}\n` : text),
  })
  const unbalanced = await importInto(target, oneSided)
  assert.match(unbalanced.said, /refuses rows of ledger_entries .*23514/, 'its trigger stands')
  assert.deepEqual(await tablesIn(target.database), [])

  const taken = await importInto(target, path, { 'accept-differences': true })
  assert.equal(taken.code, 0, taken.said)
})

test('only an empty database is imported into', async (t) => {
  const target = await emptyDatabase(t)
  const { pool } = target.database
  await pool.query('create table of_somebody (id integer)')
  const foreign = await importInto(target, file)
  assert.deepEqual([foreign.code, /tables that are not of MESH/.test(foreign.said)], [1, true], foreign.said)
  await pool.query('drop table of_somebody')
  await migrate(pool)
  await pool.query(`insert into operator_keys (id, name, secret_sha256) values ($1, 'one', '\\x00')`, [
    firstIdAt('opk', 0),
  ])
  const used = await importInto(target, file)
  assert.deepEqual([used.code, /this one holds rows/.test(used.said)], [1, true], used.said)
  await pool.query('delete from operator_keys')
  assert.equal((await importInto(target, file)).code, 0)
})

test('another signing key than that of the books is refused unless it is said to be new', async (t) => {
  const path = await rewritten({ header: { signingKeyIds: ['somebody-else'] } })
  const target = await emptyDatabase(t)
  const refused = await importInto(target, path)
  assert.deepEqual([refused.code, /is not the signing key of these books/.test(refused.said)], [1, true])
  assert.equal((await importInto(target, path, { 'new-signing-key': true })).code, 0)
})

test('a file is never overwritten', async () => {
  const before = await readFile(file)
  const refused = await exportFrom(server, file)
  assert.deepEqual([refused.code, /is there already, and is not overwritten/.test(refused.said)], [1, true])
  assert.deepEqual(await readFile(file), before)
})

test('a full disk ends an export with a sentence and leaves no half file', async () => {
  const path = join(folder, 'full', 'books.mesh')
  await promisify(execFile)('mkdir', [join(folder, 'full')])
  // No file of the process may grow beyond a block, as if the disk ended there.
  const run = promisify(execFile)(
    '/bin/sh',
    ['-c', 'ulimit -f 1 && exec "$0" "$@"', process.execPath, OPS, 'export', path],
    {
      env: { PATH: process.env.PATH ?? '', ...environmentOf(server) },
    },
  )
  await assert.rejects(run, { code: 1, stderr: /There is no room left for .*: nothing was written\.\n$/ })
  assert.deepEqual(await readdir(join(folder, 'full')), [])
})

test('books that were moved away take no call and no credit, whoever asks', async (t) => {
  const target = await emptyDatabase(t)
  assert.equal((await importInto(target, file)).code, 0)
  const { pool } = target.database
  const grant = (hour: number) =>
    pool.query(`select * from post_grant($1, $2, true, 1, 'More')`, [
      firstIdAt('led', NOVEMBER_MS + hour * 3_600_000),
      ACCOUNT,
    ])
  await grant(1)
  const router = openDatabase(target.connection, {
    poolSize: 1,
    applicationName: 'mesh rtr_1',
    statementTimeoutMs: 10_000,
  })
  await router.pool.query('select 1')
  const path = join(folder, 'moved.mesh')
  const running = await exportFrom(target, path, { final: true })
  assert.deepEqual([running.code, /A router runs on these books/.test(running.said)], [1, true], running.said)
  await router.close()
  const moved = await exportFrom(target, path, { final: true })
  assert.equal(moved.code, 0, moved.said)
  assert.equal((await openBooks(path)).header.final, true)
  const there = await emptyDatabase(t)
  // Nothing can have been revoked since, so no journal is asked for.
  const arrived = await importInto(there, path, { 'without-revocations': false })
  assert.equal(arrived.code, 0, arrived.said)
  await assert.rejects(grant(2), { code: '23001' })
  await assert.rejects(pool.query('insert into holds select * from holds'), { code: '23001' })
  const undone = await runOps(exportCommand, [], { undo: true }, environmentOf(target))
  assert.equal(undone.code, 0, undone.said)
  await grant(3)
})

test('a move whose file cannot be written leaves the books in use', async (t) => {
  const target = await emptyDatabase(t)
  assert.equal((await importInto(target, file)).code, 0)
  const failed = await exportFrom(target, join(folder, 'nowhere', 'x.mesh'), { final: true })
  assert.equal(failed.code, 1)
  const { rows } = await target.database.pool.query('select from moved_away')
  assert.deepEqual(rows, [])
})
