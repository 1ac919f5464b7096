import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ProtocolName } from '@mesh/catalog/catalog.ts'
import { EMPTY_BUCKETS, inputTokens, outputTokens, type TokenBuckets } from '@mesh/catalog/token-buckets.ts'
import fc from 'fast-check'
import { exampleAsk, exampleCandidate, exampleEndpoint } from '../test/support/examples.ts'
import { estimateInput, usualInputTokens } from './input-estimate.ts'
import { Meter, type MeterInput, mayThinkUnseen } from './meter.ts'
import type { StreamEvent, UsageFlag } from './stream-event.ts'

const SIZES = { textTokens: 5_000, textBytes: 0, messages: 0, images: 0, files: 0, audioSeconds: 0 }

function meterOf(changes: Partial<MeterInput> = {}): Meter {
  return new Meter({
    candidate: exampleCandidate('acme'),
    input: { usual: 100, fewest: 0, surprising: Number.POSITIVE_INFINITY },
    choices: 1,
    thinksUnseen: false,
    startedAtMs: 0,
    ...changes,
  })
}

const text = (value: string, choice = 0): StreamEvent => ({ type: 'text', choice, text: value })
const report = (buckets: Partial<TokenBuckets>, flags: readonly UsageFlag[] = []): StreamEvent => ({
  type: 'usage',
  usage: { buckets: { ...EMPTY_BUCKETS, ...buckets }, flags },
})

function metered(
  events: readonly StreamEvent[],
  changes: Partial<MeterInput> = {},
  held = 1_000,
  whole = true,
) {
  const meter = meterOf(changes)
  for (const event of events) meter.count(event, 0)
  return meter.usage({ whole, outputTokensHeld: held, endedAtMs: 0 })
}

test('the guard counts a token a byte, of everything that comes out', () => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: 'binary' }), { maxLength: 20 }), (texts) => {
      const meter = meterOf()
      const before = meter.outputTokensMax(0)
      let bytes = 0
      let last = before
      for (const [at, value] of texts.entries()) {
        const kinds: StreamEvent[] = [
          text(value),
          { type: 'reasoning', choice: 0, text: value },
          { type: 'tool-arguments', choice: 0, index: 0, fragment: value },
          { type: 'refusal', choice: 0, text: value },
        ]
        meter.count(kinds[at % kinds.length] ?? text(value), 0)
        bytes += Buffer.byteLength(value)
        const now = meter.outputTokensMax(0)
        assert.ok(now >= last)
        last = now
      }
      assert.equal(last, before + bytes)
    }),
  )
})

test('a tool call weighs more than its name', () => {
  const meter = meterOf()
  const before = meter.outputTokensMax(0)
  meter.count({ type: 'tool-call', choice: 0, index: 0, id: 'call_1', name: 'weather' }, 0)
  assert.ok(meter.outputTokensMax(0) > before + 'weather'.length)
})

test('unseen thought is bounded by time, until every answer has begun', () => {
  const meter = meterOf({ thinksUnseen: true, choices: 2 })
  const before = meter.outputTokensMax(0)
  assert.equal(meter.outputTokensMax(1_000), before + 600)
  meter.count(text('a', 0), 1_000)
  assert.ok(meter.growsUnseen)
  assert.equal(meter.outputTokensMax(2_000), before + 1 + 300 + 600)
  meter.count(text('b', 1), 2_000)
  assert.ok(!meter.growsUnseen)
  assert.equal(meter.outputTokensMax(60_000), before + 2 + 300 + 600)
})

test('a report that can be true is charged as it is', () => {
  const buckets = { input: 10, cacheRead: 20, cacheWrite1h: 30, output: 40, reasoning: 5 }
  assert.deepEqual(metered([text('x'.repeat(50)), report(buckets)]), {
    buckets: { ...EMPTY_BUCKETS, ...buckets },
    source: 'reported',
    flags: [],
  })
})

