import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { EndpointId } from '@mesh/catalog/catalog.ts'
import fc from 'fast-check'
import { type EndpointHealth, freezeHealth, HEALTH_SAMPLES_MIN, speedStep } from './endpoint-health.ts'

const ONE = 'mesh/one@acme'
const seen = (changes: Partial<EndpointHealth>) =>
  new Map<EndpointId, EndpointHealth>([[ONE, { successRate: 1, samples: 20, breaker: 'closed', ...changes }]])

test('a step is ten per cent: what is faster is never on a higher step, and a tenth more is on the next', () => {
  const value = fc.double({ min: 1, max: 10_000_000, noNaN: true })
  fc.assert(
    fc.property(value, value, (one, other) => {
      if (one <= other) assert.ok(speedStep(one) <= speedStep(other))
      assert.ok(speedStep(one * 1.11) > speedStep(one))
      assert.ok(speedStep(one * 1.21) <= speedStep(one) + 2)
    }),
  )
})

test('frozen health leaves out what moves no plan', () => {
  assert.deepEqual(freezeHealth(seen({ samples: HEALTH_SAMPLES_MIN - 1, firstTokenMsP50: 100 })), new Map())
  const open = seen({ samples: 3, firstTokenMsP50: 100, breaker: 'open' })
  assert.deepEqual([...freezeHealth(open).values()], [{ successRate: 1, samples: 0, breaker: 'open' }])
})

test('two moments that plan alike freeze alike', () => {
  const frozen = (changes: Partial<EndpointHealth>) => JSON.stringify([...freezeHealth(seen(changes))])
  const usual = { firstTokenMsP50: 412, tokensPerSecondP50: 93, samples: 5_000, successRate: 0.99 }
  assert.equal(frozen(usual), frozen({ ...usual, firstTokenMsP50: 415, samples: 21, successRate: 1 }))
  assert.notEqual(frozen(usual), frozen({ ...usual, firstTokenMsP50: 800 }))
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 100_000 }), fc.integer({ min: 1, max: 5_000 }), (first, rate) => {
      const once = freezeHealth(seen({ firstTokenMsP50: first, tokensPerSecondP50: rate }))
      assert.deepEqual(freezeHealth(once), once, 'freezing twice is freezing once')
    }),
  )
})
