import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ModelId } from '@mesh/catalog/catalog.ts'
import fc from 'fast-check'
import type { Ask, Message } from './ask.ts'
import { boundInput, inputTokensMax } from './input-bound.ts'

function ask(change: Partial<Ask> = {}): Ask {
  return {
    messages: [],
    tools: [],
    stop: [],
    choices: 1,
    extras: {},
    stream: false,
    usageChunk: false,
    ...change,
  }
}

const user = (text: string): Message => ({ role: 'user', parts: [{ type: 'text', text }] })
const endpoint = (model: ModelId, contextTokens = 200_000): { model: ModelId; contextTokens: number } => ({
  model,
  contextTokens,
})
const empty = boundInput(ask()).textTokens
const EMPTY = { textTokens: 0, textBytes: 0, messages: 0, images: 0, files: 0, audioSeconds: 0 }

test('a text counts at least its UTF-8 bytes, and a message at least eight tokens more', () => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: 'binary' }), { maxLength: 5 }), (texts) => {
      const bytes = texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0)
      const bound = boundInput(ask({ messages: texts.map(user) }))
      assert.ok(bound.textTokens >= empty + bytes + 8 * texts.length)
    }),
  )
})

test('a text that grows when it is composed counts as grown', () => {
  const text = '\u{1D160}'.repeat(100)
  assert.equal(Buffer.byteLength(text), 400)
  assert.ok(boundInput(ask({ messages: [user(text)] })).textTokens >= empty + 1_200)
})

test('everything that goes upstream counts', () => {
  const x = 'x'.repeat(1_000)
  const base: Extract<Message, { role: 'assistant' }> = {
    role: 'assistant',
    parts: [],
    toolCalls: [],
    reasoning: [],
  }
  const asks: readonly Partial<Ask>[] = [
    { messages: [{ role: 'system', parts: [{ type: 'text', text: x }] }] },
    { messages: [{ role: 'user', parts: [], name: x }] },
    { messages: [{ role: 'tool', toolCallId: 'a', parts: [{ type: 'text', text: x }] }] },
    { messages: [{ role: 'tool', toolCallId: x, parts: [] }] },
    { messages: [{ ...base, parts: [{ type: 'text', text: x }] }] },
    { messages: [{ ...base, refusal: x }] },
    { messages: [{ ...base, reasoning: [{ text: x }] }] },
    { messages: [{ ...base, reasoning: [{ text: '', signature: x }] }] },
    { messages: [{ ...base, reasoning: [{ text: '', redacted: x }] }] },
    { messages: [{ ...base, toolCalls: [{ id: x, name: 'a', arguments: '' }] }] },
    { messages: [{ ...base, toolCalls: [{ id: 'a', name: x, arguments: '' }] }] },
    { messages: [{ ...base, toolCalls: [{ id: 'a', name: 'a', arguments: x }] }] },
    { tools: [{ name: x }] },
    { tools: [{ name: 'a', description: x }] },
    { tools: [{ name: 'a', parameters: { description: x } }] },
    { responseFormat: { type: 'json_schema', name: 'a', schema: { description: x } } },
    { responseFormat: { type: 'json_schema', name: 'a', description: x, schema: {} } },
    {
      messages: [
        {
          role: 'user',
          parts: [{ type: 'file', source: { kind: 'base64', mediaType: 'a/b', base64: '' }, filename: x }],
        },
      ],
    },
  ]
  for (const change of asks) {
    assert.ok(boundInput(ask(change)).textTokens >= empty + 1_000, JSON.stringify(change).slice(0, 60))
  }
})

test('images, files and audio are counted apart from text', () => {
  const source = { kind: 'base64', mediaType: 'image/png', base64: 'A'.repeat(4_000) } as const
  const bound = boundInput(
    ask({
      messages: [
        {
          role: 'user',
          parts: [
            { type: 'image', source },
            { type: 'image', source },
            { type: 'file', source },
            { type: 'audio', format: 'mp3', base64: source.base64 },
          ],
        },
      ],
    }),
  )
  assert.deepEqual(
    { ...bound, textTokens: 0 },
    { ...EMPTY, messages: 1, images: 2, files: 1, audioSeconds: 3 },
  )
  assert.ok(bound.textTokens < empty + 100)
})

test('an image costs its model’s published maximum, and the window where there is none', () => {
  const bound = { ...EMPTY, textTokens: 1_000, images: 2 }
  assert.equal(inputTokensMax(bound, endpoint('mesh/claude-sonnet-4.5')), 1_000 + 2 * 4_784)
  assert.equal(inputTokensMax(bound, endpoint('mesh/gpt-4o-mini')), 1_000 + 2 * 48_169)
  assert.equal(inputTokensMax(bound, endpoint('mesh/llama-4-scout')), 200_000)
  assert.equal(inputTokensMax({ ...bound, images: 0 }, endpoint('mesh/llama-4-scout')), 1_000)
  assert.equal(inputTokensMax(bound, endpoint('mesh/gemini-3.5-flash')), 1_000 + 2 * 2_240)
})

test('documents and audio are bounded by the context window, and so is everything', () => {
  const none = { ...EMPTY, textTokens: 1_000 }
  const model = endpoint('mesh/claude-sonnet-4.5')
  assert.equal(inputTokensMax({ ...none, files: 1 }, model), 200_000)
  assert.equal(inputTokensMax({ ...none, audioSeconds: 1 }, model), 200_000)
  assert.equal(inputTokensMax({ ...none, textTokens: 900_000 }, model), 200_000)
  assert.equal(inputTokensMax({ ...none, images: 200 }, model), 200_000)
})

test('plain sizes are those of the text alone, and JSON counts once', () => {
  const bound = boundInput(
    ask({ messages: [user('héllo'), user('')], tools: [{ name: 'look', parameters: { type: 'object' } }] }),
  )
  assert.deepEqual([bound.textBytes, bound.messages], [6 + 4 + '{"type":"object"}'.length, 2])
})

test('each text of a task has a context of its own', () => {
  const text = 'x'.repeat(1_000)
  const bound = boundInput(ask({ task: { type: 'embed', inputs: [text, text, text], encoding: 'float' } }))
  assert.ok(bound.textTokens >= 3_000)
  assert.equal(bound.contexts, 3)
  assert.equal(inputTokensMax(bound, endpoint('mesh/embed', 500)), 1_500)
  assert.equal(inputTokensMax(bound, endpoint('mesh/embed', 8_000)), bound.textTokens)
})

test('a text that comes as tokens has no more of them', () => {
  const bound = boundInput(ask({ task: { type: 'embed', inputs: [[1, 2, 3], [4]], encoding: 'float' } }))
  const frame = boundInput(ask({ task: { type: 'embed', inputs: [[], []], encoding: 'float' } }))
  assert.equal(bound.textTokens - frame.textTokens, 4)
})

test('a query is read anew with every document', () => {
  const bytes = fc.array(fc.string({ unit: 'binary' }), { minLength: 1, maxLength: 5 })
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), bytes, (query, documents) => {
      const pairs = documents.map((document) => Buffer.byteLength(query) + Buffer.byteLength(document))
      const bound = boundInput(ask({ task: { type: 'rank', query, documents, returnDocuments: false } }))
      assert.ok(bound.textTokens >= pairs.reduce((sum, pair) => sum + pair, 0))
      assert.equal(bound.contexts, documents.length)
    }),
  )
})
