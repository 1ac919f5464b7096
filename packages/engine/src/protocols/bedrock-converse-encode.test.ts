import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Endpoint, ReasoningOption } from '@mesh/catalog/catalog.ts'
import { testAsk, testEndpoint } from '../../test/endpoints.ts'
import type { Ask, InputPart, Message } from '../ask.ts'
import type { EncodeOptions } from '../protocol.ts'
import { bedrockConverse } from './bedrock-converse.ts'

const CLAUDE = 'global.anthropic.claude-sonnet-4-5-20250929-v1:0'
const NOVA = 'amazon.nova-2-lite-v1:0'
const LLAMA = 'us.meta.llama4-scout-17b-instruct-v1:0'
const MISTRAL = 'mistral.mistral-large-3-675b-instruct'
const GPT_OSS = 'openai.gpt-oss-20b-1:0'

function encode(
  upstreamModel: string,
  ask: Partial<Ask>,
  endpoint: Partial<Endpoint> = {},
  options: EncodeOptions = { stream: false },
) {
  const at = testEndpoint({ protocol: 'bedrock_converse', upstreamModel, ...endpoint })
  const { body, ...request } = bedrockConverse.encode(testAsk(ask), at, options)
  return { ...request, text: body, body: JSON.parse(body) }
}

const text = (words: string) => [{ type: 'text', text: words }] as const
const user = (...parts: InputPart[]): Message => ({ role: 'user', parts })
const assistant = (additions: Partial<Extract<Message, { role: 'assistant' }>>): Message => ({
  role: 'assistant',
  parts: [],
  toolCalls: [],
  reasoning: [],
  ...additions,
})
const file = (mediaType: string, filename?: string): InputPart => ({
  type: 'file',
  source: { kind: 'base64', mediaType, base64: 'QUJD' },
  ...(filename === undefined ? {} : { filename }),
})
const TOOLS: Ask['tools'] = [
  { name: 'look', description: 'Looks', parameters: { type: 'object', properties: { b: {}, a: {} } } },
  { name: 'wait' },
]

test('the smallest request, byte by byte, whole and streamed', () => {
  const whole = encode(NOVA, {}, {}, { stream: false, outputTokensCap: 50 })
  assert.equal(whole.path, '/model/amazon.nova-2-lite-v1%3A0/converse')
  assert.deepEqual(whole.headers, { 'content-type': 'application/json', accept: 'application/json' })
  assert.equal(
    whole.text,
    '{"messages":[{"role":"user","content":[{"text":"Hello"}]}],"inferenceConfig":{"maxTokens":50}}',
  )
  assert.deepEqual(whole.droppedParameters, [])
  const streamed = encode(NOVA, {}, {}, { stream: true, outputTokensCap: 50 })
  assert.equal(streamed.path, '/model/amazon.nova-2-lite-v1%3A0/converse-stream')
  assert.equal(streamed.headers.accept, 'application/vnd.amazon.eventstream')
  assert.equal(streamed.text, whole.text)
})

test("a model's id is one segment of the path, whatever is in it", () => {
  const arn = 'arn:aws:bedrock:us-east-1:1:application-inference-profile/x'
  assert.equal(
    encode(arn, {}).path,
    '/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Aapplication-inference-profile%2Fx/converse',
  )
  assert.equal(encode("a/../b?c#d'(e)*!", {}).path, '/model/a%2F..%2Fb%3Fc%23d%27%28e%29%2A%21/converse')
})

test('peer bug 20: the same ask is the same bytes, and a schema keeps its own order', () => {
  const ask = { tools: TOOLS, temperature: 0.5, stop: ['end'] }
  assert.equal(encode(CLAUDE, ask).text, encode(CLAUDE, ask).text)
  assert.match(encode(CLAUDE, ask).text, /"properties":\{"b":\{\},"a":\{\}\}/)
})

test('instructions are taken out, turns of one role are one, empty texts are left out', () => {
  const { body } = encode(CLAUDE, {
    messages: [
      { role: 'system', parts: text('One') },
      user({ type: 'text', text: 'Hi' }, { type: 'text', text: ' ' }),
      { role: 'developer', parts: text('Two') },
      user({ type: 'text', text: 'there' }),
    ],
  })
  assert.deepEqual(body.system, [{ text: 'One' }, { text: 'Two' }])
  assert.deepEqual(body.messages, [{ role: 'user', content: [{ text: 'Hi' }, { text: 'there' }] }])
  const alone = encode(CLAUDE, { messages: [{ role: 'system', parts: text('Greet') }] }).body
  assert.deepEqual(
    [alone.system, alone.messages],
    [undefined, [{ role: 'user', content: [{ text: 'Greet' }] }]],
  )
})

