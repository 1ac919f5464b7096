import assert from 'node:assert/strict'
import { test } from 'node:test'
import { policySchema } from './policy.ts'

test('a policy that could never be kept is refused', () => {
  const faultOf = (policy: unknown): string | undefined =>
    policySchema.safeParse(policy).error?.issues[0]?.path.join('.')
  assert.equal(faultOf({}), undefined)
  assert.equal(faultOf({ calls: { bodyBytesMax: 10, bodyBytesAtOnceMax: 10 } }), undefined)
  assert.equal(faultOf({ calls: { bodyBytesMax: 11, bodyBytesAtOnceMax: 10 } }), 'calls.bodyBytesAtOnceMax')
  assert.equal(faultOf({ testWorld: { demoCreditUsd: '1000000000' } }), undefined)
  assert.equal(faultOf({ testWorld: { demoCreditUsd: '1000000000.01' } }), 'testWorld.demoCreditUsd')
})
