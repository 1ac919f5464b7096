import assert from 'node:assert/strict'
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { type TestContext, test } from 'node:test'
import { zstdDecompressSync } from 'node:zlib'
import type { Database } from '../src/storage/database.ts'
import { Canaries, CanaryCaller } from './support/canary-caller.ts'
import { callInEveryWay, POLICY } from './support/canary-calls.ts'
import { CANARY_FORMS, CanarySearch, newCanary } from './support/canary-search.ts'
import { newRouterHome, type RouterHome } from './support/router-process.ts'

const PAGE = 100
/** Streams carry a reply in pieces shorter than any canary, so what surrounds the pieces is searched for as well. */
const WIRE_WORDS = new Map([
  ["a chunk of OpenAI's", 'completion.chunk'],
  ["a chunk of Anthropic's", 'content_block_delta'],
])

/** Every page of a list that the API shows. */
async function readList(caller: CanaryCaller, path: string, key = caller.key): Promise<string> {
  let text = ''
  let cursor = ''
  do {
    const answer = await caller.ask('GET', `${path}?limit=${PAGE}${cursor}`, undefined, key)
    assert.equal(answer.status, 200, answer.text)
    text += answer.text
    const next = JSON.parse(answer.text).next_cursor
    cursor = next === null ? '' : `&cursor=${next}`
  } while (cursor !== '')
  return text
}

/** Plants the control where each sink would show what leaked into it. */
async function plant(
  caller: CanaryCaller,
  database: Database,
  home: RouterHome,
  control: string,
): Promise<void> {
  const { router } = caller
  const { json: account } = await router.request('GET', '/v1/accounts/me', { key: caller.key })
  const grant = { amountUsd: '1', reason: control, livemode: false }
  const granted = await router.request('POST', `/v1/accounts/${account.id}/grants`, {
    key: router.adminKey,
    body: grant,
  })
  assert.equal(granted.status, 201)
  for (const path of ['/v1/projects', '/v1/api-keys']) {
    assert.equal((await caller.ask('POST', path, { name: control })).status, 201)
  }
  await database.pool.query(
    `insert into events select (jsonb_populate_record(null::events, to_jsonb(e)
       || jsonb_build_object('id', overlay(e.id placing 'zzzz' from 27), 'model_served', $1::text))).*
     from events e where not e.livemode order by e.id desc limit 1`,
    [control],
  )
  await database.pool.query(
    `update receipts set payload = convert_to(json_build_object('leak', $1::text)::text, 'UTF8')
     where id = (select max(id) from receipts where not livemode)`,
    [control],
  )
  for (const folder of [home.folder, home.scratch]) writeFileSync(join(folder, 'planted'), control)
  const body = { model: 'mesh/claude-sonnet-4.5', messages: [{ role: 'user', content: control }] }
  const answer = await caller.call('planted', { ...body, metadata: { mesh_simulate: 'echo' } })
  caller.errors.push(answer)
}

/** What lies in a folder, with every file that its links lead to. */
function filesBelow(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name)
    const entry = statSync(path, { throwIfNoEntry: false })
    if (entry?.isDirectory()) return filesBelow(path)
    return entry?.isFile() ? [path] : []
  })
}

/** A file's bytes; none where PostgreSQL has taken it away in the meantime. */
function bytesOf(path: string): Buffer {
  try {
    return readFileSync(path)
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return Buffer.alloc(0)
    throw error
  }
}

/** The rows in a file of books: a Zstandard frame behind two lines. */
function inflated(books: Buffer): Buffer {
  const frame = books.indexOf('\n', books.indexOf('\n') + 1) + 1
  return zstdDecompressSync(books.subarray(frame))
}

/** The names of what was found in each kind of file. */
interface InFiles {
  readonly writeAheadLog: readonly string[]
  readonly tables: readonly string[]
  readonly otherFiles: readonly string[]
}

const ONLY_CONTROL_IN_FILES: InFiles = {
  writeAheadLog: ['control'],
  tables: ['control'],
  otherFiles: ['admin key in its own file', 'control'],
}

/** The canaries in all files of a home. The admin key's own file may hold it. */
function searchFiles(home: RouterHome, search: CanarySearch): InFiles {
  const writeAheadLog = new Set<string>()
  const tables = new Set<string>()
  const otherFiles = new Set<string>()
  for (const path of filesBelow(home.folder)) {
    const inData = path.includes('/data/') ? tables : otherFiles
    const sink = path.includes('/pg_wal/') ? writeAheadLog : inData
    const own = relative(home.folder, path) === 'admin-key' ? 'admin key' : undefined
    for (const name of search.namesIn(bytesOf(path))) {
      sink.add(name === own ? 'admin key in its own file' : name)
    }
  }
  return {
    writeAheadLog: [...writeAheadLog].sort(),
    tables: [...tables].sort(),
    otherFiles: [...otherFiles].sort(),
  }
}

