import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EMPTY_BUCKETS } from '@mesh/catalog/token-buckets.ts'
import { exampleAsk, exampleCandidate, exampleShape } from '../test/support/examples.ts'
import { fakeClock } from '../test/support/fake-clock.ts'
import { scriptedProtocol, scriptedTransport } from '../test/support/scripted-upstream.ts'
import type { EmbedTask } from './ask.ts'
import { DEFAULT_ANSWER_BOUNDS } from './protocol.ts'
import { run } from './run.ts'
import type { RunOutcome } from './run-outcome.ts'
import type { StreamEvent } from './stream-event.ts'

/* Calls that generate nothing take the way of all calls. */

const TASK: EmbedTask = { type: 'embed', inputs: ['a', 'b'], encoding: 'float' }
const END: StreamEvent = { type: 'end' }
const vector = (index: number, ...vectorOf: number[]): StreamEvent => ({
  type: 'vector',
  index,
  vector: vectorOf,
})
const used = (input: number, output = 0): StreamEvent => ({
  type: 'usage',
  usage: { buckets: { ...EMPTY_BUCKETS, input, output }, flags: [] },
})

/** Runs a call for two vectors; each candidate answers with the events that stand in its place. */
async function embed(...answers: readonly (readonly StreamEvent[])[]) {
  const script = [...answers]
  const replied: StreamEvent[] = []
  const transport = scriptedTransport((exchange) => {
    queueMicrotask(() =>
      exchange
        .accept()
        .say(...(script.shift() ?? []))
        .end(),
    )
  })
  const outcome: RunOutcome = await run({
    engine: {
      transport,
      protocolFor: () => scriptedProtocol,
      targetFor: () => ({ baseUrl: 'https://upstream.test', headers: {} }),
      clock: fakeClock(0),
      limits: {
        connectTimeoutMs: 1_000,
        firstByteTimeoutMs: 1_000,
        idleTimeoutMs: 1_000,
        outputTimeoutMs: 1_000,
        answer: DEFAULT_ANSWER_BOUNDS,
        deadlineMs: 10_000,
        drainMs: 1_000,
        outputSliceTokens: 1_000,
      },
    },
    plan: {
      candidates: answers.map((_, at) => exampleCandidate(`provider-${at}`, { outputTokensMax: 0 })),
    },
    ask: exampleAsk({ task: TASK, messages: [], stream: false }),
    shape: exampleShape(),
    budget: {
      outputTokensHeld: 0,
      outputTokensCap: 0,
      extend: () => Promise.reject(new Error('nothing grows')),
    },
    sink: { head: () => {}, write: () => Promise.resolve() },
    openReply: () => ({
      event(event) {
        replied.push(event)
        return ''
      },
    }),
    signal: new AbortController().signal,
    startedAtMs: 0,
  })
  return { outcome, replied, transport }
}

const reasons = ({ attempts }: RunOutcome) => attempts.map(({ failure }) => failure?.reason ?? 'served')

test('vectors are passed on when they are whole, and only input is charged', async () => {
  const whole = [vector(1, 3, 4), vector(0, 1, 2), used(70), END]
  const { outcome, replied, transport } = await embed(whole)
  assert.equal(outcome.status, 'completed')
  assert.deepEqual(replied, whole.slice(0, 2))
  assert.deepEqual(outcome.usage, {
    buckets: { ...EMPTY_BUCKETS, input: 70 },
    source: 'reported',
    flags: [],
  })
  assert.equal(transport.last.options.stream, false)
})

test('output that an upstream claims for vectors is not charged', async () => {
  const { outcome } = await embed([vector(0, 1), vector(1, 2), used(70, 500), END])
  assert.deepEqual(outcome.usage.buckets, { ...EMPTY_BUCKETS, input: 70 })
  assert.deepEqual(outcome.usage.flags, ['exceeds_hold', 'above_estimate'])
})

const WHOLE = [vector(0, 1), vector(1, 2), used(70), END]
const FAULTY: readonly (readonly [name: string, events: readonly StreamEvent[], reason: string])[] = [
  ['no vector', [used(70), END], 'empty'],
  ['a vector too few', [vector(0, 1), used(70), END], 'malformed'],
  ['a vector too many', [...WHOLE.slice(0, 2), vector(2, 3), END], 'malformed'],
  ['vectors of two lengths', [vector(0, 1), vector(1, 2, 3), END], 'malformed'],
  ['text', [{ type: 'text', choice: 0, text: 'x' }, END], 'malformed'],
  ['no end', [vector(0, 1), vector(1, 2)], 'stream_cut'],
]

for (const [name, events, reason] of FAULTY) {
  test(`an answer that is not what was asked for goes nowhere, and another endpoint is tried: ${name}`, async () => {
    const { outcome, replied } = await embed(events, WHOLE)
    assert.equal(outcome.status, 'completed')
    assert.equal(outcome.served?.endpoint.provider, 'provider-1')
    assert.deepEqual(reasons(outcome), [reason, 'served'])
    assert.deepEqual(replied, WHOLE.slice(0, 2))
    const alone = await embed(events)
    assert.equal(alone.outcome.status, 'failed')
    assert.equal(alone.outcome.served, undefined)
    assert.deepEqual(alone.replied, [])
  })
}
