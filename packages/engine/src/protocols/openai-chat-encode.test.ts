import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Endpoint } from '@mesh/catalog/catalog.ts'
import { testAsk, testEndpoint } from '../../test/endpoints.ts'
import type { Ask } from '../ask.ts'
import type { EncodeOptions } from '../protocol.ts'
import { openaiChat } from './openai-chat.ts'

function encode(
  ask: Partial<Ask>,
  endpoint: Partial<Endpoint> = {},
  options: EncodeOptions = { stream: false },
) {
  const { body, ...request } = openaiChat.encode(testAsk(ask), testEndpoint(endpoint), options)
  return { ...request, body: JSON.parse(body) }
}

const WEATHER = {
  name: 'weather',
  description: 'Tells the weather.',
  parameters: { type: 'object', properties: { z: { type: 'string' }, a: { type: 'number' } } },
}

test('the smallest request to OpenAI, byte by byte', () => {
  const { path, headers, body, droppedParameters } = openaiChat.encode(testAsk(), testEndpoint({}), {
    stream: true,
    outputTokensCap: 50,
  })
  assert.equal(path, '/chat/completions')
  assert.deepEqual(headers, { 'content-type': 'application/json', accept: 'text/event-stream' })
  assert.equal(
    body,
    '{"model":"test-1","messages":[{"role":"user","content":"Hello"}],"max_completion_tokens":50,' +
      '"store":false,"stream":true,"stream_options":{"include_usage":true}}',
  )
  assert.deepEqual(droppedParameters, [])
})

const ACCOUNT_FIELDS: readonly (readonly [Partial<Endpoint>, object])[] = [
  [{ provider: 'openai' }, { prompt_cache_key: 'account' }],
  [{ provider: 'azure', model: 'mesh/gpt-4.1' }, { prompt_cache_key: 'account' }],
  [{ provider: 'azure', model: 'mesh/llama-4-scout' }, {}],
  [{ provider: 'fireworks' }, { prompt_cache_isolation_key: 'account' }],
  [{ provider: 'deepseek' }, { user_id: 'account' }],
  [
    { provider: 'own', dataPolicy: { retention: 'none', training: 'no', promptCache: 'cache_salt' } },
    { cache_salt: 'account' },
  ],
  [{ provider: 'mistral' }, {}],
  [{ provider: 'groq' }, {}],
]

for (const [endpoint, sent] of ACCOUNT_FIELDS) {
  test(`the account whose prompts they are is told as ${JSON.stringify(sent)}: ${endpoint.provider} ${endpoint.model ?? ''}`, () => {
    const { body } = encode({ accountKey: 'account' }, endpoint)
    const { prompt_cache_key, prompt_cache_isolation_key, user_id, cache_salt } = body
    const fields = { prompt_cache_key, prompt_cache_isolation_key, user_id, cache_salt }
    assert.deepEqual(JSON.parse(JSON.stringify(fields)), sent)
  })
}

test("a caller's own cache key comes before that of his account", () => {
  const { body } = encode({ accountKey: 'account', extras: { prompt_cache_key: 'his' } })
  assert.equal(body.prompt_cache_key, 'his')
})

test('everything that OpenAI takes', () => {
  const { body, droppedParameters } = encode({
    tools: [{ ...WEATHER, strict: true }],
    toolChoice: { name: 'weather' },
    parallelToolCalls: false,
    responseFormat: { type: 'json_schema', name: 'answer', schema: { type: 'object' }, strict: true },
    maxOutputTokens: 99,
    temperature: 0.5,
    topP: 0.9,
    stop: ['END'],
    choices: 2,
    extras: { seed: 7, logit_bias: { '5': 1 }, logprobs: true, top_logprobs: 2, prompt_cache_key: 'k' },
    endUserHmac: 'abc',
  })
  assert.deepEqual(body, {
    model: 'test-1',
    messages: [{ role: 'user', content: 'Hello' }],
    tools: [{ type: 'function', function: { ...WEATHER, strict: true } }],
    tool_choice: { type: 'function', function: { name: 'weather' } },
    parallel_tool_calls: false,
    response_format: {
      type: 'json_schema',
      json_schema: { name: 'answer', schema: { type: 'object' }, strict: true },
    },
    temperature: 0.5,
    top_p: 0.9,
    stop: ['END'],
    n: 2,
    seed: 7,
    logit_bias: { '5': 1 },
    logprobs: true,
    top_logprobs: 2,
    prompt_cache_key: 'k',
    max_completion_tokens: 99,
    user: 'abc',
    store: false,
    stream: false,
  })
  assert.deepEqual(droppedParameters, [])
})

