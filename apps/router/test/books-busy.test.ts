import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { CallId } from '../src/ids.ts'
import type { HoldDecision, Payer } from '../src/ledger/books.ts'
import { createIdempotencyClaims } from '../src/ledger/idempotency.ts'
import type { PostgresBooks } from '../src/ledger/postgres-books.ts'
import { verifyBooks } from '../src/ledger/verify-books.ts'
import { createLog, type Log, type LogFields } from '../src/log.ts'
import { type Database, openDatabase } from '../src/storage/database.ts'
import {
  bookOf,
  extendRequest,
  granted,
  heldCalls,
  holdRequest,
  lockBooks,
  makeAccount,
  openBooksFixture,
  settlementOf,
} from './support/books-fixture.ts'
import { createTestDatabase } from './support/test-database.ts'
import { until } from './support/until.ts'
import { startWayTo } from './support/way-to-database.ts'

/** Locks the book of one account, as somebody does who is at work on it by hand. */
async function lockBook(database: Database, { accountId }: Payer): Promise<{ release(): Promise<void> }> {
  const client = await database.connect()
  await client.query('begin')
  await client.query('select from balances where account_id = $1 for update', [accountId])
  return {
    async release() {
      await client.query('commit')
      await client.end()
    },
  }
}

/** A log that keeps its lines. */
function keptLog(): { readonly log: Log; readonly lines: { message: string; fields: LogFields }[] } {
  const lines: { message: string; fields: LogFields }[] = []
  const keep = (message: string, fields: LogFields = {}): void => void lines.push({ message, fields })
  return { log: { ...createLog('silent'), warn: keep, error: keep }, lines }
}

async function openOne(
  t: TestContext,
  options: Parameters<typeof openBooksFixture>[1] = {},
  given?: Parameters<typeof openBooksFixture>[2],
): Promise<{ database: Database; books: PostgresBooks } & Awaited<ReturnType<typeof openBooksFixture>>> {
  const fixture = await openBooksFixture(t, options, given)
  const [books] = fixture.routers
  assert.ok(books)
  return { ...fixture, books }
}

async function assertSound(database: Database): Promise<void> {
  for await (const { sentence } of verifyBooks(database.pool)) assert.fail(sentence)
}

/** The rules that the books break, each with what breaks it. */
async function brokenRules(database: Database): Promise<readonly string[]> {
  const broken: string[] = []
  for await (const { check, subject } of verifyBooks(database.pool)) broken.push(`${check} ${subject}`)
  return broken
}

/** Whether an account can hold at the moment. */
async function holds(books: PostgresBooks, payer: Payer): Promise<boolean> {
  const decision = await books.hold(holdRequest(payer)).catch(() => undefined)
  return decision?.granted === true
}

/** Ends the sessions of a router's books whose last statement has these words; says how many those were. */
async function endSessions(database: Database, words: string): Promise<number> {
  const { rowCount } = await database.pool.query(
    `select pg_terminate_backend(pid) from pg_stat_activity
     where datname = current_database() and query like $1 and pid <> pg_backend_pid()`,
    [`%${words}%`],
  )
  return rowCount ?? 0
}

/** Fails so many changes of books with a code, each before it is made. A sequence counts, for it is not rolled back. */
async function failSometimes(database: Database, code: string, times: number): Promise<void> {
  await database.pool.query(
    `drop trigger if exists fail_sometimes on balances;
     drop sequence if exists failures;
     create sequence failures;
     create or replace function fail_sometimes() returns trigger language plpgsql as $$
       begin
         if nextval('failures') <= ${times} then raise exception 'not now' using errcode = '${code}'; end if;
         return new;
       end $$;
     create trigger fail_sometimes before update on balances for each row execute function fail_sometimes()`,
  )
}

/** Refuses one call's row of a table, as a mistake in the schema would. */
async function poison(database: Database, table: 'events' | 'holds', callId: CallId): Promise<void> {
  const id = table === 'events' ? 'id' : 'call_id'
  await database.pool.query(
    `create function refuse_${table}() returns trigger language plpgsql as $$
       begin
         if new.${id} = '${callId}' then raise exception 'poison' using errcode = 'check_violation'; end if;
         return new;
       end $$;
     create trigger refuse_${table} before insert on ${table} for each row execute function refuse_${table}()`,
  )
}