test('a conversation begins with its user', () => {
  const { body } = encode(CLAUDE, { messages: [assistant({ parts: text('Hello') }), user(...text('Hi'))] })
  assert.deepEqual(
    body.messages.map(({ role }: { role: string }) => role),
    ['user', 'assistant', 'user'],
  )
})

test('documents have names that Converse takes, each its own, and a text beside them', () => {
  const { body, droppedParameters } = encode(CLAUDE, {
    messages: [
      user(
        file('application/pdf', 'Q3 report_final (v2).pdf'),
        file('application/pdf', '../Q3: report/final (v2).pdf'),
        file('text/plain'),
        file('application/pdf', '资料.pdf'),
        file('application/zip', 'x.zip'),
      ),
    ],
  })
  const [placeholder, ...documents] = body.messages[0].content
  assert.deepEqual(placeholder, { text: '.' })
  assert.deepEqual(
    documents.map(({ document }: { document: { name: string; format: string } }) => [
      document.name,
      document.format,
    ]),
    [
      ['Q3 report final (v2)', 'pdf'],
      ['Q3 report final (v2) (2)', 'pdf'],
      ['Document 3', 'txt'],
      ['Document 4', 'pdf'],
    ],
  )
  assert.deepEqual(droppedParameters, ['file'])
  const named = encode(CLAUDE, {
    messages: [user({ type: 'text', text: 'Read' }, file('text/plain', 'a.txt'))],
  })
  assert.deepEqual(named.body.messages[0].content[1].document, {
    name: 'a',
    format: 'txt',
    source: { bytes: 'QUJD' },
  })
})

test('images are bytes in a format', () => {
  const { body, droppedParameters } = encode(CLAUDE, {
    messages: [
      user(
        { type: 'image', source: { kind: 'base64', mediaType: 'image/jpeg', base64: 'QUJD' }, detail: 'low' },
        { type: 'audio', format: 'wav', base64: 'QUJD' },
      ),
    ],
  })
  assert.deepEqual(body.messages[0].content, [{ image: { format: 'jpeg', source: { bytes: 'QUJD' } } }])
  assert.deepEqual(droppedParameters, ['image_url.detail', 'input_audio'])
})

test('tool calls and their results, under ids that Converse takes', () => {
  const long = `call_${'x'.repeat(200)}`
  const called = (ids: readonly string[]): Message[] => [
    user(...text('Look')),
    assistant({
      toolCalls: ids.map((id) => ({ id, name: 'look', arguments: id === 'bad' ? '{' : '{"a":1}' })),
    }),
    ...ids.map((id): Message => ({ role: 'tool', toolCallId: id, parts: id === 'bad' ? [] : text('seen') })),
  ]
  const ids = ['functions.look:0', 'bad', long]
  for (const model of [CLAUDE, GPT_OSS]) {
    const [, calls, results] = encode(model, { messages: called(ids), tools: TOOLS }).body.messages
    const used = calls.content.map(({ toolUse }: { toolUse: { toolUseId: string } }) => toolUse.toolUseId)
    assert.deepEqual(
      results.content.map(({ toolResult }: { toolResult: { toolUseId: string } }) => toolResult.toolUseId),
      used,
    )
    assert.equal(used[0], model === CLAUDE ? 'functions_look_0' : 'functions.look:0')
    assert.match(used[2], /^[\w-]{64}$/)
    assert.deepEqual(
      calls.content.map(({ toolUse }: { toolUse: { input: object } }) => toolUse.input),
      [{ a: 1 }, { INVALID_JSON: '{' }, { a: 1 }],
    )
    assert.deepEqual(results.content[0].toolResult.content, [{ text: 'seen' }])
    assert.equal(results.content[0].toolResult.status, 'success')
    assert.deepEqual(results.content[1].toolResult.content, [{ text: '.' }])
  }
  const others = [long, `${long}y`].map(
    (id) =>
      encode(GPT_OSS, { messages: called([id]), tools: TOOLS }).body.messages[1].content[0].toolUse.toolUseId,
  )
  assert.notEqual(others[0], others[1])
})