test('a later report replaces an earlier one, and its flags are passed on', () => {
  const usage = metered([report({ input: 1, output: 1 }), report({ input: 2, output: 3 }, ['sum_mismatch'])])
  assert.deepEqual(usage.buckets, { ...EMPTY_BUCKETS, input: 2, output: 3 })
  assert.deepEqual(usage.flags, ['sum_mismatch'])
})

test('counts that shrink on the way are not believed: of each side the larger is kept', () => {
  const said = [text('x'.repeat(400)), report({ input: 90, cacheRead: 10, output: 80 })]
  assert.deepEqual(metered([...said, report({ input: 7, output: 90 })]), {
    buckets: { ...EMPTY_BUCKETS, input: 90, cacheRead: 10, output: 90 },
    source: 'reported',
    flags: ['shrinking'],
  })
  const emptied = metered([...said, report({}, ['missing'])])
  assert.deepEqual(emptied.buckets, { ...EMPTY_BUCKETS, input: 90, cacheRead: 10, output: 80 })
  assert.deepEqual(emptied.flags, ['missing', 'shrinking'])
})

test('what a provider does not bill of its thinking is not charged', () => {
  const candidate = exampleCandidate('acme', { protocol: 'cohere_v2' })
  const thought: StreamEvent = { type: 'reasoning', choice: 0, text: 'x'.repeat(12_800) }
  const reported = report({ input: 10, output: 9 })
  const said = [thought, text('x'.repeat(40)), reported]
  const { buckets, source, flags } = metered(said, { candidate })
  assert.deepEqual([buckets.output, source, flags], [9, 'reported', []])
  assert.deepEqual(metered(said, {}, 10_000).flags, ['below_estimate'])
  const unbelievable = metered([text('x'.repeat(1_280)), reported], { candidate })
  assert.deepEqual(unbelievable.flags, ['below_estimate'])
})

test('fewer tokens than text can have are not believed', () => {
  const changes = { input: { usual: 100, fewest: 4, surprising: Number.POSITIVE_INFINITY } }
  const said = text('x'.repeat(1_280))
  assert.deepEqual(metered([said, report({ input: 3, output: 9 })], changes), {
    buckets: { ...EMPTY_BUCKETS, input: 100, output: 320 },
    source: 'estimated',
    flags: ['below_estimate'],
  })
  assert.deepEqual(metered([said, report({ input: 4, output: 10 })], changes).source, 'reported')
})

test('a report that is possible and far from the estimate is charged, and pointed out', () => {
  const said = text('x'.repeat(4_000))
  const flagsOf = (input: number, output: number, changes: Partial<MeterInput> = {}) => {
    const usage = metered([said, report({ input, output })], changes, 10_000)
    assert.deepEqual(usage.buckets, { ...EMPTY_BUCKETS, input, output })
    assert.equal(usage.source, 'reported')
    return usage.flags
  }
  assert.deepEqual(flagsOf(100, 1_000), [])
  assert.deepEqual(flagsOf(100, 3_000), ['surprising'])
  assert.deepEqual(flagsOf(100, 300), ['surprising'])
  assert.deepEqual(flagsOf(100, 3_000, { thinksUnseen: true }), [])
  const estimate = estimateInput(exampleAsk(), { ...SIZES, textBytes: 400 }, 10_000)
  assert.deepEqual(flagsOf(900, 1_000, { input: estimate }), [])
  assert.deepEqual(flagsOf(900, 1_000, { input: { ...estimate, surprising: 899 } }), ['surprising'])
})

test('the fewest tokens of an input are those of its text, where all of it is sent', () => {
  const bound = { ...SIZES, textBytes: 12_800 }
  assert.deepEqual(estimateInput(exampleAsk(), bound, 50_000), {
    usual: 3_203,
    fewest: 100,
    surprising: 3_203 * 2.5 + 1_024,
  })
  const reasoned = exampleAsk({
    messages: [{ role: 'assistant', parts: [], toolCalls: [], reasoning: [{ text: 'thought' }] }],
  })
  assert.equal(estimateInput(reasoned, bound, 50_000).fewest, 0)
  assert.equal(
    estimateInput(exampleAsk(), { ...bound, images: 1 }, 50_000).surprising,
    Number.POSITIVE_INFINITY,
  )
})

