import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Endpoint } from '@mesh/catalog/catalog.ts'
import { testAsk, testEndpoint } from '../../test/endpoints.ts'
import type { Ask, Message, ToolCall } from '../ask.ts'
import { gemini } from './gemini.ts'

const GOOGLE: Partial<Endpoint> = { provider: 'google', protocol: 'gemini', outputTokensMax: 65_536 }
const SECOND = testEndpoint({
  ...GOOGLE,
  upstreamModel: 'gemini-2.5-flash',
  reasoningOptions: [{ type: 'toggle' }, { type: 'budget_tokens', min: 0, max: 24_576 }],
})
const SECOND_PRO = testEndpoint({
  ...GOOGLE,
  upstreamModel: 'gemini-2.5-pro',
  reasoningOptions: [{ type: 'budget_tokens', min: 128, max: 32_768 }],
})
const THIRD = testEndpoint({
  ...GOOGLE,
  upstreamModel: 'gemini-3.5-flash',
  reasoningOptions: [{ type: 'effort', values: ['low', 'medium', 'high'] }],
})

function encode(ask: Partial<Ask> = {}, endpoint = SECOND, options: object = {}) {
  const encoded = gemini.encode(testAsk(ask), endpoint, { stream: false, ...options })
  return { ...encoded, body: JSON.parse(encoded.body) }
}

const text = (said: string) => [{ type: 'text' as const, text: said }]
const user = (said: string): Message => ({ role: 'user', parts: text(said) })
const assistant = (more: object = {}): Message => ({
  role: 'assistant',
  parts: [],
  toolCalls: [],
  reasoning: [],
  ...more,
})
const result = (toolCallId: string, said: string): Message => ({
  role: 'tool',
  toolCallId,
  parts: text(said),
})
const called = (id: string, signature?: string): ToolCall => ({
  id,
  name: `f_${id}`,
  arguments: '{"x":1}',
  ...(signature === undefined ? {} : { signature }),
})
const PNG = { kind: 'base64' as const, mediaType: 'image/png', base64: 'AAAA' }
const UNSIGNED = btoa('skip_thought_signature_validator')

test('the smallest request says no more than it must, and that it is not to be kept', () => {
  const { path, body, droppedParameters, headers } = encode()
  assert.equal(path, '/models/gemini-2.5-flash:generateContent')
  assert.deepEqual(body, {
    contents: [{ role: 'user', parts: [{ text: 'Hello' }] }],
    generationConfig: {},
    store: false,
  })
  assert.deepEqual(droppedParameters, [])
  assert.equal(headers.accept, 'application/json')
})

test('a stream has a path of its own, and a model is made fit for one', () => {
  const odd = testEndpoint({ ...GOOGLE, upstreamModel: 'tuned/my model' })
  const { path, headers } = encode({}, odd, { stream: true })
  assert.equal(path, '/models/tuned%2Fmy%20model:streamGenerateContent?alt=sse')
  assert.equal(headers.accept, 'text/event-stream')
})

test('sampling, bounds and stop sequences; what no model takes is dropped and named', () => {
  const { body, droppedParameters } = encode(
    {
      temperature: 0.5,
      topP: 0.9,
      topK: 40,
      stop: ['end'],
      choices: 3,
      maxOutputTokens: 100_000,
      endUserHmac: 'hmac',
      extras: { seed: 7, frequency_penalty: 1, logprobs: true, top_logprobs: 2, logit_bias: null },
    },
    SECOND,
    { outputTokensCap: 70_000 },
  )
  assert.deepEqual(body.generationConfig, {
    temperature: 0.5,
    topP: 0.9,
    topK: 40,
    seed: 7,
    stopSequences: ['end'],
    candidateCount: 3,
    maxOutputTokens: 65_536,
  })
  assert.deepEqual([...droppedParameters].sort(), ['frequency_penalty', 'logprobs', 'top_logprobs', 'user'])
  assert.deepEqual(encode({ extras: { seed: 2 ** 40 } }).droppedParameters, ['seed'])
  assert.deepEqual(encode({ topK: 0 }).body.generationConfig, {})
  const third = encode({ choices: 3 }, THIRD)
  assert.equal(third.body.generationConfig.candidateCount, undefined)
  assert.deepEqual(third.droppedParameters, ['n'])
})