test('whoever has calls in the conversation has tools, also where none are offered any more', () => {
  const messages = [
    user(...text('Look')),
    assistant({ toolCalls: [{ id: 'a', name: 'look', arguments: '{}' }] }),
    { role: 'tool', toolCallId: 'a', parts: text('seen') } as const,
  ]
  assert.deepEqual(encode(CLAUDE, { messages }).body.toolConfig, {
    tools: [{ toolSpec: { name: 'look', inputSchema: { json: { type: 'object', properties: {} } } } }],
  })
  const none = encode(CLAUDE, { messages, tools: TOOLS, toolChoice: 'none' })
  assert.equal(none.body.toolConfig.tools.length, 2)
  assert.deepEqual([none.body.toolConfig.toolChoice, none.droppedParameters], [undefined, ['tool_choice']])
})

test('each vendor is told of a tool choice what it takes', () => {
  const choose = (model: string, toolChoice: NonNullable<Ask['toolChoice']>) => {
    const { body, droppedParameters } = encode(model, { tools: TOOLS, toolChoice })
    const names = body.toolConfig?.tools.map(({ toolSpec }: { toolSpec: { name: string } }) => toolSpec.name)
    return [body.toolConfig?.toolChoice, names?.length, droppedParameters]
  }
  assert.deepEqual(choose(CLAUDE, 'auto'), [{ auto: {} }, 2, []])
  assert.deepEqual(choose(CLAUDE, 'required'), [{ any: {} }, 2, []])
  assert.deepEqual(choose(NOVA, { name: 'look' }), [{ tool: { name: 'look' } }, 2, []])
  assert.deepEqual(choose(MISTRAL, { name: 'look' }), [{ any: {} }, 1, []])
  assert.deepEqual(choose(MISTRAL, 'auto'), [undefined, 2, []])
  assert.deepEqual(choose(LLAMA, 'required'), [undefined, 2, ['tool_choice']])
  assert.deepEqual(choose(GPT_OSS, 'auto'), [{ auto: {} }, 2, []])
  assert.deepEqual(choose(GPT_OSS, { name: 'look' }), [undefined, 2, ['tool_choice']])
  assert.deepEqual(choose(CLAUDE, 'none'), [undefined, undefined, []])
})

test('cache marks are points behind what they mark, for an hour where that is known', () => {
  const marked = (ttl: '5m' | '1h'): Partial<Ask> => ({
    messages: [
      { role: 'system', parts: [{ type: 'text', text: 'Long', cache: { ttl } }] },
      user({ type: 'text', text: 'Hi', cache: { ttl } }, { type: 'text', text: 'there' }),
    ],
    tools: [{ name: 'look', cache: { ttl } }],
  })
  const hour = { cachePoint: { type: 'default', ttl: '1h' } }
  const claude = encode(CLAUDE, marked('1h'))
  assert.deepEqual(claude.body.system, [{ text: 'Long' }, hour])
  assert.deepEqual(claude.body.messages[0].content, [{ text: 'Hi' }, hour, { text: 'there' }])
  assert.deepEqual(claude.body.toolConfig.tools[1], hour)
  assert.deepEqual(claude.droppedParameters, [])
  const nova = encode(NOVA, marked('1h'))
  assert.deepEqual(nova.body.system[1], { cachePoint: { type: 'default' } })
  assert.equal(nova.body.toolConfig.tools.length, 1)
  assert.deepEqual(nova.droppedParameters, ['cache_control.ttl', 'cache_control'])
  const llama = encode(LLAMA, marked('5m'))
  assert.deepEqual(llama.body.system, [{ text: 'Long' }])
  assert.deepEqual(llama.droppedParameters, ['cache_control'])
})

test("Claude's own thinking goes back to Claude, nobody else's does, and to nobody else", () => {
  const reasoning = [
    { text: 'hm', signature: 'sign', format: 'anthropic-claude-v1' },
    { text: '', redacted: 'hidden' },
    { text: '', redacted: '\u{1f600}' },
    { text: 'bare' },
    { text: 'x', signature: 'y', format: 'google-gemini-v1' },
  ]
  const messages = [user(...text('Hi')), assistant({ parts: text('Ho'), reasoning }), user(...text('So'))]
  assert.deepEqual(encode(CLAUDE, { messages }).body.messages[1].content, [
    { reasoningContent: { reasoningText: { text: 'hm', signature: 'sign' } } },
    { reasoningContent: { redactedContent: btoa('hidden') } },
    { text: 'Ho' },
  ])
  assert.deepEqual(encode(NOVA, { messages }).body.messages[1].content, [{ text: 'Ho' }])
})

