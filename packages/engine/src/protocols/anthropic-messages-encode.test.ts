import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Endpoint } from '@mesh/catalog/catalog.ts'
import { testAsk, testEndpoint } from '../../test/endpoints.ts'
import type { Ask, Message } from '../ask.ts'
import type { EncodeOptions } from '../protocol.ts'
import { anthropicMessages } from './anthropic-messages.ts'

function encode(
  ask: Partial<Ask>,
  endpoint: Partial<Endpoint> = {},
  options: EncodeOptions = { stream: false },
) {
  const { body, ...request } = anthropicMessages.encode(testAsk(ask), testEndpoint(endpoint), options)
  return { ...request, body: JSON.parse(body) }
}

const text = (words: string) => [{ type: 'text', text: words }] as const
const user = (words: string): Message => ({ role: 'user', parts: text(words) })
const assistant = (additions: Partial<Extract<Message, { role: 'assistant' }>>): Message => ({
  role: 'assistant',
  parts: [],
  toolCalls: [],
  reasoning: [],
  ...additions,
})

test('the smallest request, byte by byte', () => {
  const request = anthropicMessages.encode(testAsk(), testEndpoint({}), { stream: true, outputTokensCap: 50 })
  assert.deepEqual(request, {
    path: '/v1/messages',
    headers: {
      'content-type': 'application/json',
      accept: 'text/event-stream',
      'anthropic-version': '2023-06-01',
    },
    body:
      '{"model":"test-1","max_tokens":50,"messages":[{"role":"user","content":[{"type":"text","text":"Hello"}]}],' +
      '"stream":true}',
    droppedParameters: [],
  })
})

test('max_tokens is always sent and never above what the endpoint takes', () => {
  assert.equal(encode({}).body.max_tokens, 10_000)
  assert.equal(encode({ maxOutputTokens: 7 }).body.max_tokens, 7)
  assert.equal(encode({}, {}, { stream: false, outputTokensCap: 99_999 }).body.max_tokens, 10_000)
})

test('system messages are taken out, turns of one role are one, empty texts are left out', () => {
  const { body, droppedParameters } = encode({
    messages: [
      { role: 'system', parts: [{ type: 'text', text: 'One.', cache: { ttl: '1h' } }] },
      user('a'),
      user(' '),
      { role: 'user', name: 'Ann', parts: text('b') },
      assistant({ parts: text('c'), refusal: 'no' }),
      { role: 'developer', parts: text('Two.') },
      user('d'),
    ],
  })
  assert.deepEqual(body.system, [
    { type: 'text', text: 'One.', cache_control: { type: 'ephemeral', ttl: '1h' } },
    { type: 'text', text: 'Two.' },
  ])
  assert.deepEqual(body.messages, [
    { role: 'user', content: [...text('a'), ...text('b')] },
    { role: 'assistant', content: [...text('c'), ...text('no')] },
    { role: 'user', content: text('d') },
  ])
  assert.deepEqual(droppedParameters, ['messages.name'])
})

test('a system prompt alone is what the user says', () => {
  const { body } = encode({ messages: [{ role: 'system', parts: text('Write a poem.') }] })
  assert.deepEqual(body.messages, [{ role: 'user', content: text('Write a poem.') }])
  assert.equal('system' in body, false)
})

