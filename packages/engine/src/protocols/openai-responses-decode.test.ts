import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { decodeInPieces, gather } from '../../test/decode-in-pieces.ts'
import { DEFAULT_ANSWER_BOUNDS } from '../protocol.ts'
import { openaiResponses } from './openai-responses.ts'

type Event = Readonly<Record<string, unknown>>

const USAGE = {
  input_tokens: 10,
  input_tokens_details: { cached_tokens: 4, cache_write_tokens: 3 },
  output_tokens: 9,
  output_tokens_details: { reasoning_tokens: 5 },
  total_tokens: 19,
}

function completed(output: readonly unknown[], others: Event = {}): Event {
  return {
    type: 'response.completed',
    response: {
      id: 'resp_1',
      object: 'response',
      status: 'completed',
      error: null,
      output,
      usage: USAGE,
      ...others,
    },
  }
}

function stream(events: readonly Event[]): string {
  return events.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join('')
}

function decode(answer: string, cuts: readonly number[] = []) {
  return gather(decodeInPieces(openaiResponses.decoder(DEFAULT_ANSWER_BOUNDS), answer, cuts))
}

const added = (output_index: number, item: Event): Event => ({
  type: 'response.output_item.added',
  output_index,
  item,
})
const done = (output_index: number, item: Event): Event => ({
  type: 'response.output_item.done',
  output_index,
  item,
})
const delta = (kind: string, output_index: number, text: string, others: Event = {}): Event => ({
  type: `response.${kind}.delta`,
  output_index,
  content_index: 0,
  delta: text,
  ...others,
})
const callItem = (name: string, args: string): Event => ({
  type: 'function_call',
  id: `fc_${name}`,
  call_id: `call_${name}`,
  name,
  arguments: args,
})
const message = (text: string): Event => ({
  type: 'message',
  id: 'msg_1',
  role: 'assistant',
  content: [{ type: 'output_text', text, annotations: [], logprobs: [] }],
})

test('a stream with everything in it', () => {
  const reasoning = {
    type: 'reasoning',
    id: 'rs_1',
    summary: [
      { type: 'summary_text', text: 'First.' },
      { type: 'summary_text', text: 'Then.' },
    ],
    encrypted_content: 'secret',
  }
  const events = decodeInPieces(
    openaiResponses.decoder(DEFAULT_ANSWER_BOUNDS),
    stream([
      { type: 'response.created', response: { id: 'resp_1', status: 'in_progress', output: [] } },
      added(0, { type: 'reasoning', id: 'rs_1', summary: [], encrypted_content: 'not yet' }),
      delta('reasoning_summary_text', 0, 'First.', { summary_index: 0 }),
      delta('reasoning_summary_text', 0, 'Then.', { summary_index: 1 }),
      done(0, reasoning),
      added(1, { ...message(''), content: [] }),
      delta('output_text', 1, 'Hi '),
      delta('output_text', 1, '😀'),
      done(1, message('Hi 😀')),
      added(2, callItem('look', '')),
      delta('function_call_arguments', 2, '{"a":'),
      delta('function_call_arguments', 2, '1}'),
      done(2, callItem('look', '{"a":1}')),
      completed([reasoning, message('Hi 😀'), callItem('look', '{"a":1}')]),
    ]),
  )
  assert.deepEqual(
    events.filter(({ type }) => type === 'reasoning' || type === 'reasoning-end'),
    [
      { type: 'reasoning', choice: 0, text: 'First.' },
      { type: 'reasoning-end', choice: 0 },
      { type: 'reasoning', choice: 0, text: 'Then.' },
      { type: 'reasoning-end', choice: 0, redacted: 'secret' },
    ],
  )
  const { choices, usage, ended } = gather(events)
  assert.equal(ended, true)
  assert.equal(choices[0]?.text, 'Hi 😀')
  assert.deepEqual(choices[0]?.calls, [{ id: 'call_look', name: 'look', arguments: '{"a":1}' }])
  assert.equal(choices[0]?.finish, 'tool_calls')
  assert.deepEqual(usage?.buckets, {
    input: 3,
    cacheRead: 4,
    cacheWrite5m: 3,
    cacheWrite1h: 0,
    inputAudio: 0,
    inputImage: 0,
    output: 4,
    reasoning: 5,
    outputAudio: 0,
    outputImage: 0,
  })
  assert.deepEqual(usage?.flags, [])
})

test('peer bug 17 (Bifrost#1961): calls whose pieces are interleaved are kept apart', () => {
  const answer = decode(
    stream([
      added(0, callItem('one', '')),
      added(1, callItem('two', '')),
      delta('function_call_arguments', 1, '{"b":'),
      delta('function_call_arguments', 0, '{"a":'),
      delta('function_call_arguments', 1, '2}'),
      delta('function_call_arguments', 0, '1}'),
      completed([callItem('one', '{"a":1}'), callItem('two', '{"b":2}')]),
    ]),
  )
  assert.deepEqual(answer.choices[0]?.calls, [
    { id: 'call_one', name: 'one', arguments: '{"a":1}' },
    { id: 'call_two', name: 'two', arguments: '{"b":2}' },
  ])
})

