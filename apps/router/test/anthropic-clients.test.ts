import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import Anthropic, { APIError } from '@anthropic-ai/sdk'
import { zodOutputFormat } from '@anthropic-ai/sdk/helpers/zod'
import type { ContentBlock, Message, MessageParam, Tool } from '@anthropic-ai/sdk/resources/messages'
import { parseUsd } from '@mesh/catalog/money.ts'
import { z } from 'zod'
import { verifyReceipt } from '../src/records/verify-receipt.ts'
import { startTestRouter, type TestAccount, type TestRouter } from './support/test-router.ts'
import { until } from './support/until.ts'

/* Anthropic's own SDK, as it is, against MESH: a base URL and a key are all that is changed. */

/** One model for each protocol: the shape is the same whoever answers. */
const CLAUDE = 'mesh/claude-sonnet-4.5'
const GPT = 'mesh/gpt-4o-mini'
const MODELS = [CLAUDE, GPT, 'mesh/gemini-2.5-pro', 'mesh/gpt-5.4-mini', 'mesh/command-a'] as const
const THINKERS = [CLAUDE, 'mesh/claude-opus-4.6'] as const

const HELLO: MessageParam[] = [{ role: 'user', content: 'Hello there' }]
const WEATHER: Tool = {
  name: 'get_weather',
  description: 'The weather of a city.',
  input_schema: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
}
const CLOCK: Tool = { name: 'get_time', input_schema: { type: 'object', properties: {} } }
const PIXEL =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='

/** What MESH adds to Anthropic's usage. */
const cost = z.object({
  cost: z.number(),
  cost_details: z.object({ upstream_cost: z.string(), margin: z.string(), total: z.string() }),
})

let router: TestRouter
let account: TestAccount

before(async () => {
  router = await startTestRouter()
  account = await router.account({ creditUsd: '100.00' })
})
after(() => router.stop())

/** The SDK sends its key in `x-api-key`. */
function connect(apiKey = account.key): Anthropic {
  return new Anthropic({ baseURL: router.url, apiKey, maxRetries: 0 })
}

function textOf({ content }: { readonly content: readonly ContentBlock[] }): string {
  return content.map((block) => (block.type === 'text' ? block.text : '')).join('')
}

async function recordOf(path: string) {
  const { status, json, text } = await router.request('GET', path, { key: account.key })
  assert.equal(status, 200, text)
  return json
}

function nano(usd: string): bigint {
  const amount = parseUsd(usd)
  assert.ok(amount !== undefined, `${usd} is an amount`)
  return amount
}

/** Checks that event, ledger and receipt of a call say the same, and that they know the shape it came in. */
async function assertRecords(id: string): Promise<string> {
  const event = await recordOf(`/v1/logs/${id}`)
  assert.equal(event.routing.api, 'messages')
  assert.equal(event.billingReason, 'completed')
  const receipt = await recordOf(`/v1/receipts/${event.receiptId}`)
  const verdict = verifyReceipt(receipt.jws, await recordOf('/.well-known/mesh-receipt-keys.json'))
  assert.ok(verdict.valid)
  assert.equal(verdict.claims.totalUsd, event.cost.totalUsd)
  const ledger = await recordOf('/v1/ledger?limit=100')
  const rows = ledger.data.filter(({ requestId }: { requestId: string }) => requestId === id)
  assert.deepEqual(
    rows.map(({ amountUsd }: { amountUsd: string }) => amountUsd),
    [`-${event.cost.totalUsd}`],
  )
  return event.cost.totalUsd
}

/** The whole answer, streamed and not. */
async function bothWays(
  ask: Omit<Anthropic.MessageCreateParamsNonStreaming, 'stream'>,
): Promise<readonly Message[]> {
  const whole = await connect().messages.create({ ...ask, stream: false })
  const streamed = await connect().messages.stream(ask).finalMessage()
  return [whole, streamed]
}