test('an account whose book somebody keeps locked waits alone: holds, extensions and ends of all others go on', async (t) => {
  const { database, books } = await openOne(t)
  const locked = await makeAccount(database, { balanceNano: 100_000n })
  const others = await Promise.all(Array.from({ length: 8 }, () => makeAccount(database)))
  const before = holdRequest(locked)
  const held = granted(await books.hold(before))

  const lock = await lockBook(database, locked)
  const waiting: Promise<unknown>[] = [books.settle(settlementOf(before, held))]
  const asked = Array.from({ length: 20 }, () => holdRequest(locked))
  const decided: HoldDecision[] = []
  for (const request of asked) waiting.push(books.hold(request).then((decision) => decided.push(decision)))
  // Each of these comes into a batch beside those that wait, or while they do.
  for (let round = 0; round < 5; round++) {
    await Promise.all(
      others.map(async (payer) => {
        const request = holdRequest(payer)
        const first = granted(await books.hold(request))
        const wider = await books.extend(extendRequest(request, first.outputTokens, 120))
        await books.settle(settlementOf(request, wider, { totalNano: 700n }))
        waiting.push(books.hold(holdRequest(locked)).then((decision) => decided.push(decision)))
      }),
    )
  }
  assert.equal(decided.length, 0, 'the locked account went on')
  for (const payer of others) {
    assert.deepEqual(await bookOf(database, payer), { balanceNano: 999_999_996_500n, heldNano: 0n })
  }

  await lock.release()
  await Promise.all(waiting)
  assert.equal(decided.length, 60)
  assert.equal(
    decided.every((decision) => decision.granted),
    true,
  )
  assert.deepEqual(await bookOf(database, locked), { balanceNano: 99_000n, heldNano: 60_000n })
  await assertSound(database)
})

test('what waits for a locked book is decided in the order of its arrival, and never beyond the balance', async (t) => {
  // Fewer than wait, so that they are asked for in parts.
  const { database, books } = await openOne(t, { batchMax: 4 })
  const payer = await makeAccount(database, { balanceNano: 5_000n })
  const lock = await lockBook(database, payer)
  const first = Array.from({ length: 6 }, () => books.hold(holdRequest(payer)))
  // The others come when those are set aside already.
  await books.hold(holdRequest(await makeAccount(database)))
  const later = Array.from({ length: 6 }, () => books.hold(holdRequest(payer)))
  const questions = new Set<string>()
  await until('they were asked for again and again', async () => {
    const { rows } = await database.pool.query<{ at: string }>(
      `select query_start::text as at from pg_stat_activity
       where datname = current_database() and query like '%hold_free_calls%' and pid <> pg_backend_pid()`,
    )
    for (const { at } of rows) questions.add(at)
    return questions.size > 4
  })
  await lock.release()
  const decisions = await Promise.all([...first, ...later])
  assert.deepEqual(
    decisions.map((decision) => decision.granted),
    [...Array(5).fill(true), ...Array(7).fill(false)],
  )
})

test('a caller whose account stays locked is told so in time; an end is kept and posted once', async (t) => {
  const { database, books } = await openOne(t, { patienceMs: 400 })
  const payer = await makeAccount(database, { balanceNano: 100_000n })
  const request = holdRequest(payer)
  const held = granted(await books.hold(request))
  const lock = await lockBook(database, payer)
  await assert.rejects(books.hold(holdRequest(payer)), { code: 'storage_unavailable' })
  await assert.rejects(books.extend(extendRequest(request, 90, 200)), { code: 'storage_unavailable' })
  await assert.rejects(books.settle(settlementOf(request, held)), { code: 'storage_unavailable' })
  await lock.release()
  await books.drain()
  assert.deepEqual(await bookOf(database, payer), { balanceNano: 99_000n, heldNano: 0n })
  assert.deepEqual(await heldCalls(database), [])
  await assertSound(database)
})

test('many accounts that are locked at once wait side by side, and each goes on when its own book is back', async (t) => {
  const { database, books } = await openOne(t, { batchMax: 8 })
  const payers = await Promise.all(Array.from({ length: 12 }, () => makeAccount(database)))
  const lock = await lockBooks(database)
  const [free, ...rest] = payers
  assert.ok(free)
  const decisions = payers.flatMap((payer) =>
    Array.from({ length: 10 }, () => books.hold(holdRequest(payer))),
  )
  // An account that is made now is nobody's.
  const made = await makeAccount(database)
  assert.equal((await books.hold(holdRequest(made))).granted, true)
  await lock.release()
  const again = await Promise.all(rest.map((payer) => lockBook(database, payer)))
  await Promise.all(decisions.slice(0, 10))
  await Promise.all(again.map((each) => each.release()))
  assert.equal(
    (await Promise.all(decisions)).every((decision) => decision.granted),
    true,
  )
})

