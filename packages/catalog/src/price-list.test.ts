import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import type { EndpointId } from './catalog.ts'
import { loadCatalog } from './load.ts'
import { costNano, costPico, type PriceSchedule } from './price.ts'
import { createPriceList, parsePriceList, serializePriceList } from './price-list.ts'
import { BUCKET_NAMES, EMPTY_BUCKETS, type TokenBuckets } from './token-buckets.ts'

const catalog = loadCatalog()
const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')
const SONNET: EndpointId = 'mesh/claude-sonnet-4.5@anthropic'

function scheduleOf(schedules: ReadonlyMap<EndpointId, PriceSchedule>, id: EndpointId): PriceSchedule {
  const schedule = schedules.get(id)
  assert.ok(schedule, id)
  return schedule
}

function everyRate(schedule: PriceSchedule): bigint[] {
  const all = [schedule, ...schedule.tiers, ...schedule.windows]
  return all.flatMap(({ rates }) => BUCKET_NAMES.map((name) => rates[name]))
}

test('a mark-up is put on every rate of every endpoint', () => {
  const list = createPriceList(catalog, { markupBasisPoints: 550 }, sha256)
  assert.equal(list.sell.size, 100)
  assert.equal(list.cost.size, 100)
  assert.equal(list.catalogVersion, catalog.version)
  assert.equal(scheduleOf(list.cost, SONNET).rates.input, 3_000_000n)
  assert.equal(scheduleOf(list.sell, SONNET).rates.input, 3_165_000n)
  assert.equal(scheduleOf(list.sell, 'mesh/gpt-5.5@openai').tiers[0]?.rates.output, 47_475_000n)
  assert.equal(scheduleOf(list.sell, 'mesh/deepseek-v4-pro@deepseek').windows[0]?.rates.output, 4_177_800n)
})

test('a fraction of a pico-USD is rounded up', () => {
  const list = createPriceList(catalog, { markupBasisPoints: 1 }, sha256)
  // 7,000 pico-USD and a hundredth of a per cent are 7,000.7.
  assert.equal(scheduleOf(list.sell, 'mesh/deepseek-v4-flash@deepseek').rates.cacheRead, 7_001n)
})

test('nothing is sold below cost, and no more than a pico-USD above the mark-up', () => {
  fc.assert(
    fc.property(fc.nat({ max: 1_000_000 }), (markupBasisPoints) => {
      const list = createPriceList(catalog, { markupBasisPoints }, () => 'x')
      for (const [id, cost] of list.cost) {
        const sell = everyRate(scheduleOf(list.sell, id))
        everyRate(cost).forEach((rate, index) => {
          const excess = (sell[index] ?? 0n) * 10_000n - rate * BigInt(10_000 + markupBasisPoints)
          assert.ok((sell[index] ?? -1n) >= rate)
          assert.ok(excess >= 0n && excess < 10_000n)
        })
      }
    }),
    { numRuns: 20 },
  )
})

test('a call is never sold for less than it costs', () => {
  const list = createPriceList(catalog, { markupBasisPoints: 0 }, sha256)
  const used = fc.record(
    Object.fromEntries(BUCKET_NAMES.map((name) => [name, fc.nat({ max: 500_000 })])),
  ) as fc.Arbitrary<TokenBuckets>
  const endpoint = fc.constantFrom(...list.cost.keys())
  fc.assert(
    fc.property(used, endpoint, fc.nat({ max: 1439 }), (buckets, id, minute) => {
      const at = new Date(Date.UTC(2026, 10, 23, 0, minute))
      assert.ok(
        costNano(buckets, scheduleOf(list.sell, id), at) >= costNano(buckets, scheduleOf(list.cost, id), at),
      )
    }),
  )
})

test('a stored list gives the same bill, also when the store has shuffled its keys', () => {
  const list = createPriceList(catalog, { markupBasisPoints: 550 }, sha256)
  const shuffled = JSON.stringify(reversed(JSON.parse(serializePriceList(list))), null, 2)
  const stored = parsePriceList(shuffled, sha256)
  assert.deepEqual(stored, { ...list, sell: new Map(stored.sell), cost: new Map(stored.cost) })
  assert.equal(stored.id, list.id)
  for (const [id, schedule] of list.sell) assert.deepEqual(stored.sell.get(id), schedule)
  for (const [id, schedule] of list.cost) assert.deepEqual(stored.cost.get(id), schedule)
  const buckets = { ...EMPTY_BUCKETS, input: 1_000, output: 500 }
  assert.equal(costPico(buckets, scheduleOf(stored.sell, SONNET).rates), 11_077_500_000n)
})

test('the id is that of the content', () => {
  const one = createPriceList(catalog, { markupBasisPoints: 550 }, sha256)
  assert.match(one.id, /^prices_[0-9a-f]{64}$/)
  assert.equal(createPriceList(loadCatalog(), { markupBasisPoints: 550 }, sha256).id, one.id)
  assert.notEqual(createPriceList(catalog, { markupBasisPoints: 551 }, sha256).id, one.id)
  const tampered = serializePriceList(one).replace('"3165000"', '"3165001"')
  assert.notEqual(parsePriceList(tampered, sha256).id, one.id)
})

test('a mark-up that loses money or makes no sense is refused', () => {
  const make = (markupBasisPoints: number, allowLoss = false) =>
    createPriceList(catalog, { markupBasisPoints, allowLoss }, sha256)
  assert.throws(() => make(-1), /below cost.*allowLoss/)
  assert.throws(() => make(-10_000, true), /for nothing/)
  for (const nonsense of [0.5, Number.NaN, Number.POSITIVE_INFINITY, 1_000_001]) {
    assert.throws(() => make(nonsense), /whole number of basis points/)
  }
  assert.equal(scheduleOf(make(-1_000, true).sell, SONNET).rates.input, 2_700_000n)
})

test('what is no price list is refused', () => {
  const text = serializePriceList(createPriceList(catalog, { markupBasisPoints: 0 }, sha256))
  const broken = [
    '',
    'null',
    '{}',
    text.replace('"3000000"', '3000000'),
    text.replace('"3000000"', '"-3000000"'),
    text.replace('"input":', '"inputs":'),
    text.replace(`"${SONNET}"`, '"claude"'),
  ]
  for (const one of broken) assert.throws(() => parsePriceList(one, sha256), /not a price list/)
})

function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([key, child]) => [key, reversed(child)]),
  )
}
