import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadCatalog } from '@mesh/catalog/load.ts'
import { costPico, ratesFor } from '@mesh/catalog/price.ts'
import fc from 'fast-check'
import { awsEvent, awsException, awsMessage } from '../../test/aws-messages.ts'
import { decodeInPieces, gather } from '../../test/decode-in-pieces.ts'
import { bedrockUsage } from '../bedrock-usage.ts'
import { DEFAULT_ANSWER_BOUNDS } from '../protocol.ts'
import { bedrockConverse } from './bedrock-converse.ts'

const start = awsEvent('messageStart', { role: 'assistant', p: 'abc' })
const delta = (contentBlockIndex: number, piece: object) =>
  awsEvent('contentBlockDelta', { contentBlockIndex, delta: piece })
const text = (contentBlockIndex: number, said: string) => delta(contentBlockIndex, { text: said })
const tool = (contentBlockIndex: number, toolUseId: string, name: string) =>
  awsEvent('contentBlockStart', { contentBlockIndex, start: { toolUse: { toolUseId, name } } })
const input = (contentBlockIndex: number, fragment: string) =>
  delta(contentBlockIndex, { toolUse: { input: fragment } })
const close = (contentBlockIndex: number) => awsEvent('contentBlockStop', { contentBlockIndex })
const stop = (stopReason: string) => awsEvent('messageStop', { stopReason })
const USAGE = { inputTokens: 10, outputTokens: 20, totalTokens: 30 }
const metadata = (usage: object = USAGE) => awsEvent('metadata', { metrics: { latencyMs: 1 }, usage })

function decode(answer: string | Uint8Array, cuts: readonly number[] = []) {
  return gather(decodeInPieces(bedrockConverse.decoder(DEFAULT_ANSWER_BOUNDS), answer, cuts))
}

function stream(...messages: readonly Uint8Array[]): Buffer {
  return Buffer.concat(messages)
}

test('a stream with everything in it', () => {
  const answer = decode(
    stream(
      start,
      delta(0, { reasoningContent: { text: 'hm' } }),
      delta(0, { reasoningContent: { signature: 'si' } }),
      delta(0, { reasoningContent: { signature: 'gn' } }),
      close(0),
      delta(1, { reasoningContent: { redactedContent: btoa('hidden') } }),
      close(1),
      text(2, 'Hi '),
      text(2, 'there'),
      delta(2, { citation: {} }),
      close(2),
      tool(3, 'a', 'look'),
      input(3, '{"x":'),
      input(3, '1}'),
      close(3),
      tool(4, 'b', 'wait'),
      close(4),
      awsEvent('somethingNew', { contentBlockIndex: 9 }),
      stop('tool_use'),
      metadata(),
    ),
  )
  assert.deepEqual(answer.choices, [
    {
      text: 'Hi there',
      refusal: '',
      reasoning: 'hm',
      signatures: ['sign'],
      redacted: ['hidden'],
      calls: [
        { id: 'a', name: 'look', arguments: '{"x":1}' },
        { id: 'b', name: 'wait', arguments: '{}' },
      ],
      finish: 'tool_calls',
    },
  ])
  assert.equal(answer.ended, true)
  assert.equal(answer.usage?.buckets.output, 20)
})

test('a document with everything in it reads as the stream does', () => {
  const content = [
    { reasoningContent: { reasoningText: { text: 'hm', signature: 'sign' } } },
    { reasoningContent: { redactedContent: btoa('hidden') } },
    { text: 'Hi there' },
    { toolUse: { toolUseId: 'a', name: 'look', input: { x: 1 } } },
    { toolUse: { toolUseId: 's', name: 'search', input: {}, type: 'server_tool_use' } },
    { toolResult: { toolUseId: 's', content: [{ text: 'found' }] } },
    { toolUse: { toolUseId: 'b', name: 'wait', input: {} } },
  ]
  const body = { output: { message: { role: 'assistant', content } }, stopReason: 'tool_use', usage: USAGE }
  const [choice] = decode(JSON.stringify(body)).choices
  assert.deepEqual(choice?.calls, [
    { id: 'a', name: 'look', arguments: '{"x":1}' },
    { id: 'b', name: 'wait', arguments: '{}' },
  ])
  assert.deepEqual(
    [choice?.text, choice?.reasoning, choice?.signatures, choice?.redacted, choice?.finish],
    ['Hi there', 'hm', ['sign'], ['hidden'], 'tool_calls'],
  )
})

