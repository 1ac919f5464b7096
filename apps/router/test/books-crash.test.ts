import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { MeshError } from '../src/errors.ts'
import type { HoldDecision, HoldRequest, Payer } from '../src/ledger/books.ts'
import type { PostgresBooks } from '../src/ledger/postgres-books.ts'
import { verifyBooks } from '../src/ledger/verify-books.ts'
import { type ConnectionOptions, type Database, openDatabase } from '../src/storage/database.ts'
import { migrate } from '../src/storage/migrate.ts'
import {
  bookOf,
  extendRequest,
  granted,
  heldCalls,
  holdRequest,
  makeAccount,
  openBooksFixture,
  settlementOf,
} from './support/books-fixture.ts'
import { startTestPostgres } from './support/test-postgres.ts'
import { until } from './support/until.ts'
import { startWayTo } from './support/way-to-database.ts'

test('a crash of PostgreSQL loses holds, which come back before any other, and no settlement', async (t) => {
  const postgres = await startTestPostgres()
  const opened: Database[] = []
  const open = (poolSize = 4): Database => {
    const connection = { ...postgres.server, database: 'postgres' }
    const database = openDatabase(connection, {
      poolSize,
      applicationName: 'mesh-test',
      statementTimeoutMs: 10_000,
    })
    opened.push(database)
    return database
  }
  await migrate(open().pool)
  const { database, routers } = await openBooksFixture(
    t,
    {},
    {
      database: open,
      async close() {
        await Promise.all(opened.map((each) => each.close()))
        await postgres.stop()
      },
    },
  )
  const [books] = routers
  assert.ok(books)
  const payer = await makeAccount(database, { balanceNano: 10_000n })
  const settledBefore = holdRequest(payer)
  await books.settle(settlementOf(settledBefore, granted(await books.hold(settledBefore))))

  const crash = await prepareCrash(database)
  const running = Array.from({ length: 4 }, () => holdRequest(payer))
  const [first, second, third, fourth] = running
  assert.ok(first && second && third && fourth)
  const held = await Promise.all(running.map((request) => books.hold(request)))
  const widened = await books.extend(extendRequest(fourth, 90, 500))
  assert.equal(widened.heldNano, 5_100n)
  assert.deepEqual(await bookOf(database, payer), { balanceNano: 9_000n, heldNano: 8_100n })
  const { rows: clock } = await database.pool.query<{ now: Date }>('select mesh_now() as now')
  await crash()

  // 900 are free, if the 8,100 are held again; a settlement and a hold wait for the database from now on.
  const settling = books.settle(settlementOf(first, granted(held[0] ?? assert.fail())))
  const beyond = await holdWhenBack(books, holdRequest(payer, { inputNano: 1_001n }))
  assert.equal(beyond.granted, false)
  assert.equal((await settling).duplicate, false)
  assert.equal((await books.settle(settlementOf(first, granted(held[0] ?? assert.fail())))).duplicate, true)
  const { rows } = await database.pool.query<{ anew: boolean }>('select created_at > $1 as anew from holds', [
    clock[0]?.now,
  ])
  assert.deepEqual(rows, [{ anew: true }, { anew: true }, { anew: true }])
  await assertSound(database)

  // Nothing that expired while the database was away is reaped before its router could renew it.
  assert.deepEqual(await bookOf(database, payer), { balanceNano: 8_000n, heldNano: 7_100n })
  await books.settle(settlementOf(second, granted(held[1] ?? assert.fail()), { totalNano: 10n }))
  await books.settle(settlementOf(third, granted(held[2] ?? assert.fail()), { totalNano: 0n }))
  await books.settle(settlementOf(fourth, widened))
  assert.deepEqual(await heldCalls(database), [])
  assert.deepEqual(await bookOf(database, payer), { balanceNano: 2_890n, heldNano: 0n })
  await assertSound(database)
})

test('a settlement that its caller was told of outlives a crash', async (t) => {
  const { database, routers } = await openBehindWay(t, 1)
  const [books] = routers
  assert.ok(books)
  const payer = await makeAccount(database, { balanceNano: 10_000n })
  const request = holdRequest(payer)
  const held = granted(await books.hold(request))
  const crash = await prepareCrash(database)
  await books.settle(settlementOf(request, held))
  await crash()
  await until('the database serves', () => serves(database))
  assert.deepEqual(await bookOf(database, payer), { balanceNano: 9_000n, heldNano: 0n })
  await assertSound(database)
})

test('of what a crash lost of one router another gives away nothing that is charged twice', async (t) => {
  const { database, way, far, routers, openRouter } = await openBehindWay(t, 1)
  const [quick] = routers
  assert.ok(quick)
  const slow = await openRouter({ database: far() })
  const payer = await makeAccount(database, { balanceNano: 1_900n })
  const other = await makeAccount(database)

  const crash = await prepareCrash(database)
  const lost = holdRequest(payer)
  const held = granted(await slow.hold(lost))
  way.cut()
  await crash()
  await until('the other router decides again', () => canHold(quick, other))
  const next = holdRequest(payer)
  const given = granted(await quick.hold(next))
  way.restore()
  const { isUnpayable } = await slow.settle(settlementOf(lost, held))
  await quick.settle(settlementOf(next, given))
  assert.equal(isUnpayable, true)
  assert.deepEqual(await bookOf(database, payer), { balanceNano: 900n, heldNano: 0n })
  await assertSound(database)
})

