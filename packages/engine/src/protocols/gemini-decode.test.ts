import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { decodeInPieces, gather } from '../../test/decode-in-pieces.ts'
import { DEFAULT_ANSWER_BOUNDS } from '../protocol.ts'
import { gemini } from './gemini.ts'

const USAGE = { promptTokenCount: 5, candidatesTokenCount: 7, totalTokenCount: 12 }

function message(parts: readonly object[] | undefined, more: object = {}, index: number | undefined = 0) {
  const candidate = { content: { ...(parts ? { parts } : {}), role: 'model' }, index, ...more }
  return { candidates: [candidate], usageMetadata: USAGE, modelVersion: 'm', responseId: 'aB-3_x' }
}

const last = (reason = 'STOP') => message([{ text: '' }], { finishReason: reason })

function stream(...messages: readonly object[]): string {
  return messages.map((body) => `data: ${JSON.stringify(body)}\r\n\r\n`).join('')
}

function decode(answer: string, cuts: readonly number[] = []) {
  return gather(decodeInPieces(gemini.decoder(DEFAULT_ANSWER_BOUNDS), answer, cuts))
}

const call = (name: string, args: object | undefined, more: object = {}) => ({
  functionCall: { name, ...(args ? { args } : {}) },
  ...more,
})

const EVERYTHING = stream(
  message([{ text: 'hm ', thought: true }]),
  message([{ text: '😀', thought: true }]),
  message([{ executableCode: { language: 'PYTHON', code: '1' }, thoughtSignature: 'Y29kZQ==' }]),
  message([{ codeExecutionResult: { outcome: 'OUTCOME_OK', output: '1' } }, { somethingNew: {} }]),
  message([{ text: 'Hi ' }, { text: '😀', thoughtSignature: 'dGV4dA==' }]),
  message([call('look', { x: 1 }, { thoughtSignature: 'Y2FsbA==' }), call('wait', undefined)]),
  message([{ functionCall: { name: 'look', args: { y: [2] }, id: 'gjl2yj5t' } }]),
  last(),
)

test('a stream with everything in it, however it is cut', () => {
  const whole = decode(EVERYTHING)
  assert.equal(whole.ended, true)
  assert.deepEqual(whole.choices, [
    {
      text: 'Hi 😀',
      refusal: '',
      reasoning: 'hm 😀',
      signatures: ['dGV4dA=='],
      redacted: [],
      calls: [
        { id: 'call_aB3x_0_0', name: 'look', arguments: '{"x":1}', signature: 'Y2FsbA==' },
        { id: 'call_aB3x_0_1', name: 'wait', arguments: '{}' },
        { id: 'gjl2yj5t', name: 'look', arguments: '{"y":[2]}' },
      ],
      finish: 'tool_calls',
    },
  ])
  assert.deepEqual([whole.usage?.buckets.input, whole.usage?.buckets.output], [5, 7])
  fc.assert(
    fc.property(fc.array(fc.nat(), { maxLength: 20 }), (cuts) => {
      assert.deepEqual(decode(EVERYTHING, cuts), whole)
    }),
  )
})

test('peer bug 17: parallel calls, whole in one message or one in each, with ids and without', () => {
  const [one, two] = [call('look', { x: 1 }), call('look', { x: 1 })]
  const together = decode(stream(message([one, two]), last()))
  const apart = decode(stream(message([one]), message([two]), last()))
  const document = decode(JSON.stringify(message([one, two], { finishReason: 'STOP' })))
  for (const answer of [together, apart, document]) {
    const calls = answer.choices[0]?.calls ?? []
    assert.equal(new Set(calls.map(({ id }) => id)).size, 2)
    assert.deepEqual(
      calls.map((each) => each.arguments),
      ['{"x":1}', '{"x":1}'],
    )
    assert.deepEqual(answer, together)
  }
})

