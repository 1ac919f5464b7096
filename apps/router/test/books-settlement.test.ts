import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newId, siblingId } from '../src/ids.ts'
import type { Payer, Settled, Settlement } from '../src/ledger/books.ts'
import { releaseHolds, releaseHoldsOfDead } from '../src/ledger/dead-routers.ts'
import { createIdempotencyClaims } from '../src/ledger/idempotency.ts'
import { verifyBooks } from '../src/ledger/verify-books.ts'
import { systemSeams } from '../src/seams.ts'
import { applicationName, type Database, openDatabase } from '../src/storage/database.ts'
import {
  bookOf,
  granted,
  heldCalls,
  holdRequest,
  lockBooks,
  makeAccount,
  openBooksFixture,
  settlementOf,
  someoneWaits,
} from './support/books-fixture.ts'
import { createTestDatabase } from './support/test-database.ts'
import { until } from './support/until.ts'

test('a settlement posts one transaction, its event and its receipt, and ends its hold', async (t) => {
  const { database, routers } = await openBooksFixture(t)
  const [books] = routers
  assert.ok(books)
  const payer = await makeAccount(database, { balanceNano: 10_000n })
  const request = holdRequest(payer)
  const held = granted(await books.hold(request))
  const settled = await books.settle(
    settlementOf(request, held, {
      totalNano: 700n,
      upstreamNano: 500n,
      absorbed: [{ provider: 'other-provider', amountNano: 30n }],
      tokens: 60,
    }),
  )
  const led = siblingId('led', request.callId)
  assert.deepEqual(settled, { ledgerEntryId: led, duplicate: false })
  const entries = await database.query
    .selectFrom('ledger_entries')
    .select(['id', 'ledger_account', 'amount_nano', 'balance_after_nano', 'transaction_id'])
    .where('call_id', '=', request.callId)
    .orderBy('id')
    .execute()
  assert.deepEqual(
    entries.map((entry) => [entry.id, entry.ledger_account, entry.amount_nano, entry.balance_after_nano]),
    [
      [led, 'customer', -700n, 9_300n],
      [`${led}_2`, 'revenue', 700n, null],
      [`${led}_3`, 'cost_of_sales', -500n, null],
      [`${led}_4`, 'payable:test-provider', 500n, null],
      [`${led}_5`, 'absorbed', -30n, null],
      [`${led}_6`, 'payable:other-provider', 30n, null],
    ],
  )
  assert.deepEqual(await bookOf(database, payer), { balanceNano: 9_300n, heldNano: 0n })
  assert.deepEqual(await heldCalls(database), [])
  const event = await database.query
    .selectFrom('events')
    .select(['total_nano', 'upstream_nano', 'margin_nano', 'absorbed_nano', 'receipt_id'])
    .where('id', '=', request.callId)
    .executeTakeFirstOrThrow()
  assert.deepEqual(event, {
    total_nano: 700n,
    upstream_nano: 500n,
    margin_nano: 200n,
    absorbed_nano: 30n,
    receipt_id: siblingId('rcpt', request.callId),
  })
  await assertSound(database)
})

test('entries of one batch leave balances one after the other', async (t) => {
  const { database, routers } = await openBooksFixture(t)
  const [books] = routers
  assert.ok(books)
  const payer = await makeAccount(database, { balanceNano: 100_000n })
  const requests = Array.from({ length: 50 }, () => holdRequest(payer))
  const decisions = await Promise.all(requests.map((request) => books.hold(request)))
  await Promise.all(
    requests.map((request, index) => {
      const decision = decisions[index]
      assert.ok(decision)
      return books.settle(settlementOf(request, granted(decision), { totalNano: BigInt(index) }))
    }),
  )
  assert.equal((await bookOf(database, payer)).balanceNano, 100_000n - (49n * 50n) / 2n)
  await assertSound(database)
})

test('a call is settled once, however many routers say so at once', async (t) => {
  const { database, routers } = await openBooksFixture(t, { routers: 2 })
  const [books, other] = routers
  assert.ok(books && other)
  const payer = await makeAccount(database, { balanceNano: 100_000n })
  for (let round = 0; round < 10; round++) {
    const request = holdRequest(payer)
    const settlement = settlementOf(request, granted(await books.hold(request)))
    const results: readonly Settled[] = await Promise.all([
      books.settle(settlement),
      books.settle(settlement),
      other.settle(settlement),
    ])
    assert.deepEqual(results.map(({ duplicate }) => duplicate).sort(), [false, true, true])
    for (const { ledgerEntryId } of results) assert.equal(ledgerEntryId, siblingId('led', request.callId))
  }
  assert.deepEqual(await bookOf(database, payer), { balanceNano: 90_000n, heldNano: 0n })
  await assertSound(database)
})

