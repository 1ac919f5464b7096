import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { createAnthropic } from '@ai-sdk/anthropic'
import { createOpenAI } from '@ai-sdk/openai'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import {
  APICallError,
  embedMany,
  generateText,
  isStepCount,
  type LanguageModel,
  Output,
  RetryError,
  streamText,
  tool,
} from 'ai'
import { z } from 'zod'
import { assertRecordsAgree, eventOf, nano } from './support/calls.ts'
import { startTestRouter, type TestAccount, type TestRouter } from './support/test-router.ts'
import {
  BREAK_OFF,
  startUnfinishedUpstream,
  UNFINISHED_MODEL,
  UNFINISHED_TEXT,
} from './support/unfinished-upstream.ts'
import { until } from './support/until.ts'

/* Vercel's AI SDK as it is, with each of the provider packages that are pointed at gateways. */

type ProviderOptions = NonNullable<Parameters<typeof generateText>[0]['providerOptions']>

interface Client {
  readonly name: string
  /** The shape that it calls in. */
  readonly api: 'chat_completions' | 'responses' | 'messages'
  /** What its users set, beside base URL and key. */
  readonly options: ProviderOptions
  /** What has a model think, and show it where this client can. */
  readonly thinking: ProviderOptions
  readonly showsThought: boolean
  readonly connect: (key: string) => (model: string) => LanguageModel
}

// It says on stderr what it warns of; here that is asserted where it matters.
globalThis.AI_SDK_LOG_WARNINGS = false

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

const connectOpenAI = (apiKey: string) => createOpenAI({ baseURL: router.baseUrl, apiKey })
const connectCompatible = (apiKey: string) =>
  createOpenAICompatible({
    name: 'mesh',
    baseURL: router.baseUrl,
    apiKey,
    includeUsage: true,
    supportsStructuredOutputs: true,
  })