test('what the system says goes out of the conversation, in order', () => {
  const developer: Message = { role: 'developer', parts: text('b') }
  const { body } = encode({ messages: [{ role: 'system', parts: text('a') }, user('hi'), developer] })
  assert.deepEqual(body.systemInstruction, { parts: [{ text: 'a' }, { text: 'b' }] })
  assert.deepEqual(body.contents, [{ role: 'user', parts: [{ text: 'hi' }] }])
  const alone = encode({ messages: [developer] }).body
  assert.equal(alone.systemInstruction, undefined)
  assert.deepEqual(alone.contents, [{ role: 'user', parts: [{ text: 'b' }] }])
})

test('pictures, documents and sound, by their bytes or where they are', () => {
  const { body, droppedParameters } = encode({
    messages: [
      {
        role: 'user',
        name: 'Ada',
        parts: [
          { type: 'image', source: PNG, detail: 'high' },
          { type: 'image', source: { kind: 'url', url: 'https://example.com/a/cat.JPG?size=2' } },
          { type: 'image', source: { kind: 'url', url: 'https://example.com/cat' } },
          {
            type: 'file',
            source: { kind: 'base64', mediaType: 'application/pdf', base64: 'BBBB' },
            filename: 'x.pdf',
          },
          { type: 'audio', format: 'mp3', base64: 'CCCC' },
          { type: 'text', text: 'What?', cache: { ttl: '5m' } },
        ],
      },
    ],
  })
  assert.deepEqual(body.contents[0].parts, [
    { inlineData: { mimeType: 'image/png', data: 'AAAA' } },
    { fileData: { fileUri: 'https://example.com/a/cat.JPG?size=2', mimeType: 'image/jpeg' } },
    { fileData: { fileUri: 'https://example.com/cat' } },
    { inlineData: { mimeType: 'application/pdf', data: 'BBBB' } },
    { inlineData: { mimeType: 'audio/mp3', data: 'CCCC' } },
    { text: 'What?' },
  ])
  assert.deepEqual([...droppedParameters].sort(), [
    'cache_control',
    'file.filename',
    'image_url.detail',
    'messages.name',
  ])
})

test('results of parallel calls are one content, name their functions, and are objects', () => {
  const { body } = encode({
    messages: [
      user('go'),
      assistant({ toolCalls: [called('1'), called('2'), called('3')] }),
      result('1', '{"sky": "blue"}'),
      result('2', 'sunny'),
      result('3', '{"id": 12345678901234567890}'),
      user('and?'),
    ],
  })
  const response = (id: string, value: object) => ({
    functionResponse: { id, name: `f_${id}`, response: value },
  })
  assert.deepEqual(body.contents.slice(2), [
    {
      role: 'user',
      parts: [
        response('1', { sky: 'blue' }),
        response('2', { output: 'sunny' }),
        // A number that a parser would change goes as text.
        response('3', { output: '{"id": 12345678901234567890}' }),
      ],
    },
    { role: 'user', parts: [{ text: 'and?' }] },
  ])
})

test('arguments that are no object are shown to the model as what they are', () => {
  for (const [written, args] of [
    ['', {}],
    ['{"a":', { INVALID_JSON: '{"a":' }],
    ['[1]', { INVALID_JSON: '[1]' }],
    [`${'{"0":'.repeat(20_000)}1${'}'.repeat(20_000)}`, undefined],
  ] as const) {
    const { body } = encode({
      messages: [
        user('go'),
        assistant({ toolCalls: [{ id: '1', name: 'f', arguments: written }] }),
        result('1', 'x'),
      ],
    })
    const sent = body.contents[1].parts[0].functionCall.args
    assert.deepEqual(sent, args ?? { INVALID_JSON: written })
  }
})

test('media that a tool returns: inside its result from the third generation on, after the results before', () => {
  const shown = { type: 'image' as const, source: PNG }
  const messages: Message[] = [
    user('go'),
    assistant({ toolCalls: [called('1', 'c2ln'), called('2')] }),
    { role: 'tool', toolCallId: '1', parts: [shown] },
    { role: 'tool', toolCallId: '2', parts: [...text('seen'), shown] },
  ]
  const inline = { inlineData: { mimeType: 'image/png', data: 'AAAA' } }
  const third = encode({ messages }, THIRD).body.contents
  assert.deepEqual(third[2].parts, [
    { functionResponse: { id: '1', name: 'f_1', response: {}, parts: [inline] } },
    { functionResponse: { id: '2', name: 'f_2', response: { output: 'seen' }, parts: [inline] } },
  ])
  assert.equal(third.length, 3)
  const second = encode({ messages }, SECOND).body.contents
  assert.deepEqual(second.slice(2), [
    {
      role: 'user',
      parts: [
        { functionResponse: { id: '1', name: 'f_1', response: {} } },
        { functionResponse: { id: '2', name: 'f_2', response: { output: 'seen' } } },
      ],
    },
    { role: 'user', parts: [inline, inline] },
  ])
})