test('the reaper passes over a locked book, and releases the holds of all others', async (t) => {
  const { database, books } = await openOne(t)
  const payers = await Promise.all(Array.from({ length: 3 }, () => makeAccount(database)))
  const [locked] = payers
  assert.ok(locked)
  const requests = payers.map((payer) => holdRequest(payer))
  for (const request of requests) await books.hold(request)
  await database.query
    .updateTable('holds')
    .set({ expires_at: new Date(0) })
    .execute()
  const lock = await lockBook(database, locked)
  assert.equal(await books.reap(), 2)
  assert.deepEqual(await heldCalls(database), [requests[0]?.callId])
  await lock.release()
  assert.equal(await books.reap(), 1)
  await assertSound(database)
})

test('a router that comes back while a book is locked serves all others, and that account only with its old holds', async (t) => {
  const { database, books } = await openOne(t)
  const locked = await makeAccount(database, { balanceNano: 2_500n })
  const other = await makeAccount(database)
  const request = holdRequest(locked)
  await books.hold(request)
  // What a crash of PostgreSQL loses: the hold is gone, and so is its trace in the book.
  await database.pool.query('delete from holds; update balances set held_nano = 0; delete from counters')
  const lock = await lockBook(database, locked)
  await endSessions(database, 'hold_calls')
  await until('another account holds again', () => holds(books, other))
  const asked = [books.hold(holdRequest(locked)), books.hold(holdRequest(locked))]
  await lock.release()
  const decisions = await Promise.all(asked)
  assert.deepEqual(
    decisions.map((decision) => decision.granted),
    [true, false],
    'the lost hold came back before any other',
  )
  assert.equal((await bookOf(database, locked)).heldNano, 2_000n)
})

test('a settlement that is refused in a batch of 256 is alone in that, and kept though the database was away', async (t) => {
  const { log, lines } = keptLog()
  const { database, books } = await openOne(t, { log })
  const payers = await Promise.all(Array.from({ length: 16 }, () => makeAccount(database)))
  const requests = Array.from({ length: 256 }, (_, index) => holdRequest(payers[index % 16] ?? assert.fail()))
  const decisions = await Promise.all(requests.map((request) => books.hold(request)))
  const poisoned = requests[101]
  assert.ok(poisoned)
  await poison(database, 'events', poisoned.callId)
  await database.pool.query(
    `create function no_space() returns trigger language plpgsql as $$
       begin raise exception 'no space' using errcode = 'disk_full'; end $$;
     create trigger no_space before insert on refused_settlements for each row execute function no_space()`,
  )
  const results = await Promise.allSettled(
    requests.map((request, index) =>
      books.settle(settlementOf(request, granted(decisions[index] ?? assert.fail()))),
    ),
  )
  assert.deepEqual(
    results.flatMap(({ status }, index) => (status === 'rejected' ? [index] : [])),
    [101],
  )
  assert.deepEqual(await heldCalls(database), [poisoned.callId])
  await until('it could not be kept', () =>
    lines.some(({ message }) => message.includes('could not be kept')),
  )
  await database.pool.query('drop trigger no_space on refused_settlements')
  await books.drain()
  assert.deepEqual(await brokenRules(database), [`refused_settlement ${poisoned.callId}`])
})

test('a hold that is refused in a batch is alone in that', async (t) => {
  const { database, books } = await openOne(t)
  const payers = await Promise.all(Array.from({ length: 8 }, () => makeAccount(database)))
  const requests = Array.from({ length: 128 }, (_, index) => holdRequest(payers[index % 8] ?? assert.fail()))
  await poison(database, 'holds', requests[77]?.callId ?? assert.fail())
  const results = await Promise.allSettled(requests.map((request) => books.hold(request)))
  assert.deepEqual(
    results.flatMap(({ status }, index) => (status === 'rejected' ? [index] : [])),
    [77],
  )
  assert.equal((await heldCalls(database)).length, 127)
  await assertSound(database)
})

test('a hold that can be neither settled nor released keeps no other from being released, and is named', async (t) => {
  const { database, books } = await openOne(t)
  const payers = await Promise.all(Array.from({ length: 4 }, () => makeAccount(database)))
  const requests = payers.map((payer) => holdRequest(payer))
  for (const request of requests) await books.hold(request)
  const poisoned = requests[2]
  assert.ok(poisoned)
  await poison(database, 'events', poisoned.callId)
  await database.query
    .updateTable('holds')
    .set({ expires_at: new Date(0) })
    .execute()
  assert.equal(await books.reap(), 3)
  assert.equal(await books.reap(), 0)
  assert.deepEqual(await heldCalls(database), [poisoned.callId])
  assert.deepEqual(await brokenRules(database), [`refused_settlement ${poisoned.callId}`])
  await database.pool.query('drop trigger refuse_events on events')
  assert.equal(await books.reap(), 1, 'what was mended is released')
})

