import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadCatalog } from '@mesh/catalog/load.ts'
import { costPico } from '@mesh/catalog/price.ts'
import fc from 'fast-check'
import { decodeInPieces, gather } from '../../test/decode-in-pieces.ts'
import { DEFAULT_ANSWER_BOUNDS } from '../protocol.ts'
import { cohereV2 } from './cohere.ts'

function stream(...events: readonly { type: string }[]): string {
  const lines = events.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
  return `${lines.join('')}data: [DONE]\n\n`
}

const start = { type: 'message-start', id: '1', delta: { message: { role: 'assistant', content: [] } } }
const content = (type: string, index: number, piece?: object) => ({
  type,
  index,
  ...(piece ? { delta: { message: { content: piece } } } : {}),
})
const call = (type: string, index: number | undefined, piece?: object) => ({
  type,
  ...(index === undefined ? {} : { index }),
  ...(piece ? { delta: { message: { tool_calls: piece } } } : {}),
})
const opened = (index: number | undefined, id: string, name: string, text = '') =>
  call('tool-call-start', index, { id, type: 'function', function: { name, arguments: text } })
const fragment = (index: number | undefined, text: string) =>
  call('tool-call-delta', index, { function: { arguments: text } })
const USAGE = {
  billed_units: { input_tokens: 5, output_tokens: 7 },
  tokens: { input_tokens: 500, output_tokens: 9 },
}
const end = (finish_reason: string, usage: object = USAGE) => ({
  type: 'message-end',
  delta: { finish_reason, usage },
})

function decode(answer: string, cuts: readonly number[] = []) {
  return gather(decodeInPieces(cohereV2.decoder(DEFAULT_ANSWER_BOUNDS), answer, cuts))
}

const EVERYTHING = stream(
  start,
  content('content-start', 0, { type: 'thinking', thinking: '' }),
  content('content-delta', 0, { thinking: 'hm 😀' }),
  content('content-end', 0),
  { type: 'tool-plan-delta', delta: { message: { tool_plan: ' I will look.' } } } as { type: string },
  content('content-start', 1, { type: 'text', text: '' }),
  content('content-delta', 1, { text: 'Hi ' }),
  { type: 'citation-start' },
  { type: 'citation-end' },
  content('content-delta', 1, { text: '😀' }),
  content('content-end', 1),
  opened(0, 'a', 'look'),
  fragment(0, '{"x"'),
  fragment(0, ':1}'),
  call('tool-call-end', 0),
  opened(1, 'b', 'wait'),
  call('tool-call-end', 1),
  { type: 'debug' },
  end('TOOL_CALL'),
)

test('a stream with everything in it, however it is cut', () => {
  const whole = decode(EVERYTHING)
  assert.equal(whole.ended, true)
  const [choice] = whole.choices
  assert.equal(choice?.text, 'Hi 😀')
  assert.equal(choice?.reasoning, 'hm 😀 I will look.')
  assert.deepEqual(choice?.calls, [
    { id: 'a', name: 'look', arguments: '{"x":1}' },
    { id: 'b', name: 'wait', arguments: '{}' },
  ])
  assert.equal(choice?.finish, 'tool_calls')
  assert.deepEqual([whole.usage?.buckets.input, whole.usage?.buckets.output], [5, 7])
  fc.assert(
    fc.property(fc.array(fc.nat(), { maxLength: 20 }), (cuts) => {
      assert.deepEqual(decode(EVERYTHING, cuts), whole)
    }),
  )
})

test('peer bug 17: parallel calls that come interleaved, without a number, or whole', () => {
  const interleaved = decode(
    stream(
      start,
      opened(0, 'a', 'f'),
      opened(1, 'b', 'g'),
      fragment(1, '{"y"'),
      fragment(0, '{"x":1}'),
      fragment(1, ':2}'),
      end('TOOL_CALL'),
    ),
  )
  const [{ calls } = { calls: [] }] = interleaved.choices
  assert.deepEqual(
    calls.map((each) => each.arguments),
    ['{"x":1}', '{"y":2}'],
  )
  const unnumbered = decode(
    stream(
      start,
      opened(undefined, 'a', 'f'),
      fragment(undefined, '{}'),
      opened(undefined, 'b', 'g', '{"z":3}'),
      end('TOOL_CALL'),
    ),
  )
  assert.deepEqual(
    unnumbered.choices[0]?.calls.map((each) => each.arguments),
    ['{}', '{"z":3}'],
  )
})

