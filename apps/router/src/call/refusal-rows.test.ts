import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type KeyId, newId } from '../ids.ts'
import { systemSeams } from '../seams.ts'
import { RefusalRows } from './refusal-rows.ts'

test('each key leaves a bounded number of rows a minute, and all keys together do', () => {
  let nowMs = 59_999
  const rows = new RefusalRows({ monotonic: () => nowMs })
  const taken = (keyId: KeyId, times: number): number =>
    Array.from({ length: times }, () => rows.take(keyId)).filter(Boolean).length
  const keys = Array.from({ length: 10_001 }, (): KeyId => newId('key', systemSeams))
  const [one, two] = keys
  assert.ok(one && two)
  assert.deepEqual([taken(one, 100), taken(two, 59), taken(two, 2)], [60, 59, 1])
  nowMs = 60_000
  assert.equal(taken(one, 100), 60)
  assert.equal(
    keys.filter((key) => rows.take(key)).length,
    9_999,
    'all but the first, which is used up, and the last',
  )
  nowMs = 120_000
  assert.equal(taken(one, 1), 1)
})
