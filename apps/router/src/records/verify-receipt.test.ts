import assert from 'node:assert/strict'
import { generateKeyPairSync, sign } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { verifyReceipt } from './verify-receipt.ts'

const { privateKey, publicKey } = generateKeyPairSync('ed25519')
const keySet = { keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'one' }] }
const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
const signed = `${encode({ alg: 'Ed25519', kid: 'one', typ: 'mesh-receipt+jws' })}.${encode({ version: 1 })}`
const jws = `${signed}.${sign(null, Buffer.from(signed), privateKey).toString('base64url')}`

test('a receipt in which one character was changed, added or left out is refused', () => {
  assert.ok(verifyReceipt(jws, keySet).valid)
  assert.ok(verifyReceipt(`${jws}\n`, keySet).valid, 'files end with a line feed')
  const place = fc.nat(jws.length - 1)
  const character = fc.string({ unit: 'grapheme-ascii', maxLength: 1 })
  const changed = fc.tuple(place, fc.nat(1), character).map(([at, taken, put]) => {
    return jws.slice(0, at) + put + jws.slice(at + taken)
  })
  fc.assert(
    fc.property(changed, (text) => {
      assert.equal(verifyReceipt(text, keySet).valid, text.trim() === jws)
    }),
    { numRuns: 2_000 },
  )
  // The last character has spare bits, which a lenient decoder throws away.
  for (const last of 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_') {
    const text = jws.slice(0, -1) + last
    assert.equal(verifyReceipt(text, keySet).valid, text === jws)
  }
})
