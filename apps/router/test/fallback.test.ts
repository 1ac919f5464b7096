import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import OpenAI from 'openai'
import { z } from 'zod'
import { startTestRouter, type TestAccount, type TestRouter } from './support/test-router.ts'

const SONNET = 'mesh/claude-sonnet-4.5'
const OPUS = 'mesh/claude-opus-4.6'
const LLAMA = 'mesh/llama-4-maverick'
const GPT = 'mesh/gpt-4o-mini'
const GPT_OSS = 'mesh/gpt-oss-120b'
/** The hosts of `GPT_OSS`, cheapest first. */
const GPT_OSS_HOSTS = ['deepinfra', 'nearai', 'fireworks', 'groq', 'tinfoil']

const GPT_OSS_SMALL = 'mesh/gpt-oss-20b'
/** The hosts of `GPT_OSS_SMALL`, the cheapest first. */
const GPT_OSS_SMALL_HOSTS = ['deepinfra', 'groq', 'fireworks']

/** Faults that strike before a byte of content, with what the attempt is recorded as. */
const EARLY_FAULTS = {
  rate_limit: 'refused_unbilled/rate_limited',
  overloaded: 'refused_unbilled/overloaded',
  server_error: 'uncertain/server_error',
  timeout: 'uncertain/first_byte_timeout',
  html: 'uncertain/wrong_content_type',
  redirect: 'uncertain/server_error',
  // Anthropic's first event says that it is overloaded, OpenAI's that it failed.
  error_first: '',
} as const
/** Faults that strike half way through an answer. */
const LATE_FAULTS = {
  cut_stream: ['connection_cut', 'provider_error'],
  stall: ['idle_timeout', 'provider_timeout'],
  malformed: ['malformed', 'provider_error'],
  early_eof: ['stream_cut', 'provider_error'],
  error_mid: ['', 'provider_'],
  oversized: ['oversized', 'provider_error'],
  drip: ['idle_timeout', 'provider_timeout'],
} as const

const chain = z.array(
  z.object({
    model: z.string(),
    provider: z.string(),
    outcome: z.string(),
    reason: z.string().nullable(),
  }),
)
const closing = z.object({
  id: z.string(),
  model: z.string(),
  provider: z.string(),
  usage: z.object({ prompt_tokens: z.number(), cost_details: z.object({ total: z.string() }) }),
  routing: z.looseObject({ selected: z.object({ model: z.string(), provider: z.string() }), chain }),
})
type Closing = z.output<typeof closing>

interface Streamed {
  readonly text: string
  readonly finish: string | null | undefined
  readonly end: Closing
}

type Extras = Readonly<Record<string, unknown>>

let router: TestRouter
let account: TestAccount
let client: OpenAI

before(async () => {
  // Short, so that a provider that says nothing is left quickly; longer than what a busy machine needs to answer.
  const calls = {
    firstByteTimeoutMs: 1_000,
    idleTimeoutMs: 1_000,
    outputTimeoutMs: 1_500,
    deadlineMs: 10_000,
  }
  router = await startTestRouter({ policy: { calls } })
  account = await router.account({ creditUsd: '500.00' })
  client = connect(account)
})
after(() => router.stop())

function connect({ key }: TestAccount): OpenAI {
  return new OpenAI({ baseURL: router.baseUrl, apiKey: key, maxRetries: 0 })
}

function ask(model: string, extras: Extras = {}) {
  return { model, messages: [{ role: 'user' as const, content: 'Answer in JSON.' }], ...extras }
}

async function stream(body: ReturnType<typeof ask>, through: OpenAI = client): Promise<Streamed> {
  let text = ''
  let finish: string | null | undefined
  let last: unknown
  for await (const chunk of await through.chat.completions.create({ ...body, stream: true })) {
    text += chunk.choices[0]?.delta.content ?? ''
    finish = chunk.choices[0]?.finish_reason
    last = chunk
  }
  return { text, finish, end: closing.parse(last) }
}

async function rejection(answer: Promise<unknown>) {
  try {
    await answer
  } catch (error) {
    if (error instanceof OpenAI.APIError) return error
    throw error
  }
  throw new Error('the call was answered')
}

