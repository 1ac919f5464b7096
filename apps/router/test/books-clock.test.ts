import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createIdempotencyClaims } from '../src/ledger/idempotency.ts'
import { createLog, type Log } from '../src/log.ts'
import {
  granted,
  heldCalls,
  holdRequest,
  makeAccount,
  openBooksFixture,
  setClock,
  settlementOf,
  shiftClock,
} from './support/books-fixture.ts'
import { until } from './support/until.ts'

test('a clock that is set forward kills no running call on any router, and dead ones are released all the same', async (t) => {
  const said: string[] = []
  const log: Log = { ...createLog('silent'), warn: (message) => void said.push(message) }
  const { database, routers, openRouter } = await openBooksFixture(t)
  const [alive] = routers
  assert.ok(alive)
  const payer = await makeAccount(database)
  const running = holdRequest(payer)
  await alive.hold(running)
  const dead = await openRouter()
  await dead.hold(holdRequest(payer))
  await dead.close()

  // Its beat is short; the two others would have renewed only after the jump.
  await openRouter({ holdTtlMs: 1_000, log })
  const isNoticed = (): boolean => said.some((message) => message.includes('clock of the database was set'))
  // It must have looked at the clock once before it can see it jump.
  await database.pool.query(
    `create sequence looks;
     create or replace function mesh_now() returns timestamptz language sql volatile
       as $$ select clock_timestamp() + nextval('looks') * interval '0' $$`,
  )
  await until('the short beat has begun', async () => {
    const { rows } = await database.pool.query<{ looks: bigint }>('select last_value as looks from looks')
    return (rows[0]?.looks ?? 0n) > 3n
  })
  await shiftClock(database, '25 hours')
  await until('the jump is noticed', isNoticed)
  assert.equal((await heldCalls(database)).length, 2, 'nothing is taken for dead')
  await alive.renew()
  await until('the dead one is released', async () => (await heldCalls(database)).length === 1)
  assert.deepEqual(await heldCalls(database), [running.callId])
})

test('a key whose call runs is neither forgotten nor taken over, however far the clock is set forward', async (t) => {
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
  }
  await claims.claim({ ...claim, callId: request.callId })
  const held = granted(await books.hold(request))
  await shiftClock(database, '25 hours')
  const repeat = () => claims.claim({ ...claim, callId: holdRequest(payer).callId })
  assert.equal((await repeat()).outcome, 'in_progress')
  await database.pool.query(`select forget_idempotency_keys(interval '15 minutes')`)
  assert.equal((await repeat()).outcome, 'in_progress')
  await books.settle(settlementOf(request, held, { idempotency: 'billed' }))
  await shiftClock(database, '0')
  assert.equal((await repeat()).outcome, 'replay')
})

test('a limit of a minute goes on with the minutes of the database after its clock was set back', async (t) => {
  const { database, routers } = await openBooksFixture(t)
  const [books] = routers
  assert.ok(books)
  const payer = await makeAccount(database, { key: { requests_per_minute: 2n } })
  const decide = async (): Promise<string> => {
    const decision = await books.hold(holdRequest(payer))
    return decision.granted ? 'granted' : decision.reason
  }
  await setClock(database, '2026-03-04T13:00:30Z')
  assert.deepEqual(
    [await decide(), await decide(), await decide()],
    ['granted', 'granted', 'rate_limit_exceeded'],
  )
  await setClock(database, '2026-03-04T12:00:30Z')
  assert.deepEqual(
    [await decide(), await decide(), await decide()],
    ['granted', 'granted', 'rate_limit_exceeded'],
  )
  // A batch that saw the minute a moment earlier than the last one counts in the same window.
  await setClock(database, '2026-03-04T11:59:59Z')
  assert.equal(await decide(), 'rate_limit_exceeded')
  await setClock(database, '2026-03-04T12:01:00Z')
  assert.equal(await decide(), 'granted')
})

test('a clock that was set back lets dead holds go no later than their own time, and ends post', async (t) => {
  const { database, routers } = await openBooksFixture(t)
  const [books] = routers
  assert.ok(books)
  const payer = await makeAccount(database)
  const request = holdRequest(payer)
  await shiftClock(database, '2 days')
  const held = granted(await books.hold(request))
  await shiftClock(database, '0')
  await books.renew()
  const { rows } = await database.pool.query<{ is_near: boolean }>(
    `select expires_at < clock_timestamp() + interval '2 hours' as is_near from holds`,
  )
  assert.deepEqual(rows, [{ is_near: true }])
  await books.settle(settlementOf(request, held))
  assert.deepEqual(await heldCalls(database), [])
})

test('what has expired only by a jump after the clock was looked at is released by nobody', async (t) => {
  const { database, routers } = await openBooksFixture(t)
  const [books] = routers
  assert.ok(books)
  const payer = await makeAccount(database)
  await books.hold(holdRequest(payer))
  const looked = new Date()
  await shiftClock(database, '10 hours')
  assert.equal(await books.reap(looked), 0)
  assert.equal(await books.reap(), 1)
})