test('peer bug 17: parallel calls that come interleaved, or whole in one delta, stay apart', () => {
  const { choices, failure } = decode(
    stream(
      start,
      tool(0, 'a', 'look'),
      tool(1, 'b', 'look'),
      input(1, '{"y":'),
      input(0, '{"x":'),
      input(1, '2}'),
      input(0, '1}'),
      close(1),
      close(0),
      tool(7, 'c', 'look'),
      input(7, '{"z":3}'),
      stop('tool_use'),
      metadata(),
    ),
  )
  assert.equal(failure, undefined)
  assert.deepEqual(
    choices[0]?.calls.map(({ id, arguments: text }) => [id, text]),
    [
      ['a', '{"x":1}'],
      ['b', '{"y":2}'],
      ['c', '{"z":3}'],
    ],
  )
})

test("tools that AWS runs are not the caller's", () => {
  const hosted = awsEvent('contentBlockStart', {
    contentBlockIndex: 0,
    start: { toolUse: { toolUseId: 's', name: 'search', type: 'server_tool_use' } },
  })
  const result = awsEvent('contentBlockStart', {
    contentBlockIndex: 1,
    start: { toolResult: { toolUseId: 's' } },
  })
  const answer = decode(
    stream(
      start,
      hosted,
      input(0, '{"q":1}'),
      close(0),
      result,
      delta(1, { toolResult: [] }),
      close(1),
      text(2, 'x'),
      stop('end_turn'),
      metadata(),
    ),
  )
  assert.deepEqual([answer.choices[0]?.calls, answer.choices[0]?.text, answer.failure], [[], 'x', undefined])
})

test('reasoning ends where text begins in the same block, and where the message stops', () => {
  const one = decode(
    stream(
      start,
      delta(0, { reasoningContent: { text: 'hm' } }),
      text(0, 'so'),
      stop('end_turn'),
      metadata(),
    ),
  )
  assert.deepEqual([one.choices[0]?.reasoning, one.choices[0]?.text, one.ended], ['hm', 'so', true])
  const open = decode(stream(start, tool(0, 'a', 'look'), stop('tool_use'), metadata()))
  assert.equal(open.choices[0]?.calls[0]?.arguments, '{}')
})

const STOPS = {
  end_turn: 'stop',
  stop_sequence: 'stop',
  tool_use: 'tool_calls',
  max_tokens: 'length',
  model_context_window_exceeded: 'length',
  guardrail_intervened: 'content_filter',
  content_filtered: 'content_filter',
  something_new: 'stop',
} as const

test('every stop reason', () => {
  for (const [reason, finish] of Object.entries(STOPS)) {
    assert.equal(decode(stream(start, text(0, 'x'), stop(reason), metadata())).choices[0]?.finish, finish)
  }
})

test('an answer that stopped is whole without its metadata, and has no usage', () => {
  const answer = decode(stream(start, text(0, 'x'), stop('end_turn')))
  assert.deepEqual([answer.ended, answer.usage, answer.failure], [true, undefined, undefined])
  const untold = decode(stream(start, text(0, 'x'), stop('end_turn'), awsEvent('metadata', { metrics: {} })))
  assert.deepEqual([untold.ended, untold.usage], [true, undefined])
})

const error = (code: string) =>
  awsMessage({ ':message-type': 'error', ':error-code': code, ':error-message': 'Slow down' }, '')
