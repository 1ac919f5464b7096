import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { CHAT_BOUNDS } from '../bounds.ts'
import type { CallerRequest, ParseOptions } from '../shape.ts'
import { parseResponses } from './request.ts'

const options: ParseOptions = { pseudonym: (purpose, text) => `${purpose}:${text.length}` }
const GOOD = { model: 'mesh/gpt-5.5', input: 'Hello' }

function parsed(body: object): CallerRequest {
  const result = parseResponses(body, options)
  assert.ok(result.ok, result.ok ? '' : result.message)
  return result.request
}

const text = (said: string) => ({ type: 'text' as const, text: said })

test('the smallest call', () => {
  const { ask, route, droppedParameters } = parsed(GOOD)
  assert.deepEqual(ask, {
    messages: [{ role: 'user', parts: [text('Hello')] }],
    tools: [],
    stop: [],
    choices: 1,
    extras: {},
    stream: false,
    usageChunk: false,
  })
  assert.deepEqual(route.models, ['mesh/gpt-5.5'])
  assert.deepEqual(droppedParameters, [])
})

test('everything that a call can say', () => {
  const { ask, metadata } = parsed({
    ...GOOD,
    instructions: 'Be brief.',
    stream: true,
    store: true,
    truncation: 'disabled',
    max_output_tokens: 99,
    temperature: 0.5,
    top_p: 0.9,
    top_logprobs: 2,
    parallel_tool_calls: false,
    tools: [
      { type: 'function', name: 'look', description: 'Looks.', parameters: { type: 'object' }, strict: true },
    ],
    tool_choice: { type: 'function', name: 'look' },
    text: {
      format: { type: 'json_schema', name: 'answer', schema: { z: 1, a: 2 }, strict: true },
      verbosity: 'low',
    },
    reasoning: { effort: 'high', summary: 'detailed' },
    include: ['reasoning.encrypted_content'],
    metadata: { a: 'b' },
    user: 'somebody',
    prompt_cache_key: 'key',
  })
  assert.deepEqual(ask, {
    messages: [
      { role: 'system', parts: [text('Be brief.')] },
      { role: 'user', parts: [text('Hello')] },
    ],
    tools: [{ name: 'look', description: 'Looks.', parameters: { type: 'object' }, strict: true }],
    toolChoice: { name: 'look' },
    parallelToolCalls: false,
    responseFormat: { type: 'json_schema', name: 'answer', schema: { z: 1, a: 2 }, strict: true },
    reasoning: { effort: 'high', summary: 'detailed' },
    maxOutputTokens: 99,
    temperature: 0.5,
    topP: 0.9,
    stop: [],
    choices: 1,
    extras: { logprobs: true, top_logprobs: 2, verbosity: 'low', prompt_cache_key: 'cache_key:3' },
    endUserHmac: 'end_user:8',
    stream: true,
    usageChunk: false,
  })
  assert.deepEqual(metadata, { a: 'b' })
})

test('who asks for no summary of the reasoning gets none made', () => {
  const reasoningOf = (reasoning: object | null) => parsed({ ...GOOD, reasoning }).ask.reasoning
  assert.equal(reasoningOf(null), undefined)
  assert.equal(reasoningOf({}), undefined)
  assert.deepEqual(reasoningOf({ effort: 'low' }), { effort: 'low', summary: 'none' })
  assert.deepEqual(reasoningOf({ generate_summary: 'auto' }), { summary: 'auto' })
  assert.deepEqual(reasoningOf({ max_tokens: 5, exclude: true }), {
    maxTokens: 5,
    exclude: true,
    summary: 'none',
  })
})

test('items of an assistant are one turn while they come in its order, and another where they do not', () => {
  const call = (id: string) => ({
    type: 'function_call',
    call_id: id,
    name: 'look',
    arguments: '{}',
    id: 'fc_1',
  })
  const output = (id: string, said: unknown) => ({ type: 'function_call_output', call_id: id, output: said })
  const { ask } = parsed({
    ...GOOD,
    input: [
      { role: 'developer', content: [{ type: 'input_text', text: 'Rules.' }] },
      { type: 'message', role: 'user', content: 'Hello' },
      {
        type: 'reasoning',
        id: 'rs_1',
        summary: [{ type: 'summary_text', text: 'Hm.' }],
        encrypted_content: 'E',
      },
      {
        type: 'message',
        id: 'msg_1',
        status: 'completed',
        role: 'assistant',
        content: [
          { type: 'output_text', text: 'Let me see.', annotations: [], logprobs: [] },
          { type: 'refusal', refusal: 'No.' },
        ],
      },
      call('one'),
      call('two__thought__c2lnbmVk'),
      { type: 'reasoning', summary: [], encrypted_content: 'F' },
      call('three'),
      output('one', 'seen'),
      output('two__thought__c2lnbmVk', [{ type: 'input_text', text: 'seen' }]),
      output('three', ''),
      { role: 'assistant', content: '' },
    ],
  })
  const format = 'openai-responses-v1'
  const toolCall = (id: string) => ({ id, name: 'look', arguments: '{}' })
  assert.deepEqual(ask.messages, [
    { role: 'developer', parts: [text('Rules.')] },
    { role: 'user', parts: [text('Hello')] },
    {
      role: 'assistant',
      parts: [text('Let me see.')],
      toolCalls: [toolCall('one'), { ...toolCall('two'), signature: 'c2lnbmVk' }],
      reasoning: [
        { text: 'Hm.', format },
        { text: '', redacted: 'E', format },
      ],
      refusal: 'No.',
    },
    {
      role: 'assistant',
      parts: [],
      toolCalls: [toolCall('three')],
      reasoning: [{ text: '', redacted: 'F', format }],
    },
    { role: 'tool', toolCallId: 'one', parts: [text('seen')] },
    { role: 'tool', toolCallId: 'two', parts: [text('seen')] },
    { role: 'tool', toolCallId: 'three', parts: [text('')] },
  ])
})