test('a settlement whose hold was lost posts in full and counts once', async (t) => {
  const { database, routers } = await openBooksFixture(t, { routers: 2 })
  const [books, other] = routers
  assert.ok(books && other)
  const payer = await makeAccount(database, { balanceNano: 10_000n, key: { monthly_request_limit: 2n } })
  const request = holdRequest(payer)
  const held = granted(await books.hold(request))
  // What a crash does to a hold that had not reached the disk: it and all that was counted with it is gone.
  await database.pool.query('delete from holds; delete from counters; update balances set held_nano = 0')
  const settlement = settlementOf(request, held, { totalNano: 600n })
  assert.deepEqual(
    (await Promise.all([books.settle(settlement), other.settle(settlement)]))
      .map((end) => end.duplicate)
      .sort(),
    [false, true],
  )
  assert.deepEqual(await bookOf(database, payer), { balanceNano: 9_400n, heldNano: 0n })
  await assertSound(database)
  assert.equal((await books.hold(holdRequest(payer))).granted, true)
  assert.equal((await books.hold(holdRequest(payer))).granted, false)
})

for (const returns of [true, false]) {
  const when = returns ? 'when its router is back' : 'before its router has noticed'
  test(`what others hold of a lost hold is not charged again ${when}`, async (t) => {
    const { database, routers } = await openBooksFixture(t, { routers: 2 })
    const [books, other] = routers
    assert.ok(books && other)
    const elsewhere = await makeAccount(database)
    for (const options of [{ balanceNano: 1_900n }, { project: { daily_nano: 1_900n } }]) {
      const payer = await makeAccount(database, options)
      const before = await bookOf(database, payer)
      const lost = holdRequest(payer)
      const held = granted(await books.hold(lost))
      const ofPayer = `where account_id = '${payer.accountId}'`
      await database.pool.query(
        `delete from holds ${ofPayer}; delete from counters ${ofPayer}; update balances set held_nano = 0 ${ofPayer}`,
      )
      const next = holdRequest(payer)
      const given = granted(await other.hold(next))
      if (returns) {
        await database.pool.query(
          `select pg_terminate_backend(pid) from pg_stat_activity
           where datname = current_database() and query like 'select * from hold_calls%'`,
        )
        await until('it decides again', () => canHold(books, elsewhere))
        assert.ok(!(await heldCalls(database)).includes(lost.callId))
      }
      const settlement = settlementOf(lost, held)
      assert.deepEqual(await books.settle(settlement), { duplicate: false, isUnpayable: true })
      await other.settle(settlementOf(next, given, { totalNano: 600n }))
      assert.deepEqual(await books.settle(settlement), { duplicate: true, isUnpayable: true })
      assert.deepEqual(await bookOf(database, payer), {
        balanceNano: before.balanceNano - 600n,
        heldNano: 0n,
      })
      const { rows } = await database.pool.query(
        'select billing_reason, error_code, total_nano, absorbed_nano, receipt_id from events where id = $1',
        [lost.callId],
      )
      assert.deepEqual(rows, [
        {
          ...{ billing_reason: 'router_crash', error_code: 'storage_unavailable', receipt_id: null },
          ...{ total_nano: 0n, absorbed_nano: 500n },
        },
      ])
      await assertSound(database)
    }
  })
}

/** Routers on a PostgreSQL of their own that can crash, and a way by which others reach it. */
async function openBehindWay(t: TestContext, routers: number) {
  const postgres = await startTestPostgres()
  const connection = { ...postgres.server, database: 'postgres' }
  const way = await startWayTo({ connection })
  const opened: Database[] = []
  const open = (at: ConnectionOptions, poolSize = 4): Database => {
    const options = { poolSize, applicationName: 'mesh-test', statementTimeoutMs: 10_000 }
    opened.push(openDatabase(at, options))
    return opened.at(-1) ?? assert.fail()
  }
  await migrate(open(connection).pool)
  const fixture = await openBooksFixture(
    t,
    { routers },
    {
      database: (poolSize) => open(connection, poolSize),
      async close() {
        await Promise.all(opened.map((each) => each.close()))
        await way.close()
        await postgres.stop()
      },
    },
  )
  return { ...fixture, way, far: () => open({ url: way.url }) }
}

async function serves(database: Database): Promise<boolean> {
  return await database.pool.query('select 1').then(
    () => true,
    () => false,
  )
}

async function canHold(books: PostgresBooks, payer: Payer): Promise<boolean> {
  return await books.hold(holdRequest(payer)).then(
    () => true,
    () => false,
  )
}

/** Asks again while what was under way is lost with the connection. */
async function holdWhenBack(books: PostgresBooks, request: HoldRequest): Promise<HoldDecision> {
  let decision: HoldDecision | undefined
  await until('holds are decided again', async () => {
    decision = await books.hold(request).catch((error: unknown) => {
      if (error instanceof MeshError && error.code === 'storage_unavailable') return undefined
      throw error
    })
    return decision !== undefined
  })
  return decision ?? assert.fail()
}

/**
 * Keeps what commits without waiting for the disk from reaching it. The function returned ends the server's processes
 * and resolves when no connection is served any more.
 */
async function prepareCrash(database: Database): Promise<() => Promise<void>> {
  const { rows } = await database.pool.query<{ pid: number; backend_type: string }>(
    `select pid, backend_type from pg_stat_activity where backend_type in ('walwriter', 'client backend')`,
  )
  const writer = rows.find(({ backend_type }) => backend_type === 'walwriter') ?? assert.fail()
  process.kill(writer.pid, 'SIGSTOP')
  return async () => {
    // PostgreSQL starts over when one of its processes dies: nothing in its memory is trusted.
    process.kill(writer.pid, 'SIGKILL')
    await until('all connections have ended', () => !rows.some(({ pid }) => isAlive(pid)))
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

async function assertSound(database: Database): Promise<void> {
  for await (const { sentence } of verifyBooks(database.pool)) assert.fail(sentence)
}
