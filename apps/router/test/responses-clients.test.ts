import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { Agent, OpenAIResponsesModel, Runner, setTracingDisabled, tool } from '@openai/agents'
import OpenAI7 from 'openai'
import { zodTextFormat as zodTextFormat7 } from 'openai/helpers/zod'
import OpenAI6 from 'openai-6'
import { zodTextFormat as zodTextFormat6 } from 'openai-6/helpers/zod'
import { z } from 'zod'
import { startTestRouter, type TestAccount, type TestRouter } from './support/test-router.ts'

setTracingDisabled(true)

const SDKS = [
  { name: 'openai 7', OpenAI: OpenAI7, zodTextFormat: zodTextFormat7 },
  {
    name: 'openai 6',
    OpenAI: OpenAI6 as unknown as typeof OpenAI7,
    zodTextFormat: zodTextFormat6 as unknown as typeof zodTextFormat7,
  },
]

/** A model of each protocol that generates text; the first is asked in Responses too. */
const MODELS = {
  openai_responses: 'mesh/gpt-5.5',
  openai_chat: 'mesh/gpt-5-mini',
  anthropic_messages: 'mesh/claude-sonnet-4.5',
  gemini: 'mesh/gemini-2.5-flash',
  cohere_v2: 'mesh/command-a',
  bedrock_converse: 'mesh/nova-2-lite',
  deepseek: 'mesh/deepseek-v4-pro',
} as const

const parameters = {
  type: 'object',
  properties: { city: { type: 'string' } },
  required: ['city'],
  additionalProperties: false,
}
const WEATHER = { type: 'function', name: 'get_weather', strict: true, parameters } as const
const CLOCK = {
  type: 'function',
  name: 'get_time',
  strict: false,
  parameters: { type: 'object', properties: {} },
} as const

const meshMembers = z.looseObject({
  id: z.string().startsWith('req_'),
  provider: z.string(),
  usage: z.looseObject({
    cost: z.number(),
    cost_details: z.object({ upstream_cost: z.string(), margin: z.string(), total: z.string() }),
  }),
  routing: z.looseObject({ selected: z.object({ model: z.string(), provider: z.string() }) }),
})

let router: TestRouter
let account: TestAccount

before(async () => {
  router = await startTestRouter()
  account = await router.account({ creditUsd: '100.00' })
})
after(() => router.stop())

async function recordOf(path: string) {
  const { status, json, text } = await router.request('GET', path, { key: account.key })
  assert.equal(status, 200, text)
  return json
}

/** The event, the receipt and the answer of a call say the same. */
async function assertRecordsAgree(answer: unknown): Promise<void> {
  const said = meshMembers.parse(answer)
  const event = await recordOf(`/v1/logs/${said.id}`)
  assert.equal(event.cost.totalUsd, said.usage.cost_details.total)
  assert.equal(said.usage.cost, Number(said.usage.cost_details.total))
  assert.deepEqual(event.routing, said.routing)
  assert.equal(event.billingReason, 'completed')
  const { receipt } = await recordOf(`/v1/receipts/${event.receiptId}`)
  assert.equal(receipt.totalUsd, said.usage.cost_details.total)
}

