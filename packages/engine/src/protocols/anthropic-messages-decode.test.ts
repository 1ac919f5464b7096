import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { decodeInPieces, gather } from '../../test/decode-in-pieces.ts'
import { DEFAULT_ANSWER_BOUNDS } from '../protocol.ts'
import { anthropicMessages } from './anthropic-messages.ts'

function stream(...events: readonly { type: string }[]): string {
  return events.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join('')
}

const start = (usage: object = { input_tokens: 10, output_tokens: 1 }) => ({
  type: 'message_start',
  message: { id: 'msg_1', content: [], usage },
})
const open = (index: number, content_block: object) => ({ type: 'content_block_start', index, content_block })
const delta = (index: number, piece: object) => ({ type: 'content_block_delta', index, delta: piece })
const close = (index: number) => ({ type: 'content_block_stop', index })
const finish = (stop_reason: string, usage: object = { output_tokens: 20 }) => ({
  type: 'message_delta',
  delta: { stop_reason },
  usage,
})
const finishWithoutUsage = { type: 'message_delta', delta: { stop_reason: 'end_turn' } }
const stop = { type: 'message_stop' }

function decode(answer: string, cuts: readonly number[] = []) {
  return gather(decodeInPieces(anthropicMessages.decoder(DEFAULT_ANSWER_BOUNDS), answer, cuts))
}

test('a stream with everything in it', () => {
  const answer = decode(
    stream(
      start(),
      { type: 'ping' },
      open(0, { type: 'thinking', thinking: '', signature: '' }),
      delta(0, { type: 'thinking_delta', thinking: 'hm' }),
      delta(0, { type: 'signature_delta', signature: 'si' }),
      delta(0, { type: 'signature_delta', signature: 'gn' }),
      close(0),
      open(1, { type: 'redacted_thinking', data: 'xx' }),
      close(1),
      open(2, { type: 'text', text: '' }),
      delta(2, { type: 'text_delta', text: 'Hi ' }),
      delta(2, { type: 'citations_delta', citation: {} }),
      delta(2, { type: 'text_delta', text: '😀' }),
      close(2),
      open(3, { type: 'server_tool_use', id: 'srv', name: 'web_search', input: {} }),
      delta(3, { type: 'input_json_delta', partial_json: '{"q":1}' }),
      close(3),
      open(4, { type: 'web_search_tool_result', content: [] }),
      close(4),
      open(5, { type: 'tool_use', id: 'a', name: 'f', input: {} }),
      delta(5, { type: 'input_json_delta', partial_json: '' }),
      delta(5, { type: 'input_json_delta', partial_json: '{"x"' }),
      delta(5, { type: 'input_json_delta', partial_json: ':1}' }),
      close(5),
      open(6, { type: 'tool_use', id: 'b', name: 'g', input: {} }),
      close(6),
      { type: 'something_new' },
      finish('tool_use'),
      stop,
    ),
  )
  assert.equal(answer.ended, true)
  assert.deepEqual(answer.choices, [
    {
      text: 'Hi 😀',
      refusal: '',
      reasoning: 'hm',
      signatures: ['sign'],
      redacted: ['xx'],
      calls: [
        { id: 'a', name: 'f', arguments: '{"x":1}' },
        { id: 'b', name: 'g', arguments: '{}' },
      ],
      finish: 'tool_calls',
    },
  ])
})

test("the start's output is a placeholder: without another there is none", () => {
  const { usage } = decode(stream(start(), open(0, { type: 'text', text: 'Hi' }), finishWithoutUsage, stop))
  assert.deepEqual([usage?.buckets.input, usage?.buckets.output, usage?.flags], [10, 0, ['missing']])
})