const broken = Buffer.from(text(0, 'x'))
broken.writeUInt8(0, broken.length - 1)

const BROKEN: readonly [name: string, answer: Uint8Array | string, outcome: string, reason: string][] = [
  [
    'throttled first',
    awsException('throttlingException', { message: 'x' }),
    'refused_unbilled',
    'rate_limited',
  ],
  [
    'overloaded after its start',
    stream(start, awsException('serviceUnavailableException', {})),
    'refused_unbilled',
    'overloaded',
  ],
  [
    'overloaded after content',
    stream(start, text(0, 'x'), awsException('serviceUnavailableException', {})),
    'uncertain',
    'overloaded',
  ],
  [
    'too long',
    awsException('validationException', { message: 'Input is too long for requested model.' }),
    'request_fault',
    'context_length',
  ],
  [
    'a model that failed',
    stream(start, awsException('modelStreamErrorException', { originalMessage: 'x' })),
    'uncertain',
    'server_error',
  ],
  ['an exception that nobody knows', awsException('madeUpException', {}), 'uncertain', 'server_error'],
  ['an error that no model names', error('ThrottlingException'), 'refused_unbilled', 'rate_limited'],
  [
    'a call that its host could not read',
    stream(start, text(0, 'x'), stop('malformed_tool_use'), metadata()),
    'uncertain',
    'malformed',
  ],
  [
    'a wrong checksum',
    stream(start, broken, text(0, 'y'), stop('end_turn'), metadata()),
    'uncertain',
    'malformed',
  ],
  [
    'a payload that is no JSON',
    stream(start, awsMessage({ ':message-type': 'event', ':event-type': 'x' }, '{')),
    'uncertain',
    'malformed',
  ],
  ['metadata without a stop', stream(start, text(0, 'x'), metadata()), 'uncertain', 'stream_cut'],
  ['metadata alone', stream(metadata()), 'uncertain', 'empty'],
  ['arguments for no tool', stream(start, input(0, '{')), 'uncertain', 'malformed'],
  ['a tool without a name', stream(start, tool(0, 'a', '')), 'uncertain', 'malformed'],
  [
    'a blob that is no base64',
    stream(start, delta(0, { reasoningContent: { redactedContent: '!' } })),
    'uncertain',
    'malformed',
  ],
  ['HTML', '<html></html>', 'uncertain', 'wrong_content_type'],
  ['server-sent events', 'data: {"text":"x"}\n\n', 'uncertain', 'wrong_content_type'],
  [
    'another document',
    '{"Output":{"__type":"com.amazon.coral.service#UnknownOperationException"}}',
    'uncertain',
    'malformed',
  ],
  [
    'a document without a stop',
    '{"output":{"message":{"content":[{"text":"x"}]}}}',
    'uncertain',
    'stream_cut',
  ],
  ['nothing', '', 'uncertain', 'empty'],
]

for (const [name, answer, outcome, reason] of BROKEN) {
  test(`a broken answer is none: ${name}`, () => {
    for (const cuts of [[], Array.from({ length: answer.length }, (_, at) => at)]) {
      const { ended, failure } = decode(answer, cuts)
      assert.equal(ended, false)
      assert.deepEqual([failure?.outcome, failure?.reason], [outcome, reason])
    }
  })
}

test('an answer that is cut anywhere before its stop does not end', () => {
  const messages = [start, text(0, 'Hello'), close(0), stop('end_turn'), metadata()]
  const whole = stream(...messages)
  const stopsAt = whole.length - (messages.at(-1)?.length ?? 0)
  for (let at = 0; at < whole.length; at++) {
    assert.equal(decode(whole.subarray(0, at)).ended, at >= stopsAt, `at ${at}`)
  }
})