test('a settlement whose hold was reaped posts in full, beside the event of the reaper', async (t) => {
  const { database, routers } = await openBooksFixture(t)
  const [books] = routers
  assert.ok(books)
  const payer = await makeAccount(database, { balanceNano: 10_000n })
  const request = holdRequest(payer)
  const held = granted(await books.hold(request))
  await database.query
    .updateTable('holds')
    .set({ expires_at: new Date(0) })
    .execute()
  assert.equal(await books.reap(), 1)
  assert.equal(await books.reap(), 0)
  assert.deepEqual(await bookOf(database, payer), { balanceNano: 10_000n, heldNano: 0n })
  assert.deepEqual(await sums(database), { absorbed: -800n, 'payable:test-provider': 800n })
  await assertSound(database)

  const settlement = settlementOf(request, held, { totalNano: 700n })
  assert.equal((await books.settle(settlement)).duplicate, false)
  assert.equal((await books.settle(settlement)).duplicate, true)
  assert.deepEqual(await bookOf(database, payer), { balanceNano: 9_300n, heldNano: 0n })
  assert.deepEqual(await sums(database), {
    absorbed: 0n,
    cost_of_sales: -350n,
    customer: -700n,
    'payable:test-provider': 350n,
    revenue: 700n,
  })
  await assertSound(database)
})

test('a settlement whose hold was reaped is charged only where balance and limits still carry it', async (t) => {
  const { database, routers } = await openBooksFixture(t)
  const [books] = routers
  assert.ok(books)
  const costNano = 1_000n
  const reaped = async (payer: Payer): Promise<Settlement> => {
    const request = holdRequest(payer)
    const held = granted(await books.hold(request))
    assert.equal(held.heldNano, costNano)
    await database.query
      .updateTable('holds')
      .set({ expires_at: new Date(0) })
      .where('call_id', '=', request.callId)
      .execute()
    assert.equal(await books.reap(), 1)
    return settlementOf(request, held)
  }
  const twoCalls = 2n * costNano
  for (const options of [
    { balanceNano: twoCalls },
    { account: { total_nano: twoCalls } },
    { project: { monthly_nano: twoCalls } },
    { key: { daily_nano: twoCalls } },
    { maker: { total_nano: twoCalls } },
  ]) {
    const payer = await makeAccount(database, options)
    const { balanceNano } = await bookOf(database, payer)
    const late = [await reaped(payer), await reaped(payer), await reaped(payer)]
    // One that runs: what it holds is not there for them.
    const running = holdRequest(payer)
    const held = granted(await books.hold(running))
    const settled: Settled[] = await Promise.all(late.map((settlement) => books.settle(settlement)))
    assert.deepEqual(settled.map(({ isUnpayable = false }) => isUnpayable).sort(), [false, true, true])
    assert.deepEqual(await bookOf(database, payer), {
      balanceNano: balanceNano - costNano,
      heldNano: costNano,
    })
    await books.settle(settlementOf(running, held))
    assert.deepEqual(await bookOf(database, payer), { balanceNano: balanceNano - twoCalls, heldNano: 0n })
  }
  await assertSound(database)
})

test('reapers on several routers release a hold once', async (t) => {
  const { database, routers } = await openBooksFixture(t, { routers: 3 })
  const [books] = routers
  assert.ok(books)
  const payer = await makeAccount(database)
  await Promise.all(Array.from({ length: 300 }, () => books.hold(holdRequest(payer))))
  await database.query
    .updateTable('holds')
    .set({ expires_at: new Date(0) })
    .execute()
  await Promise.all(routers.map((router) => router.reap()))
  assert.deepEqual(await heldCalls(database), [])
  assert.deepEqual(await sums(database), { absorbed: -240_000n, 'payable:test-provider': 240_000n })
  await assertSound(database)
})