test('sampling: at most 1 everywhere, one of two for Claude, top_k where there is a place for it', () => {
  const all = { temperature: 1.7, topP: 0.5, topK: 20, stop: [' ', 'end'] }
  const nova = encode(NOVA, all)
  assert.deepEqual(nova.body.inferenceConfig, { temperature: 1, topP: 0.5, stopSequences: ['end'] })
  assert.deepEqual(nova.body.additionalModelRequestFields, { inferenceConfig: { topK: 20 } })
  assert.deepEqual(nova.droppedParameters, ['stop'])
  const claude = encode(CLAUDE, all)
  assert.deepEqual(claude.body.inferenceConfig, { temperature: 1, stopSequences: ['end'] })
  assert.deepEqual(claude.body.additionalModelRequestFields, { top_k: 20 })
  assert.deepEqual(claude.droppedParameters.toSorted(), ['stop', 'top_p'])
  assert.deepEqual(encode(LLAMA, { topK: 20 }).droppedParameters, ['top_k'])
  const foreign = encode(NOVA, { choices: 2, endUserHmac: 'u', extras: { seed: 1, logit_bias: null } })
  assert.deepEqual(foreign.droppedParameters, ['n', 'user', 'seed'])
})

const efforts = (...values: string[]): ReasoningOption => ({ type: 'effort', values })
const THINKING: readonly [
  name: string,
  model: string,
  options: readonly ReasoningOption[],
  reasoning: NonNullable<Ask['reasoning']>,
  fields: object | undefined,
  dropped: readonly string[],
][] = [
  [
    'a budget of Claude',
    CLAUDE,
    [{ type: 'budget_tokens', min: 1024 }],
    { maxTokens: 2_000 },
    { thinking: { type: 'enabled', budget_tokens: 2_000 } },
    [],
  ],
  [
    'an effort of Claude',
    CLAUDE,
    [efforts('low', 'high')],
    { effort: 'high' },
    { thinking: { type: 'adaptive', display: 'summarized' }, output_config: { effort: 'high' } },
    [],
  ],
  [
    'an effort of Nova',
    NOVA,
    [{ type: 'toggle' }, efforts('low', 'medium', 'high')],
    { effort: 'low' },
    { reasoningConfig: { type: 'enabled', maxReasoningEffort: 'low' } },
    [],
  ],
  [
    'the highest that Nova has with a cap',
    NOVA,
    [{ type: 'toggle' }, efforts('low', 'medium', 'high')],
    { effort: 'high' },
    { reasoningConfig: { type: 'enabled', maxReasoningEffort: 'medium' } },
    [],
  ],
  [
    'Nova switched off',
    NOVA,
    [{ type: 'toggle' }, efforts('low')],
    { effort: 'none' },
    { reasoningConfig: { type: 'disabled' } },
    [],
  ],
  [
    'an effort of gpt-oss',
    GPT_OSS,
    [efforts('low', 'medium', 'high')],
    { effort: 'xhigh' },
    { reasoning_effort: 'high' },
    [],
  ],
  [
    'gpt-oss, which cannot be switched off',
    GPT_OSS,
    [efforts('low', 'high')],
    { effort: 'none' },
    { reasoning_effort: 'low' },
    ['reasoning.effort'],
  ],
  [
    'Grok switched off',
    'xai.grok-4.3',
    [efforts('none', 'low')],
    { effort: 'none' },
    { reasoning_effort: 'none' },
    [],
  ],
  ['Qwen', 'qwen.qwen3-32b-v1:0', [efforts('high')], { effort: 'high' }, { reasoning_config: 'high' }, []],
  [
    'a budget where only efforts are known',
    GPT_OSS,
    [efforts('medium')],
    { maxTokens: 50 },
    { reasoning_effort: 'medium' },
    ['reasoning.max_tokens'],
  ],
  [
    'a model that thinks as it likes',
    'deepseek.v3.2',
    [],
    { effort: 'high' },
    undefined,
    ['reasoning.effort'],
  ],
]