test('a hold that cannot be put back after a crash keeps no other from coming back', async (t) => {
  const { log, lines } = keptLog()
  const { database, books } = await openOne(t, { log })
  const payers = await Promise.all(Array.from({ length: 4 }, () => makeAccount(database)))
  const requests = payers.map((payer) => holdRequest(payer))
  for (const request of requests) await books.hold(request)
  const poisoned = requests[1]
  assert.ok(poisoned)
  await poison(database, 'holds', poisoned.callId)
  await database.pool.query('delete from holds; update balances set held_nano = 0; delete from counters')
  await endSessions(database, 'hold_calls')
  await until('holds are taken again', () => holds(books, payers[0] ?? assert.fail()))
  const back = await heldCalls(database)
  for (const { callId } of requests) assert.equal(back.includes(callId), callId !== poisoned.callId)
  assert.ok(lines.some(({ fields }) => fields.callId === poisoned.callId))
})

for (const [name, code] of [
  ['a deadlock', 'deadlock_detected'],
  ['a serialization failure', 'serialization_failure'],
  ['a lock that is not to be had', 'lock_not_available'],
] as const) {
  test(`${name} is tried again and quarantines nothing, in a batch or alone`, async (t) => {
    const { database, books } = await openOne(t)
    const payer = await makeAccount(database)
    const requests = Array.from({ length: 20 }, () => holdRequest(payer))
    await failSometimes(database, code, 5)
    const decisions = await Promise.all(requests.map((request) => books.hold(request)))
    await Promise.all(
      requests.map((request, index) =>
        books.settle(settlementOf(request, granted(decisions[index] ?? assert.fail()))),
      ),
    )
    const alone = holdRequest(payer)
    await failSometimes(database, code, 2)
    await books.settle(settlementOf(alone, granted(await books.hold(alone))))
    assert.deepEqual(await heldCalls(database), [])
    assert.equal((await bookOf(database, payer)).balanceNano, 1_000_000_000_000n - 21_000n)
    await assertSound(database)
  })
}

test('a hold whose fate a lost connection hides is released at once, and costs nobody anything', async (t) => {
  const testDatabase = await createTestDatabase()
  const way = await startWayTo(testDatabase)
  const opened: Database[] = []
  const { books } = await openOne(
    t,
    {},
    {
      database(poolSize = 2) {
        const options = { poolSize, applicationName: 'mesh-test', statementTimeoutMs: 10_000 }
        opened.push(openDatabase({ url: way.url }, options))
        return opened.at(-1) ?? assert.fail()
      },
      async close() {
        await Promise.all(opened.map((database) => database.close()))
        await way.close()
        await testDatabase.close()
      },
    },
  )
  const database = testDatabase.database()
  const payer = await makeAccount(database)
  const claims = createIdempotencyClaims(database)
  const request = holdRequest(payer)
  const claim = {
    accountId: payer.accountId,
    livemode: true,
    keyHmac: Buffer.from('key'),
    bodyHmac: Buffer.from('body'),
  }
  assert.equal((await claims.claim({ ...claim, callId: request.callId })).outcome, 'claimed')
  // It is granted, and the answer is lost on its way.
  way.delay(0, 60_000)
  const asked = assert.rejects(books.hold(request), { code: 'storage_unavailable' })
  await until('it is granted', async () => (await heldCalls(database)).length === 1)
  way.cut()
  await asked
  way.restore()
  await until('holds are taken again', () => holds(books, payer))
  await until('it is released', async () => !(await heldCalls(database)).includes(request.callId))
  const { rows } = await database.pool.query('select id, billing_reason, absorbed_nano from events')
  assert.deepEqual(rows, [{ id: request.callId, billing_reason: 'rejected_not_billed', absorbed_nano: 0n }])
  const again = { ...claim, callId: holdRequest(payer).callId }
  assert.equal((await claims.claim(again)).outcome, 'claimed', 'its key is free again')
  await assertSound(database)
})

test('an extension outlives its connection', async (t) => {
  const { database, books } = await openOne(t)
  const payer = await makeAccount(database)
  const request = holdRequest(payer)
  const first = granted(await books.hold(request))
  const lock = await lockBook(database, payer)
  const wider = books.extend(extendRequest(request, first.outputTokens, 200))
  await until('it is under way', async () => (await endSessions(database, 'hold_')) > 0)
  await lock.release()
  assert.equal((await wider).outputTokens, 200)
  await books.settle(settlementOf(request, await wider, { totalNano: 1_500n }))
  assert.deepEqual(await bookOf(database, payer), { balanceNano: 999_999_998_500n, heldNano: 0n })
  await assertSound(database)
})
