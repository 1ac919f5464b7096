import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { ChatOpenAI, type ChatOpenAIFields, OpenAIEmbeddings } from '@langchain/openai'
import { createAgent, providerStrategy, tool, toolStrategy } from 'langchain'
import { APIError } from 'openai'
import { z } from 'zod'
import { assertRecordsAgree, chat, eventOf, nano, requestIdOf, send } from './support/calls.ts'
import { startTestRouter, type TestAccount, type TestRouter } from './support/test-router.ts'
import {
  BREAK_OFF,
  startUnfinishedUpstream,
  UNFINISHED_MODEL,
  UNFINISHED_TEXT,
} from './support/unfinished-upstream.ts'
import { until } from './support/until.ts'

/* LangChain as it is, with its package for OpenAI, in both shapes that it calls in. */

const WAYS: readonly { readonly name: string; readonly fields: ChatOpenAIFields }[] = [
  { name: 'langchain in chat', fields: {} },
  { name: 'langchain in Responses', fields: { useResponsesApi: true } },
]
/** A model of each protocol. */
const MODELS = [
  'mesh/gpt-4o-mini',
  'mesh/gpt-5.5',
  'mesh/claude-sonnet-4.5',
  'mesh/gemini-3.5-flash',
  'mesh/nova-2-lite',
  'mesh/command-a',
] as const
const usageSchema = z.object({ input_tokens: z.number(), output_tokens: z.number() })
const Day = z.object({ city: z.string(), days: z.int() })

let router: TestRouter
let account: TestAccount
let upstream: Awaited<ReturnType<typeof startUnfinishedUpstream>>

before(async () => {
  upstream = await startUnfinishedUpstream()
  router = await startTestRouter({ environment: upstream.environment })
  account = await router.account({ creditUsd: '100.00' })
})
after(async () => {
  await router.stop()
  await upstream.close()
})

async function errorOf(call: Promise<unknown>): Promise<APIError> {
  const error: unknown = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  assert.ok(error instanceof APIError, String(error))
  return error
}

async function lastEventOf({ key }: TestAccount) {
  const path = '/v1/logs?limit=1'
  await until('the event is there', async () => {
    return (await router.request('GET', path, { key })).json.data.length === 1
  })
  return (await router.request('GET', path, { key })).json.data[0]
}

