import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EMPTY_BUCKETS, outputTokens } from '@mesh/catalog/token-buckets.ts'
import { exampleAsk, exampleCandidate, exampleShape } from '../test/support/examples.ts'
import { fakeClock, settled } from '../test/support/fake-clock.ts'
import {
  type ScriptedTransport,
  scriptedProtocol,
  scriptedTransport,
} from '../test/support/scripted-upstream.ts'
import type { Ask } from './ask.ts'
import type { Failure } from './failure.ts'
import type { Candidate } from './plan.ts'
import { DEFAULT_ANSWER_BOUNDS } from './protocol.ts'
import { run } from './run.ts'
import type { RunOutcome } from './run-outcome.ts'
import type { StreamEvent } from './stream-event.ts'

const END: StreamEvent = { type: 'end' }
const STOP: StreamEvent = { type: 'finish', choice: 0, reason: 'stop' }
const say = (text: string): StreamEvent => ({ type: 'text', choice: 0, text })
const think = (text: string): StreamEvent => ({ type: 'reasoning', choice: 0, text })
const used = (input: number, output: number): StreamEvent => ({
  type: 'usage',
  usage: { buckets: { ...EMPTY_BUCKETS, input, output }, flags: [] },
})

const THINKER = exampleCandidate('acme', { reasoningOptions: [{ type: 'toggle' }], outputTokensMax: 90_000 })

const RATE_LIMITED: Failure = { outcome: 'refused_unbilled', reason: 'rate_limited', status: 429 }
const REFUSED: Failure = { outcome: 'not_dispatched', reason: 'connect_failed' }
const CUT: Failure = { outcome: 'uncertain', reason: 'connection_cut' }
const TOO_LONG: Failure = { outcome: 'request_fault', reason: 'context_length', status: 400 }
const INVALID: Failure = { outcome: 'request_fault', reason: 'invalid_request', status: 400 }

interface Setup {
  readonly candidates?: readonly Candidate[]
  readonly ask?: Partial<Ask>
  readonly held?: number
  readonly cap?: number
  readonly grant?: (wanted: number) => Promise<number>
  readonly credentials?: boolean
  readonly write?: (text: string) => Promise<void>
}

/** A call in a test's hands: its upstreams, its reader, its time. */
function begin(setup: Setup = {}) {
  const { candidates = [exampleCandidate('acme')], held = 100_000, cap = held } = setup
  const clock = fakeClock(5_000)
  const transport: ScriptedTransport = scriptedTransport()
  const ask = exampleAsk(setup.ask)
  const sent: string[] = []
  const heads: (string | undefined)[] = []
  const replied: StreamEvent[] = []
  const opened: string[] = []
  const extensions: number[] = []
  const reader = new AbortController()
  const outcome: Promise<RunOutcome> = run({
    engine: {
      transport,
      protocolFor: () => scriptedProtocol,
      targetFor: () =>
        setup.credentials === false ? undefined : { baseUrl: 'https://upstream.test', headers: {} },
      clock,
      limits: {
        connectTimeoutMs: 1_000,
        firstByteTimeoutMs: 30_000,
        idleTimeoutMs: 20_000,
        outputTimeoutMs: 60_000,
        answer: DEFAULT_ANSWER_BOUNDS,
        deadlineMs: 120_000,
        drainMs: 10_000,
        outputSliceTokens: 1_000,
      },
    },
    plan: { candidates },
    ask,
    shape: exampleShape({ choices: ask.choices }),
    budget: {
      outputTokensHeld: held,
      outputTokensCap: cap,
      extend(wanted) {
        extensions.push(wanted)
        return setup.grant?.(wanted) ?? Promise.resolve(wanted)
      },
    },
    sink: {
      head: (served) => heads.push(served?.endpoint.provider),
      write(bytes) {
        sent.push(String(bytes))
        return setup.write?.(String(bytes)) ?? Promise.resolve()
      },
    },
    openReply: (served) => {
      opened.push(served.endpoint.provider)
      return {
        event(event) {
          replied.push(event)
          return event.type === 'text' || event.type === 'reasoning' ? `<${event.text}>` : ''
        },
      }
    },
    signal: reader.signal,
    startedAtMs: 4_900,
  })
  return { clock, transport, outcome, sent, heads, replied, opened, extensions, reader }
}

const fallbacks = (count = 2): Candidate[] =>
  Array.from({ length: count }, (_, at) => exampleCandidate(`provider-${at}`))

const reasons = ({ attempts }: RunOutcome) =>
  attempts.map(({ failure, outcome }) => failure?.reason ?? outcome)