test('the only router there can be releases all holds of those before it, and none of its own', async (t) => {
  const { database, routers, openRouter } = await openBooksFixture(t)
  const [before] = routers
  assert.ok(before)
  const payer = await makeAccount(database)
  await before.hold(holdRequest(payer))
  const routerId = newId('rtr', systemSeams)
  const now = await openRouter({ routerId })
  const own = holdRequest(payer)
  await now.hold(own)
  assert.equal(await releaseHolds(database, { whose: 'of_other_routers', routerId }), 1)
  assert.deepEqual(await heldCalls(database), [own.callId])
})

test('of a router that is known to be dead all holds are released, after what PostgreSQL still has of it in hand', async (t) => {
  const testDatabase = await createTestDatabase()
  const { database, openRouter } = await openBooksFixture(t, {}, testDatabase)
  const payer = await makeAccount(database)
  const routerId = newId('rtr', systemSeams)
  const request = holdRequest(payer)
  await (await openRouter({ routerId })).hold(request)
  const sibling = holdRequest(payer)
  await (await openRouter()).hold(sibling)
  const options = { poolSize: 1, applicationName: applicationName(routerId), statementTimeoutMs: 0 }
  const session = await openDatabase(testDatabase.connection, options).connect()
  await session.query('begin')
  await session.query('delete from holds where call_id = $1', [request.callId])
  assert.equal(await releaseHoldsOfDead(database, routerId), 1)
  await assert.rejects(session.query('commit'))
  assert.deepEqual(await heldCalls(database), [sibling.callId])
  await assertSound(database)
})

test('nothing is reaped within the grace after the start of the database, nor what was renewed', async (t) => {
  const { database, routers, openRouter } = await openBooksFixture(t)
  const [books] = routers
  assert.ok(books)
  const payer = await makeAccount(database)
  await books.hold(holdRequest(payer))
  const expire = (): Promise<unknown> =>
    database.query
      .updateTable('holds')
      .set({ expires_at: new Date(0) })
      .execute()
  await expire()
  const patient = await openRouter({ reapGraceMs: 24 * 3_600_000 })
  assert.equal(await patient.reap(), 0)
  await books.renew()
  assert.equal(await books.reap(), 0)
  await expire()
  assert.equal(await books.reap(), 1)
})

test('a hold that was renewed while its reaper waited for it stays', async (t) => {
  const { database, routers } = await openBooksFixture(t)
  const [books] = routers
  assert.ok(books)
  const payer = await makeAccount(database)
  const request = holdRequest(payer)
  await books.hold(request)
  await database.query
    .updateTable('holds')
    .set({ expires_at: new Date(0) })
    .execute()
  const renewing = await database.connect()
  await renewing.query('begin')
  await renewing.query(`update holds set expires_at = now() + interval '1 hour'`)
  const reaped = books.reap()
  await until('the reaper waits for the hold', () => someoneWaits(database))
  await renewing.query('commit')
  await renewing.end()
  assert.equal(await reaped, 0)
  assert.deepEqual(await heldCalls(database), [request.callId])
})

test('a settlement that the database refuses is alone in that', async (t) => {
  const { database, routers } = await openBooksFixture(t)
  const [books] = routers
  assert.ok(books)
  const payer = await makeAccount(database)
  const requests = Array.from({ length: 64 }, () => holdRequest(payer))
  const decisions = await Promise.all(requests.map((request) => books.hold(request)))
  const results = await Promise.allSettled(
    requests.map((request, index) => {
      const decision = decisions[index]
      assert.ok(decision)
      const settlement = settlementOf(request, granted(decision))
      // PostgreSQL stores no zero byte: one such text failed a whole batch once.
      const event = index === 37 ? { ...settlement.event, modelRequested: '\u0000' } : settlement.event
      return books.settle({ ...settlement, event })
    }),
  )
  assert.deepEqual(
    results.flatMap(({ status }, index) => (status === 'rejected' ? [index] : [])),
    [37],
  )
  assert.deepEqual(await heldCalls(database), [requests[37]?.callId])
  await until('the refused one is kept', async () => (await brokenRules(database)).length > 0)
  assert.deepEqual(await brokenRules(database), [`refused_settlement ${requests[37]?.callId}`])
})

test('a settlement beyond what was held never reaches the books', async (t) => {
  const { database, routers } = await openBooksFixture(t)
  const [books] = routers
  assert.ok(books)
  const payer = await makeAccount(database)
  const request = holdRequest(payer)
  const held = granted(await books.hold(request))
  const settlement = settlementOf(request, held, { totalNano: held.heldNano + 1n })
  await assert.rejects(books.settle(settlement), { code: 'internal' })
  assert.equal((await database.query.selectFrom('events').select('id').execute()).length, 0)
})

