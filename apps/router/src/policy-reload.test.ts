import assert from 'node:assert/strict'
import { test } from 'node:test'
import { policySchema } from './policy.ts'
import { reloadedPolicy } from './policy-reload.ts'

test('a policy that was read anew counts at once, but for what only a start can change', () => {
  const running = policySchema.parse({})
  const read = policySchema.parse({
    pricing: { markupBasisPoints: 700 },
    holds: { outputSliceTokens: 99, lifetimeMs: 90_000 },
    http: { connectionsMax: 5 },
  })
  const { policy, fromNextStart } = reloadedPolicy(running, read)
  assert.equal(policy.pricing.markupBasisPoints, 700)
  assert.equal(policy.holds.outputSliceTokens, 99)
  assert.equal(policy.holds.lifetimeMs, running.holds.lifetimeMs)
  assert.equal(policy.http.connectionsMax, running.http.connectionsMax)
  assert.deepEqual(fromNextStart, ['holds.lifetimeMs', 'http.connectionsMax'])
})

test('nothing was changed, so nothing changes', () => {
  const running = policySchema.parse({})
  assert.deepEqual(reloadedPolicy(running, policySchema.parse({})), { policy: running, fromNextStart: [] })
})
