import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import OpenAI from 'openai'
import type {
  ChatCompletion,
  ChatCompletionAssistantMessageParam,
  ChatCompletionMessage,
  ChatCompletionMessageParam,
} from 'openai/resources/chat/completions'
import { startTestRouter, type TestAccount, type TestRouter } from './support/test-router.ts'

/*
 * The simulator refuses, as Google does, a conversation in which a call of the current turn comes back without its
 * signature or with another one. So a loop that reaches its answer proves that the signature came through.
 */

const THIRD = ['mesh/gemini-3.5-flash', 'mesh/gemini-3.1-pro', 'mesh/gemini-3.1-flash-lite'] as const
const SECOND = ['mesh/gemini-2.5-pro', 'mesh/gemini-2.5-flash'] as const
const CLAUDE = 'mesh/claude-sonnet-4.5'
const SIGNATURE = /^[\w-]+__thought__[A-Za-z0-9_-]+$/

const question: ChatCompletionMessageParam = { role: 'user', content: 'Use get_weather and get_time.' }
const tools = [
  {
    type: 'function' as const,
    function: {
      name: 'get_weather',
      parameters: { type: 'object', properties: { city: { type: 'string' } } },
    },
  },
  {
    type: 'function' as const,
    function: { name: 'get_time', parameters: { type: 'object', properties: {} } },
  },
]

let router: TestRouter
let account: TestAccount
let client: OpenAI

before(async () => {
  router = await startTestRouter()
  account = await router.account({ creditUsd: '1000.00' })
  client = new OpenAI({ baseURL: router.baseUrl, apiKey: account.key, maxRetries: 0 })
})
after(() => router.stop())

/** The calls of a model, asked for with or without a stream. */
async function called(model: string, stream: boolean, messages = [question]): Promise<ChatCompletionMessage> {
  const ask = { model, tools, messages }
  const { choices } = stream
    ? await client.chat.completions.stream(ask).finalChatCompletion()
    : await client.chat.completions.create(ask)
  assert.equal(choices[0]?.finish_reason, 'tool_calls')
  assert.ok(choices[0].message.tool_calls)
  return choices[0].message
}

/** What a client sends back that knows OpenAI's members alone, and puts every message together itself. */
function rebuilt({ tool_calls: calls = [] }: ChatCompletionMessage): ChatCompletionMessageParam[] {
  const own = calls.flatMap((call) =>
    call.type === 'function'
      ? [
          {
            id: call.id,
            type: 'function' as const,
            function: { name: call.function.name, arguments: call.function.arguments },
          },
        ]
      : [],
  )
  return [
    { role: 'assistant', content: null, tool_calls: own },
    ...own.map(({ id }) => ({ role: 'tool' as const, tool_call_id: id, content: 'sunny' })),
  ]
}

test('a tool loop of any OpenAI client reaches its answer, whole and streamed, and then the next turn', async () => {
  for (const model of [...THIRD, ...SECOND]) {
    for (const stream of [false, true]) {
      const first = rebuilt(await called(model, stream))
      const [assistant] = first as [ChatCompletionAssistantMessageParam]
      assert.match(assistant.tool_calls?.[0]?.id ?? '', SIGNATURE, model)
      assert.doesNotMatch(assistant.tool_calls?.[1]?.id ?? '', /__thought__/)
      const messages = [question, ...first]
      const answer = await client.chat.completions.create({ model, tools, messages })
      assert.match(answer.choices[0]?.message.content ?? '', /has seen 2 tool result/, model)
      const said: ChatCompletionMessageParam[] = [
        { role: 'assistant', content: answer.choices[0]?.message.content ?? '' },
        { role: 'user', content: 'get_time again.' },
      ]
      const second = rebuilt(await called(model, stream, [...messages, ...said]))
      const last = await client.chat.completions.create({
        model,
        tools,
        messages: [...messages, ...said, ...second],
      })
      assert.match(last.choices[0]?.message.content ?? '', /has seen 1 tool result/, model)
    }
  }
})

