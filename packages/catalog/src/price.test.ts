import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { EndpointId } from './catalog.ts'
import { loadCatalog } from './load.ts'
import { formatUsd, roundUpToNano } from './money.ts'
import { costNano, costPico, dearestRates, type PriceSchedule, type Rates, ratesFor } from './price.ts'
import { BUCKET_NAMES, EMPTY_BUCKETS, inputTokens, outputTokens, type TokenBuckets } from './token-buckets.ts'

const NOON = new Date('2026-11-23T12:00:00Z')

function scheduleAt(id: EndpointId): PriceSchedule {
  const endpoint = loadCatalog()
    .models.flatMap((model) => model.endpoints)
    .find((candidate) => candidate.id === id)
  assert.ok(endpoint, id)
  return endpoint.prices
}

const rates = fc.record(
  Object.fromEntries(BUCKET_NAMES.map((name) => [name, fc.bigInt({ min: 0n, max: 10n ** 10n })])),
) as fc.Arbitrary<Rates>

const denseBuckets = fc.record(
  Object.fromEntries(BUCKET_NAMES.map((name) => [name, fc.nat({ max: 2_000_000 })])),
) as fc.Arbitrary<TokenBuckets>

/** All input in one bucket and all output in another: where a bound is met exactly if it is met at all. */
const sparseBuckets = fc
  .tuple(
    fc.constantFrom('input', 'cacheRead', 'cacheWrite5m', 'cacheWrite1h', 'inputAudio', 'inputImage'),
    fc.constantFrom('output', 'reasoning', 'outputAudio', 'outputImage'),
    fc.nat({ max: 5_000_000 }),
    fc.nat({ max: 5_000_000 }),
  )
  .map(([from, to, tokensIn, tokensOut]) => ({ ...EMPTY_BUCKETS, [from]: tokensIn, [to]: tokensOut }))

const buckets: fc.Arbitrary<TokenBuckets> = fc.oneof(denseBuckets, sparseBuckets)

const schedule: fc.Arbitrary<PriceSchedule> = fc.record({
  rates,
  tiers: fc.array(fc.record({ aboveInputTokens: fc.nat({ max: 4_000_000 }), rates }), { maxLength: 3 }),
  windows: fc.array(
    fc.record({
      fromMinute: fc.nat({ max: 720 }),
      untilMinute: fc.integer({ min: 721, max: 1440 }),
      rates,
    }),
    { maxLength: 3 },
  ),
})

const dispatchedAt = fc.date({
  min: new Date('2026-01-01T00:00:00Z'),
  max: new Date('2030-01-01T00:00:00Z'),
  noInvalidDate: true,
})

test('golden prices of a call', () => {
  const cached = { ...EMPTY_BUCKETS, input: 1_000, cacheRead: 10_000, cacheWrite5m: 2_000, output: 500 }
  const golden: [EndpointId, TokenBuckets, string][] = [
    ['mesh/claude-sonnet-4.5@anthropic', { ...EMPTY_BUCKETS, input: 425, output: 500 }, '0.008775000'],
    // 1,000 × 3 + 10,000 × 0.3 + 2,000 × 3.75 + 500 × 15 = 21,000 millionths of a USD.
    ['mesh/claude-sonnet-4.5@anthropic', cached, '0.021000000'],
    ['mesh/claude-sonnet-4.5@anthropic', { ...EMPTY_BUCKETS, cacheWrite1h: 1_000 }, '0.006000000'],
    // Bedrock states no one-hour rate: a five-minute write.
    ['mesh/claude-sonnet-4.5@amazon-bedrock', { ...EMPTY_BUCKETS, cacheWrite1h: 1_000 }, '0.003750000'],
    ['mesh/gpt-5-mini@openai', { ...EMPTY_BUCKETS, input: 1, cacheRead: 1, reasoning: 1 }, '0.000002275'],
    // The sources say 0.03 and 0.025 for a cached token: the dearer.
    ['mesh/gpt-5-mini@azure', { ...EMPTY_BUCKETS, cacheRead: 1_000 }, '0.000030000'],
    // No cache rates: plain input. The exact sum is 78 nano-USD.
    ['mesh/gpt-oss-120b@deepinfra', { ...EMPTY_BUCKETS, cacheRead: 1, cacheWrite5m: 1 }, '0.000000078'],
    ['mesh/deepseek-v4-flash@deepseek', { ...EMPTY_BUCKETS, cacheRead: 1 }, '0.000000007'],
    // Half a nano-USD more than 37: rounded up, once.
    ['mesh/gpt-oss-20b@groq', { ...EMPTY_BUCKETS, cacheRead: 1 }, '0.000000038'],
    ['mesh/gpt-oss-20b@groq', { ...EMPTY_BUCKETS, cacheRead: 2 }, '0.000000075'],
    ['mesh/gemini-2.5-flash@google', { ...EMPTY_BUCKETS, input: 1_000, inputAudio: 1_000 }, '0.001300000'],
    ['mesh/gemini-2.5-flash@google', { ...EMPTY_BUCKETS, inputImage: 1_000 }, '0.000300000'],
    ['mesh/text-embedding-3-small@openai', { ...EMPTY_BUCKETS, input: 8_191 }, '0.000163820'],
    ['mesh/text-embedding-3-small@azure', { ...EMPTY_BUCKETS, input: 1 }, '0.000000020'],
    ['mesh/gemini-embedding-001@google', { ...EMPTY_BUCKETS, input: 7 }, '0.000001050'],
    ['mesh/qwen3-embedding-0.6b@nearai', { ...EMPTY_BUCKETS, input: 300_000 }, '0.003000000'],
    ['mesh/qwen3-reranker-0.6b@nearai', { ...EMPTY_BUCKETS, input: 140 }, '0.000001400'],
    // What Cohere bills of a recorded call with a tool: 41 × 2.5 + 25 × 10 = 352.5 millionths.
    ['mesh/command-a@cohere', { ...EMPTY_BUCKETS, input: 41, output: 25 }, '0.000352500'],
    // Cohere states no cache rates: plain input.
    ['mesh/command-a@cohere', { ...EMPTY_BUCKETS, cacheRead: 1_000, cacheWrite1h: 1_000 }, '0.005000000'],
  ]
  for (const [id, used, expected] of golden) {
    assert.equal(formatUsd(costNano(used, scheduleAt(id), NOON)), expected, `${id} ${JSON.stringify(used)}`)
  }
})

