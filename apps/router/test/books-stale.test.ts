import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Payer } from '../src/ledger/books.ts'
import type { PostgresBooks } from '../src/ledger/postgres-books.ts'
import type { Database } from '../src/storage/database.ts'
import {
  bookOf,
  extendRequest,
  granted,
  holdRequest,
  lockBooks,
  makeAccount,
  openBooksFixture,
  setClock,
  someoneWaits,
} from './support/books-fixture.ts'
import { until } from './support/until.ts'

/** Every way in which what a router knows of its caller can be old, done to the database. */
const CHANGES: readonly { readonly name: string; readonly sql: string }[] = [
  { name: 'the policy version has grown', sql: 'update accounts set policy_version = policy_version + 1' },
  { name: 'the key was revoked', sql: 'update api_keys set revoked_at = mesh_now()' },
  { name: "the key's grace has ended", sql: 'update api_keys set stops_at = mesh_now()' },
  { name: 'the account is suspended', sql: `update accounts set status = 'suspended'` },
  {
    name: 'a limit has expired',
    sql: `insert into limits (subject_id, account_id, kind, expires_at) select id, account_id, 'project', mesh_now() from projects`,
  },
]

for (const { name, sql } of CHANGES) {
  test(`a call is stale at the next hold where ${name}`, async (t) => {
    const { database, routers } = await openBooksFixture(t)
    const [books] = routers
    assert.ok(books)
    const payer = await makeAccount(database)
    assert.equal((await books.hold(holdRequest(payer))).granted, true)
    await database.pool.query(sql)
    assert.deepEqual(await books.hold(holdRequest(payer)), { granted: false, reason: 'stale' })
    assert.equal((await bookOf(database, payer)).heldNano, 1_000n)
  })
}

test('a change that commits while a hold waits for its account counts for that hold', async (t) => {
  const { database, routers } = await openBooksFixture(t)
  const [books] = routers
  assert.ok(books)
  const revoked = await holdDuring(
    database,
    books,
    await makeAccount(database),
    'update api_keys set revoked_at = now()',
  )
  assert.deepEqual(revoked, { granted: false, reason: 'stale' })
  const payer = await makeAccount(database, { key: { max_concurrent_requests: 5n } })
  const lowered = await holdDuring(database, books, payer, 'update limits set max_concurrent_requests = 0')
  assert.equal(lowered.granted === false && lowered.reason, 'too_many_concurrent')
})

test('a running call is not widened once its key is revoked, and is where only its policy version is old', async (t) => {
  const { database, routers } = await openBooksFixture(t)
  const [books] = routers
  assert.ok(books)
  const payer = await makeAccount(database)
  const request = holdRequest(payer)
  const held = granted(await books.hold(request))
  await database.pool.query('update accounts set policy_version = policy_version + 1')
  assert.equal((await books.extend(extendRequest(request, held.outputTokens, 100))).outputTokens, 100)
  await database.pool.query('update api_keys set revoked_at = mesh_now()')
  assert.deepEqual(await books.extend(extendRequest(request, 100, 200)), {
    outputTokens: 100,
    heldNano: 1_100n,
  })
})

test('a payer that does not fit together holds nothing', async (t) => {
  const { database, routers } = await openBooksFixture(t)
  const [books] = routers
  assert.ok(books)
  const payer = await makeAccount(database)
  const other = await makeAccount(database)
  const mixed: readonly Payer[] = [
    { ...payer, projectId: other.projectId },
    { ...payer, keyId: other.keyId },
    { ...payer, lineageId: other.lineageId },
    { ...payer, livemode: false },
    { ...payer, accountId: 'acct_none' },
  ]
  const decisions = await Promise.all(mixed.map((wrong) => books.hold(holdRequest(wrong))))
  for (const decision of decisions) assert.equal(decision.granted === false && decision.reason, 'stale')
  assert.equal((await bookOf(database, other)).heldNano, 0n)
})

test('windows begin again with the minute, the day and the month in UTC, by the clock of the database', async (t) => {
  const { database, routers } = await openBooksFixture(t)
  const [books] = routers
  assert.ok(books)
  const payer = await makeAccount(database, {
    account: { requests_per_minute: 1n },
    project: { daily_nano: 2_000n },
    key: { monthly_request_limit: 3n },
  })
  const at = async (moment: string): Promise<string> => {
    await setClock(database, moment)
    const decision = await books.hold(holdRequest(payer))
    return decision.granted ? 'granted' : `${decision.limit} ${decision.retryAfterMs}`
  }
  assert.equal(await at('2031-01-30 23:58:59Z'), 'granted')
  assert.equal(await at('2031-01-30 23:58:59.5Z'), 'requestsPerMinute 500')
  assert.equal(await at('2031-01-30 23:59:00Z'), 'granted')
  assert.equal(await at('2031-01-30 23:59:59.999Z'), 'dailyUsdLimit 1')
  assert.equal(await at('2031-01-31 00:00:00Z'), 'granted')
  assert.equal(await at('2031-01-31 00:01:00Z'), `monthlyRequestLimit ${(24 * 60 - 1) * 60_000}`)
  assert.equal(await at('2031-02-01 00:00:00Z'), 'granted')
  // Midnight elsewhere is none here.
  assert.equal(await at('2031-02-01 00:00:30Z'), 'requestsPerMinute 30000')
})

async function holdDuring(
  database: Database,
  books: PostgresBooks,
  payer: Payer,
  change: string,
): ReturnType<PostgresBooks['hold']> {
  const lock = await lockBooks(database)
  const decision = books.hold(holdRequest(payer))
  await until('the hold waits for the account', () => someoneWaits(database))
  await database.pool.query(change)
  await lock.release()
  return await decision
}