test('a streamed answer passes as it comes, and its end is left to the router', async () => {
  const call = begin()
  await call.clock.advance(200)
  call.transport.last.accept().say(used(9, 1)).say(say('Hel'))
  await settled()
  assert.deepEqual(call.sent, ['<Hel>'])
  call.transport.last.say(say('lo'))
  await settled()
  call.transport.last.say(STOP, used(9, 2), END).end()
  const outcome = await call.outcome
  assert.deepEqual(call.sent, ['<Hel>', '<lo>'])
  assert.deepEqual(call.heads, ['acme'])
  assert.deepEqual(call.replied, [say('Hel'), say('lo'), STOP])
  const [candidate] = outcome.attempts.map((attempt) => attempt.candidate)
  assert.deepEqual(outcome, {
    status: 'completed',
    attempts: [{ candidate, outcome: 'served', durationMs: 200 }],
    served: candidate,
    usage: { buckets: { ...EMPTY_BUCKETS, input: 9, output: 2 }, source: 'reported', flags: [] },
    finishReason: 'stop',
    contentSent: true,
    droppedParameters: ['seed'],
    firstTokenMs: 300,
    durationMs: 300,
  })
  assert.equal(call.clock.timerCount, 0)
})

test('a caller who does not stream gets nothing written, and his reply hears the whole answer', async () => {
  const call = begin({ ask: { stream: false } })
  assert.deepEqual(call.transport.last.options, { stream: false, outputTokensCap: 10_000 })
  call.transport.last.accept().say(say('Hello'), STOP, used(9, 2))
  await call.clock.advance(15_000)
  assert.deepEqual(call.opened, [])
  call.transport.last.say(END).end()
  const outcome = await call.outcome
  assert.deepEqual([outcome.status, outcome.contentSent], ['completed', false])
  assert.deepEqual(call.replied, [say('Hello'), STOP])
  assert.deepEqual([call.sent, call.heads], [[], []])
})

test('the upstream streams for a caller who does not, where the answer could outgrow its hold', () => {
  const call = begin({ ask: { stream: false }, held: 1_000, cap: 10_000 })
  assert.deepEqual(call.transport.last.options, { stream: true })
})

test('answers that the provider is not asked for are not reckoned with', async () => {
  const asks = { stream: false, choices: 3 }
  // One answer of 10,000 tokens is held whole; three would not be, and would have to be streamed.
  const single = begin({ ask: asks, held: 10_000, cap: 30_000 })
  assert.deepEqual(single.transport.last.options, { stream: false })
  const several = begin({
    candidates: [exampleCandidate('acme', { supportedParameters: ['n'] })],
    ask: asks,
    held: 10_000,
    cap: 30_000,
  })
  assert.deepEqual(several.transport.last.options, { stream: true })
  // Nor is what they would have thought.
  const thinking = begin({ candidates: [THINKER], ask: { choices: 3 } })
  thinking.transport.last.accept()
  await thinking.clock.advance(4_000)
  thinking.reader.abort()
  assert.equal((await thinking.outcome).usage.buckets.reasoning, 200)
})

const CAPS: readonly (readonly [string, Setup, number | undefined])[] = [
  ['no cap where the hold grows with the answer', { held: 1_000, cap: 9_000 }, undefined],
  ["the caller's own cap", { ask: { maxOutputTokens: 300 }, held: 300 }, 300],
  ["the caller's cap as lowered by what he can pay", { ask: { maxOutputTokens: 300 }, held: 120 }, 120],
  ["never more than the endpoint's maximum", { ask: { maxOutputTokens: 90_000 }, held: 90_000 }, 10_000],
  [
    'its share for each choice',
    {
      candidates: [exampleCandidate('acme', { supportedParameters: ['n'] })],
      ask: { maxOutputTokens: 300, choices: 3 },
      held: 600,
    },
    200,
  ],
  [
    'all of it, where the provider gives one answer whatever is asked for',
    { ask: { maxOutputTokens: 300, choices: 3 }, held: 600 },
    300,
  ],
  ['what is held, where nothing more could be held', { held: 700 }, 700],
  [
    'what is held, where a cancel does not stop the bill',
    { candidates: [exampleCandidate('acme', { cancelStopsBilling: false })], held: 2_000 },
    2_000,
  ],
]

for (const [name, setup, cap] of CAPS) {
  test(`the upstream is told: ${name}`, () => {
    assert.equal(begin(setup).transport.last.options.outputTokensCap, cap)
  })
}

const fallbackThatBillsOn = () => [
  exampleCandidate('acme'),
  exampleCandidate('bedrock', { cancelStopsBilling: false }),
]

