import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Endpoint } from '@mesh/catalog/catalog.ts'
import { testAsk, testEndpoint } from '../../test/endpoints.ts'
import type { Ask, Message } from '../ask.ts'
import type { EncodeOptions } from '../protocol.ts'
import { cohereV2 } from './cohere.ts'

function encode(
  ask: Partial<Ask>,
  endpoint: Partial<Endpoint> = {},
  options: EncodeOptions = { stream: false },
) {
  const at = testEndpoint({ protocol: 'cohere_v2', ...endpoint })
  const { body, ...request } = cohereV2.encode(testAsk(ask), at, options)
  return { ...request, body: JSON.parse(body) }
}

/** As the catalogue has Command A: it neither thinks nor knows schemas. */
const COMMAND: Partial<Endpoint> = {
  supportedParameters: [
    'max_tokens',
    'stop',
    'stream',
    'temperature',
    'top_p',
    'tools',
    'tool_choice',
    'response_format.json_object',
  ],
}
const text = (words: string) => [{ type: 'text', text: words }] as const
const assistant = (additions: Partial<Extract<Message, { role: 'assistant' }>>): Message => ({
  role: 'assistant',
  parts: [],
  toolCalls: [],
  reasoning: [],
  ...additions,
})
const CALL = { id: 'look_1', name: 'look', arguments: '{"at":1}' }
const WIRE_CALL = { id: 'look_1', type: 'function', function: { name: 'look', arguments: '{"at":1}' } }

test('the smallest request, byte by byte', () => {
  const request = cohereV2.encode(testAsk(), testEndpoint({}), { stream: true, outputTokensCap: 50 })
  assert.deepEqual(request, {
    path: '/chat',
    headers: { 'content-type': 'application/json', accept: 'text/event-stream' },
    body: '{"model":"test-1","messages":[{"role":"user","content":"Hello"}],"max_tokens":50,"stream":true}',
    droppedParameters: [],
  })
})

test('a conversation with tools in it', () => {
  const { body, droppedParameters } = encode(
    {
      messages: [
        { role: 'developer', parts: [{ type: 'text', text: 'One.', cache: { ttl: '5m' } }] },
        { role: 'user', name: 'Ann', parts: text('a') },
        assistant({ reasoning: [{ text: 'I will look.' }], toolCalls: [CALL] }),
        {
          role: 'tool',
          toolCallId: 'look_1',
          parts: [
            { type: 'text', text: 'seen' },
            { type: 'image', source: { kind: 'url', url: 'https://a.test/b.png' } },
          ],
        },
        assistant({ parts: text('b'), refusal: 'no' }),
      ],
      tools: [{ name: 'look', description: 'Looks.', parameters: { type: 'object' } }],
      toolChoice: 'auto',
    },
    COMMAND,
  )
  assert.deepEqual(body.messages, [
    { role: 'system', content: 'One.' },
    { role: 'user', content: 'a' },
    { role: 'assistant', tool_plan: 'I will look.', tool_calls: [WIRE_CALL] },
    { role: 'tool', tool_call_id: 'look_1', content: 'seen' },
    { role: 'user', content: [{ type: 'image_url', image_url: { url: 'https://a.test/b.png' } }] },
    { role: 'assistant', content: [...text('b'), ...text('no')] },
  ])
  assert.deepEqual(body.tools, [
    { type: 'function', function: { name: 'look', description: 'Looks.', parameters: { type: 'object' } } },
  ])
  assert.equal('tool_choice' in body, false)
  assert.deepEqual(droppedParameters, ['cache_control', 'messages.name'])
})

test('a model that thinks gets its thinking back, and no other provider’s', () => {
  const turn = assistant({
    reasoning: [{ text: 'hm' }, { text: 'not its own', signature: 's' }],
    parts: text('b'),
    toolCalls: [CALL],
  })
  assert.deepEqual(encode({ messages: [turn] }).body.messages, [
    {
      role: 'assistant',
      content: [{ type: 'thinking', thinking: 'hm' }, ...text('b')],
      tool_calls: [WIRE_CALL],
    },
  ])
  const plain = encode({ messages: [assistant({ reasoning: [{ text: 'hm' }], parts: text('b') })] }, COMMAND)
  assert.deepEqual(plain.body.messages, [{ role: 'assistant', content: 'b' }])
})

const TOOLS: Ask['tools'] = [
  { name: 'look', strict: true, parameters: { type: 'object', required: ['at'] } },
  { name: 'go', strict: true, parameters: { type: 'object', required: ['to'] } },
]