test("a tool's schema keeps the order of its keys, for prompt caches depend on the bytes", () => {
  const { body } = openaiChat.encode(testAsk({ tools: [WEATHER] }), testEndpoint({}), { stream: false })
  assert.ok(body.includes(JSON.stringify(WEATHER.parameters)))
})

test('what would store, multiply or outsource a call never passes', () => {
  const extras = {
    service_tier: 'priority',
    web_search_options: {},
    store: true,
    background: true,
    modalities: ['audio'],
    metadata: { a: 'b' },
    stream_options: {},
    user: 'someone',
  }
  const { body, droppedParameters } = encode({ extras })
  assert.deepEqual(droppedParameters, Object.keys(extras))
  assert.deepEqual(Object.keys(body), ['model', 'messages', 'store', 'stream'])
  assert.equal(body.store, false)
})

test('a reasoning model of OpenAI is spared the sampling parameters that it refuses', () => {
  const reasons = testEndpoint({}).supportedParameters.filter(
    (name) => !['temperature', 'top_p'].includes(name),
  )
  const { body, droppedParameters } = encode(
    {
      temperature: 1,
      topP: 1,
      topK: 5,
      stop: ['x'],
      extras: { presence_penalty: 1, frequency_penalty: 1, logprobs: true, seed: 1, verbosity: 'low' },
    },
    { supportedParameters: reasons },
  )
  const dropped = [
    'temperature',
    'top_p',
    'top_k',
    'stop',
    'presence_penalty',
    'frequency_penalty',
    'logprobs',
  ]
  assert.deepEqual(droppedParameters, dropped)
  assert.deepEqual(Object.keys(body), ['model', 'messages', 'seed', 'verbosity', 'store', 'stream'])
})

test('the output cap never exceeds what the endpoint takes, and has the name that it knows', () => {
  assert.equal(encode({}, {}, { stream: false, outputTokensCap: 99_999 }).body.max_completion_tokens, 10_000)
  assert.equal(encode({}, { provider: 'groq' }, { stream: false, outputTokensCap: 9 }).body.max_tokens, 9)
  assert.equal(encode({ maxOutputTokens: 8 }, { provider: 'nobody' }).body.max_tokens, 8)
  assert.equal('max_completion_tokens' in encode({}).body, false)
})

test("on Azure, OpenAI's models are asked as OpenAI's are, those of other makers in plainer words", () => {
  const ask = { maxOutputTokens: 9, extras: { verbosity: 'low', seed: 1 }, choices: 2 }
  const own = encode(ask, { provider: 'azure', model: 'mesh/gpt-5.5', protocol: 'azure_openai' })
  assert.deepEqual(own.body, encode(ask).body)
  const other = encode(ask, { provider: 'azure', model: 'mesh/llama-4-maverick', protocol: 'azure_openai' })
  assert.deepEqual(other.body, {
    model: 'test-1',
    messages: [{ role: 'user', content: 'Hello' }],
    seed: 1,
    max_tokens: 9,
    stream: false,
  })
  assert.deepEqual(other.droppedParameters, ['n', 'verbosity'])
})

