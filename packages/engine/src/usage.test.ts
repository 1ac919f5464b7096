import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BUCKET_NAMES, EMPTY_BUCKETS, inputTokens, outputTokens } from '@mesh/catalog/token-buckets.ts'
import fc from 'fast-check'
import type { JsonObject } from './ask.ts'
import { anthropicUsage, cohereUsage, openaiUsage } from './usage.ts'

const OPENAI_CASES: readonly {
  readonly name: string
  readonly usage: JsonObject
  readonly buckets: Partial<typeof EMPTY_BUCKETS>
  readonly flags?: readonly string[]
}[] = [
  {
    name: 'cached, audio and reasoning tokens come out of their totals',
    usage: {
      prompt_tokens: 100,
      completion_tokens: 50,
      total_tokens: 150,
      prompt_tokens_details: { cached_tokens: 30, audio_tokens: 10, cache_write_tokens: 5 },
      completion_tokens_details: { reasoning_tokens: 20, audio_tokens: 5 },
    },
    buckets: {
      input: 55,
      cacheRead: 30,
      cacheWrite5m: 5,
      inputAudio: 10,
      output: 25,
      reasoning: 20,
      outputAudio: 5,
    },
  },
  {
    name: 'details may be null',
    usage: { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3, prompt_tokens_details: null },
    buckets: { input: 1, output: 2 },
  },
  {
    name: 'cache reads by DeepSeek',
    usage: {
      prompt_tokens: 10,
      completion_tokens: 1,
      prompt_cache_hit_tokens: 4,
      prompt_cache_miss_tokens: 6,
    },
    buckets: { input: 6, cacheRead: 4, output: 1 },
  },
  {
    name: 'cache reads by Mistral',
    usage: { prompt_tokens: 10, completion_tokens: 1, num_cached_tokens: 4 },
    buckets: { input: 6, cacheRead: 4, output: 1 },
  },
  {
    name: 'reasoning left out of the completion, as the total shows',
    usage: {
      prompt_tokens: 10,
      completion_tokens: 9,
      total_tokens: 319,
      completion_tokens_details: { reasoning_tokens: 300 },
    },
    buckets: { input: 10, output: 9, reasoning: 300 },
  },
  {
    name: 'a total that says more than its parts counts, as output',
    usage: { prompt_tokens: 35, completion_tokens: 12, total_tokens: 109 },
    buckets: { input: 35, output: 74 },
    flags: ['sum_mismatch'],
  },
  {
    name: 'parts that say more than the total count',
    usage: { prompt_tokens: 35, completion_tokens: 12, total_tokens: 40 },
    buckets: { input: 35, output: 12 },
    flags: ['sum_mismatch'],
  },
  {
    name: 'more reasoning than completion counts on top',
    usage: { prompt_tokens: 1, completion_tokens: 5, completion_tokens_details: { reasoning_tokens: 8 } },
    buckets: { input: 1, output: 5, reasoning: 8 },
    flags: ['sum_mismatch'],
  },
  {
    name: 'more cache reads than prompt are not believed',
    usage: { prompt_tokens: 10, completion_tokens: 1, prompt_tokens_details: { cached_tokens: 11 } },
    buckets: { input: 10, output: 1 },
    flags: ['sum_mismatch'],
  },
  {
    name: 'tokens read and written at once are charged as written',
    usage: {
      prompt_tokens: 2168,
      completion_tokens: 1,
      prompt_tokens_details: { cached_tokens: 2161, cache_write_tokens: 2161 },
    },
    buckets: { input: 7, cacheWrite5m: 2161, output: 1 },
  },
  {
    name: 'a negative count follows from the rest',
    usage: { prompt_tokens: 40, completion_tokens: -5, total_tokens: 100 },
    buckets: { input: 40, output: 60 },
    flags: ['negative'],
  },
  {
    name: 'a negative count that follows from nothing is missing, not free',
    usage: { prompt_tokens: 40, completion_tokens: -5 },
    buckets: { input: 40 },
    flags: ['negative', 'missing'],
  },
  {
    name: 'a fraction is rounded up',
    usage: { prompt_tokens: 1.2, completion_tokens: 2 },
    buckets: { input: 2, output: 2 },
    flags: ['not_an_integer'],
  },
  {
    name: 'a text is no number',
    usage: { prompt_tokens: '5', completion_tokens: 2 },
    buckets: { output: 2 },
    flags: ['not_an_integer', 'missing'],
  },
  { name: 'nothing at all', usage: {}, buckets: {}, flags: ['missing'] },
]

for (const { name, usage, buckets, flags = [] } of OPENAI_CASES) {
  test(`OpenAI usage: ${name}`, () => {
    assert.deepEqual(openaiUsage(usage), { buckets: { ...EMPTY_BUCKETS, ...buckets }, flags })
  })
}

