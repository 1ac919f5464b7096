import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { after, before, test } from 'node:test'
import type { FastifyInstance } from 'fastify'
import { sql } from 'kysely'
import pg from 'pg'
import { newId } from '../src/ids.ts'
import { systemSeams } from '../src/seams.ts'
import { type Cell, cellsOf, expectedOf, holderOf, isMeant, pathFor } from './support/access-matrix.ts'
import { ACCESS_TABLE } from './support/access-table.ts'
import { eventOf, nano } from './support/calls.ts'
import { type Credential, type Holder, makeCredentials } from './support/credentials.ts'
import { createRawClient, errorCodeOf, type RawAnswer, type RawClient } from './support/raw-http.ts'
import { digestOf, idsOf, MODEL, startTenants, type Tenant, type Tenants } from './support/tenants.ts'
import { ADMIN_KEY } from './support/test-router.ts'

/**
 * Every route × every kind of credential × every kind of id. The routes are those that Fastify says it has, and what
 * each must answer is written down in `support/access-table.ts`.
 */

const CONNECTIONS = 8
interface Route {
  readonly method: string
  readonly url: string
}

let tenants: Tenants
let client: RawClient
let home: Tenant
let foreign: Tenant
let credentials: readonly Credential[]
let foreignIds: readonly string[]
const routes: Route[] = []

/** Fastify tells of every server that is made, and each server of its routes. */
function collectRoutes(message: unknown): void {
  const { fastify } = message as { readonly fastify: FastifyInstance }
  fastify.addHook('onRoute', ({ method, url }) => {
    for (const each of [method].flat()) routes.push({ method: each, url })
  })
}

before(async () => {
  subscribe('fastify.initialization', collectRoutes)
  tenants = await startTenants()
  unsubscribe('fastify.initialization', collectRoutes)
  client = createRawClient(tenants.mesh.url, CONNECTIONS)
  const other = await tenants.tenant('Other')
  home = await tenants.tenant('Home')
  foreign = await tenants.tenant('Foreign')
  credentials = await makeCredentials(tenants, home, other)
  foreignIds = await idsOf(tenants.mesh.database, foreign)
})
after(async () => {
  client?.close()
  await tenants?.[Symbol.asyncDispose]()
})

/** Asks what a cell asks, by GET and by its twin HEAD where that is what it is. */
async function ask(cell: Cell): Promise<RawAnswer> {
  const { row, credential } = cell
  const expected = expectedOf(cell)
  const path = await pathFor(cell, { tenants, home, foreign })
  const body = row.body?.(credential.holder, home.accountId)
  const type = body === undefined ? [] : [['content-type', 'application/json'] as const]
  const sent = body === undefined ? undefined : JSON.stringify(body)
  const answer = await client.send(row.method, path, [...credential.headers, ...type], sent)
  const where = `${row.method} ${row.path}, ${credential.name}${cell.idCase ? `, ${cell.idCase} id` : ''}`
  assert.equal(answer.status, expected.status, `${where}: ${answer.text}`)
  assert.equal(errorCodeOf(answer), expected.code, where)
  if (credential.holder?.kind !== 'operator') assertNothingForeign(answer, where)
  if (row.method === 'GET') {
    const head = await client.send('HEAD', path, credential.headers)
    assert.deepEqual([head.status, head.text], [expected.status, ''], `HEAD of ${where}`)
  }
  return answer
}

function assertNothingForeign({ text, headers }: RawAnswer, where: string): void {
  const told = `${text} ${headers.flat().join(' ')}`
  const leaked = foreignIds.find((id) => told.includes(id))
  assert.equal(leaked, undefined, `${where} tells of another account's ${leaked}`)
}

async function askAll(cells: readonly Cell[]): Promise<void> {
  const waiting = [...cells]
  const work = async (): Promise<void> => {
    for (let cell = waiting.shift(); cell; cell = waiting.shift()) await ask(cell)
  }
  await Promise.all(Array.from({ length: CONNECTIONS }, work))
}

const isOfHome = (holder: Holder | undefined) => holder?.kind === 'key' && holder.isHome

/** The cells of all credentials that are of the account, or an operator's; or of all others. */
function cellsOfWhoBelongs(belongs: boolean): Cell[] {
  return cellsOf(credentials).filter((cell) => {
    const holder = holderOf(cell)
    return (isOfHome(holder) || holder?.kind === 'operator') === belongs
  })
}

