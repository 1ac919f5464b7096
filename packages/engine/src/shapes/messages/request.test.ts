import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { CallerRequest } from '../shape.ts'
import { parseCountedMessages, parseMessages } from './request.ts'

const OPTIONS = { pseudonym: (purpose: string, text: string) => `${purpose}:${text.length}` }
const HELLO = { model: 'mesh/a', max_tokens: 9, messages: [{ role: 'user', content: 'Hello' }] }

function read(additions: object): CallerRequest {
  const parsed = parseMessages({ ...HELLO, ...additions }, OPTIONS)
  assert.ok(parsed.ok, JSON.stringify(parsed))
  return parsed.request
}

const ask = (additions: object) => read(additions).ask
const messages = (...list: object[]) => ask({ messages: list }).messages
const PDF = { type: 'base64', media_type: 'application/pdf', data: 'JVBERg==' }
const TOOL = { name: 'look', input_schema: { type: 'object' } }

test('the smallest request', () => {
  assert.deepEqual(ask({}), {
    messages: [{ role: 'user', parts: [{ type: 'text', text: 'Hello' }] }],
    tools: [],
    maxOutputTokens: 9,
    stop: [],
    choices: 1,
    extras: {},
    stream: false,
    usageChunk: false,
  })
})

test('blocks of a turn become messages, and their order stays', () => {
  const thinking = (text: string) => ({ type: 'thinking', thinking: text, signature: 's' })
  const use = (id: string) => ({ type: 'tool_use', id, name: 'look', input: { at: 1 } })
  const said = (text: string) => ({ type: 'text', text })
  const [user, ...turns] = messages(
    {
      role: 'user',
      content: [said('a'), { type: 'tool_result', tool_use_id: 'x', content: 'r' }, said('b')],
    },
    {
      role: 'assistant',
      content: [thinking('1'), said('t'), use('c1'), use('c2'), thinking('2'), use('c3')],
    },
  )
  assert.equal(user?.role, 'user')
  assert.deepEqual(
    turns.map((message) =>
      message.role === 'assistant'
        ? [
            message.reasoning.map(({ text }) => text),
            message.parts.length,
            message.toolCalls.map(({ id }) => id),
          ]
        : message.role,
    ),
    ['tool', 'user', [['1'], 1, ['c1', 'c2']], [['2'], 0, ['c3']]],
  )
})

test('a tool result keeps its mark, its media and that it failed', () => {
  const [result] = messages({
    role: 'user',
    content: [
      {
        type: 'tool_result',
        tool_use_id: 'x',
        is_error: true,
        cache_control: { type: 'ephemeral' },
        content: [
          { type: 'text', text: 'r' },
          { type: 'document', source: PDF, title: 'a.pdf' },
        ],
      },
    ],
  })
  assert.deepEqual(result, {
    role: 'tool',
    toolCallId: 'x',
    isError: true,
    parts: [
      { type: 'text', text: 'r' },
      {
        type: 'file',
        source: { kind: 'base64', mediaType: 'application/pdf', base64: 'JVBERg==' },
        filename: 'a.pdf',
        cache: { ttl: '5m' },
      },
    ],
  })
})

test('thinking and effort become reasoning', () => {
  assert.deepEqual(ask({ thinking: { type: 'enabled', budget_tokens: 2_000 } }).reasoning, {
    maxTokens: 2_000,
  })
  assert.deepEqual(ask({ thinking: { type: 'adaptive' } }).reasoning, { effort: 'high' })
  assert.deepEqual(
    ask({ thinking: { type: 'adaptive', display: 'omitted' }, output_config: { effort: 'low' } }).reasoning,
    { effort: 'low', exclude: true },
  )
  assert.deepEqual(ask({ thinking: { type: 'disabled' } }).reasoning, { effort: 'none' })
  assert.deepEqual(ask({ output_config: { effort: 'max' } }).reasoning, { effort: 'max', effortOnly: true })
})