async function eventOf(id: string, { key }: TestAccount = account) {
  const { status, json } = await router.request('GET', `/v1/logs/${id}`, { key })
  assert.equal(status, 200)
  return json
}

/** What was booked for a call, by the account of the ledger that it was booked on. */
async function bookedFor(id: string): Promise<ReadonlyMap<string, bigint>> {
  const rows = await router.database.query
    .selectFrom('ledger_entries')
    .select(['ledger_account', 'amount_nano'])
    .where('call_id', '=', id as never)
    .execute()
  const booked = new Map<string, bigint>()
  for (const row of rows)
    booked.set(row.ledger_account, (booked.get(row.ledger_account) ?? 0n) + row.amount_nano)
  return booked
}

/** The words of a chain, as `model@provider outcome/reason`. */
function wordsOf(attempts: z.output<typeof chain>): string[] {
  return attempts.map(({ model, provider, outcome, reason }) =>
    reason === null ? `${model}@${provider} ${outcome}` : `${model}@${provider} ${outcome}/${reason}`,
  )
}

/** An answer has one upstream's bytes only, and its event tells the same story. */
async function assertServed(answer: Streamed, model: string, provider: string): Promise<void> {
  const { end } = answer
  assert.equal(end.model, model)
  assert.equal(end.provider, provider)
  assert.deepEqual(end.routing.selected, { model, provider })
  const last = end.routing.chain.at(-1)
  assert.deepEqual(last, { model, provider, outcome: 'served', reason: null })
  const event = await eventOf(end.id)
  assert.deepEqual(event.routing.chain, end.routing.chain)
  assert.deepEqual(
    event.attempts.map(({ model, provider, outcome, reason = null }: z.output<typeof chain>[number]) => ({
      model,
      provider,
      outcome,
      reason,
    })),
    end.routing.chain,
  )
  assert.equal(event.modelServed, model)
  assert.equal(event.provider, provider)
  assert.equal(event.cost.totalUsd, end.usage.cost_details.total)
}

/** The call that the product's own page shows. */
const SEED: Extras = {
  models: [OPUS, LLAMA],
  route: 'fallback',
  response_format: { type: 'json_object' },
}

test('the first model answers where nothing is in its way, as JSON', async () => {
  const answer = await stream(ask(SONNET, SEED))
  assert.equal(JSON.parse(answer.text).model, 'claude-sonnet-4-5-20250929')
  assert.equal(answer.finish, 'stop')
  assert.equal(answer.end.routing.chain.length, 1)
  await assertServed(answer, SONNET, 'anthropic')
})

test('the second answers a prompt that is too long for the first', async () => {
  // 220,000 tokens of text: more than the first model's context, less than the second's.
  const messages = [
    { role: 'user' as const, content: `${'All of this is a long story. '.repeat(30_400)} Answer in JSON.` },
  ]
  const answer = await stream({ ...ask(SONNET, SEED), messages })
  assert.equal(JSON.parse(answer.text).model, 'claude-opus-4-6')
  assert.deepEqual(wordsOf(answer.end.routing.chain), [
    `${SONNET}@anthropic request_fault/context_length`,
    `${OPUS}@anthropic served`,
  ])
  await assertServed(answer, OPUS, 'anthropic')
})

test('the second answers where the key may not use the first', async () => {
  const limited = await router.account({ creditUsd: '50.00', limits: { allowedModels: [OPUS, LLAMA] } })
  const { text, end } = await stream(ask(SONNET, SEED), connect(limited))
  assert.equal(JSON.parse(text).model, 'claude-opus-4-6')
  assert.deepEqual(wordsOf(end.routing.chain), [`${OPUS}@anthropic served`])
  const event = await eventOf(end.id, limited)
  assert.equal(event.modelRequested, SONNET)
  assert.equal(event.modelServed, OPUS)
})

