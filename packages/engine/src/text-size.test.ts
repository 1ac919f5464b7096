import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { sizeOf, utf8Length } from './text-size.ts'

const byteLength = (text: string): number => new TextEncoder().encode(text).length
/** Any UTF-16 at all, and what composing changes more often than chance would. */
const anyText = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.array(fc.nat(0xffff)).map((units) => String.fromCharCode(...units)),
  fc
    .array(
      fc.constantFrom(
        'e',
        'é',
        '\u{1E0B}',
        '\u0323',
        '\u0301',
        '\u0344',
        '\u{1D160}',
        '각',
        '\u{FB2C}',
        'ΐ',
        '😀',
      ),
    )
    .map((characters) => characters.join('')),
)

test('the length of a text is that of its bytes', () => {
  fc.assert(
    fc.property(anyText, fc.nat(200), (text, times) => {
      assert.equal(utf8Length(text), byteLength(text))
      const long = text.repeat(times)
      assert.equal(sizeOf(long).bytes, byteLength(long))
    }),
  )
})

test('no text is longer, composed or not, than it can be at most', () => {
  fc.assert(
    fc.property(anyText, (text) => {
      const most = sizeOf(text).composedBytesMax
      assert.ok(most >= byteLength(text))
      assert.ok(most >= byteLength(text.normalize('NFC')))
    }),
  )
  for (let point = 0; point < 0x3_0000; point++) {
    const text = String.fromCodePoint(point)
    assert.ok(sizeOf(text).composedBytesMax >= byteLength(text.normalize('NFC')), point.toString(16))
  }
})

test('plain text is not held to be longer than it is', () => {
  for (const text of ['Hello, world', '語言', '안녕하세요', '😀🎉', 'Привет', 'ภาษาไทย']) {
    assert.equal(sizeOf(text).composedBytesMax, byteLength(text))
  }
})

test('a long run of combining marks takes no more time than its length', () => {
  const startMs = performance.now()
  sizeOf(`a${'\u0301\u0316'.repeat(1_000_000)}`)
  // To compose it takes minutes.
  assert.ok(performance.now() - startMs < 5_000)
})
