import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { decodeInPieces } from '../test/decode-in-pieces.ts'
import { DEFAULT_ANSWER_BOUNDS } from './protocol.ts'
import { anthropicMessages } from './protocols/anthropic-messages.ts'
import { openaiChat } from './protocols/openai-chat.ts'
import { RepeatedMessage } from './repeated-message.ts'
import type { StreamEvent } from './stream-event.ts'

/** One message of a stream, in the ways in which they differ from each other. */
const chunk = (delta: object, more: object = {}, choice: object = {}) =>
  `data: ${JSON.stringify({ id: 'c', created: 1, model: 'm', choices: [{ index: 0, delta, finish_reason: null, ...choice }], ...more })}\n\n`

const texts = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 6 }),
  fc.constantFrom(
    '',
    'a',
    'probe',
    '"',
    '\\',
    '\n',
    '{"x":1}',
    'content',
    'm',
    'c',
    '\u2028',
    '🌞',
    '","x":"',
  ),
)
const chatMessages = fc.oneof(
  { weight: 8, arbitrary: texts.map((content) => chunk({ content })) },
  { weight: 2, arbitrary: texts.map((reasoning_content) => chunk({ content: null, reasoning_content })) },
  fc.tuple(texts, fc.nat({ max: 2 })).map(([content, index]) => chunk({ content }, {}, { index })),
  fc.tuple(texts, fc.nat({ max: 2 })).map(([content, created]) => chunk({ content }, { created })),
  texts.map((content) => chunk({ content, refusal: content })),
  texts.map((content) => chunk({ content }, { usage: { prompt_tokens: 1, completion_tokens: 1 } })),
  texts.map((content) =>
    chunk({ content }, {}, { logprobs: { content: [{ token: content, logprob: -1 }] } }),
  ),
  texts.map((content) => chunk({ content }, {}, { finish_reason: 'stop' })),
  texts.map((content) => `data: {"choices":[{"delta":{"content": "${escaped(content)}"}}]}\n\n`),
  fc.constantFrom(
    ': comment\n\n',
    'event: error\ndata: {}\n\n',
    'data: {"error":{"message":"x"}}\n\n',
    'data: {\n\n',
  ),
)
const anthropicMessage = fc.oneof(
  { weight: 8, arbitrary: texts.map((text) => delta(0, { type: 'text_delta', text })) },
  texts.map((text) => delta(1, { type: 'text_delta', text })),
  texts.map((thinking) => delta(0, { type: 'thinking_delta', thinking })),
  texts.map((text) => named('content_block_start', { index: 0, content_block: { type: 'text', text } })),
  texts.map((signature) => delta(0, { type: 'signature_delta', signature })),
  fc.constantFrom(
    named('content_block_start', {
      index: 0,
      content_block: { type: 'thinking', thinking: '', signature: '' },
    }),
    named('content_block_start', { index: 0, content_block: { type: 'server_tool_use' } }),
    named('content_block_stop', { index: 0 }),
    named('ping', {}),
  ),
)

function escaped(text: string): string {
  return [...text].map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`).join('')
}

function named(type: string, more: object): string {
  return `event: ${type}\ndata: ${JSON.stringify({ type, ...more })}\n\n`
}

function delta(index: number, piece: object): string {
  return named('content_block_delta', { index, delta: piece })
}

/**
 * The same stream with a comment of its own in each message, as a field that nobody reads: no two messages are alike
 * then, and every one of them is read in full.
 */
function withoutRepetition(stream: readonly string[]): string {
  return stream
    .map((message, index) => message.replace('data: {', `data: {"_":${index},`).replace(',}', '}'))
    .join('')
}

for (const [name, protocol, messages] of [
  ['chat', openaiChat, chatMessages],
  ['messages', anthropicMessages, anthropicMessage],
] as const) {
  test(`${name}: a message that repeats the one before says what it says when it is read in full`, () => {
    const decode = (stream: string, cuts: readonly number[] = []): readonly StreamEvent[] =>
      decodeInPieces(protocol.decoder(DEFAULT_ANSWER_BOUNDS), stream, cuts)
    fc.assert(
      fc.property(fc.array(messages, { maxLength: 30 }), fc.array(fc.nat()), (stream, cuts) => {
        assert.deepEqual(decode(stream.join(''), cuts), decode(withoutRepetition(stream)))
      }),
      { numRuns: 1_000 },
    )
  })
}

const said = (text: string): readonly StreamEvent[] => [{ type: 'text', choice: 0, text }]
const readAgain = (data: string): readonly StreamEvent[] => said(JSON.parse(data).t)

test('the second of two messages that differ in their text is not read, nor are those that follow it', () => {
  const repeated = new RepeatedMessage()
  assert.equal(repeated.read('', '{"t":"one"}'), undefined)
  repeated.learn('', '{"t":"one"}', said('one'), readAgain)
  for (const text of ['two', 'probe', 'é🌞']) {
    assert.deepEqual(repeated.read('', JSON.stringify({ t: text })), { type: 'text', choice: 0, text })
  }
  for (const other of ['{"t":"two\\n"}', '{"t":""}', '{"t":"a","u":"b"}', '{"u":"two"}']) {
    assert.equal(repeated.read('', other), undefined, other)
  }
  assert.equal(repeated.read('error', '{"t":"two"}'), undefined)
  // A text with escapes is read in full, and the frame is still known.
  repeated.learn('', '{"t":"two\\n"}', said('two\n'), () => assert.fail('it is not learned again'))
  assert.deepEqual(repeated.read('', '{"t":"x"}'), { type: 'text', choice: 0, text: 'x' })
  // Anything else forgets it.
  repeated.learn('', '{"usage":1}', [], readAgain)
  assert.equal(repeated.read('', '{"t":"x"}'), undefined)
})

test('what looks like the text is not taken for it', () => {
  const repeated = new RepeatedMessage()
  repeated.learn('', '{"model":"one","t":"one"}', said('one'), readAgain)
  assert.equal(repeated.read('', '{"model":"two","t":"one"}'), undefined)
})

test('a stream whose messages never repeat is learned from no more than a few times', () => {
  const repeated = new RepeatedMessage()
  let read = 0
  for (let at = 0; at < 100; at++) {
    const data = `{"n":${at},"t":"one"}`
    assert.equal(repeated.read('', data), undefined)
    repeated.learn('', data, said('one'), (another) => {
      read += 1
      return readAgain(another)
    })
  }
  assert.ok(read < 10)
})
