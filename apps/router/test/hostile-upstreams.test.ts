import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import {
  DIALECTS,
  type Dialect,
  FALLBACK,
  INPUT_TOKENS,
  OUTPUT_TOKENS,
  PIECES,
} from './support/hostile-answers.ts'
import {
  type HostileAnswer,
  type HostileWorld,
  type Stage,
  startHostileWorld,
} from './support/hostile-calls.ts'
import {
  BODY_FAULTS,
  type Fault,
  HEAD_FAULTS,
  MODES,
  type Place,
  playBody,
} from './support/hostile-faults.ts'
import { createTestDatabase, type TestDatabase } from './support/test-database.ts'
import { until } from './support/until.ts'

/*
 * Every way in which a provider can break, in both wire formats, streamed or not, before the first byte of content or
 * after it, with another model to fall back on or without. Before that byte the next one answers and only it is paid;
 * after it the caller is told by an error chunk and pays nothing.
 */

let shared: TestDatabase
/** Its time-outs are those of real life. */
let patient: HostileWorld
/** For upstreams that never come to an end: what they may take is short, and longer than what a busy machine needs. */
let hasty: HostileWorld

before(async () => {
  shared = await createTestDatabase()
  patient = await startHostileWorld({ on: shared })
  const calls = {
    firstByteTimeoutMs: 2_500,
    idleTimeoutMs: 2_500,
    outputTimeoutMs: 3_500,
    deadlineMs: 14_000,
  }
  hasty = await startHostileWorld({ policy: { calls }, on: shared })
})
after(async () => {
  for (const { upstream } of [patient, hasty]) {
    await until('every connection to the providers is closed', () => upstream.open === 0)
    assert.equal(upstream.requests.get('elsewhere'), undefined, 'a redirect was followed')
  }
  await patient.stop()
  await hasty.stop()
  await shared.close()
})

/** What a caller is told of a failed attempt: the code, and the status where no byte has left. */
function errorOf(reason: string): readonly [code: string, status: number] {
  if (reason === 'too_late') return ['provider_timeout', 504]
  return ['overloaded', 'rate_limited'].includes(reason)
    ? ['provider_overloaded', 503]
    : ['provider_error', 502]
}

function assertFallbackAnswered({ status, content, event, chunks, json }: HostileAnswer): void {
  assert.equal(status, 200)
  assert.equal(content, 'OMEGA '.repeat(PIECES))
  const finish = json ? json.choices[0].finish_reason : chunks.at(-1).choices[0].finish_reason
  assert.equal(finish, 'stop')
  assert.equal(event.billingReason, 'completed')
  assert.deepEqual(event.usageFlags, [])
  assert.deepEqual([event.tokens.input, event.tokens.output], [INPUT_TOKENS, OUTPUT_TOKENS])
  assert.deepEqual([event.attempts.length, event.modelServed], [2, FALLBACK.model])
  assert.equal(event.attempts[1].outcome, 'served')
}

function assertToldAtOnce({ status, json, event, content }: HostileAnswer, reason: string): void {
  const [code, expected] = errorOf(reason)
  assert.deepEqual([status, json?.error.code], [expected, code])
  assert.deepEqual([content, event.attempts.length, event.modelServed], ['', 1, null])
  assert.deepEqual([event.billingReason, event.errorCode], ['upstream_error_not_billed', code])
}

function assertToldInStream({ status, chunks, text, content, event }: HostileAnswer, reason: string): void {
  const [code] = errorOf(reason)
  const last = chunks.at(-1)
  assert.equal(status, 200)
  assert.match(content, /^(ALPHA ){10}(ALPHA)?$/)
  assert.deepEqual([last.error.code, last.choices[0].finish_reason], [code, 'error'])
  assert.ok(!text.includes('[DONE]'))
  assert.match(last.error.metadata.receipt_id, /^rcpt_/)
  assert.deepEqual([event.attempts.length, event.billingReason], [1, 'upstream_error_not_billed'])
}

/** One fault in one wire format, in every combination that it exists in. */
function faultTest(
  fault: Fault,
  dialect: Dialect,
  places: readonly Place[],
  play: (stage: Stage, place: Place) => Promise<unknown> | unknown,
): void {
  const combinations = MODES.flatMap((mode) =>
    places.map((place) => ({ mode, streamed: mode !== 'whole', place, dialect })),
  ).filter((combination) => fault.exists?.(combination) ?? true)
  if (combinations.length === 0) return
  test(`${dialect.provider}: ${fault.name}`, async () => {
    const world = fault.isEndless ? hasty : patient
    const account = await world.account()
    const charges = combinations.flatMap((combination) =>
      [true, false].map(async (fallback) => {
        const { mode, place } = combination
        const answer = await world.call(account, {
          dialect,
          stream: mode === 'streamed',
          fallback,
          ...(mode === 'gathered' ? {} : { more: { max_tokens: 200 } }),
          play: async (stage) => void (await play(stage, place)),
        })
        const reason = typeof fault.reason === 'string' ? fault.reason : fault.reason(combination)
        const { outcome, reason: told } = answer.event.attempts[0]
        assert.equal(outcome, fault.outcome ?? 'uncertain')
        if (reason === 'too_late') assert.match(told, /^(first_byte|idle)_timeout$/)
        else assert.equal(told, reason)
        const isLate = mode === 'streamed' && place === 'after'
        if (isLate) assertToldInStream(answer, reason)
        else if (fallback) assertFallbackAnswered(answer)
        else assertToldAtOnce(answer, reason)
        assert.equal(answer.chargedNano > 0n, fallback && !isLate)
        return answer.chargedNano
      }),
    )
    const paid = (await Promise.all(charges)).reduce((sum, charge) => sum + charge, 0n)
    await world.assertBook(account, paid)
  })
}

function testAll(isEndless: boolean): void {
  for (const dialect of DIALECTS) {
    for (const fault of HEAD_FAULTS) {
      if (Boolean(fault.isEndless) === isEndless) faultTest(fault, dialect, ['before'], fault.play)
    }
    for (const fault of BODY_FAULTS) {
      const play = (stage: Stage, place: Place): Promise<void> => playBody(fault, stage, place)
      if (Boolean(fault.isEndless) === isEndless) faultTest(fault, dialect, ['before', 'after'], play)
    }
  }
}

suite('an upstream that breaks', { concurrency: 6 }, () => testAll(false))
// These wait for most of their time, so they wait together.
suite('an upstream that never comes to an end', { concurrency: 30 }, () => testAll(true))