test('a message that is sent back as it came works as well, thoughts, signature and all', async () => {
  for (const model of THIRD) {
    // MESH's own member, which OpenAI's types do not know.
    const ask = (messages: ChatCompletionMessageParam[]): Promise<ChatCompletion> => {
      const params = { model, tools, messages, reasoning: { effort: 'high' }, stream: false as const }
      return client.chat.completions.create(params)
    }
    const { choices } = await ask([question])
    const message: ChatCompletionMessage | undefined = choices[0]?.message
    assert.ok(message)
    assert.match(Reflect.get(message, 'reasoning'), /simulated thinking/)
    const answer = await ask([question, message, ...rebuilt(message).slice(1)])
    assert.match(answer.choices[0]?.message.content ?? '', /has seen 2 tool result/)
  }
})

test('a signature that is changed on the way is refused, and one that a client loses is made up for', async () => {
  const [model] = THIRD
  const history = rebuilt(await called(model, false))
  const withIds = (change: (id: string) => string) =>
    history.map((message): ChatCompletionMessageParam => {
      if (message.role === 'tool') return { ...message, tool_call_id: change(message.tool_call_id) }
      if (message.role !== 'assistant') return message
      return {
        ...message,
        tool_calls: (message.tool_calls ?? []).map((call) => ({ ...call, id: change(call.id) })),
      }
    })
  const answered = async (messages: ChatCompletionMessageParam[]) => {
    const { choices } = await client.chat.completions.create({
      model,
      tools,
      messages: [question, ...messages],
    })
    return choices[0]?.message.content ?? ''
  }
  const forged = withIds((id) => id.replace(/__thought__.*/, `__thought__${btoa('forged')}`))
  await assert.rejects(answered(forged), { status: 400, code: 'invalid_request' })
  // Some cut ids, some keep their own: calls and results still belong together.
  for (const change of [
    (id: string) => id.replace(/__thought__.*/, ''),
    (id: string) => `call_${id.slice(0, 8)}`,
  ]) {
    assert.match(await answered(withIds(change)), /has seen 2 tool result/)
  }
})

test('a conversation goes from one model to another and back, and every provider sees plain ids', async () => {
  const [gemini] = THIRD
  for (const [from, to] of [
    [gemini, CLAUDE],
    [gemini, 'mesh/gpt-4o-mini'],
    [gemini, 'mesh/mistral-small-4'],
    [CLAUDE, gemini],
    ['mesh/gpt-4o-mini', gemini],
  ] as const) {
    const messages = [question, ...rebuilt(await called(from, true))]
    const { choices } = await client.chat.completions.create({ model: to, tools, messages })
    assert.match(choices[0]?.message.content ?? '', /has seen 2 tool result/, `${from} to ${to}`)
  }
})

test('an id that is too long is refused with its bound, a signature or not', async () => {
  const calls = (id: string): ChatCompletionMessageParam[] => [
    question,
    {
      role: 'assistant',
      tool_calls: [{ id, type: 'function', function: { name: 'get_time', arguments: '{}' } }],
    },
    { role: 'tool', tool_call_id: id, content: 'x' },
  ]
  const [model] = THIRD
  for (const id of [
    'x'.repeat(257),
    `${'x'.repeat(257)}__thought__abcd`,
    `x__thought__${'a'.repeat(40_000)}`,
  ]) {
    await assert.rejects(client.chat.completions.create({ model, tools, messages: calls(id) }), {
      status: 400,
      code: 'invalid_request',
    })
  }
  const longest = `${'x'.repeat(256)}__thought__${btoa('skip_thought_signature_validator').replaceAll('=', '')}`
  const { choices } = await client.chat.completions.create({ model, tools, messages: calls(longest) })
  assert.match(choices[0]?.message.content ?? '', /has seen 1 tool result/)
})

test('thoughts are counted with Gemini’s output, shown as a summary where asked, and their share is told', async () => {
  for (const model of [...THIRD, ...SECOND]) {
    const ask = {
      model,
      messages: [{ role: 'user' as const, content: 'Hello' }],
      reasoning_effort: 'high' as const,
    }
    const { choices, usage } = await client.chat.completions.create(ask)
    assert.match(Reflect.get(choices[0]?.message ?? {}, 'reasoning'), /simulated thinking/, model)
    assert.ok((usage?.completion_tokens_details?.reasoning_tokens ?? 0) >= 128, model)
  }
})