for (const { name, OpenAI, zodTextFormat } of SDKS) {
  const connect = () => new OpenAI({ baseURL: router.baseUrl, apiKey: account.key, maxRetries: 0 })

  test(`${name}: responses.create, whole, with every protocol`, async () => {
    for (const [protocol, model] of Object.entries(MODELS)) {
      const answer = await connect().responses.create({ model, input: 'Hello', instructions: 'Be brief.' })
      assert.equal(answer.object, 'response')
      assert.equal(answer.status, 'completed', protocol)
      assert.match(answer.output_text, /^Simulated answer from /)
      assert.equal(answer.model, model)
      assert.equal(Reflect.get(answer, 'store'), false)
      const { usage } = answer
      assert.equal(usage?.total_tokens, (usage?.input_tokens ?? 0) + (usage?.output_tokens ?? 0))
      await assertRecordsAgree(answer)
    }
  })

  test(`${name}: the .stream() helper, with every protocol`, async () => {
    for (const [protocol, model] of Object.entries(MODELS)) {
      const stream = connect().responses.stream({ model, input: 'Hello' })
      const numbers: number[] = []
      const types: string[] = []
      let told = ''
      for await (const event of stream) {
        numbers.push(event.sequence_number)
        types.push(event.type)
        if (event.type === 'response.output_text.delta') told += event.delta
      }
      assert.deepEqual(
        numbers,
        numbers.map((_, index) => index),
      )
      assert.deepEqual(types.slice(0, 2), ['response.created', 'response.in_progress'])
      assert.equal(types.at(-1), 'response.completed')
      const final = await stream.finalResponse()
      assert.equal(final.output_text, told, protocol)
      assert.match(told, /^Simulated answer from /)
      await assertRecordsAgree(final)
    }
  })

  test(`${name}: the naive loop over a stream has the whole response in its last event`, async () => {
    const stream = await connect().responses.create({
      model: MODELS.openai_chat,
      input: 'Hello',
      stream: true,
    })
    let text = ''
    let last: unknown
    for await (const event of stream) {
      if (event.type === 'response.output_text.delta') text += event.delta
      last = event
    }
    const completed = z.object({ type: z.literal('response.completed'), response: meshMembers }).parse(last)
    assert.equal(JSON.stringify(completed.response.output).includes(JSON.stringify(text)), true)
  })

  test(`${name}: responses.parse with a schema, with every protocol that keeps to one`, async () => {
    const format = zodTextFormat(z.object({ city: z.string(), days: z.int() }), 'weather')
    // Command A is asked for any JSON, and for the schema in words, which its simulator does not read.
    const { cohere_v2: _, ...models } = MODELS
    for (const [protocol, model] of Object.entries(models)) {
      const parsed = await connect().responses.parse({ model, input: 'Hello', text: { format } })
      assert.equal(typeof parsed.output_parsed?.city, 'string', protocol)
      assert.equal(typeof parsed.output_parsed?.days, 'number', protocol)
    }
  })

  test(`${name}: two tools at once, and their results with what was thought given back`, async () => {
    for (const [protocol, model] of Object.entries(MODELS)) {
      const question = { role: 'user' as const, content: 'Use get_weather and get_time.' }
      const request = { model, tools: [WEATHER, CLOCK], reasoning: { effort: 'low' as const } }
      const called = await connect()
        .responses.stream({ ...request, input: [question] })
        .finalResponse()
      const whole = await connect().responses.create({ ...request, input: [question] })
      for (const answer of [called, whole]) {
        const calls = answer.output.flatMap((item) => (item.type === 'function_call' ? [item] : []))
        assert.equal(calls.length, 2, protocol)
        assert.deepEqual(calls.map(({ name: called }) => called).sort(), ['get_time', 'get_weather'])
        assert.equal(typeof JSON.parse(calls[0]?.arguments ?? ''), 'object')
        const results = calls.map(({ call_id }) => ({
          type: 'function_call_output' as const,
          call_id,
          output: 'sunny',
        }))
        const history = answer.output as OpenAI7.Responses.ResponseInputItem[]
        const next = await connect().responses.create({
          ...request,
          input: [question, ...history, ...results],
        })
        assert.match(next.output_text, /2 tool result\(s\)/, protocol)
      }
      const forced = await connect().responses.create({
        model,
        input: 'Hello',
        tools: [WEATHER, CLOCK],
        tool_choice: { type: 'function', name: 'get_time' },
      })
      assert.ok(
        forced.output.some((item) => item.type === 'function_call' && item.name === 'get_time'),
        protocol,
      )
    }
  })

  test(`${name}: thinking is summed up where it is asked for, and its proof is given out`, async () => {
    for (const model of [MODELS.openai_responses, MODELS.anthropic_messages]) {
      const stream = connect().responses.stream({
        model,
        input: 'Hello',
        max_output_tokens: 8_000,
        reasoning: { effort: 'low', summary: 'auto' },
        include: ['reasoning.encrypted_content'],
      })
      const { output, usage } = await stream.finalResponse()
      const [reasoning] = output
      assert.ok(reasoning?.type === 'reasoning', model)
      assert.ok((reasoning.summary[0]?.text.length ?? 0) > 0, model)
      assert.ok((reasoning.encrypted_content?.length ?? 0) > 0, model)
      assert.ok((usage?.output_tokens_details.reasoning_tokens ?? 0) > 0, model)
    }
  })

  test(`${name}: an answer that is cut is incomplete, and says why`, async () => {
    for (const stream of [false, true]) {
      const request = {
        model: MODELS.anthropic_messages,
        input: 'Hello',
        max_output_tokens: 5,
      }
      const answer = stream
        ? await connect().responses.stream(request).finalResponse()
        : await connect().responses.create(request)
      assert.equal(answer.status, 'incomplete')
      assert.equal(answer.incomplete_details?.reason, 'max_output_tokens')
    }
  })

  test(`${name}: errors are the client's own classes; one inside a stream is response.failed, and thrown`, async () => {
    const ask = (extras: object) =>
      connect().responses.create({ model: MODELS.openai_chat, input: 'Hello', ...extras } as never)
    await assert.rejects(ask({ model: 'mesh/none' }), OpenAI.NotFoundError)
    await assert.rejects(ask({ previous_response_id: 'resp_1' }), (error) => {
      assert.ok(error instanceof OpenAI.BadRequestError)
      assert.equal(error.code, 'unsupported_parameter')
      assert.equal(error.param, 'previous_response_id')
      return true
    })
    await assert.rejects(ask({ metadata: { mesh_simulate: 'overloaded' } }), OpenAI.InternalServerError)
    const stream = await connect().responses.create({
      model: MODELS.openai_responses,
      input: 'Hello',
      stream: true,
      metadata: { mesh_simulate: 'cut_stream' },
    })
    let last: unknown
    const thrown = await (async () => {
      for await (const event of stream) last = event
    })().catch((error: unknown) => error)
    const failed = z
      .object({
        type: z.literal('response.failed'),
        response: z.looseObject({
          id: z.string(),
          status: z.literal('failed'),
          error: z.looseObject({
            code: z.string(),
            message: z.string(),
            metadata: z.looseObject({ receipt_id: z.string() }),
          }),
          output: z.array(z.looseObject({ status: z.string().optional() })),
        }),
      })
      .parse(last)
    assert.equal(failed.response.error.code, 'provider_error')
    assert.equal(failed.response.output.at(-1)?.status, 'incomplete')
    const event = await recordOf(`/v1/logs/${failed.response.id}`)
    assert.equal(event.billingReason, 'upstream_error_not_billed')
    const { receipt_id } = failed.response.error.metadata
    assert.equal(event.receiptId, receipt_id)
    assert.ok(thrown instanceof OpenAI.APIError)
    assert.deepEqual([thrown.code, thrown.message], ['provider_error', failed.response.error.message])
    assert.equal(Reflect.get(Object(thrown.error), 'metadata').receipt_id, receipt_id)
    const helper = connect().responses.stream({
      model: MODELS.openai_responses,
      input: 'Hello',
      metadata: { mesh_simulate: 'cut_stream' },
    })
    await assert.rejects(helper.finalResponse(), OpenAI.APIError)
  })
}

