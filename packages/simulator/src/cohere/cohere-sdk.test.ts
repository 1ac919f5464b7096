import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { type Cohere, CohereClientV2, CohereError } from 'cohere-ai'
import { startSimulator } from '../server.ts'

const simulator = await startSimulator()
after(() => simulator.close())

// The client appends `/v2/chat` to its environment.
const client = new CohereClientV2({
  token: 'test',
  environment: simulator.baseUrl('cohere').replace(/\/v2$/, ''),
  maxRetries: 0,
})
const model = 'command-a-03-2025'
const messages: Cohere.ChatMessages = [{ role: 'user', content: 'Hello there' }]
const schema = {
  type: 'object',
  properties: { city: { type: 'string' }, days: { type: 'integer', minimum: 2 } },
  required: ['city', 'days'],
}
const tools: Cohere.ToolV2[] = [
  { type: 'function', function: { name: 'get_weather', parameters: schema } },
  { type: 'function', function: { name: 'get_time', parameters: { type: 'object', properties: {} } } },
]

interface Gathered {
  text: string
  thinking: string
  plan: string
  readonly calls: { id: string; name: string; arguments: string }[]
  readonly types: string[]
  finish: string | undefined
  usage: Cohere.Usage | undefined
}

async function gather(request: Cohere.V2ChatStreamRequest, steering = ''): Promise<Gathered> {
  const gathered: Gathered = {
    text: '',
    thinking: '',
    plan: '',
    calls: [],
    types: [],
    finish: undefined,
    usage: undefined,
  }
  for await (const event of await client.chatStream(request, { headers: { 'x-mesh-simulate': steering } })) {
    if (gathered.types.at(-1) !== event.type) gathered.types.push(event.type)
    if (event.type === 'content-delta') {
      gathered.text += event.delta?.message?.content?.text ?? ''
      gathered.thinking += event.delta?.message?.content?.thinking ?? ''
    }
    if (event.type === 'tool-plan-delta') gathered.plan += event.delta?.message?.toolPlan ?? ''
    if (event.type === 'tool-call-start') {
      const call = event.delta?.message?.toolCalls
      gathered.calls.push({ id: call?.id ?? '', name: call?.function?.name ?? '', arguments: '' })
    }
    const open = gathered.calls.at(-1)
    if (event.type === 'tool-call-delta' && open) {
      open.arguments += event.delta?.message?.toolCalls?.function?.arguments ?? ''
    }
    if (event.type === 'message-end') {
      gathered.finish = event.delta?.finishReason
      gathered.usage = event.delta?.usage
    }
  }
  return gathered
}

function textOf({ message }: Cohere.V2ChatResponse): string {
  return (message.content ?? []).map((part) => (part.type === 'text' ? part.text : '')).join('')
}

test('a plain answer, what is billed of it, and the same streamed', async () => {
  const whole = await client.chat({ model, messages })
  assert.match(textOf(whole), /^Simulated answer from command-a-03-2025: /)
  assert.equal(whole.finishReason, 'COMPLETE')
  const output = Math.ceil(textOf(whole).length / 4)
  assert.deepEqual({ ...whole.usage?.billedUnits }, { inputTokens: 7, outputTokens: output })
  assert.deepEqual({ ...whole.usage?.tokens }, { inputTokens: 497, outputTokens: output + 2 })
  const streamed = await gather({ model, messages })
  assert.match(streamed.text, /^Simulated answer from command-a-03-2025: /)
  assert.equal(streamed.usage?.billedUnits?.outputTokens, Math.ceil(streamed.text.length / 4))
  assert.deepEqual(streamed.types, [
    'message-start',
    'content-start',
    'content-delta',
    'content-end',
    'message-end',
  ])
})

test('a tool round trip, streamed and not: a plan, parallel calls, results', async () => {
  const question: Cohere.ChatMessages = [{ role: 'user', content: 'Use get_weather and get_time.' }]
  const streamed = await gather({ model, messages: question, tools })
  assert.equal(streamed.finish, 'TOOL_CALL')
  assert.equal(streamed.text, '')
  assert.match(streamed.plan, /calls a tool/)
  assert.deepEqual(
    streamed.calls.map((call) => [call.name, JSON.parse(call.arguments)]),
    [
      ['get_weather', { city: 'simulated', days: 2 }],
      ['get_time', {}],
    ],
  )
  const whole = await client.chat({ model, messages: question, tools, toolChoice: 'REQUIRED' })
  const toolCalls = whole.message.toolCalls ?? []
  assert.equal(toolCalls.length, 2)
  const answer = await client.chat({
    model,
    tools,
    messages: [
      ...question,
      { role: 'assistant', toolCalls, toolPlan: 'I will look.' },
      ...toolCalls.map((call) => ({ role: 'tool' as const, toolCallId: call.id, content: 'sunny' })),
    ],
  })
  assert.match(textOf(answer), /2 tool result\(s\)/)
  const forbidden = await client.chat({ model, messages: question, tools, toolChoice: 'NONE' })
  assert.equal(forbidden.message.toolCalls, undefined)
})