test("another maker's reasoning comes back as what it was", () => {
  const blocks = (item: object) => {
    const input = [
      { role: 'user', content: 'Hello' },
      { type: 'reasoning', ...item },
    ]
    const last = parsed({ ...GOOD, input }).ask.messages.at(-1)
    return last?.role === 'assistant' ? last.reasoning : undefined
  }
  const summary = [{ type: 'summary_text', text: 'Hm.' }]
  const format = 'anthropic-claude-v1'
  assert.deepEqual(blocks({ summary, encrypted_content: `mesh:${format}:signature:S=` }), [
    { text: 'Hm.', signature: 'S=', format },
  ])
  assert.deepEqual(blocks({ summary, encrypted_content: 'mesh:unproven' }), blocks({ summary }))
  assert.deepEqual(blocks({ summary: [], encrypted_content: `mesh:${format}:redacted:R` }), [
    { text: '', redacted: 'R', format },
  ])
  assert.deepEqual(blocks({ summary: [], content: [{ type: 'reasoning_text', text: 'Hm.' }] }), [
    { text: 'Hm.' },
  ])
})

test('images, documents and audio', () => {
  const pdf = 'data:application/pdf;base64,AAAA'
  const [message] = parsed({
    ...GOOD,
    input: [
      {
        role: 'user',
        content: [
          { type: 'input_image', image_url: 'https://a.test/x.png', detail: 'low' },
          { type: 'input_file', file_data: pdf, filename: 'x.pdf' },
          { type: 'input_file', file_url: 'https://a.test/x.pdf' },
          { type: 'input_audio', input_audio: { data: 'AAAA', format: 'mp3' } },
        ],
      },
    ],
  }).ask.messages
  assert.deepEqual(message?.parts, [
    { type: 'image', source: { kind: 'url', url: 'https://a.test/x.png' }, detail: 'low' },
    {
      type: 'file',
      source: { kind: 'base64', mediaType: 'application/pdf', base64: 'AAAA' },
      filename: 'x.pdf',
    },
    { type: 'file', source: { kind: 'url', url: 'https://a.test/x.pdf' } },
    { type: 'audio', format: 'mp3', base64: 'AAAA' },
  ])
})

test('allowed_tools leaves the others out', () => {
  const tools = ['one', 'two'].map((name) => ({ type: 'function', name }))
  const choice = { type: 'allowed_tools', mode: 'required', tools: [{ type: 'function', name: 'two' }] }
  const { ask } = parsed({ ...GOOD, tools, tool_choice: choice })
  assert.deepEqual(ask.tools, [{ name: 'two' }])
  assert.equal(ask.toolChoice, 'required')
})

/** What would store, multiply or outsource a call: the change, and where the fault is. */
const REFUSED: readonly (readonly [change: object, param: string, message: RegExp])[] = [
  [{ background: true }, 'background', /Stream the call/],
  [{ previous_response_id: 'resp_CANARY' }, 'previous_response_id', /earlier turns in input/],
  [{ conversation: { id: 'CANARY' } }, 'conversation', /keeps no conversations/],
  [{ prompt: { id: 'CANARY' } }, 'prompt', /keeps no prompts/],
  [{ truncation: 'auto' }, 'truncation', /must be disabled/],
  [{ context_management: [{ type: 'compaction' }] }, 'context_management', /Shorten it yourself/],
  [{ service_tier: 'priority' }, 'service_tier', /auto or default/],
  [{ moderation: { model: 'CANARY' } }, 'moderation', /second model/],
  [{ tools: [{ type: 'web_search' }] }, 'tools[0].type', /Define a function tool/],
  [{ tools: [{ type: 'mcp', server_url: 'CANARY' }] }, 'tools[0].type', /Define a function tool/],
  [{ tools: [{ type: 'custom', name: 'CANARY' }] }, 'tools[0].type', /string parameter/],
  [{ tool_choice: { type: 'file_search' } }, 'tool_choice.type', /Define a function tool/],
  [{ input: [{ type: 'item_reference', id: 'CANARY' }] }, 'input[0].type', /Send the item itself/],
  [{ input: [{ type: 'web_search_call', id: 'CANARY' }] }, 'input[0].type', /run outside the call/],
  [
    { input: [{ role: 'user', content: [{ type: 'input_file', file_id: 'CANARY' }] }] },
    'input[0].content[0].file_id',
    /keeps no files/,
  ],
  [
    {
      input: [
        { type: 'function_call_output', call_id: 'a', output: [{ type: 'input_image', file_id: 'CANARY' }] },
      ],
    },
    'input[0].output[0].file_id',
    /keeps no files/,
  ],
]

