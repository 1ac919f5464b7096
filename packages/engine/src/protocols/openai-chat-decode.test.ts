import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { decodeInPieces, gather } from '../../test/decode-in-pieces.ts'
import { DEFAULT_ANSWER_BOUNDS } from '../protocol.ts'
import { openaiChat } from './openai-chat.ts'

type Delta = Record<string, unknown>

function chunk(delta: Delta, finish: string | null = null, index: number | undefined = 0) {
  return { id: 'chatcmpl-Ab_1', choices: [{ index, delta, finish_reason: finish }] }
}

function stream(messages: readonly unknown[], done = true): string {
  const events = messages.map((message) => `data: ${JSON.stringify(message)}\n\n`)
  return events.join('') + (done ? 'data: [DONE]\n\n' : '')
}

function decode(answer: string, cuts: readonly number[] = []) {
  return gather(decodeInPieces(openaiChat.decoder(DEFAULT_ANSWER_BOUNDS), answer, cuts))
}

function calls(...deltas: readonly unknown[][]) {
  const answer = decode(stream(deltas.map((tool_calls) => chunk({ tool_calls }))))
  assert.equal(answer.failure, undefined)
  return answer.choices[0]?.calls
}

const entry = (index: unknown, id: unknown, name: unknown, args: unknown) => ({
  index,
  id,
  function: { name, arguments: args },
})

test('a stream with everything in it', () => {
  const usage = { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 }
  const answer = decode(
    stream([
      chunk({ role: 'assistant', content: '' }),
      chunk({ reasoning_content: 'hm', reasoning: 'hm' }),
      chunk({ reasoning: ' so' }),
      chunk({ content: 'Hi 😀' }),
      chunk({ refusal: 'no' }, null, 1),
      chunk({}, 'stop'),
      chunk({}, 'content_filter', 1),
      { id: 'x', choices: [], usage },
    ]),
  )
  assert.equal(answer.ended, true)
  assert.equal(answer.choices[0]?.text, 'Hi 😀')
  assert.equal(answer.choices[0]?.reasoning, 'hm so')
  assert.equal(answer.choices[0]?.finish, 'stop')
  assert.equal(answer.choices[1]?.refusal, 'no')
  assert.equal(answer.choices[1]?.finish, 'content_filter')
  assert.equal(answer.usage?.buckets.input, 3)
})

test('log probabilities travel with their text', () => {
  const logprobs = { content: [{ token: 'Hi', logprob: -0.5 }] }
  const events = decodeInPieces(
    openaiChat.decoder(DEFAULT_ANSWER_BOUNDS),
    stream([{ choices: [{ index: 0, delta: { content: 'Hi' }, logprobs }] }]),
  )
  assert.deepEqual(events[0], { type: 'text', choice: 0, text: 'Hi', logprobs })
})

test('of log probabilities only their own fields travel, however deep the others are nested', () => {
  const deep = `${'['.repeat(50_000)}${']'.repeat(50_000)}`
  const token = (more: string) => `{"token":"Hi","logprob":-1,"bytes":[72,"x"],"echo":"${more}"`
  const answer =
    `data: {"choices":[{"delta":{"content":"Hi"},"logprobs":{"nested":${deep},"content":[` +
    `${token('a')},"top_logprobs":[${token('b')},"top_logprobs":${deep}},7]},{"token":1},${deep}],"refusal":${deep}}}]}\n\n`
  const [event] = decodeInPieces(openaiChat.decoder(DEFAULT_ANSWER_BOUNDS), answer)
  const known = { token: 'Hi', logprob: -1, bytes: [72] }
  const content = [{ ...known, top_logprobs: [known] }]
  assert.deepEqual(event, { type: 'text', choice: 0, text: 'Hi', logprobs: { content, refusal: [] } })
})

test('a name of a tool that no provider takes is malformed', () => {
  const named = (name: string) => decode(stream([chunk({ tool_calls: [entry(0, 'call_1', name, '{}')] })]))
  assert.equal(named('x'.repeat(1_024)).failure, undefined)
  assert.deepEqual(named('x'.repeat(1_025)).failure, { outcome: 'uncertain', reason: 'malformed' })
})

