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
import { BooksModel, windowStart } from './support/books-model.ts'

const RUNS = 40
const STEPS_MAX = 30

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
      wanted: fc.nat(60),
      floor: fc.nat(30),
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
  { weight: 1, arbitrary: fc.record({ do: fc.constant('reap' as const), call: anyCall }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('wait' as const), jumpMs: fc.constantFrom(...JUMPS_MS) }),
  },
)

const aLimit = (most: bigint): fc.Arbitrary<bigint> => fc.bigInt(1n, most)
const limits: fc.Arbitrary<Limits> = fc.record(
  {
    requests_per_minute: aLimit(8n),
    tokens_per_minute: aLimit(300n),
    max_concurrent_requests: aLimit(5n),
    monthly_request_limit: aLimit(20n),
    monthly_token_limit: aLimit(900n),
    daily_nano: aLimit(5_000n),
    monthly_nano: aLimit(8_000n),
    total_nano: aLimit(12_000n),
    max_nano_per_request: aLimit(1_000n),
  },
  { requiredKeys: [] },
)

test('random histories leave the books as paper and pencil have them', async (t) => {
  const { database, routers } = await openBooksFixture(t)
  const [books] = routers
  assert.ok(books)
  await fc.assert(
    fc.asyncProperty(
      fc.record({ account: limits, project: limits, key: limits, maker: limits }),
      fc.bigInt(0n, 6_000n),
      fc.array(step, { maxLength: STEPS_MAX }),
      async (own, balanceNano, steps) => {
        const made = await makeAccount(database, { ...own, balanceNano })
        const history = new History(database, books, [made, await addKey(database, made)], own, balanceNano)
        await history.begin()
        for (const next of steps) {
          await history.play(next)
          await history.check()
        }
        for await (const { sentence } of verifyBooks(database)) assert.fail(sentence)
      },
    ),
    { numRuns: RUNS },
  )
})

class History {
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
        return await this.#settle(next)
      case 'reap':
        return await this.#reap(next.call)
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

  async #hold({ key, inputTokens, wanted, floor, pico }: Step & { readonly do: 'hold' }): Promise<void> {
    const payer = this.#keys[key]
    assert.ok(payer)
    const request = holdRequest(payer, {
      inputTokens,
      inputNano: BigInt(inputTokens) * 3n,
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
      return
    }
    assert.ok(decision.granted, 'refused without need')
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
    const decision = await this.#books.extend(extendRequest(request, outputTokens, outputTokens + more))
    if (call.state !== 'held') {
      assert.deepEqual(decision, { outputTokens, heldNano: 0n })
      return
    }
    const output = Math.max(0, room)
    assert.deepEqual(decision, { outputTokens: outputTokens + output, heldNano: heldNano + added(output) })
    this.#model.extend(call, this.#now, decision.heldNano, decision.outputTokens)
  }

  async #settle({ call: index, percent }: Step & { readonly do: 'settle' }): Promise<void> {
    const call = this.#pick(index)
    if (call === undefined) return
    const totalNano = (call.heldNano * percent) / 100n
    const tokens = Math.floor((call.request.inputTokens + call.outputTokens) / 2)
    const settled = await this.#books.settle(settlementOf(call.request, call, { totalNano, tokens }))
    assert.equal(settled.duplicate, call.state === 'settled')
    this.#model.settle(call, this.#now, totalNano, tokens)
  }

  async #reap(index: number): Promise<void> {
    const call = this.#pick(index)
    if (call?.state !== 'held') return
    await this.#database.query
      .updateTable('holds')
      .set({ expires_at: new Date(this.#now.getTime() - 1) })
      .where('call_id', '=', call.request.callId)
      .execute()
    assert.ok((await this.#books.reap('expired')) >= 1)
    this.#model.reap(call)
  }

  #pick(index: number): BooksModel['calls'][number] | undefined {
    const { calls } = this.#model
    return calls[index % Math.max(1, calls.length)]
  }
}

function ceilNano(tokens: number, pico: bigint): bigint {
  return (BigInt(tokens) * pico + 999n) / 1000n
}