test('all that a candidate can write is held when its turn comes, where it bills on, and it is told so', async () => {
  const call = begin({ candidates: fallbackThatBillsOn(), held: 1_000, cap: 10_000 })
  assert.equal(call.transport.last.options.outputTokensCap, undefined)
  assert.deepEqual(call.extensions, [])
  call.transport.last.fail(RATE_LIMITED)
  await settled()
  assert.deepEqual(call.extensions, [10_000])
  assert.equal(call.transport.last.options.outputTokensCap, 10_000)
  call.transport.last.accept().say(say('yes'), STOP, used(3, 1), END).end()
  const outcome = await call.outcome
  assert.equal(outcome.status, 'completed')
  assert.equal(outcome.outputTokensLowered, undefined)
})

test('what of it cannot be held is not asked for, and the outcome says so', async () => {
  for (const granted of [1_000, 4_000]) {
    const call = begin({
      candidates: fallbackThatBillsOn(),
      held: 1_000,
      cap: 10_000,
      grant: () => Promise.resolve(granted),
    })
    call.transport.last.fail(RATE_LIMITED)
    await settled()
    assert.equal(call.transport.last.options.outputTokensCap, granted)
    call.transport.last.accept().say(say('yes'), STOP, used(3, 1), END).end()
    const outcome = await call.outcome
    assert.equal(outcome.outputTokensLowered, granted)
    assert.deepEqual(call.extensions, [10_000])
  }
})

test('a refusal of the whole is no refusal of a slice for who comes after', async () => {
  const [first, billsOn] = fallbackThatBillsOn()
  assert.ok(first && billsOn)
  const call = begin({
    candidates: [billsOn, first],
    held: 1_000,
    cap: 10_000,
    grant: (wanted) => Promise.resolve(wanted > 2_000 ? 1_000 : wanted),
  })
  await settled()
  assert.equal(call.transport.last.options.outputTokensCap, 1_000)
  call.transport.last.fail(RATE_LIMITED)
  await settled()
  assert.equal(call.transport.last.options.outputTokensCap, undefined)
  call.transport.last.accept().say(say('x'.repeat(600)))
  await settled()
  assert.deepEqual(call.extensions, [10_000, 2_000])
  call.transport.last.say(STOP, used(3, 150), END).end()
  assert.equal((await call.outcome).status, 'completed')
})

test('a reader who leaves while it is held for costs nobody anything', async () => {
  const granting = Promise.withResolvers<number>()
  const call = begin({
    candidates: fallbackThatBillsOn(),
    held: 1_000,
    cap: 10_000,
    grant: () => granting.promise,
  })
  call.transport.last.fail(RATE_LIMITED)
  await settled()
  call.reader.abort()
  granting.resolve(10_000)
  const outcome = await call.outcome
  assert.equal(outcome.status, 'client_gone')
  assert.equal(call.transport.exchanges.length, 1)
  assert.equal(outcome.usage.source, 'none')
})

for (const failure of [RATE_LIMITED, REFUSED, CUT]) {
  test(`the next candidate is tried after ${failure.reason}`, async () => {
    const call = begin({ candidates: fallbacks() })
    call.transport.last.fail(failure)
    await settled()
    call.transport.last.accept().say(say('yes'), STOP, used(3, 1), END).end()
    const outcome = await call.outcome
    assert.equal(outcome.status, 'completed')
    assert.deepEqual(reasons(outcome), [failure.reason, 'served'])
    assert.equal(outcome.served?.endpoint.provider, 'provider-1')
  })
}

test('a first event that is an error, lifecycle frames before it or not, is tried elsewhere', async () => {
  const call = begin({ candidates: fallbacks() })
  call.transport.last.accept().say(used(5, 1), say(''), { type: 'failure', failure: RATE_LIMITED })
  await settled()
  assert.deepEqual([call.heads, call.opened], [[], []])
  call.transport.last.accept().say(say('yes'), STOP, used(3, 1), END).end()
  assert.deepEqual(call.opened, [])
  assert.equal((await call.outcome).usage.buckets.input, 3)
  assert.deepEqual(call.opened, ['provider-1'])
})

test('after the first visible byte nobody else is tried', async () => {
  const call = begin({ candidates: fallbacks() })
  call.transport.last.accept().say(used(5, 1), say('Once upon'))
  await settled()
  call.transport.last.fail(CUT)
  const outcome = await call.outcome
  assert.equal(call.transport.exchanges.length, 1)
  assert.deepEqual([outcome.status, outcome.failure, outcome.contentSent], ['failed', CUT, true])
  assert.equal(outcome.served?.endpoint.provider, 'provider-0')
  assert.deepEqual(outcome.usage, {
    buckets: { ...EMPTY_BUCKETS, input: 5, output: 3 },
    source: 'estimated',
    flags: [],
  })
})