test("the end's usage wins over the start's, field by field, and keeps the split of cache writes", () => {
  const { usage } = decode(
    stream(
      start({
        input_tokens: 10,
        output_tokens: 1,
        cache_read_input_tokens: 7,
        cache_creation_input_tokens: 5,
        cache_creation: { ephemeral_5m_input_tokens: 0, ephemeral_1h_input_tokens: 5 },
      }),
      finish('end_turn', {
        input_tokens: null,
        cache_creation_input_tokens: 5,
        cache_read_input_tokens: 9,
        output_tokens: 20,
        output_tokens_details: { thinking_tokens: 4 },
      }),
      stop,
    ),
  )
  assert.deepEqual(usage?.flags, [])
  assert.deepEqual(
    { ...usage?.buckets },
    {
      input: 10,
      cacheRead: 9,
      cacheWrite5m: 0,
      cacheWrite1h: 5,
      inputAudio: 0,
      inputImage: 0,
      output: 16,
      reasoning: 4,
      outputAudio: 0,
      outputImage: 0,
    },
  )
})

const STOP_REASONS = [
  ['end_turn', 'stop'],
  ['stop_sequence', 'stop'],
  ['pause_turn', 'stop'],
  ['max_tokens', 'length'],
  ['model_context_window_exceeded', 'length'],
  ['tool_use', 'tool_calls'],
  ['refusal', 'content_filter'],
  ['something_new', 'stop'],
] as const

for (const [reason, expected] of STOP_REASONS) {
  test(`the stop reason ${reason} is ${expected}, streamed or not`, () => {
    assert.equal(decode(stream(start(), finish(reason), stop)).choices[0]?.finish, expected)
    const body = { type: 'message', content: [], stop_reason: reason, usage: {} }
    assert.equal(decode(JSON.stringify(body)).choices[0]?.finish, expected)
  })
}

test('a message in one piece', () => {
  const body = {
    type: 'message',
    content: [
      { type: 'thinking', thinking: 'hm', signature: 's' },
      { type: 'redacted_thinking', data: 'r' },
      { type: 'text', text: 'Hi' },
      { type: 'server_tool_use', id: 'x', name: 'y', input: {} },
      { type: 'tool_use', id: 'a', name: 'f', input: { x: 1 } },
      { type: 'tool_use', id: 'b', name: 'g', input: {} },
    ],
    stop_reason: 'tool_use',
    usage: { input_tokens: 1, output_tokens: 2 },
  }
  const [choice] = decode(JSON.stringify(body), [3, 50]).choices
  assert.equal(choice?.text, 'Hi')
  assert.deepEqual(choice?.signatures, ['s'])
  assert.deepEqual(choice?.redacted, ['r'])
  assert.deepEqual(choice?.calls, [
    { id: 'a', name: 'f', arguments: '{"x":1}' },
    { id: 'b', name: 'g', arguments: '{}' },
  ])
})

const error = (type: string) => ({ type: 'error', error: { type, message: 'x' } })
const content = [start(), open(0, { type: 'text', text: 'Hi' })] as const
const BROKEN: readonly (readonly [
  name: string,
  answer: string,
  outcome: string | undefined,
  reason?: string,
])[] = [
  ['overloaded first', stream(error('overloaded_error')), 'refused_unbilled', 'overloaded'],
  [
    'overloaded after the start',
    stream(start(), error('overloaded_error')),
    'refused_unbilled',
    'overloaded',
  ],
  ['overloaded after content', stream(...content, error('overloaded_error')), 'uncertain', 'overloaded'],
  ['too fast', stream(error('rate_limit_error')), 'refused_unbilled', 'rate_limited'],
  ['an internal error', stream(error('api_error')), 'uncertain', 'server_error'],
  ['a time-out', stream(error('timeout_error')), 'uncertain', 'server_error'],
  ['a bad request', stream(error('invalid_request_error')), 'request_fault', 'invalid_request'],
  ['our bill', stream(error('billing_error')), 'refused_unbilled', 'quota_exhausted'],
  [
    'an error document with 200',
    JSON.stringify(error('authentication_error')),
    'refused_unbilled',
    'credential_refused',
  ],
  ['no message_stop', stream(...content, finish('end_turn')), undefined],
  ['[DONE] instead of message_stop', `${stream(...content, finish('end_turn'))}data: [DONE]\n\n`, undefined],
  ['message_stop without a reason to stop', stream(...content, stop), 'uncertain', 'stream_cut'],
  [
    'a document without a reason to stop',
    JSON.stringify({ type: 'message', content: [{ type: 'text', text: 'a' }], stop_reason: null }),
    'uncertain',
    'stream_cut',
  ],
  ['message_stop alone', stream(stop), 'uncertain', 'empty'],
  [
    'arguments for no tool',
    stream(start(), delta(0, { type: 'input_json_delta', partial_json: '{' })),
    'uncertain',
    'malformed',
  ],
  [
    'a tool without a name',
    stream(start(), open(0, { type: 'tool_use', id: 'a' })),
    'uncertain',
    'malformed',
  ],
  ['HTML', '<html></html>', 'uncertain', 'wrong_content_type'],
  ['another document', '{"type":"list"}', 'uncertain', 'malformed'],
  ['nothing', '', 'uncertain', 'empty'],
]

