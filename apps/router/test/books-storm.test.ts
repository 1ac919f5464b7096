import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Payer } from '../src/ledger/books.ts'
import type { PostgresBooks } from '../src/ledger/postgres-books.ts'
import { verifyBooks } from '../src/ledger/verify-books.ts'
import { createLog, type Log } from '../src/log.ts'
import {
  bookOf,
  extendRequest,
  holdRequest,
  makeAccount,
  openBooksFixture,
  settlementOf,
} from './support/books-fixture.ts'

const ACCOUNTS = 12
const LANES = 60
const CALLS_PER_LANE = 12

test('holds, extensions, settlements, renewals and reapers in a storm never deadlock', async (t) => {
  const setbacks: unknown[] = []
  const log: Log = {
    ...createLog('silent'),
    warn: (message, fields) => setbacks.push({ message, ...fields }),
    error: (message, fields) => setbacks.push({ message, ...fields }),
  }
  const { database, routers } = await openBooksFixture(t, { routers: 3, batchMax: 32, log })
  const payers: Payer[] = []
  for (let count = 0; count < ACCOUNTS; count++) {
    payers.push(await makeAccount(database, { balanceNano: 1_000_000_000n }))
  }
  let ended = false
  const chores = Promise.all(
    routers.map(async (books) => {
      while (!ended) {
        await books.renew()
        await books.reap()
      }
    }),
  )
  const spent = await Promise.all(Array.from({ length: LANES }, (_, lane) => runLane(lane, payers, routers)))
  ended = true
  await chores
  assert.deepEqual(setbacks, [])
  const books = await Promise.all(payers.map((payer) => bookOf(database, payer)))
  const left = books.reduce((sum, { balanceNano }) => sum + balanceNano, 0n)
  const charged = spent.reduce((sum, nano) => sum + nano, 0n)
  assert.equal(left, BigInt(ACCOUNTS) * 1_000_000_000n - charged)
  assert.equal(
    books.every(({ heldNano }) => heldNano === 0n),
    true,
  )
  for await (const { sentence } of verifyBooks(database.pool)) assert.fail(sentence)
})

/** Calls one after another, each of another account on another router than its neighbours. Returns what they cost. */
async function runLane(
  lane: number,
  payers: readonly Payer[],
  routers: readonly PostgresBooks[],
): Promise<bigint> {
  let spent = 0n
  for (let call = 0; call < CALLS_PER_LANE; call++) {
    const payer = payers[(lane * 7 + call * 5) % payers.length]
    const books = routers[(lane + call) % routers.length]
    assert.ok(payer && books)
    const request = holdRequest(payer)
    const decision = await books.hold(request)
    assert.ok(decision.granted)
    const held = await books.extend(extendRequest(request, decision.outputTokens, 120))
    assert.deepEqual(held, { outputTokens: 120, heldNano: 1_300n })
    const totalNano = BigInt((lane * 31 + call * 17) % 1_300)
    await books.settle(settlementOf(request, held, { totalNano }))
    spent += totalNano
  }
  return spent
}
