import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { fingerprint } from './fingerprint.ts'

test("FNV's published vectors", () => {
  assert.equal(fingerprint(''), 'cbf29ce484222325')
  assert.equal(fingerprint('a'), 'af63dc4c8601ec8c')
  assert.equal(fingerprint('foobar'), '85944171f73967e8')
})

test('the parts stay exact', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      let hash = 0xcbf29ce484222325n
      for (const byte of new TextEncoder().encode(text)) {
        hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n)
      }
      assert.equal(fingerprint(text), hash.toString(16).padStart(16, '0'))
    }),
  )
})