const ANTHROPIC_CASES: typeof OPENAI_CASES = [
  {
    name: 'the split of cache writes and thinking',
    usage: {
      input_tokens: 10,
      cache_read_input_tokens: 100,
      cache_creation_input_tokens: 30,
      cache_creation: { ephemeral_5m_input_tokens: 20, ephemeral_1h_input_tokens: 10 },
      output_tokens: 50,
      output_tokens_details: { thinking_tokens: 30 },
    },
    buckets: { input: 10, cacheRead: 100, cacheWrite5m: 20, cacheWrite1h: 10, output: 20, reasoning: 30 },
  },
  {
    name: 'a total of cache writes without a split',
    usage: { input_tokens: 1, cache_creation_input_tokens: 30, output_tokens: 1 },
    buckets: { input: 1, cacheWrite5m: 30, output: 1 },
  },
  {
    name: 'a total above its split, at the dearer rate in use',
    usage: {
      input_tokens: 1,
      cache_creation_input_tokens: 30,
      cache_creation: { ephemeral_5m_input_tokens: 5, ephemeral_1h_input_tokens: 10 },
      output_tokens: 1,
    },
    buckets: { input: 1, cacheWrite5m: 5, cacheWrite1h: 25, output: 1 },
  },
  {
    name: 'a split above its total',
    usage: {
      input_tokens: 1,
      cache_creation_input_tokens: 3,
      cache_creation: { ephemeral_5m_input_tokens: 5, ephemeral_1h_input_tokens: 0 },
      output_tokens: 1,
    },
    buckets: { input: 1, cacheWrite5m: 5, output: 1 },
    flags: ['sum_mismatch'],
  },
  {
    name: 'more thinking than output',
    usage: { input_tokens: 1, output_tokens: 5, output_tokens_details: { thinking_tokens: 9 } },
    buckets: { input: 1, reasoning: 9 },
    flags: ['sum_mismatch'],
  },
  {
    name: 'negative output is missing, not free',
    usage: { input_tokens: 1, output_tokens: -1 },
    buckets: { input: 1 },
    flags: ['negative', 'missing'],
  },
]

for (const { name, usage, buckets, flags = [] } of ANTHROPIC_CASES) {
  test(`Anthropic usage: ${name}`, () => {
    assert.deepEqual(anthropicUsage(usage), { buckets: { ...EMPTY_BUCKETS, ...buckets }, flags })
  })
}

const COHERE_CASES: typeof OPENAI_CASES = [
  {
    name: 'what is billed counts, not what was processed',
    usage: {
      billed_units: { input_tokens: 41, output_tokens: 25 },
      cached_tokens: 144,
      tokens: { input_tokens: 1441, output_tokens: 54 },
    },
    buckets: { input: 41, output: 25 },
  },
  {
    name: 'what was processed counts where nothing is said of the bill',
    usage: { tokens: { input_tokens: 1441, output_tokens: 54 } },
    buckets: { input: 1441, output: 54 },
  },
  {
    name: 'embeddings have no output, and images of their own',
    usage: { billed_units: { input_tokens: 4, image_tokens: 7 } },
    buckets: { input: 4, inputImage: 7 },
  },
  {
    name: 'searches are no tokens',
    usage: { billed_units: { search_units: 1 } },
    buckets: {},
    flags: ['missing'],
  },
  {
    name: 'nothing of it is believed blindly',
    usage: { billed_units: { input_tokens: -1, output_tokens: 1.5 } },
    buckets: { output: 2 },
    flags: ['negative', 'not_an_integer', 'missing'],
  },
]

for (const { name, usage, buckets, flags = [] } of COHERE_CASES) {
  test(`Cohere usage: ${name}`, () => {
    assert.deepEqual(cohereUsage(usage), { buckets: { ...EMPTY_BUCKETS, ...buckets }, flags })
  })
}

const count = fc.oneof(fc.nat(), fc.integer(), fc.double(), fc.constantFrom(null, 'x', -1, 1e300, [], {}))
const hostileUsage = fc.record(
  {
    prompt_tokens: count,
    completion_tokens: count,
    total_tokens: count,
    input_tokens: count,
    output_tokens: count,
    cache_read_input_tokens: count,
    cache_creation_input_tokens: count,
    prompt_tokens_details: fc.record({
      cached_tokens: count,
      audio_tokens: count,
      cache_write_tokens: count,
    }),
    completion_tokens_details: fc.record({
      reasoning_tokens: count,
      audio_tokens: count,
      image_tokens: count,
    }),
    cache_creation: fc.record({ ephemeral_5m_input_tokens: count, ephemeral_1h_input_tokens: count }),
    output_tokens_details: fc.record({ thinking_tokens: count }),
    billed_units: fc.record({ input_tokens: count, output_tokens: count, image_tokens: count }),
    tokens: fc.record({ input_tokens: count, output_tokens: count }),
  },
  { requiredKeys: [] },
)

test('whatever numbers come, every bucket is a non-negative safe integer', () => {
  fc.assert(
    fc.property(hostileUsage, (usage) => {
      for (const { buckets } of [openaiUsage(usage), anthropicUsage(usage), cohereUsage(usage)]) {
        for (const name of BUCKET_NAMES) {
          assert.ok(
            Number.isSafeInteger(buckets[name]) && buckets[name] >= 0 && !Object.is(buckets[name], -0),
          )
        }
      }
    }),
    { numRuns: 2000 },
  )
})

test('what an OpenAI report claims is never charged as less than it claims', () => {
  const tokens = fc.nat({ max: 1_000_000 })
  fc.assert(
    fc.property(tokens, tokens, tokens, tokens, tokens, (prompt, completion, total, cached, reasoning) => {
      const { buckets } = openaiUsage({
        prompt_tokens: prompt,
        completion_tokens: completion,
        total_tokens: total,
        prompt_tokens_details: { cached_tokens: cached },
        completion_tokens_details: { reasoning_tokens: reasoning },
      })
      assert.equal(inputTokens(buckets), prompt)
      assert.ok(outputTokens(buckets) >= Math.max(completion, reasoning))
      assert.ok(inputTokens(buckets) + outputTokens(buckets) >= total)
    }),
  )
})