test('an upstream that ends early is an error, however clean its end', async () => {
  const call = begin()
  call.transport.last.accept().say(say('Once upon'), STOP).end()
  const outcome = await call.outcome
  assert.deepEqual([outcome.status, outcome.failure?.reason], ['failed', 'stream_cut'])
})

test('half an answer that nobody saw is thrown away and another is fetched', async () => {
  const call = begin({ candidates: fallbacks(), ask: { stream: false } })
  call.transport.last.accept().say(say('Once upon')).fail(CUT)
  await settled()
  call.transport.last.accept().say(say('yes'), STOP, used(3, 1), END).end()
  assert.equal((await call.outcome).status, 'completed')
  assert.deepEqual(call.replied, [say('yes'), STOP])
})

test('reasoning that the caller does not want is not visible, so another may still answer', async () => {
  const call = begin({ candidates: fallbacks(), ask: { reasoning: { exclude: true } } })
  call.transport.last.accept().say(think('hm'))
  await settled()
  call.transport.last.fail(CUT)
  await settled()
  assert.equal(call.transport.exchanges.length, 2)
  assert.deepEqual(call.opened, [])
})

test('a fault of the request itself is tried nowhere else', async () => {
  const call = begin({ candidates: fallbacks() })
  call.transport.last.refuse(400, INVALID)
  const outcome = await call.outcome
  assert.deepEqual([outcome.status, outcome.failure], ['failed', INVALID])
  assert.equal(outcome.attempts.length, 1)
})

test('a context that is too short is tried only with another model', async () => {
  const [first, sibling] = fallbacks()
  const other = exampleCandidate('provider-2', {}, 'mesh/two')
  assert.ok(first && sibling)
  const call = begin({ candidates: [first, sibling, other] })
  call.transport.last.refuse(400, TOO_LONG)
  await settled()
  call.transport.last.accept().say(say('yes'), STOP, used(3, 1), END).end()
  const outcome = await call.outcome
  assert.deepEqual(
    outcome.attempts.map(({ candidate }) => candidate),
    [first, other],
  )
})

test('every candidate of the plan is tried once, and the last failure is told', async () => {
  const call = begin({ candidates: fallbacks(4) })
  for (const failure of [REFUSED, CUT, REFUSED, RATE_LIMITED]) {
    call.transport.last.fail(failure)
    await settled()
  }
  const outcome = await call.outcome
  assert.deepEqual(
    outcome.attempts.map(({ candidate }) => candidate.endpoint.provider),
    ['provider-0', 'provider-1', 'provider-2', 'provider-3'],
  )
  assert.deepEqual(outcome.failure, RATE_LIMITED)
  assert.deepEqual([outcome.usage.source, outcome.served], ['none', undefined])
})

test('all attempts share one deadline', async () => {
  const call = begin({ candidates: fallbacks(6) })
  for (let attempt = 0; attempt < 4; attempt++) {
    call.transport.last.sent()
    await call.clock.advance(30_000)
  }
  const outcome = await call.outcome
  assert.deepEqual(reasons(outcome), [
    'first_byte_timeout',
    'first_byte_timeout',
    'first_byte_timeout',
    'deadline',
  ])
  assert.equal(call.clock.timerCount, 0)
})

test('a deadline that strikes within an answer ends it, and what came is charged to nobody else', async () => {
  const call = begin({ candidates: fallbacks() })
  call.transport.last.accept().say(used(9, 1), say('x'.repeat(400)))
  for (let at = 0; at < 12; at++) {
    await call.clock.advance(10_000)
    call.transport.last.say(say('x'.repeat(40)))
  }
  const outcome = await call.outcome
  assert.deepEqual(
    [outcome.status, outcome.failure, reasons(outcome)],
    ['deadline', { outcome: 'uncertain', reason: 'deadline' }, ['served']],
  )
  assert.equal(outcome.served?.endpoint.provider, 'provider-0')
  assert.deepEqual(
    [outcome.usage.source, outcome.usage.buckets.input, outcome.usage.buckets.output],
    ['estimated', 9, 100 + 11 * 10],
  )
  assert.equal(call.transport.exchanges.length, 1)
})

test('a reader who holds an answer up until the deadline pays for it, and no provider is blamed', async () => {
  const call = begin({ write: () => new Promise(() => {}) })
  call.transport.last.accept().say(say('x'.repeat(400)))
  await settled()
  call.transport.last.say(say('x'.repeat(70_000)))
  await call.clock.advance(120_000)
  const outcome = await call.outcome
  assert.deepEqual([outcome.status, reasons(outcome)], ['deadline', ['served']])
  assert.equal(outcome.usage.buckets.output, 17_600)
  assert.equal(call.clock.timerCount, 0)
})