test('a model that thinks shows it and does not bill it', async () => {
  const thinking = await gather({ model: 'command-a-reasoning-08-2025', messages })
  assert.ok(thinking.thinking.length > 100)
  assert.equal(thinking.usage?.billedUnits?.outputTokens, Math.ceil(thinking.text.length / 4))
  assert.equal((thinking.usage?.tokens?.outputTokens ?? 0) > 128, true)
  const silent = await gather({
    model: 'command-a-reasoning-08-2025',
    messages,
    thinking: { type: 'disabled' },
  })
  assert.equal(silent.thinking, '')
})

test('structured output, stop sequences and the output bound', async () => {
  const format = { type: 'json_object' as const, jsonSchema: schema }
  const structured = await client.chat({ model, messages, responseFormat: format })
  assert.deepEqual(JSON.parse(textOf(structured)), { city: 'simulated', days: 2 })
  const stopped = await client.chat({ model, messages, stopSequences: ['from'] })
  assert.deepEqual([textOf(stopped), stopped.finishReason], ['Simulated answer ', 'STOP_SEQUENCE'])
  const cut = await gather({ model, messages, maxTokens: 3 })
  assert.deepEqual(
    [cut.text, cut.finish, cut.usage?.billedUnits?.outputTokens],
    ['Simulated an', 'MAX_TOKENS', 3],
  )
})

test('vectors have the dimensions that were asked for, and words in common bring texts together', async () => {
  const texts = ['the red fox runs', 'a red fox runs home', 'stock market prices fell']
  const embedded = await client.embed({
    model: 'embed-v4.0',
    inputType: 'search_document',
    texts,
    embeddingTypes: ['float', 'base64'],
    outputDimension: 256,
  })
  const [fox = [], otherFox = [], market = []] = embedded.embeddings.float ?? []
  assert.equal(fox.length, 256)
  const nearness = (a: readonly number[], b: readonly number[]) =>
    a.reduce((sum, value, at) => sum + value * (b[at] ?? 0), 0)
  assert.ok(Math.abs(nearness(fox, fox) - 1) < 1e-5)
  assert.ok(nearness(fox, otherFox) > nearness(fox, market) + 0.2)
  const packed = Buffer.from(embedded.embeddings.base64?.[0] ?? '', 'base64')
  assert.equal(packed.readFloatLE(0), fox[0])
  assert.equal(embedded.meta?.billedUnits?.inputTokens, 4 + 5 + 6)
  const whole = await client.embed({
    model: 'embed-v4.0',
    inputType: 'search_query',
    inputs: [{ content: [{ type: 'text', text: 'the red fox runs' }] }],
    embeddingTypes: ['float'],
  })
  assert.equal(whole.embeddings.float?.[0]?.length, 1536)
})

test('a ranking has the relevant first and no more than asked for', async () => {
  const documents = ['stock market prices fell', 'a red fox runs home', 'red paint']
  const { results, meta } = await client.rerank({
    model: 'rerank-v3.5',
    query: 'red fox',
    documents,
    topN: 2,
  })
  assert.deepEqual(
    results.map(({ index }) => index),
    [1, 2],
  )
  assert.ok((results[0]?.relevanceScore ?? 0) > 0.9)
  assert.equal(meta?.billedUnits?.searchUnits, 1)
})

test('errors arrive as the client’s own classes', async () => {
  const status = (wanted: number) => (error: unknown) =>
    error instanceof CohereError && error.statusCode === wanted
  const steered = (steering: string) =>
    client.chat({ model, messages }, { headers: { 'x-mesh-simulate': steering } })
  await assert.rejects(steered('rate_limit'), status(429))
  await assert.rejects(steered('overloaded'), status(503))
  await assert.rejects(steered('cohere=server_error,openai=stall'), status(500))
  await assert.rejects(client.chat({ model: 'command_x', messages }), status(404))
  await assert.rejects(client.chat({ model, messages: [] }), status(400))
  await assert.rejects(client.chat({ model, messages, p: 2 }), status(400))
  await assert.rejects(client.rerank({ model: 'rerank-v3.5', query: 'x', documents: [] }), status(400))
  const failed = await gather({ model, messages }, 'error_mid')
  assert.equal(failed.finish, 'ERROR')
})
