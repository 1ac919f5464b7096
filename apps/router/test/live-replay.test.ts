import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import Anthropic from '@anthropic-ai/sdk'
import { parseUsd } from '@mesh/catalog/money.ts'
import OpenAI from 'openai'
import type { ChatCompletion, ChatCompletionCreateParams } from 'openai/resources/chat/completions'
import { type RecordedCall, recordedChatCall, recordedMessagesCall } from './support/recorded-calls.ts'
import {
  conversationDigest,
  noTranscripts,
  type RecordedExchange,
  type ReplayServer,
  recordedExchanges,
  startReplayServer,
} from './support/replay-server.ts'
import { startTestRouter, type TestAccount, type TestRouter } from './support/test-router.ts'

/*
 * Live keys reach what speaks a provider's protocol at its base URL. Here that is a server that replays what the real
 * hosts once answered. What a caller of MESH must see is what the vendor's own client sees in the same record.
 */

const OPENAI_CREDENTIAL = 'sk-credential-of-the-router-at-openai'
const ANTHROPIC_CREDENTIAL = 'sk-ant-credential-of-the-router-at-anthropic'
const CREDIT_USD = '5000.00'
const END_USER = 'alice@example.com'

/** One answer, whoever's client read it. */
interface Seen {
  readonly text: string
  readonly reasoning: string
  readonly calls: readonly { readonly id: string; readonly name: string; readonly arguments: unknown }[]
  readonly finish: string | null
  readonly usage: {
    readonly input: number
    readonly cached: number
    readonly output: number
    readonly reasoning: number
  }
}

interface Vendor {
  readonly provider: 'openai' | 'anthropic'
  readonly path: string
  readonly callOf: (exchange: RecordedExchange) => RecordedCall
  /** What the vendor's own client makes of the record. */
  readonly judge: (exchange: RecordedExchange, replay: ReplayServer) => Promise<Seen>
  readonly assertSent: (sent: Sent, recorded: Sent) => void
}

interface Sent {
  readonly [key: string]: unknown
}

interface Setup {
  readonly router: TestRouter
  readonly replay: ReplayServer
  readonly account: TestAccount
  readonly client: OpenAI
  readonly exchanges: readonly RecordedExchange[]
}

const OPENAI: Vendor = {
  provider: 'openai',
  path: '/v1/chat/completions',
  callOf: recordedChatCall,
  async judge({ requestBody }, replay) {
    const client = new OpenAI({ baseURL: replay.baseUrl('openai'), apiKey: 'judge', maxRetries: 0 })
    return seenInChat(await completionOf(client, requestBody as unknown as ChatCompletionCreateParams))
  },
  assertSent(sent, recorded) {
    assert.equal(sent.store, false)
    assert.deepEqual(sent.tools, recorded.tools)
    assert.deepEqual(sent.response_format, recorded.response_format)
    assert.equal(sent.stream, recorded.stream === true)
    assert.match(String(sent.user), /^[\w-]{32}$/)
    assert.equal(conversationDigest(sent), conversationDigest(recorded))
  },
}

const ANTHROPIC: Vendor = {
  provider: 'anthropic',
  path: '/v1/messages',
  callOf: recordedMessagesCall,
  async judge({ requestBody }, replay) {
    const client = new Anthropic({
      baseURL: replay.baseUrl('anthropic'),
      apiKey: 'judge',
      maxRetries: 0,
      timeout: 60_000,
    })
    // The record is named by the test, so the model does not count; the client warns of old ones.
    const body = { ...requestBody, model: 'any' } as unknown as Anthropic.MessageCreateParamsNonStreaming
    const message =
      requestBody.stream === true
        ? await client.messages.stream(body).finalMessage()
        : await client.messages.create(body)
    return seenInMessage(message)
  },
  assertSent(sent, recorded) {
    assert.deepEqual(toolNames(sent), toolNames(recorded))
    assert.equal(sent.max_tokens, recorded.max_tokens)
    assert.equal(sent.stream, recorded.stream === true)
    assert.match(String(Reflect.get(Object(sent.metadata), 'user_id')), /^[\w-]{32}$/)
    // A schema that the endpoint does not take is asked for in words, which the record does not have.
    const asksInWords = Reflect.has(Object(recorded.output_config), 'format')
    if (!asksInWords) assert.equal(conversationDigest(sent), conversationDigest(inTurns(recorded)))
  },
}