test('an agent of @openai/agents runs its tools in a loop, streamed and not, with every protocol', async () => {
  const client = new OpenAI7({ baseURL: router.baseUrl, apiKey: account.key, maxRetries: 0 })
  for (const [protocol, model] of Object.entries(MODELS)) {
    let calls = 0
    const weather = tool({
      name: 'get_weather',
      description: 'Tells the weather.',
      parameters: z.object({ city: z.string() }),
      execute: () => {
        calls += 1
        return 'sunny'
      },
    })
    const agent = new Agent({
      name: 'Guide',
      instructions: 'Use the tool, then answer.',
      tools: [weather],
      model: new OpenAIResponsesModel(client, model),
      modelSettings: { store: false },
    })
    const whole = await new Runner({ tracingDisabled: true }).run(agent, 'How is the weather?')
    assert.match(String(whole.finalOutput), /1 tool result\(s\)/, protocol)
    const streamed = await new Runner({ tracingDisabled: true }).run(agent, 'How is the weather?', {
      stream: true,
    })
    for await (const _ of streamed) {
      // Read to its end.
    }
    await streamed.completed
    assert.match(String(streamed.finalOutput), /1 tool result\(s\)/, protocol)
    assert.equal(calls, 2, protocol)
  }
})

test('a conversation goes on with another maker of models, whose thoughts are not shown to it', async () => {
  const client = new OpenAI7({ baseURL: router.baseUrl, apiKey: account.key, maxRetries: 0 })
  const reasoning = { effort: 'low' as const, summary: 'auto' as const }
  let history: OpenAI7.Responses.ResponseInputItem[] = [{ role: 'user', content: 'Hello' }]
  const models = [MODELS.openai_responses, MODELS.anthropic_messages, MODELS.gemini, MODELS.openai_responses]
  for (const model of [...models, MODELS.anthropic_messages]) {
    const answer = await client.responses.create({
      model,
      input: history,
      reasoning,
      max_output_tokens: 8_000,
    })
    assert.equal(answer.status, 'completed', model)
    history = [
      ...history,
      ...(answer.output as OpenAI7.Responses.ResponseInputItem[]),
      { role: 'user', content: 'On.' },
    ]
  }
  assert.ok(history.some((item) => item.type === 'reasoning' && item.encrypted_content?.startsWith('mesh:')))
})

test('an idempotency key is kept as in chat: a repeat of a billed call is never run again', async () => {
  const headers = { 'idempotency-key': 'responses-1' }
  const body = { model: MODELS.openai_chat, input: 'Hello' }
  const first = await router.request('POST', '/v1/responses', { key: account.key, body, headers })
  assert.equal(first.status, 200)
  const again = await router.request('POST', '/v1/responses', { key: account.key, body, headers })
  assert.equal(again.status, 409)
  assert.equal(again.json.error.code, 'idempotency_replay')
  assert.equal(again.json.error.metadata.receiptId, first.json.id.replace('req_', 'rcpt_'))
})
