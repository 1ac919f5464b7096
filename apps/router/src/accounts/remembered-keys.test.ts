import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { AccountId } from '../ids.ts'
import type { KeyState } from './caller.ts'
import { type ReadKey, RememberedKeys } from './remembered-keys.ts'

/** As much of a key as the memory looks at. */
function keyOf(accountId: AccountId): ReadKey {
  return { state: { caller: { account: { id: accountId } }, revoked: false } as KeyState, readAtMs: 0 }
}

test('those who ask at the same time share one reading, and the next one needs none', async () => {
  const keys = new RememberedKeys(10)
  let readings = 0
  const read = async () => {
    readings++
    return keyOf('acct_1')
  }
  const [one, other] = await Promise.all([keys.readOnce('a', read), keys.readOnce('a', read)])
  assert.equal(one, other)
  assert.equal(keys.get('a'), one)
  assert.equal(readings, 1)
})

test('what was read before an eviction is not remembered after it', async () => {
  const keys = new RememberedKeys(10)
  const { promise, resolve } = Promise.withResolvers<ReadKey>()
  const early = keys.readOnce('a', () => promise)
  keys.evict('acct_1')
  const late = keys.readOnce('a', async () => keyOf('acct_1'))
  resolve(keyOf('acct_1'))
  await early
  assert.equal(keys.get('a'), await late)
})

test('an eviction forgets one account, or all', async () => {
  const keys = new RememberedKeys(10)
  await keys.readOnce('a', async () => keyOf('acct_1'))
  await keys.readOnce('b', async () => keyOf('acct_2'))
  keys.evict('acct_1')
  assert.equal(keys.get('a'), undefined)
  assert.ok(keys.get('b'))
  keys.evictAll()
  assert.equal(keys.get('b'), undefined)
})

test('the key used longest ago is forgotten first, and a failed reading is not remembered', async () => {
  const keys = new RememberedKeys(2)
  await keys.readOnce('a', async () => keyOf('acct_1'))
  await keys.readOnce('b', async () => keyOf('acct_1'))
  keys.get('a')
  await keys.readOnce('c', async () => keyOf('acct_1'))
  assert.equal(keys.get('b'), undefined)
  assert.ok(keys.get('a') && keys.get('c'))
  await assert.rejects(
    keys.readOnce('d', async () => {
      throw new Error('no database')
    }),
  )
  assert.ok(await keys.readOnce('d', async () => keyOf('acct_1')))
})