test('tools, their calls and their results', () => {
  const { body } = encode({
    messages: [
      user('go'),
      assistant({
        toolCalls: [
          { id: 'call:1', name: 'f', arguments: '{"x":1}' },
          { id: 'b', name: 'g', arguments: 'not json' },
          { id: 'c', name: 'h', arguments: '' },
        ],
      }),
      { role: 'tool', toolCallId: 'call:1', parts: [{ type: 'text', text: 'one', cache: { ttl: '5m' } }] },
      { role: 'tool', toolCallId: 'b', parts: [] },
      {
        role: 'tool',
        toolCallId: 'c',
        parts: [{ type: 'image', source: { kind: 'url', url: 'https://example.com/a.png' } }],
      },
      user('so?'),
    ],
    tools: [{ name: 'f', parameters: { type: 'object' }, strict: true, cache: { ttl: '5m' } }, { name: 'g' }],
    toolChoice: 'required',
    parallelToolCalls: false,
  })
  assert.deepEqual(body.tools, [
    {
      name: 'f',
      input_schema: { type: 'object' },
      strict: true,
      cache_control: { type: 'ephemeral', ttl: '5m' },
    },
    { name: 'g', input_schema: { type: 'object', properties: {} } },
  ])
  assert.deepEqual(body.tool_choice, { type: 'any', disable_parallel_tool_use: true })
  assert.deepEqual(body.messages.slice(1), [
    {
      role: 'assistant',
      content: [
        { type: 'tool_use', id: 'call_1', name: 'f', input: { x: 1 } },
        { type: 'tool_use', id: 'b', name: 'g', input: { INVALID_JSON: 'not json' } },
        { type: 'tool_use', id: 'c', name: 'h', input: {} },
      ],
    },
    {
      role: 'user',
      content: [
        {
          type: 'tool_result',
          tool_use_id: 'call_1',
          content: text('one'),
          cache_control: { type: 'ephemeral', ttl: '5m' },
        },
        { type: 'tool_result', tool_use_id: 'b' },
        {
          type: 'tool_result',
          tool_use_id: 'c',
          content: [{ type: 'image', source: { type: 'url', url: 'https://example.com/a.png' } }],
        },
        ...text('so?'),
      ],
    },
  ])
})

test('every tool choice', () => {
  const tools = [{ name: 'f' }]
  const choice = (ask: Partial<Ask>) => encode({ tools, ...ask }).body.tool_choice
  assert.equal(choice({}), undefined)
  assert.equal(choice({ parallelToolCalls: true }), undefined)
  assert.deepEqual(choice({ parallelToolCalls: false }), { type: 'auto', disable_parallel_tool_use: true })
  assert.deepEqual(choice({ toolChoice: 'auto' }), { type: 'auto' })
  assert.deepEqual(choice({ toolChoice: 'none', parallelToolCalls: false }), { type: 'none' })
  assert.deepEqual(choice({ toolChoice: { name: 'f' } }), { type: 'tool', name: 'f' })
  assert.equal(encode({ toolChoice: 'required' }).body.tool_choice, undefined)
})

test('images and documents', () => {
  const file = (mediaType: string, base64: string) =>
    ({
      type: 'file',
      source: { kind: 'base64', mediaType, base64 },
      filename: 'a',
      cache: { ttl: '5m' },
    }) as const
  const { body, droppedParameters } = encode({
    messages: [
      {
        role: 'user',
        parts: [
          { type: 'image', source: { kind: 'base64', mediaType: 'image/png', base64: 'AAAA' } },
          file('application/pdf', 'BBBB'),
          file('text/plain', 'w6k='),
          { type: 'file', source: { kind: 'url', url: 'https://example.com/a.pdf' } },
          { type: 'audio', format: 'wav', base64: 'CCCC' },
        ],
      },
    ],
  })
  const mark = { title: 'a', cache_control: { type: 'ephemeral', ttl: '5m' } }
  assert.deepEqual(body.messages[0].content, [
    { type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'AAAA' } },
    { type: 'document', source: { type: 'base64', media_type: 'application/pdf', data: 'BBBB' }, ...mark },
    { type: 'document', source: { type: 'text', media_type: 'text/plain', data: 'é' }, ...mark },
    { type: 'document', source: { type: 'url', url: 'https://example.com/a.pdf' } },
  ])
  assert.deepEqual(droppedParameters, ['input_audio'])
})

