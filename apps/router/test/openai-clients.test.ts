import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { parseUsd } from '@mesh/catalog/money.ts'
import OpenAI7 from 'openai'
import { zodResponseFormat as zodResponseFormat7 } from 'openai/helpers/zod'
import type { ChatCompletionMessageParam } from 'openai/resources/chat/completions'
import OpenAI6 from 'openai-6'
import { zodResponseFormat as zodResponseFormat6 } from 'openai-6/helpers/zod'
import { z } from 'zod'
import { verifyReceipt } from '../src/records/verify-receipt.ts'
import { startTestRouter, type TestAccount, type TestRouter } from './support/test-router.ts'
import { until } from './support/until.ts'

/** Both majors have the same surface for what is used here; only the names of their types differ. */
const SDKS = [
  { name: 'openai 7', OpenAI: OpenAI7, zodResponseFormat: zodResponseFormat7 },
  {
    name: 'openai 6',
    OpenAI: OpenAI6 as unknown as typeof OpenAI7,
    zodResponseFormat: zodResponseFormat6 as unknown as typeof zodResponseFormat7,
  },
] as const

/** One model for each protocol that is built. */
const GPT = 'mesh/gpt-4o-mini'
const CLAUDE = 'mesh/claude-sonnet-4.5'
const GEMINI = 'mesh/gemini-3.5-flash'
const MODELS = [GPT, CLAUDE, GEMINI] as const
const PROVIDERS: Readonly<Record<string, string>> = {
  [GPT]: 'openai',
  [CLAUDE]: 'anthropic',
  [GEMINI]: 'google',
}

const HELLO: ChatCompletionMessageParam[] = [{ role: 'user', content: 'Hello there' }]
const PIXEL =
  'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='
const WEATHER = {
  type: 'function' as const,
  function: {
    name: 'get_weather',
    description: 'The weather of a city.',
    parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
  },
}
const CLOCK = {
  type: 'function' as const,
  function: { name: 'get_time', parameters: { type: 'object', properties: {} } },
}

/** What MESH adds to OpenAI's shape. */
const meshMembers = z.object({
  id: z.string().regex(/^req_[0-9a-z]{26}$/),
  provider: z.string(),
  usage: z.object({
    prompt_tokens: z.number(),
    completion_tokens: z.number(),
    cost: z.number().positive(),
    cost_details: z.object({ upstream_cost: z.string(), margin: z.string(), total: z.string() }),
  }),
  routing: z.looseObject({
    requested: z.array(z.string()),
    selected: z.object({ model: z.string(), provider: z.string() }),
    chain: z.array(
      z.object({
        model: z.string(),
        provider: z.string(),
        outcome: z.string(),
        reason: z.string().nullable(),
      }),
    ),
    snapshot: z.string(),
  }),
})

let router: TestRouter
let account: TestAccount

before(async () => {
  router = await startTestRouter()
  account = await router.account({ creditUsd: '100.00' })
})
after(() => router.stop())

function nano(usd: string | undefined): bigint {
  const amount = parseUsd(usd ?? '')
  assert.ok(amount !== undefined, `${usd} is an amount`)
  return amount
}

async function recordOf(path: string) {
  const { status, json, text } = await router.request('GET', path, { key: account.key })
  assert.equal(status, 200, text)
  return json
}

async function gathered<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const all: Item[] = []
  for await (const item of items) all.push(item)
  return all
}