test('an answer in one piece', () => {
  const body = {
    id: '1',
    message: {
      role: 'assistant',
      tool_plan: 'I will look.',
      content: [
        { type: 'thinking', thinking: 'hm' },
        { type: 'text', text: 'Hi' },
      ],
      tool_calls: [
        { id: 'a', type: 'function', function: { name: 'f', arguments: '{"x":1}' } },
        { id: 'b', type: 'function', function: { name: 'g' } },
      ],
    },
    finish_reason: 'TOOL_CALL',
    usage: USAGE,
  }
  const { choices, ended } = decode(JSON.stringify(body), [3, 50])
  assert.equal(ended, true)
  assert.equal(choices[0]?.text, 'Hi')
  assert.equal(choices[0]?.reasoning, 'I will look.hm')
  assert.deepEqual(choices[0]?.calls, [
    { id: 'a', name: 'f', arguments: '{"x":1}' },
    { id: 'b', name: 'g', arguments: '{}' },
  ])
})

test('peer bug 10: what Cohere bills costs the same, streamed and whole, whatever it says of its cache', () => {
  const usage = {
    billed_units: { input_tokens: 41, output_tokens: 25 },
    cached_tokens: 144,
    tokens: { input_tokens: 1441, output_tokens: 54 },
  }
  const whole = JSON.stringify({ message: { role: 'assistant' }, finish_reason: 'COMPLETE', usage })
  const command = loadCatalog().models.find(({ id }) => id === 'mesh/command-a')
  const prices = command?.endpoints.find(({ provider }) => provider === 'cohere')?.prices
  for (const answer of [whole, stream(start, end('COMPLETE', usage))]) {
    const reported = decode(answer).usage
    assert.ok(reported && prices)
    assert.deepEqual(reported.flags, [])
    // 41 × 2.5 + 25 × 10 millionths of a USD, in pico-USD.
    assert.equal(costPico(reported.buckets, prices.rates), 352_500_000n)
  }
})

for (const [reason, expected] of [
  ['COMPLETE', 'stop'],
  ['STOP_SEQUENCE', 'stop'],
  ['MAX_TOKENS', 'length'],
  ['TOOL_CALL', 'tool_calls'],
  ['ERROR_TOXIC', 'content_filter'],
  ['SOMETHING_NEW', 'stop'],
] as const) {
  test(`the finish reason ${reason} is ${expected}, streamed or not`, () => {
    assert.equal(decode(stream(start, end(reason))).choices[0]?.finish, expected)
    const body = { message: { role: 'assistant', content: [] }, finish_reason: reason }
    assert.equal(decode(JSON.stringify(body)).choices[0]?.finish, expected)
  })
}

const HI = content('content-delta', 0, { text: 'Hi' })
const BROKEN: readonly (readonly [name: string, answer: string, outcome?: string, reason?: string])[] = [
  ['an error', stream(start, end('ERROR')), 'uncertain', 'server_error'],
  ['a time-out after content', stream(start, HI, end('TIMEOUT')), 'uncertain', 'server_error'],
  ['no message-end', stream(start, HI)],
  ['message-end without a reason', stream(start, HI, { type: 'message-end' }), 'uncertain', 'stream_cut'],
  ['message-end alone', stream({ type: 'message-end' }), 'uncertain', 'empty'],
  ['arguments for no tool', stream(start, fragment(0, '{')), 'uncertain', 'malformed'],
  ['a tool without a name', stream(start, call('tool-call-start', 0, { id: 'a' })), 'uncertain', 'malformed'],
  ['HTML', '<html></html>', 'uncertain', 'wrong_content_type'],
  ['another document', '{"id":"1"}', 'uncertain', 'malformed'],
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

const REFUSALS: readonly (readonly [status: number, message: string, outcome: string, reason: string])[] = [
  [
    400,
    'invalid request: too many tokens: total number of tokens exceeds 256000',
    'request_fault',
    'context_length',
  ],
  [401, 'invalid api token', 'refused_unbilled', 'credential_refused'],
  [404, "model 'command-x' not found", 'refused_unbilled', 'model_not_found'],
  [422, 'invalid request', 'request_fault', 'invalid_request'],
  [429, 'You are using a Trial key', 'refused_unbilled', 'rate_limited'],
  [498, 'invalid token', 'request_fault', 'content_policy'],
  [499, 'request cancelled', 'uncertain', 'server_error'],
  [503, 'service unavailable', 'refused_unbilled', 'overloaded'],
]

for (const [status, message, outcome, reason] of REFUSALS) {
  test(`a refusal with status ${status} is put into its class`, () => {
    const failure = cohereV2.classify(status, {}, JSON.stringify({ id: '1', message }))
    assert.deepEqual([failure.outcome, failure.reason, failure.status], [outcome, reason, status])
  })
}
