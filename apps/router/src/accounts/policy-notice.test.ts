import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type AccountId, type KeyId, newId } from '../ids.ts'
import { systemSeams } from '../seams.ts'
import { readNotice, STOP_REASONS, writeNotices } from './policy-notice.ts'

const accountId: AccountId = newId('acct', systemSeams)

test('every key of a notice arrives with its reason, in payloads that PostgreSQL takes', () => {
  for (const count of [0, 1, 200, 201, 1_000]) {
    const keyIds: KeyId[] = Array.from({ length: count }, () => newId('key', systemSeams))
    for (const reason of STOP_REASONS) {
      const payloads = writeNotices(accountId, [{ keyIds, reason }])
      assert.ok(payloads.length >= 1)
      for (const payload of payloads) assert.ok(payload.length < 8_000)
      const notices = payloads.map(readNotice)
      assert.ok(notices.every((notice) => notice?.accountId === accountId))
      const stops = notices.flatMap((notice) => notice?.stop ?? [])
      assert.ok(stops.every((stop) => stop.reason === reason))
      assert.deepEqual(
        stops.flatMap((stop) => stop.keyIds),
        keyIds,
      )
    }
  }
  assert.deepEqual(writeNotices(accountId, []).map(readNotice), [{ accountId }])
})

test('what no router of this version sends is not read', () => {
  const payloads = [
    '',
    '{',
    '[]',
    '{"accountId":"x"}',
    '{"accountId":"acct_1","revokedKeyIds":["key_1"]}',
    '{"accountId":"acct_1","stop":{"keyIds":["key_1"],"reason":"boredom"}}',
  ]
  for (const payload of payloads) assert.equal(readNotice(payload), undefined, payload)
})
