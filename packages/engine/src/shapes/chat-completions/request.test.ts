import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import * as z from 'zod'
import { CHAT_BOUNDS } from '../bounds.ts'
import type { CallerRequest } from '../shape.ts'
import { parseChatCompletion } from './request.ts'
import { chatCompletionBody } from './schema.ts'

const options = {
  pseudonym: (purpose: string, text: string): string => `${purpose}:${text.length}`,
}
const hello = { model: 'gpt-5-mini', messages: [{ role: 'user', content: 'Hello' }] }
const png = 'data:image/png;base64,iVBORw0KGgo='

function accept(body: unknown): CallerRequest {
  const parsed = parseChatCompletion(body, options)
  if (!parsed.ok) assert.fail(`${parsed.code}: ${parsed.message}`)
  return parsed.request
}

/** The body as a client would send it: through JSON, where `__proto__` is a name like any other. */
const json = (text: string): unknown => JSON.parse(text)

test('the least that a request can be', () => {
  const { ask, shape, route, privacy, metadata } = accept(hello)
  assert.deepEqual(ask, {
    messages: [{ role: 'user', parts: [{ type: 'text', text: 'Hello' }] }],
    tools: [],
    stop: [],
    choices: 1,
    extras: {},
    stream: false,
    usageChunk: false,
  })
  assert.deepEqual(shape.parameters, [])
  assert.deepEqual(shape.modalities, { image: false, file: false, audio: false })
  assert.deepEqual(route.models, ['gpt-5-mini'])
  assert.equal(route.allowFallbacks, true)
  assert.deepEqual(privacy, { mode: 'standard', padding: 'off' })
  assert.deepEqual(metadata, {})
})

test('every parameter at once', () => {
  const { ask, shape, route, privacy, metadata, droppedParameters } = accept({
    ...hello,
    models: ['claude-sonnet-4.5', 'gpt-5-mini'],
    route: 'fallback',
    provider: {
      order: ['OpenAI', 'azure'],
      only: ['openai'],
      ignore: ['groq'],
      allow_fallbacks: false,
      sort: 'price',
      max_price: { prompt: 0.3, completion: '15' },
      data_collection: 'deny',
      zdr: true,
    },
    privacy: { mode: 'mesh', min_class: 'protected', padding: 'bucket' },
    stream: true,
    stream_options: { include_usage: true, include_obfuscation: false },
    usage: { include: true },
    max_tokens: 100,
    max_completion_tokens: 50,
    n: 2,
    stop: 'END',
    temperature: 0,
    top_p: 1,
    top_k: 40,
    tools: [
      {
        type: 'function',
        function: { name: 'look', description: 'Looks', parameters: { type: 'object' }, strict: true },
        cache_control: { type: 'ephemeral', ttl: '1h' },
      },
    ],
    tool_choice: { type: 'function', function: { name: 'look' } },
    parallel_tool_calls: false,
    response_format: {
      type: 'json_schema',
      json_schema: { name: 'answer', description: 'It', schema: { type: 'object' }, strict: true },
    },
    reasoning: { effort: 'high', max_tokens: 2000, exclude: true },
    reasoning_effort: 'low',
    metadata: { team: 'blue' },
    user: 'someone',
    safety_identifier: 'someone-else',
    session_id: 'session',
    prompt_cache_key: 'key',
    frequency_penalty: 1,
    seed: 7,
    logit_bias: { '50256': -100 },
    logprobs: true,
    top_logprobs: 3,
    verbosity: 'low',
    store: true,
    service_tier: 'auto',
    modalities: ['text'],
  })
  const { messages, ...rest } = ask
  assert.equal(messages.length, 1)
  assert.deepEqual(rest, {
    tools: [
      {
        name: 'look',
        description: 'Looks',
        parameters: { type: 'object' },
        strict: true,
        cache: { ttl: '1h' },
      },
    ],
    toolChoice: { name: 'look' },
    parallelToolCalls: false,
    responseFormat: {
      type: 'json_schema',
      name: 'answer',
      description: 'It',
      schema: { type: 'object' },
      strict: true,
    },
    reasoning: { effort: 'high', maxTokens: 2000, exclude: true },
    maxOutputTokens: 50,
    temperature: 0,
    topP: 1,
    topK: 40,
    stop: ['END'],
    choices: 2,
    extras: {
      frequency_penalty: 1,
      seed: 7,
      logit_bias: { '50256': -100 },
      logprobs: true,
      top_logprobs: 3,
      verbosity: 'low',
      prompt_cache_key: 'cache_key:3',
    },
    endUserHmac: 'end_user:12',
    stream: true,
    usageChunk: true,
  })
  assert.deepEqual(route, {
    models: ['gpt-5-mini', 'claude-sonnet-4.5'],
    allowFallbacks: false,
    order: ['openai', 'azure'],
    only: ['openai'],
    ignore: ['groq'],
    requireParameters: false,
    sort: 'price',
    maxInputPricePico: 300_000n,
    maxOutputPricePico: 15_000_000n,
    denyDataCollection: true,
    zeroDataRetention: true,
    sessionId: 'session:7',
  })
  assert.deepEqual(privacy, { mode: 'mesh', minClass: 'protected', padding: 'bucket' })
  assert.deepEqual(metadata, { team: 'blue' })
  assert.deepEqual(droppedParameters, [])
  assert.deepEqual(shape.parameters, [
    'max_tokens',
    'stop',
    'stream',
    'temperature',
    'top_p',
    'top_k',
    'n',
    'tools',
    'tool_choice',
    'parallel_tool_calls',
    'response_format.json_schema',
    'reasoning',
    'frequency_penalty',
    'seed',
    'logit_bias',
    'logprobs',
    'top_logprobs',
    'verbosity',
    'prompt_cache_key',
  ])
})

