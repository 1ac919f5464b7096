import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ModelId } from '@mesh/catalog/catalog.ts'
import { PRIVACY_CLASSES } from '@mesh/engine/privacy-class.ts'
import fc from 'fast-check'
import { limitColumns, readLimits } from './limit-rows.ts'
import { fieldBeyond, type Limits, NO_LIMITS, patchLimits, tighterOf } from './limits.ts'

const amount = fc.option(fc.bigInt({ min: 0n, max: 5n }))
const names = fc.option(fc.subarray<ModelId>(['mesh/a', 'mesh/b', 'mesh/c']))
const limits: fc.Arbitrary<Limits> = fc.record(
  {
    requestsPerMinute: amount,
    tokensPerMinute: amount,
    maxConcurrentRequests: amount,
    monthlyRequestLimit: amount,
    monthlyTokenLimit: amount,
    dailyUsdLimit: amount,
    monthlyUsdLimit: amount,
    totalUsdLimit: amount,
    maxUsdPerRequest: amount,
    allowedModels: names,
    allowedProviders: names,
    minimumPrivacyClass: fc.option(fc.constantFrom(...PRIVACY_CLASSES)),
    expiresAt: fc.option(fc.integer({ min: 0, max: 3 }).map((time) => new Date(time))),
  },
  { noNullPrototype: true },
)

test('what two limits allow together is within each of them, whichever comes first', () => {
  fc.assert(
    fc.property(limits, limits, (one, other) => {
      const together = tighterOf(one, other)
      assert.equal(fieldBeyond(together, one), undefined)
      assert.equal(fieldBeyond(together, other), undefined)
      const turned = tighterOf(other, one)
      assert.equal(fieldBeyond(turned, together), undefined)
      assert.equal(fieldBeyond(together, turned), undefined)
      assert.deepEqual(tighterOf(one, NO_LIMITS), one)
    }),
  )
})

test('limits are within themselves and within none, and a looser field is found', () => {
  fc.assert(
    fc.property(limits, (bound) => {
      assert.equal(fieldBeyond(bound, bound), undefined)
      assert.equal(fieldBeyond(bound, NO_LIMITS), undefined)
      assert.equal(fieldBeyond({}, bound), undefined)
      for (const [field, value] of Object.entries(bound)) {
        if (value === null || (field === 'minimumPrivacyClass' && value === 'standard')) continue
        assert.equal(fieldBeyond({ [field]: null }, bound), field)
      }
    }),
  )
})

test('limits come back from their row as they went in', () => {
  fc.assert(
    fc.property(limits, (given) => {
      assert.deepEqual(readLimits(limitColumns(given)), given)
    }),
  )
})

test('a patch changes what it names and nothing else', () => {
  const patched = patchLimits(
    { ...NO_LIMITS, dailyUsdLimit: 1n },
    { totalUsdLimit: 2n, monthlyUsdLimit: undefined },
  )
  assert.deepEqual(patched, { ...NO_LIMITS, dailyUsdLimit: 1n, totalUsdLimit: 2n })
})
