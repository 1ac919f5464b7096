import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import OpenAI from 'openai'
import { verifyLedger } from '../src/ledger/verify.ts'
import { type Dictated, type DictatedUpstream, startDictatedUpstream } from './support/dictated-upstream.ts'
import { startTestRouter, type TestRouter } from './support/test-router.ts'

/*
 * JSON where the endpoint has no such format: asked for in words, looked at, and asked for once more where it is wrong.
 * Every call is made streamed and not.
 */

let upstream: DictatedUpstream
let mesh: TestRouter
let client: OpenAI
before(async () => {
  upstream = await startDictatedUpstream()
  const endpointOf = (upstreamModel: string) => ({
    ...{ provider: 'own', upstreamModel, prices: { input: '1', output: '2' } },
  })
  mesh = await startTestRouter({
    policy: {
      pricing: { markupBasisPoints: 0 },
      catalog: {
        providers: [{ id: 'own', baseUrl: upstream.baseUrl }],
        models: [
          { id: 'mesh/own-words', contextTokens: 32_000, endpoints: [endpointOf('words')] },
          {
            id: 'mesh/own-native',
            contextTokens: 32_000,
            jsonObject: true,
            endpoints: [endpointOf('native')],
          },
        ],
      },
    },
  })
  const { key } = await mesh.account({ livemode: true, scopes: ['chat', 'usage'] })
  client = new OpenAI({ baseURL: mesh.baseUrl, apiKey: key, maxRetries: 0 })
})
after(async () => {
  await mesh.stop()
  await upstream.close()
})

const OBJECT = { type: 'json_object' } as const
const CITY = {
  type: 'json_schema',
  json_schema: {
    name: 'city',
    schema: {
      type: 'object',
      properties: { name: { type: 'string' }, people: { type: 'integer' } },
      required: ['name', 'people'],
      additionalProperties: false,
    },
  },
} as const

interface Answer {
  readonly content: string
  readonly finish: string | null | undefined
  readonly total: string
  readonly tokens: readonly [input: number, output: number]
  readonly format: unknown
}

interface Wanted {
  readonly stream: boolean
  readonly format?: typeof OBJECT | typeof CITY
  readonly model?: string
  readonly maxTokens?: number
}

async function ask({
  stream,
  format = OBJECT,
  model = 'mesh/own-words',
  maxTokens = 1_000,
}: Wanted): Promise<Answer> {
  const body = {
    model,
    max_tokens: maxTokens,
    messages: [{ role: 'user', content: 'Name a city.' }],
    response_format: format,
  } satisfies OpenAI.Chat.ChatCompletionCreateParams
  let content = ''
  let finish: string | null | undefined
  let last: unknown
  if (stream) {
    for await (const chunk of await client.chat.completions.create({ ...body, stream: true })) {
      const [choice] = chunk.choices
      content += choice?.delta.content ?? ''
      finish = choice?.finish_reason ?? finish
      if (chunk.usage) last = chunk
    }
  } else {
    const completion = await client.chat.completions.create(body)
    content = completion.choices[0]?.message.content ?? ''
    finish = completion.choices[0]?.finish_reason
    last = completion
  }
  const { usage, routing } = JSON.parse(JSON.stringify(last))
  return {
    ...{ content, finish, total: usage.cost_details.total },
    tokens: [usage.prompt_tokens, usage.completion_tokens],
    format: routing.response_format,
  }
}

const emulated = (result: string) => ({ mode: 'emulated', result })
const RIGHT = '{"name":"Oslo","people":717710}'
const PROSE = 'The city of Oslo has 717710 people, and I like it.'
const FENCED = `Here you are:\n\`\`\`json\n${RIGHT}\n\`\`\`\nAnything else?`

interface Case {
  readonly name: string
  readonly says: readonly Dictated[]
  readonly wanted?: Omit<Wanted, 'stream'>
  readonly content: string
  readonly format: unknown
  /** What is charged, in tokens. */
  readonly tokens: readonly [input: number, output: number]
  readonly asked: number
}

