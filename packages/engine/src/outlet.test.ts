import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { fakeClock, settled } from '../test/support/fake-clock.ts'
import { KEEP_ALIVE_COMMENT, Outlet } from './outlet.ts'

const DEADLINE_MS = 60_000

/** A way out whose reader takes what the test lets him take. */
function begin() {
  const clock = fakeClock()
  const reader = new AbortController()
  const sent: string[] = []
  const waiting: (() => void)[] = []
  const outlet = new Outlet({
    sink: {
      head: () => {},
      write(bytes) {
        sent.push(String(bytes))
        const { promise, resolve } = Promise.withResolvers<void>()
        waiting.push(resolve)
        return promise
      },
    },
    stream: true,
    clock,
    signal: reader.signal,
    deadlineAtMs: DEADLINE_MS,
  })
  return {
    clock,
    reader,
    sent,
    outlet,
    /** The reader takes the oldest part that waits for him. */
    async take() {
      waiting.shift()?.()
      await settled()
    },
  }
}

const event = (length: number, letter = 'x'): string => `data: ${letter.repeat(length)}\n\n`

/** Whether a promise has resolved by now. */
async function isDone(promise: Promise<void>): Promise<boolean> {
  let done = false
  void promise.then(() => {
    done = true
  })
  await settled()
  return done
}

test('a long text goes in parts of whole events, and its reader is waited for after each', async () => {
  const { outlet, sent, take } = begin()
  const events = [event(10_000, 'a'), event(5_000, 'b'), event(40_000, 'c'), event(10, 'd'), event(10, 'e')]
  const written = outlet.write(events.join(''))
  const [a = '', b = '', c = '', d = '', e = ''] = events
  assert.deepEqual(sent, [a + b])
  await take()
  assert.deepEqual(sent, [a + b, c])
  assert.equal(await isDone(written), false)
  await take()
  assert.deepEqual(sent, [a + b, c, d + e])
  await take()
  assert.equal(await isDone(written), true)
})

test('who leaves within a long text gets no more of it, and what he got are whole events', async () => {
  const { outlet, sent, reader } = begin()
  const written = outlet.write(event(12_000).repeat(5))
  reader.abort()
  assert.equal(await isDone(written), true)
  assert.deepEqual(sent, [event(12_000)])
})

test('nothing of a text is lost, doubled or moved, however long its events are', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 0, max: 40_000 }), { maxLength: 12 }), async (lengths) => {
      const { outlet, sent, take } = begin()
      const text = lengths.map((length, at) => event(length, String.fromCharCode(97 + at))).join('')
      const written = outlet.write(text)
      while (!(await isDone(written))) await take()
      assert.equal(sent.join(''), text)
      assert.ok(sent.every((part) => part.endsWith('\n\n')))
    }),
    { numRuns: 50 },
  )
})

test('from the deadline on no reader is waited for, and none is sent a comment', async () => {
  const { outlet, sent, clock } = begin()
  const written = outlet.write(event(10))
  await clock.advance(DEADLINE_MS - 1)
  assert.equal(await isDone(written), false)
  await clock.advance(1)
  assert.equal(await isDone(written), true)
  assert.equal(await isDone(outlet.write(event(20))), true)
  await clock.advance(DEADLINE_MS)
  assert.deepEqual(sent, [event(10), event(20)])
  assert.equal(clock.timerCount, 0)
})

test('a reader who has not taken the last comment is sent no other', async () => {
  const { sent, clock, take } = begin()
  await clock.advance(30_000)
  assert.deepEqual(sent, [KEEP_ALIVE_COMMENT])
  await take()
  await clock.advance(8_000)
  assert.deepEqual(sent, [KEEP_ALIVE_COMMENT, KEEP_ALIVE_COMMENT])
})