test('a tier begins strictly above its boundary and counts every kind of input', () => {
  const prices = scheduleAt('mesh/gpt-5.4@openai')
  const at = { ...EMPTY_BUCKETS, input: 1_000, cacheRead: 271_000, output: 1 }
  const above = { ...EMPTY_BUCKETS, input: 1_001, cacheRead: 271_000, output: 1 }
  assert.equal(ratesFor(prices, inputTokens(at), NOON).output, 15_000_000n)
  assert.equal(ratesFor(prices, inputTokens(above), NOON).output, 22_500_000n)
  assert.equal(costPico(at, prices.rates), costNano(at, prices, NOON) * 1_000n)
  assert.equal(
    costNano(above, prices, NOON),
    (1_001n * 5_000_000n + 271_000n * 500_000n + 22_500_000n) / 1_000n,
  )
})

test('a window holds from its first minute to before its last, by UTC', () => {
  const prices = scheduleAt('mesh/deepseek-v4-pro@deepseek')
  const outputAt = (time: string): bigint => ratesFor(prices, 1, new Date(`2026-11-23T${time}Z`)).output
  assert.equal(outputAt('00:59:59.999'), 1_980_000n)
  assert.equal(outputAt('01:00:00'), 3_960_000n)
  assert.equal(outputAt('03:59:59.999'), 3_960_000n)
  assert.equal(outputAt('04:00:00'), 1_980_000n)
  assert.equal(outputAt('06:00:00'), 3_960_000n)
  assert.equal(outputAt('10:00:00'), 1_980_000n)
  assert.equal(ratesFor(prices, 1, new Date('2026-11-23T03:30:00+02:00')).output, 3_960_000n)
})

test('a cost is exact: the same as adding the price of one token after another', () => {
  fc.assert(
    fc.property(buckets, rates, (used, some) => {
      const naive = BUCKET_NAMES.reduce((sum, name) => sum + BigInt(used[name]) * some[name], 0n)
      assert.equal(costPico(used, some), naive)
    }),
  )
})

test('a cost is additive before it is rounded', () => {
  fc.assert(
    fc.property(buckets, buckets, rates, (one, other, some) => {
      const both = Object.fromEntries(
        BUCKET_NAMES.map((name) => [name, one[name] + other[name]]),
      ) as unknown as TokenBuckets
      assert.equal(costPico(both, some), costPico(one, some) + costPico(other, some))
    }),
  )
})

test('no call within its bounds costs more than the dearest rates say', () => {
  const spare = fc.oneof(fc.constant(0), fc.nat({ max: 1_000_000 }))
  fc.assert(
    fc.property(schedule, buckets, spare, spare, dispatchedAt, (prices, used, spareIn, spareOut, at) => {
      const inputMax = inputTokens(used) + spareIn
      const outputMax = outputTokens(used) + spareOut
      const dearest = dearestRates(prices, inputMax)
      const bound = BigInt(inputMax) * dearest.inputPico + BigInt(outputMax) * dearest.outputPico
      assert.ok(costNano(used, prices, at) <= roundUpToNano(bound))
    }),
    { numRuns: 500 },
  )
})

test('the dearest rates count every window and cache write, and only the tiers that the bound can reach', () => {
  const prices = scheduleAt('mesh/gpt-5.5@openai')
  assert.deepEqual(dearestRates(prices, 272_000), { inputPico: 5_000_000n, outputPico: 30_000_000n })
  assert.deepEqual(dearestRates(prices, 272_001), { inputPico: 10_000_000n, outputPico: 45_000_000n })
  const windowed = scheduleAt('mesh/deepseek-v4-pro@deepseek')
  assert.deepEqual(dearestRates(windowed, 1), { inputPico: 1_320_000n, outputPico: 3_960_000n })
  const writes = scheduleAt('mesh/claude-sonnet-4.5@anthropic')
  assert.equal(dearestRates(writes, 1).inputPico, 6_000_000n)
})
