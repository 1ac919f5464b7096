import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import Anthropic from '@anthropic-ai/sdk'
import { startSimulator } from '../server.ts'

const simulator = await startSimulator()
after(() => simulator.close())

const client = new Anthropic({ apiKey: 'test', baseURL: simulator.baseUrl('anthropic'), maxRetries: 0 })
const hello = [{ role: 'user' as const, content: 'Hello there' }]
const model = 'claude-haiku-4-5-20251001'
const schema = {
  type: 'object' as const,
  properties: { city: { type: 'string' }, days: { type: 'integer', minimum: 2 } },
  required: ['city', 'days'],
  additionalProperties: false,
}
const weather = { name: 'get_weather', input_schema: schema }
const clock = { name: 'get_time', input_schema: { type: 'object' as const, properties: {} } }

function textOf(message: Anthropic.Message): string {
  return message.content.map((block) => (block.type === 'text' ? block.text : '')).join('')
}

test('a plain answer and its usage; a stream adds up to the same shape', async () => {
  const whole = await client.messages.create({ model, max_tokens: 200, messages: hello })
  assert.match(textOf(whole), /^Simulated answer from claude-haiku-4-5-20251001: /)
  assert.equal(whole.stop_reason, 'end_turn')
  assert.equal(whole.usage.output_tokens, Math.ceil(textOf(whole).length / 4))
  assert.equal(whole.usage.input_tokens, 4 + 3)
  const streamed = await client.messages.stream({ model, max_tokens: 200, messages: hello }).finalMessage()
  // The client adds a field of its own to what it puts together.
  const fields = Object.keys(streamed).filter((field) => field !== 'parsed_output')
  assert.deepEqual(fields.sort(), Object.keys(whole).sort())
  assert.equal(streamed.usage.output_tokens, Math.ceil(textOf(streamed).length / 4))
})

test('the events of a stream come in the order of the vendor', async () => {
  const types: string[] = []
  const stream = await client.messages.create({ model, max_tokens: 200, messages: hello, stream: true })
  for await (const event of stream) if (types.at(-1) !== event.type) types.push(event.type)
  assert.deepEqual(types, [
    'message_start',
    'content_block_start',
    'content_block_delta',
    'content_block_stop',
    'message_delta',
    'message_stop',
  ])
})

test('a tool round trip, streamed, with thinking that is given back under its signature', async () => {
  const question = { role: 'user' as const, content: 'Use get_weather and get_time.' }
  const request = {
    model,
    max_tokens: 4000,
    thinking: { type: 'enabled' as const, budget_tokens: 1024 },
    tools: [weather, clock],
  }
  const called = await client.messages.stream({ ...request, messages: [question] }).finalMessage()
  assert.deepEqual(
    called.content.map((block) => block.type),
    ['thinking', 'text', 'tool_use', 'tool_use'],
  )
  assert.equal(called.stop_reason, 'tool_use')
  assert.equal(called.usage.output_tokens_details?.thinking_tokens, 160)
  const uses = called.content.filter((block) => block.type === 'tool_use')
  assert.deepEqual(
    uses.map((block) => block.input),
    [{ city: 'simulated', days: 2 }, {}],
  )
  const results = uses.map((use) => ({ type: 'tool_result' as const, tool_use_id: use.id, content: 'sunny' }))
  const history = [
    question,
    { role: 'assistant' as const, content: called.content },
    { role: 'user' as const, content: results },
  ]
  const answer = await client.messages.create({ ...request, messages: history })
  assert.match(textOf(answer), /2 tool result\(s\)/)
  const forged = called.content.map((block) =>
    block.type === 'thinking' ? { ...block, signature: 'forged' } : block,
  )
  const withForged = [
    question,
    { role: 'assistant' as const, content: forged },
    { role: 'user' as const, content: results },
  ]
  await assert.rejects(
    client.messages.create({ ...request, messages: withForged }),
    Anthropic.BadRequestError,
  )
  const withoutThinking = forged.filter((block) => block.type !== 'thinking')
  const bare = [
    question,
    { role: 'assistant' as const, content: withoutThinking },
    { role: 'user' as const, content: results },
  ]
  await assert.rejects(client.messages.create({ ...request, messages: bare }), Anthropic.BadRequestError)
})

test('a forced tool is called without a word, and one alone where parallel calls are off', async () => {
  const request = { model, max_tokens: 200, messages: hello, tools: [weather, clock] }
  const forced = await client.messages.create({ ...request, tool_choice: { type: 'tool', name: 'get_time' } })
  assert.deepEqual(
    forced.content.map((block) => block.type === 'tool_use' && block.name),
    ['get_time'],
  )
  const question = [{ role: 'user' as const, content: 'get_weather get_time' }]
  const alone = { type: 'any' as const, disable_parallel_tool_use: true }
  const one = await client.messages.create({ ...request, messages: question, tool_choice: alone })
  assert.equal(one.content.length, 1)
})