test('peer bug 17 (litellm#33678): a call is whole without any piece, and without a number', () => {
  const whole = [callItem('one', '{"a":1}'), callItem('two', '{}')]
  const expected = [
    { id: 'call_one', name: 'one', arguments: '{"a":1}' },
    { id: 'call_two', name: 'two', arguments: '{}' },
  ]
  const unnumbered = whole.map((item) => ({ type: 'response.output_item.done', item }))
  for (const events of [[], whole.map((item, index) => done(index, item)), unnumbered]) {
    assert.deepEqual(decode(stream([...events, completed(whole)])).choices[0]?.calls, expected)
  }
  // Pieces that come before their call has a name wait for it.
  const early = [
    delta('function_call_arguments', 0, '{"a"'),
    added(0, callItem('one', '')),
    done(1, callItem('two', '{}')),
    completed(whole),
  ]
  assert.deepEqual(decode(stream(early)).choices[0]?.calls, expected)
})

test('peer bug 17 (agno#8880): two items with one id are told apart by their number', () => {
  const item = (name: string) => ({ ...callItem(name, '{}'), id: 'fc_same' })
  const events = [added(0, item('one')), added(1, item('two')), completed([item('one'), item('two')])]
  assert.deepEqual(
    decode(stream(events)).choices[0]?.calls.map(({ name }) => name),
    ['one', 'two'],
  )
})

test('events that nobody has heard of are skipped, and nothing of the answer is lost with them', () => {
  const unknown = [
    { type: 'keepalive' },
    { type: 'response.new_kind_of_text.delta', output_index: 0, content_index: 0, delta: 'Hel' },
    { type: 'response.web_search_call.searching', output_index: 1, item_id: 'ws_1' },
  ]
  const answer = decode(stream([...unknown, done(0, message('Hello')), completed([message('Hello')])]))
  assert.equal(answer.choices[0]?.text, 'Hello')
  assert.equal(answer.ended, true)
  // Part of it was told in a way that is known: the rest is told once, at the end.
  const half = decode(stream([delta('output_text', 0, 'He'), ...unknown, completed([message('Hello')])]))
  assert.equal(half.choices[0]?.text, 'Hello')
  // Some close a stream with a response that has nothing in it.
  const bare = decode(stream([delta('output_text', 0, 'Hello'), completed([])]))
  assert.equal(bare.choices[0]?.text, 'Hello')
  assert.equal(bare.choices[0]?.finish, 'stop')
})

test('a refusal, and log probabilities, whole and in pieces', () => {
  const refused = { ...message(''), content: [{ type: 'refusal', refusal: 'No.' }] }
  assert.equal(decode(stream([completed([refused])])).choices[0]?.refusal, 'No.')
  const pieces = [delta('refusal', 0, 'N'), delta('refusal', 0, 'o.'), completed([refused])]
  assert.equal(decode(stream(pieces)).choices[0]?.refusal, 'No.')
  assert.equal(decode(stream(pieces)).choices[0]?.finish, 'stop')

  const token = { token: 'Hi', logprob: -0.5, bytes: [72, 105], top_logprobs: [] }
  const [event] = decodeInPieces(
    openaiResponses.decoder(DEFAULT_ANSWER_BOUNDS),
    stream([delta('output_text', 0, 'Hi', { logprobs: [{ ...token, secret: 'x' }] })]),
  )
  assert.deepEqual(event, {
    type: 'text',
    choice: 0,
    text: 'Hi',
    logprobs: { content: [token], refusal: null },
  })
})

test('how a response ends', () => {
  const cases: readonly (readonly [Event, string | undefined])[] = [
    [completed([message('Hi')]), 'stop'],
    [completed([message('Hi'), callItem('look', '{}')]), 'tool_calls'],
    [incomplete('max_output_tokens'), 'length'],
    [incomplete('content_filter'), 'content_filter'],
    [incomplete('something new'), 'length'],
  ]
  for (const [event, finish] of cases) {
    const streamed = decode(stream([event]))
    assert.equal(streamed.ended, true)
    assert.equal(streamed.choices[0]?.finish, finish)
    assert.deepEqual(decode(JSON.stringify(event.response)), streamed)
  }
})

function incomplete(reason: string): Event {
  const { response } = completed([message('Hi')], { status: 'incomplete', incomplete_details: { reason } })
  return { type: 'response.incomplete', response }
}