test("Claude's own thinking goes back before the text, nobody else's does", () => {
  const { body } = encode({
    messages: [
      user('a'),
      assistant({
        parts: text('b'),
        reasoning: [
          { text: 'mine', signature: 's' },
          { text: '', redacted: 'r' },
          { text: 'unsigned' },
          { text: 'other', signature: 's', format: 'google-gemini-v1' },
        ],
      }),
    ],
  })
  assert.deepEqual(body.messages[1].content, [
    { type: 'thinking', thinking: 'mine', signature: 's' },
    { type: 'redacted_thinking', data: 'r' },
    ...text('b'),
  ])
})

test('sampling as Claude takes it', () => {
  const all = encode({ temperature: 1.7, topP: 0.5, topK: 3, stop: ['END', ' '], endUserHmac: 'abc' })
  assert.equal(all.body.temperature, 1)
  assert.equal('top_p' in all.body, false)
  assert.equal(all.body.top_k, 3)
  assert.deepEqual(all.body.stop_sequences, ['END'])
  assert.deepEqual(all.body.metadata, { user_id: 'abc' })
  assert.deepEqual(all.droppedParameters, ['top_p', 'stop'])
  assert.equal(encode({ topP: 0.5 }).body.top_p, 0.5)
  const newest = encode({ temperature: 0, topP: 1, topK: 3 }, { supportedParameters: [] })
  assert.deepEqual(newest.droppedParameters, ['temperature', 'top_p', 'top_k'])
  assert.deepEqual(Object.keys(newest.body), ['model', 'max_tokens', 'messages', 'stream'])
})

test('what Claude has no word for is named', () => {
  const { droppedParameters } = encode({ choices: 2, extras: { seed: 1, logprobs: true, user: null } })
  assert.deepEqual(droppedParameters, ['n', 'seed', 'logprobs'])
})

test('JSON is asked for in words, last in the system prompt; a schema natively where one is taken', () => {
  const messages: Message[] = [{ role: 'system', parts: text('Be brief.') }, user('Hello')]
  const object = encode({ messages, responseFormat: { type: 'json_object' } }).body
  assert.equal(object.system.length, 2)
  assert.match(object.system[1].text, /^Answer with exactly one JSON object/)
  const responseFormat = { type: 'json_schema', name: 'x', schema: { type: 'object' }, strict: true } as const
  const native = encode({ responseFormat })
  assert.deepEqual(native.body.output_config, { format: { type: 'json_schema', schema: { type: 'object' } } })
  assert.equal('system' in native.body, false)
  const inWords = encode({ responseFormat }, { supportedParameters: [] })
  assert.match(inWords.body.system[0].text, /JSON Schema:\n\{"type":"object"\}$/)
  assert.deepEqual(inWords.droppedParameters, ['response_format.json_schema.strict'])
})

const BUDGET: Partial<Endpoint> = { reasoningOptions: [{ type: 'budget_tokens', min: 1024 }] }
const EFFORT: Partial<Endpoint> = {
  reasoningOptions: [{ type: 'effort', values: ['low', 'medium', 'high'] }],
}
const BOTH: Partial<Endpoint> = {
  reasoningOptions: [...(EFFORT.reasoningOptions ?? []), ...(BUDGET.reasoningOptions ?? [])],
}
const SWITCHED: Partial<Endpoint> = {
  reasoningOptions: [{ type: 'toggle' }, ...(EFFORT.reasoningOptions ?? [])],
}
const OPEN_CALL: readonly Message[] = [
  user('a'),
  assistant({ toolCalls: [{ id: '1', name: 'f', arguments: '{}' }] }),
  { role: 'tool', toolCallId: '1', parts: text('b') },
]