test('the third answers where the providers of the other two cannot', async () => {
  const metadata = { mesh_simulate: 'anthropic=overloaded,amazon-bedrock=overloaded' }
  const answer = await stream(ask(SONNET, { ...SEED, metadata }))
  assert.equal(JSON.parse(answer.text).model, 'meta-llama/Llama-4-Maverick-17B-128E-Instruct-FP8')
  assert.deepEqual(wordsOf(answer.end.routing.chain), [
    `${SONNET}@anthropic refused_unbilled/overloaded`,
    `${SONNET}@amazon-bedrock refused_unbilled/overloaded`,
    `${OPUS}@anthropic refused_unbilled/overloaded`,
    `${OPUS}@amazon-bedrock refused_unbilled/overloaded`,
    `${LLAMA}@deepinfra served`,
  ])
  await assertServed(answer, LLAMA, 'deepinfra')
})

test('where all fail the answer is one error, and nothing is charged', async () => {
  const metadata = { mesh_simulate: 'overloaded' }
  const provider = { only: ['anthropic', 'deepinfra'] }
  const error = await rejection(stream(ask(SONNET, { ...SEED, metadata, provider })))
  assert.equal(error.status, 503)
  assert.equal(error.code, 'provider_overloaded')
  const event = await eventOf(error.requestID ?? '')
  assert.equal(event.attempts.length, 3)
  assert.equal(event.billingReason, 'upstream_error_not_billed')
  assert.equal(event.cost.totalUsd, '0.000000000')
})

for (const [first, provider] of [
  [SONNET, 'anthropic'],
  [GPT, 'openai'],
] as const) {
  /** One host of the first model and one of the second, whoever else may have them. */
  const hosts = { only: [provider, 'deepinfra'] }

  for (const [word, expected] of Object.entries(EARLY_FAULTS)) {
    test(`${provider}=${word}: the next one answers, and only it is paid`, async () => {
      const metadata = { mesh_simulate: `${provider}=${word}` }
      const alone = await stream(ask(LLAMA, { provider: hosts }))
      const body = ask(first, { models: [LLAMA], provider: hosts, metadata })
      for (const answer of await Promise.all([stream(body), whole(body)])) {
        const [failed, ...others] = answer.end.routing.chain
        assert.equal(others.length, 1)
        assert.ok(wordsOf(failed ? [failed] : [])[0]?.startsWith(`${first}@${provider} ${expected}`))
        assert.equal(answer.text.match(/Simulated answer from/g)?.length, 1)
        assert.match(answer.text, /^Simulated answer from meta-llama/)
        await assertServed(answer, LLAMA, 'deepinfra')
        const booked = await bookedFor(answer.end.id)
        // The caller pays for the one answer that it got; what a failed attempt may cost is carried by MESH.
        assert.equal(-(booked.get('customer') ?? 0n), nanoOf(answer.end))
        assert.equal(answer.end.usage.prompt_tokens, alone.end.usage.prompt_tokens)
        assert.equal((booked.get('absorbed') ?? 0n) !== 0n, failed?.outcome === 'uncertain')
      }
    })
  }

  for (const [word, [reason, code]] of Object.entries(LATE_FAULTS)) {
    test(`${provider}=${word}: an error chunk once content has left, the next one before`, async () => {
      const metadata = { mesh_simulate: `${provider}=${word}` }
      const body = ask(first, { models: [LLAMA], provider: hosts, metadata })
      let text = ''
      let id = ''
      const error = await rejection(
        (async () => {
          for await (const chunk of await client.chat.completions.create({ ...body, stream: true })) {
            text += chunk.choices[0]?.delta.content ?? ''
            id = chunk.id
          }
        })(),
      )
      assert.match(text, /^Simulated answer from (claude|gpt)/)
      assert.doesNotMatch(text, /llama/i)
      assert.ok(String(error.code).startsWith(code), String(error.code))
      const event = await eventOf(id)
      assert.equal(event.attempts.length, 1)
      assert.equal(event.attempts[0].outcome, 'uncertain')
      assert.ok(event.attempts[0].reason.startsWith(reason), event.attempts[0].reason)
      assert.equal(event.billingReason, 'upstream_error_not_billed')
      assert.equal(event.cost.totalUsd, '0.000000000')

      // Nothing has left for a caller who waits for the whole, so the next one can still answer.
      const answer = await whole(body)
      assert.match(answer.text, /^Simulated answer from meta-llama/)
      assert.equal(answer.end.routing.chain.length, 2)
      assert.equal(answer.end.routing.chain[0]?.outcome, 'uncertain')
      await assertServed(answer, LLAMA, 'deepinfra')
    })
  }

  test(`${provider}=slow, refusal, empty: these are answers, so nobody else is asked`, async () => {
    const asking = (word: string) =>
      ask(first, { models: [LLAMA], metadata: { mesh_simulate: `${provider}=${word}` } })
    const slow = await stream(asking(`slow,${provider}=tokens=4`))
    assert.match(slow.text, /^Simulated answer/)
    const refusal = await stream(asking('refusal'))
    const empty = await stream(asking('empty'))
    assert.equal(empty.text, '')
    assert.equal((await eventOf(empty.end.id)).billingReason, 'zero_completion_not_billed')
    for (const answer of [slow, refusal, empty]) await assertServed(answer, first, provider)
  })
}

