import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import OpenAI7 from 'openai'
import OpenAI6 from 'openai-6'
import { startSimulator } from '../server.ts'

const simulator = await startSimulator({ now: () => 1_790_000_000_000 })
after(() => simulator.close())

const weather = {
  type: 'function',
  name: 'get_weather',
  strict: true,
  parameters: {
    type: 'object',
    properties: { city: { type: 'string' }, days: { type: 'integer', minimum: 2 } },
    required: ['city', 'days'],
    additionalProperties: false,
  },
} as const
const clock = {
  type: 'function',
  name: 'get_time',
  strict: false,
  parameters: { type: 'object', properties: {} },
} as const

const sdks = [
  ['openai 7', OpenAI7],
  ['openai 6', OpenAI6 as unknown as typeof OpenAI7],
] as const

for (const [name, OpenAI] of sdks) {
  const client = new OpenAI({ apiKey: 'test', baseURL: simulator.baseUrl('openai'), maxRetries: 0 })
  const steered = (steering: string, model = 'gpt-4.1') =>
    client.responses.create({ model, input: 'Hello' }, { headers: { 'x-mesh-simulate': steering } })

  test(`${name}: a plain answer, and the same one again`, async () => {
    const ask = () => client.responses.create({ model: 'gpt-4.1', input: 'Hello there' })
    const [first, second] = [await ask(), await ask()]
    assert.match(first.output_text, /^Simulated answer from gpt-4.1: /)
    assert.equal(second.output_text, first.output_text)
    assert.notEqual(second.id, first.id)
    assert.equal(first.status, 'completed')
    assert.equal(first.usage?.output_tokens, Math.ceil(first.output_text.length / 4))
    assert.equal(first.usage?.input_tokens, 4 + 3)
  })

  test(`${name}: a stream is put together by the helper, its events numbered without gaps`, async () => {
    const stream = client.responses.stream({
      model: 'gpt-5.4',
      input: 'Hello',
      reasoning: { effort: 'low', summary: 'auto' },
      include: ['reasoning.encrypted_content'],
    })
    const numbers: number[] = []
    let told = ''
    for await (const event of stream) {
      numbers.push(event.sequence_number)
      if (event.type === 'response.output_text.delta') told += event.delta
    }
    assert.deepEqual(
      numbers,
      numbers.map((_, index) => index),
    )
    const final = await stream.finalResponse()
    assert.equal(final.output_text, told)
    assert.deepEqual(
      final.output.map(({ type }) => type),
      ['reasoning', 'message'],
    )
    assert.equal(final.usage?.output_tokens_details.reasoning_tokens, 64)
    const [reasoning] = final.output
    assert.ok(
      reasoning?.type === 'reasoning' && reasoning.encrypted_content && reasoning.summary.length === 1,
    )
  })

  test(`${name}: tools that think, two at once, and their results with the reasoning given back`, async () => {
    const question = { role: 'user', content: 'Use get_time and get_weather.' } as const
    const request = {
      model: 'gpt-5.5',
      tools: [weather, clock],
      include: ['reasoning.encrypted_content' as const],
      store: false,
    }
    const called = await client.responses.stream({ ...request, input: [question] }).finalResponse()
    const calls = called.output.filter((item) => item.type === 'function_call')
    assert.deepEqual(
      calls.map((call) => [call.name, JSON.parse(call.arguments)]),
      [
        ['get_weather', { city: 'simulated', days: 2 }],
        ['get_time', {}],
      ],
    )
    const results = calls.map(
      ({ call_id }) => ({ type: 'function_call_output', call_id, output: 'sunny' }) as const,
    )
    const history = called.output.filter((item) => item.type === 'function_call' || item.type === 'reasoning')
    const answer = await client.responses.create({ ...request, input: [question, ...history, ...results] })
    assert.match(answer.output_text, /2 tool result\(s\)/)
    await assert.rejects(
      client.responses.create({ ...request, input: [question, ...history] }),
      /No tool output/,
    )
    const forged = { type: 'reasoning' as const, id: 'rs_1', summary: [], encrypted_content: 'x' }
    await assert.rejects(client.responses.create({ ...request, input: [forged, question] }), (error) => {
      assert.ok(error instanceof OpenAI.BadRequestError)
      assert.equal(error.code, 'invalid_encrypted_content')
      return true
    })
  })

  test(`${name}: a schema is kept to, and a tool by name is called`, async () => {
    const parsed = await client.responses.parse({
      model: 'gpt-4.1',
      input: 'Hello',
      text: { format: { type: 'json_schema', name: 'weather', schema: weather.parameters, strict: true } },
    })
    assert.deepEqual(parsed.output_parsed, { city: 'simulated', days: 2 })
    const named = await client.responses.create({
      model: 'gpt-4.1',
      input: 'Hello',
      tools: [weather, clock],
      tool_choice: { type: 'function', name: 'get_time' },
    })
    assert.equal(named.output[0]?.type === 'function_call' && named.output[0].name, 'get_time')
  })

  test(`${name}: an output bound, which thinking can use up`, async () => {
    const cut = await client.responses.create({ model: 'gpt-4.1', input: 'Hello', max_output_tokens: 16 })
    assert.deepEqual([cut.status, cut.incomplete_details?.reason], ['incomplete', 'max_output_tokens'])
    assert.equal(cut.output_text.length, 64)
    const stream = client.responses.stream({ model: 'o4-mini', input: 'Hello', max_output_tokens: 100 })
    const thought = await stream.finalResponse()
    assert.equal(thought.output_text, '')
    assert.equal(thought.usage?.output_tokens, 100)
  })

  test(`${name}: refusals and errors arrive as the client's own classes`, async () => {
    const refused = await steered('refusal')
    const [item] = refused.output
    assert.equal(item?.type === 'message' && item.content[0]?.type, 'refusal')
    await assert.rejects(steered('rate_limit'), OpenAI.RateLimitError)
    await assert.rejects(steered('server_error'), OpenAI.InternalServerError)
    await assert.rejects(steered('', 'nobody'), OpenAI.APIError)
    const failing = client.responses.stream(
      { model: 'gpt-4.1', input: 'Hello' },
      { headers: { 'x-mesh-simulate': 'error_mid' } },
    )
    // The older one throws the event itself.
    await assert.rejects(failing.finalResponse(), { code: 'server_error' })
  })
}

