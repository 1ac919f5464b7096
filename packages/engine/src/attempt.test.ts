import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EMPTY_BUCKETS } from '@mesh/catalog/token-buckets.ts'
import { type FakeClock, fakeClock, settled } from '../test/support/fake-clock.ts'
import {
  type ScriptedExchange,
  scriptedProtocol,
  scriptedTransport,
} from '../test/support/scripted-upstream.ts'
import { type AttemptEnd, type AttemptLimits, UpstreamAttempt } from './attempt.ts'
import type { Failure } from './failure.ts'
import { DEFAULT_ANSWER_BOUNDS } from './protocol.ts'
import { CLASSIFIED_BYTES_MAX } from './refusal.ts'
import type { StreamEvent } from './stream-event.ts'

const LIMITS: AttemptLimits = {
  connectTimeoutMs: 100,
  firstByteTimeoutMs: 1_000,
  idleTimeoutMs: 500,
  outputTimeoutMs: 3_000,
  answer: DEFAULT_ANSWER_BOUNDS,
}
const HELLO: StreamEvent = { type: 'text', choice: 0, text: 'hello' }
const STOP: StreamEvent = { type: 'finish', choice: 0, reason: 'stop' }
const END: StreamEvent = { type: 'end' }
const OVERLOADED: Failure = { outcome: 'refused_unbilled', reason: 'overloaded', status: 503 }

interface Started {
  readonly attempt: UpstreamAttempt
  readonly exchange: ScriptedExchange
  readonly clock: FakeClock
  /** Everything that was said, and the end, once there is one. */
  readonly heard: { readonly events: StreamEvent[]; end?: AttemptEnd }
}

function start({
  stream = true,
  deadlineAtMs = 10_000,
  read = true,
  onSend = (_: ScriptedExchange): void => {},
} = {}): Started {
  const clock = fakeClock()
  const transport = scriptedTransport(onSend)
  const request = {
    target: { baseUrl: 'https://acme.test', headers: {} },
    path: '/',
    headers: {},
    body: '{}',
  }
  const attempt = new UpstreamAttempt({
    transport,
    request,
    protocol: scriptedProtocol,
    stream,
    clock,
    limits: LIMITS,
    deadlineAtMs,
  })
  const heard: Started['heard'] = { events: [] }
  if (read) void readAll(attempt, heard)
  return { attempt, exchange: transport.last, clock, heard }
}

async function readAll(attempt: UpstreamAttempt, heard: Started['heard']): Promise<void> {
  for (;;) {
    const step = await attempt.next()
    if (step.type === 'ended') {
      heard.end = step.end
      return
    }
    heard.events.push(...step.events)
  }
}

const failed = (failure: Failure): AttemptEnd => ({ type: 'failed', failure })
const uncertain = (reason: Failure['reason']): AttemptEnd => failed({ outcome: 'uncertain', reason })

test('an answer is told in its order, to its terminal event', async () => {
  const { exchange, heard, clock } = start()
  exchange.accept().say(HELLO).say(STOP, END).end()
  await settled()
  assert.deepEqual(heard, { events: [HELLO, STOP], end: { type: 'complete' } })
  assert.equal(clock.timerCount, 0)
})

test('a connection may end by itself after the terminal event, but not for ever', async () => {
  const { exchange, heard, clock } = start()
  exchange.accept().say(HELLO, STOP, END)
  await settled()
  assert.deepEqual(heard.end, { type: 'complete' })
  assert.equal(exchange.isAborted, false)
  await clock.advance(1_000)
  assert.equal(exchange.isAborted, true)
})

test('a connection that ends in good order before the terminal event is a cut, or empty', async () => {
  const cut = start()
  cut.exchange.accept().say(HELLO, STOP).end()
  const empty = start()
  empty.exchange.accept().end()
  await settled()
  assert.deepEqual(cut.heard, { events: [HELLO, STOP], end: uncertain('stream_cut') })
  assert.deepEqual(empty.heard, { events: [], end: uncertain('empty') })
})