test('of the newest models of OpenAI tools are asked without thinking, and who wished for both is told so', () => {
  const newest = { provider: 'azure', model: 'mesh/gpt-5.5', protocol: 'azure_openai' } as const
  const both = encode({ tools: [WEATHER], reasoning: { effort: 'high' } }, newest)
  assert.equal(both.body.reasoning_effort, 'none')
  assert.deepEqual(both.droppedParameters, ['reasoning'])
  const unasked = encode({ tools: [WEATHER] }, newest)
  assert.equal(unasked.body.reasoning_effort, 'none')
  assert.deepEqual(unasked.droppedParameters, [])
  assert.equal(
    encode({ tools: [WEATHER] }, { ...newest, model: 'mesh/gpt-5-mini' }).body.reasoning_effort,
    undefined,
  )
})

test("Mistral's own words", () => {
  const { body, droppedParameters } = encode(
    {
      messages: [
        { role: 'developer', parts: [{ type: 'text', text: 'Be brief.' }] },
        {
          role: 'user',
          name: 'Ann',
          parts: [
            { type: 'text', text: 'Read' },
            { type: 'file', source: { kind: 'url', url: 'https://example.com/a.pdf' }, filename: 'a.pdf' },
          ],
        },
        {
          role: 'assistant',
          parts: [],
          toolCalls: [
            { id: 'toolu_01ABC', name: 'weather', arguments: '{}' },
            { id: 'abcDEF123', name: 'weather', arguments: '{}' },
          ],
          reasoning: [{ text: 'hm' }],
        },
        { role: 'tool', toolCallId: 'toolu_01ABC', parts: [{ type: 'text', text: 'sun' }] },
        { role: 'tool', toolCallId: 'abcDEF123', parts: [{ type: 'text', text: 'rain' }] },
      ],
      tools: [WEATHER],
      toolChoice: 'required',
      extras: { seed: 3, logprobs: true },
      endUserHmac: 'abc',
    },
    { provider: 'mistral' },
    { stream: true, outputTokensCap: 5 },
  )
  const mapped = body.messages[2].tool_calls[0].id
  assert.match(mapped, /^[a-zA-Z0-9]{9}$/)
  assert.deepEqual(body, {
    model: 'test-1',
    messages: [
      { role: 'system', content: 'Be brief.' },
      {
        role: 'user',
        content: [
          { type: 'text', text: 'Read' },
          { type: 'document_url', document_url: 'https://example.com/a.pdf', document_name: 'a.pdf' },
        ],
      },
      {
        role: 'assistant',
        content: null,
        tool_calls: [
          { id: mapped, type: 'function', function: { name: 'weather', arguments: '{}' } },
          { id: 'abcDEF123', type: 'function', function: { name: 'weather', arguments: '{}' } },
        ],
      },
      { role: 'tool', tool_call_id: mapped, content: 'sun' },
      { role: 'tool', tool_call_id: 'abcDEF123', content: 'rain' },
    ],
    tools: [{ type: 'function', function: WEATHER }],
    tool_choice: 'any',
    random_seed: 3,
    max_tokens: 5,
    stream: true,
  })
  assert.deepEqual(droppedParameters, ['messages.name', 'logprobs', 'user'])
})

test('images, PDF, audio, and what a tool returned beside text', () => {
  const image = { kind: 'base64', mediaType: 'image/png', base64: 'AAAA' } as const
  const { body } = encode({
    messages: [
      {
        role: 'user',
        parts: [
          { type: 'image', source: { kind: 'url', url: 'https://example.com/a.png' }, detail: 'low' },
          { type: 'file', source: { ...image, mediaType: 'application/pdf' }, filename: 'a.pdf' },
          { type: 'audio', format: 'mp3', base64: 'BBBB' },
        ],
      },
      {
        role: 'assistant',
        parts: [],
        toolCalls: [
          { id: '1', name: 'a', arguments: '' },
          { id: '2', name: 'b', arguments: '' },
        ],
        reasoning: [],
      },
      {
        role: 'tool',
        toolCallId: '1',
        parts: [
          { type: 'text', text: 'see' },
          { type: 'image', source: image },
        ],
      },
      { role: 'tool', toolCallId: '2', parts: [{ type: 'text', text: 'two' }] },
    ],
  })
  assert.deepEqual(body.messages[0].content, [
    { type: 'image_url', image_url: { url: 'https://example.com/a.png', detail: 'low' } },
    { type: 'file', file: { filename: 'a.pdf', file_data: 'data:application/pdf;base64,AAAA' } },
    { type: 'input_audio', input_audio: { data: 'BBBB', format: 'mp3' } },
  ])
  assert.deepEqual(body.messages.slice(2), [
    { role: 'tool', tool_call_id: '1', content: 'see' },
    { role: 'tool', tool_call_id: '2', content: 'two' },
    { role: 'user', content: [{ type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } }] },
  ])
})