test('a tool by name is the only one that is shown', () => {
  const named = encode({ tools: TOOLS, toolChoice: { name: 'go' } })
  assert.equal(named.body.tool_choice, 'REQUIRED')
  assert.deepEqual(
    named.body.tools.map((tool: { function: { name: string } }) => tool.function.name),
    ['go'],
  )
  assert.equal(encode({ tools: TOOLS, toolChoice: 'required' }).body.tool_choice, 'REQUIRED')
  assert.equal(encode({ tools: TOOLS, toolChoice: 'none' }).body.tool_choice, 'NONE')
})

test('strictness goes where all tools can be strict', () => {
  assert.equal(encode({ tools: TOOLS }).body.strict_tools, true)
  const mixed = encode({ tools: [...TOOLS, { name: 'wait' }], parallelToolCalls: false })
  assert.equal('strict_tools' in mixed.body, false)
  assert.deepEqual(mixed.droppedParameters, ['parallel_tool_calls', 'tools.strict'])
  assert.deepEqual(encode({ tools: TOOLS }, COMMAND).droppedParameters, ['tools.strict'])
})

const SCHEMA = { type: 'object', properties: { a: { type: 'string' } } }
const WITH_SCHEMA: Partial<Ask> = { responseFormat: { type: 'json_schema', name: 'x', schema: SCHEMA } }

test('a response format goes as it is where it can, and in words too where the API wants it said', () => {
  const native = encode(WITH_SCHEMA).body
  assert.deepEqual(native.response_format, { type: 'json_object', json_schema: SCHEMA })
  assert.equal(native.messages.length, 1)
  const object = encode({ responseFormat: { type: 'json_object' } }, COMMAND).body
  assert.deepEqual(object.response_format, { type: 'json_object' })
  assert.match(object.messages[0].content, /one JSON object/)
  const emulated = encode(WITH_SCHEMA, COMMAND).body
  assert.deepEqual(emulated.response_format, { type: 'json_object' })
  assert.match(emulated.messages[0].content, /JSON Schema:\n\{"type":"object"/)
  const besideTools = encode({ ...WITH_SCHEMA, tools: TOOLS }).body
  assert.equal('response_format' in besideTools, false)
  assert.match(besideTools.messages[0].content, /JSON Schema/)
})

test('sampling parameters go under Cohere’s names and within its bounds', () => {
  const { body, droppedParameters } = encode({
    temperature: 0.4,
    topP: 1,
    topK: 900,
    stop: ['1', '2', '3', '4', '5', '6'],
    extras: { seed: 7, frequency_penalty: 1.5, presence_penalty: -1, logit_bias: { '5': 1 } },
    choices: 2,
    endUserHmac: 'x',
  })
  const { temperature, p, k, stop_sequences, seed, frequency_penalty } = body
  assert.deepEqual(
    { temperature, p, k, stop_sequences, seed, frequency_penalty },
    {
      temperature: 0.4,
      p: 0.99,
      k: 500,
      stop_sequences: ['1', '2', '3', '4', '5'],
      seed: 7,
      frequency_penalty: 1,
    },
  )
  assert.equal('presence_penalty' in body || 'n' in body || 'user' in body, false)
  assert.deepEqual([...droppedParameters].sort(), ['logit_bias', 'n', 'presence_penalty', 'stop', 'user'])
})

const BUDGET: Partial<Endpoint> = { reasoningOptions: [{ type: 'budget_tokens', min: 1 }] }

test('thinking is asked for as the catalogue says that it can be', () => {
  const ask: Partial<Ask> = { reasoning: { effort: 'high' }, maxOutputTokens: 1000 }
  assert.deepEqual(encode(ask, BUDGET).body.thinking, { type: 'enabled', token_budget: 800 })
  assert.deepEqual(encode(ask).body.thinking, { type: 'enabled' })
  assert.deepEqual(encode({ reasoning: { effort: 'none' } }).body.thinking, { type: 'disabled' })
  const unable = encode(ask, COMMAND)
  assert.equal('thinking' in unable.body, false)
  assert.deepEqual(unable.droppedParameters, ['reasoning'])
})

test('peer bug 20: the same ask is the same bytes', () => {
  const ask = testAsk({ ...WITH_SCHEMA, tools: TOOLS, temperature: 1 })
  const bytes = () => cohereV2.encode(ask, testEndpoint({}), { stream: true }).body
  assert.equal(bytes(), bytes())
})