test('null is the same as absent, as in OpenAI', () => {
  const nulls = Object.fromEntries(
    Object.keys(chatCompletionBody.shape)
      .filter((name) => !['model', 'messages'].includes(name))
      .map((name) => [name, null]),
  )
  assert.deepEqual(accept({ ...hello, ...nulls, background: null, audio: null }), accept(hello))
})

test('messages of every role, with every kind of part', () => {
  const { ask, shape } = accept({
    model: 'auto',
    messages: [
      {
        role: 'system',
        content: [{ type: 'text', text: 'Be brief', cache_control: { type: 'ephemeral' } }],
      },
      { role: 'developer', content: 'And kind' },
      {
        role: 'user',
        name: 'ann',
        content: [
          { type: 'text', text: 'See' },
          { type: 'image_url', image_url: { url: png, detail: 'low' } },
          { type: 'image_url', image_url: { url: 'https://example.com/a.png' } },
          { type: 'file', file: { file_data: 'data:application/pdf;base64,JVBERi0=', filename: 'a.pdf' } },
          { type: 'input_audio', input_audio: { data: 'AAAA', format: 'wav' } },
        ],
      },
      {
        role: 'assistant',
        content: null,
        reasoning: 'I think',
        reasoning_details: [
          { type: 'reasoning.text', text: 'I ', index: 0, format: 'anthropic-claude-v1' },
          { type: 'reasoning.text', text: 'think', index: 0, format: 'anthropic-claude-v1' },
          { type: 'reasoning.text', signature: 'sig', index: 0, format: 'anthropic-claude-v1' },
          { type: 'reasoning.encrypted', data: 'xyz', index: 1, format: 'unknown' },
        ],
        tool_calls: [{ id: 'call_1', type: 'function', function: { name: 'look', arguments: '{' } }],
      },
      { role: 'tool', tool_call_id: 'call_1', content: 'seen' },
      { role: 'assistant', content: [{ type: 'refusal', refusal: 'No' }], reasoning_content: 'hm' },
    ],
  })
  assert.deepEqual(ask.messages, [
    { role: 'system', parts: [{ type: 'text', text: 'Be brief', cache: { ttl: '5m' } }] },
    { role: 'developer', parts: [{ type: 'text', text: 'And kind' }] },
    {
      role: 'user',
      name: 'ann',
      parts: [
        { type: 'text', text: 'See' },
        {
          type: 'image',
          source: { kind: 'base64', mediaType: 'image/png', base64: 'iVBORw0KGgo=' },
          detail: 'low',
        },
        { type: 'image', source: { kind: 'url', url: 'https://example.com/a.png' } },
        {
          type: 'file',
          source: { kind: 'base64', mediaType: 'application/pdf', base64: 'JVBERi0=' },
          filename: 'a.pdf',
        },
        { type: 'audio', format: 'wav', base64: 'AAAA' },
      ],
    },
    {
      role: 'assistant',
      parts: [],
      toolCalls: [{ id: 'call_1', name: 'look', arguments: '{' }],
      reasoning: [
        { text: 'I think', signature: 'sig', format: 'anthropic-claude-v1' },
        { text: '', redacted: 'xyz' },
      ],
    },
    { role: 'tool', toolCallId: 'call_1', parts: [{ type: 'text', text: 'seen' }] },
    { role: 'assistant', parts: [], toolCalls: [], reasoning: [{ text: 'hm' }], refusal: 'No' },
  ])
  assert.deepEqual(shape.modalities, { image: true, file: true, audio: true, mediaUrl: true })
})