test("the upstream's own failure ends the attempt, and nothing is heard after it", async () => {
  const { exchange, heard } = start()
  exchange.accept().say(HELLO, { type: 'failure', failure: OVERLOADED })
  exchange.say(HELLO)
  await settled()
  assert.deepEqual(heard, { events: [HELLO], end: failed(OVERLOADED) })
  assert.equal(exchange.isAborted, true)
})

test('a status that is no answer is classified by its body', async () => {
  const { exchange, heard, attempt } = start()
  exchange.refuse(503, OVERLOADED)
  await settled()
  assert.deepEqual(heard.end, failed(OVERLOADED))
  assert.equal(attempt.isAccepted, false)
})

test('the body of an error is read up to its bound, and no longer than an answer may be silent', async () => {
  const body = JSON.stringify(OVERLOADED)
  const long = start()
  long.exchange.sent().head(500).chunk(body.padEnd(CLASSIFIED_BYTES_MAX, ' ')).chunk('{')
  await settled()
  assert.deepEqual(long.heard.end, failed(OVERLOADED))
  const stalled = start()
  stalled.exchange.sent().head(500).chunk(body)
  await stalled.clock.advance(500)
  assert.deepEqual(stalled.heard.end, failed(OVERLOADED))
})

const TIMEOUTS: readonly (readonly [string, (exchange: ScriptedExchange) => void, number, AttemptEnd])[] = [
  ['no connection', () => {}, 100, failed({ outcome: 'not_dispatched', reason: 'connect_timeout' })],
  ['no head', (exchange) => exchange.sent(), 1_000, uncertain('first_byte_timeout')],
  ['silence after the head', (exchange) => exchange.accept(), 500, uncertain('idle_timeout')],
  ['silence after some content', (exchange) => exchange.accept().say(HELLO), 500, uncertain('idle_timeout')],
]

for (const [name, play, afterMs, end] of TIMEOUTS) {
  test(`${name} ends an attempt in time, and not before`, async () => {
    const { exchange, heard, clock } = start()
    play(exchange)
    await clock.advance(afterMs - 1)
    assert.equal(heard.end, undefined)
    await clock.advance(1)
    assert.deepEqual(heard.end, end)
    assert.equal(exchange.isAborted, true)
    assert.equal(clock.timerCount, 0)
  })
}

test('a slow drip is no silence, but the deadline ends it', async () => {
  const { exchange, heard, clock } = start({ deadlineAtMs: 2_000 })
  exchange.accept()
  for (let drop = 0; drop < 4; drop++) {
    await clock.advance(499)
    exchange.say(HELLO)
  }
  assert.equal(heard.end, undefined)
  await clock.advance(4)
  assert.deepEqual(heard.end, uncertain('deadline'))
})

const PING: StreamEvent = {
  type: 'usage',
  usage: { buckets: { ...EMPTY_BUCKETS, input: 1 }, flags: [] },
}

/** Bytes that carry no output, one after the other, until the attempt ends or the time is up. */
async function drip({ exchange, heard, clock }: Started, drop: () => void, forMs: number): Promise<number> {
  const startMs = clock.monotonic()
  while (!heard.end && !exchange.isAborted && clock.monotonic() - startMs < forMs) {
    drop()
    await clock.advance(100)
  }
  return clock.monotonic() - startMs
}

test('bytes without output keep no attempt alive, before its first output or after', async () => {
  const before = start()
  before.exchange.accept()
  assert.equal(await drip(before, () => before.exchange.say(PING), 5_000), 3_000)
  assert.deepEqual(before.heard.end, uncertain('first_byte_timeout'))
  const after = start()
  after.exchange.accept()
  await drip(after, () => after.exchange.say(PING), 2_900)
  after.exchange.say(HELLO)
  assert.equal(await drip(after, () => after.exchange.say(PING), 5_000), 3_000)
  assert.deepEqual(after.heard.end, uncertain('idle_timeout'))
  assert.equal(after.clock.timerCount, 0)
})