/**
 * The same conversation as MESH sends it: what the system says is put together, and messages of one role that follow
 * each other are one turn, as Anthropic itself reads them.
 */
function inTurns({ system, messages }: Sent): Sent {
  const said = blocksOf(system)
  const turns: { readonly role: unknown; readonly content: unknown[] }[] = []
  for (const { role, content } of Array.isArray(messages) ? messages : []) {
    const last = turns.at(-1)
    if (role === 'system') said.push(...blocksOf(content))
    else if (last?.role === role) last?.content.push(...blocksOf(content))
    else turns.push({ role, content: blocksOf(content) })
  }
  return { system: said, messages: turns }
}

function blocksOf(content: unknown): unknown[] {
  if (content === undefined) return []
  return Array.isArray(content) ? [...content] : [{ type: 'text', text: content }]
}

function toolNames({ tools }: Sent): readonly unknown[] {
  return Array.isArray(tools) ? tools.map(({ name, input_schema }) => [name, input_schema]) : []
}

async function completionOf(client: OpenAI, params: ChatCompletionCreateParams): Promise<ChatCompletion> {
  if (params.stream !== true) return await client.chat.completions.create({ ...params, stream: false })
  const options = { stream_options: { include_usage: true } }
  return await client.chat.completions.stream({ ...params, ...options, stream: true }).finalChatCompletion()
}

function seenInChat({ choices, usage }: ChatCompletion): Seen {
  const [choice] = choices
  assert.ok(choice && usage)
  const { message } = choice
  return {
    text: message.content ?? '',
    reasoning: Reflect.get(message, 'reasoning') ?? '',
    calls: (message.tool_calls ?? []).map((call) => {
      assert.equal(call.type, 'function')
      return {
        id: call.id,
        name: call.function.name,
        arguments: JSON.parse(call.function.arguments || '{}'),
      }
    }),
    finish: choice.finish_reason,
    usage: {
      input: usage.prompt_tokens,
      cached: usage.prompt_tokens_details?.cached_tokens ?? 0,
      output: usage.completion_tokens,
      reasoning: usage.completion_tokens_details?.reasoning_tokens ?? 0,
    },
  }
}

const FINISH_REASONS: Readonly<Record<string, string>> = {
  end_turn: 'stop',
  stop_sequence: 'stop',
  max_tokens: 'length',
  tool_use: 'tool_calls',
  refusal: 'content_filter',
}

function seenInMessage({ content, stop_reason, usage }: Anthropic.Message): Seen {
  return {
    text: content.map((block) => (block.type === 'text' ? block.text : '')).join(''),
    reasoning: content.map((block) => (block.type === 'thinking' ? block.thinking : '')).join(''),
    calls: content.flatMap((block) =>
      block.type === 'tool_use' ? [{ id: block.id, name: block.name, arguments: block.input }] : [],
    ),
    finish: FINISH_REASONS[stop_reason ?? ''] ?? null,
    usage: {
      input:
        usage.input_tokens + (usage.cache_read_input_tokens ?? 0) + (usage.cache_creation_input_tokens ?? 0),
      cached: usage.cache_read_input_tokens ?? 0,
      output: usage.output_tokens,
      reasoning: Reflect.get(Object(Reflect.get(usage, 'output_tokens_details')), 'thinking_tokens') ?? 0,
    },
  }
}