test('what had come by the deadline is written without waiting, so that an answer has no gap', async () => {
  const call = begin({ write: () => new Promise(() => {}) })
  const { last } = call.transport
  last.accept().say(say('first'))
  await settled()
  last.say(say('second')).say(say('third'), STOP, END)
  assert.deepEqual(call.sent, ['<first>'])
  await call.clock.advance(120_000)
  assert.equal((await call.outcome).status, 'completed')
  assert.equal(call.sent.join(''), '<first><second><third>')
})

test('a deadline before any content left is a failure like any other', async () => {
  const call = begin({ ask: { stream: false }, held: 1_000, cap: 10_000 })
  call.transport.last.accept()
  for (let at = 0; at < 12; at++) {
    await call.clock.advance(10_000)
    call.transport.last.say(say('x'))
  }
  const outcome = await call.outcome
  assert.deepEqual(
    [outcome.status, outcome.failure?.reason, outcome.usage.source],
    ['failed', 'deadline', 'none'],
  )
})

test('a provider without a credential is passed over', async () => {
  const outcome = await begin({ candidates: fallbacks(), credentials: false }).outcome
  assert.deepEqual(reasons(outcome), ['credential_missing', 'credential_missing'])
})

test('a plan without candidates is a failure', async () => {
  const outcome = await begin({ candidates: [] }).outcome
  assert.deepEqual([outcome.status, outcome.attempts], ['failed', []])
})

test('an answer of nothing is an answer', async () => {
  const nothing = begin()
  nothing.transport.last.accept().say(STOP, used(5, 0), END).end()
  const outcome = await nothing.outcome
  assert.deepEqual(
    [outcome.status, outcome.contentSent, outputTokens(outcome.usage.buckets)],
    ['completed', false, 0],
  )
  assert.deepEqual(nothing.heads, [])
})

test('a keep-alive leaves while nothing flows, and another may still answer after it', async () => {
  const call = begin({ candidates: fallbacks() })
  call.transport.last.sent()
  await call.clock.advance(9_999)
  assert.deepEqual([call.sent, call.heads], [[': MESH PROCESSING\n\n'], [undefined]])
  await call.clock.advance(10_000)
  assert.equal(call.sent.length, 2)
  call.transport.last.fail(CUT)
  await settled()
  call.transport.last.accept().say(say('yes'), STOP, used(3, 1), END).end()
  const outcome = await call.outcome
  assert.deepEqual([outcome.status, call.sent.at(-1), call.heads], ['completed', '<yes>', [undefined]])
})

test('a keep-alive leaves between contents too, but not in the midst of a flow', async () => {
  const call = begin()
  call.transport.last.accept()
  for (let at = 0; at < 5; at++) {
    await call.clock.advance(6_000)
    call.transport.last.say(say(`${at}`))
    await settled()
  }
  assert.deepEqual(call.sent, ['<0>', '<1>', '<2>', '<3>', '<4>'])
  await call.clock.advance(10_000)
  assert.equal(call.sent.at(-1), ': MESH PROCESSING\n\n')
})

test('a hold is widened ahead of need', async () => {
  const call = begin({ held: 1_000, cap: 9_000 })
  call.transport.last.accept().say(say('x'.repeat(400)))
  await settled()
  assert.deepEqual(call.extensions, [])
  call.transport.last.say(say('x'.repeat(200)))
  await settled()
  assert.deepEqual(call.extensions, [2_000])
  call.transport.last.say(say('x'.repeat(800)), STOP, used(9, 350), END).end()
  const outcome = await call.outcome
  assert.deepEqual([outcome.status, outcome.usage.buckets.output], ['completed', 350])
})

test('an answer whose hold cannot be widened is cut, and charged for what was seen', async () => {
  const call = begin({ held: 1_000, cap: 9_000, grant: () => Promise.resolve(1_000) })
  const { last } = call.transport
  last.accept().say(used(9, 1), say('a'.repeat(600)))
  await settled()
  last.say(say('b'.repeat(300)), say('c'.repeat(300)), say('d'))
  const outcome = await call.outcome
  assert.deepEqual([outcome.status, outcome.finishReason], ['cut', 'length'])
  assert.equal(last.isAborted, true)
  assert.deepEqual(call.sent, [`<${'a'.repeat(600)}>`, `<${'b'.repeat(300)}>`])
  assert.deepEqual(call.extensions, [2_000, 2_216])
  assert.deepEqual(outcome.usage, {
    buckets: { ...EMPTY_BUCKETS, input: 9, output: 300 },
    source: 'estimated',
    flags: [],
  })
})