test('every route that Fastify has is in the table, and every row of the table is a route', () => {
  const listed = ACCESS_TABLE.flatMap(({ method, path }) =>
    method === 'GET' ? [`GET ${path}`, `HEAD ${path}`] : [`${method} ${path}`],
  )
  const there = routes.map(({ method, url }) => `${method} ${url}`)
  // The one that answers preflights, for all paths; what it does is asserted below.
  const preflight = 'OPTIONS *'
  assert.deepEqual(
    there.filter((route) => !listed.includes(route) && route !== preflight),
    [],
    'these routes have no row in support/access-table.ts: say there whom they serve',
  )
  assert.deepEqual(
    listed.filter((route) => !there.includes(route)),
    [],
    'these rows have no route',
  )
})

test('who is not of an account reads and changes nothing of it, whatever he presents', async (t) => {
  const { database } = tenants.mesh
  const cells = cellsOfWhoBelongs(false)
  const before = await Promise.all([
    digestOf(database, home.accountId),
    digestOf(database, foreign.accountId),
  ])
  await askAll(cells)
  const now = await Promise.all([digestOf(database, home.accountId), digestOf(database, foreign.accountId)])
  assert.deepEqual(now, before)
  t.diagnostic(`${cells.length} requests, without their HEADs`)
})

test('who is of an account does what its scopes say, and touches no other account', async (t) => {
  const { database } = tenants.mesh
  const cells = cellsOfWhoBelongs(true)
  const before = await digestOf(database, foreign.accountId)
  await askAll(cells)
  assert.deepEqual(await digestOf(database, foreign.accountId), before)
  t.diagnostic(`${cells.length} requests, without their HEADs`)
})

test('peer bug 5 (Bifrost#2873): no route reaches a provider but on money that is held for it', async () => {
  const { mesh } = tenants
  const penniless = await mesh.account({ creditUsd: '0' })
  const asking = credentials.filter(({ name }) => name === 'test' || name === 'an operator key')
  const cells = cellsOf(asking).filter(({ idCase = 'own' }) => idCase === 'own')
  const reaching: string[] = []
  for (const cell of cells) {
    const { method, path, body } = cell.row
    const { requests } = mesh.simulator.stats()
    const answer = await ask(cell)
    const { requests: reached } = mesh.simulator.stats()
    if (reached === requests) continue
    reaching.push(`${method} ${path}`)
    const [, id = ''] = answer.headers.find(([name]) => name === 'x-request-id') ?? []
    const event = await eventOf(mesh, home.test.key.secret, id)
    assert.ok(nano(event.cost.heldUsd) > 0n, `${method} ${path}: ${JSON.stringify(event)}`)
    const refused = await mesh.request(method, path, {
      key: penniless.key,
      body: body?.(undefined, penniless.id),
    })
    assert.deepEqual([refused.status, refused.json.error.code], [402, 'insufficient_credits'], path)
    assert.equal(mesh.simulator.stats().requests, reached, `${path} reaches a provider without credit`)
  }
  assert.ok(reaching.includes('POST /v1/chat/completions'))
})

const NOBODY: Credential = { name: 'nobody', headers: [] }

test('a preflight is answered to everybody alike, and says nothing of what is there', async () => {
  const paths = ACCESS_TABLE.filter(({ path }) => path.startsWith('/v1/'))
  for (const row of paths) {
    const answers = await Promise.all(
      (['own', 'foreign', 'non-existent'] as const).flatMap((idCase) =>
        credentials
          .filter(({ name }) => ['none', 'live', 'revoked', 'an operator key'].includes(name))
          .map(async (credential) => {
            // For somebody who is refused, so that nothing is made for him.
            const path = await pathFor({ row, credential: NOBODY, idCase }, { tenants, home, foreign })
            const asking = [
              ['origin', 'https://example.com'],
              ['access-control-request-method', row.method],
            ] as const
            return client.send('OPTIONS', path, [...credential.headers, ...asking])
          }),
      ),
    )
    const seen = new Set(answers.map((answer) => JSON.stringify(tellable(answer))))
    assert.equal(seen.size, 1, `${row.path} answers preflights in ${seen.size} ways`)
    assert.deepEqual([answers[0]?.status, answers[0]?.text], [204, ''], row.path)
  }
})