/** A router with credentials for the replay server, and an account with live credit; skips where nothing is recorded. */
async function setUp(t: TestContext, { provider, path }: Vendor): Promise<Setup | undefined> {
  const all = recordedExchanges(provider)
  if (!all) {
    t.skip(noTranscripts)
    return undefined
  }
  const exchanges = all.filter((exchange) => exchange.path === path)
  const replay = await startReplayServer({ exchanges, chunkBytes: 1_021 })
  const router = await startTestRouter({
    environment: {
      OPENAI_API_KEY: OPENAI_CREDENTIAL,
      ANTHROPIC_API_KEY: ANTHROPIC_CREDENTIAL,
      MESH_OPENAI_BASE_URL: replay.baseUrl('openai'),
      MESH_ANTHROPIC_BASE_URL: replay.baseUrl('anthropic'),
    },
    // All that a model can write is held at once: then MESH streams from the provider only where its caller streams.
    policy: { holds: { outputSliceTokens: 200_000 } },
  })
  t.after(async () => {
    await router.stop()
    await replay.close()
  })
  const account = await router.account({ livemode: true, creditUsd: CREDIT_USD })
  assert.match(account.key, /^mesh_live_/)
  const client = new OpenAI({ baseURL: router.baseUrl, apiKey: account.key, maxRetries: 0 })
  return { router, replay, account, client, exchanges }
}

/** The provider got its own credential, and nothing that belongs to the caller. */
function assertCredential({ replay, account }: Setup, { provider }: Vendor): Sent {
  const received = replay.received.at(-1)
  assert.ok(received)
  const { headers, json } = received
  if (provider === 'openai') assert.equal(headers.authorization, `Bearer ${OPENAI_CREDENTIAL}`)
  else assert.equal(headers['x-api-key'], ANTHROPIC_CREDENTIAL)
  const everything = JSON.stringify([headers, json])
  for (const secret of [account.key, account.keyId, account.id, END_USER])
    assert.ok(!everything.includes(secret))
  return json
}

/** The call is a live one, charged with live credit, at the rates of its receipt. */
async function chargedFor({ router, account }: Setup, id: string): Promise<bigint> {
  const read = async (path: string) => (await router.request('GET', path, { key: account.key })).json
  const event = await read(`/v1/logs/${id}`)
  assert.equal(event.livemode, true)
  const { livemode, receipt } = await read(`/v1/receipts/${event.receiptId}`)
  assert.equal(livemode, true)
  assert.equal(receipt.livemode, true)
  assert.equal(receipt.totalUsd, event.cost.totalUsd)
  if (receipt.pricesUsdPerMillion) {
    let pico = 0n
    for (const [bucket, tokens] of Object.entries<number>(receipt.tokens)) {
      const perMillion = parseUsd(receipt.pricesUsdPerMillion[bucket])
      assert.ok(perMillion !== undefined)
      // Nano-USD per million tokens are a thousandth of pico-USD per token.
      pico += (BigInt(tokens) * perMillion) / 1_000n
    }
    assert.equal(parseUsd(receipt.totalUsd), (pico + 999n) / 1_000n)
  }
  return parseUsd(event.cost.totalUsd) ?? -1n
}

async function replayAnswer(setup: Setup, vendor: Vendor, exchange: RecordedExchange, call: RecordedCall) {
  assert.ok(call.ok)
  const { replay, client } = setup
  replay.answerNextWith(exchange.name)
  const expected = await vendor.judge(exchange, replay)
  const receivedBefore = replay.received.length
  replay.answerNextWith(exchange.name)
  const completion = await completionOf(client, { ...call.params, user: END_USER })
  assert.equal(replay.received.length, receivedBefore + 1)
  vendor.assertSent(assertCredential(setup, vendor), exchange.requestBody)
  assert.deepEqual(seenInChat(completion), expected)
  return await chargedFor(setup, completion.id)
}

const CODES: Readonly<Record<number, readonly [status: number, code: string]>> = {
  400: [400, 'invalid_request'],
  404: [502, 'provider_error'],
}

async function replayError(setup: Setup, vendor: Vendor, exchange: RecordedExchange, call: RecordedCall) {
  assert.ok(call.ok)
  setup.replay.answerNextWith(exchange.name)
  const error = await completionOf(setup.client, { ...call.params, user: END_USER }).then(
    () => undefined,
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof OpenAI.APIError)
  assertCredential(setup, vendor)
  assert.deepEqual([error.status, error.code], CODES[exchange.status])
  // None of the provider's own words come through.
  const words = Reflect.get(Object(JSON.parse(exchange.responseBytes.toString()).error), 'message')
  assert.ok(!error.message.includes(words))
  return await chargedFor(setup, error.requestID ?? '')
}