test('a message, whole: its form, its headers, and the same cost everywhere', async () => {
  for (const model of MODELS) {
    const { data, response, request_id } = await connect()
      .messages.create({ model, max_tokens: 200, system: 'Be kind.', messages: HELLO })
      .withResponse()
    assert.equal(data.type, 'message')
    assert.equal(data.role, 'assistant')
    assert.equal(data.model, model)
    assert.equal(data.stop_reason, 'end_turn')
    assert.equal(data.stop_sequence, null)
    assert.match(textOf(data), /^Simulated answer from /)
    assert.ok(data.usage.input_tokens > 0 && data.usage.output_tokens > 0)
    assert.equal(request_id, data.id)
    const said = cost.parse(data.usage)
    const { upstream_cost, margin, total } = said.cost_details
    assert.equal(said.cost, Number(total))
    assert.equal(nano(total), nano(upstream_cost) + nano(margin))
    assert.equal(response.headers.get('x-mesh-total-usd'), total)
    assert.equal(response.headers.get('x-mesh-model'), model)
    assert.equal(await assertRecords(data.id), total)
  }
})

test('a stream: its events in order, its usage at the end, and the .stream() helper', async () => {
  for (const model of MODELS) {
    const types: string[] = []
    let last: unknown
    let firstInput = 0
    const stream = await connect().messages.create({ model, max_tokens: 200, messages: HELLO, stream: true })
    for await (const event of stream) {
      if (types.at(-1) !== event.type) types.push(event.type)
      if (event.type === 'message_start') firstInput = event.message.usage.input_tokens
      if (event.type === 'message_delta') last = event
    }
    // Some think before they speak, unasked: each block is whole before the next begins.
    const block = 'content_block_start content_block_delta content_block_stop '
    assert.match(types.join(' '), new RegExp(`^message_start (?:${block})+message_delta message_stop$`))
    const { usage, routing } = z
      .object({ usage: cost.loose(), routing: z.looseObject({ api: z.string() }) })
      .parse(last)
    assert.equal(routing.api, 'messages')
    assert.ok(Number(usage.cost) > 0)
    // What went in is known or estimated before the first word: some clients look for it nowhere else.
    assert.ok(firstInput > 0)
    if (model === CLAUDE) assert.equal(firstInput, usage.input_tokens)

    const helper = connect().messages.stream({ model, max_tokens: 200, messages: HELLO })
    let deltas = ''
    helper.on('text', (delta) => {
      deltas += delta
    })
    const message = await helper.finalMessage()
    assert.equal(textOf(message), deltas)
    assert.equal(message.stop_reason, 'end_turn')
    await assertRecords(message.id)
  }
})

test('one tool call and two at once, a forced one, and the results given back', async () => {
  const content = 'Use get_weather and get_time.'
  for (const model of MODELS) {
    const ask = {
      model,
      max_tokens: 500,
      tools: [WEATHER, CLOCK],
      messages: [{ role: 'user' as const, content }],
    }
    for (const message of await bothWays(ask)) {
      assert.equal(message.stop_reason, 'tool_use')
      const calls = message.content.filter((block) => block.type === 'tool_use')
      assert.deepEqual(
        calls.map(({ name }) => name),
        ['get_weather', 'get_time'],
      )
      assert.equal(typeof z.object({ city: z.string() }).parse(calls[0]?.input).city, 'string')
      assert.deepEqual(calls[1]?.input, {})
      const results = calls.map(({ id }, index) => ({
        type: 'tool_result' as const,
        tool_use_id: id,
        ...(index === 0
          ? { content: [{ type: 'text' as const, text: 'sunny' }] }
          : { is_error: true, content: 'no' }),
      }))
      const answer = await connect().messages.create({
        ...ask,
        messages: [
          ...ask.messages,
          { role: 'assistant', content: message.content },
          { role: 'user', content: results },
        ],
      })
      assert.match(textOf(answer), /has seen 2 tool result/)
    }
    const one = await connect().messages.create({
      ...ask,
      tool_choice: { type: 'auto', disable_parallel_tool_use: true },
    })
    // Where a provider has no word for it, the caller is told.
    const { dropped_params: dropped = [] } = z
      .object({ dropped_params: z.array(z.string()).optional() })
      .parse(Reflect.get(one, 'routing'))
    const calls = one.content.filter(({ type }) => type === 'tool_use')
    assert.equal(calls.length, dropped.includes('parallel_tool_calls') ? 2 : 1, model)
    const forced = await connect().messages.create({
      ...ask,
      tool_choice: { type: 'tool', name: 'get_time' },
    })
    assert.deepEqual(
      forced.content.map((block) => (block.type === 'tool_use' ? block.name : block.type)),
      ['get_time'],
    )
  }
})

