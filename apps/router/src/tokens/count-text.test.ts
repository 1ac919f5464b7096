import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { countTokens } from 'gpt-tokenizer/encoding/o200k_base'
import { countText } from './count-text.ts'

const PLAIN = { disallowedSpecial: new Set<string>() }
const count = (text: string) => countTokens(text, PLAIN)
const always = () => true

test('a text of words of a usual length is counted as it is in one piece', () => {
  const word = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 40 }),
    fc.constantFrom(' ', '\n\n', '  ', '!', '.\n', "don't", '12345', '<|endoftext|>', '漢字', '😀'),
  )
  fc.assert(
    fc.property(fc.array(word, { maxLength: 200 }), (words) => {
      const text = words.join('')
      const counted = countText(text, { count, hasTime: always })
      if (counted.isExact) assert.equal(counted.tokens, count(text))
    }),
  )
  const long = 'The quick brown fox jumps over it, twice!\n  And then: home. '.repeat(2_000)
  assert.deepEqual(countText(long, { count, hasTime: always }), { tokens: count(long), isExact: true })
})

test('a run that a tokenizer would take minutes for is cut, and counted nearly', () => {
  for (const unit of ['a', ' ', '漢字仮名交じり文', '!@#$', '😀', 'é']) {
    const text = unit.repeat(100_000)
    const startedAtMs = performance.now()
    const { tokens, isExact } = countText(text, { count, hasTime: always })
    assert.ok(performance.now() - startedAtMs < 5_000, unit)
    assert.equal(isExact, false)
    const part = unit.repeat(Math.ceil(200 / unit.length))
    const expected = (count(part) / part.length) * text.length
    assert.ok(tokens > expected * 0.7 && tokens < expected * 1.5, `${unit}: ${tokens}, not ${expected}`)
  }
})

test('no character is cut in two', () => {
  const text = '😀'.repeat(1_000)
  for (const odd of ['', 'x']) {
    const pieces: string[] = []
    const take = (piece: string) => pieces.push(piece)
    countText(odd + text, { count: take, hasTime: always })
    assert.ok(pieces.every((piece) => piece.isWellFormed()))
    assert.equal(pieces.join(''), odd + text)
  }
})

test('where time runs out the rest is estimated', () => {
  const text = 'word '.repeat(100_000)
  let left = 3
  const { tokens, isExact } = countText(text, { count, hasTime: () => left-- > 0 })
  assert.equal(isExact, false)
  assert.ok(Math.abs(tokens - 100_000) < 1_000, String(tokens))
  assert.deepEqual(countText(text, { count, hasTime: () => false }), { tokens: 125_000, isExact: false })
  assert.deepEqual(countText('', { count, hasTime: () => false }), { tokens: 0, isExact: true })
})