for (const vendor of [OPENAI, ANTHROPIC]) {
  test(`what ${vendor.provider} once answered reaches a caller of MESH as it was`, async (t) => {
    const setup = await setUp(t, vendor)
    if (!setup) return
    const leftOut = new Map<string, number>()
    const wrong: string[] = []
    let spentNano = 0n
    let replayed = 0
    for (const exchange of setup.exchanges) {
      const call = vendor.callOf(exchange)
      if (!call.ok) {
        leftOut.set(call.reason, (leftOut.get(call.reason) ?? 0) + 1)
        continue
      }
      const replayIt = exchange.status === 200 ? replayAnswer : replayError
      try {
        spentNano += await replayIt(setup, vendor, exchange, call)
        replayed += 1
      } catch (error) {
        wrong.push(`${exchange.name}: ${error instanceof Error ? error.message : String(error)}`)
      }
    }
    t.diagnostic(`${vendor.provider}: ${replayed} of ${setup.exchanges.length} recorded chat exchanges`)
    for (const [reason, count] of leftOut) t.diagnostic(`left out ${count}: ${reason}`)
    assert.deepEqual(wrong, [])
    assert.ok(replayed > setup.exchanges.length / 3)

    const { router, account } = setup
    const me = await router.request('GET', '/v1/accounts/me', { key: account.key })
    assert.equal(parseUsd(me.json.balanceUsd), (parseUsd(CREDIT_USD) ?? 0n) - spentNano)
    assert.equal(me.json.heldUsd, '0.000000000')
    assert.equal(me.json.test.balanceUsd, '0.000000000')
  })
}

test('what a caller may not outsource is refused before a byte of it leaves', async (t) => {
  const setup = await setUp(t, OPENAI)
  if (!setup) return
  let refused = 0
  for (const { requestBody } of setup.exchanges) {
    if (!('moderation' in requestBody) && !('web_search_options' in requestBody)) continue
    const { status, json } = await setup.router.request('POST', '/v1/chat/completions', {
      key: setup.account.key,
      body: { ...requestBody, model: 'gpt-4o-mini' },
    })
    assert.equal(status, 400)
    assert.equal(json.error.code, 'unsupported_parameter')
    refused += 1
  }
  assert.ok(refused > 0)
  assert.equal(setup.replay.received.length, 0)
})

const HELLO = { model: 'mesh/gpt-4o-mini', messages: [{ role: 'user' as const, content: 'Hello' }] }

test('a live account without credit gets 402, and nothing is sent', async (t) => {
  const replay = await startReplayServer({ exchanges: [] })
  const router = await startTestRouter({
    environment: { OPENAI_API_KEY: OPENAI_CREDENTIAL, MESH_OPENAI_BASE_URL: replay.baseUrl('openai') },
  })
  t.after(async () => {
    await router.stop()
    await replay.close()
  })
  const { key } = await router.account({ livemode: true, creditUsd: '0' })
  const { status, json } = await router.request('POST', '/v1/chat/completions', { key, body: HELLO })
  assert.equal(status, 402)
  assert.equal(json.error.code, 'insufficient_credits')
  assert.equal(replay.received.length, 0)
})

test('a live call to a provider without a credential is 404, and says what is missing', async (t) => {
  const router = await startTestRouter()
  t.after(() => router.stop())
  const { key } = await router.account({ livemode: true })
  const { status, json } = await router.request('POST', '/v1/chat/completions', { key, body: HELLO })
  assert.equal(status, 404)
  assert.equal(json.error.code, 'no_endpoint')
  assert.ok(json.error.metadata.excluded_by.includes('credential_missing'))
  assert.equal(json.error.metadata.endpoints['mesh/gpt-4o-mini@openai'], 'credential_missing')
})

test('a live key takes mesh_simulate for plain metadata', async (t) => {
  const setup = await setUp(t, OPENAI)
  if (!setup) return
  const { replay, client } = setup
  replay.answerNextWith('openai/test_valid_response.0')
  await client.chat.completions.create({ ...HELLO, metadata: { mesh_simulate: 'rate_limit' } })
  const received = replay.received.at(-1)
  assert.ok(received)
  assert.equal(received.headers['x-mesh-simulate'], undefined)
  assert.equal(received.json.metadata, undefined)
})