test('an answer without a report is estimated at four bytes a token, never at nothing', () => {
  const usage = metered([text('x'.repeat(401)), { type: 'reasoning', choice: 0, text: 'y'.repeat(40) }])
  assert.deepEqual(usage, {
    buckets: { ...EMPTY_BUCKETS, input: 100, output: 101, reasoning: 10 },
    source: 'estimated',
    flags: ['missing'],
  })
})

test('a report of nothing for something is no report', () => {
  const usage = metered([text('x'.repeat(40)), report({ input: 7 })])
  assert.deepEqual(usage.buckets, { ...EMPTY_BUCKETS, input: 7, output: 10 })
  assert.deepEqual([usage.source, usage.flags], ['estimated', ['missing']])
  assert.deepEqual(metered([text('x'.repeat(40)), report({ output: 9 })]).buckets, {
    ...EMPTY_BUCKETS,
    input: 100,
    output: 9,
  })
})

test('nothing for nothing is believed', () => {
  assert.deepEqual(metered([report({ input: 7 })]), {
    buckets: { ...EMPTY_BUCKETS, input: 7 },
    source: 'reported',
    flags: [],
  })
})

test('of a part of an answer the placeholder for its output is not believed', () => {
  const seen = [report({ input: 7, cacheRead: 3, output: 1 }), text('x'.repeat(400))]
  assert.deepEqual(metered(seen, {}, 1_000, false), {
    buckets: { ...EMPTY_BUCKETS, input: 7, cacheRead: 3, output: 100 },
    source: 'estimated',
    flags: [],
  })
})

const IMPOSSIBLE: readonly (readonly [
  string,
  Partial<TokenBuckets>,
  Partial<TokenBuckets>,
  readonly UsageFlag[],
])[] = [
  [
    'input above its bound',
    { input: 1_500, cacheRead: 500, output: 100 },
    { input: 750, cacheRead: 250, output: 100 },
    ['exceeds_hold'],
  ],
  [
    'input above the context window',
    { input: 1e12, output: 100 },
    { input: 1_000, output: 100 },
    ['exceeds_context', 'exceeds_hold'],
  ],
  [
    'output above the hold',
    { input: 1, output: 300, reasoning: 100 },
    { input: 1, output: 150, reasoning: 50 },
    ['exceeds_hold'],
  ],
]

for (const [name, reported, charged, flags] of IMPOSSIBLE) {
  test(`${name} is lowered in proportion and flagged`, () => {
    const usage = metered([text('x'.repeat(400)), report(reported)], {}, 200)
    assert.deepEqual(usage, { buckets: { ...EMPTY_BUCKETS, ...charged }, source: 'reported', flags })
  })
}

test('more output than there are bytes is not believed of a model that cannot think unseen', () => {
  const events = [text('hello'), report({ input: 1, output: 900 })]
  const seen = metered(events)
  assert.deepEqual(seen.flags, ['above_estimate'])
  assert.equal(outputTokens(seen.buckets), 5 + 16 + 256)
  const unseen = metered(events, { thinksUnseen: true })
  assert.deepEqual([outputTokens(unseen.buckets), unseen.flags], [900, []])
})

