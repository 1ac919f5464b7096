import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { addHistograms, bucketOf, countOf, type Histogram, quantile } from './histogram.ts'

const histogramOf = (values: readonly number[]): Histogram =>
  addHistograms(values.map((value) => ({ [bucketOf(value)]: 1 })))

test('a quantile is at most a tenth above the value that it stands for, and never below it', () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: 1, max: 600_000, noNaN: true }), { minLength: 1, maxLength: 200 }),
      fc.double({ min: 0.01, max: 1, noNaN: true }),
      (values, share) => {
        const sorted = values.toSorted((a, b) => a - b)
        const exact = sorted[Math.max(1, Math.ceil(sorted.length * share)) - 1] ?? Number.NaN
        const told = quantile(histogramOf(values), share) ?? Number.NaN
        assert.ok(told >= exact * 0.999_999 && told <= exact * 1.100_001, `${told} for ${exact}`)
      },
    ),
  )
})

test('what several routers counted adds up to what one would have counted', () => {
  fc.assert(
    fc.property(fc.array(fc.nat({ max: 60_000 })), fc.array(fc.nat({ max: 60_000 })), (left, right) => {
      const sum = addHistograms([histogramOf(left), histogramOf(right)])
      assert.deepEqual(sum, histogramOf([...left, ...right]))
      assert.equal(countOf(sum), left.length + right.length)
    }),
  )
})

test('nothing was counted, so nothing is known', () => {
  assert.equal(quantile({}, 0.5), undefined)
})

test('values outside every span are counted at its ends', () => {
  assert.equal(quantile(histogramOf([-5, 0]), 1), 1)
  assert.equal(bucketOf(Number.POSITIVE_INFINITY), bucketOf(604_800_000))
})
