import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Endpoint } from '@mesh/catalog/catalog.ts'
import fc from 'fast-check'
import { testEndpoint } from '../../test/endpoints.ts'
import { fakeClock } from '../../test/support/fake-clock.ts'
import type { Failure } from '../failure.ts'
import { type AttemptReport, type GatePolicy, Gates, type Passage } from './gate.ts'
import { quantile } from './histogram.ts'

const ENDPOINT = testEndpoint({ id: 'mesh/one@acme', provider: 'acme' })
const POLICY: GatePolicy = { errorRate: 0.5, cooldownMs: 30_000, slotsMax: 100, accountShare: 0.5 }
const FAILED: AttemptReport = { verdict: 'unhealthy' }
const ANSWERED: AttemptReport = { verdict: 'healthy' }

function setUp(policy: Partial<GatePolicy> = {}, keepsAway = true) {
  const clock = fakeClock(1_000_000)
  const suspected: Endpoint[] = []
  const gates = new Gates({
    clock,
    policyFor: () => ({ ...POLICY, ...policy }),
    keepsAway,
    onSuspicion: (endpoint) => suspected.push(endpoint),
  })
  const enter = (account: string) => gates.gateFor(account).enter(ENDPOINT)
  const attempt = (account: string, report: AttemptReport | undefined): void =>
    through(enter(account)).leave(report)
  const breaker = () => gates.standings().get(ENDPOINT.id)?.breaker
  return { clock, gates, suspected, enter, attempt, breaker }
}

function through(entry: Passage | Failure): Passage {
  if ('outcome' in entry) throw new Error(`it was stopped: ${entry.reason}`)
  return entry
}

const stopped = (entry: Passage | Failure): Failure | undefined => ('outcome' in entry ? entry : undefined)

/** Two accounts fail often enough for anybody. */
function breakIt({ attempt }: ReturnType<typeof setUp>): void {
  for (let at = 0; at < 6; at++) for (const account of ['ada', 'bob']) attemptIfOpen(attempt, account)
}

function attemptIfOpen(attempt: (account: string, report: AttemptReport) => void, account: string): void {
  try {
    attempt(account, FAILED)
  } catch {
    // It is open by now.
  }
}

test('failures of several accounts open a breaker, and callers are told how long it stays open', () => {
  const gate = setUp()
  breakIt(gate)
  assert.equal(gate.breaker(), 'open')
  assert.deepEqual(stopped(gate.enter('eve')), {
    outcome: 'not_dispatched',
    reason: 'breaker_open',
    retryAfterMs: 30_000,
  })
})

test('one account alone never opens a breaker for others, whatever becomes of its calls', () => {
  const report = fc.constantFrom<AttemptReport | undefined>(FAILED, ANSWERED, { verdict: 'busy' }, undefined)
  fc.assert(
    fc.property(fc.array(report, { maxLength: 200 }), (reports) => {
      const gate = setUp()
      for (const each of reports) gate.attempt('mallory', each)
      assert.notEqual(gate.breaker(), 'open')
      assert.equal(stopped(gate.enter('ada')), undefined)
    }),
  )
})

test('where one account alone fails somebody else is asked to try, and if he fails too it opens', () => {
  const gate = setUp()
  for (let at = 0; at < 9; at++) gate.attempt('ada', FAILED)
  assert.deepEqual(gate.suspected, [])
  gate.attempt('ada', FAILED)
  assert.deepEqual(gate.suspected, [ENDPOINT])
  gate.attempt('operator', FAILED)
  assert.equal(gate.breaker(), 'open')
})

test('what answers in between keeps a breaker closed', () => {
  const gate = setUp()
  for (let at = 0; at < 12; at++) {
    gate.attempt('ada', FAILED)
    gate.attempt('bob', ANSWERED)
    gate.attempt('bob', ANSWERED)
  }
  assert.equal(gate.breaker(), 'closed')
})

test('failures of more than a minute ago are no reason', async () => {
  const gate = setUp()
  for (let at = 0; at < 5; at++) gate.attempt('ada', FAILED)
  await gate.clock.advance(61_000)
  for (let at = 0; at < 5; at++) gate.attempt('bob', FAILED)
  assert.equal(gate.breaker(), 'closed')
})