const CASES: readonly Case[] = [
  {
    name: 'what is right is given out as it is',
    says: [{ text: RIGHT, usage: [100, 20] }],
    ...{ content: RIGHT, format: emulated('valid'), tokens: [100, 20], asked: 1 },
  },
  {
    name: 'what stands around it is taken away, at no further cost',
    says: [{ text: FENCED, usage: [100, 40] }],
    ...{ content: RIGHT, format: emulated('extracted'), tokens: [100, 40], asked: 1 },
  },
  {
    name: 'what is none is asked for once more, and both answers are charged',
    says: [
      { text: PROSE, usage: [100, 30] },
      { text: RIGHT, usage: [170, 20] },
    ],
    ...{ content: RIGHT, format: emulated('repaired'), tokens: [270, 50], asked: 2 },
  },
  {
    name: 'so is what does not fit its schema',
    says: [
      { text: '{"name":"Oslo","people":"many"}', usage: [150, 20] },
      { text: FENCED, usage: [200, 40] },
    ],
    wanted: { format: CITY },
    ...{ content: RIGHT, format: emulated('repaired'), tokens: [350, 60], asked: 2 },
  },
  {
    name: 'what stays wrong is given out and charged: no answer is to be had for nothing',
    says: [
      { text: PROSE, usage: [100, 30] },
      { text: 'I said so: Oslo.', usage: [170, 10] },
    ],
    ...{ content: 'I said so: Oslo.', format: emulated('invalid'), tokens: [270, 40], asked: 2 },
  },
  {
    name: 'where the second question fails, the first answer is there yet',
    says: [{ text: PROSE, usage: [100, 30] }, { status: 500 }],
    ...{ content: PROSE, format: emulated('invalid'), tokens: [100, 30], asked: 2 },
  },
  {
    name: 'half a document is not judged',
    says: [{ text: '{"name":"Os', finish: 'length', usage: [100, 5] }],
    ...{ content: '{"name":"Os', format: emulated('unchecked'), tokens: [100, 5], asked: 1 },
  },
  {
    name: 'without room in what is held there is no second question',
    says: [{ text: PROSE, usage: [100, 30] }],
    wanted: { maxTokens: 200 },
    ...{ content: PROSE, format: emulated('invalid'), tokens: [100, 30], asked: 1 },
  },
  {
    name: 'who has the format is trusted',
    says: [{ text: PROSE, usage: [100, 30] }],
    wanted: { model: 'mesh/own-native' },
    ...{ content: PROSE, format: { mode: 'native' }, tokens: [100, 30], asked: 1 },
  },
]

for (const { name, says, wanted, content, format, tokens, asked } of CASES) {
  for (const stream of [false, true]) {
    test(`${name}, ${stream ? 'streamed' : 'in one piece'}`, async () => {
      upstream.dictate(...says)
      const before = upstream.asked.length
      const answer = await ask({ stream, ...wanted })
      assert.equal(answer.content, content)
      assert.deepEqual(answer.format, format)
      assert.deepEqual(answer.tokens, tokens)
      // One dollar a million in, two out, and no mark-up: a micro-dollar is a token in.
      assert.equal(answer.total, `0.${String(tokens[0] + 2 * tokens[1]).padStart(6, '0')}000`)
      const requests = upstream.asked.slice(before)
      assert.equal(requests.length, asked)
      const [first, again] = requests
      if (again) {
        assert.deepEqual(again.messages.at(-2), { role: 'assistant', content: says[0]?.text })
        assert.equal(again.messages.length, (first?.messages.length ?? 0) + 2)
        assert.equal(again.max_tokens, 1_000 - (says[0]?.usage?.[1] ?? 0))
      }
    })
  }
}

test('what has left can be repaired no more, and is said to be wrong', async () => {
  upstream.dictate({ text: `${RIGHT} and so on` })
  const answer = await ask({ stream: true })
  assert.deepEqual([answer.content, answer.format], [`${RIGHT} and so on`, emulated('invalid')])
})

test('the record of a call says how its JSON came about', async () => {
  upstream.dictate({ text: PROSE }, { text: RIGHT })
  await ask({ stream: false })
  const { json } = await mesh.request('GET', '/v1/logs?limit=1', { key: String(client.apiKey) })
  assert.deepEqual(json.data[0].routing.response_format, emulated('repaired'))
})

test('every charge of these calls can be computed again from its record', async () => {
  for await (const { sentence } of verifyLedger(mesh.database)) assert.fail(sentence)
})