const look = { type: 'function', function: { name: 'look' } }
const touch = { type: 'function', function: { name: 'touch' } }
const user = (content: unknown): object => ({ messages: [{ role: 'user', content }] })
const image = (url: string): object => user([{ type: 'image_url', image_url: { url } }])

const REFUSED: readonly (readonly [change: object, param: string | undefined, says: RegExp])[] = [
  [{ background: true }, 'background', /Stream/],
  [{ previous_response_id: 'x' }, 'previous_response_id', /messages/],
  [{ conversation: 'x' }, 'conversation', /messages/],
  [{ web_search_options: {} }, 'web_search_options', /function tool/],
  [{ plugins: [{ id: 'web' }] }, 'plugins', /function tool/],
  [{ prediction: { type: 'content', content: 'x' } }, 'prediction', /Leave it out/],
  [{ moderation: { model: 'x' } }, 'moderation', /yourself/],
  [{ audio: { voice: 'x' } }, 'audio', /Leave it out/],
  [{ modalities: ['text', 'audio'] }, 'modalities', /\["text"\]/],
  [{ service_tier: 'flex' }, 'service_tier', /auto or default/],
  [{ functions: [] }, 'functions', /Use tools/],
  [{ function_call: 'auto' }, 'function_call', /tool_choice/],
  [{ tools: [look, { type: 'web_search' }] }, 'tools[1].type', /function/],
  [{ tools: [{ type: 'custom', custom: { name: 'x' } }] }, 'tools[0].type', /string parameter/],
  [{ messages: [{ role: 'function', name: 'x', content: 'x' }] }, 'messages[0].role', /role tool/],
  [
    { messages: [{ role: 'assistant', function_call: { name: 'x', arguments: '' } }] },
    'messages[0].function_call',
    /tool_calls/,
  ],
  [{ messages: [{ role: 'assistant', audio: { id: 'x' } }] }, 'messages[0].audio', /transcript/],
  [
    { messages: [{ role: 'assistant', tool_calls: [{ id: 'a', type: 'custom' }] }] },
    'messages[0].tool_calls[0].type',
    /function/,
  ],
  [user([{ type: 'file', file: { file_id: 'f' } }]), 'messages[0].content[0].file.file_id', /file_data/],
  [
    user([{ type: 'image_url', image_url: { url: png, detail: 'original' } }]),
    'messages[0].content[0].image_url.detail',
    /auto, low or high/,
  ],
  [{ provider: { require_parameters: true }, new_thing: 1 }, 'provider.require_parameters', /leave them out/],
]