test('usage on a chunk with choices counts too', () => {
  const last = { ...chunk({}, 'stop'), usage: { prompt_tokens: 1, completion_tokens: 2 } }
  assert.equal(decode(stream([chunk({ content: 'a' }), last])).usage?.buckets.output, 2)
})

const WHOLE = [
  { id: 'a', name: 'f', arguments: '{"x":1}' },
  { id: 'b', name: 'g', arguments: '{"y":2}' },
]

test('interleaved parallel calls', () => {
  const pieces = [
    [entry(0, 'a', 'f', '')],
    [entry(1, 'b', 'g', '')],
    [entry(0, undefined, undefined, '{"x"')],
    [entry(1, undefined, undefined, '{"y"')],
    [entry(0, undefined, undefined, ':1}'), entry(1, undefined, undefined, ':2}')],
  ]
  assert.deepEqual(calls(...pieces), WHOLE)
})

test('whole calls in one delta, whatever their numbers', () => {
  for (const [first, second] of [
    [0, 1],
    [0, 0],
    [undefined, undefined],
    [3, 7],
  ]) {
    assert.deepEqual(calls([entry(first, 'a', 'f', '{"x":1}'), entry(second, 'b', 'g', '{"y":2}')]), WHOLE)
    assert.deepEqual(calls([entry(first, 'a', 'f', '{"x":1}')], [entry(second, 'b', 'g', '{"y":2}')]), WHOLE)
  }
})

test('every call numbered 0, told apart by its id', () => {
  const pieces = [
    [entry(0, 'a', 'f', '{"x"')],
    [entry(0, 'a', '', ':1}')],
    [entry(0, 'b', 'g', '{"y"')],
    [entry(0, undefined, null, ':2}')],
  ]
  assert.deepEqual(calls(...pieces), WHOLE)
})

test('no number at all', () => {
  const pieces = [
    [entry(undefined, 'a', 'f', '{"x"')],
    [entry(undefined, undefined, undefined, ':1}')],
    [entry(undefined, 'b', 'g', '{"y":2}')],
  ]
  assert.deepEqual(calls(...pieces), WHOLE)
})

test('ids that are missing are made up, alike on every reading, and differ', () => {
  const pieces = [[entry(0, '', 'f', '{}'), entry(0, '', 'f', '{}')], [entry(1, null, 'g', { a: 1 })]]
  const read = calls(...pieces)
  assert.deepEqual(read, calls(...pieces))
  assert.equal(new Set(read?.map((call) => call.id)).size, 3)
  for (const call of read ?? []) assert.match(call.id, /^call_chatcmplAb1_0_\d$/)
  assert.equal(read?.[2]?.arguments, '{"a":1}')
})

test('an id or a name that comes late', () => {
  assert.deepEqual(calls([entry(0, 'a', '', '')], [entry(0, undefined, 'f', '{"x":1}')]), [WHOLE[0]])
  assert.deepEqual(calls([entry(0, undefined, '', '')], [entry(0, 'a', 'f', '{"x":1}')]), [WHOLE[0]])
})

test('a repeated name goes on with its call', () => {
  assert.deepEqual(calls([entry(0, 'a', 'f', '{"x"')], [entry(0, 'a', 'f', ':1}')]), [WHOLE[0]])
})

test('arguments for no call are malformed, not lost', () => {
  const answer = decode(stream([chunk({ tool_calls: [entry(0, undefined, undefined, '{"x":1}')] })]))
  assert.deepEqual(answer.failure, { outcome: 'uncertain', reason: 'malformed' })
})

test('an answer in one piece', () => {
  const body = {
    id: 'chatcmpl-1',
    choices: [
      {
        index: 0,
        message: {
          content: null,
          tool_calls: [entry(undefined, 'a', 'f', '{"x":1}'), entry(undefined, 'b', 'g', '{"y":2}')],
        },
        finish_reason: 'tool_calls',
      },
      { index: 1, message: { content: 'Hi', reasoning: 'hm' }, finish_reason: 'length' },
    ],
    usage: { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 },
  }
  // White space before the answer keeps a slow call open.
  const answer = decode(`\n\n ${JSON.stringify(body)}`, [1, 2, 9, 40])
  assert.equal(answer.ended, true)
  assert.deepEqual(answer.choices[0]?.calls, WHOLE)
  assert.equal(answer.choices[1]?.finish, 'length')
  assert.equal(answer.usage?.buckets.output, 2)
})