/** Checks that everything a call left behind says the same as its answer, and that its receipt is genuine. */
async function assertRecordsAgree(answer: unknown): Promise<z.output<typeof meshMembers>> {
  const said = meshMembers.parse(answer)
  const { upstream_cost: upstream, margin, total } = said.usage.cost_details
  assert.equal(nano(total), nano(upstream) + nano(margin))
  assert.equal(said.usage.cost, Number(total))

  const event = await recordOf(`/v1/logs/${said.id}`)
  assert.deepEqual(
    [event.cost.upstreamCostUsd, event.cost.marginUsd, event.cost.totalUsd],
    [upstream, margin, total],
  )
  assert.deepEqual(event.routing, said.routing)
  assert.equal(event.provider, said.provider)
  assert.equal(event.billingReason, 'completed')
  assert.equal(event.livemode, false)
  assert.ok(nano(event.cost.heldUsd) >= nano(total))

  const receipt = await recordOf(`/v1/receipts/${event.receiptId}`)
  const keys = await recordOf('/.well-known/mesh-receipt-keys.json')
  const verdict = verifyReceipt(receipt.jws, keys)
  assert.ok(verdict.valid)
  assert.equal(verdict.claims.totalUsd, total)
  assert.equal(verdict.claims.requestId, said.id)

  const ledger = await recordOf('/v1/ledger?limit=100')
  const rows = ledger.data.filter(({ requestId }: { requestId: string }) => requestId === said.id)
  assert.equal(rows.length, 1)
  assert.equal(rows[0].type, 'usage')
  assert.equal(rows[0].amountUsd, `-${total}`)
  assert.equal(rows[0].id, verdict.claims.ledgerEntryId)
  return said
}