const THINKING_CASES: readonly {
  readonly name: string
  readonly ask: Partial<Ask>
  readonly endpoint: Partial<Endpoint>
  readonly thinking?: object
  readonly effort?: string
  readonly dropped?: readonly string[]
}[] = [
  {
    name: 'a budget that follows from an effort',
    ask: { reasoning: { effort: 'medium' }, maxOutputTokens: 4000 },
    endpoint: BUDGET,
    thinking: { type: 'enabled', budget_tokens: 2000 },
  },
  {
    name: 'a budget as asked',
    ask: { reasoning: { maxTokens: 3000 } },
    endpoint: BOTH,
    thinking: { type: 'enabled', budget_tokens: 3000 },
  },
  {
    name: 'a budget below the cap and above the least',
    ask: { reasoning: { maxTokens: 9000 }, maxOutputTokens: 2000 },
    endpoint: BUDGET,
    thinking: { type: 'enabled', budget_tokens: 1999 },
  },
  {
    name: 'the least budget',
    ask: { reasoning: { effort: 'minimal' }, maxOutputTokens: 2000 },
    endpoint: BUDGET,
    thinking: { type: 'enabled', budget_tokens: 1024 },
  },
  {
    name: 'no room for a budget',
    ask: { reasoning: { effort: 'high' }, maxOutputTokens: 1024 },
    endpoint: BUDGET,
    dropped: ['reasoning'],
  },
  {
    name: 'an effort, adaptively',
    ask: { reasoning: { effort: 'xhigh' } },
    endpoint: BOTH,
    thinking: { type: 'adaptive', display: 'summarized' },
    effort: 'high',
  },
  {
    name: 'an effort, kept out of the answer',
    ask: { reasoning: { effort: 'low', exclude: true } },
    endpoint: EFFORT,
    thinking: { type: 'adaptive', display: 'omitted' },
    effort: 'low',
  },
  {
    name: 'a budget where only efforts are known',
    ask: { reasoning: { maxTokens: 3000 } },
    endpoint: EFFORT,
    thinking: { type: 'adaptive', display: 'summarized' },
    effort: 'medium',
    dropped: ['reasoning.max_tokens'],
  },
  {
    name: 'switched off',
    ask: { reasoning: { effort: 'none' } },
    endpoint: SWITCHED,
    thinking: { type: 'disabled' },
  },
  { name: 'off where it is off anyway', ask: { reasoning: { effort: 'none' } }, endpoint: BUDGET },
  {
    name: 'a model that cannot think',
    ask: { reasoning: { effort: 'low' } },
    endpoint: {},
    dropped: ['reasoning'],
  },
  {
    name: 'a forced tool and a budget',
    ask: { reasoning: { effort: 'high' }, tools: [{ name: 'f' }], toolChoice: 'required' },
    endpoint: BUDGET,
    dropped: ['reasoning'],
  },
  {
    name: 'a forced tool and an effort',
    ask: { reasoning: { effort: 'high' }, tools: [{ name: 'f' }], toolChoice: 'required' },
    endpoint: EFFORT,
    thinking: { type: 'adaptive', display: 'summarized' },
    effort: 'high',
  },
  {
    name: 'an open tool call whose thinking did not come back',
    ask: { reasoning: { effort: 'high' }, messages: OPEN_CALL },
    endpoint: BUDGET,
    dropped: ['reasoning'],
  },
  {
    name: 'no temperature next to it',
    ask: { reasoning: { effort: 'high' }, temperature: 0.5, topP: 0.95, topK: 2 },
    endpoint: BUDGET,
    thinking: { type: 'enabled', budget_tokens: 8000 },
    dropped: ['temperature', 'top_k'],
  },
]

for (const { name, ask, endpoint, thinking, effort, dropped = [] } of THINKING_CASES) {
  test(`thinking: ${name}`, () => {
    const { body, droppedParameters } = encode(ask, endpoint)
    assert.deepEqual(body.thinking, thinking)
    assert.equal(body.output_config?.effort, effort)
    assert.deepEqual(droppedParameters, dropped)
  })
}

test('the beginning of an answer that is to be gone on with does not end in white space', () => {
  const said = (words: string) => assistant({ parts: text(words) })
  const conversation = [user('Why? '), said('First \n'), user('Why? '), said('Because \n')]
  const { messages } = encode({ messages: conversation }).body
  assert.deepEqual(
    messages.map(({ content }: { content: readonly { text: string }[] }) => content[0]?.text),
    ['Why? ', 'First \n', 'Why? ', 'Because'],
  )
})