test("a model's own reasoning goes back where it is wanted, another protocol's nowhere", () => {
  const messages: Ask['messages'] = [
    {
      role: 'assistant',
      parts: [{ type: 'text', text: 'Hi' }],
      toolCalls: [],
      reasoning: [{ text: 'mine' }, { text: 'signed', signature: 's' }, { text: '', redacted: 'r' }],
    },
  ]
  const sent = (provider: string) => encode({ messages }, { provider }).body.messages[0]
  assert.deepEqual(sent('openai'), { role: 'assistant', content: 'Hi' })
  assert.deepEqual(sent('deepseek'), { role: 'assistant', content: 'Hi', reasoning_content: 'mine' })
  assert.deepEqual(sent('groq'), { role: 'assistant', content: 'Hi', reasoning: 'mine' })
})

test('a response format that an endpoint does not know is asked for in words', () => {
  const supportedParameters = ['response_format.json_object', 'max_tokens']
  const responseFormat = { type: 'json_schema', name: 'x', schema: { type: 'object' }, strict: true } as const
  const { body, droppedParameters } = encode({ responseFormat }, { supportedParameters })
  assert.deepEqual(body.response_format, { type: 'json_object' })
  assert.equal(body.messages[0].role, 'system')
  assert.match(body.messages[0].content, /JSON Schema:\n\{"type":"object"\}$/)
  assert.deepEqual(droppedParameters, ['response_format.json_schema.strict'])

  const messages: Ask['messages'] = [
    { role: 'system', parts: [{ type: 'text', text: 'Be brief.' }] },
    ...testAsk().messages,
  ]
  const inWords = encode(
    { messages, responseFormat: { type: 'json_object' } },
    { supportedParameters: [], provider: 'deepinfra' },
  )
  assert.equal('response_format' in inWords.body, false)
  assert.match(inWords.body.messages[0].content, /^Be brief\.\nAnswer with exactly one JSON object/)
})