test('thinking comes with its signature, which is taken back with the next turn', async () => {
  for (const model of THINKERS) {
    const thinking =
      model === CLAUDE
        ? { type: 'enabled' as const, budget_tokens: 1_024 }
        : { type: 'adaptive' as const, display: 'summarized' as const }
    const ask = { model, max_tokens: 4_000, thinking, tools: [WEATHER] }
    const first: MessageParam[] = [{ role: 'user', content: 'Use get_weather.' }]
    for (const message of await bothWays({ ...ask, messages: first })) {
      const [thought, call] = [message.content[0], message.content.find(({ type }) => type === 'tool_use')]
      assert.ok(thought?.type === 'thinking' && call?.type === 'tool_use', JSON.stringify(message.content))
      assert.ok(thought.thinking.length > 0 && thought.signature.length > 0)
      assert.ok((message.usage.output_tokens_details?.thinking_tokens ?? 0) > 0)
      const next: MessageParam[] = [
        ...first,
        { role: 'assistant', content: message.content },
        { role: 'user', content: [{ type: 'tool_result', tool_use_id: call.id, content: 'sunny' }] },
      ]
      const answer = await connect().messages.create({ ...ask, messages: next })
      assert.match(textOf(answer), /has seen 1 tool result/)
    }
  }
})

test('a marked prefix is written to the cache, read from it, and counted apart', async () => {
  const system = [
    {
      type: 'text' as const,
      text: `${crypto.randomUUID()} ${'A long and faithful instruction. '.repeat(400)}`,
      cache_control: { type: 'ephemeral' as const, ttl: '1h' as const },
    },
  ]
  const ask = { model: CLAUDE, max_tokens: 50, system, messages: HELLO }
  const written = await connect().messages.create(ask)
  assert.ok((written.usage.cache_creation_input_tokens ?? 0) > 1_000)
  assert.equal(
    written.usage.cache_creation?.ephemeral_1h_input_tokens,
    written.usage.cache_creation_input_tokens,
  )
  const read = await connect().messages.stream(ask).finalMessage()
  assert.equal(read.usage.cache_read_input_tokens, written.usage.cache_creation_input_tokens)
  assert.equal(read.usage.cache_creation_input_tokens, 0)
  assert.equal(read.usage.input_tokens, written.usage.input_tokens)
  assert.ok(nano(await assertRecords(read.id)) < nano(await assertRecords(written.id)))
})

test('JSON by a schema, through .parse; an image and a document', async () => {
  const Day = z.object({ city: z.string(), degrees: z.number() })
  // Command A knows JSON and no schemas, and its simulator makes any.
  for (const model of MODELS.filter((each) => each !== 'mesh/command-a')) {
    const parsed = await connect().messages.parse({
      model,
      max_tokens: 500,
      messages: HELLO,
      output_config: { format: zodOutputFormat(Day) },
    })
    assert.doesNotThrow(() => Day.parse(parsed.parsed_output))
    const seen = await connect().messages.create({
      model,
      max_tokens: 100,
      messages: [
        {
          role: 'user',
          content: [
            { type: 'text', text: 'What are these?' },
            { type: 'image', source: { type: 'base64', media_type: 'image/png', data: PIXEL } },
            {
              type: 'document',
              source: { type: 'text', media_type: 'text/plain', data: 'Röslein auf der Heiden' },
            },
          ],
        },
      ],
    })
    assert.equal(seen.stop_reason, 'end_turn', model)
    await assertRecords(seen.id)
  }
})

test('max_tokens and stop sequences end an answer as Anthropic says it', async () => {
  for (const message of await bothWays({ model: CLAUDE, max_tokens: 5, messages: HELLO })) {
    assert.equal(message.stop_reason, 'max_tokens')
    assert.ok(message.usage.output_tokens <= 5)
  }
})

