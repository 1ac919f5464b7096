import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { testAsk } from '../test/endpoints.ts'
import type { EmbedTask, RankTask } from './ask.ts'
import { ExpectedAnswer } from './expected-answer.ts'
import type { StreamEvent, Vector } from './stream-event.ts'

const vector = (index: number, value: Vector): StreamEvent => ({ type: 'vector', index, vector: value })
const score = (index: number): StreamEvent => ({ type: 'score', index, score: 0.5 })
const text: StreamEvent = { type: 'text', choice: 0, text: 'x' }

const expecting = (task: EmbedTask | RankTask) => new ExpectedAnswer(testAsk({ task, messages: [] }), 1)
const EMBED: EmbedTask = { type: 'embed', inputs: ['a', 'b'], encoding: 'float' }
const RANK: RankTask = { type: 'rank', query: 'q', documents: ['a', 'b', 'c'], returnDocuments: false }

test('every input has its one vector, and all have one length', () => {
  const expected = expecting(EMBED)
  assert.deepEqual(expected.incomplete?.reason, 'empty')
  assert.ok(expected.takes(vector(1, [1, 2])))
  assert.equal(expected.incomplete?.reason, 'malformed')
  assert.ok(!expected.takes(vector(1, [1, 2])), 'twice')
  assert.ok(!expected.takes(vector(2, [1, 2])), 'of no input')
  assert.ok(!expected.takes(vector(0, [1, 2, 3])), 'of another length')
  assert.ok(expected.takes(vector(0, [3, 4])))
  assert.equal(expected.incomplete, undefined)
})

test('vectors are as long as was asked for, packed or not', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 50 }), fc.integer({ min: 1, max: 50 }), (asked, made) => {
      const packed = Buffer.alloc(made * 4, 1).toString('base64')
      for (const value of [packed, Array.from({ length: made }, () => 1)]) {
        const expected = expecting({ ...EMBED, dimensions: asked })
        assert.equal(expected.takes(vector(0, value)), asked === made)
      }
    }),
  )
})

test('as many documents have a score as are wanted', () => {
  const best = expecting({ ...RANK, resultsMax: 2 })
  assert.ok(best.takes(score(2)) && best.takes(score(0)))
  assert.equal(best.incomplete, undefined)
  const all = expecting({ ...RANK, resultsMax: 9 })
  for (const index of [0, 1]) assert.ok(all.takes(score(index)))
  assert.equal(all.incomplete?.reason, 'malformed')
  for (const index of [-1, 0.5, 3, 1]) assert.ok(!all.takes(score(index)))
})

test('a conversation has no vectors, and a task no text', () => {
  const chat = new ExpectedAnswer(testAsk(), 1)
  assert.ok(chat.takes(text))
  assert.ok(!chat.takes({ ...text, choice: 1 }))
  assert.ok(!chat.takes(vector(0, [1])) && !chat.takes(score(0)))
  assert.equal(chat.incomplete, undefined)
  assert.ok(!expecting(EMBED).takes(text) && !expecting(EMBED).takes(score(0)))
  assert.ok(!expecting(RANK).takes(vector(0, [1])))
  assert.ok(expecting(RANK).takes({ type: 'end' }))
})
