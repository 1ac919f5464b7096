import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { newId } from '../src/ids.ts'
import type { Payer } from '../src/ledger/books.ts'
import { grant } from '../src/ledger/grants.ts'
import type { PostgresBooks } from '../src/ledger/postgres-books.ts'
import { verifyBooks } from '../src/ledger/verify-books.ts'
import { systemSeams } from '../src/seams.ts'
import type { Database } from '../src/storage/database.ts'
import {
  addKey,
  bookOf,
  extendRequest,
  holdRequest,
  type Limits,
  makeAccount,
  openBooksFixture,
  setClock,
  settlementOf,
} from './support/books-fixture.ts'
import { BooksModel, type ModelCall, windowStart } from './support/books-model.ts'

const RUNS = 30
const STEPS_MAX = 50
/** Of each kind of change, so many must have happened, or the histories say nothing. */
const CHANGES_MIN = 5

/** How far the clock moves: within a minute, beyond it, beyond a day, beyond a month. */
const JUMPS_MS = [1_000, 61_000, 25 * 3_600_000, 32 * 24 * 3_600_000] as const

type Step =
  | { readonly do: 'grant'; readonly amountNano: bigint }
  | {
      readonly do: 'hold'
      readonly key: number
      readonly inputTokens: number
      readonly wanted: number
      readonly floor: number
      readonly pico: bigint
    }
  | { readonly do: 'extend'; readonly call: number; readonly more: number }
  | { readonly do: 'settle'; readonly call: number; readonly percent: bigint }
  | { readonly do: 'reap'; readonly call: number }
  /** Reaped, all credit spent by others, and settled after all. */
  | { readonly do: 'strand'; readonly call: number; readonly percent: bigint }
  | { readonly do: 'wait'; readonly jumpMs: number }

const anyCall = fc.nat(50)
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('grant' as const), amountNano: fc.bigInt(1n, 3_000n) }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('hold' as const),
      key: fc.nat(1),
      inputTokens: fc.nat(20),
      wanted: fc.nat(90),
      floor: fc.nat(10),
      pico: fc.bigInt(0n, 20_000n),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('extend' as const), call: anyCall, more: fc.nat(60) }),
  },
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constant('settle' as const), call: anyCall, percent: fc.bigInt(0n, 100n) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('reap' as const), call: anyCall }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('strand' as const), call: anyCall, percent: fc.bigInt(0n, 100n) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('wait' as const), jumpMs: fc.constantFrom(...JUMPS_MS) }),
  },
)

/** A subject has one limit or none: more would leave nothing to do. */
const limits: fc.Arbitrary<Limits> = fc.oneof(
  { weight: 3, arbitrary: fc.constant({}) },
  ...(
    [
      ['requests_per_minute', 8n],
      ['tokens_per_minute', 500n],
      ['max_concurrent_requests', 5n],
      ['monthly_request_limit', 20n],
      ['monthly_token_limit', 900n],
      ['daily_nano', 5_000n],
      ['monthly_nano', 8_000n],
      ['total_nano', 12_000n],
      ['max_nano_per_request', 1_500n],
    ] as const
  ).map(([name, most]) => ({
    weight: 1,
    arbitrary: fc.bigInt(most / 2n, most).map((value): Limits => ({ [name]: value })),
  })),
)

test('random histories leave the books as paper and pencil have them', async (t) => {
  const { database, routers } = await openBooksFixture(t)
  const [books] = routers
  assert.ok(books)
  const happened = {
    held: 0,
    lowered: 0,
    refused: 0,
    widened: 0,
    settled: 0,
    repeated: 0,
    late: 0,
    unpayable: 0,
  }
  await fc.assert(
    fc.asyncProperty(
      fc.record({ account: limits, project: limits, key: limits, maker: limits }),
      fc.bigInt(0n, 20_000n),
      fc.array(step, { minLength: STEPS_MAX / 2, maxLength: STEPS_MAX, size: 'max' }),
      async (own, balanceNano, steps) => {
        const made = await makeAccount(database, { ...own, balanceNano })
        const history = new History(database, books, [made, await addKey(database, made)], own, balanceNano)
        await history.begin()
        for (const next of steps) {
          await history.play(next)
          await history.check()
        }
        for await (const { sentence } of verifyBooks(database.pool)) assert.fail(sentence)
        for (const change of history.happened) happened[change]++
      },
    ),
    // Shrinking a counterexample ends in time too.
    { numRuns: RUNS, interruptAfterTimeLimit: 120_000 },
  )
  for (const [change, times] of Object.entries(happened)) {
    assert.ok(times >= CHANGES_MIN, `only ${times} times ${change}`)
  }
})

