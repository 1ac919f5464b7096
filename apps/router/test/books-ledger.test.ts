import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import type { EndpointId } from '@mesh/catalog/catalog.ts'
import { formatUsd } from '@mesh/catalog/money.ts'
import type { Rates } from '@mesh/catalog/price.ts'
import { parsePriceList, serializePriceList } from '@mesh/catalog/price-list.ts'
import { EMPTY_BUCKETS } from '@mesh/catalog/token-buckets.ts'
import { newId, siblingId } from '../src/ids.ts'
import type { Payer } from '../src/ledger/books.ts'
import { grant } from '../src/ledger/grants.ts'
import { verifyLedger } from '../src/ledger/verify.ts'
import { systemSeams } from '../src/seams.ts'
import type { Database } from '../src/storage/database.ts'
import { granted, holdRequest, makeAccount, openBooksFixture, settlementOf } from './support/books-fixture.ts'

test('a grant is given once by its id, and another one under that id is a conflict', async (t) => {
  const { database } = await openBooksFixture(t)
  const { accountId } = await makeAccount(database, { balanceNano: 0n })
  const entry = {
    id: newId('led', systemSeams),
    accountId,
    livemode: false,
    amountNano: 5_000n,
    reason: 'welcome',
  } as const
  const outcomes = await Promise.all(Array.from({ length: 10 }, () => grant(database, entry)))
  assert.equal(outcomes.filter(({ outcome }) => outcome === 'granted').length, 1)
  assert.equal(outcomes.filter(({ outcome }) => outcome === 'repeated').length, 9)
  assert.deepEqual(await grant(database, { ...entry, amountNano: 6_000n }), { outcome: 'conflict' })
  assert.deepEqual(await grant(database, { ...entry, livemode: true }), { outcome: 'conflict' })
  await assert.rejects(grant(database, { ...entry, id: newId('led', systemSeams), accountId: 'acct_none' }), {
    code: 'not_found',
  })
  const { rows } = await database.pool.query('select livemode, balance_nano from balances order by livemode')
  assert.deepEqual(rows, [
    { livemode: false, balance_nano: 5_000n },
    { livemode: true, balance_nano: 0n },
  ])
})

test('entries and events can be neither changed nor removed, and no transaction is out of balance', async (t) => {
  const { database, routers } = await openBooksFixture(t)
  const [books] = routers
  assert.ok(books)
  const payer = await makeAccount(database)
  const request = holdRequest(payer)
  await books.settle(settlementOf(request, granted(await books.hold(request))))
  for (const statement of [
    'update ledger_entries set amount_nano = 0',
    'delete from ledger_entries',
    'truncate ledger_entries',
    'update events set total_nano = 0, upstream_nano = 0, margin_nano = 0',
    'delete from events',
  ]) {
    await assert.rejects(database.pool.query(statement), { code: '23001' }, statement)
  }
  await assert.rejects(
    database.pool.query(
      `insert into ledger_entries (id, transaction_id, kind, ledger_account, account_id, livemode, amount_nano)
       values ('led_1', 'x', 'grant', 'customer', $1, true, 5), ('led_2', 'x', 'grant', 'grants', $1, true, -4)`,
      [payer.accountId],
    ),
    { code: '23514' },
  )
})

test('a verified ledger has no difference, and whatever is changed in it is found', async (t) => {
  const { database, routers } = await openBooksFixture(t)
  const [books] = routers
  assert.ok(books)
  const payer = await makeAccount(database, { balanceNano: 10_000n })
  const priceListId = await publishPrices(database)
  await settleAt(priceListId, payer)
  const running = holdRequest(payer)
  granted(await books.hold(running))
  assert.deepEqual(await differences(database), [])

  for (const { change, checks } of TAMPERINGS) {
    const client = await database.connect()
    // Triggers are what keeps the books as they are; only their owner can go round them.
    await client.query(`set session_replication_role = 'replica'`)
    const undo = await snapshot(database)
    await client.query(change)
    assert.deepEqual([...new Set(await differences(database))].sort(), [...checks].sort(), change)
    await client.query(undo)
    await client.end()
    assert.deepEqual(await differences(database), [], `undone: ${change}`)
  }

  async function settleAt(id: string, whose: Payer): Promise<void> {
    assert.ok(books)
    const request = holdRequest(whose, { priceListId: id })
    const held = granted(await books.hold(request))
    const settlement = settlementOf(request, held, { totalNano: 420n, upstreamNano: 400n, tokens: 50 })
    await books.settle({
      ...settlement,
      receipt: {
        id: siblingId('rcpt', request.callId),
        payload: Buffer.from(JSON.stringify({ requestId: request.callId, totalUsd: formatUsd(420n) })),
      },
      event: {
        ...settlement.event,
        modelServed: 'mesh/test-model',
        provider: 'test-provider',
        priceListId: id,
        dispatchedAt: new Date(),
        buckets: { ...EMPTY_BUCKETS, input: 10, output: 40 },
      },
    })
  }
})