async function whole(body: ReturnType<typeof ask>): Promise<Streamed> {
  const completion = await client.chat.completions.create({ ...body, stream: false })
  const [choice] = completion.choices
  return {
    text: choice?.message.content ?? '',
    finish: choice?.finish_reason,
    end: closing.parse(completion),
  }
}

function nanoOf({ usage }: Closing): bigint {
  return BigInt(usage.cost_details.total.replace('.', ''))
}

test('allow_fallbacks: false asks one provider, and no other', async () => {
  const metadata = { mesh_simulate: 'anthropic=overloaded' }
  const error = await rejection(
    stream(ask(SONNET, { ...SEED, metadata, provider: { allow_fallbacks: false } })),
  )
  assert.equal(error.code, 'provider_overloaded')
  assert.equal((await eventOf(error.requestID ?? '')).attempts.length, 1)
})

test('without a wish the cheapest host comes first, then the next', async () => {
  const all = await stream(ask(GPT_OSS))
  await assertServed(all, GPT_OSS, 'deepinfra')
  const down = await rejection(stream(ask(GPT_OSS, { metadata: { mesh_simulate: 'overloaded' } })))
  const { attempts } = await eventOf(down.requestID ?? '')
  assert.deepEqual(
    attempts.map(({ provider }: { provider: string }) => provider),
    GPT_OSS_HOSTS,
  )
})

test('every model that was named has its turn, however many hosts the others have, and is held for', async () => {
  const down = [...GPT_OSS_HOSTS, ...GPT_OSS_SMALL_HOSTS].map((provider) => `${provider}=overloaded`)
  const metadata = { mesh_simulate: down.join(',') }
  const models = [GPT_OSS_SMALL, OPUS]
  const { end } = await stream(ask(GPT_OSS, { models, metadata, max_tokens: 400 }))
  assert.deepEqual(wordsOf(end.routing.chain), [
    ...GPT_OSS_HOSTS.slice(0, 4).map((provider) => `${GPT_OSS}@${provider} refused_unbilled/overloaded`),
    `${GPT_OSS_SMALL}@${GPT_OSS_SMALL_HOSTS[0]} refused_unbilled/overloaded`,
    `${OPUS}@anthropic served`,
  ])
  const { usageFlags, receiptId, cost } = await eventOf(end.id)
  assert.deepEqual(usageFlags, [])
  // What it costs was held: the price is that of its tokens, and no part of it was MESH's for want of a hold.
  const { json } = await router.request('GET', `/v1/receipts/${receiptId}`, { key: account.key })
  const { tokens, pricesUsdPerMillion } = json.receipt
  const dollars = Object.entries<number>(tokens).map(
    ([bucket, count]) => (count * Number(pricesUsdPerMillion[bucket])) / 1e6,
  )
  assert.ok(Math.abs(dollars.reduce((sum, amount) => sum + amount, 0) - Number(cost.totalUsd)) < 1e-8)
})

test('a session is the way of a call, and no parameter that is dropped or that an endpoint could lack', async () => {
  const { end } = await stream(ask(GPT_OSS, { session_id: 'a', provider: { require_parameters: true } }))
  assert.equal(end.routing.dropped_params, undefined)
})