test('after its cool-down one call at a time may try, and its answer closes the breaker', async () => {
  const gate = setUp()
  breakIt(gate)
  await gate.clock.advance(30_000)
  assert.equal(gate.breaker(), 'half_open')
  const trial = through(gate.enter('ada'))
  assert.equal(stopped(gate.enter('bob'))?.reason, 'breaker_open')
  trial.leave(ANSWERED)
  assert.equal(gate.breaker(), 'closed')
  // Its past failures are forgiven: one more does not open it again.
  gate.attempt('bob', FAILED)
  assert.equal(gate.breaker(), 'closed')
})

test('a trial that fails opens it again for twice as long; one without a verdict leaves the next to try', async () => {
  const gate = setUp()
  breakIt(gate)
  await gate.clock.advance(30_000)
  gate.attempt('ada', undefined)
  assert.equal(gate.breaker(), 'half_open')
  gate.attempt('bob', FAILED)
  await gate.clock.advance(59_999)
  assert.equal(gate.breaker(), 'open')
  await gate.clock.advance(1)
  assert.equal(gate.breaker(), 'half_open')
})

test('a provider that asks to wait is left alone by that account, and by all where it says so to two', async () => {
  const gate = setUp()
  const busy: AttemptReport = { verdict: 'busy', retryAfterMs: 8_000 }
  gate.attempt('ada', busy)
  assert.deepEqual(stopped(gate.enter('ada')), {
    outcome: 'not_dispatched',
    reason: 'rate_limited',
    retryAfterMs: 8_000,
  })
  gate.attempt('bob', busy)
  assert.equal(stopped(gate.enter('eve'))?.reason, 'rate_limited')
  await gate.clock.advance(8_000)
  gate.attempt('eve', ANSWERED)
  gate.attempt('ada', ANSWERED)
})

test('a wait of an hour is a wait of half a minute', async () => {
  const gate = setUp()
  gate.attempt('ada', { verdict: 'busy', retryAfterMs: 3_600_000 })
  await gate.clock.advance(30_000)
  gate.attempt('ada', ANSWERED)
})

test('no account takes more than its share of places, and every place is given back', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 12 }),
      fc.array(fc.tuple(fc.constantFrom('ada', 'bob', 'eve'), fc.boolean()), { maxLength: 100 }),
      (slotsMax, steps) => {
        const gate = setUp({ slotsMax })
        const running: { account: string; passage: Passage }[] = []
        for (const [account, leaves] of steps) {
          const own = running.filter((each) => each.account === account)
          const last = own.at(-1)
          if (leaves && last) {
            running.splice(running.indexOf(last), 1)
            last.passage.leave(undefined)
          } else {
            const entry = gate.enter(account)
            const isRoom = running.length < slotsMax && own.length < Math.max(1, Math.floor(slotsMax / 2))
            assert.equal('outcome' in entry, !isRoom)
            if (!('outcome' in entry)) running.push({ account, passage: entry })
          }
          assert.equal(gate.gates.running('acme'), running.length)
        }
      },
    ),
  )
})

test('what was seen of an endpoint is told: how many answered, and how fast', async () => {
  const gate = setUp()
  gate.attempt('ada', { verdict: 'healthy', firstTokenMs: 200, tokensPerSecond: 50 })
  gate.attempt('bob', { verdict: 'healthy', firstTokenMs: 400, tokensPerSecond: 100 })
  gate.attempt('bob', FAILED)
  const tally = gate.gates.standings().get(ENDPOINT.id)?.tally
  assert.deepEqual([tally?.healthy, tally?.unhealthy, tally?.busy], [2, 1, 0])
  assert.equal(Math.round((quantile(tally?.firstTokenMs ?? {}, 0.5) ?? 0) / 20), 10)
  await gate.clock.advance(301_000)
  assert.equal(gate.gates.standings().get(ENDPOINT.id)?.tally.healthy, 0)
})

test('an operator who wants nobody kept away has nobody kept away', () => {
  const gate = setUp({}, false)
  breakIt(gate)
  gate.attempt('ada', { verdict: 'busy', retryAfterMs: 8_000 })
  assert.equal(gate.breaker(), 'closed')
  assert.equal(stopped(gate.enter('ada')), undefined)
})