type Change = 'held' | 'lowered' | 'refused' | 'widened' | 'settled' | 'repeated' | 'late' | 'unpayable'

class History {
  readonly happened: Change[] = []
  readonly #database: Database
  readonly #books: PostgresBooks
  readonly #keys: readonly Payer[]
  readonly #model: BooksModel
  #now = new Date('2031-01-30T23:58:30Z')

  constructor(
    database: Database,
    books: PostgresBooks,
    keys: readonly [Payer, Payer],
    own: { readonly account: Limits; readonly project: Limits; readonly key: Limits; readonly maker: Limits },
    balanceNano: bigint,
  ) {
    const [first] = keys
    this.#database = database
    this.#books = books
    this.#keys = keys
    this.#model = new BooksModel(
      new Map<string, Limits>([
        [first.accountId, own.account],
        [first.projectId, own.project],
        [first.lineageId, own.key],
        [first.parentLineageId ?? '', own.maker],
      ]),
    )
    this.#model.balanceNano = balanceNano
  }

  async begin(): Promise<void> {
    await setClock(this.#database, this.#now.toISOString())
  }

  async play(next: Step): Promise<void> {
    switch (next.do) {
      case 'grant':
        return await this.#grant(next.amountNano)
      case 'hold':
        return await this.#hold(next)
      case 'extend':
        return await this.#extend(next)
      case 'settle':
        return await this.#settle(this.#pick(next.call), next.percent)
      case 'reap':
        return await this.#reap(this.#pick(next.call))
      case 'strand':
        return await this.#strand(next)
      case 'wait':
        this.#now = new Date(this.#now.getTime() + next.jumpMs)
        return await setClock(this.#database, this.#now.toISOString())
    }
  }

  async check(): Promise<void> {
    const [payer] = this.#keys
    assert.ok(payer)
    const book = await bookOf(this.#database, payer)
    assert.deepEqual(book, { balanceNano: this.#model.balanceNano, heldNano: this.#model.heldNano })
    assert.ok(book.heldNano <= book.balanceNano, 'somebody owes, or will')
    for (const subject of this.#model.subjects()) {
      const row = await this.#database.query
        .selectFrom('counters')
        .selectAll()
        .where('subject_id', '=', subject as never)
        .executeTakeFirstOrThrow()
      assert.deepEqual(
        {
          minute: [
            windowStart('minute', row.minute_start),
            Number(row.minute_requests),
            Number(row.minute_tokens),
          ],
          day: [windowStart('day', row.day_start), row.day_nano],
          month: [
            windowStart('month', row.month_start),
            Number(row.month_requests),
            Number(row.month_tokens),
            row.month_nano,
          ],
          totalNano: row.total_nano,
          heldNano: row.held_nano,
          active: Number(row.active_requests),
        },
        this.#model.counters(subject),
      )
    }
  }

  async #grant(amountNano: bigint): Promise<void> {
    const [payer] = this.#keys
    assert.ok(payer)
    const entry = {
      id: newId('led', systemSeams),
      accountId: payer.accountId,
      livemode: true,
      amountNano,
      reason: 'test',
    } as const
    this.#model.balanceNano += amountNano
    const balanceAfterNano = this.#model.balanceNano
    assert.deepEqual(await grant(this.#database, entry), { outcome: 'granted', balanceAfterNano })
    assert.deepEqual(await grant(this.#database, entry), { outcome: 'repeated', balanceAfterNano })
  }

  async #hold(
    { key, inputTokens, wanted, floor, pico }: Step & { readonly do: 'hold' },
    inputNano = BigInt(inputTokens) * 3n,
  ): Promise<void> {
    const payer = this.#keys[key]
    assert.ok(payer)
    const request = holdRequest(payer, {
      inputTokens,
      inputNano,
      outputPicoPerToken: pico,
      outputTokensWanted: wanted,
      outputTokensFloor: Math.min(floor, wanted),
    })
    const nano = (output: number): bigint => request.inputNano + ceilNano(output, pico)
    const output = this.#model.carries(payer, this.#now, {
      calls: 1,
      ownNano: 0n,
      inputTokens,
      nano,
      tokens: (tokens) => inputTokens + tokens,
      wanted,
    })
    const decision = await this.#books.hold(request)
    if (output < request.outputTokensFloor) {
      assert.equal(decision.granted, false)
      this.happened.push('refused')
      return
    }
    assert.ok(decision.granted, 'refused without need')
    this.happened.push(output < wanted ? 'lowered' : 'held')
    assert.deepEqual([decision.outputTokens, decision.heldNano], [output, nano(output)])
    this.#model.hold(request, this.#now, decision.heldNano, decision.outputTokens)
    assert.ok(this.#model.balanceNano - this.#model.heldNano >= 0n, 'more is held than there is')
  }

  async #extend({ call: index, more }: Step & { readonly do: 'extend' }): Promise<void> {
    const call = this.#pick(index)
    if (call === undefined) return
    const { request, outputTokens, heldNano } = call
    const pico = request.outputPicoPerToken
    const added = (output: number): bigint =>
      ceilNano(outputTokens + output, pico) - ceilNano(outputTokens, pico)
    const room = this.#model.carries(request.payer, this.#now, {
      calls: 0,
      ownNano: heldNano,
      inputTokens: 0,
      nano: added,
      tokens: (output) => output,
      wanted: more,
    })
    const { loweredBy, ...decision } = await this.#books.extend(
      extendRequest(request, outputTokens, outputTokens + more),
    )
    if (call.state !== 'held') {
      assert.deepEqual(decision, { outputTokens, heldNano: 0n })
      return
    }
    assert.equal(
      loweredBy !== undefined,
      decision.outputTokens < outputTokens + more,
      'it says what lowered it',
    )
    const output = Math.max(0, room)
    if (output > 0) this.happened.push('widened')
    assert.deepEqual(decision, { outputTokens: outputTokens + output, heldNano: heldNano + added(output) })
    this.#model.extend(call, this.#now, decision.heldNano, decision.outputTokens)
  }

  async #settle(call: ModelCall | undefined, percent: bigint): Promise<void> {
    if (call === undefined) return
    const totalNano = (call.heldNano * percent) / 100n
    const tokens = Math.floor((call.request.inputTokens + call.outputTokens) / 2)
    const isUnpayable =
      call.state === 'reaped' && totalNano > 0n && !this.#model.canPay(call, this.#now, totalNano)
    const settled = await this.#books.settle(settlementOf(call.request, call, { totalNano, tokens }))
    if (isUnpayable) {
      assert.deepEqual(settled, { duplicate: true, isUnpayable: true })
      this.happened.push('unpayable')
      return
    }
    assert.equal(settled.duplicate, call.state === 'settled')
    this.happened.push(({ held: 'settled', settled: 'repeated', reaped: 'late' } as const)[call.state])
    this.#model.settle(call, this.#now, totalNano, tokens)
  }

  async #strand({ call: index, percent }: Step & { readonly do: 'strand' }): Promise<void> {
    const held = this.#model.calls.filter(({ state }) => state === 'held')
    const call = held[index % Math.max(1, held.length)]
    await this.#reap(call)
    const freeNano = this.#model.balanceNano - this.#model.heldNano
    await this.#hold({ do: 'hold', key: 0, inputTokens: 0, wanted: 0, floor: 0, pico: 0n }, freeNano)
    await this.#settle(call, percent)
  }

  async #reap(call: ModelCall | undefined): Promise<void> {
    if (call?.state !== 'held') return
    await this.#database.pool.query(
      `update holds set expires_at = case call_id when $1 then '-infinity' else 'infinity' end::timestamptz`,
      [call.request.callId],
    )
    assert.equal(await this.#books.reap(), 1)
    this.#model.reap(call)
  }

  #pick(index: number): ModelCall | undefined {
    const { calls } = this.#model
    return calls[index % Math.max(1, calls.length)]
  }
}

function ceilNano(tokens: number, pico: bigint): bigint {
  return (BigInt(tokens) * pico + 999n) / 1000n
}
