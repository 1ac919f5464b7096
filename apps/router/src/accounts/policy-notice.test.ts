import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type AccountId, type KeyId, newId } from '../ids.ts'
import { systemSeams } from '../seams.ts'
import { readNotice, writeNotices } from './policy-notice.ts'

const accountId: AccountId = newId('acct', systemSeams)

test('every key of a notice arrives, in payloads that PostgreSQL takes', () => {
  for (const count of [0, 1, 200, 201, 1_000]) {
    const keyIds: KeyId[] = Array.from({ length: count }, () => newId('key', systemSeams))
    const payloads = writeNotices({ accountId, revokedKeyIds: keyIds })
    assert.ok(payloads.length >= 1)
    for (const payload of payloads) assert.ok(payload.length < 8_000)
    const notices = payloads.map(readNotice)
    assert.ok(notices.every((notice) => notice?.accountId === accountId))
    assert.deepEqual(
      notices.flatMap((notice) => notice?.revokedKeyIds ?? []),
      keyIds,
    )
  }
})

test('what no router of this version sends is not read', () => {
  for (const payload of ['', '{', '[]', '{"accountId":"acct_1"}', '{"accountId":"x","revokedKeyIds":[]}']) {
    assert.equal(readNotice(payload), undefined, payload)
  }
})