test('provider.order comes first, only and ignore narrow the choice', async () => {
  const order = ['tinfoil', 'nearai']
  const ordered = await stream(
    ask(GPT_OSS, { provider: { order }, metadata: { mesh_simulate: 'tinfoil=rate_limit' } }),
  )
  assert.deepEqual(wordsOf(ordered.end.routing.chain), [
    `${GPT_OSS}@tinfoil refused_unbilled/rate_limited`,
    `${GPT_OSS}@nearai served`,
  ])
  const only = await stream(ask(GPT_OSS, { provider: { only: ['groq'] } }))
  await assertServed(only, GPT_OSS, 'groq')
  const ignoring = await stream(ask(GPT_OSS, { provider: { ignore: ['deepinfra', 'nearai', 'groq'] } }))
  await assertServed(ignoring, GPT_OSS, 'fireworks')

  const nobody = await rejection(stream(ask(GPT_OSS, { provider: { only: ['xai'] } })))
  assert.equal(nobody.status, 404)
  assert.equal(nobody.code, 'no_endpoint')
  assert.deepEqual(metadataOf(nobody).excluded_by, ['provider_only'])
})

test('provider.max_price leaves out what is dearer', async () => {
  const capped = await stream(ask(SONNET, { models: [LLAMA], provider: { max_price: { prompt: 1 } } }))
  assert.deepEqual(wordsOf(capped.end.routing.chain), [`${LLAMA}@deepinfra served`])
  const nobody = await rejection(
    stream(ask(SONNET, { models: [LLAMA], provider: { max_price: { completion: '0.01' } } })),
  )
  assert.equal(nobody.code, 'no_endpoint')
  assert.ok(metadataOf(nobody).excluded_by.includes('max_price'))
})

test('require_parameters leaves out who would drop one, and keeps who takes it', async () => {
  const requiring = { provider: { require_parameters: true } }
  const tools = [{ type: 'function', function: { name: 'look', parameters: { type: 'object' } } }]
  const only = ['deepinfra']
  const error = await rejection(stream(ask(LLAMA, { provider: { ...requiring.provider, only }, tools })))
  assert.equal(error.code, 'no_endpoint')
  assert.ok(metadataOf(error).excluded_by.includes('parameters'))
  const dropping = await stream(ask(LLAMA, { provider: { only }, tools }))
  assert.deepEqual(dropping.end.routing.dropped_params, ['tools'])
  // Claude takes no seed and OpenAI does.
  const seeded = await stream(ask(SONNET, { ...requiring, models: [GPT], seed: 7 }))
  assert.deepEqual(wordsOf(seeded.end.routing.chain), [`${GPT}@openai served`])
})

function metadataOf(error: { readonly error: unknown }): { readonly excluded_by: readonly string[] } {
  return z.object({ metadata: z.looseObject({ excluded_by: z.array(z.string()) }) }).parse(error.error)
    .metadata
}

test('a call that outlasts its deadline ends with an error, and what had come is charged', async () => {
  const hasty = await startTestRouter({ policy: { calls: { deadlineMs: 1_500 } } })
  try {
    const caller = await hasty.account({ creditUsd: '5.00' })
    const through = new OpenAI({ baseURL: hasty.baseUrl, apiKey: caller.key, maxRetries: 0 })
    const metadata = { mesh_simulate: 'pace=100,tokens=2000' }
    let id = ''
    const error = await rejection(
      (async () => {
        const body = { ...ask(SONNET, { models: [LLAMA], metadata }), stream: true as const }
        for await (const chunk of await through.chat.completions.create(body)) id = chunk.id
      })(),
    )
    assert.equal(error.code, 'provider_timeout')
    const { json } = await hasty.request('GET', `/v1/logs/${id}`, { key: caller.key })
    assert.equal(json.billingReason, 'estimated_usage')
    assert.ok(Number(json.cost.totalUsd) > 0)
    // It is not the provider who failed.
    assert.deepEqual(
      json.attempts.map(({ provider, outcome }: { provider: string; outcome: string }) => [
        provider,
        outcome,
      ]),
      [['anthropic', 'served']],
    )
  } finally {
    await hasty.stop()
  }
})