for (const [name, model, reasoningOptions, reasoning, fields, dropped] of THINKING) {
  test(`thinking: ${name}`, () => {
    const { body, droppedParameters } = encode(model, { reasoning }, { reasoningOptions })
    assert.deepEqual(body.additionalModelRequestFields, fields)
    assert.deepEqual(droppedParameters, dropped)
  })
}

test('thinking: a model that cannot, and a forced tool next to a budget', () => {
  const cannot = encode(GPT_OSS, { reasoning: { effort: 'high' } }, { supportedParameters: [] })
  assert.deepEqual(cannot.droppedParameters, ['reasoning'])
  const forced = encode(
    CLAUDE,
    { reasoning: { effort: 'high' }, tools: TOOLS, toolChoice: 'required' },
    { reasoningOptions: [{ type: 'budget_tokens', min: 1024 }] },
  )
  assert.deepEqual(forced.droppedParameters, ['reasoning'])
})

test('JSON: a schema natively where one is taken, everything else in words at the end of the instructions', () => {
  const schema = { type: 'object', properties: { z: {}, a: {} } }
  const format = { type: 'json_schema', name: 'city', description: 'A city', schema, strict: true } as const
  const native = encode(CLAUDE, { responseFormat: format })
  assert.deepEqual(native.body.outputConfig, {
    textFormat: {
      type: 'json_schema',
      structure: { jsonSchema: { name: 'city', description: 'A city', schema: JSON.stringify(schema) } },
    },
  })
  const messages: Message[] = [{ role: 'system', parts: text('Be brief') }, user(...text('Hi'))]
  const inWords = encode(LLAMA, { messages, responseFormat: format }, { supportedParameters: [] })
  assert.equal(inWords.body.outputConfig, undefined)
  assert.match(inWords.body.system[1].text, /exactly one JSON object .*"z":\{\},"a":\{\}/s)
  assert.deepEqual(inWords.droppedParameters, ['response_format.json_schema.strict'])
  const any = encode(CLAUDE, { messages, responseFormat: { type: 'json_object' } })
  assert.deepEqual([any.body.outputConfig, any.body.system.length, any.droppedParameters], [undefined, 2, []])
})

test('strict tools where they are known, and parallel calls, of which there is no word', () => {
  const tools = [{ name: 'look', strict: true, description: '' }]
  assert.deepEqual(encode(CLAUDE, { tools }).body.toolConfig.tools[0].toolSpec, {
    name: 'look',
    inputSchema: { json: { type: 'object', properties: {} } },
    strict: true,
  })
  const nova = encode(NOVA, { tools, parallelToolCalls: false })
  assert.deepEqual(nova.droppedParameters, ['parallel_tool_calls', 'tools.strict'])
})

test('a tool that failed is said to have failed, where a result has a status', () => {
  const messages: Ask['messages'] = [
    user(...text('Look')),
    assistant({ toolCalls: [{ id: 'a', name: 'look', arguments: '{}' }] }),
    { role: 'tool', toolCallId: 'a', parts: text('no such place'), isError: true },
  ]
  const { toolResult } = encode(CLAUDE, { messages, tools: TOOLS }).body.messages[2].content[0]
  assert.equal(toolResult.status, 'error')
  const writer = encode('us.writer.palmyra-x5-v1:0', { messages, tools: TOOLS }).body.messages[2].content[0]
  assert.equal('status' in writer.toolResult, false)
})

test('a mark on a call is a point behind it', () => {
  const calls = [{ id: 'a', name: 'look', arguments: '{}', cache: { ttl: '5m' } }] as const
  const messages = [user(...text('Look')), assistant({ toolCalls: calls })]
  const claude = encode(CLAUDE, { messages, tools: TOOLS })
  assert.deepEqual(claude.body.messages[1].content[1], { cachePoint: { type: 'default' } })
  assert.deepEqual(encode(LLAMA, { messages, tools: TOOLS }).droppedParameters, ['cache_control'])
})

test('the beginning of an answer that is to be gone on with does not end in white space', () => {
  const messages = [user(...text('Why?')), assistant({ parts: text('Because \n') })]
  assert.deepEqual(encode(CLAUDE, { messages }).body.messages[1].content, [{ text: 'Because' }])
})