test('what fails is a failure, in a stream and in one piece, and says which', () => {
  const failed = (code: string) => ({
    id: 'resp_1',
    object: 'response',
    status: 'failed',
    error: { code, message: 'x' },
    output: [],
    usage: null,
  })
  const reasonOf = (answer: string) => decode(answer).failure?.reason
  assert.equal(
    reasonOf(stream([{ type: 'response.failed', response: failed('rate_limit_exceeded') }])),
    'rate_limited',
  )
  assert.equal(reasonOf(JSON.stringify(failed('server_error'))), 'server_error')
  assert.equal(
    reasonOf(stream([{ type: 'error', code: 'rate_limit_exceeded', message: 'x' }])),
    'rate_limited',
  )
  assert.equal(
    reasonOf(stream([{ type: 'error', error: { type: 'server_error', message: 'x' } }])),
    'server_error',
  )
  assert.equal(
    reasonOf(stream([{ type: 'response.failed', response: { ...failed('x'), error: null } }])),
    'server_error',
  )
  // Whoever has sent content has worked, whatever it says afterwards.
  const late = decode(
    stream([
      delta('output_text', 0, 'Hi'),
      { type: 'response.failed', response: failed('rate_limit_exceeded') },
    ]),
  )
  assert.deepEqual(late.failure, { outcome: 'uncertain', reason: 'rate_limited' })
})

test('without its terminal event an answer is cut, however clean the end', () => {
  const begun = stream([delta('output_text', 0, 'Hi'), done(0, message('Hi'))])
  assert.equal(decode(begun).ended, false)
  assert.equal(decode(`${begun}data: [DONE]\n\n`).failure?.reason, 'stream_cut')
  for (const status of ['queued', 'in_progress']) {
    assert.equal(
      decode(JSON.stringify({ object: 'response', status, output: [] })).failure?.reason,
      'stream_cut',
    )
  }
})

test('a call without a name, or with one that no provider takes, is malformed', () => {
  const nameless = { type: 'function_call', call_id: 'call_1', arguments: '{}' }
  assert.equal(decode(stream([completed([nameless])])).failure?.reason, 'malformed')
  assert.equal(decode(stream([added(0, callItem('x'.repeat(2000), ''))])).failure?.reason, 'malformed')
})

const texts = fc.oneof(fc.string({ maxLength: 8 }), fc.constant(null), fc.constant(undefined))
const events = fc.record(
  {
    type: fc.constantFrom(
      'response.created',
      'response.output_item.added',
      'response.output_item.done',
      'response.output_text.delta',
      'response.reasoning_summary_text.delta',
      'response.function_call_arguments.delta',
      'response.completed',
      'response.failed',
      'error',
      'made.up',
    ),
    output_index: fc.oneof(fc.nat(3), fc.constant(-1), fc.constant('0')),
    content_index: fc.oneof(fc.nat(2), texts),
    summary_index: fc.nat(2),
    delta: fc.oneof(texts, fc.constant(7)),
    item: fc.oneof(
      fc.record({
        type: fc.constantFrom('message', 'reasoning', 'function_call', 'else'),
        id: texts,
        name: texts,
        call_id: texts,
        arguments: fc.oneof(texts, fc.constant({ a: 1 })),
        content: fc.oneof(
          texts,
          fc.array(fc.record({ type: fc.constantFrom('output_text', 'refusal'), text: texts })),
        ),
        summary: fc.array(fc.record({ text: texts }), { maxLength: 2 }),
        encrypted_content: texts,
      }),
      fc.constant(null),
    ),
    response: fc.oneof(
      fc.record({
        id: texts,
        status: fc.constantFrom('completed', 'failed', 'incomplete', 'queued', 'odd'),
        output: fc.oneof(
          fc.constant([]),
          fc.constant([message('Hi'), callItem('look', '{}')]),
          fc.constant(7),
        ),
        usage: fc.oneof(fc.constant(USAGE), fc.constant(null), fc.constant({ input_tokens: -1 })),
      }),
      fc.constant(null),
    ),
  },
  { requiredKeys: ['type'] },
)

test('no bytes make a decoder throw, and every cut of them reads the same', () => {
  const hostile = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.array(events, { maxLength: 8 }).map((list) => new TextEncoder().encode(stream(list))),
    events.map((event) => new TextEncoder().encode(JSON.stringify(event.response ?? event))),
  )
  fc.assert(
    fc.property(hostile, fc.array(fc.nat(), { maxLength: 10 }), (bytes, cuts) => {
      const whole = decodeInPieces(openaiResponses.decoder(DEFAULT_ANSWER_BOUNDS), bytes)
      assert.deepEqual(decodeInPieces(openaiResponses.decoder(DEFAULT_ANSWER_BOUNDS), bytes, cuts), whole)
      gather(whole)
    }),
    { numRuns: 1000 },
  )
})

test('a call that gets no arguments has an empty object of them, unless its answer was cut', () => {
  const whole = [callItem('one', ''), callItem('two', '{"b":2}')]
  const argumentsOf = (...events: readonly Event[]) =>
    decode(stream(events)).choices[0]?.calls.map((call) => call.arguments)
  assert.deepEqual(argumentsOf(completed(whole)), ['{}', '{"b":2}'])
  assert.deepEqual(argumentsOf(added(0, callItem('one', '')), completed(whole)), ['{}', '{"b":2}'])
  const cut = { status: 'incomplete', output: [{ ...callItem('one', ''), status: 'incomplete' }] }
  assert.deepEqual(argumentsOf({ type: 'response.incomplete', response: cut }), [''])
})
