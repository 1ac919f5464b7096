import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { countTokens, cutToTokens, repeatToTokens, splitIntoPieces } from './tokens.ts'

const text = fc.string({ unit: 'grapheme', maxLength: 200 })

test('a cut text is a start of the text, within its bound, and splits no character', () => {
  fc.assert(
    fc.property(text, fc.nat(60), (whole, tokens) => {
      const cut = cutToTokens(whole, tokens)
      assert.ok(whole.startsWith(cut))
      assert.ok(countTokens(cut) <= tokens)
      assert.ok(cut.isWellFormed())
      if (cut !== whole) assert.equal(countTokens(cut), tokens)
    }),
  )
})

test('the pieces of a text join to the text, and their tokens sum up to its tokens', () => {
  fc.assert(
    fc.property(text, fc.nat(), (whole, seed) => {
      const pieces = [...splitIntoPieces(whole, (bound) => seed % bound)]
      assert.equal(pieces.map((piece) => piece.text).join(''), whole)
      assert.equal(
        pieces.reduce((sum, piece) => sum + piece.tokens, 0),
        countTokens(whole),
      )
      assert.ok(pieces.every((piece) => piece.text.isWellFormed()))
    }),
  )
})

test('a repeated sentence has exactly the tokens that were asked for', () => {
  for (const tokens of [0, 1, 7, 200]) assert.equal(countTokens(repeatToTokens('word ', tokens)), tokens)
})
