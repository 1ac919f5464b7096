import assert from 'node:assert/strict'
import { test } from 'node:test'
import { crc32 as zlibCrc32 } from 'node:zlib'
import fc from 'fast-check'
import { awsMessage, checksum } from '../test/aws-messages.ts'
import { eventStreamParser } from './aws-event-stream.ts'
import { crc32 } from './crc32.ts'

const BYTES_MAX = 10_000

function parse(bytes: Uint8Array, cuts: readonly number[] = [], bytesMax = BYTES_MAX) {
  const parser = eventStreamParser(bytesMax)
  const messages: { headers: Record<string, string>; payload: string }[] = []
  let state = 'ok'
  const places = [...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]
  let start = 0
  for (const place of places) {
    state = parser.push(bytes.subarray(start, place), (headers, payload) =>
      messages.push({ headers: Object.fromEntries(headers), payload: Buffer.from(payload).toString('utf8') }),
    )
    start = place
  }
  return { messages, state }
}

test('the checksum is that of zlib', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(50), (bytes, start) => {
      const from = Math.min(start, bytes.length)
      assert.equal(crc32(bytes, from, bytes.length), zlibCrc32(bytes.subarray(from)))
    }),
  )
})

test('messages come out as they were put together, however their bytes are split', () => {
  const message = fc.record(
    {
      headers: fc.dictionary(
        fc.string({ minLength: 1, maxLength: 30, unit: 'grapheme-ascii' }),
        fc.string({ maxLength: 100 }),
        { noNullPrototype: true },
      ),
      payload: fc.string({ maxLength: 300 }),
    },
    { noNullPrototype: true },
  )
  fc.assert(
    fc.property(
      fc.array(message, { maxLength: 5 }),
      fc.array(fc.nat(), { maxLength: 8 }),
      (messages, cuts) => {
        const bytes = Buffer.concat(messages.map(({ headers, payload }) => awsMessage(headers, payload)))
        assert.deepEqual(parse(bytes, cuts), { messages, state: 'ok' })
      },
    ),
  )
})

test('headers of other types are skipped, and their lengths believed', () => {
  const fixed = [
    [0, 0],
    [1, 0],
    [2, 1],
    [3, 2],
    [4, 4],
    [5, 8],
    [8, 8],
    [9, 16],
  ] as const
  const headers = Object.fromEntries(
    fixed.map(([type, bytes]) => [`h${type}`, Buffer.from([type, ...Array<number>(bytes).fill(7)])]),
  )
  const blob = Buffer.from([6, 0, 3, 1, 2, 3])
  const bytes = awsMessage({ ...headers, blob, ':event-type': 'x' }, 'payload')
  assert.deepEqual(parse(bytes), {
    messages: [{ headers: { ':event-type': 'x' }, payload: 'payload' }],
    state: 'ok',
  })
})

test('one wrong bit anywhere is malformed, and nothing comes after it', () => {
  const good = awsMessage({ ':event-type': 'x' }, '{"a":1}')
  for (let at = 0; at < good.length; at++) {
    const bad = Buffer.from(good)
    bad[at] = (bad[at] ?? 0) ^ 0x10
    assert.deepEqual(parse(Buffer.concat([bad, good])), { messages: [], state: 'malformed' }, `byte ${at}`)
  }
})

/** A message whose checksums are right though its lengths make no sense. */
function withLengths(messageBytes: number, headerBytes: number, rest = 4): Buffer {
  const lengths = Buffer.alloc(8)
  lengths.writeUInt32BE(messageBytes, 0)
  lengths.writeUInt32BE(headerBytes, 4)
  return Buffer.concat([lengths, checksum(lengths), Buffer.alloc(rest)])
}

test('a length that cannot be, or is too large, ends the stream at its prelude', () => {
  assert.equal(parse(withLengths(BYTES_MAX + 1, 0)).state, 'oversized')
  assert.equal(parse(withLengths(0xffffffff, 0)).state, 'oversized')
  assert.equal(parse(withLengths(15, 0)).state, 'malformed')
  assert.equal(parse(withLengths(100, 85)).state, 'malformed')
  assert.equal(parse(withLengths(0, 0xffffffff)).state, 'malformed')
  const twenty = awsMessage({}, 'four')
  assert.equal(parse(twenty, [], 20).state, 'ok')
  assert.equal(parse(twenty, [], 19).state, 'oversized')
})

test('headers that do not end where they should are malformed', () => {
  for (const header of [
    Buffer.from([200]),
    Buffer.from([7, 0, 200]),
    Buffer.from([7, 0]),
    Buffer.from([7]),
    Buffer.from([5, 1]),
    Buffer.from([99, 0]),
  ]) {
    assert.deepEqual(parse(awsMessage({ a: header }, '')), { messages: [], state: 'malformed' })
  }
})

test('no bytes make it throw', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), fc.array(fc.nat(), { maxLength: 5 }), (bytes, cuts) => {
      parse(bytes, cuts)
      parse(Buffer.concat([bytes, checksum(bytes)]), cuts)
    }),
  )
})