test('errors come in the envelope by which the SDK tells them apart', async () => {
  const { id, key } = await router.account({ creditUsd: '0' })
  assert.ok(id)
  const ask = { model: CLAUDE, max_tokens: 20, messages: HELLO }
  const cases: readonly (readonly [
    name: string,
    call: () => Promise<unknown>,
    status: number,
    type: string,
  ])[] = [
    ['no key', () => connect('mesh_test_no').messages.create(ask), 401, 'authentication_error'],
    ['no credit', () => connect(key).messages.create(ask), 402, 'billing_error'],
    [
      'no model',
      () => connect().messages.create({ ...ask, model: 'mesh/claude-sonet-4.5' }),
      404,
      'not_found_error',
    ],
    [
      'hosted tool',
      () =>
        connect().messages.create({ ...ask, tools: [{ type: 'web_search_20250305', name: 'web_search' }] }),
      400,
      'invalid_request_error',
    ],
    [
      'overloaded',
      () =>
        connect().messages.create({
          ...ask,
          metadata: { mesh_simulate: 'overloaded' } as Anthropic.MessageCreateParams['metadata'],
        } as Anthropic.MessageCreateParamsNonStreaming),
      503,
      'overloaded_error',
    ],
  ]
  for (const [name, call, status, type] of cases) {
    const error = await call().then(
      () => undefined,
      (thrown: unknown) => thrown,
    )
    assert.ok(error instanceof APIError, name)
    assert.equal(error.status, status, name)
    assert.equal(error.type, type, name)
    assert.match(error.requestID ?? '', /^req_/)
    const body = z.object({
      type: z.literal('error'),
      error: z.object({ message: z.string() }),
      request_id: z.string(),
    })
    assert.equal(body.parse(error.error).request_id, error.requestID)
  }
})

test('an answer that breaks off is an error event with receipt and usage, and no clean end', async () => {
  for (const model of MODELS) {
    const metadata = { mesh_simulate: 'cut_stream=8,tokens=40' } as Anthropic.MessageCreateParams['metadata']
    const stream = connect().messages.stream({
      model,
      max_tokens: 200,
      messages: HELLO,
      ...(metadata ? { metadata } : {}),
    })
    const error = await stream.finalMessage().then(
      () => undefined,
      (thrown: unknown) => thrown,
    )
    assert.ok(error instanceof APIError, model)
    assert.equal(error.type, 'api_error')
    const told = z
      .object({ error: z.object({ code: z.string(), metadata: z.looseObject({ receipt_id: z.string() }) }) })
      .parse(error.error)
    assert.equal(told.error.code, 'provider_error')
    assert.match(told.error.metadata.receipt_id, /^rcpt_/)
  }
})

test('counting tokens is free, near the truth, and says that it is an estimate', async () => {
  const ask = { model: CLAUDE, system: 'Be kind.', tools: [WEATHER], messages: HELLO }
  const rows = async () => (await recordOf('/v1/ledger?limit=100')).data.length
  const before = await rows()
  const counted = await connect().messages.countTokens(ask)
  assert.equal(Reflect.get(counted, 'estimated'), true)
  const real = await connect().messages.create({ ...ask, max_tokens: 20 })
  assert.ok(counted.input_tokens > real.usage.input_tokens / 3)
  assert.ok(counted.input_tokens < real.usage.input_tokens * 3)
  await until('the call is in the ledger', async () => (await rows()) === before + 1)
  const unknown = await router.request('POST', '/v1/messages/count_tokens', { key: account.key, body: {} })
  assert.equal(unknown.status, 400)
  assert.equal(unknown.json.type, 'error')
})

test('a repeat under the same Idempotency-Key is told of its receipt, and not retried', async () => {
  const ask = { model: CLAUDE, max_tokens: 20, messages: HELLO }
  const headers = { 'Idempotency-Key': crypto.randomUUID() }
  const first = await connect().messages.create(ask, { headers })
  const again = new Anthropic({ baseURL: router.url, apiKey: account.key, maxRetries: 2 })
  const error = await again.messages.create(ask, { headers }).then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  assert.ok(error instanceof APIError)
  assert.equal(error.status, 409)
  assert.equal(error.headers?.get('x-should-retry'), 'false')
  assert.match(JSON.stringify(error.error), new RegExp(first.id.replace('req_', 'rcpt_')))
})

test('what no route takes below /v1/messages is refused in the same envelope', async () => {
  for (const [method, path, status] of [
    ['GET', '/v1/messages', 405],
    ['POST', '/v1/messages/batches', 404],
    ['GET', '/v1/messages?beta=true', 405],
  ] as const) {
    const { status: got, json } = await router.request(method, path, { key: account.key })
    assert.equal(got, status, path)
    assert.equal(json.type, 'error', path)
  }
})
