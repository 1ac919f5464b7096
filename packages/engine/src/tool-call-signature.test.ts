import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { readSignedId, withSignature } from './tool-call-signature.ts'

test('a signature comes back out of the id as it went in, and the id holds no other characters', () => {
  const bytes = fc.uint8Array({ minLength: 1, maxLength: 5_000 })
  const plainId = fc.stringMatching(/^[a-zA-Z0-9.:-]{1,64}$/)
  fc.assert(
    fc.property(plainId, bytes, (id, signed) => {
      const signature = Buffer.from(signed).toString('base64')
      const given = withSignature(id, signature)
      assert.match(given, /^[a-zA-Z0-9_.:-]+$/)
      assert.deepEqual(readSignedId(given), { id, signature })
    }),
  )
})

test('an id that another gateway made is understood, in either alphabet and with its padding', () => {
  const made = 'call_9f__thought__EpwI+/kI=='
  assert.deepEqual(readSignedId(made), { id: 'call_9f', signature: 'EpwI+/kI' })
  assert.deepEqual(readSignedId('call_9f__thought__EpwI-_k'), { id: 'call_9f', signature: 'EpwI+/k=' })
})

test('what is no signature stays out of the id, and what is none behind an id stays in it', () => {
  for (const signature of [undefined, '', 'no base64!', 'x'.repeat(40_000)]) {
    assert.equal(withSignature('call_1', signature), 'call_1')
  }
  for (const id of ['call_1', 'call__thought__', '__thought__abc', 'call__thought__no base64']) {
    assert.deepEqual(readSignedId(id), { id })
  }
})
