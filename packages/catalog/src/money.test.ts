import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { formatPricePerMillion, formatUsd, parsePricePerMillion, parseUsd, roundUpToNano } from './money.ts'

test('an amount survives being written and read', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: -(10n ** 19n) + 1n, max: 10n ** 19n - 1n }), (amount) => {
      assert.equal(parseUsd(formatUsd(amount)), amount)
    }),
  )
  assert.equal(formatUsd(8_775_000n), '0.008775000')
  assert.equal(formatUsd(-1n), '-0.000000001')
})

test('only a plain decimal is an amount or a price', () => {
  for (const text of [
    '',
    '.5',
    '1.',
    '1e3',
    '+1',
    ' 1',
    '1 ',
    '1,5',
    '0x1',
    'NaN',
    '1.0000000001',
    '--1',
    '٣',
  ]) {
    assert.equal(parseUsd(text), undefined, text)
    assert.equal(parsePricePerMillion(text), undefined, text)
  }
  assert.equal(parsePricePerMillion('-3'), undefined)
  assert.equal(parsePricePerMillion('0.0000001'), undefined)
})

test('one USD per million tokens is a million pico-USD a token', () => {
  assert.equal(parsePricePerMillion('3'), 3_000_000n)
  assert.equal(parsePricePerMillion('0.0025'), 2_500n)
  assert.equal(parsePricePerMillion('0.003625'), 3_625n)
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 10n ** 12n - 1n }), (price) => {
      assert.equal(parsePricePerMillion(formatPricePerMillion(price)), price)
    }),
  )
})

test('rounding goes up, and only by less than one nano-USD', () => {
  assert.equal(roundUpToNano(0n), 0n)
  assert.equal(roundUpToNano(1n), 1n)
  assert.equal(roundUpToNano(1_000n), 1n)
  assert.equal(roundUpToNano(1_001n), 2n)
  fc.assert(
    fc.property(fc.bigInt({ min: 1n, max: 10n ** 24n }), (sum) => {
      const excess = roundUpToNano(sum) * 1_000n - sum
      assert.ok(excess >= 0n && excess < 1_000n)
    }),
  )
})
