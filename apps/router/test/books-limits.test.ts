import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { HoldRefused, LimitName } from '../src/ledger/books.ts'
import {
  bookOf,
  granted,
  holdRequest,
  type Limits,
  makeAccount,
  openBooksFixture,
  setClock,
  settlementOf,
} from './support/books-fixture.ts'

const CALLS = 200
const AFFORDED = 10
/** What one call of the fixture holds. */
const CALL_NANO = 1_000n
const CALL_TOKENS = 100n

/** Each limit set to what ten calls need, and how the eleventh is told. */
const LIMITS: readonly {
  readonly name: LimitName
  readonly limits: Limits
  readonly reason: HoldRefused['reason']
}[] = [
  { name: 'requestsPerMinute', limits: { requests_per_minute: 10n }, reason: 'rate_limit_exceeded' },
  {
    name: 'tokensPerMinute',
    limits: { tokens_per_minute: 10n * CALL_TOKENS },
    reason: 'rate_limit_exceeded',
  },
  { name: 'maxConcurrentRequests', limits: { max_concurrent_requests: 10n }, reason: 'too_many_concurrent' },
  { name: 'monthlyRequestLimit', limits: { monthly_request_limit: 10n }, reason: 'limit_exceeded' },
  { name: 'monthlyTokenLimit', limits: { monthly_token_limit: 10n * CALL_TOKENS }, reason: 'limit_exceeded' },
  { name: 'dailyUsdLimit', limits: { daily_nano: 10n * CALL_NANO }, reason: 'limit_exceeded' },
  { name: 'monthlyUsdLimit', limits: { monthly_nano: 10n * CALL_NANO }, reason: 'limit_exceeded' },
  { name: 'totalUsdLimit', limits: { total_nano: 10n * CALL_NANO }, reason: 'limit_exceeded' },
]

test('200 parallel calls on two routers never hold more than a balance for ten', async (t) => {
  const { database, routers } = await openBooksFixture(t, { routers: 2 })
  const payer = await makeAccount(database, { balanceNano: 10n * CALL_NANO })
  const decisions = await Promise.all(
    Array.from({ length: CALLS }, (_, index) => routers[index % 2]?.hold(holdRequest(payer))),
  )
  assert.equal(decisions.filter((decision) => decision?.granted).length, AFFORDED)
  for (const decision of decisions) {
    if (decision === undefined || decision.granted) continue
    assert.equal(decision.reason, 'insufficient_credits')
    assert.equal(decision.scope, 'account')
    assert.equal(decision.limit, 'balance')
    assert.equal(decision.neededNano, CALL_NANO)
    assert.equal(decision.availableNano !== undefined && decision.availableNano < CALL_NANO, true)
  }
  assert.deepEqual(await bookOf(database, payer), { balanceNano: 10_000n, heldNano: 10_000n })
})

test('each limit holds exactly at account, project, key and the key that made the key', async (t) => {
  const { database, routers } = await openBooksFixture(t, { routers: 2 })
  // The minute must not end in between.
  await setClock(database, '2031-03-14 15:09:26Z')
  for (const { name, limits, reason } of LIMITS) {
    for (const level of ['account', 'project', 'key', 'maker'] as const) {
      const payer = await makeAccount(database, { [level]: limits })
      const decisions = await Promise.all(
        Array.from({ length: CALLS / 4 }, (_, index) => routers[index % 2]?.hold(holdRequest(payer))),
      )
      const refused = decisions.filter((decision) => decision?.granted === false)
      assert.equal(decisions.length - refused.length, AFFORDED, `${name} of ${level}`)
      for (const decision of refused) {
        assert.equal(decision.reason, reason, `${name} of ${level}`)
        assert.equal(decision.limit, name)
        assert.equal(decision.scope, level === 'maker' ? 'key' : level)
      }
    }
  }
})

test('a call beyond maxUsdPerRequest is refused and uses nothing', async (t) => {
  const { database, routers } = await openBooksFixture(t)
  const [books] = routers
  const payer = await makeAccount(database, { project: { max_nano_per_request: CALL_NANO - 1n } })
  const decision = await books?.hold(holdRequest(payer))
  assert.deepEqual(decision?.granted === false && [decision.reason, decision.limit, decision.scope], [
    'limit_exceeded',
    'maxUsdPerRequest',
    'project',
  ])
  assert.equal((await bookOf(database, payer)).heldNano, 0n)
})

