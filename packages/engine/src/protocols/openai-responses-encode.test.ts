import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Endpoint } from '@mesh/catalog/catalog.ts'
import { testAsk, testEndpoint } from '../../test/endpoints.ts'
import type { Ask, Message } from '../ask.ts'
import type { EncodeOptions } from '../protocol.ts'
import { openaiResponses } from './openai-responses.ts'

const EFFORTS: Partial<Endpoint> = {
  protocol: 'openai_responses',
  reasoningOptions: [{ type: 'effort', values: ['none', 'low', 'medium', 'high', 'xhigh'] }],
}

function encode(
  ask: Partial<Ask>,
  endpoint: Partial<Endpoint> = {},
  options: EncodeOptions = { stream: false },
) {
  const { body, ...request } = openaiResponses.encode(
    testAsk(ask),
    testEndpoint({ ...EFFORTS, ...endpoint }),
    options,
  )
  return { ...request, body: JSON.parse(body) }
}

const WEATHER = { name: 'weather', parameters: { type: 'object', properties: { z: {}, a: {} } } }

test('the smallest request, byte by byte', () => {
  const { path, headers, body, droppedParameters } = openaiResponses.encode(
    testAsk(),
    testEndpoint(EFFORTS),
    { stream: true, outputTokensCap: 50 },
  )
  assert.equal(path, '/responses')
  assert.deepEqual(headers, { 'content-type': 'application/json', accept: 'text/event-stream' })
  assert.equal(
    body,
    '{"model":"test-1","input":[{"role":"user","content":"Hello"}],"include":["reasoning.encrypted_content"],' +
      '"max_output_tokens":50,"store":false,"stream":true}',
  )
  assert.deepEqual(droppedParameters, [])
})

test('everything that OpenAI takes', () => {
  const { body, droppedParameters } = encode({
    messages: [
      { role: 'system', parts: [{ type: 'text', text: 'Be brief.' }] },
      { role: 'user', parts: [{ type: 'text', text: 'Hello' }] },
    ],
    tools: [{ ...WEATHER, strict: true }, { name: 'look' }],
    toolChoice: { name: 'weather' },
    parallelToolCalls: false,
    responseFormat: { type: 'json_schema', name: 'answer', schema: { type: 'object' }, strict: true },
    reasoning: { effort: 'high' },
    maxOutputTokens: 99,
    temperature: 0.5,
    topP: 0.9,
    extras: { verbosity: 'low', prompt_cache_key: 'k', logprobs: true, top_logprobs: 2 },
    endUserHmac: 'abc',
  })
  assert.deepEqual(body, {
    model: 'test-1',
    instructions: 'Be brief.',
    input: [{ role: 'user', content: 'Hello' }],
    tools: [
      { type: 'function', ...WEATHER, strict: true },
      { type: 'function', name: 'look', parameters: { type: 'object', properties: {} }, strict: false },
    ],
    tool_choice: { type: 'function', name: 'weather' },
    parallel_tool_calls: false,
    text: {
      format: { type: 'json_schema', name: 'answer', schema: { type: 'object' }, strict: true },
      verbosity: 'low',
    },
    reasoning: { effort: 'high', summary: 'auto' },
    include: ['reasoning.encrypted_content', 'message.output_text.logprobs'],
    temperature: 0.5,
    top_p: 0.9,
    top_logprobs: 2,
    max_output_tokens: 99,
    prompt_cache_key: 'k',
    safety_identifier: 'abc',
    store: false,
    stream: false,
  })
  assert.deepEqual(droppedParameters, [])
})

test('peer bug 20 (Bifrost#2333): a schema keeps the order of its keys, for prompt caches depend on the bytes', () => {
  const { body } = openaiResponses.encode(testAsk({ tools: [WEATHER] }), testEndpoint(EFFORTS), {
    stream: false,
  })
  assert.ok(body.includes('"parameters":{"type":"object","properties":{"z":{},"a":{}}}'))
})

test('what would store, multiply or outsource a call never passes', () => {
  const names = [
    'background',
    'conversation',
    'previous_response_id',
    'service_tier',
    'prompt',
    'max_tool_calls',
  ]
  const extras = Object.fromEntries(names.map((name) => [name, 'x']))
  const { body, droppedParameters } = encode({ extras, choices: 3, stop: ['END'], topK: 4 })
  for (const name of [...names, 'n', 'stop', 'top_k']) {
    assert.equal(body[name], undefined, name)
    assert.ok(droppedParameters.includes(name), name)
  }
  assert.equal(body.store, false)
})

test('how hard to think, and whether to sum it up', () => {
  const reasoningOf = (reasoning: Ask['reasoning'] | undefined, endpoint: Partial<Endpoint> = {}) => {
    const { body, droppedParameters } = encode(reasoning ? { reasoning } : {}, endpoint)
    return [body.reasoning, droppedParameters]
  }
  assert.deepEqual(reasoningOf(undefined), [undefined, []])
  assert.deepEqual(reasoningOf({ exclude: true }), [undefined, []])
  assert.deepEqual(reasoningOf({ effort: 'none' }), [{ effort: 'none' }, []])
  assert.deepEqual(reasoningOf({ effort: 'minimal' }), [{ effort: 'low', summary: 'auto' }, []])
  assert.deepEqual(reasoningOf({ effort: 'low', exclude: true }), [{ effort: 'low' }, []])
  assert.deepEqual(reasoningOf({ effort: 'low', summary: 'none' }), [{ effort: 'low' }, []])
  assert.deepEqual(reasoningOf({ summary: 'concise' }), [{ summary: 'concise' }, []])
  assert.deepEqual(reasoningOf({ maxTokens: 500 }), [
    { effort: 'medium', summary: 'auto' },
    ['reasoning.max_tokens'],
  ])
  const low: Partial<Endpoint> = { reasoningOptions: [{ type: 'effort', values: ['low', 'high'] }] }
  assert.deepEqual(reasoningOf({ effort: 'none' }, low), [
    { effort: 'low', summary: 'auto' },
    ['reasoning.effort'],
  ])
  const never: Partial<Endpoint> = { supportedParameters: ['tools'] }
  assert.deepEqual(reasoningOf({ effort: 'high' }, never), [undefined, ['reasoning']])
  // A host of open models has no summaries.
  assert.deepEqual(reasoningOf({ effort: 'low' }, { provider: 'my-vllm' }), [{ effort: 'low' }, []])
})