const CLIENTS: readonly Client[] = [
  {
    name: '@ai-sdk/openai in chat',
    api: 'chat_completions',
    options: {},
    thinking: { openai: { reasoningEffort: 'low' } },
    showsThought: false,
    connect: (key) => (model) => connectOpenAI(key).chat(model),
  },
  {
    name: '@ai-sdk/openai in Responses',
    api: 'responses',
    options: { openai: { store: false } },
    thinking: {
      openai: { store: false, forceReasoning: true, reasoningEffort: 'low', reasoningSummary: 'auto' },
    },
    showsThought: true,
    connect: (key) => (model) => connectOpenAI(key)(model),
  },
  {
    name: '@ai-sdk/openai-compatible',
    api: 'chat_completions',
    options: {},
    thinking: { mesh: { reasoningEffort: 'low' } },
    showsThought: true,
    connect: (key) => (model) => connectCompatible(key)(model),
  },
  {
    name: '@ai-sdk/anthropic',
    api: 'messages',
    options: {},
    thinking: { anthropic: { thinking: { type: 'enabled', budgetTokens: 2_000 } } },
    showsThought: true,
    connect: (key) => (model) => createAnthropic({ baseURL: router.baseUrl, apiKey: key })(model),
  },
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
/** One of each kind of thought: encrypted, signed, signed in its tool calls, and plain. */
const THINKERS = ['mesh/gpt-5.5', 'mesh/claude-sonnet-4.5', 'mesh/gemini-3.5-flash', 'mesh/deepseek-v4-pro']
const Day = z.object({ city: z.string(), days: z.int() })

/** The error that a call ends with. */
async function errorOf(call: PromiseLike<unknown>): Promise<APICallError> {
  const error: unknown = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  const last: unknown = RetryError.isInstance(error) ? error.lastError : error
  assert.ok(APICallError.isInstance(last), String(error))
  return last
}

/** Reads a stream to its end. Errors are parts of it. */
async function partsOf<Part>(stream: { readonly fullStream: AsyncIterable<Part> }): Promise<Part[]> {
  const parts: Part[] = []
  for await (const part of stream.fullStream) parts.push(part)
  return parts
}

for (const { name, api, options, thinking, showsThought, connect } of CLIENTS) {
  const ask = (model: string, prompt: string, key = account.key) => ({
    model: connect(key)(model),
    prompt,
    providerOptions: options,
    maxRetries: 0,
    // What goes wrong in a stream is looked at where it is read.
    onError: () => undefined,
  })

  test(`${name}: text, whole and streamed, with its usage and its cost`, async () => {
    for (const model of MODELS) {
      const call = { ...ask(model, 'Hello there'), instructions: 'Be kind.', maxOutputTokens: 500 }
      const whole = await generateText(call)
      assert.match(whole.text, /^Simulated answer from /, model)
      assert.deepEqual([whole.finishReason, whole.warnings], ['stop', []])
      const event = await assertRecordsAgree(router, account, whole.response.id)
      assert.equal(event.routing.api, api)
      assert.equal(event.billingReason, 'completed')
      assert.equal(whole.usage.inputTokens, event.tokens.input)
      assert.equal(whole.usage.outputTokens, event.tokens.output + event.tokens.reasoning)

      const streamed = streamText(call)
      let text = ''
      for await (const delta of streamed.textStream) text += delta
      assert.match(text, /^Simulated answer from /, model)
      assert.equal(await streamed.finishReason, 'stop')
      const { id } = await streamed.response
      const { tokens } = await assertRecordsAgree(router, account, id)
      assert.equal((await streamed.usage).outputTokens, tokens.output + tokens.reasoning)
    }
  })

  test(`${name}: the tool loop, with two tools at once, whole and streamed`, async () => {
    for (const model of MODELS) {
      const asked: unknown[] = []
      const execute = (input: unknown) => {
        asked.push(input)
        return { answer: 'sunny' }
      }
      const tools = {
        get_weather: tool({ inputSchema: z.object({ city: z.string() }), execute }),
        get_time: tool({ inputSchema: z.object({}), execute }),
      }
      const call = { ...ask(model, 'Use get_weather and get_time.'), tools, stopWhen: isStepCount(3) }
      const whole = await generateText(call)
      const streamed = streamText(call)
      await partsOf(streamed)
      for (const steps of [whole.steps, await streamed.steps]) {
        assert.equal(steps.length, 2, model)
        assert.equal(steps[0]?.finishReason, 'tool-calls')
        assert.deepEqual(
          steps[0]?.toolResults.map(({ toolName }) => toolName),
          ['get_weather', 'get_time'],
        )
        assert.match(steps[1]?.text ?? '', /has seen 2 tool result/)
      }
      assert.deepEqual(asked, [{ city: 'simulated' }, {}, { city: 'simulated' }, {}])
    }
  })

  test(`${name}: what was thought goes back with the results of a tool`, async () => {
    for (const model of THINKERS) {
      const tools = { look: tool({ inputSchema: z.object({}), execute: () => 'sunny' }) }
      const call = {
        ...ask(model, 'Use look.'),
        ...{ tools, providerOptions: thinking, maxOutputTokens: 6_000, stopWhen: isStepCount(3) },
      }
      const whole = await generateText(call)
      const streamed = streamText(call)
      await partsOf(streamed)
      for (const steps of [whole.steps, await streamed.steps]) {
        assert.equal((steps[0]?.reasoningText ?? '') !== '', showsThought, model)
        assert.match(steps.at(-1)?.text ?? '', /has seen 1 tool result/)
        // A thought that the client would not send back is one that it warns of.
        assert.deepEqual(
          steps.flatMap(({ warnings }) => warnings),
          [],
          model,
        )
      }
    }
  })

  test(`${name}: an object by a schema, whole and streamed`, async () => {
    // Command A is asked for its schema in words, which its simulator does not read.
    for (const model of MODELS.filter((each) => each !== 'mesh/command-a')) {
      const call = { ...ask(model, 'Hello there'), output: Output.object({ schema: Day }) }
      const { output } = await generateText(call)
      assert.doesNotThrow(() => Day.parse(output), model)
      const streamed = streamText(call)
      let partials = 0
      for await (const _ of streamed.partialOutputStream) partials += 1
      assert.ok(partials > 0, model)
      assert.deepEqual(await streamed.output, output)
    }
  })

  test(`${name}: what is refused is told apart, and only what may help is tried again`, async () => {
    const poor = await router.account({ creditUsd: '0' })
    const slow = await router.account({ limits: { requestsPerMinute: 1 } })
    const model = 'mesh/claude-sonnet-4.5'
    await generateText(ask(model, 'Hello there', slow.key))
    for (const [call, status, retryable, says] of [
      [ask(model, 'Hello there', poor.key), 402, false, /credit/],
      [ask(model, 'Hello there', slow.key), 429, true, /requests/],
      [ask(model, 'Hello there', 'mesh_test_no'), 401, false, /key/],
      [ask('mesh/claude-sonet-4.5', 'Hello there'), 404, false, /mesh\/claude-sonnet-4\.5/],
    ] as const) {
      const error = await errorOf(generateText(call))
      assert.equal(error.statusCode, status)
      assert.equal(error.isRetryable, retryable, String(status))
      // The sentence is found where this client looks for it.
      assert.match(error.message, says)
      if (status === 429) assert.ok(Number(error.responseHeaders?.['retry-after']) > 0)
      const streamed = streamText(call)
      const parts = await partsOf(streamed)
      const last = parts.findLast((part) => part.type === 'error')
      assert.ok(APICallError.isInstance(last?.error))
      assert.equal(last.error.statusCode, status)
    }
  })

  test(`${name}: a stream that breaks off is an error, and no shorter answer`, async () => {
    const live = await router.account({ livemode: true })
    const streamed = streamText(ask(UNFINISHED_MODEL, BREAK_OFF, live.key))
    const parts = await partsOf(streamed)
    assert.equal(parts.map((part) => (part.type === 'text-delta' ? part.text : '')).join(''), UNFINISHED_TEXT)
    assert.ok(parts.some(({ type }) => type === 'error'))
    assert.equal(await streamed.finishReason, 'error')
    const [event] = (await router.request('GET', '/v1/logs', { key: live.key })).json.data
    assert.equal(event.billingReason, 'upstream_error_not_billed')
  })

  test(`${name}: who leaves in the middle stops the provider, and pays for what came`, async () => {
    const live = await router.account({ livemode: true })
    const leaving = new AbortController()
    const call = { ...ask(UNFINISHED_MODEL, 'Hello there', live.key), abortSignal: leaving.signal }
    const types: string[] = []
    for await (const part of streamText(call).fullStream) {
      types.push(part.type)
      if (part.type === 'text-delta') leaving.abort()
    }
    assert.equal(types.at(-1), 'abort')
    await until('the provider is not asked any more', () => upstream.open() === 0)
    const path = '/v1/logs?limit=1'
    await until('the event is there', async () => {
      return (await router.request('GET', path, { key: live.key })).json.data.length === 1
    })
    const [{ id }] = (await router.request('GET', path, { key: live.key })).json.data
    const event = await eventOf(router, live.key, id)
    assert.equal(event.billingReason, 'client_disconnected')
    assert.ok(nano(event.cost.totalUsd) > 0n)
    await assertRecordsAgree(router, live, id)
  })
}

test('@ai-sdk/openai in Responses: without store: false the refusal says what to set', async () => {
  const tools = { look: tool({ inputSchema: z.object({}), execute: () => 'sunny' }) }
  const model = connectOpenAI(account.key)('mesh/claude-sonnet-4.5')
  const error = await errorOf(
    generateText({ model, prompt: 'Use look.', tools, stopWhen: isStepCount(3), maxRetries: 0 }),
  )
  assert.equal(error.statusCode, 400)
  assert.match(error.message, /item_reference.*store: false/)
})

test('@ai-sdk/openai, @ai-sdk/openai-compatible: vectors', async () => {
  const name = 'mesh/text-embedding-3-small'
  for (const model of [
    connectOpenAI(account.key).embedding(name),
    connectCompatible(account.key).embeddingModel(name),
  ]) {
    const { embeddings, usage } = await embedMany({ model, values: ['a red fox', 'a blue whale'] })
    assert.deepEqual(
      embeddings.map(({ length }) => length),
      [1_536, 1_536],
    )
    assert.ok(usage.tokens > 0)
  }
})
