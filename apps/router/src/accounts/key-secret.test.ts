import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { makeSecret, parseSecret } from './key-secret.ts'

const secrets = fc
  .record({ livemode: fc.boolean(), bytes: fc.uint8Array({ minLength: 32, maxLength: 32 }) })
  .map(({ livemode, bytes }) => ({ livemode, secret: makeSecret(livemode, { randomBytes: () => bytes }) }))

test('a secret that was made is one of its world, 59 characters long', () => {
  fc.assert(
    fc.property(secrets, ({ livemode, secret }) => {
      assert.deepEqual(parseSecret(secret), { kind: 'key', livemode })
      assert.equal(secret.length, 59)
    }),
  )
})

test('a secret with one character changed is mistyped', () => {
  const base62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
  fc.assert(
    fc.property(secrets, fc.integer({ min: 10, max: 58 }), fc.nat(61), ({ secret }, place, character) => {
      const typo = `${secret.slice(0, place)}${base62[character]}${secret.slice(place + 1)}`
      assert.equal(parseSecret(typo).kind, typo === secret ? 'key' : 'mistyped')
    }),
  )
})

test('what is no key of MESH is foreign, not mistyped', () => {
  for (const text of ['', 'sk-abc', 'mesh_admin_abc', 'MESH_LIVE_abc', 'mesh_lives_abc', ' mesh_live_abc']) {
    assert.deepEqual(parseSecret(text), { kind: 'foreign' }, text)
  }
  for (const text of ['mesh_live_', 'mesh_test_abc'])
    assert.deepEqual(parseSecret(text), { kind: 'mistyped' }, text)
})