test('whatever is reported and seen, what is charged fits bound, context and hold', () => {
  const count = fc.oneof(fc.nat(2_000), fc.nat(1_000_000_000_000))
  const buckets = fc.record({
    input: count,
    cacheRead: count,
    cacheWrite5m: count,
    cacheWrite1h: count,
    inputAudio: count,
    inputImage: count,
    output: count,
    reasoning: count,
    outputAudio: count,
    outputImage: count,
  })
  const flags = fc.constant([])
  const usageEvent = fc.record({ type: fc.constant('usage' as const), usage: fc.record({ buckets, flags }) })
  const events = fc.array(
    fc.oneof(
      usageEvent,
      fc.string().map((value) => text(value)),
    ),
    { maxLength: 10 },
  )
  fc.assert(
    fc.property(events, fc.nat(3_000), fc.boolean(), fc.boolean(), (said, held, whole, thinksUnseen) => {
      const usage = metered(said, { thinksUnseen }, held, whole)
      assert.ok(inputTokens(usage.buckets) <= 1_000)
      assert.ok(outputTokens(usage.buckets) <= held)
      assert.ok(Object.values(usage.buckets).every((tokens) => Number.isSafeInteger(tokens) && tokens >= 0))
    }),
  )
})

test('the usual input is a quarter of its text and a little more, and never above its bound', () => {
  const bound = { ...SIZES, textBytes: 401, messages: 2, images: 1, audioSeconds: 2.5 }
  assert.equal(usualInputTokens(bound, 100_000), 101 + 2 * 4 + 3 + 1_000 + 80)
  assert.equal(usualInputTokens(bound, 500), 500)
})

test('the usual input of a few words is what providers count', () => {
  // "hi" as one user message is 8 tokens at OpenAI.
  assert.equal(usualInputTokens({ ...SIZES, textBytes: 2, messages: 1 }, 100_000), 8)
})

test('thought that nobody saw is estimated by time, where an answer has no report', () => {
  const part = (
    thinksUnseen: boolean,
    said: readonly StreamEvent[],
    protocol: ProtocolName = 'openai_chat',
  ) => {
    const meter = meterOf({ thinksUnseen, candidate: exampleCandidate('acme', { protocol }) })
    for (const event of said) meter.count(event, 10_000)
    return meter.usage({ whole: false, outputTokensHeld: 5_000, endedAtMs: 20_000 }).buckets.reasoning
  }
  const thought: StreamEvent = { type: 'reasoning', choice: 0, text: 'y'.repeat(40) }
  assert.equal(part(false, [text('x')]), 0)
  assert.equal(part(true, [text('x')]), 500)
  assert.equal(part(true, []), 1_000)
  // What was shown whole says itself how much it was; a summary does not.
  assert.equal(part(true, [thought, text('x')]), 10)
  assert.equal(part(true, [thought, text('x')], 'anthropic_messages'), 500)
  // Never above what is held.
  const long = meterOf({ thinksUnseen: true }).usage({
    whole: false,
    outputTokensHeld: 80,
    endedAtMs: 60_000,
  })
  assert.equal(outputTokens(long.buckets), 80)
})

test('a whole answer of nothing is not charged for the time that it took', () => {
  const meter = meterOf({ thinksUnseen: true })
  meter.count(report({ input: 7 }), 9_000)
  const { buckets, source } = meter.usage({ whole: true, outputTokensHeld: 5_000, endedAtMs: 9_000 })
  assert.deepEqual([outputTokens(buckets), source], [0, 'reported'])
})

test('who may think unseen', () => {
  const thinker = exampleEndpoint('mesh/one', 'acme', { reasoningOptions: [{ type: 'toggle' }] })
  const claude = { ...thinker, protocol: 'anthropic_messages' } as const
  assert.ok(mayThinkUnseen(thinker, exampleAsk()))
  assert.ok(
    !mayThinkUnseen(exampleEndpoint('mesh/one', 'acme'), exampleAsk({ reasoning: { effort: 'high' } })),
  )
  const toldNotTo = exampleAsk({ reasoning: { effort: 'none' } })
  assert.ok(!mayThinkUnseen(thinker, toldNotTo))
  assert.ok(mayThinkUnseen(thinker, toldNotTo, ['reasoning.effort']), 'where it has no word for that')
  assert.ok(!mayThinkUnseen(claude, exampleAsk()))
  assert.ok(!mayThinkUnseen(claude, exampleAsk({ reasoning: { effort: 'none' } })))
  assert.ok(mayThinkUnseen(claude, exampleAsk({ reasoning: { maxTokens: 2_000 } })))
})