/** What is wrong with a request. */
const FAULTS: readonly (readonly [change: object, param: string, message: RegExp])[] = [
  [{ model: null }, 'model', /name a model/],
  [{ input: undefined }, 'input', /string or an array/],
  [{ input: '' }, 'input', /at least 1 character/],
  [{ input: [] }, 'input', /at least 1 item/],
  [{ input: [{ role: 'assistant', content: '' }] }, 'input', /must say something/],
  [{ input: [{ role: 'CANARY', content: 'x' }] }, 'input[0].role', /must be one of/],
  [
    { input: [{ role: 'user', content: [{ type: 'CANARY' }] }] },
    'input[0].content[0].type',
    /must be one of/,
  ],
  [
    { input: [{ role: 'user', content: [{ type: 'input_image', image_url: 'file:///CANARY' }] }] },
    'input[0].content[0].image_url',
    /http\(s\) URL/,
  ],
  [
    { input: [{ role: 'user', content: [{ type: 'input_file' }] }] },
    'input[0].content[0]',
    /file_data or file_url/,
  ],
  [
    { input: [{ role: 'user', content: [{ type: 'input_file', file_url: 'data:CANARY' }] }] },
    'input[0].content[0].file_url',
    /http\(s\) URL/,
  ],
  [{ input: [{ type: 'function_call', call_id: 'a', name: 'f' }] }, 'input[0].arguments', /must be a string/],
  [{ input: [{ type: 'function_call_output', call_id: '', output: '' }] }, 'input[0].call_id', /at least 1/],
  [{ max_output_tokens: 0 }, 'max_output_tokens', /at least 1/],
  [{ text: { format: { type: 'json_schema', name: 'x' } } }, 'text.format.schema', /JSON object/],
  [{ reasoning: { effort: 'CANARY' } }, 'reasoning.effort', /must be one of/],
  [{ tools: [{ type: 'function', name: 'CANARY CANARY' }] }, 'tools[0].name', /letters/],
  [{ tools: ['a', 'a'].map((name) => ({ type: 'function', name })) }, 'tools[1].name', /earlier tool/],
  [{ tool_choice: 'required' }, 'tool_choice', /there are no tools/],
  [
    { tools: [{ type: 'function', name: 'a' }], tool_choice: { type: 'function', name: 'b' } },
    'tool_choice.name',
    /one of tools/,
  ],
]

for (const [code, cases] of [
  ['unsupported_parameter', REFUSED],
  ['invalid_request', FAULTS],
] as const) {
  for (const [change, param, message] of cases) {
    test(`${code}: ${JSON.stringify(change).slice(0, 80)}`, () => {
      const result = parseResponses({ ...GOOD, ...change }, options)
      assert.ok(!result.ok)
      assert.equal(result.code, code)
      assert.equal(result.param, param)
      assert.match(result.message, message)
      assert.doesNotMatch(result.message, /CANARY/)
    })
  }
}

test('what hosted tools would include, and what nobody knows, is dropped and named', () => {
  const { droppedParameters } = parsed({ ...GOOD, include: ['file_search_call.results'], max_tool_calls: 3 })
  assert.deepEqual(droppedParameters, ['include', 'max_tool_calls'])
})

test('a list that is too long is refused before its items are read', () => {
  const many = Array(CHAT_BOUNDS.messagesMax + 1).fill({ role: 'user', content: 'x' })
  const result = parseResponses({ ...GOOD, input: many }, options)
  assert.ok(!result.ok && result.param === 'input')
})

test('no JSON makes the reading throw, and no fault repeats any of it', () => {
  const hostile = fc.record(
    {
      model: fc.constantFrom('mesh/gpt-5.5', null, 7),
      input: fc.oneof(
        fc.jsonValue(),
        fc.array(
          fc.record(
            {
              type: fc.constantFrom(
                'message',
                'reasoning',
                'function_call',
                'function_call_output',
                'SECRET',
              ),
              role: fc.constantFrom('user', 'assistant', 'SECRET'),
              content: fc.jsonValue(),
              output: fc.jsonValue(),
              summary: fc.jsonValue(),
              call_id: fc.jsonValue(),
              name: fc.constantFrom('SECRET', 'a b'),
            },
            { requiredKeys: [] },
          ),
          { maxLength: 3 },
        ),
      ),
      tools: fc.jsonValue(),
      tool_choice: fc.jsonValue(),
      text: fc.jsonValue(),
      reasoning: fc.jsonValue(),
      include: fc.jsonValue(),
    },
    { requiredKeys: [] },
  )
  fc.assert(
    fc.property(hostile, (body) => {
      const result = parseResponses(body, options)
      if (!result.ok) assert.doesNotMatch(result.message, /SECRET/)
    }),
    { numRuns: 500 },
  )
})