test('what would store, multiply or outsource a call is refused, and says what to do', async (t) => {
  for (const [change, param, says] of REFUSED) {
    await t.test(JSON.stringify(change), () => {
      const parsed = parseChatCompletion({ ...hello, ...change }, options)
      assert.ok(!parsed.ok)
      assert.equal(parsed.code, 'unsupported_parameter')
      assert.equal(parsed.param, param)
      assert.match(parsed.message, says)
    })
  }
})

const INVALID: readonly (readonly [change: object, param: string | undefined, says: RegExp])[] = [
  [{ model: undefined }, 'model', /is required/],
  [{ model: '' }, 'model', /at least 1 character/],
  [{ model: 3 }, 'model', /must be a string/],
  [{ messages: undefined }, 'messages', /array/],
  [{ messages: [] }, 'messages', /at least 1/],
  [{ messages: [3] }, 'messages[0]', /must be an object/],
  [{ messages: [{ role: 'robot' }] }, 'messages[0].role', /system, developer, user, assistant, tool/],
  [{ messages: [{ role: 'user' }] }, 'messages[0].content', /a string or an array/],
  [{ messages: [{ role: 'tool', content: 'x' }] }, 'messages[0].tool_call_id', /must be a string/],
  [user([]), 'messages[0].content', /at least 1 item/],
  [user([{ type: 'video' }]), 'messages[0].content[0].type', /text, image_url, file, input_audio/],
  [user([{ type: 'text', text: 3 }]), 'messages[0].content[0].text', /must be a string/],
  [image('ftp://example.com'), 'messages[0].content[0].image_url.url', /http\(s\)/],
  [image('data:image/tiff;base64,AAAA'), 'messages[0].content[0].image_url.url', /PNG/],
  [image('data:image/png;base64,AAA'), 'messages[0].content[0].image_url.url', /base64/],
  [image('data:image/png;base64,A AA'), 'messages[0].content[0].image_url.url', /base64/],
  [image('data:image/png,AAAA'), 'messages[0].content[0].image_url.url', /base64/],
  [image(`https://e.com/${'a'.repeat(9_000)}`), 'messages[0].content[0].image_url.url', /URL/],
  [
    user([{ type: 'file', file: { file_data: 'https://e.com/a.pdf' } }]),
    'messages[0].content[0].file.file_data',
    /data URL/,
  ],
  [user(Array(257).fill({ type: 'image_url', image_url: { url: png } })), 'messages', /256 images/],
  [{ temperature: 3 }, 'temperature', /be at most 2/],
  [{ n: 9 }, 'n', /be at most 8/],
  [{ n: 0 }, 'n', /be at least 1/],
  [{ max_tokens: 1.5 }, 'max_tokens', /an integer/],
  [{ stop: ['a', 'b', 'c', 'd', 'e'] }, 'stop', /at most 4 items/],
  [{ route: 'sideways' }, 'route', /fallback, auto/],
  [{ privacy: { retention: 'none' } }, 'privacy', /does not know/],
  [{ privacy: { min_class: 'secret' } }, 'privacy.min_class', /confidential/],
  [{ provider: { max_price: { prompt: '1e3' } } }, 'provider.max_price.prompt', /USD per million/],
  [{ metadata: { a: 3 } }, 'metadata', /must be a string/],
  [{ metadata: { ['k'.repeat(65)]: 'x' } }, 'metadata', /too long/],
  [{ metadata: { a: 'x'.repeat(513) } }, 'metadata', /512 characters/],
  [
    { metadata: Object.fromEntries(Array.from({ length: 17 }, (_, n) => [`k${n}`, ''])) },
    'metadata',
    /16 pairs/,
  ],
  [{ tools: 'look' }, 'tools', /array/],
  [{ tools: [look, look] }, 'tools[1].function.name', /earlier tool/],
  [{ tools: [{ type: 'function', function: { name: 'a b' } }] }, 'tools[0].function.name', /letters/],
  [
    { tools: [{ type: 'function', function: { name: 'a', parameters: [] } }] },
    'tools[0].function.parameters',
    /JSON object/,
  ],
  [{ tool_choice: 'required' }, 'tool_choice', /no tools/],
  [{ tool_choice: 'maybe' }, 'tool_choice', /none, auto, required/],
  [{ tools: [look], tool_choice: touch }, 'tool_choice.function.name', /one of tools/],
  [
    {
      tools: [look],
      tool_choice: { type: 'allowed_tools', allowed_tools: { mode: 'auto', tools: [touch] } },
    },
    'tool_choice.allowed_tools.tools[0].function.name',
    /one of tools/,
  ],
  [{ response_format: { type: 'xml' } }, 'response_format.type', /text, json_object, json_schema/],
  [{ response_format: { type: 'json_schema' } }, 'response_format.json_schema', /object/],
]

