import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { DEFAULT_ANSWER_BOUNDS } from './protocol.ts'
import { sseParser } from './sse.ts'

const { eventCharactersMax } = DEFAULT_ANSWER_BOUNDS

const encoder = new TextEncoder()

function parse(bytes: Uint8Array, cuts: readonly number[] = [], charactersMax = eventCharactersMax) {
  const parser = sseParser(charactersMax)
  const events: [string, string][] = []
  const places = cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b)
  let start = 0
  let state = 'ok'
  for (const place of [...places, bytes.length]) {
    state = parser.push(bytes.subarray(start, place), (name, data) => events.push([name, data]))
    start = place
  }
  parser.end((name, data) => events.push([name, data]))
  return { events, state }
}

const CASES: readonly {
  readonly name: string
  readonly text: string
  readonly events: [string, string][]
}[] = [
  {
    name: 'line feeds',
    text: 'data: a\n\ndata: b\n\n',
    events: [
      ['', 'a'],
      ['', 'b'],
    ],
  },
  { name: 'CRLF', text: 'event: x\r\ndata: a\r\n\r\n', events: [['x', 'a']] },
  {
    name: 'lone CR',
    text: 'data: a\r\rdata: b\r\r',
    events: [
      ['', 'a'],
      ['', 'b'],
    ],
  },
  {
    name: 'mixed ends',
    text: 'data: a\r\n\ndata: b\n\r\ndata: c\r\r\n',
    events: [
      ['', 'a'],
      ['', 'b'],
      ['', 'c'],
    ],
  },
  { name: 'several data lines', text: 'data: a\ndata:b\ndata:  c\n\n', events: [['', 'a\nb\n c']] },
  { name: 'comments', text: ': hello\n\n:\ndata: a\n: in between\n\n', events: [['', 'a']] },
  { name: 'unknown fields', text: 'id: 1\nretry: 5\nwhat\ndata: a\n\n', events: [['', 'a']] },
  { name: 'a name without data', text: 'event: x\n\ndata: a\n\n', events: [['', 'a']] },
  {
    name: 'a name counts for one event',
    text: 'event: x\ndata: a\n\ndata: b\n\n',
    events: [
      ['x', 'a'],
      ['', 'b'],
    ],
  },
  { name: 'a byte order mark', text: '\ufeffdata: a\n\n', events: [['', 'a']] },
  {
    name: 'no blank line at the end',
    text: 'data: a\n\ndata: [DONE]',
    events: [
      ['', 'a'],
      ['', '[DONE]'],
    ],
  },
  { name: 'empty data', text: 'data:\n\n', events: [['', '']] },
  { name: 'characters of all lengths', text: 'data: aé漢😀\n\n', events: [['', 'aé漢😀']] },
]

for (const { name, text, events } of CASES) {
  test(`events are read the same wherever the bytes are cut: ${name}`, () => {
    const bytes = encoder.encode(text)
    assert.deepEqual(parse(bytes).events, events)
    const everywhere = bytes.length > 1 ? Array.from(bytes, (_byte, index) => index) : []
    assert.deepEqual(parse(bytes, everywhere).events, events)
    for (let cut = 0; cut <= bytes.length; cut += 1) assert.deepEqual(parse(bytes, [cut]).events, events)
  })
}

test('any text is read the same wherever the bytes are cut', () => {
  const line = fc.oneof(
    fc.constantFrom('', 'data: x', 'data:', 'event: y', ': z', 'data: é漢😀', ' data: no', 'data'),
    fc.string({ unit: 'grapheme', maxLength: 12 }),
  )
  const text = fc
    .array(fc.tuple(line, fc.constantFrom('\n', '\r', '\r\n')), { maxLength: 20 })
    .map((lines) => lines.map((pair) => pair.join('')).join(''))
  fc.assert(
    fc.property(text, fc.array(fc.nat(), { maxLength: 30 }), (wire, cuts) => {
      const bytes = encoder.encode(wire)
      assert.deepEqual(parse(bytes, cuts), parse(bytes))
    }),
  )
})

test('an event beyond its bound is refused wherever the bytes are cut, one within it is not', () => {
  const fits = encoder.encode(`data: ${'x'.repeat(94)}\n\ndata: y\n\n`)
  const tooLong = encoder.encode(`data: ${'x'.repeat(95)}\n\ndata: y\n\n`)
  const inTwoLines = encoder.encode(`data: ${'x'.repeat(50)}\ndata: ${'x'.repeat(50)}\n\n`)
  for (let cut = 0; cut < fits.length; cut += 1) {
    assert.equal(parse(fits, [cut], 100).state, 'ok')
    assert.deepEqual(parse(tooLong, [cut], 100), { events: [], state: 'oversized' })
    assert.equal(parse(inTwoLines, [cut], 100).state, 'oversized')
  }
})

test('comments never add up to an event that is too large', () => {
  const wire = encoder.encode(': keep-alive\n'.repeat(100))
  assert.equal(parse(wire, [7, 500], 50).state, 'ok')
})

test('a large event in many small pieces takes time in proportion to its size', () => {
  const parser = sseParser(eventCharactersMax)
  const piece = encoder.encode('x'.repeat(64))
  let length = 0
  parser.push(encoder.encode('data: '), () => {})
  // 64,000 pieces of one line: 4 MB, which a parser that searches its tail again and again reads 64,000 times.
  for (let count = 0; count < 64_000; count += 1) parser.push(piece, () => {})
  parser.push(encoder.encode('\n\n'), (_name, data) => {
    length = data.length
  })
  assert.equal(length, 64 * 64_000)
})
