import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { testAsk } from '../test/endpoints.ts'
import type { Ask } from './ask.ts'
import { textsOf } from './ask-text.ts'
import { boundInput } from './input-bound.ts'

const text = fc.string({ unit: 'binary' })
const part = text.map((value) => ({ type: 'text' as const, text: value }))
const messages: fc.Arbitrary<Ask['messages']> = fc.array(
  fc.oneof(
    fc.record({ role: fc.constant('system' as const), parts: fc.array(part) }),
    fc.record({ role: fc.constant('user' as const), parts: fc.array(part), name: text }),
    fc.record({ role: fc.constant('tool' as const), toolCallId: text, parts: fc.array(part) }),
    fc.record({
      role: fc.constant('assistant' as const),
      parts: fc.array(part),
      refusal: text,
      reasoning: fc.array(fc.record({ text, signature: text })),
      toolCalls: fc.array(fc.record({ id: text, name: text, arguments: text })),
    }),
  ),
  { maxLength: 5 },
)
const asks: fc.Arbitrary<Ask> = fc.oneof(
  fc
    .record({
      messages,
      tools: fc.array(
        fc.record({ name: text, description: text, parameters: fc.constant({ type: 'object' }) }),
      ),
      responseFormat: fc.constant({ type: 'json_schema' as const, name: 'x', schema: { type: 'object' } }),
    })
    .map((additions) => testAsk(additions)),
  fc
    .record({ query: text, documents: fc.array(text) })
    .map((task) => testAsk({ messages: [], task: { type: 'rank', ...task, returnDocuments: false } })),
  fc
    .array(text)
    .map((inputs) => testAsk({ messages: [], task: { type: 'embed', inputs, encoding: 'float' } })),
)

test('the texts of an ask are those whose bytes its bound counts', () => {
  fc.assert(
    fc.property(asks, (ask) => {
      const bytes = textsOf(ask).reduce((sum, each) => sum + Buffer.byteLength(each), 0)
      assert.equal(bytes, boundInput(ask).textBytes)
    }),
  )
})