test('an answer that was cut is given whole to a caller who does not stream', async () => {
  const call = begin({
    ask: { stream: false },
    held: 1_000,
    cap: 9_000,
    grant: () => Promise.reject(new Error()),
  })
  call.transport.last.accept().say(say('a'.repeat(600)), say('b'.repeat(600)))
  assert.equal((await call.outcome).status, 'cut')
  assert.deepEqual(call.replied, [say('a'.repeat(600))])
})

test('an upstream that never stops is stopped at the output that it was allowed, and no more is charged', async () => {
  const call = begin({ candidates: fallbacks(), ask: { maxOutputTokens: 10 }, held: 10 })
  call.transport.last.accept().say(used(7, 1))
  // No token is longer than 128 bytes, so that ten of them may be all of this.
  call.transport.last.say(say('x'.repeat(1_280)))
  await settled()
  assert.equal(call.transport.last.isAborted, false)
  call.transport.last.say(say('y'.repeat(128)), say('z'))
  await settled()
  assert.equal(call.transport.last.isAborted, true)
  const outcome = await call.outcome
  assert.deepEqual(call.sent, [`<${'x'.repeat(1_280)}>`])
  assert.deepEqual(
    [outcome.status, outcome.finishReason, reasons(outcome)],
    ['completed', 'length', ['served']],
  )
  assert.deepEqual(outcome.usage, {
    buckets: { ...EMPTY_BUCKETS, input: 7, output: 10 },
    source: 'estimated',
    flags: ['exceeds_hold', 'exceeds_cap'],
  })
})

test('where nothing within it can be shown, another may answer', async () => {
  for (const stream of [true, false]) {
    const call = begin({ candidates: fallbacks(), ask: { maxOutputTokens: 10, stream }, held: 10 })
    call.transport.last
      .accept()
      .say(say('x'.repeat(1_408)), STOP, used(3, 10), END)
      .end()
    await settled()
    call.transport.last.accept().say(say('yes'), STOP, used(3, 1), END).end()
    const outcome = await call.outcome
    assert.deepEqual([outcome.status, reasons(outcome)], ['completed', ['oversized', 'served']])
    assert.ok(!JSON.stringify([call.sent, call.replied]).includes('xx'))
  }
})

test('an answer that nobody asked for is malformed', async () => {
  const call = begin({ candidates: fallbacks() })
  call.transport.last.accept().say({ type: 'text', choice: 1, text: 'second' })
  await settled()
  call.transport.last.accept().say(say('yes'), { type: 'text', choice: 1, text: 'second' })
  const outcome = await call.outcome
  assert.deepEqual([outcome.status, reasons(outcome)], ['failed', ['malformed', 'malformed']])
  assert.deepEqual(call.sent, ['<yes>'])
})

test('a call has no outcome while an extension is under way', async () => {
  const extension = Promise.withResolvers<number>()
  const call = begin({ held: 1_000, cap: 9_000, grant: () => extension.promise })
  call.transport.last
    .accept()
    .say(say('x'.repeat(700)), STOP, used(9, 200), END)
    .end()
  let isOver = false
  const over = call.outcome.then(() => {
    isOver = true
  })
  await settled()
  assert.equal(isOver, false)
  extension.resolve(2_000)
  await over
})

test('the upstream waits while the books think about an extension', async () => {
  const extension = Promise.withResolvers<number>()
  const call = begin({ held: 1_000, cap: 900_000, grant: () => extension.promise })
  call.transport.last.accept().say(say('a'.repeat(70_000)))
  await settled()
  call.transport.last.say(say('b'.repeat(70_000)))
  assert.equal(call.transport.last.isPaused, true)
  assert.deepEqual(call.sent, [])
  extension.resolve(200_000)
  await settled()
  assert.equal(call.transport.last.isPaused, false)
  assert.equal(call.sent.length, 2)
})

test('a hold grows with unseen thought, and its end cuts an answer that has not begun', async () => {
  const thinker = exampleCandidate('acme', {
    reasoningOptions: [{ type: 'toggle' }],
    outputTokensMax: 90_000,
  })
  const grants = [2_000, 2_000, 2_000]
  const call = begin({
    candidates: [thinker],
    held: 1_000,
    cap: 90_000,
    grant: () => Promise.resolve(grants.shift() ?? 2_000),
  })
  call.transport.last.accept()
  await call.clock.advance(2_000)
  assert.deepEqual(call.extensions, [2_000])
  await call.clock.advance(3_000)
  assert.equal(call.transport.last.isAborted, false)
  await call.clock.advance(3_000)
  const outcome = await call.outcome
  assert.deepEqual(
    [outcome.status, outcome.contentSent, outputTokens(outcome.usage.buckets)],
    // Seven seconds of thought, at a usual speed.
    ['cut', false, 350],
  )
  assert.equal(call.clock.timerCount, 0)
})