test('several candidates, interleaved, of which none is whole before all are', () => {
  const messages = [
    message([{ text: 'a' }], {}, 0),
    message([{ text: 'b' }], {}, 1),
    message([{ text: 'A' }], { finishReason: 'STOP' }, 0),
    message([{ text: 'B' }], { finishReason: 'MAX_TOKENS' }, 1),
  ]
  const { choices, ended } = decode(stream(...messages))
  assert.equal(ended, true)
  assert.deepEqual(
    choices.map(({ text, finish }) => [text, finish]),
    [
      ['aA', 'stop'],
      ['bB', 'length'],
    ],
  )
  assert.equal(decode(stream(...messages.slice(0, 3))).failure?.reason, 'stream_cut')
})

const FINISHES = [
  ['STOP', 'stop'],
  ['MAX_TOKENS', 'length'],
  ['SAFETY', 'content_filter'],
  ['RECITATION', 'content_filter'],
  ['BLOCKLIST', 'content_filter'],
  ['PROHIBITED_CONTENT', 'content_filter'],
  ['SPII', 'content_filter'],
  ['LANGUAGE', 'content_filter'],
  ['MODEL_ARMOR', 'content_filter'],
  ['OTHER', 'stop'],
  ['SOMETHING_NEW', 'stop'],
] as const

for (const [reason, expected] of FINISHES) {
  test(`the finish reason ${reason} is ${expected}, streamed or not`, () => {
    assert.equal(decode(stream(message([{ text: 'a' }]), last(reason))).choices[0]?.finish, expected)
    const document = JSON.stringify(message(undefined, { finishReason: reason }))
    assert.equal(decode(document).choices[0]?.finish, expected)
  })
}

test('a call that Gemini itself would not have expected is shown to whom it was made', () => {
  const answer = decode(stream(message([call('list_files', {})], { finishReason: 'UNEXPECTED_TOOL_CALL' })))
  assert.equal(answer.ended, true)
  assert.equal(answer.choices[0]?.finish, 'tool_calls')
})

test('a prompt that is blocked is an answer that was filtered', () => {
  const blocked = {
    promptFeedback: { blockReason: 'PROHIBITED_CONTENT' },
    usageMetadata: { promptTokenCount: 9, totalTokenCount: 9 },
  }
  for (const answer of [JSON.stringify(blocked), stream(blocked)]) {
    const { choices, usage, ended } = decode(answer)
    assert.equal(ended, true)
    assert.deepEqual([choices[0]?.finish, choices[0]?.text], ['content_filter', ''])
    assert.equal(usage?.buckets.input, 9)
  }
})

test('log probabilities come in the shape of OpenAI, and nothing else with them', () => {
  const logprobsResult = {
    chosenCandidates: [{ token: 'Hé', logProbability: -0.5, tokenId: 3 }, { token: 1 }],
    topCandidates: [
      {
        candidates: [
          { token: 'Hé', logProbability: -0.5 },
          { token: 'Ho', logProbability: -2 },
        ],
      },
    ],
  }
  const events = decodeInPieces(
    gemini.decoder(DEFAULT_ANSWER_BOUNDS),
    JSON.stringify(message([{ text: 'Hé' }], { finishReason: 'STOP', logprobsResult })),
  )
  const chosen = { token: 'Hé', logprob: -0.5, bytes: [72, 195, 169] }
  const other = { token: 'Ho', logprob: -2, bytes: [72, 111] }
  assert.deepEqual(events[0], {
    type: 'text',
    choice: 0,
    text: '',
    logprobs: { content: [{ ...chosen, top_logprobs: [chosen, other] }], refusal: null },
  })
})

const status = (code: number, word: string) => ({ error: { code, message: 'x', status: word } })
const content = message([{ text: 'Hi' }])