test('an answer comes as it comes, whatever was asked for', () => {
  const whole = JSON.stringify({ choices: [{ index: 0, message: { content: 'Hi' }, finish_reason: 'stop' }] })
  assert.equal(decode(whole).choices[0]?.text, 'Hi')
  assert.equal(decode(stream([chunk({ content: 'Hi' }, 'stop')])).choices[0]?.text, 'Hi')
})

const BROKEN: readonly (readonly [
  name: string,
  answer: string,
  outcome: string | undefined,
  reason?: string,
])[] = [
  [
    'an error first',
    stream([{ error: { type: 'server_error', code: 'rate_limit_exceeded' } }]),
    'refused_unbilled',
    'rate_limited',
  ],
  [
    'an error after content',
    stream([chunk({ content: 'a' }), { error: { code: 429 } }]),
    'uncertain',
    'rate_limited',
  ],
  [
    'a named error event',
    'event: error\ndata: {"message":"x","code":"503"}\n\n',
    'refused_unbilled',
    'overloaded',
  ],
  [
    'an error document with 200',
    '{"error":{"code":"context_length_exceeded"}}',
    'request_fault',
    'context_length',
  ],
  ['HTML', '<!doctype html><html></html>', 'uncertain', 'wrong_content_type'],
  ['plain text', 'upstream connect error', 'uncertain', 'wrong_content_type'],
  [
    'a malformed line',
    `${stream([chunk({ content: 'a' })], false)}data: {"choices": [\n\ndata: [DONE]\n\n`,
    'uncertain',
    'malformed',
  ],
  ['a message that is no object', 'data: 5\n\n', 'uncertain', 'malformed'],
  ['a choice that is none', stream([{ choices: [7] }]), 'uncertain', 'malformed'],
  [
    'a choice of an impossible number',
    stream([chunk({ content: 'a' }, null, 1e9)]),
    'uncertain',
    'malformed',
  ],
  ['a document cut off', '{"choices":[{"index":0,"message":{"con', 'uncertain', 'malformed'],
  ['a document without choices', '{"choices":[]}', 'uncertain', 'malformed'],
  ['a list', '[]', 'uncertain', 'malformed'],
  ['nothing', '', 'uncertain', 'empty'],
  ['comments only', ': hello\n\n', 'uncertain', 'empty'],
  ['only [DONE]', 'data: [DONE]\n\n', 'uncertain', 'empty'],
  ['a finish that says error', stream([chunk({ content: 'a' }, 'error')]), 'uncertain', 'server_error'],
  ['[DONE] without a reason to finish', stream([chunk({ content: 'a' })]), 'uncertain', 'stream_cut'],
  [
    'one of two choices without a reason to finish',
    stream([chunk({ content: 'a' }, 'stop'), chunk({ content: 'b' }, null, 1)]),
    'uncertain',
    'stream_cut',
  ],
  [
    'a document without a reason to finish',
    JSON.stringify({ choices: [{ index: 0, message: { content: 'a' }, finish_reason: null }] }),
    'uncertain',
    'stream_cut',
  ],
  ['no [DONE]', stream([chunk({ content: 'a' }, 'stop')], false), undefined],
  ['half a last event', `${stream([chunk({ content: 'a' })], false)}data: {"cho`, undefined],
]

for (const [name, answer, outcome, reason] of BROKEN) {
  test(`a broken answer is no answer: ${name}`, () => {
    for (const cuts of [[], Array.from({ length: answer.length }, (_, at) => at)]) {
      const { ended, failure } = decode(answer, cuts)
      assert.equal(ended, false)
      assert.deepEqual([failure?.outcome, failure?.reason], [outcome, reason])
    }
  })
}