test('a caller that waited too long is told so, and its settlement is posted when it can be', async (t) => {
  const { database, routers, openRouter } = await openBooksFixture(t)
  const [books] = routers
  assert.ok(books)
  const payer = await makeAccount(database, { balanceNano: 10_000n })
  const request = holdRequest(payer)
  const hurried = await openRouter({ patienceMs: 50 })
  const held = granted(await books.hold(request))
  const lock = await lockBooks(database)
  await assert.rejects(hurried.settle(settlementOf(request, held)), { code: 'storage_unavailable' })
  await lock.release()
  await hurried.drain()
  assert.deepEqual(await bookOf(database, payer), { balanceNano: 9_000n, heldNano: 0n })
})

test('a call of which nothing was delivered in time is not charged, though it was posted after all', async (t) => {
  const { database, routers, openRouter } = await openBooksFixture(t)
  const [books] = routers
  assert.ok(books)
  const payer = await makeAccount(database, { balanceNano: 10_000n })
  const hurried = await openRouter({ patienceMs: 50 })
  const claims = createIdempotencyClaims(database)
  const requests = [holdRequest(payer), holdRequest(payer), holdRequest(payer)]
  const claimOf = (index: number, callId = requests[index]?.callId ?? ('req_none' as const)) => ({
    accountId: payer.accountId,
    livemode: true,
    keyHmac: Buffer.from([index]),
    bodyHmac: Buffer.from([index]),
    callId,
  })
  for (const index of requests.keys()) await claims.claim(claimOf(index))
  const decisions = await Promise.all(requests.map((request) => books.hold(request)))
  const lock = await lockBooks(database)
  // The first leaves for the database at once and is under way when patience ends; the others still wait.
  await Promise.all(
    requests.map(async (request, index) => {
      const decision = decisions[index]
      assert.ok(decision)
      const settlement = settlementOf(request, granted(decision), { idempotency: 'billed' })
      const unbilled = settlementOf(request, granted(decision), { totalNano: 0n, idempotency: 'freed' })
      await assert.rejects(
        hurried.settle(settlement, () => unbilled),
        { code: 'storage_unavailable' },
      )
    }),
  )
  await lock.release()
  await hurried.drain()
  assert.deepEqual(await bookOf(database, payer), { balanceNano: 10_000n, heldNano: 0n })
  const kinds = await database.query
    .selectFrom('ledger_entries')
    .select(['kind', 'amount_nano', 'balance_after_nano'])
    .where('ledger_account', '=', 'customer')
    .where('call_id', 'is not', null)
    .orderBy('id')
    .execute()
  assert.deepEqual(
    kinds.map((entry) => [entry.kind, entry.amount_nano, entry.balance_after_nano]),
    [
      ['usage', -1_000n, 9_000n],
      ['refund', 1_000n, 10_000n],
    ],
  )
  assert.equal((await database.query.selectFrom('events').select('id').execute()).length, 3)
  for (const index of requests.keys()) {
    assert.equal((await claims.claim(claimOf(index, holdRequest(payer).callId))).outcome, 'claimed')
  }
  await assertSound(database)
})

test('a settlement whose hold was reaped is not charged once its idempotency key may have been charged again', async (t) => {
  const { database, routers } = await openBooksFixture(t)
  const [books] = routers
  assert.ok(books)
  const payer = await makeAccount(database, { balanceNano: 10_000n })
  const claims = createIdempotencyClaims(database)
  const claimOf = (callId: Settlement['callId']) => ({
    accountId: payer.accountId,
    livemode: true,
    keyHmac: Buffer.from('key'),
    bodyHmac: Buffer.from('body'),
    callId,
  })
  const first = holdRequest(payer)
  assert.equal((await claims.claim(claimOf(first.callId))).outcome, 'claimed')
  const held = granted(await books.hold(first))
  await database.query
    .updateTable('holds')
    .set({ expires_at: new Date(0) })
    .execute()
  assert.equal(await books.reap(), 1)

  const repeat = holdRequest(payer)
  assert.equal((await claims.claim(claimOf(repeat.callId))).outcome, 'in_progress')
  await database.pool.query(`select forget_idempotency_keys(interval '0')`)
  assert.equal((await claims.claim(claimOf(repeat.callId))).outcome, 'claimed')
  await books.settle(
    settlementOf(repeat, granted(await books.hold(repeat)), { totalNano: 600n, idempotency: 'billed' }),
  )

  const late = await books.settle(settlementOf(first, held, { idempotency: 'billed' }))
  assert.deepEqual(late, { duplicate: true, isUnpayable: true })
  assert.deepEqual(await bookOf(database, payer), { balanceNano: 9_400n, heldNano: 0n })
  await assertSound(database)
})