for (const [name, answer, outcome, reason] of BROKEN) {
  test(`a broken message is no answer: ${name}`, () => {
    for (const cuts of [[], Array.from({ length: answer.length }, (_, at) => at)]) {
      const { ended, failure } = decode(answer, cuts)
      assert.equal(ended, false)
      assert.deepEqual([failure?.outcome, failure?.reason], [outcome, reason])
    }
  })
}

test('blocks that are opened and never closed come to an end', () => {
  const opened = Array.from({ length: 100 }, (_, index) => open(index, { type: 'text', text: '' }))
  assert.equal(decode(stream(start(), ...opened)).failure?.reason, 'malformed')
})

test('no bytes make a decoder throw, and every cut of them reads the same', () => {
  const anything = fc.constantFrom<unknown>(null, 0, -1, 1e300, '', 'x', [], {}, [{}], true, { type: 'text' })
  const event = fc.record(
    {
      type: fc.constantFrom(
        'message_start',
        'content_block_start',
        'content_block_delta',
        'content_block_stop',
        'message_delta',
        'message_stop',
        'message',
        'ping',
      ),
      index: fc.oneof(fc.nat({ max: 2 }), anything),
      message: fc.oneof(anything, fc.record({ usage: anything })),
      content_block: fc.record({
        type: fc.constantFrom('text', 'thinking', 'tool_use', 'x'),
        text: anything,
        id: anything,
        name: anything,
        input: anything,
      }),
      delta: fc.record({
        type: fc.constantFrom('text_delta', 'thinking_delta', 'signature_delta', 'input_json_delta'),
        text: anything,
        partial_json: anything,
        signature: anything,
        stop_reason: anything,
      }),
      content: fc.oneof(
        anything,
        fc.array(fc.record({ type: fc.constantFrom('text', 'tool_use'), text: anything, input: anything })),
      ),
      usage: fc.record({ input_tokens: anything, output_tokens: anything, cache_creation: anything }),
    },
    { requiredKeys: ['type'] },
  )
  const hostile = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.array(event, { maxLength: 8 }).map((events) => new TextEncoder().encode(stream(...events))),
    event.map((body) => new TextEncoder().encode(JSON.stringify(body))),
  )
  fc.assert(
    fc.property(hostile, fc.array(fc.nat(), { maxLength: 10 }), (bytes, cuts) => {
      const whole = decodeInPieces(anthropicMessages.decoder(DEFAULT_ANSWER_BOUNDS), bytes)
      assert.deepEqual(decodeInPieces(anthropicMessages.decoder(DEFAULT_ANSWER_BOUNDS), bytes, cuts), whole)
      gather(whole)
    }),
    { numRuns: 1000 },
  )
})