test('what is invalid says where and what', async (t) => {
  for (const [change, param, says] of INVALID) {
    await t.test(JSON.stringify(change).slice(0, 100), () => {
      const parsed = parseChatCompletion({ ...hello, ...change }, options)
      assert.ok(!parsed.ok)
      assert.equal(parsed.code, 'invalid_request', parsed.message)
      assert.equal(parsed.param, param, parsed.message)
      assert.match(parsed.message, says)
    })
  }
})

test('a body that is no object', () => {
  for (const body of [undefined, null, 3, 'text', [hello]]) {
    const parsed = parseChatCompletion(body, options)
    assert.ok(!parsed.ok)
    assert.equal(parsed.message, 'The request must be a JSON object.')
  }
})

test('unknown parameters are dropped and named, where their names are fit to show', () => {
  const { droppedParameters, droppedUnnamed } = accept({
    ...hello,
    store: true,
    service_tier: 'default',
    prompt_cache_retention: '24h',
    provider: { quantizations: ['fp8'] },
    'not a name': 1,
    ['x'.repeat(65)]: 1,
  })
  assert.deepEqual(droppedParameters, ['prompt_cache_retention', 'provider.quantizations'])
  assert.equal(droppedUnnamed, 2)
})

test('a model is named in one of three ways', () => {
  const messages = hello.messages
  assert.deepEqual(accept({ messages, models: ['a', 'b', 'a'] }).route.models, ['a', 'b'])
  assert.deepEqual(accept({ messages, model: 'a', route: 'auto' }).route.models, ['a'])
  assert.deepEqual(accept({ messages, route: 'auto' }).route.models, ['auto'])
})

test('no model, no call, but for who leaves the choice to the router', () => {
  const parsed = parseChatCompletion({ messages: hello.messages }, options)
  assert.ok(!parsed.ok)
  const { code, param, message } = parsed
  assert.deepEqual(
    [code, param, message],
    ['invalid_request', 'model', 'model is required: name a model, or auto to have one chosen.'],
  )
})

test('a plan is told how much thinking is asked for, whatever it is called', () => {
  const reasoning = (change: object) => accept({ ...hello, ...change }).shape.reasoning
  assert.equal(reasoning({}), undefined)
  assert.deepEqual(reasoning({ reasoning_effort: 'high' }), { effort: 'high' })
  assert.deepEqual(reasoning({ reasoning: { max_tokens: 9, exclude: true } }), { maxTokens: 9 })
})

test('a session is for the planner, so that none of it is dropped and no endpoint can lack it', () => {
  const { route, droppedParameters } = accept({
    ...hello,
    session_id: 's',
    provider: { sort: 'latency', require_parameters: true },
  })
  assert.deepEqual(droppedParameters, [])
  assert.deepEqual([route.sessionId, route.requireParameters], ['session:1', true])
})

