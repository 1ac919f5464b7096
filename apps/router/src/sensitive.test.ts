import assert from 'node:assert/strict'
import { test } from 'node:test'
import { format, inspect } from 'node:util'
import { Sensitive } from './sensitive.ts'

test('however it is printed, only the redaction shows', () => {
  const secret = new Sensitive('CNRY-secret')
  const holder = { secret, list: [secret], map: new Map([['secret', secret]]) }
  const printed = [
    String(secret),
    `${secret}`,
    JSON.stringify(holder),
    inspect(holder, { depth: 5, showHidden: true, getters: true }),
    format('%s %o %j', secret, secret, secret),
    new Error('failed', { cause: secret }).stack ?? '',
    Object.entries(secret).join(),
    JSON.stringify(structuredClone({ ...holder, list: [], map: undefined, secret: { ...secret } })),
  ]
  for (const text of printed) assert.ok(!text.includes('CNRY'), text)
  assert.equal(secret.reveal(), 'CNRY-secret')
})