test('encrypted reasoning is asked for only where a model reasons and the caller wants to see it', () => {
  assert.equal(encode({ reasoning: { exclude: true } }).body.include, undefined)
  assert.equal(encode({}, { supportedParameters: ['tools'] }).body.include, undefined)
  assert.equal(encode({}, { provider: 'my-vllm' }).body.include, undefined)
})

const RESPONSES = 'openai-responses-v1'

test("a model's own reasoning goes back in one item with its summary, another protocol's nowhere", () => {
  const turn: Message = {
    role: 'assistant',
    parts: [{ type: 'text', text: 'Let me see.' }],
    toolCalls: [{ id: 'call_1', name: 'look', arguments: '{}' }],
    reasoning: [
      { text: 'First.', format: RESPONSES },
      { text: 'Then.', format: RESPONSES },
      { text: '', redacted: 'secret', format: RESPONSES },
      { text: 'Claude thought', signature: 'sig', format: 'anthropic-claude-v1' },
      { text: '', redacted: 'other', format: 'anthropic-claude-v1' },
      { text: '', redacted: 'whose?' },
      { text: 'plain' },
    ],
  }
  const result: Message = { role: 'tool', toolCallId: 'call_1', parts: [{ type: 'text', text: 'seen' }] }
  const { body } = encode({ messages: [turn, result] })
  assert.deepEqual(body.input, [
    {
      type: 'reasoning',
      summary: [
        { type: 'summary_text', text: 'First.' },
        { type: 'summary_text', text: 'Then.' },
      ],
      encrypted_content: 'secret',
    },
    { role: 'assistant', content: 'Let me see.' },
    { type: 'function_call', call_id: 'call_1', name: 'look', arguments: '{}' },
    { type: 'function_call_output', call_id: 'call_1', output: 'seen' },
  ])
  const shown = encode({ messages: [{ ...turn, reasoning: [{ text: 'plain' }] }] }, { provider: 'my-vllm' })
  assert.deepEqual(shown.body.input[0], {
    type: 'reasoning',
    summary: [],
    content: [{ type: 'reasoning_text', text: 'plain' }],
    encrypted_content: null,
  })
})

test('images, PDF, what a tool returned beside text, and what has no place', () => {
  const image = { type: 'image', source: { kind: 'url', url: 'https://a.test/x.png' } } as const
  const file = {
    type: 'file',
    source: { kind: 'base64', mediaType: 'application/pdf', base64: 'AAAA' },
    filename: 'x.pdf',
  } as const
  const { body, droppedParameters } = encode({
    messages: [
      {
        role: 'user',
        name: 'Ann',
        parts: [
          { type: 'text', text: 'See', cache: { ttl: '5m' } },
          { ...image, detail: 'low' },
          { type: 'audio', format: 'mp3', base64: 'AAAA' },
        ],
      },
      { role: 'tool', toolCallId: 'call_1', parts: [image, file] },
    ],
  })
  assert.deepEqual(body.input, [
    {
      role: 'user',
      content: [
        { type: 'input_text', text: 'See' },
        { type: 'input_image', image_url: 'https://a.test/x.png', detail: 'low' },
      ],
    },
    {
      type: 'function_call_output',
      call_id: 'call_1',
      output: [
        { type: 'input_image', image_url: 'https://a.test/x.png', detail: 'auto' },
        { type: 'input_file', filename: 'x.pdf', file_data: 'data:application/pdf;base64,AAAA' },
      ],
    },
  ])
  assert.deepEqual(droppedParameters.toSorted(), ['cache_control', 'input_audio', 'messages.name'])
})

test('a refusal of an earlier turn, and a call id that is too long, keep their meaning', () => {
  const id = `toolu_${'x'.repeat(100)}`
  const { body } = encode({
    messages: [
      { role: 'user', parts: [{ type: 'text', text: 'Hi' }] },
      { role: 'assistant', parts: [], toolCalls: [], reasoning: [], refusal: 'No.' },
      { role: 'assistant', parts: [], toolCalls: [{ id, name: 'f', arguments: '{}' }], reasoning: [] },
      { role: 'tool', toolCallId: id, parts: [{ type: 'text', text: 'x' }] },
    ],
  })
  const [, refused, call, output] = body.input
  assert.deepEqual(refused, {
    type: 'message',
    role: 'assistant',
    content: [{ type: 'refusal', refusal: 'No.' }],
  })
  assert.ok(call.call_id.length <= 64)
  assert.equal(call.call_id, output.call_id)
})

test('a response format that an endpoint does not know is asked for in words, with the instructions', () => {
  const { body } = encode({ responseFormat: { type: 'json_object' } }, { supportedParameters: [] })
  assert.equal(body.text, undefined)
  assert.match(body.instructions, /exactly one JSON object/)
})

test('the output cap is within what the endpoint takes, and never below what the API takes', () => {
  assert.equal(encode({ maxOutputTokens: 99_999 }).body.max_output_tokens, 10_000)
  assert.equal(encode({ maxOutputTokens: 3 }).body.max_output_tokens, 16)
  assert.equal(encode({}).body.max_output_tokens, undefined)
})
