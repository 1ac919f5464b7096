import assert from 'node:assert/strict'
import { test } from 'node:test'
import { deserialize, serialize } from 'node:v8'
import { Sensitive } from '../sensitive.ts'
import { pack, unpack } from './packing.ts'

/** As Node sends messages between processes with `serialization: 'advanced'`. */
function sent(value: unknown): unknown {
  return unpack(deserialize(serialize(pack(value))))
}

test('plain data arrives as it was, and what is sensitive stays so on the other side', () => {
  const order = {
    port: 0,
    credit: 10_000_000_000n,
    absent: undefined,
    bytes: Buffer.from([1, 2]),
    at: new Date(0),
    names: ['a', 'b'],
    origins: new Map([['openai', 'http://127.0.0.1']]),
  }
  assert.deepEqual(sent(order), order)

  const arrived = sent({
    key: new Sensitive('secret'),
    credentials: new Map([['openai', new Sensitive({ url: 'secret' })]]),
  }) as { key: Sensitive<string>; credentials: Map<string, Sensitive<{ url: string }>> }
  assert.ok(arrived.key instanceof Sensitive)
  assert.equal(arrived.key.reveal(), 'secret')
  assert.deepEqual(arrived.credentials.get('openai')?.reveal(), { url: 'secret' })
  assert.ok(!JSON.stringify([arrived.key, [...arrived.credentials.values()]]).includes('secret'))
})