test('how much to think is said in several ways', () => {
  const reasoning = (change: object): unknown => accept({ ...hello, ...change }).ask.reasoning
  assert.deepEqual(reasoning({ reasoning_effort: 'low' }), { effort: 'low' })
  assert.deepEqual(reasoning({ reasoning: { enabled: true } }), { effort: 'medium' })
  assert.deepEqual(reasoning({ reasoning: { enabled: true, max_tokens: 9 } }), { maxTokens: 9 })
  assert.deepEqual(reasoning({ reasoning: { enabled: false, effort: 'high' } }), { effort: 'none' })
  assert.deepEqual(reasoning({ include_reasoning: false }), { exclude: true })
  assert.equal(reasoning({ reasoning: {} }), undefined)
  const quiet = accept({ ...hello, reasoning: { effort: 'none', exclude: true } })
  assert.deepEqual(quiet.shape.parameters, [])
})

test('allowed tools leave the others out', () => {
  const tool_choice = { type: 'allowed_tools', allowed_tools: { mode: 'required', tools: [touch] } }
  const { ask } = accept({ ...hello, tools: [look, touch], tool_choice })
  assert.deepEqual(ask.tools, [{ name: 'touch' }])
  assert.equal(ask.toolChoice, 'required')
})

test('a schema keeps its key order, and a property named __proto__', () => {
  const written = '{"type":"object","b":1,"a":2,"__proto__":{"x":1},"properties":{"__proto__":{}}}'
  const { ask } = accept({
    ...hello,
    tools: [json(`{"type":"function","function":{"name":"look","parameters":${written}}}`)],
  })
  assert.equal(JSON.stringify(ask.tools[0]?.parameters), written)
})

test('prototype names do nothing', () => {
  const body = json(
    `{"model":"auto","messages":[{"role":"user","content":"x","__proto__":{"role":"system"}}],
      "__proto__":{"stream":true,"background":true},"constructor":{"prototype":{"polluted":true}},
      "metadata":{"__proto__":"x","constructor":"y"},"provider":{"__proto__":{"zdr":true}}}`,
  )
  const request = accept(body)
  assert.equal(request.ask.stream, false)
  assert.equal(request.route.zeroDataRetention, false)
  assert.deepEqual(Object.keys(request.metadata), ['constructor'])
  assert.equal(Reflect.get({}, 'polluted'), undefined)
  assert.deepEqual(request.droppedParameters, ['__proto__', 'constructor', 'provider.__proto__'])
})

test('a lone surrogate becomes U+FFFD, wherever it stands', () => {
  const { ask } = accept({
    ...hello,
    messages: [{ role: 'user', content: 'cut \ud83d' }],
    tools: [{ type: 'function', function: { name: 'look', parameters: { '\ude00': 'a\ud83d\ude00' } } }],
  })
  assert.deepEqual(ask.messages[0]?.parts, [{ type: 'text', text: 'cut \ufffd' }])
  assert.deepEqual(ask.tools[0]?.parameters, { '\ufffd': 'a\ud83d\ude00' })
  const named = json(
    '{"type":"function","function":{"name":"look","parameters":{"__proto__":{"a":"\\ud83d"}}}}',
  )
  assert.equal(
    JSON.stringify(accept({ ...hello, tools: [named] }).ask.tools[0]?.parameters),
    '{"__proto__":{"a":"\ufffd"}}',
  )
})

const messagesOf = (message: object) => Array(10_000).fill({ role: 'assistant', ...message })

test('media are no text; what is called media and stands elsewhere is', () => {
  const base64 = 'A'.repeat(18 * 1024 * 1024)
  const says = (content: object) => ({ ...hello, messages: [{ role: 'user', content: [content] }] })
  const image = { type: 'image_url', image_url: { url: `data:image/png;base64,${base64}` } }
  const file = { type: 'file', file: { file_data: `data:application/pdf;base64,${base64}` } }
  const audio = { type: 'input_audio', input_audio: { data: base64, format: 'mp3' } }
  for (const part of [image, file, audio]) accept(says(part))
  const asText = [
    says({ type: 'text', text: image.image_url.url }),
    says({ ...image, type: 'text', text: 'x' }),
    { ...hello, tools: [{ type: 'function', function: { name: 'f', parameters: image } }] },
  ]
  for (const body of asText) {
    const parsed = parseChatCompletion(body, options)
    assert.ok(!parsed.ok)
    assert.match(parsed.message, /bytes of text/)
  }
})