test('tools, how they are chosen, and a schema for the answer', () => {
  const { tools, toolChoice, parallelToolCalls } = ask({
    tools: [{ ...TOOL, type: 'custom', strict: true, cache_control: { type: 'ephemeral', ttl: '1h' } }],
    tool_choice: { type: 'any', disable_parallel_tool_use: true },
  })
  assert.deepEqual(tools, [
    { name: 'look', parameters: { type: 'object' }, strict: true, cache: { ttl: '1h' } },
  ])
  assert.equal(toolChoice, 'required')
  assert.equal(parallelToolCalls, false)
  assert.deepEqual(ask({ tools: [TOOL], tool_choice: { type: 'tool', name: 'look' } }).toolChoice, {
    name: 'look',
  })
  const format = { type: 'json_schema', schema: { type: 'object' } }
  for (const wish of [{ output_config: { format } }, { output_format: format }]) {
    assert.deepEqual(ask(wish).responseFormat, {
      type: 'json_schema',
      name: 'answer',
      schema: { type: 'object' },
      strict: true,
    })
  }
})

test('the end user leaves as a stand-in, and other metadata stays with MESH', () => {
  const { ask: asked, metadata } = read({ metadata: { user_id: 'ada', mesh_simulate: 'slow', none: null } })
  assert.equal(asked.endUserHmac, 'end_user:3')
  assert.deepEqual(metadata, { mesh_simulate: 'slow' })
})

test('the mark of the whole prompt stands on its last block', () => {
  const { messages: marked } = ask({ cache_control: { type: 'ephemeral', ttl: '1h' } })
  assert.deepEqual(marked.at(-1)?.parts, [{ type: 'text', text: 'Hello', cache: { ttl: '1h' } }])
})

test('what MESH does not act on is named', () => {
  const { droppedParameters, droppedUnnamed } = read({
    tools: [{ ...TOOL, defer_loading: true, eager: false }],
    betas: ['x'],
    'a name that cannot be shown!': 1,
    messages: [{ role: 'user', content: [{ type: 'document', source: PDF, citations: { enabled: true } }] }],
  })
  assert.deepEqual([...droppedParameters].sort(), ['betas', 'document.citations', 'tools.defer_loading'])
  assert.equal(droppedUnnamed, 1)
})

test("MESH's extensions are those of every shape", () => {
  const { route, privacy } = read({
    models: ['mesh/b'],
    provider: { order: ['OpenAI'], allow_fallbacks: false },
    privacy: { mode: 'protected' },
  })
  assert.deepEqual(
    [route.models, route.order, route.allowFallbacks],
    [['mesh/a', 'mesh/b'], ['openai'], false],
  )
  assert.equal(privacy.mode, 'protected')
})

const said = (...content: object[]) => ({ messages: [{ role: 'user', content }] })

/** A wrong request, what it is refused as, and the field that is named. */
const WRONG: readonly (readonly [additions: object, code: string, param: string | undefined])[] = [
  [{ max_tokens: undefined }, 'invalid_request', 'max_tokens'],
  [{ model: undefined }, 'invalid_request', 'model'],
  [{ messages: [] }, 'invalid_request', 'messages'],
  [{ messages: 'Hello' }, 'invalid_request', 'messages'],
  [{ messages: [{ role: 'tool', content: 'x' }] }, 'invalid_request', 'messages[0].role'],
  [{ temperature: 1.5 }, 'invalid_request', 'temperature'],
  [{ thinking: { type: 'enabled', budget_tokens: 10 } }, 'invalid_request', 'thinking.budget_tokens'],
  [{ tool_choice: { type: 'any' } }, 'invalid_request', 'tool_choice'],
  [{ tools: [TOOL], tool_choice: { type: 'tool', name: 'no' } }, 'invalid_request', 'tool_choice.name'],
  [{ tools: [TOOL, TOOL] }, 'invalid_request', 'tools[1].name'],
  [{ tools: [{ type: 'web_search_20250305', name: 'a' }] }, 'unsupported_parameter', 'tools[0].type'],
  [{ tools: [{ type: 'bash_20250124', name: 'bash' }] }, 'unsupported_parameter', 'tools[0].type'],
  [{ container: 'c' }, 'unsupported_parameter', 'container'],
  [{ mcp_servers: [{ type: 'url' }] }, 'unsupported_parameter', 'mcp_servers'],
  [{ context_management: { edits: [{}] } }, 'unsupported_parameter', 'context_management'],
  [{ service_tier: 'priority' }, 'unsupported_parameter', 'service_tier'],
  [{ inference_geo: 'us' }, 'unsupported_parameter', 'inference_geo'],
  [{ speed: 'fast' }, 'unsupported_parameter', 'speed'],
  [
    said({ type: 'image', source: { type: 'file', file_id: 'file_1' } }),
    'unsupported_parameter',
    'messages[0].content[0].source.type',
  ],
  [said({ type: 'server_tool_use' }), 'unsupported_parameter', 'messages[0].content[0].type'],
  [
    said({ type: 'tool_result', tool_use_id: 'x', content: [{ type: 'search_result' }] }),
    'unsupported_parameter',
    'messages[0].content[0].content[0].type',
  ],
  [
    said({ type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'no base64' } }),
    'invalid_request',
    'messages[0].content[0].source.data',
  ],
  [
    said({ type: 'document', source: { type: 'url', url: 'file:///etc/passwd' } }),
    'invalid_request',
    'messages[0].content[0].source.url',
  ],
  [
    said({ type: 'thinking', thinking: 'a', signature: 'b' }),
    'invalid_request',
    'messages[0].content[0].type',
  ],
  [{ privacy: { mode: 'standard', more: 1 } }, 'invalid_request', 'privacy'],
]