/** Every row of every table as text, and every statement that the server shows. */
async function allRows(database: Database): Promise<string> {
  const { rows: tables } = await database.pool.query<{ name: string }>(
    `select format('%I.%I', schemaname, tablename) as name from pg_tables
     where schemaname not in ('pg_catalog', 'information_schema')`,
  )
  let text = ''
  for (const { name } of tables) {
    const { rows } = await database.pool.query<{ line: string }>(`select t::text as line from ${name} t`)
    text += rows.map(({ line }) => line).join('\n')
  }
  const { rows } = await database.pool.query<{ query: string }>('select query from pg_stat_activity')
  return text + rows.map(({ query }) => query).join('\n')
}

test('the search finds every form of a text, and any part of it', () => {
  const text = newCanary()
  const search = new CanarySearch(new Map([['a text', text]]))
  for (const [form, write] of Object.entries(CANARY_FORMS)) {
    const hidden = Buffer.concat([Buffer.from('…before'), write(text.slice(9, 23)), Buffer.from('after')])
    assert.ok(
      search.in(hidden).some((found) => found.form === form),
      form,
    )
  }
  for (const before of ['', 'a', 'ab', 'abc']) {
    const base64 = Buffer.from(`${before}${text} after`).toString('base64')
    assert.deepEqual(search.namesIn(base64), ['a text'])
  }
  assert.deepEqual(search.in(`${text.slice(0, 11)} ${text.slice(18)}`), [], 'less than a part is none')
})

test('nothing that a caller writes or gets is kept, logged or shown', async (t: TestContext) => {
  const home = await newRouterHome(t)
  const canaries = new Canaries()
  const control = canaries.of('control')
  const policy = join(home.scratch, 'policy.json')
  writeFileSync(policy, JSON.stringify(POLICY))
  const temporary = join(home.scratch, 'temporary')
  mkdirSync(temporary)
  const router = await home.start({
    TMPDIR: temporary,
    MESH_LOG_LEVEL: 'debug',
    MESH_SETTINGS: policy,
    OPENAI_API_KEY: canaries.of('credential'),
    MESH_OPENAI_BASE_URL: 'http://127.0.0.1:9',
    // The warning about it is the control of the log.
    [`MESH_${control}`]: '1',
  })
  const database = await home.openDatabase()
  const caller = new CanaryCaller(router, canaries)

  await callInEveryWay(caller, database)
  await plant(caller, database, home, control)

  const search = new CanarySearch(new Map([...canaries.texts, ...WIRE_WORDS]))
  const before = searchFiles(home, search)
  await database.pool.query('checkpoint')
  const after = searchFiles(home, search)
  const told = await searchAnswers(caller, database, search)
  const exported = join(home.scratch, 'books.mesh')
  assert.equal((await home.ops(['export', exported])).code, 0)
  await database.close()
  assert.equal((await router.kill('SIGTERM')).code, 0)
  const atEnd = searchFiles(home, search)

  const { tables, ...beforeCheckpoint } = before
  assert.deepEqual(
    {
      beforeCheckpoint,
      after,
      told,
      atEnd,
      tables: tables.filter((name) => name !== 'control'),
      standardError: search.namesIn(router.said.stderr),
      standardOutput: search.namesIn(router.said.stdout),
      export: search.namesIn(inflated(bytesOf(exported))),
      // The working directory, and the one for temporary files.
      elsewhere: filesBelow(home.scratch).flatMap((path) => search.namesIn(bytesOf(path))),
    },
    {
      beforeCheckpoint: { writeAheadLog: ['control'], otherFiles: ['admin key in its own file', 'control'] },
      after: ONLY_CONTROL_IN_FILES,
      told: Object.fromEntries(Object.keys(told).map((what) => [what, ['control']])),
      atEnd: ONLY_CONTROL_IN_FILES,
      // Before a checkpoint it may or may not have been written there.
      tables: [],
      standardError: ['control'],
      standardOutput: ['test key'],
      export: ['control'],
      elsewhere: ['control'],
    },
  )
})

/** What the database and the API say, and what callers were told of their errors. */
async function searchAnswers(
  caller: CanaryCaller,
  database: Database,
  search: CanarySearch,
): Promise<Readonly<Record<string, readonly string[]>>> {
  const { router, key } = caller
  const csv = await router.request('GET', `/v1/ledger?limit=${PAGE}`, {
    key,
    headers: { accept: 'text/csv' },
  })
  const usage = await caller.ask('GET', '/v1/usage?groupBy=day,model,provider,project,key')
  const found: Record<string, readonly string[]> = {
    rows: search.namesIn(await allRows(database)),
    'ledger as CSV': search.namesIn(csv.text),
    usage: search.namesIn(usage.text),
    'audit of operators': search.namesIn(await readList(caller, '/v1/audit', router.adminKey)),
    errors: search.namesIn(caller.errors.map(({ text }) => text).join('\n')),
  }
  for (const path of [
    '/v1/logs',
    '/v1/ledger',
    '/v1/receipts',
    '/v1/audit',
    '/v1/projects',
    '/v1/api-keys',
  ]) {
    found[path] = search.namesIn(await readList(caller, path))
  }
  return found
}