const client = new OpenAI7({ apiKey: 'test', baseURL: simulator.baseUrl('openai'), maxRetries: 0 })

/** What OpenAI refuses: the change to a good request, and what the error says. */
const faults: readonly (readonly [
  change: object,
  param: string | null,
  code: string | null,
  message: RegExp,
])[] = [
  [{ model: 'nobody' }, null, 'model_not_found', /does not exist/],
  [{ stop: ['x'] }, 'stop', 'unknown_parameter', /Unknown parameter/],
  [{ messages: [] }, 'messages', 'unknown_parameter', /Unknown parameter/],
  [{ input: undefined }, 'input', 'missing_required_parameter', /Missing/],
  [{ input: [] }, 'input', 'empty_array', /empty/],
  [{ input: [{ role: 'tool', content: 'x' }] }, 'input[0].role', 'invalid_value', /Supported values/],
  [
    { input: [{ role: 'user', content: [{ type: 'text', text: 'x' }] }] },
    'input[0].content[0]',
    'invalid_value',
    /input_text/,
  ],
  [
    { input: [{ type: 'function_call_output', call_id: 'c', output: 'x' }] },
    'input',
    null,
    /No tool call found/,
  ],
  [
    { input: [{ type: 'function_call', call_id: 'c'.repeat(65), name: 'f', arguments: '{}' }] },
    'input[0].call_id',
    'string_above_max_length',
    /64/,
  ],
  [{ input: [{ type: 'item_reference', id: 'x' }] }, 'input[0].type', 'invalid_value', /Invalid value/],
  [{ max_output_tokens: 15 }, 'max_output_tokens', 'integer_below_min_value', />= 16/],
  [{ max_output_tokens: 1e9 }, 'max_output_tokens', 'integer_above_max_value', /<= 32768/],
  [{ temperature: 3 }, 'temperature', 'decimal_above_max_value', /between/],
  [{ model: 'gpt-5.5', temperature: 1 }, 'temperature', 'unsupported_parameter', /not supported/],
  [{ reasoning: { effort: 'low' } }, 'reasoning.effort', 'unsupported_parameter', /not supported/],
  [{ include: ['reasoning.encrypted_content'] }, 'include', null, /Encrypted content/],
  [
    { model: 'gpt-5-mini', reasoning: { effort: 'none' } },
    'reasoning.effort',
    'unsupported_value',
    /'minimal'/,
  ],
  [{ model: 'gpt-5-mini', reasoning: { summary: 'long' } }, 'reasoning.summary', 'invalid_value', /concise/],
  [{ tools: [{ type: 'function' }] }, 'tools[0].name', 'missing_required_parameter', /Missing/],
  [
    { tools: [{ ...weather, parameters: { type: 'object', properties: { a: {} } } }] },
    'tools[0].parameters',
    'invalid_function_parameters',
    /additionalProperties/,
  ],
  [{ tool_choice: 'required' }, 'tool_choice', null, /tools/],
  [{ tools: [clock], tool_choice: { type: 'function', name: 'x' } }, 'tool_choice', null, /not found/],
  [{ text: { format: { type: 'json_object' } } }, 'input', null, /json/],
  [
    { text: { format: { type: 'json_schema', name: 'x', schema: { type: 'object' }, strict: true } } },
    'text.format.schema',
    'invalid_json_schema',
    /additionalProperties/,
  ],
]

test('every fault of a request is found, named and placed', async () => {
  for (const [change, param, code, message] of faults) {
    const named = JSON.stringify(change)
    await assert.rejects(
      client.post('/responses', { body: { model: 'gpt-4.1', input: 'Hello', ...change } }),
      (error) => {
        assert.ok(error instanceof OpenAI7.APIError, named)
        assert.deepEqual([error.param, error.code], [param, code], named)
        assert.match(error.message, message, named)
        return true
      },
    )
  }
})

test('the newest models call tools while they think here, and not in chat completions', async () => {
  const tools = [
    { type: 'function' as const, function: { name: 'look', parameters: { type: 'object', properties: {} } } },
  ]
  const messages = [{ role: 'user' as const, content: 'Hello' }]
  const chat = (model: string, reasoning_effort: 'none' | 'low') =>
    client.chat.completions.create({ model, messages, tools, reasoning_effort })
  await assert.rejects(chat('gpt-5.4', 'low'), /use \/v1\/responses/)
  assert.ok((await chat('gpt-5.4', 'none')).choices[0])
  await assert.rejects(
    client.chat.completions.create({ model: 'gpt-5.5', messages, tools }),
    /\/v1\/responses/,
  )
  const called = await client.responses.create({
    model: 'gpt-5.4',
    input: 'Hello',
    tools: [clock],
    reasoning: { effort: 'low' },
  })
  assert.ok(called.output.some(({ type }) => type === 'function_call'))
})