/** What can be wrong with the books, each done to them once, and the rules that must notice. */
const TAMPERINGS: readonly { readonly change: string; readonly checks: readonly string[] }[] = [
  {
    change: `update ledger_entries set amount_nano = amount_nano + 1 where ledger_account = 'revenue'`,
    checks: ['transaction_sum', 'event_amounts'],
  },
  {
    change: `delete from ledger_entries where call_id is not null`,
    checks: ['balance', 'balance_after', 'event_without_transaction', 'event_amounts'],
  },
  { change: 'delete from events', checks: ['transaction_without_event', 'counter_total'] },
  {
    change: 'update balances set balance_nano = balance_nano + 1 where livemode',
    checks: ['balance', 'balance_after'],
  },
  {
    change: `update ledger_entries set balance_after_nano = balance_after_nano + 1 where kind = 'usage' and ledger_account = 'customer'`,
    checks: ['balance_after'],
  },
  { change: 'update balances set held_nano = held_nano + 1 where livemode', checks: ['held'] },
  { change: 'delete from holds', checks: ['held', 'counter_held', 'counter_active', 'counter_total'] },
  { change: `update counters set held_nano = 0 where subject_id like 'key_%'`, checks: ['counter_held'] },
  {
    change: `update counters set active_requests = 2 where subject_id like 'proj_%'`,
    checks: ['counter_active'],
  },
  { change: `update counters set total_nano = 0 where subject_id like 'acct_%'`, checks: ['counter_total'] },
  { change: `update receipts set payload = 'x'`, checks: ['receipt_digest', 'charge'] },
  {
    change: `update receipts set payload = convert_to('{"requestId":"req_x","totalUsd":"0.000000420"}', 'utf8'),
      payload_sha256 = sha256(convert_to('{"requestId":"req_x","totalUsd":"0.000000420"}', 'utf8'))`,
    checks: ['charge'],
  },
  { change: 'delete from receipts', checks: ['receipt_missing'] },
  { change: `update events set buckets = jsonb_set(buckets, '{output}', '41')`, checks: ['charge'] },
  { change: `update events set buckets = buckets - 'output'`, checks: ['charge'] },
  { change: 'update events set held_nano = 400', checks: ['charge'] },
  { change: `update events set billing_reason = 'upstream_error_not_billed'`, checks: ['charge'] },
  { change: 'update events set dispatched_at = null', checks: ['charge'] },
  { change: `update events set provider = 'another'`, checks: ['charge'] },
  { change: 'delete from price_lists', checks: ['charge'] },
  {
    change: `update price_lists set markup_basis_points = 1, prices = jsonb_set(prices, '{markupBasisPoints}', '1')`,
    checks: ['charge'],
  },
]

const TAMPERED_TABLES = [
  'ledger_entries',
  'events',
  'balances',
  'holds',
  'counters',
  'receipts',
  'price_lists',
]

/** The statements that put the tables back as they are now. */
async function snapshot(database: Database): Promise<string> {
  const undo: string[] = []
  for (const table of TAMPERED_TABLES) {
    await database.pool.query(`drop table if exists kept_${table}`)
    await database.pool.query(`create table kept_${table} as select * from ${table}`)
    undo.push(`delete from ${table}`, `insert into ${table} select * from kept_${table}`)
  }
  return undo.join(';')
}

async function differences(database: Database): Promise<readonly string[]> {
  const found: string[] = []
  for await (const { check, subject, sentence } of verifyLedger(database)) {
    assert.ok(sentence.includes(subject.split(' ')[0] ?? subject), sentence)
    found.push(check)
  }
  return found
}

/** A list that sells input at 2 and output at 10 nano-USD a token, and pays nearly that. */
async function publishPrices(database: Database): Promise<string> {
  const flat = (input: bigint, output: bigint): Rates => ({
    input,
    cacheRead: input,
    cacheWrite5m: input,
    cacheWrite1h: input,
    inputAudio: input,
    inputImage: input,
    output,
    reasoning: output,
    outputAudio: output,
    outputImage: output,
  })
  const endpoint: EndpointId = 'mesh/test-model@test-provider'
  const schedule = (rates: Rates) => new Map([[endpoint, { rates, tiers: [], windows: [] }]])
  const content = {
    catalogVersion: 'test',
    markupBasisPoints: 500,
    sell: schedule(flat(2_000n, 10_000n)),
    cost: schedule(flat(4_000n, 9_000n)),
  }
  const prices = serializePriceList(content)
  const { id } = parsePriceList(prices, (text) =>
    createHash('sha256').update(text).digest('hex').slice(0, 32),
  )
  await database.query
    .insertInto('price_lists')
    .values({ id, catalog_version: 'test', markup_basis_points: 500, prices })
    .execute()
  return id
}