test('a message or a document beyond its bound is oversized', () => {
  const bounds = { eventCharactersMax: 500, documentBytesMax: 500 }
  const reason = (answer: string | Uint8Array) =>
    gather(decodeInPieces(bedrockConverse.decoder(bounds), answer)).failure?.reason
  assert.equal(reason(stream(start, text(0, 'x'.repeat(500)))), 'oversized')
  assert.equal(reason(JSON.stringify({ output: 'x'.repeat(500) })), 'oversized')
  const opened = Array.from({ length: 100 }, (_, index) => text(index, 'x'))
  assert.equal(reason(stream(start, ...opened)), 'malformed')
})

test('no bytes make a decoder throw, and every cut of them reads the same', () => {
  const anything = fc.constantFrom<unknown>(null, 0, -1, 1e300, '', 'x', [], {}, [{}], true)
  const body = fc.record({
    contentBlockIndex: fc.oneof(fc.nat({ max: 2 }), anything),
    start: fc.oneof(anything, fc.record({ toolUse: fc.record({ toolUseId: anything, name: anything }) })),
    delta: fc.oneof(
      anything,
      fc.record(
        {
          text: anything,
          toolUse: fc.record({ input: anything }),
          reasoningContent: fc.record({ text: anything, redactedContent: anything }),
        },
        { requiredKeys: [] },
      ),
    ),
    stopReason: anything,
    usage: fc.oneof(
      anything,
      fc.record({ inputTokens: anything, outputTokens: anything, cacheDetails: anything }),
    ),
    output: fc.record({
      message: fc.record({
        content: fc.array(fc.record({ text: anything, toolUse: anything, reasoningContent: anything })),
      }),
    }),
  })
  const names = fc.constantFrom(
    'messageStart',
    'contentBlockStart',
    'contentBlockDelta',
    'contentBlockStop',
    'messageStop',
    'metadata',
  )
  const hostile = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc
      .array(fc.tuple(names, body), { maxLength: 8 })
      .map((events) => stream(...events.map(([name, event]) => awsEvent(name, event)))),
    body.map((document) => Buffer.from(JSON.stringify(document))),
  )
  fc.assert(
    fc.property(hostile, fc.array(fc.nat(), { maxLength: 10 }), (bytes, cuts) => {
      const whole = decodeInPieces(bedrockConverse.decoder(DEFAULT_ANSWER_BOUNDS), bytes)
      assert.deepEqual(decodeInPieces(bedrockConverse.decoder(DEFAULT_ANSWER_BOUNDS), bytes, cuts), whole)
      gather(whole)
    }),
    { numRuns: 1000 },
  )
})

/** Prices of Claude Sonnet 4.5 at Bedrock, in pico-USD a token: input 3,000,000, output 15,000,000, cache read 300,000, write 3,750,000. */
const sonnet = loadCatalog()
  .models.find(({ id }) => id === 'mesh/claude-sonnet-4.5')
  ?.endpoints.find(({ provider }) => provider === 'amazon-bedrock')

interface Golden {
  readonly usage: object
  readonly buckets: Partial<ReturnType<typeof bedrockUsage>['buckets']>
}