const BROKEN: readonly (readonly [
  name: string,
  answer: string,
  outcome: string | undefined,
  reason?: string,
])[] = [
  ['overloaded first', stream(status(503, 'UNAVAILABLE')), 'refused_unbilled', 'overloaded'],
  ['overloaded after content', stream(content, status(503, 'UNAVAILABLE')), 'uncertain', 'overloaded'],
  ['too fast', stream(status(429, 'RESOURCE_EXHAUSTED')), 'refused_unbilled', 'rate_limited'],
  ['an internal error', stream(status(500, 'INTERNAL')), 'uncertain', 'server_error'],
  [
    'an error in a list, with 200',
    JSON.stringify([status(503, 'UNAVAILABLE')]),
    'refused_unbilled',
    'overloaded',
  ],
  ['no reason to finish', stream(content), 'uncertain', 'stream_cut'],
  ['no reason to finish, in one piece', JSON.stringify(content), 'uncertain', 'stream_cut'],
  ['usage alone', stream({ usageMetadata: USAGE }), 'uncertain', 'empty'],
  [
    'a call that is none',
    stream(message(undefined, { finishReason: 'MALFORMED_FUNCTION_CALL' })),
    'uncertain',
    'malformed',
  ],
  ['an unexpected call that is not shown', stream(last('UNEXPECTED_TOOL_CALL')), 'uncertain', 'malformed'],
  ['a call without a name', stream(message([{ functionCall: { args: {} } }])), 'uncertain', 'malformed'],
  ['a name that no provider takes', stream(message([call('x'.repeat(1_025), {})])), 'uncertain', 'malformed'],
  ['a candidate that is none', stream({ candidates: [7] }), 'uncertain', 'malformed'],
  [
    'a candidate of an impossible number',
    stream(message([{ text: 'a' }], {}, 1e9)),
    'uncertain',
    'malformed',
  ],
  ['half a last message', `${stream(content)}data: {"candi`, 'uncertain', 'stream_cut'],
  [
    'a malformed line',
    `${stream(content)}data: {"candidates": [\r\n\r\n${stream(last())}`,
    'uncertain',
    'malformed',
  ],
  ['HTML', '<html></html>', 'uncertain', 'wrong_content_type'],
  ['another document', '{"kind":"list"}', 'uncertain', 'malformed'],
  ['nothing', '', 'uncertain', 'empty'],
]

for (const [name, answer, outcome, reason] of BROKEN) {
  test(`a broken answer of Gemini's is no answer: ${name}`, () => {
    for (const cuts of [[], Array.from({ length: answer.length }, (_, at) => at)]) {
      const { ended, failure } = decode(answer, cuts)
      assert.equal(ended, false)
      assert.deepEqual([failure?.outcome, failure?.reason], [outcome, reason])
    }
  })
}

test('a stream has no word for its end: only the end of the connection is one', () => {
  const decoder = gemini.decoder(DEFAULT_ANSWER_BOUNDS)
  const whole = new TextEncoder().encode(stream(content, last()))
  assert.ok(decoder.push(whole).every(({ type }) => type !== 'end'))
  assert.deepEqual(decoder.end(), [{ type: 'end' }])
  assert.deepEqual(decoder.push(whole), [])
})

test('no bytes make the decoder throw, and every cut of them reads the same', () => {
  const keys = fc.constantFrom(
    'candidates content parts text thought thoughtSignature functionCall name args id finishReason index'.split(
      ' ',
    ),
    'usageMetadata promptTokenCount promptFeedback blockReason error code details logprobsResult __proto__'.split(
      ' ',
    ),
  )
  const jsonish = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 5 },
      fc.constantFrom(null, 0, -1, 1.5, '', 'x', true, 'STOP', 'SAFETY'),
      fc.array(tie('value'), { maxLength: 3 }),
      keys.chain((names) => fc.dictionary(fc.constantFrom(...names), tie('value'), { maxKeys: 5 })),
    ),
  })).value
  const hostile = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.array(jsonish, { maxLength: 4 }).map((all) => new TextEncoder().encode(stream(...(all as object[])))),
    jsonish.map((body) => new TextEncoder().encode(JSON.stringify(body))),
  )
  fc.assert(
    fc.property(hostile, fc.array(fc.nat(), { maxLength: 10 }), (bytes, cuts) => {
      const whole = decodeInPieces(gemini.decoder(DEFAULT_ANSWER_BOUNDS), bytes)
      assert.deepEqual(decodeInPieces(gemini.decoder(DEFAULT_ANSWER_BOUNDS), bytes, cuts), whole)
    }),
    { numRuns: 500 },
  )
})

test('arguments nested too deeply to be written are malformed', () => {
  const deep = `${'{"0":'.repeat(20_000)}1${'}'.repeat(20_000)}`
  const { failure } = decode(
    `data: {"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":${deep}}}]}}]}\n\n`,
  )
  assert.deepEqual(failure, { outcome: 'uncertain', reason: 'malformed' })
})