const EFFORTS = ['none', 'low', 'medium', 'high', 'xhigh']
const REASONING_CASES: readonly {
  readonly name: string
  readonly asked: Ask['reasoning']
  readonly endpoint: Partial<Endpoint>
  readonly sent: object
  readonly dropped?: readonly string[]
}[] = [
  {
    name: 'a known effort',
    asked: { effort: 'high' },
    endpoint: { reasoningOptions: [{ type: 'effort', values: EFFORTS }] },
    sent: { reasoning_effort: 'high' },
  },
  {
    name: 'the nearest effort',
    asked: { effort: 'minimal' },
    endpoint: { reasoningOptions: [{ type: 'effort', values: EFFORTS }] },
    sent: { reasoning_effort: 'low' },
  },
  {
    name: 'an effort where there is a switch too',
    asked: { effort: 'low' },
    endpoint: {
      provider: 'deepseek',
      reasoningOptions: [{ type: 'toggle' }, { type: 'effort', values: ['high', 'max'] }],
    },
    sent: { thinking: { type: 'enabled' }, reasoning_effort: 'high' },
  },
  {
    name: 'switched off',
    asked: { effort: 'none' },
    endpoint: {
      provider: 'deepseek',
      reasoningOptions: [{ type: 'toggle' }, { type: 'effort', values: ['high', 'max'] }],
    },
    sent: { thinking: { type: 'disabled' } },
  },
  {
    name: 'switched off by a chat template',
    asked: { effort: 'none' },
    endpoint: { provider: 'nearai', reasoningOptions: [{ type: 'toggle' }] },
    sent: { chat_template_kwargs: { enable_thinking: false } },
  },
  {
    name: 'off where there is no off',
    asked: { effort: 'none' },
    endpoint: { reasoningOptions: [{ type: 'effort', values: ['low', 'high'] }] },
    sent: { reasoning_effort: 'low' },
    dropped: ['reasoning.effort'],
  },
  {
    name: 'a budget becomes an effort',
    asked: { maxTokens: 500 },
    endpoint: { reasoningOptions: [{ type: 'effort', values: EFFORTS }] },
    sent: { reasoning_effort: 'medium' },
    dropped: ['reasoning.max_tokens'],
  },
  {
    name: 'a model that does not think',
    asked: { effort: 'low' },
    endpoint: { supportedParameters: [] },
    sent: {},
    dropped: ['reasoning'],
  },
  {
    name: 'no thinking from one that cannot',
    asked: { effort: 'none' },
    endpoint: { supportedParameters: [] },
    sent: {},
  },
  {
    name: 'a model that thinks as it likes',
    asked: { effort: 'low' },
    endpoint: {},
    sent: {},
    dropped: ['reasoning.effort'],
  },
  { name: 'leaving it out of the answer asks for nothing', asked: { exclude: true }, endpoint: {}, sent: {} },
]

for (const { name, asked, endpoint, sent, dropped = [] } of REASONING_CASES) {
  test(`reasoning in chat completions: ${name}`, () => {
    const { body, droppedParameters } = encode(asked === undefined ? {} : { reasoning: asked }, endpoint)
    const { reasoning_effort, thinking, chat_template_kwargs } = body
    const fields = { reasoning_effort, thinking, chat_template_kwargs }
    assert.deepEqual(JSON.parse(JSON.stringify(fields)), sent)
    assert.deepEqual(droppedParameters, dropped)
  })
}

test('tools that an endpoint does not take are dropped and named', () => {
  const { body, droppedParameters } = encode(
    { tools: [WEATHER], toolChoice: 'auto', parallelToolCalls: true },
    { supportedParameters: [] },
  )
  assert.equal('tools' in body, false)
  assert.deepEqual(droppedParameters, ['tools', 'tool_choice'])
})

test('ids of calls that are too long for OpenAI are mapped, the same way for a call and its result', () => {
  const id = `chatcmpl-tool-${'a1b2c3d4'.repeat(4)}`
  const messages: Ask['messages'] = [
    { role: 'assistant', parts: [], toolCalls: [{ id, name: 'f', arguments: '{}' }], reasoning: [] },
    { role: 'tool', toolCallId: id, parts: [{ type: 'text', text: 'sun' }] },
  ]
  const [call, result] = encode({ messages }, { provider: 'openai' }).body.messages
  assert.match(call.tool_calls[0].id, /^[a-zA-Z0-9_-]{1,40}$/)
  assert.equal(result.tool_call_id, call.tool_calls[0].id)
  const [kept] = encode({ messages }, { provider: 'deepinfra' }).body.messages
  assert.equal(kept.tool_calls[0].id, id)
})

test('Mistral is told that the beginning of an answer is to be gone on with', () => {
  const said: Ask['messages'][number] = {
    role: 'assistant',
    parts: [{ type: 'text', text: 'Because' }],
    toolCalls: [],
    reasoning: [],
  }
  const asked: Ask['messages'][number] = { role: 'user', parts: [{ type: 'text', text: 'Why?' }] }
  const messages = [asked, said, asked, said]
  const marks = (provider: string) =>
    encode({ messages }, { provider }).body.messages.map(({ prefix }: { prefix?: boolean }) => prefix)
  assert.deepEqual(marks('mistral'), [undefined, undefined, undefined, true])
  assert.deepEqual(marks('openai'), [undefined, undefined, undefined, undefined])
})