const GOLDEN: Readonly<Record<string, Golden>> = {
  'input alone': {
    usage: { inputTokens: 100, outputTokens: 10, totalTokens: 110 },
    buckets: { input: 100, output: 10 },
  },
  'a cache read': {
    usage: {
      inputTokens: 100,
      outputTokens: 10,
      cacheReadInputTokens: 1_000,
      cacheWriteInputTokens: 0,
      totalTokens: 1_110,
    },
    buckets: { input: 100, cacheRead: 1_000, output: 10 },
  },
  'a write of five minutes': {
    usage: {
      inputTokens: 3,
      outputTokens: 227,
      cacheWriteInputTokens: 1_712,
      cacheDetails: [{ ttl: '5m', inputTokens: 1_712 }],
      totalTokens: 1_942,
    },
    buckets: { input: 3, cacheWrite5m: 1_712, output: 227 },
  },
  'a write of an hour': {
    usage: {
      inputTokens: 3,
      outputTokens: 1,
      cacheWriteInputTokens: 2_000,
      cacheDetails: [{ ttl: '1h', inputTokens: 2_000 }],
      totalTokens: 2_004,
    },
    buckets: { input: 3, cacheWrite1h: 2_000, output: 1 },
  },
  'writes of both': {
    usage: {
      inputTokens: 3,
      outputTokens: 1,
      cacheReadInputTokens: 7,
      cacheWriteInputTokens: 2_500,
      cacheDetails: [
        { ttl: '1h', inputTokens: 2_000 },
        { ttl: '5m', inputTokens: 500 },
      ],
      totalTokens: 2_511,
    },
    buckets: { input: 3, cacheRead: 7, cacheWrite1h: 2_000, cacheWrite5m: 500, output: 1 },
  },
  'a total without its split': {
    usage: { inputTokens: 3, outputTokens: 1, cacheWriteInputTokens: 900, totalTokens: 904 },
    buckets: { input: 3, cacheWrite5m: 900, output: 1 },
  },
}

for (const [name, { usage, buckets }] of Object.entries(GOLDEN)) {
  test(`peer bug 10: ${name} is counted once and priced at its own rate, streamed or not`, () => {
    assert.ok(sonnet)
    const streamed = decode(stream(start, text(0, 'x'), stop('end_turn'), metadata(usage)))
    const document = decode(
      JSON.stringify({ output: { message: { content: [{ text: 'x' }] } }, stopReason: 'end_turn', usage }),
    )
    const rates = ratesFor(sonnet.prices, 0, new Date(0))
    for (const answer of [streamed, document]) {
      assert.deepEqual(answer.usage?.flags, [])
      const counted = answer.usage?.buckets
      assert.ok(counted)
      const given = Object.fromEntries(Object.entries(counted).filter(([, tokens]) => tokens !== 0))
      assert.deepEqual(given, buckets)
      const expected =
        BigInt(buckets.input ?? 0) * 3_000_000n +
        BigInt(buckets.cacheRead ?? 0) * 300_000n +
        BigInt(buckets.cacheWrite5m ?? 0) * 3_750_000n +
        BigInt(buckets.cacheWrite1h ?? 0) * rates.cacheWrite1h +
        BigInt(buckets.output ?? 0) * 15_000_000n
      assert.equal(costPico(counted, rates), expected)
    }
  })
}

test('numbers that cannot be true are read for what they can mean, and flagged', () => {
  const read = (usage: Parameters<typeof bedrockUsage>[0]) => {
    const { buckets, flags } = bedrockUsage(usage)
    return [buckets.input, buckets.output, [...flags].sort()]
  }
  assert.deepEqual(read({ inputTokens: 5, totalTokens: 12 }), [5, 7, []])
  assert.deepEqual(read({ outputTokens: 7, totalTokens: 12 }), [5, 7, []])
  assert.deepEqual(read({ inputTokens: 5, outputTokens: 7, totalTokens: 20 }), [5, 15, ['sum_mismatch']])
  assert.deepEqual(read({ inputTokens: 5, outputTokens: 7, totalTokens: 2 }), [5, 7, ['sum_mismatch']])
  assert.deepEqual(read({ totalTokens: 20 }), [0, 0, ['missing', 'sum_mismatch']])
  assert.deepEqual(read({}), [0, 0, ['missing']])
  assert.deepEqual(read({ inputTokens: -5, outputTokens: 7 }), [0, 7, ['missing', 'negative']])
  assert.deepEqual(read({ inputTokens: 1.5, outputTokens: '7' }), [2, 0, ['missing', 'not_an_integer']])
  const overlapping = bedrockUsage({
    inputTokens: 1,
    outputTokens: 1,
    cacheWriteInputTokens: 5,
    cacheDetails: [{ ttl: '1h', inputTokens: 9 }],
  })
  assert.deepEqual([overlapping.buckets.cacheWrite1h, overlapping.flags], [9, ['sum_mismatch']])
})