const own = (more: object) => ({ text: '', format: 'google-gemini-v1', ...more })

test('a signature returns on the part that carried it, and to nobody else', () => {
  const turn = (message: Message, endpoint = THIRD) =>
    encode({ messages: [user('go'), message, result('1', 'x')] }, endpoint).body.contents[1].parts
  const call = (id: string, thoughtSignature?: string) => ({
    functionCall: { id, name: `f_${id}`, args: { x: 1 } },
    ...(thoughtSignature === undefined ? {} : { thoughtSignature }),
  })
  // Of calls in parallel the first has the signature of all.
  assert.deepEqual(turn(assistant({ toolCalls: [called('1', 'c2ln'), called('2')] })), [
    call('1', 'c2ln'),
    call('2'),
  ])
  // Text has its own, and its thoughts go back as such.
  const reasoning = [own({ text: 'hm' }), own({ signature: 'dGV4dA==' })]
  assert.deepEqual(turn(assistant({ parts: text('Hi'), reasoning, toolCalls: [called('1', 'c2ln')] })), [
    { text: 'hm', thought: true },
    { text: 'Hi', thoughtSignature: 'dGV4dA==' },
    call('1', 'c2ln'),
  ])
  // Without a text it is the call's, unless that has one.
  assert.deepEqual(turn(assistant({ reasoning, toolCalls: [called('1')] })).slice(1), [call('1', 'dGV4dA==')])
  assert.deepEqual(turn(assistant({ reasoning })).slice(1), [{ text: '', thoughtSignature: 'dGV4dA==' }])
  // Another model's blocks and calls: none of its proofs, and a word for that where one is needed.
  const foreign = [
    { text: 'hm', signature: 's', format: 'anthropic-claude-v1' },
    { text: 'x', signature: 's' },
  ]
  const byClaude = assistant({ reasoning: foreign, toolCalls: [called('1'), called('2')] })
  assert.deepEqual(turn(byClaude), [call('1', UNSIGNED), call('2')])
  assert.deepEqual(turn(byClaude, SECOND), [call('1'), call('2')])
})

test('several messages of the assistant are one content, and a message with nothing in it stays a turn', () => {
  const { body } = encode({
    messages: [
      user('a'),
      assistant({ parts: text('b') }),
      assistant({ toolCalls: [called('1')] }),
      result('1', 'c'),
    ],
  })
  assert.deepEqual(
    body.contents.map(({ role, parts }: { role: string; parts: object[] }) => [role, parts.length]),
    [
      ['user', 1],
      ['model', 2],
      ['user', 1],
    ],
  )
  const silent = encode({ messages: [user('a'), assistant(), user('b')] }).body.contents
  assert.deepEqual(silent[1], { role: 'model', parts: [{ text: '' }] })
})

const TOOLS: Ask['tools'] = [
  { name: 'look', description: 'Looks.', parameters: { type: 'object', properties: { b: {}, a: {} } } },
  { name: 'wait' },
]

test('tools, and the modes of calling them', () => {
  const { body } = encode({ tools: TOOLS })
  assert.equal(
    JSON.stringify(body.tools),
    '[{"functionDeclarations":[{"name":"look","description":"Looks.",' +
      '"parametersJsonSchema":{"type":"object","properties":{"b":{},"a":{}}}},{"name":"wait"}]}]',
  )
  assert.equal(body.toolConfig, undefined)
  const configOf = (ask: Partial<Ask>) =>
    encode({ tools: TOOLS, ...ask }).body.toolConfig?.functionCallingConfig
  assert.deepEqual(configOf({ toolChoice: 'auto' }), { mode: 'AUTO' })
  assert.deepEqual(configOf({ toolChoice: 'none' }), { mode: 'NONE' })
  assert.deepEqual(configOf({ toolChoice: 'required' }), { mode: 'ANY' })
  assert.deepEqual(configOf({ toolChoice: { name: 'wait' } }), {
    mode: 'ANY',
    allowedFunctionNames: ['wait'],
  })
  const strict = TOOLS.map((tool) => ({ ...tool, strict: true }))
  assert.deepEqual(configOf({ tools: strict }), { mode: 'VALIDATED' })
  const single = encode({ tools: TOOLS, parallelToolCalls: false })
  assert.deepEqual(single.droppedParameters, ['parallel_tool_calls'])
  const without = testEndpoint({ ...GOOGLE, supportedParameters: [] })
  const bare = encode({ tools: TOOLS, toolChoice: 'auto' }, without)
  assert.deepEqual(bare.droppedParameters, ['tools', 'tool_choice'])
  assert.equal(bare.body.tools, undefined)
})