for (const { name, fields } of WAYS) {
  const connect = (model: string, apiKey = account.key) =>
    new ChatOpenAI({ ...fields, model, apiKey, configuration: { baseURL: router.baseUrl }, maxRetries: 0 })

  test(`${name}: text, whole and streamed, with its usage and its cost`, async () => {
    for (const model of MODELS) {
      const whole = await connect(model).invoke('Hello there')
      assert.match(whole.text, /^Simulated answer from /, model)
      const pieces: string[] = []
      let streamed: typeof whole | undefined
      for await (const chunk of await connect(model).stream('Hello there')) {
        if (chunk.text !== '') pieces.push(chunk.text)
        streamed = streamed ? streamed.concat(chunk) : chunk
      }
      assert.ok(pieces.length > 3)
      assert.equal(pieces.join(''), whole.text)
      for (const { id, usage_metadata } of [whole, streamed ?? whole]) {
        const event = await assertRecordsAgree(router, account, id ?? '')
        assert.equal(event.billingReason, 'completed')
        const usage = usageSchema.parse(usage_metadata)
        assert.equal(usage.input_tokens, event.tokens.input)
        assert.equal(usage.output_tokens, event.tokens.output + event.tokens.reasoning)
      }
    }
  })

  test(`${name}: an agent with two tools, whole and streamed`, async () => {
    for (const model of MODELS) {
      const asked: unknown[] = []
      const answer = (input: unknown) => {
        asked.push(input)
        return 'sunny'
      }
      const tools = [
        tool(answer, { name: 'get_weather', schema: z.object({ city: z.string() }) }),
        tool(answer, { name: 'get_time', schema: z.object({}) }),
      ]
      const agent = createAgent({ model: connect(model), tools, systemPrompt: 'Be kind.' })
      const question = { messages: [{ role: 'user', content: 'Use get_weather and get_time.' }] }
      const { messages } = await agent.invoke(question)
      assert.match(messages.at(-1)?.text ?? '', /has seen 2 tool result/, model)
      let told = ''
      for await (const [message] of await agent.stream(question, { streamMode: 'messages' })) {
        told += message.text
      }
      assert.match(told, /has seen 2 tool result/, model)
      assert.deepEqual(asked, [{ city: 'simulated' }, {}, { city: 'simulated' }, {}])
    }
  })

  test(`${name}: a conversation goes on, and what was thought with it`, async () => {
    const reasoning = { effort: 'low' as const, summary: 'auto' as const }
    for (const model of ['mesh/gpt-5.5', 'mesh/claude-sonnet-4.5', 'mesh/deepseek-v4-pro']) {
      const first = await connect(model).invoke('Hello there', { reasoning })
      const { text } = await connect(model).invoke(
        [{ role: 'user', content: 'Hello there' }, first, { role: 'user', content: 'And now?' }],
        { reasoning },
      )
      assert.match(text, /^Simulated answer from /, model)
    }
  })

  test(`${name}: an object by a schema, in each way that it knows`, async () => {
    // Command A is asked for its schema in words, which its simulator does not read.
    for (const model of MODELS.filter((each) => each !== 'mesh/command-a')) {
      const client = connect(model)
      const native = await client.withStructuredOutput(Day).invoke('Hello there')
      const called = await client.withStructuredOutput(Day, { method: 'functionCalling' }).invoke('Hello')
      const messages = [{ role: 'user', content: 'Hello there' }]
      const common = { model: client, tools: [] }
      const byProvider = createAgent({ ...common, responseFormat: providerStrategy(Day) })
      const byTool = createAgent({ ...common, responseFormat: toolStrategy(Day) })
      const { structuredResponse: provided } = await byProvider.invoke({ messages })
      const { structuredResponse: tooled } = await byTool.invoke({ messages })
      for (const output of [native, called, provided, tooled]) {
        assert.doesNotThrow(() => Day.parse(output), model)
      }
    }
  })

  test(`${name}: what is refused is told apart`, async () => {
    const poor = await router.account({ creditUsd: '0' })
    const slow = await router.account({ limits: { requestsPerMinute: 1 } })
    const model = 'mesh/claude-sonnet-4.5'
    await connect(model, slow.key).invoke('Hello there')
    for (const [client, status, code] of [
      [connect(model, poor.key), 402, 'insufficient_credits'],
      [connect(model, slow.key), 429, 'rate_limit_exceeded'],
      [connect(model, 'mesh_test_no'), 401, 'invalid_api_key'],
      [connect('mesh/claude-sonet-4.5'), 404, 'model_not_found'],
    ] as const) {
      for (const call of [client.invoke('Hello there'), client.stream('Hello there')]) {
        const error = await errorOf(call)
        assert.equal(error.status, status)
        assert.equal(error.code, code)
      }
    }
  })

  test(`${name}: what cannot help is asked once, although it would try again`, async () => {
    const poor = await router.account({ creditUsd: '0' })
    const configuration = { baseURL: router.baseUrl }
    const patient = new ChatOpenAI({
      ...{ ...fields, configuration },
      ...{ model: 'mesh/gpt-4o-mini', apiKey: poor.key, maxRetries: 2 },
    })
    assert.equal((await errorOf(patient.invoke('Hello there'))).status, 402)
    // Rows of refused calls come after their answers, and an account's in their order.
    await eventOf(router, poor.key, requestIdOf(await send(router, poor.key, chat())))
    const { data } = (await router.request('GET', '/v1/logs', { key: poor.key })).json
    assert.equal(data.length, 2)
  })

  test(`${name}: a stream that breaks off throws, and is no shorter answer`, async () => {
    const live = await router.account({ livemode: true })
    let text = ''
    const error = await errorOf(
      (async () => {
        const stream = await connect(UNFINISHED_MODEL, live.key).stream(BREAK_OFF)
        for await (const chunk of stream) text += chunk.text
      })(),
    )
    assert.equal(text, UNFINISHED_TEXT)
    assert.equal(error.code, 'provider_error')
    assert.equal((await lastEventOf(live)).billingReason, 'upstream_error_not_billed')
  })

  test(`${name}: who leaves in the middle stops the provider, and pays for what came`, async () => {
    const live = await router.account({ livemode: true })
    const leaving = new AbortController()
    const { signal } = leaving
    await assert.rejects(async () => {
      for await (const chunk of await connect(UNFINISHED_MODEL, live.key).stream('Hello', { signal })) {
        if (chunk.text !== '') leaving.abort()
      }
    }, /abort/i)
    await until('the provider is not asked any more', () => upstream.open() === 0)
    const { id, billingReason } = await lastEventOf(live)
    assert.equal(billingReason, 'client_disconnected')
    const { cost } = await assertRecordsAgree(router, live, id)
    assert.ok(nano(cost.totalUsd) > 0n)
  })
}

test('langchain: vectors', async () => {
  const embeddings = new OpenAIEmbeddings({
    ...{ model: 'mesh/text-embedding-3-small', apiKey: account.key },
    configuration: { baseURL: router.baseUrl },
  })
  assert.equal((await embeddings.embedQuery('a red fox')).length, 1_536)
  assert.equal((await embeddings.embedDocuments(['a red fox', 'a blue whale'])).length, 2)
})
