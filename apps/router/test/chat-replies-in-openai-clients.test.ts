import assert from 'node:assert/strict'
import { createServer, type Server } from 'node:http'
import { after, before, test } from 'node:test'
import { EMPTY_BUCKETS } from '@mesh/catalog/token-buckets.ts'
import { KEEP_ALIVE_COMMENT } from '@mesh/engine/outlet.ts'
import { createJsonReply } from '@mesh/engine/shapes/chat-completions/reply-json.ts'
import { createStreamReply } from '@mesh/engine/shapes/chat-completions/reply-stream.ts'
import type { ReplyClosing, ReplyInfo } from '@mesh/engine/shapes/reply.ts'
import type { StreamEvent } from '@mesh/engine/stream-event.ts'
import OpenAI, { APIError } from 'openai'
import OpenAI6, { APIError as APIError6 } from 'openai-6'

const EVENTS: readonly StreamEvent[] = [
  { type: 'reasoning', choice: 0, text: 'Let me ' },
  { type: 'reasoning', choice: 0, text: 'see.' },
  { type: 'reasoning-end', choice: 0, signature: 'c2ln' },
  { type: 'text', choice: 0, text: 'It is ' },
  { type: 'text', choice: 0, text: 'sunny \u2028 🌞.' },
  { type: 'tool-call', choice: 0, index: 0, id: 'call_a', name: 'look' },
  { type: 'tool-arguments', choice: 0, index: 0, fragment: '{"at":' },
  { type: 'tool-call', choice: 0, index: 1, id: 'not "an" id', name: 'touch' },
  { type: 'tool-arguments', choice: 0, index: 1, fragment: '{}' },
  { type: 'tool-arguments', choice: 0, index: 0, fragment: '"x"}' },
  { type: 'finish', choice: 0, reason: 'tool_calls' },
  { type: 'end' },
]
const TEXT = 'It is sunny \u2028 🌞.'
const closing: ReplyClosing = {
  finishReason: 'stop',
  usage: {
    buckets: { ...EMPTY_BUCKETS, input: 10, output: 5 },
    upstreamNano: 8_000_000n,
    marginNano: 775_000n,
  },
  routing: { requested: 'auto' },
}

interface Body {
  readonly stream?: boolean
  readonly model: string
  readonly stream_options?: { readonly include_usage?: boolean }
}

/** Answers as the router does: `model: "broken"` fails after its first text. */
function answer(body: Body): string {
  const info: ReplyInfo = {
    id: 'req_01k9zzzzzzzzzzzzzzzzzzzzzz',
    createdSeconds: 1_763_000_000,
    served: { model: 'mesh/claude-sonnet-4.5', provider: 'anthropic', protocol: 'anthropic_messages' },
    usageChunk: body.stream_options?.include_usage === true,
    excludeReasoning: false,
  }
  if (!body.stream) {
    const reply = createJsonReply(info)
    for (const event of EVENTS) reply.event(event)
    return reply.finish(closing)
  }
  const reply = createStreamReply(info)
  if (body.model === 'broken') {
    const begun = reply.event({ type: 'text', choice: 0, text: 'It is' })
    const error = { status: 502, message: 'Try again.', type: 'server_error', code: 'provider_error' }
    return begun + reply.fail({ error, receiptId: 'rcpt_1', usage: closing.usage })
  }
  const chunks = EVENTS.map((event) => KEEP_ALIVE_COMMENT + reply.event(event))
  return chunks.join('') + reply.finish(closing)
}

let server: Server
let baseURL = ''

before(async () => {
  server = createServer((request, response) => {
    let text = ''
    request.setEncoding('utf8')
    request.on('data', (part: string) => {
      text += part
    })
    request.on('end', () => {
      const body: Body = JSON.parse(text)
      response.setHeader('content-type', body.stream ? 'text/event-stream' : 'application/json')
      response.end(answer(body))
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  assert.ok(typeof address === 'object' && address)
  baseURL = `http://127.0.0.1:${address.port}/v1`
})

after(() => server.close())

/** The older major is used through the newer one's types: of all that is called here they say the same. */
function connectOlder(): OpenAI {
  const older: unknown = new OpenAI6({ apiKey: 'mesh_test_x', baseURL, maxRetries: 0 })
  return older as OpenAI
}

const CLIENTS = [
  {
    name: 'openai 7',
    connect: () => new OpenAI({ apiKey: 'mesh_test_x', baseURL, maxRetries: 0 }),
    APIError,
  },
  { name: 'openai 6', connect: connectOlder, APIError: APIError6 },
] as const
const ask = { model: 'auto', messages: [{ role: 'user' as const, content: 'Weather?' }] }

for (const { name, connect, APIError } of CLIENTS) {
  test(`${name}: the naive loop, with no options`, async () => {
    let text = ''
    let finishReason: string | null = null
    for await (const chunk of await connect().chat.completions.create({ ...ask, stream: true })) {
      const choice = chunk.choices[0]
      assert.ok(choice, 'every chunk has a choice')
      text += choice.delta.content ?? ''
      finishReason = choice.finish_reason
    }
    assert.equal(text, TEXT)
    assert.equal(finishReason, 'tool_calls')
  })

  test(`${name}: the .stream() helper puts the answer together`, async () => {
    const stream = connect().chat.completions.stream({ ...ask, stream_options: { include_usage: true } })
    const completion = await stream.finalChatCompletion()
    const message = completion.choices[0]?.message
    assert.equal(completion.id, 'req_01k9zzzzzzzzzzzzzzzzzzzzzz')
    assert.equal(completion.model, 'mesh/claude-sonnet-4.5')
    assert.equal(message?.content, TEXT)
    assert.deepEqual(
      message?.tool_calls?.map((call) =>
        call.type === 'function' ? [call.id, call.function.name, call.function.arguments] : [],
      ),
      [
        ['call_a', 'look', '{"at":"x"}'],
        ['call_01k9zzzzzzzzzzzzzzzzzzzzzz_0_1', 'touch', '{}'],
      ],
    )
    assert.equal((await stream.totalUsage()).total_tokens, 15)
  })

  test(`${name}: the whole answer`, async () => {
    const completion = await connect().chat.completions.create({ ...ask, stream: false })
    const message = completion.choices[0]?.message
    assert.equal(message?.content, TEXT)
    assert.equal(message?.tool_calls?.length, 2)
    assert.equal(completion.usage?.total_tokens, 15)
    assert.equal(Reflect.get(message ?? {}, 'reasoning'), 'Let me see.')
    assert.deepEqual(Reflect.get(message ?? {}, 'reasoning_details'), [
      {
        type: 'reasoning.text',
        text: 'Let me see.',
        signature: 'c2ln',
        format: 'anthropic-claude-v1',
        index: 0,
      },
    ])
    assert.equal(Reflect.get(completion.usage ?? {}, 'cost'), 0.008775)
  })

  test(`${name}: an error chunk throws, and carries the receipt`, async () => {
    const isOurs = (error: unknown): boolean => {
      assert.ok(error instanceof APIError)
      assert.equal(error.code, 'provider_error')
      const metadata: unknown = Reflect.get(Object(error.error), 'metadata')
      assert.equal(Reflect.get(Object(metadata), 'receipt_id'), 'rcpt_1')
      return true
    }
    let text = ''
    await assert.rejects(async () => {
      const stream = await connect().chat.completions.create({ ...ask, model: 'broken', stream: true })
      for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? ''
    }, isOurs)
    assert.equal(text, 'It is')
    const helper = connect().chat.completions.stream({ ...ask, model: 'broken' })
    await assert.rejects(helper.finalChatCompletion(), isOurs)
  })
}