/** An answer but for what is different each time. */
function tellable({ status, headers, text }: RawAnswer) {
  return { status, text, headers: headers.filter(([name]) => name !== 'x-request-id' && name !== 'date') }
}

test('what is foreign, or of the other world, cannot be told from what does not exist', async (t) => {
  const holders = credentials.filter(({ holder }) => holder?.kind === 'key')
  const rows = ACCESS_TABLE.filter(({ id }) => id !== undefined && id !== 'model')
  let compared = 0
  for (const row of rows) {
    for (const credential of holders) {
      const statements: string[][] = []
      const answers: unknown[] = []
      for (const idCase of ['non-existent', 'foreign', 'other world'] as const) {
        const cell = { row, credential, idCase }
        if (!isMeant(row, credential, idCase)) continue
        if (expectedOf(cell).code !== expectedOf({ ...cell, idCase: 'non-existent' }).code) continue
        using recorder = recordStatements()
        answers.push(tellable(await ask(cell)))
        statements.push(recorder.statements)
      }
      const where = `${row.method} ${row.path}, ${credential.name}`
      for (const answer of answers) assert.deepEqual(answer, answers[0], where)
      // As much work, in the same statements: the time that an answer takes tells nothing either.
      for (const each of statements) assert.deepEqual(each, statements[0], where)
      compared += answers.length
    }
  }
  t.diagnostic(`${compared} answers compared`)
})

/** The lists, and the ids of all rows of each that a reader is meant to see. */
const LISTS = [
  { path: '/v1/projects', table: 'projects', ofOneWorld: false },
  { path: '/v1/api-keys', table: 'api_keys', ofOneWorld: false },
  { path: '/v1/audit', table: 'audit_events', ofOneWorld: false },
  { path: '/v1/logs', table: 'events', ofOneWorld: true },
  { path: '/v1/ledger', table: 'ledger_entries', ofOneWorld: true },
  { path: '/v1/receipts', table: 'receipts', ofOneWorld: true },
] as const

/** Ids of an account's rows in a list; of one world where one is named. */
async function rowIds(tenant: Tenant, { path, table }: (typeof LISTS)[number], livemode?: boolean) {
  const world = livemode === undefined || table === 'projects' ? sql`` : sql` and livemode = ${livemode}`
  const ledger = path === '/v1/ledger' ? sql` and ledger_account = 'customer'` : sql``
  const { rows } = await sql<{ id: string }>`
    select id from ${sql.table(table)} where account_id = ${tenant.accountId}${world}${ledger}
    ${table === 'projects' ? sql`and deleted_at is null` : sql``}`.execute(tenants.mesh.database.query)
  return rows.map(({ id }) => id)
}

/** Ids of all rows of a list, page by page. */
async function listed(path: string, key: string, limit = 1): Promise<string[]> {
  const ids: string[] = []
  for (let cursor: string | null = ''; cursor !== null; ) {
    const page = await tenants.ask('GET', `${path}?limit=${limit}${cursor}`, undefined, key)
    ids.push(...page.data.map(({ id }: { id: string }) => id))
    cursor = page.next_cursor === null ? null : `&cursor=${page.next_cursor}`
  }
  return ids
}

test("a list holds what is its reader's, on every page, by whatever cursor he got hold of", async () => {
  // Cursors are given out where there is more than one row.
  for (const { key } of [foreign.live, foreign.test]) {
    await tenants.ask('POST', '/v1/chat/completions', HELLO, key.secret)
  }
  for (const list of LISTS) {
    for (const livemode of [true, false]) {
      const [mine, theirs] = [home, foreign].map((tenant) => (livemode ? tenant.live : tenant.test))
      assert.ok(mine && theirs)
      // A live key sees what test keys do, but for their rows; a test key sees nothing live.
      const seen = list.ofOneWorld
        ? await rowIds(home, list, livemode)
        : await withoutWorld(home, list, !livemode)
      const got = await listed(list.path, mine.key.secret, 7)
      assert.deepEqual([...got].sort(), [...seen].sort(), `${list.path}, livemode ${livemode}`)
      assert.ok(got.length > 0, list.path)

      const page = await tenants.ask('GET', `${list.path}?limit=1`, undefined, theirs.key.secret)
      const cursor = page.next_cursor ?? Buffer.from(page.data[0].id, 'latin1').toString('base64url')
      const path = `${list.path}?limit=100&cursor=${cursor}`
      const answer = await tenants.ask('GET', path, undefined, mine.key.secret)
      for (const { id } of answer.data)
        assert.ok(seen.includes(id), `${list.path} shows ${id} by a foreign cursor`)
    }
  }
})