test('output is lowered to what the tightest limit carries, never below the floor', async (t) => {
  const { database, routers } = await openBooksFixture(t)
  const [books] = routers
  assert.ok(books)
  const byBalance = await makeAccount(database, { balanceNano: 555n })
  const lowered = granted(await books.hold(holdRequest(byBalance, { outputTokensFloor: 10 })))
  assert.deepEqual([lowered.outputTokens, lowered.heldNano, lowered.loweredBy], [45, 550n, 'balance'])

  const byTokens = await makeAccount(database, { key: { tokens_per_minute: 30n, daily_nano: 555n } })
  const fewer = granted(await books.hold(holdRequest(byTokens, { outputTokensFloor: 10 })))
  assert.deepEqual([fewer.outputTokens, fewer.heldNano, fewer.loweredBy], [20, 300n, 'tokensPerMinute'])
  assert.deepEqual([fewer.rates.tokenLimit, fewer.rates.tokensRemaining], [30, 0])

  const tooLittle = await makeAccount(database, { balanceNano: 199n })
  const refused = await books.hold(holdRequest(tooLittle, { outputTokensFloor: 10 }))
  assert.equal(refused.granted, false)
  assert.equal((await bookOf(database, tooLittle)).heldNano, 0n)
})

test('a refused call uses nothing of what the next one may have', async (t) => {
  const { database, routers } = await openBooksFixture(t)
  const [books] = routers
  assert.ok(books)
  const payer = await makeAccount(database, { balanceNano: 1_000n })
  const [large, small] = await Promise.all([
    books.hold(holdRequest(payer, { inputNano: 5_000n })),
    books.hold(holdRequest(payer)),
  ])
  assert.deepEqual([large.granted, small.granted], [false, true])
})

test('prices in fractions of a nano-USD are held exactly, rounded up once', async (t) => {
  const { database, routers } = await openBooksFixture(t)
  const [books] = routers
  assert.ok(books)
  const payer = await makeAccount(database, { balanceNano: 100n })
  const decision = granted(
    await books.hold(
      holdRequest(payer, {
        inputNano: 1n,
        outputPicoPerToken: 2_501n,
        outputTokensWanted: 3,
        outputTokensFloor: 1,
      }),
    ),
  )
  assert.equal(decision.heldNano, 1n + 8n)
  const most = granted(
    await books.hold(
      holdRequest(payer, {
        inputNano: 0n,
        outputPicoPerToken: 2_501n,
        outputTokensWanted: 1_000,
        outputTokensFloor: 1,
      }),
    ),
  )
  assert.deepEqual([most.outputTokens, most.heldNano], [36, 91n])
})

test('one key holds no more than its share of the balance', async (t) => {
  const { database, routers } = await openBooksFixture(t, { keyShareBasisPoints: 2_500 })
  const [books] = routers
  assert.ok(books)
  const payer = await makeAccount(database, { balanceNano: 10_000n })
  const decisions = await Promise.all(Array.from({ length: 5 }, () => books.hold(holdRequest(payer))))
  assert.equal(decisions.filter(({ granted: is }) => is).length, 2)
  const refused = decisions.find((decision) => !decision.granted)
  assert.deepEqual(refused?.granted === false && [refused.reason, refused.scope], [
    'insufficient_credits',
    'key',
  ])
})

test('a settled call leaves its place to the next, and what it did not use', async (t) => {
  const { database, routers } = await openBooksFixture(t)
  const [books] = routers
  assert.ok(books)
  const payer = await makeAccount(database, {
    key: {
      max_concurrent_requests: 1n,
      total_nano: 1_500n,
      tokens_per_minute: 150n,
      monthly_request_limit: 2n,
    },
  })
  const first = holdRequest(payer)
  const held = granted(await books.hold(first))
  assert.equal((await books.hold(holdRequest(payer))).granted, false)
  await books.settle(settlementOf(first, held, { totalNano: 500n, tokens: 50 }))
  assert.equal((await books.hold(holdRequest(payer))).granted, true)
})