test('JSON by its format, or in words where a model does not take the format next to tools', () => {
  const schema = { type: 'object', properties: { a: { type: 'string' } } }
  const format = { type: 'json_schema' as const, name: 'x', schema, strict: true }
  assert.deepEqual(encode({ responseFormat: format }).body.generationConfig, {
    responseMimeType: 'application/json',
    responseJsonSchema: schema,
  })
  assert.deepEqual(encode({ responseFormat: { type: 'json_object' } }).body.generationConfig, {
    responseMimeType: 'application/json',
  })
  const withTools = { responseFormat: format, tools: TOOLS }
  assert.ok(encode(withTools, THIRD).body.generationConfig.responseJsonSchema)
  const second = encode(withTools, SECOND)
  assert.deepEqual(second.body.generationConfig, {})
  assert.match(second.body.systemInstruction.parts[0].text, /valid against this JSON Schema/)
  assert.deepEqual(second.droppedParameters, ['response_format.json_schema.strict'])
})

const THINKING: readonly (readonly [
  name: string,
  reasoning: Ask['reasoning'],
  endpoint: Endpoint,
  config: object | undefined,
  dropped?: readonly string[],
])[] = [
  ['a level', { effort: 'medium' }, THIRD, { includeThoughts: true, thinkingLevel: 'MEDIUM' }],
  ['the nearest level', { effort: 'max' }, THIRD, { includeThoughts: true, thinkingLevel: 'HIGH' }],
  ['a level that does not show', { effort: 'low', exclude: true }, THIRD, { thinkingLevel: 'LOW' }],
  ['off where it cannot be', { effort: 'none' }, THIRD, { thinkingLevel: 'LOW' }, ['reasoning.effort']],
  [
    'a budget where levels are known',
    { maxTokens: 900 },
    THIRD,
    { includeThoughts: true, thinkingLevel: 'MEDIUM' },
    ['reasoning.max_tokens'],
  ],
  ['a budget', { maxTokens: 900 }, SECOND, { includeThoughts: true, thinkingBudget: 900 }],
  ['a share of the cap', { effort: 'medium' }, SECOND, { includeThoughts: true, thinkingBudget: 2_000 }],
  ['off', { effort: 'none' }, SECOND, { thinkingBudget: 0 }],
  ['the least, for off', { effort: 'none' }, SECOND_PRO, { thinkingBudget: 128 }, ['reasoning.effort']],
  ['nothing asked', { exclude: true }, SECOND, undefined],
  [
    'a model that cannot',
    { effort: 'low' },
    testEndpoint({ ...GOOGLE, supportedParameters: [] }),
    undefined,
    ['reasoning'],
  ],
]

for (const [name, reasoning, endpoint, config, dropped = []] of THINKING) {
  test(`Gemini's thinking: ${name}`, () => {
    const { body, droppedParameters } = encode(reasoning ? { reasoning } : {}, endpoint, {
      outputTokensCap: 4_000,
    })
    assert.deepEqual(body.generationConfig.thinkingConfig, config)
    assert.deepEqual(droppedParameters, dropped)
  })
}

test('peer bug 20: the same ask is the same bytes, and what was said stays so when more is said', () => {
  const messages = [user('go'), assistant({ toolCalls: [called('1')] }), result('1', 'x')]
  const ask = testAsk({ messages, tools: TOOLS })
  const first = gemini.encode(ask, THIRD, { stream: false }).body
  assert.equal(gemini.encode(structuredClone(ask), THIRD, { stream: false }).body, first)
  const before = JSON.parse(first)
  const after = encode(
    { messages: [...messages, assistant({ parts: text('y') }), user('z')], tools: TOOLS },
    THIRD,
  ).body
  assert.deepEqual(after.contents.slice(0, 3), before.contents)
  assert.equal(JSON.stringify(after.tools), JSON.stringify(before.tools))
})