test('a choice that called tools has finished in its calls, without a word', () => {
  const { choices, ended } = decode(
    stream([chunk({ content: 'a' }, 'stop'), chunk({ tool_calls: [entry(0, 'a', 'f', '{}')] }, null, 1)]),
  )
  assert.equal(ended, true)
  assert.deepEqual(
    choices.map((choice) => choice.finish),
    ['stop', 'tool_calls'],
  )
})

test('nothing comes out after the end', () => {
  const decoder = openaiChat.decoder(DEFAULT_ANSWER_BOUNDS)
  const wire = stream([chunk({ content: 'a' }, 'stop')])
  decodeInPieces(decoder, wire + wire)
  assert.deepEqual(decodeInPieces(decoder, wire), [])
})

const jsonish = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom(null, 0, -1, 1.5, 1e300, '', 'x', 'error', true, 'stop', 'tool_calls'),
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(
      fc.constantFrom(
        'choices',
        'index',
        'delta',
        'message',
        'content',
        'tool_calls',
        'function',
        'name',
        'arguments',
        'id',
        'finish_reason',
        'usage',
        'prompt_tokens',
        'error',
        'type',
        'text',
        'thinking',
        'logprobs',
        'refusal',
        '__proto__',
        'content_block',
        'partial_json',
        'input',
      ),
      tie('value'),
      { maxKeys: 5 },
    ),
  ),
})).value

test('no bytes make a decoder throw, and every cut of them reads the same', () => {
  const hostile = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.array(jsonish, { maxLength: 4 }).map((messages) => new TextEncoder().encode(stream(messages))),
    jsonish.map((body) => new TextEncoder().encode(JSON.stringify(body))),
  )
  fc.assert(
    fc.property(hostile, fc.array(fc.nat(), { maxLength: 10 }), (bytes, cuts) => {
      const whole = decodeInPieces(openaiChat.decoder(DEFAULT_ANSWER_BOUNDS), bytes)
      assert.deepEqual(decodeInPieces(openaiChat.decoder(DEFAULT_ANSWER_BOUNDS), bytes, cuts), whole)
    }),
    { numRuns: 1000 },
  )
})

test('an answer in one piece that never ends is cut at its bound', () => {
  const decoder = openaiChat.decoder({ ...DEFAULT_ANSWER_BOUNDS, documentBytesMax: 3_000 })
  const kilobyte = new Uint8Array(1_000).fill(0x7b)
  for (let count = 0; count < 3; count += 1) assert.deepEqual(decoder.push(kilobyte), [])
  const [end] = decoder.push(kilobyte)
  assert.deepEqual(end?.type === 'failure' && end.failure, { outcome: 'uncertain', reason: 'oversized' })
  assert.deepEqual(decoder.end(), [])
})

test('arguments nested too deeply to be written are malformed', () => {
  const deep = `${'{"0":'.repeat(20_000)}1${'}'.repeat(20_000)}`
  const { failure } = decode(
    `data: {"choices":[{"delta":{"tool_calls":[{"function":{"name":"f","arguments":${deep}}}]}}]}\n\n`,
  )
  assert.deepEqual(failure, { outcome: 'uncertain', reason: 'malformed' })
})

test('a call that gets no arguments has an empty object of them, unless its answer was cut', () => {
  const call = (name: string, args: unknown) => ({ id: `call_${name}`, function: { name, arguments: args } })
  const opened = chunk({ tool_calls: [{ index: 0, ...call('a', '') }] })
  const both = chunk({ tool_calls: [{ index: 1, ...call('b', null) }] })
  const argumentsOf = (answer: string) => decode(answer).choices[0]?.calls.map((each) => each.arguments)
  for (const finish of ['tool_calls', 'stop', null]) {
    assert.deepEqual(argumentsOf(stream([opened, both, chunk({}, finish)])), ['{}', '{}'])
  }
  assert.deepEqual(argumentsOf(stream([opened, chunk({}, 'length')])), [''])
  const message = { content: null, tool_calls: [call('a', undefined), call('b', '{"x":1}')] }
  const whole = { id: 'x', choices: [{ index: 0, message, finish_reason: 'tool_calls' }] }
  assert.deepEqual(argumentsOf(JSON.stringify(whole)), ['{}', '{"x":1}'])
})