test('a slow reader pauses the upstream', async () => {
  const written = Promise.withResolvers<void>()
  const call = begin({ write: () => written.promise })
  const { last } = call.transport
  last.accept().say(say('first'))
  await settled()
  last.say(say('x'.repeat(70_000)))
  assert.equal(last.isPaused, true)
  assert.deepEqual(call.sent, ['<first>'])
  written.resolve()
  await settled()
  assert.equal(last.isPaused, false)
  assert.equal(call.sent.length, 2)
})

test('a reader who leaves stops an upstream that stops billing, and pays for what was made', async () => {
  const call = begin()
  call.transport.last.accept().say(used(9, 1), say('x'.repeat(400)))
  await settled()
  call.reader.abort()
  const outcome = await call.outcome
  assert.equal(call.transport.last.isAborted, true)
  assert.deepEqual([outcome.status, outcome.served?.endpoint.provider], ['client_gone', 'acme'])
  assert.deepEqual(outcome.usage, {
    buckets: { ...EMPTY_BUCKETS, input: 9, output: 100 },
    source: 'estimated',
    flags: [],
  })
  assert.equal(call.clock.timerCount, 0)
})

test('a reader who could not keep up has left', async () => {
  const call = begin({ write: () => Promise.reject(new Error('too slow')) })
  call.transport.last.accept().say(say('hello'))
  const outcome = await call.outcome
  assert.deepEqual([outcome.status, call.transport.last.isAborted], ['client_gone', true])
})

test('where a cancel does not stop the bill, the answer is read on without its reader', async () => {
  const call = begin({ candidates: [exampleCandidate('acme', { cancelStopsBilling: false })] })
  call.transport.last.accept().say(say('Hel'))
  await settled()
  call.reader.abort()
  await settled()
  call.transport.last.say(say('lo'), STOP, used(9, 77), END).end()
  const outcome = await call.outcome
  assert.deepEqual(call.sent, ['<Hel>'])
  assert.deepEqual(
    [outcome.status, outcome.usage.source, outcome.usage.buckets.output],
    ['client_gone', 'reported', 77],
  )
})

test('where the provider bills on, it is read on from when it was accepted, whenever its reader left', async () => {
  const call = begin({ candidates: [exampleCandidate('acme', { cancelStopsBilling: false })] })
  call.transport.last.sent()
  call.reader.abort()
  await call.clock.advance(25_000)
  assert.equal(call.transport.last.isAborted, false)
  call.transport.last.head().say(say('Hel'))
  await call.clock.advance(9_999)
  assert.equal(call.transport.last.isAborted, false)
  await call.clock.advance(1)
  assert.equal((await call.outcome).status, 'client_gone')
  assert.equal(call.transport.last.isAborted, true)
})

test('a stream that nobody has accepted yet is bounded by its own time-out, whenever its reader left', async () => {
  const call = begin()
  call.transport.last.sent()
  await call.clock.advance(1_000)
  call.reader.abort()
  await call.clock.advance(28_999)
  assert.equal(call.transport.last.isAborted, false)
  await call.clock.advance(1)
  const outcome = await call.outcome
  assert.deepEqual(
    [outcome.status, reasons(outcome), outcome.usage.source],
    ['client_gone', ['first_byte_timeout'], 'none'],
  )
})

test('a provider that fails when the reader has left takes nothing off what he got', async () => {
  const call = begin({ candidates: [exampleCandidate('acme', { cancelStopsBilling: false })] })
  call.transport.last.accept().say(used(9, 1), say('x'.repeat(400)))
  await settled()
  call.reader.abort()
  await settled()
  call.transport.last.fail(CUT)
  const outcome = await call.outcome
  assert.deepEqual([outcome.status, outcome.usage.buckets.output], ['client_gone', 100])
})

test('who leaves an answer that was thought out unseen pays for the thought as well', async () => {
  const call = begin({ candidates: [THINKER] })
  call.transport.last.accept()
  await call.clock.advance(4_000)
  call.transport.last.say(say('x'.repeat(400)))
  await settled()
  call.reader.abort()
  await settled()
  assert.equal(call.transport.last.isAborted, false)
  call.transport.last.say(STOP, used(9, 900), END).end()
  const outcome = await call.outcome
  assert.deepEqual(
    [outcome.status, outcome.usage.source, outcome.usage.buckets.output],
    ['client_gone', 'reported', 900],
  )
})