for (const { name, OpenAI, zodResponseFormat } of SDKS) {
  const connect = (apiKey = account.key) =>
    new OpenAI({ baseURL: router.baseUrl, apiKey, maxRetries: 0, organization: 'org-x', project: 'proj-x' })

  test(`${name}: chat, whole, and what it cost is the same everywhere`, async () => {
    for (const model of MODELS) {
      const { data, response, request_id } = await connect()
        .chat.completions.create({ model, messages: HELLO })
        .withResponse()
      assert.equal(data.object, 'chat.completion')
      assert.equal(data.model, model)
      assert.equal(data.choices[0]?.finish_reason, 'stop')
      assert.match(data.choices[0]?.message.content ?? '', /^Simulated answer from /)
      const said = await assertRecordsAgree(data)
      assert.deepEqual(said.routing.requested, [model])
      assert.deepEqual(said.routing.selected, { model, provider: PROVIDERS[model] })
      assert.equal(Reflect.get(data, '_request_id'), data.id)
      assert.equal(request_id, data.id)
      const { upstream_cost, margin, total } = said.usage.cost_details
      const headers = Object.fromEntries(
        ['receipt-id', 'model', 'provider', 'upstream-cost-usd', 'margin-usd', 'total-usd'].map((part) => [
          part,
          response.headers.get(`x-mesh-${part}`),
        ]),
      )
      assert.deepEqual(headers, {
        'receipt-id': data.id.replace('req_', 'rcpt_'),
        model,
        provider: PROVIDERS[model],
        'upstream-cost-usd': upstream_cost,
        'margin-usd': margin,
        'total-usd': total,
      })
      assert.match(response.headers.get('x-mesh-privacy') ?? '', /^requested=standard; class=standard;/)
    }
  })

  test(`${name}: the naive loop over a stream never meets a chunk without a choice`, async () => {
    for (const model of MODELS) {
      const stream = await connect().chat.completions.create({ model, messages: HELLO, stream: true })
      let text = ''
      let last: unknown
      const ids = new Set<string>()
      for await (const chunk of stream) {
        const choice = chunk.choices[0]
        assert.ok(choice, 'every chunk has a choice')
        if (ids.size === 0) assert.equal(choice.delta.role, 'assistant')
        text += choice.delta.content ?? ''
        ids.add(chunk.id)
        last = chunk
      }
      assert.match(text, /^Simulated answer from /)
      assert.equal(ids.size, 1)
      // Unasked, usage and routing ride on the finish chunk.
      await assertRecordsAgree(last)
    }
  })

  test(`${name}: stream_options.include_usage brings usage in a chunk of its own`, async () => {
    for (const model of MODELS) {
      const stream = await connect().chat.completions.create({
        model,
        messages: HELLO,
        stream: true,
        stream_options: { include_usage: true },
      })
      const chunks = await gathered(stream)
      const last = chunks.at(-1)
      assert.deepEqual(last?.choices, [])
      assert.ok(chunks.slice(0, -1).every(({ choices, usage }) => choices.length === 1 && usage === null))
      assert.equal(chunks.at(-2)?.choices[0]?.finish_reason, 'stop')
      await assertRecordsAgree(last)
    }
  })

  test(`${name}: the .stream() helper`, async () => {
    for (const model of MODELS) {
      const stream = connect().chat.completions.stream({
        model,
        messages: HELLO,
        stream_options: { include_usage: true },
      })
      let deltas = ''
      let snapshot = ''
      let chunks = 0
      stream.on('content', (delta, whole) => {
        deltas += delta
        snapshot = whole
      })
      stream.on('chunk', () => {
        chunks += 1
      })
      const completion = await stream.finalChatCompletion()
      assert.equal(completion.choices[0]?.message.content, deltas)
      assert.equal(snapshot, deltas)
      assert.equal(await stream.finalContent(), deltas)
      assert.ok(chunks > 5)
      assert.equal(completion.model, model)
      const usage = await stream.totalUsage()
      const hidden = completion.usage?.completion_tokens_details?.reasoning_tokens ?? 0
      assert.equal(usage.completion_tokens - hidden, Math.ceil(deltas.length / 4))
      // Gemini thinks unasked, and shows none of it.
      assert.equal(hidden > 0, model === GEMINI)
    }
  })

  test(`${name}: one tool call, and two at once, whole and streamed`, async () => {
    const tools = [WEATHER, CLOCK]
    const content = 'Use get_weather and get_time.'
    for (const model of MODELS) {
      const ask = { model, tools, messages: [{ role: 'user' as const, content }] }
      const one = await connect().chat.completions.create({ ...ask, parallel_tool_calls: false })
      assert.equal(one.choices[0]?.finish_reason, 'tool_calls')
      // Gemini has no word for one call at a time, and MESH says that it left it out.
      const dropped = Reflect.get(one, 'routing').dropped_params ?? []
      assert.deepEqual(dropped, model === GEMINI ? ['parallel_tool_calls'] : [])
      assert.equal(one.choices[0]?.message.tool_calls?.length, model === GEMINI ? 2 : 1)

      const two = await connect().chat.completions.create(ask)
      const streamed = await connect().chat.completions.stream(ask).finalChatCompletion()
      for (const { choices } of [two, streamed]) {
        assert.equal(choices[0]?.finish_reason, 'tool_calls')
        const calls = choices[0]?.message.tool_calls ?? []
        assert.equal(new Set(calls.map(({ id }) => id)).size, 2)
        const functions = calls.map((call) => (call.type === 'function' ? call.function : undefined))
        assert.deepEqual(
          functions.map((called) => called?.name),
          ['get_weather', 'get_time'],
        )
        assert.equal(typeof JSON.parse(functions[0]?.arguments ?? '').city, 'string')
        assert.equal(functions[1]?.arguments, '{}')
      }

      const forced = { ...ask, tool_choice: { type: 'function' as const, function: { name: 'get_time' } } }
      const named = await connect().chat.completions.create(forced)
      const [call] = named.choices[0]?.message.tool_calls ?? []
      assert.equal(call?.type === 'function' ? call.function.name : '', 'get_time')
    }
  })

  test(`${name}: the tool loop of runTools, to the final answer`, async () => {
    for (const model of MODELS) {
      for (const stream of [false, true] as const) {
        const asked: unknown[] = []
        const tool = {
          type: 'function' as const,
          function: {
            ...WEATHER.function,
            parse: JSON.parse,
            function: (args: unknown) => {
              asked.push(args)
              return 'sunny'
            },
          },
        }
        const common = {
          model,
          messages: [{ role: 'user' as const, content: 'Weather in Rome?' }],
          tools: [tool],
        }
        const { completions } = connect().chat
        const runner = stream
          ? completions.runTools({ ...common, stream: true })
          : completions.runTools({ ...common, stream: false })
        assert.match((await runner.finalContent()) ?? '', /has seen 1 tool result/)
        assert.equal(asked.length, 1)
        assert.deepEqual(
          runner.messages.map(({ role }) => role),
          ['user', 'assistant', 'tool', 'assistant'],
        )
      }
    }
  })

  test(`${name}: response_format json_object, and json_schema through .parse and a zod schema`, async () => {
    const Day = z.object({ city: z.string(), degrees: z.number(), sky: z.enum(['clear', 'cloudy']) })
    for (const model of MODELS) {
      const whole = await connect().chat.completions.create({
        model,
        messages: [{ role: 'user', content: 'Answer in JSON.' }],
        response_format: { type: 'json_object' },
      })
      const value: unknown = JSON.parse(whole.choices[0]?.message.content ?? '')
      assert.ok(typeof value === 'object' && value !== null && !Array.isArray(value))

      const ask = { model, messages: HELLO, response_format: zodResponseFormat(Day, 'day') }
      const parsed = await connect().chat.completions.parse(ask)
      assert.doesNotThrow(() => Day.parse(parsed.choices[0]?.message.parsed))
      const streamed = await connect().chat.completions.stream(ask).finalChatCompletion()
      assert.deepEqual(streamed.choices[0]?.message.parsed, parsed.choices[0]?.message.parsed)
    }
  })

  test(`${name}: an image as a data URL is read, and paid for`, async () => {
    for (const model of MODELS) {
      const ask = (content: ChatCompletionMessageParam & { role: 'user' }) =>
        connect().chat.completions.create({ model, messages: [content] })
      const text = { type: 'text' as const, text: 'What is this?' }
      const without = await ask({ role: 'user', content: [text] })
      const image = { type: 'image_url' as const, image_url: { url: PIXEL } }
      const withImage = await ask({ role: 'user', content: [text, image] })
      const [before, after] = [without, withImage].map(({ usage }) => usage?.prompt_tokens ?? 0)
      assert.ok((after ?? 0) > (before ?? 0), model)
      await assertRecordsAgree(withImage)
    }
  })

  test(`${name}: reasoning is counted where it is hidden, and shown where it is not`, async () => {
    const hidden = await connect().chat.completions.create({
      model: 'mesh/gpt-5-mini',
      messages: HELLO,
      reasoning_effort: 'high',
    })
    assert.equal(hidden.usage?.completion_tokens_details?.reasoning_tokens, 256)
    assert.ok(hidden.usage.completion_tokens > 256)
    assert.equal(Reflect.get(hidden.choices[0]?.message ?? {}, 'reasoning'), undefined)

    const shown = await connect().chat.completions.create({
      model: CLAUDE,
      messages: HELLO,
      reasoning_effort: 'high',
    })
    const message = shown.choices[0]?.message ?? {}
    assert.match(Reflect.get(message, 'reasoning'), /simulated thinking/)
    const [detail] = Reflect.get(message, 'reasoning_details')
    assert.equal(detail.type, 'reasoning.text')
    assert.ok(detail.signature)
    const thinking = Math.ceil(detail.text.length / 4)
    assert.ok((shown.usage?.completion_tokens ?? 0) > thinking)

    let reasoning = ''
    const ask = { model: CLAUDE, messages: HELLO, reasoning: { effort: 'low' }, stream: true as const }
    for await (const { choices } of await connect().chat.completions.create(ask)) {
      reasoning += Reflect.get(choices[0]?.delta ?? {}, 'reasoning') ?? ''
    }
    assert.match(reasoning, /simulated thinking/)

    const excluded = { model: CLAUDE, messages: HELLO, reasoning: { effort: 'high', exclude: true } }
    const silent = await connect().chat.completions.create({ ...excluded, stream: false })
    assert.equal(Reflect.get(silent.choices[0]?.message ?? {}, 'reasoning'), undefined)
    assert.equal(silent.usage?.completion_tokens, shown.usage?.completion_tokens)
  })

  test(`${name}: a prefix that was sent before is read from the cache, and costs less`, async () => {
    for (const model of MODELS) {
      const prefix = `${name} ${model} ${'All of this stays the same from call to call. '.repeat(200)}`
      // Claude caches what is marked, OpenAI whatever is long enough.
      const marked = { type: 'text' as const, text: prefix, cache_control: { type: 'ephemeral' } }
      const content = model === CLAUDE ? [marked] : prefix
      const ask = (question: string) =>
        connect().chat.completions.create({
          model,
          messages: [
            { role: 'system', content },
            { role: 'user', content: question },
          ],
        })
      const first = await assertRecordsAgree(await ask('First question?'))
      const answer = await ask('Other question?')
      const second = await assertRecordsAgree(answer)
      assert.ok((answer.usage?.prompt_tokens_details?.cached_tokens ?? 0) > 1_024, model)
      assert.equal(second.usage.prompt_tokens, first.usage.prompt_tokens)
      assert.ok(second.usage.cost < first.usage.cost, model)
    }
  })

  test(`${name}: several answers at once, and log probabilities`, async () => {
    const ask = { model: GPT, messages: HELLO, n: 3, logprobs: true, top_logprobs: 2 }
    const whole = await connect().chat.completions.create(ask)
    assert.deepEqual(
      whole.choices.map(({ index }) => index),
      [0, 1, 2],
    )
    for (const { message, logprobs } of whole.choices) {
      const spelled = logprobs?.content?.map(({ token }) => token).join('')
      assert.equal(spelled, message.content)
      assert.equal(logprobs?.content?.[0]?.top_logprobs.length, 2)
    }
    await assertRecordsAgree(whole)
    const streamed = await connect().chat.completions.stream(ask).finalChatCompletion()
    assert.equal(streamed.choices.length, 3)
    for (const { message, logprobs, finish_reason } of streamed.choices) {
      assert.equal(finish_reason, 'stop')
      assert.equal(logprobs?.content?.map(({ token }) => token).join(''), message.content)
    }
  })

  test(`${name}: models.list() and models.retrieve()`, async () => {
    const models = await gathered(connect().models.list())
    assert.ok(models.some(({ id }) => id === CLAUDE))
    assert.equal((await connect().models.retrieve(CLAUDE)).owned_by, 'anthropic')
    await assert.rejects(connect().models.retrieve('mesh/nothing-of-the-kind'), OpenAI.NotFoundError)
  })

  test(`${name}: every error is of the class that the client knows it by, with its code and request id`, async () => {
    const ask = { model: GPT, messages: HELLO }
    const limited = await router.account({ limits: { requestsPerMinute: 1 } })
    const poor = await router.account({ creditUsd: '0' })
    await connect(limited.key).chat.completions.create(ask)
    const cases = [
      [
        () => connect('mesh_test_wrong').chat.completions.create(ask),
        OpenAI.AuthenticationError,
        401,
        'invalid_api_key',
      ],
      [
        () => connect().chat.completions.create({ ...ask, model: 'none' }),
        OpenAI.NotFoundError,
        404,
        'model_not_found',
      ],
      [
        () => connect(limited.key).chat.completions.create(ask),
        OpenAI.RateLimitError,
        429,
        'rate_limit_exceeded',
      ],
      [
        () => connect().chat.completions.create({ ...ask, temperature: 9 }),
        OpenAI.BadRequestError,
        400,
        'invalid_request',
      ],
      [() => connect(poor.key).chat.completions.create(ask), OpenAI.APIError, 402, 'insufficient_credits'],
      [
        () => connect().chat.completions.create({ ...ask, metadata: { mesh_simulate: 'server_error' } }),
        OpenAI.InternalServerError,
        502,
        'provider_error',
      ],
    ] as const
    for (const [send, type, status, code] of cases) {
      await assert.rejects(send(), (error: unknown) => {
        assert.ok(error instanceof type, code)
        assert.ok(error instanceof OpenAI.APIError)
        assert.equal(error.status, status)
        assert.equal(error.code, code)
        assert.match(error.requestID ?? '', /^req_/)
        return true
      })
    }
  })

  test(`${name}: an answer that breaks off throws an APIError with its receipt, and costs nothing`, async () => {
    for (const model of MODELS) {
      const ask = { model, messages: HELLO, metadata: { mesh_simulate: 'cut_stream' } }
      let receiptId = ''
      const isOurs = (error: unknown): boolean => {
        assert.ok(error instanceof OpenAI.APIError)
        assert.equal(error.code, 'provider_error')
        const metadata = Reflect.get(Object(error.error), 'metadata')
        receiptId = metadata.receipt_id
        assert.match(receiptId, /^rcpt_/)
        return true
      }
      let text = ''
      await assert.rejects(async () => {
        const stream = await connect().chat.completions.create({ ...ask, stream: true })
        for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? ''
      }, isOurs)
      assert.match(text, /^Simulated answer/)
      const { receipt } = await recordOf(`/v1/receipts/${receiptId}`)
      assert.equal(receipt.billingReason, 'upstream_error_not_billed')
      assert.equal(receipt.totalUsd, '0.000000000')
      await assert.rejects(connect().chat.completions.stream(ask).finalChatCompletion(), isOurs)
    }
  })

  test(`${name}: retries as x-should-retry says`, async () => {
    const ask = { model: GPT, messages: HELLO }
    let tries = 0
    const retrying = new OpenAI({
      baseURL: router.baseUrl,
      apiKey: account.key,
      maxRetries: 1,
      fetch: (url, init) => {
        tries += 1
        return fetch(url, init)
      },
    })
    const triesOf = async (code: string, answer: () => Promise<unknown>): Promise<number> => {
      tries = 0
      await assert.rejects(answer, { code })
      return tries
    }
    const failing = { ...ask, metadata: { mesh_simulate: 'server_error' } }
    assert.equal(await triesOf('provider_error', () => retrying.chat.completions.create(failing)), 2)
    // Clients retry any 409 that does not forbid it; a billed call must not be sent again.
    const once = { headers: { 'Idempotency-Key': `once-${name.replace(' ', '-')}` } }
    await retrying.chat.completions.create(ask, once)
    assert.equal(await triesOf('idempotency_replay', () => retrying.chat.completions.create(ask, once)), 1)
  })

  test(`${name}: a stream that its reader leaves is stopped, and paid as far as it went`, async () => {
    // Google bills on after a cancel, so its streams are read to the end.
    for (const model of [GPT, CLAUDE]) {
      const stream = await connect().chat.completions.create({
        model,
        messages: HELLO,
        metadata: { mesh_simulate: 'tokens=2000,pace=20' },
        stream: true,
      })
      let id = ''
      for await (const chunk of stream) {
        id = chunk.id
        break
      }
      assert.ok(stream.controller.signal.aborted)
      await until('the call that was left is settled', async () => {
        const { status } = await router.request('GET', `/v1/logs/${id}`, { key: account.key })
        return status === 200
      })
      const event = await recordOf(`/v1/logs/${id}`)
      assert.equal(event.billingReason, 'client_disconnected')
      assert.equal(event.status, 499)
      assert.ok(event.tokens.output < 2_000, `${event.tokens.output} output tokens`)
      assert.ok(nano(event.cost.totalUsd) > 0n)
    }
  })
}