test('an idempotency key is claimed once, replays what was billed and is freed by what was not', async (t) => {
  const { database, routers } = await openBooksFixture(t)
  const [books] = routers
  assert.ok(books)
  const payer = await makeAccount(database)
  const claims = createIdempotencyClaims(database)
  const request = holdRequest(payer)
  const claim = {
    accountId: payer.accountId,
    livemode: true,
    keyHmac: Buffer.from('key'),
    bodyHmac: Buffer.from('body'),
    callId: request.callId,
  }
  const outcomes = await Promise.all(
    Array.from({ length: 10 }, (_, index) =>
      claims.claim(index === 0 ? claim : { ...claim, callId: holdRequest(payer).callId }),
    ),
  )
  assert.deepEqual(outcomes.filter(({ outcome }) => outcome === 'claimed').length, 1)
  assert.deepEqual(outcomes.filter(({ outcome }) => outcome === 'in_progress').length, 9)
  assert.equal(
    (await claims.claim({ ...claim, callId: holdRequest(payer).callId, bodyHmac: Buffer.from('x') })).outcome,
    'conflict',
  )
  const winner = await database.query
    .selectFrom('idempotency_keys')
    .select('call_id')
    .executeTakeFirstOrThrow()
  const won = holdRequest(payer, { callId: winner.call_id })
  const held = granted(await books.hold(won))
  await books.settle(settlementOf(won, held, { idempotency: 'billed' }))
  assert.deepEqual(await claims.claim({ ...claim, callId: holdRequest(payer).callId }), {
    outcome: 'replay',
    receiptId: siblingId('rcpt', won.callId),
    totalNano: 1_000n,
  })

  const freed = holdRequest(payer)
  const other = { ...claim, keyHmac: Buffer.from('other'), callId: freed.callId }
  await claims.claim(other)
  const freedHold = granted(await books.hold(freed))
  await books.settle(settlementOf(freed, freedHold, { totalNano: 0n, idempotency: 'freed' }))
  assert.equal((await claims.claim({ ...other, callId: holdRequest(payer).callId })).outcome, 'claimed')
})

test('a router that lost its connection goes on without losing a settlement', async (t) => {
  const { database, routers } = await openBooksFixture(t)
  const [books] = routers
  assert.ok(books)
  const payer = await makeAccount(database, { balanceNano: 1_000_000n })
  const requests = Array.from({ length: 200 }, () => holdRequest(payer))
  const decisions = await Promise.all(requests.map((request) => books.hold(request)))
  const settling = Promise.all(
    requests.map((request, index) => {
      const decision = decisions[index]
      assert.ok(decision)
      return books.settle(settlementOf(request, granted(decision)))
    }),
  )
  for (let round = 0; round < 5; round++) {
    await database.pool.query(
      `select pg_terminate_backend(pid) from pg_stat_activity
       where datname = current_database() and pid <> pg_backend_pid() and query like '%settle_calls%'`,
    )
  }
  await settling
  await until('a hold is taken again', async () => {
    const decision = await books.hold(holdRequest(payer)).catch(() => undefined)
    return decision?.granted === true
  })
  assert.equal((await bookOf(database, payer)).balanceNano, 800_000n)
  await assertSound(database)
})

async function assertSound(database: Database): Promise<void> {
  for await (const { sentence } of verifyBooks(database.pool)) assert.fail(sentence)
}

/** The rules that the books break, each with what breaks it. */
async function brokenRules(database: Database): Promise<readonly string[]> {
  const broken: string[] = []
  for await (const { check, subject } of verifyBooks(database.pool)) broken.push(`${check} ${subject}`)
  return broken
}

/** What the entries of calls sum to, by ledger account. */
async function sums(database: Database): Promise<Record<string, bigint>> {
  const { rows } = await database.pool.query<{ ledger_account: string; sum: bigint }>(
    `select ledger_account, sum(amount_nano)::bigint as sum from ledger_entries
     where call_id is not null group by ledger_account order by ledger_account`,
  )
  return Object.fromEntries(rows.map((row) => [row.ledger_account, row.sum]))
}