test('where it does not end in time, the thought is estimated', async () => {
  const call = begin({ candidates: [THINKER] })
  call.transport.last.accept()
  await call.clock.advance(4_000)
  call.transport.last.say(say('x'.repeat(400)))
  await settled()
  call.reader.abort()
  await call.clock.advance(10_000)
  const { status, usage } = await call.outcome
  assert.deepEqual(
    [status, usage.source, usage.buckets.output, usage.buckets.reasoning],
    ['client_gone', 'estimated', 100, 200],
  )
})

test('who leaves while it is still thought about stops it, and pays for the time', async () => {
  const call = begin({ candidates: [THINKER] })
  call.transport.last.accept()
  await call.clock.advance(4_000)
  call.reader.abort()
  const { status, usage } = await call.outcome
  assert.equal(call.transport.last.isAborted, true)
  assert.deepEqual([status, usage.buckets.output, usage.buckets.reasoning], ['client_gone', 0, 200])
})

test('it is read on for a while only', async () => {
  const call = begin({ candidates: [exampleCandidate('acme', { cancelStopsBilling: false })] })
  call.transport.last.accept().say(say('x'.repeat(40)))
  await settled()
  call.reader.abort()
  await call.clock.advance(10_000)
  const outcome = await call.outcome
  assert.deepEqual([outcome.status, outcome.usage.buckets.output], ['client_gone', 10])
  assert.equal(call.transport.last.isAborted, true)
})

test('an answer in one piece is read on whatever the provider bills', async () => {
  const call = begin({ ask: { stream: false } })
  call.transport.last.sent()
  call.reader.abort()
  // Longer than a stream is read on, and shorter than what an answer in one piece may take.
  await call.clock.advance(50_000)
  call.transport.last.head().say(say('Hello'), STOP, used(9, 5), END).end()
  const outcome = await call.outcome
  assert.deepEqual([outcome.status, outcome.usage.buckets.output, call.opened], ['client_gone', 5, []])
})

test('a reader who leaves before it is known whether the provider works pays only if it does', async () => {
  const working = begin()
  working.transport.last.sent()
  working.reader.abort()
  await settled()
  working.transport.last.head()
  const worked = await working.outcome
  assert.deepEqual(
    [worked.status, worked.usage.buckets.input, worked.usage.source],
    ['client_gone', 100, 'estimated'],
  )
  const refusing = begin({ candidates: fallbacks() })
  refusing.transport.last.sent()
  refusing.reader.abort()
  await settled()
  refusing.transport.last.head(429).chunk(JSON.stringify(RATE_LIMITED)).end()
  const refused = await refusing.outcome
  assert.deepEqual(
    [refused.status, refused.usage.source, refused.attempts.length],
    ['client_gone', 'none', 1],
  )
})

test('a request that has not left is dropped with its reader', async () => {
  const call = begin({ candidates: fallbacks() })
  call.reader.abort()
  const outcome = await call.outcome
  assert.deepEqual([outcome.status, outcome.usage.source], ['client_gone', 'none'])
  assert.deepEqual(
    outcome.attempts.map(({ outcome: word }) => word),
    ['not_dispatched'],
  )
})

test('a bug in a renderer leaves nothing running', async () => {
  const clock = fakeClock()
  const transport = scriptedTransport()
  const failing = run({
    engine: {
      transport,
      protocolFor: () => scriptedProtocol,
      targetFor: () => ({ baseUrl: 'https://upstream.test', headers: {} }),
      clock,
      limits: {
        connectTimeoutMs: 1,
        firstByteTimeoutMs: 1,
        idleTimeoutMs: 1,
        outputTimeoutMs: 1,
        answer: DEFAULT_ANSWER_BOUNDS,
        deadlineMs: 1,
        drainMs: 1,
        outputSliceTokens: 1,
      },
    },
    plan: { candidates: [exampleCandidate('acme')] },
    ask: exampleAsk(),
    shape: exampleShape(),
    budget: { outputTokensHeld: 1_000, outputTokensCap: 1_000, extend: () => Promise.resolve(1_000) },
    sink: { head: () => {}, write: () => Promise.resolve() },
    openReply: () => {
      throw new Error('bug')
    },
    signal: new AbortController().signal,
    startedAtMs: 0,
  })
  transport.last.accept().say(say('hello'))
  await assert.rejects(failing, /bug/)
  assert.equal(transport.last.isAborted, true)
  assert.equal(clock.timerCount, 0)
})