test('each wrong request is refused with its field, and nothing of it is quoted', () => {
  for (const [additions, code, param] of WRONG) {
    const parsed = parseMessages({ ...HELLO, ...additions }, OPTIONS)
    assert.ok(!parsed.ok, JSON.stringify(additions))
    assert.deepEqual([parsed.code, parsed.param], [code, param], parsed.message)
    assert.doesNotMatch(parsed.message, /Hello|passwd|file_1/)
  }
})

test('what asks for nothing is taken', () => {
  const { droppedParameters } = read({
    service_tier: 'auto',
    container: null,
    mcp_servers: [],
    context_management: {},
    stop_sequences: null,
    system: [],
  })
  assert.deepEqual(droppedParameters, [])
})

test('tokens are counted of a request without max_tokens', () => {
  const { max_tokens: _, ...counted } = HELLO
  assert.ok(parseCountedMessages(counted, OPTIONS).ok)
})

test('any JSON is read or refused, and never thrown at', () => {
  const blocks = fc.array(
    fc.record(
      {
        type: fc.constantFrom('text', 'image', 'document', 'tool_use', 'tool_result', 'thinking', 'other'),
        text: fc.jsonValue(),
        source: fc.jsonValue(),
        content: fc.jsonValue(),
        input: fc.jsonValue(),
        id: fc.string(),
      },
      { requiredKeys: ['type'] },
    ),
  )
  const bodies = fc.record(
    {
      model: fc.oneof(fc.constant('mesh/a'), fc.jsonValue()),
      max_tokens: fc.oneof(fc.constant(5), fc.jsonValue()),
      messages: fc.oneof(
        fc.array(
          fc.record({
            role: fc.constantFrom('user', 'assistant', 'system', 'other'),
            content: fc.oneof(fc.string({ unit: 'binary' }), blocks),
          }),
        ),
        fc.jsonValue(),
      ),
      tools: fc.jsonValue(),
      thinking: fc.jsonValue(),
      metadata: fc.jsonValue(),
      system: fc.oneof(fc.string(), blocks),
    },
    { requiredKeys: ['model', 'max_tokens', 'messages'] },
  )
  fc.assert(
    fc.property(fc.oneof(bodies, fc.jsonValue()), (body) => {
      const parsed = parseMessages(body, OPTIONS)
      if (!parsed.ok) assert.match(parsed.message, /\.$/)
    }),
  )
})

test('a conversation in which nobody says anything is refused', () => {
  for (const content of [[{ role: 'user', content: [] }], [{ role: 'assistant', content: [] }]]) {
    const parsed = parseMessages({ ...HELLO, messages: content }, OPTIONS)
    assert.equal(parsed.ok, false)
    assert.equal(!parsed.ok && parsed.param, 'messages')
  }
})