const HELLO = { model: MODEL, max_tokens: 8, messages: [{ role: 'user', content: 'Hello' }] }

/** All of an account's rows, but for those of the live world where the reader is a test key. */
async function withoutWorld(tenant: Tenant, list: (typeof LISTS)[number], isTest: boolean) {
  const all = await rowIds(tenant, list)
  if (!isTest || list.table === 'projects') return all
  const live = await rowIds(tenant, list, true)
  return all.filter((id) => !live.includes(id))
}

test('no filter, no form and no sum of a list reaches beyond its reader', async () => {
  const names = { accountId: foreign.accountId, projectId: foreign.projectId, keyId: foreign.live.key.id }
  for (const { path } of [...LISTS, { path: '/v1/usage' }]) {
    for (const [name, id] of Object.entries(names)) {
      const url = `${path}?${name}=${id}`
      const answer = await tenants.mesh.request('GET', url, { key: home.live.key.secret })
      assert.equal(answer.status, 400, `${url}: ${answer.text}`)
      assert.ok(!answer.text.includes(id))
    }
  }
  for (const world of [home.live, home.test]) {
    const livemode = world === home.live
    const key = world.key.secret
    const events = await rowIds(home, LISTS[3], livemode)
    for (const groupBy of ['', 'key', 'project', 'model,provider', 'day,model,provider,project,key']) {
      const answer = await tenants.mesh.request('GET', `/v1/usage${groupBy && `?groupBy=${groupBy}`}`, {
        key,
      })
      assert.equal(answer.status, 200, answer.text)
      const requests = answer.json.data.map((row: { requests: number }) => row.requests)
      assert.equal(requests.reduce(sum, 0), events.length, `groupBy ${groupBy}`)
      for (const id of foreignIds) assert.ok(!answer.text.includes(id))
    }
    const csv = await tenants.mesh.request('GET', '/v1/ledger?limit=100', {
      key,
      headers: { accept: 'text/csv' },
    })
    const ids = csv.text
      .split('\r\n')
      .slice(1, -1)
      .map((line) => line.split(',')[0] ?? '')
    assert.deepEqual(ids.sort(), (await rowIds(home, LISTS[4], livemode)).sort())
  }
})

const sum = (left: number, right: number) => left + right

test('an id in a body names nothing that is foreign either', async () => {
  const bodies = (projectId: string) => ({ name: 'x', scopes: ['keys'], projectId })
  const [theirs, nobodys] = await Promise.all(
    [foreign.otherProjectId, newId('proj', systemSeams)].map((projectId) =>
      tenants.mesh.request('POST', '/v1/api-keys', { key: home.live.key.secret, body: bodies(projectId) }),
    ),
  )
  assert.deepEqual([theirs?.status, theirs?.text], [404, nobodys?.text])
  // Not even an operator puts a key of one account into a project of another.
  const mixed = await tenants.mesh.request('POST', '/v1/api-keys', {
    key: ADMIN_KEY,
    body: { ...bodies(foreign.otherProjectId), accountId: home.accountId },
  })
  assert.deepEqual([mixed.status, mixed.text], [404, nobodys?.text])
})

/** Statements on the rows that ids name. What the router does in the background for itself is in none of them. */
const OF_ROWS = /"(?:accounts|projects|api_keys|limits|events|receipts|audit_events)"/

function recordStatements(): Disposable & { readonly statements: string[] } {
  const statements: string[] = []
  const { prototype } = pg.Client
  const { query } = prototype
  prototype.query = function (this: pg.Client, ...asked: unknown[]) {
    const [first] = asked
    const text = typeof first === 'string' ? first : textOf(first)
    if (OF_ROWS.test(text)) statements.push(text)
    return Reflect.apply(query, this, asked)
  }
  return {
    statements,
    [Symbol.dispose]: () => {
      prototype.query = query
    },
  }
}

function textOf(config: unknown): string {
  const isConfig = typeof config === 'object' && config !== null && 'text' in config
  return isConfig && typeof config.text === 'string' ? config.text : ''
}