test('models that think unasked show a signature and no text of it', async () => {
  const message = await client.messages
    .stream({ model: 'claude-sonnet-5', max_tokens: 300, messages: hello })
    .finalMessage()
  const [thinking, text] = message.content
  assert.equal(thinking?.type === 'thinking' && thinking.thinking, '')
  assert.ok(thinking?.type === 'thinking' && thinking.signature.length > 20)
  assert.equal(text?.type, 'text')
  assert.equal(message.usage.output_tokens, 64 + Math.ceil(textOf(message).length / 4))
})

test('structured output by format, by instruction and by prefill', async () => {
  const format = { type: 'json_schema' as const, schema }
  const native = await client.messages.create({
    model,
    max_tokens: 200,
    messages: hello,
    output_config: { format },
  })
  assert.deepEqual(JSON.parse(textOf(native)), { city: 'simulated', days: 2 })
  const system = `Answer with one JSON object and nothing else, from { to }, valid against: ${JSON.stringify(schema)}`
  const told = await client.messages.create({ model, max_tokens: 200, messages: hello, system })
  assert.deepEqual(JSON.parse(textOf(told)), { city: 'simulated', days: 2 })
  const prefill = [...hello, { role: 'assistant' as const, content: '{' }]
  const continued = await client.messages.create({ model, max_tokens: 200, messages: prefill })
  assert.equal(JSON.parse(`{${textOf(continued)}`).simulated, true)
})

test('stop sequences and the output bound end the answer', async () => {
  const stopped = await client.messages.create({
    model,
    max_tokens: 99,
    messages: hello,
    stop_sequences: ['from'],
  })
  assert.equal(textOf(stopped), 'Simulated answer ')
  assert.deepEqual([stopped.stop_reason, stopped.stop_sequence], ['stop_sequence', 'from'])
  const cut = await client.messages.stream({ model, max_tokens: 3, messages: hello }).finalMessage()
  assert.deepEqual([textOf(cut), cut.stop_reason, cut.usage.output_tokens], ['Simulated an', 'max_tokens', 3])
})

test('marked prefixes are written to the cache, then read, and are no plain input', async () => {
  const rules = 'These are the rules of the house. '.repeat(300)
  const ask = (question: string) =>
    client.messages.create({
      model,
      max_tokens: 50,
      system: [{ type: 'text', text: rules, cache_control: { type: 'ephemeral', ttl: '1h' } }],
      messages: [{ role: 'user', content: question }],
    })
  const first = (await ask('One?')).usage
  const second = (await ask('Two?')).usage
  const size = Math.ceil(rules.length / 4)
  assert.deepEqual([first.cache_creation_input_tokens, first.cache_read_input_tokens], [size, 0])
  assert.deepEqual(first.cache_creation, { ephemeral_5m_input_tokens: 0, ephemeral_1h_input_tokens: size })
  assert.deepEqual([second.cache_creation_input_tokens, second.cache_read_input_tokens], [0, size])
  assert.equal(first.input_tokens, 4 + 1)
})

test('pictures and documents count as input', async () => {
  const image = { type: 'base64' as const, media_type: 'image/png' as const, data: 'iVBORw0KGgo=' }
  const pdf = { type: 'base64' as const, media_type: 'application/pdf' as const, data: 'JVBERi0=' }
  const content = [
    { type: 'image' as const, source: image },
    { type: 'document' as const, source: pdf },
    { type: 'text' as const, text: 'What?' },
  ]
  const message = await client.messages.create({
    model,
    max_tokens: 50,
    messages: [{ role: 'user', content }],
  })
  assert.equal(message.usage.input_tokens, 4 + 1500 + 3000 + 2)
})

test('errors arrive as the client’s own classes', async () => {
  const ask = (steering: string) =>
    client.messages.create(
      { model, max_tokens: 50, messages: hello },
      { headers: { 'x-mesh-simulate': steering } },
    )
  await assert.rejects(ask('rate_limit'), Anthropic.RateLimitError)
  await assert.rejects(
    ask('overloaded'),
    (error) => error instanceof Anthropic.InternalServerError && error.status === 529,
  )
  await assert.rejects(ask('anthropic=server_error,openai=stall'), Anthropic.InternalServerError)
  const refused = await ask('refusal')
  assert.equal(refused.stop_reason, 'refusal')
  const unknown = client.messages.create({ model: 'claude-nonsense', max_tokens: 5, messages: hello })
  await assert.rejects(unknown, Anthropic.NotFoundError)
  const stream = client.messages.stream(
    { model, max_tokens: 50, messages: hello },
    { headers: { 'x-mesh-simulate': 'error_first' } },
  )
  await assert.rejects(stream.finalMessage(), Anthropic.APIError)
})