test('as much text as the bound allows is taken, and names count as text', () => {
  const frame = JSON.stringify(hello).length
  const most = 'x'.repeat(CHAT_BOUNDS.textBytesMax - frame)
  accept({ ...hello, messages: [{ role: 'user', content: most }] })
  const names = json(`{"${'n'.repeat(frame * 2)}":1}`)
  const over = { ...hello, messages: [{ role: 'user', content: most }], metadata: names }
  const parsed = parseChatCompletion(over, options)
  assert.ok(!parsed.ok)
  assert.match(parsed.message, /bytes of text/)
})

test('hostile bodies end soon', () => {
  const deep = json(`{"model":"auto","messages":${'['.repeat(200_000)}${']'.repeat(200_000)}}`)
  const wide = { ...hello, messages: Array(100_000).fill({}) }
  const many = { ...hello, x: Array(10_000).fill(Array(100).fill(0)) }
  const bad = { ...hello, messages: Array(CHAT_BOUNDS.messagesMax).fill({ role: 'user', content: [0, 0] }) }
  const parts = { ...hello, messages: messagesOf({ content: Array(12).fill({ type: 'text', text: 'x' }) }) }
  const calls = { ...hello, messages: messagesOf({ tool_calls: Array(6).fill({}) }) }
  const schema = { type: 'object', properties: { a: { description: 'é'.repeat(50_000) } } }
  const schemas = { ...hello, tools: Array(300).fill({ type: 'function', function: { parameters: schema } }) }
  const surrogates = { ...hello, messages: [{ role: 'user', content: '\ud800'.repeat(6_000_000) }] }
  const cases = [
    [deep, /nested at most 128/],
    [wide, /20000 members/],
    [many, /250000 values/],
    [bad, /^messages\[0\]/],
    [parts, /^messages must have at most 50000 parts in all/],
    [calls, /^messages must have at most 50000 parts in all/],
    [schemas, /at most 16777216 bytes of text/],
    [surrogates, /at most 16777216 bytes of text/],
  ] as const
  for (const [body, says] of cases) {
    const startedAt = performance.now()
    const parsed = parseChatCompletion(body, options)
    assert.ok(!parsed.ok)
    assert.match(parsed.message, says)
    assert.ok(performance.now() - startedAt < 2_000)
  }
})

test('no error holds anything of the request', () => {
  const canary = 'kanarie'
  const mutated = fc.dictionary(
    fc.constantFrom(...Object.keys(chatCompletionBody.shape), `${canary}_name`, 'tools', 'functions'),
    fc.letrec((tie) => ({
      value: fc.oneof(
        { depthSize: 'small' },
        fc.constantFrom(canary, 3, null, true, 1e9, ''),
        fc.array(tie('value'), { maxLength: 3 }),
        fc.dictionary(
          fc.constantFrom('type', 'role', 'content', 'function', 'name', 'effort', `${canary}_key`),
          tie('value'),
        ),
      ),
    })).value,
  )
  let faults = 0
  fc.assert(
    fc.property(mutated, (change) => {
      const parsed = parseChatCompletion({ ...hello, ...change }, options)
      if (parsed.ok) return
      faults += 1
      assert.ok(!`${parsed.message}${parsed.param}`.includes(canary), parsed.message)
    }),
    { numRuns: 500 },
  )
  assert.ok(faults > 100)
})

test('the schema can be published as JSON Schema', () => {
  const schema = z.toJSONSchema(chatCompletionBody, { io: 'input', unrepresentable: 'any' })
  assert.ok(schema.properties)
  assert.ok('messages' in schema.properties && 'privacy' in schema.properties)
})
