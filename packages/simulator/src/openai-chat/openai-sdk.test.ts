import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import OpenAI7 from 'openai'
import OpenAI6 from 'openai-6'
import { startSimulator } from '../server.ts'

const simulator = await startSimulator({ now: () => 1_790_000_000_000 })
after(() => simulator.close())

const weather = {
  type: 'function',
  function: {
    name: 'get_weather',
    strict: true,
    parameters: {
      type: 'object',
      properties: { city: { type: 'string' }, days: { type: 'integer', minimum: 2 } },
      required: ['city', 'days'],
      additionalProperties: false,
    },
  },
} as const
const clock = {
  type: 'function',
  function: { name: 'get_time', parameters: { type: 'object', properties: {} } },
} as const
const hello = [{ role: 'user', content: 'Hello there' }] as const

// Both majors have the same surface for what is used here; their types only differ in names.
const sdks = [
  ['openai 7', OpenAI7],
  ['openai 6', OpenAI6 as unknown as typeof OpenAI7],
] as const

for (const [name, OpenAI] of sdks) {
  const client = (provider: 'openai' | 'deepseek' | 'groq' | 'mistral' | 'xai' | 'tinfoil' = 'openai') =>
    new OpenAI({ apiKey: 'test', baseURL: simulator.baseUrl(provider), maxRetries: 0 })

  test(`${name}: a plain answer, and the same one again`, async () => {
    const ask = () => client().chat.completions.create({ model: 'gpt-4o-mini', messages: [...hello] })
    const first = await ask()
    const second = await ask()
    const text = first.choices[0]?.message.content ?? ''
    assert.match(text, /^Simulated answer from gpt-4o-mini: /)
    assert.equal(second.choices[0]?.message.content, text)
    assert.notEqual(second.id, first.id)
    assert.equal(first.choices[0]?.finish_reason, 'stop')
    assert.equal(first.created, 1_790_000_000)
    assert.match(first._request_id ?? '', /^req_/)
    const usage = first.usage
    assert.equal(usage?.completion_tokens, Math.ceil(text.length / 4))
    assert.equal(usage?.prompt_tokens, 4 + 3)
    assert.equal(usage?.total_tokens, (usage?.prompt_tokens ?? 0) + (usage?.completion_tokens ?? 0))
  })

  test(`${name}: a stream says the same as the answer in one piece, role first and usage last`, async () => {
    const request = { model: 'gpt-4o-mini', messages: [...hello] }
    const whole = await client().chat.completions.create(request)
    const stream = await client().chat.completions.create({
      ...request,
      stream: true,
      stream_options: { include_usage: true },
    })
    const chunks = []
    for await (const chunk of stream) chunks.push(chunk)
    assert.equal(chunks[0]?.choices[0]?.delta.role, 'assistant')
    const deltas = chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '')
    assert.ok(deltas.filter((delta) => delta !== '').length > 5)
    assert.equal(new Set(chunks.map((chunk) => chunk.id)).size, 1)
    assert.equal(chunks.at(-2)?.choices[0]?.finish_reason, 'stop')
    assert.deepEqual(chunks.at(-1)?.choices, [])
    // The seed is the whole request, so a stream's text is another one; its usage is of its own text.
    assert.equal(chunks.at(-1)?.usage?.completion_tokens, Math.ceil(deltas.join('').length / 4))
    assert.equal(chunks.at(-1)?.usage?.prompt_tokens, whole.usage?.prompt_tokens)
    const naive = await client().chat.completions.create({ ...request, stream: true })
    for await (const chunk of naive) assert.ok(chunk.choices[0])
  })

  test(`${name}: the stream helper runs a tool round trip with two calls at once`, async () => {
    const tools = [weather, clock]
    const question = { role: 'user', content: 'Use get_time and get_weather.' } as const
    const helper = client().chat.completions.stream({ model: 'gpt-4o-mini', messages: [question], tools })
    const called = await helper.finalChatCompletion()
    const choice = called.choices[0]
    assert.equal(choice?.finish_reason, 'tool_calls')
    const calls = choice?.message.tool_calls ?? []
    assert.deepEqual(
      calls.map(
        (call) => call.type === 'function' && [call.function.name, JSON.parse(call.function.arguments)],
      ),
      [
        ['get_weather', { city: 'simulated', days: 2 }],
        ['get_time', {}],
      ],
    )
    const results = calls.map((call) => ({ role: 'tool', tool_call_id: call.id, content: 'sunny' }) as const)
    const message = { role: 'assistant', content: null, tool_calls: calls } as const
    const answer = await client().chat.completions.create({
      model: 'gpt-4o-mini',
      messages: [question, message, ...results],
      tools,
    })
    assert.match(answer.choices[0]?.message.content ?? '', /2 tool result\(s\)/)
    const alone = await client().chat.completions.create({
      model: 'gpt-4o-mini',
      messages: [question],
      tools,
      parallel_tool_calls: false,
    })
    assert.equal(alone.choices[0]?.message.tool_calls?.length, 1)
  })

  test(`${name}: a JSON schema is kept to, and a tool by name is called`, async () => {
    const schema = weather.function.parameters
    const answer = await client().chat.completions.parse({
      model: 'gpt-4.1',
      messages: [...hello],
      response_format: { type: 'json_schema', json_schema: { name: 'weather', schema, strict: true } },
    })
    assert.deepEqual(answer.choices[0]?.message.parsed, { city: 'simulated', days: 2 })
    const named = await client().chat.completions.create({
      model: 'gpt-4.1',
      messages: [...hello],
      tools: [weather, clock],
      tool_choice: { type: 'function', function: { name: 'get_time' } },
    })
    assert.equal(named.choices[0]?.finish_reason, 'stop')
    assert.equal(named.choices[0]?.message.tool_calls?.length, 1)
  })

  test(`${name}: several choices, stop sequences, log probabilities, an output bound`, async () => {
    const request = { model: 'gpt-4o-mini', messages: [...hello] }
    const three = await client().chat.completions.create({
      ...request,
      n: 3,
      logprobs: true,
      top_logprobs: 2,
    })
    assert.equal(three.choices.length, 3)
    const tokens = three.choices[0]?.logprobs?.content?.map((token) => token.token).join('')
    assert.equal(three.choices[0]?.logprobs?.content?.[0]?.top_logprobs.length, 2)
    assert.equal(tokens, three.choices[0]?.message.content)
    const stopped = await client().chat.completions.create({ ...request, stop: ['never', 'from'] })
    assert.equal(stopped.choices[0]?.message.content, 'Simulated answer ')
    assert.equal(stopped.choices[0]?.finish_reason, 'stop')
    const cut = await client().chat.completions.create({ ...request, max_completion_tokens: 3 })
    assert.equal(cut.choices[0]?.message.content, 'Simulated an')
    assert.equal(cut.choices[0]?.finish_reason, 'length')
    assert.equal(cut.usage?.completion_tokens, 3)
    const streamed = await client()
      .chat.completions.stream({ ...request, n: 2 })
      .finalChatCompletion()
    assert.deepEqual(
      streamed.choices.map((choice) => choice.finish_reason),
      ['stop', 'stop'],
    )
  })

  test(`${name}: hidden reasoning is counted, and can use up the whole bound`, async () => {
    const answer = await client().chat.completions.create({ model: 'gpt-5-mini', messages: [...hello] })
    const details = answer.usage?.completion_tokens_details
    assert.equal(details?.reasoning_tokens, 128)
    const text = answer.choices[0]?.message.content ?? ''
    assert.equal(answer.usage?.completion_tokens, 128 + Math.ceil(text.length / 4))
    const bounded = await client().chat.completions.create({
      model: 'o4-mini',
      messages: [...hello],
      max_completion_tokens: 100,
    })
    assert.equal(bounded.choices[0]?.finish_reason, 'length')
    assert.equal(bounded.choices[0]?.message.content, '')
    assert.equal(bounded.usage?.completion_tokens, 100)
  })

  test(`${name}: a repeated prefix comes from the cache`, async () => {
    const rules = `${name} says it again and again. `.repeat(400)
    const ask = (question: string) =>
      client().chat.completions.create({
        model: 'gpt-4.1',
        messages: [
          { role: 'system', content: rules },
          { role: 'user', content: question },
        ],
      })
    const first = await ask('One?')
    const second = await ask('Two?')
    assert.equal(first.usage?.prompt_tokens_details?.cached_tokens, 0)
    const cached = second.usage?.prompt_tokens_details?.cached_tokens ?? 0
    assert.ok(cached >= 1024 && cached % 128 === 0 && cached < (second.usage?.prompt_tokens ?? 0))
  })

  test(`${name}: the other providers' dialects pass the same client`, async () => {
    const models = {
      deepseek: 'deepseek-v4-pro',
      groq: 'openai/gpt-oss-120b',
      mistral: 'mistral-large-2512',
      xai: 'grok-4.20-0309-reasoning',
      tinfoil: 'gpt-oss-120b',
    } as const
    for (const provider of ['deepseek', 'groq', 'mistral', 'xai', 'tinfoil'] as const) {
      const request = { model: models[provider], messages: [...hello], tools: [weather] }
      const whole = await client(provider).chat.completions.create(request)
      // Mistral leaves out a tool call's `type`, which the helper insists on.
      const streamed =
        provider === 'mistral'
          ? whole
          : await client(provider).chat.completions.stream(request).finalChatCompletion()
      for (const answer of [whole, streamed]) {
        const [call] = answer.choices[0]?.message.tool_calls ?? []
        const definition = call !== undefined && 'function' in call ? call.function : undefined
        assert.deepEqual(JSON.parse(definition?.arguments ?? ''), { city: 'simulated', days: 2 }, provider)
      }
    }
    const grok = await client('xai').chat.completions.create({ model: models.xai, messages: [...hello] })
    const usage = grok.usage
    const reasoning = usage?.completion_tokens_details?.reasoning_tokens ?? 0
    assert.ok(reasoning > 0)
    assert.equal(
      usage?.total_tokens,
      (usage?.prompt_tokens ?? 0) + (usage?.completion_tokens ?? 0) + reasoning,
    )
  })

  test(`${name}: refusals and errors arrive as the client's own classes`, async () => {
    const ask = (steering: string) =>
      client().chat.completions.create(
        { model: 'gpt-4o-mini', messages: [...hello] },
        { headers: { 'x-mesh-simulate': steering } },
      )
    const refused = await ask('refusal')
    assert.equal(refused.choices[0]?.message.content, null)
    assert.match(refused.choices[0]?.message.refusal ?? '', /sorry/)
    await assert.rejects(
      ask('rate_limit'),
      (error) => error instanceof OpenAI.RateLimitError && error.headers.get('retry-after') === '1',
    )
    await assert.rejects(ask('server_error'), OpenAI.InternalServerError)
    await assert.rejects(ask('gibberish'), OpenAI.BadRequestError)
    const none = new OpenAI({ apiKey: ' ', baseURL: simulator.baseUrl('openai'), maxRetries: 0 })
    await assert.rejects(
      none.chat.completions.create({ model: 'gpt-4o', messages: [...hello] }),
      OpenAI.AuthenticationError,
    )
    await assert.rejects(client().models.list(), OpenAI.NotFoundError)
  })
}