test('a refusal that drips is over when an answer would have been silent for too long', async () => {
  const dripping = start()
  dripping.exchange.sent().head(503).chunk(JSON.stringify(OVERLOADED))
  assert.equal(await drip(dripping, () => dripping.exchange.chunk(' '), 5_000), 500)
  assert.deepEqual(dripping.heard.end, failed(OVERLOADED))
})

test('a whole answer may take half of what is left, to its last byte', async () => {
  const dripping = start({ stream: false, deadlineAtMs: 8_000 })
  dripping.exchange.accept()
  assert.equal(await drip(dripping, () => dripping.exchange.chunk(' '), 8_000), 4_000)
  assert.deepEqual(dripping.heard.end, uncertain('first_byte_timeout'))
})

test('without a stream the head may take half of what is left', async () => {
  const { exchange, heard, clock } = start({ stream: false, deadlineAtMs: 8_000 })
  exchange.sent()
  await clock.advance(3_999)
  assert.equal(heard.end, undefined)
  await clock.advance(1)
  assert.deepEqual(heard.end, uncertain('first_byte_timeout'))
})

test('an upstream that nobody reads is paused, and its pause is no silence of its own', async () => {
  const { exchange, clock, attempt, heard } = start({ read: false })
  const long: StreamEvent = { type: 'text', choice: 0, text: 'x'.repeat(40_000) }
  exchange.accept().say(long)
  assert.equal(exchange.isPaused, false)
  exchange.say(long)
  assert.equal(exchange.isPaused, true)
  await clock.advance(5_000)
  assert.equal(exchange.isAborted, false)
  void readAll(attempt, heard)
  await settled()
  assert.equal(exchange.isPaused, false)
  assert.equal(heard.events.length, 2)
  await clock.advance(500)
  assert.deepEqual(heard.end, uncertain('idle_timeout'))
})

test('waking lets a reader go on though nothing came', async () => {
  const { attempt } = start({ read: false })
  const step = attempt.next()
  attempt.wake()
  assert.deepEqual(await step, { type: 'events', events: [] })
})

test('a stopped attempt drops its connection', async () => {
  const { attempt, exchange, heard, clock } = start()
  exchange.accept().say(HELLO)
  attempt.stop()
  await settled()
  assert.deepEqual(heard, { events: [HELLO], end: { type: 'stopped' } })
  assert.equal(exchange.isAborted, true)
  assert.equal(clock.timerCount, 0)
})

test('what is to be done once a request is accepted is done then, at once where it was, never where it is not', async () => {
  const accepted = start()
  accepted.exchange.sent()
  accepted.attempt.whenAccepted(() => accepted.attempt.stop())
  assert.equal(accepted.exchange.isAborted, false)
  accepted.exchange.head()
  accepted.attempt.whenAccepted(() => {
    accepted.heard.events.push(STOP)
  })
  assert.deepEqual(accepted.heard.events, [STOP])
  const refused = start()
  refused.exchange.sent()
  refused.attempt.whenAccepted(() => refused.attempt.stop())
  refused.exchange.head(503).chunk(JSON.stringify(OVERLOADED)).end()
  await settled()
  assert.deepEqual(accepted.heard.end, { type: 'stopped' })
  assert.deepEqual(refused.heard.end, failed(OVERLOADED))
})

test('a transport that is heard before it returns is understood', async () => {
  const refused: Failure = { outcome: 'not_dispatched', reason: 'connect_failed' }
  const failing = start({ onSend: (exchange) => exchange.fail(refused) })
  const answering = start({
    onSend: (exchange) => exchange.accept().say(HELLO, { type: 'failure', failure: OVERLOADED }),
  })
  await settled()
  assert.deepEqual(failing.heard.end, failed(refused))
  assert.deepEqual(answering.heard, { events: [HELLO], end: failed(OVERLOADED) })
  assert.equal(answering.exchange.isAborted, true)
  assert.equal(failing.clock.timerCount + answering.clock.timerCount, 0)
})