test("AWS's errors are told apart by their type, wherever it stands", () => {
  const cases: readonly [number, string, string, string][] = [
    [429, 'ThrottlingException', 'refused_unbilled', 'rate_limited'],
    [400, 'ThrottlingException', 'refused_unbilled', 'rate_limited'],
    [429, 'ModelNotReadyException', 'refused_unbilled', 'overloaded'],
    [503, 'ServiceUnavailableException', 'refused_unbilled', 'overloaded'],
    [403, 'AccessDeniedException', 'refused_unbilled', 'credential_refused'],
    [403, 'UnrecognizedClientException', 'refused_unbilled', 'credential_refused'],
    [403, 'ExpiredTokenException', 'refused_unbilled', 'credential_refused'],
    [400, 'ServiceQuotaExceededException', 'refused_unbilled', 'quota_exhausted'],
    [404, 'ResourceNotFoundException', 'refused_unbilled', 'model_not_found'],
    [408, 'ModelTimeoutException', 'uncertain', 'server_error'],
    [424, 'ModelErrorException', 'uncertain', 'server_error'],
    [500, 'InternalServerException', 'uncertain', 'server_error'],
    [400, 'ValidationException', 'request_fault', 'invalid_request'],
    [418, 'MadeUpException', 'request_fault', 'invalid_request'],
    [500, 'MadeUpException', 'uncertain', 'server_error'],
  ]
  for (const [status, type, outcome, reason] of cases) {
    const inHeader = { 'x-amzn-errortype': `${type}:http://internal.amazon.com/coral/com.amazon.bedrock/` }
    const inBody = JSON.stringify({ __type: `com.amazon.coral.service#${type}`, message: 'no' })
    assert.deepEqual(bedrockConverse.classify(status, inHeader, '{"message":"no"}'), {
      outcome,
      reason,
      status,
    })
    assert.deepEqual(bedrockConverse.classify(status, {}, inBody), { outcome, reason, status })
  }
  const throttled = { 'x-amzn-errortype': 'ThrottlingException', 'retry-after': '3' }
  assert.equal(bedrockConverse.classify(429, throttled, '').retryAfterMs, 3_000)
  assert.equal(bedrockConverse.classify(502, {}, '<html>').reason, 'server_error')
})

test('what was wrong with a request is told apart by its text', () => {
  const cases: readonly [string, string, string][] = [
    ['Input is too long for requested model.', 'request_fault', 'context_length'],
    [
      'The model returned the following errors: prompt is too long: 205000 tokens > 200000 maximum',
      'request_fault',
      'context_length',
    ],
    ['The provided model identifier is invalid.', 'refused_unbilled', 'model_not_found'],
    [
      "Invocation of model ID x with on-demand throughput isn't supported. Retry your request with the ID or ARN of an inference profile",
      'refused_unbilled',
      'model_not_found',
    ],
    [
      "This model doesn't support the video content block that you provided.",
      'request_fault',
      'invalid_request',
    ],
    ['The maximum tokens you requested exceeds the model limit of 4096.', 'request_fault', 'invalid_request'],
  ]
  const headers = { 'x-amzn-errortype': 'ValidationException' }
  for (const [message, outcome, reason] of cases) {
    const failure = bedrockConverse.classify(400, headers, JSON.stringify({ message }))
    assert.deepEqual(failure, { outcome, reason, status: 400 }, message)
  }
})

test('a text that cites is a text', () => {
  const cited = { content: [{ text: 'so ' }, { text: 'it is' }], citations: [{ title: 'a' }] }
  const content = [{ text: 'They say ' }, { citationsContent: cited }, { text: '.' }]
  const message = { role: 'assistant', content }
  const answer = decode(JSON.stringify({ output: { message }, stopReason: 'end_turn', usage: USAGE }))
  assert.equal(answer.choices[0]?.text, 'They say so it is.')
})
