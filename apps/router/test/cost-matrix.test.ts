import assert from 'node:assert/strict'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, test } from 'node:test'
import type { TokenBuckets } from '@mesh/catalog/token-buckets.ts'
import { assertRecordsAgree, nano, requestIdOf } from './support/calls.ts'
import { startTestRouter, type TestAccount, type TestRouter } from './support/test-router.ts'
import {
  CHAT,
  CHAT_IN_X_GROQ,
  CHAT_ON_FINISH,
  COHERE,
  CONVERSE,
  GEMINI,
  MESSAGES,
  MESSAGES_AT_END,
  MESSAGES_CUMULATIVE,
  RESPONSES,
  type Report,
  type Wire,
  XAI,
} from './support/usage-wires.ts'

/*
 * What a call costs, from a provider's own report to the event, the ledger and the receipt: every way in which
 * providers count, in every shape in which callers ask, whole and streamed. The sums are made here from the list
 * prices as they are published; none of MESH's own arithmetic takes part.
 */

type Tokens = Partial<TokenBuckets>
type Prices = { readonly [Bucket in keyof TokenBuckets]?: string }

interface Case {
  readonly name: string
  readonly model: string
  readonly wire: Wire
  readonly report: Report
  readonly tokens: Tokens
  /** USD per million tokens. */
  readonly prices: Prices
  /** How long the prompt is; as usual where it is not said. */
  readonly promptBytes?: number
}

const PROMPT_BYTES = 8_000
const MARKUP_BASIS_POINTS = 550n

const GPT: Prices = { input: '0.15', cacheRead: '0.075', cacheWrite5m: '0.15', output: '0.6' }
const GPT_READ = {
  model: 'mesh/gpt-4o-mini',
  report: {
    ...{ prompt_tokens: 2_001, completion_tokens: 307, total_tokens: 2_308 },
    prompt_tokens_details: { cached_tokens: 1_024 },
  },
  tokens: { input: 977, cacheRead: 1_024, output: 307 },
  prices: GPT,
}
const CLAUDE: Prices = {
  ...{ input: '3', cacheRead: '0.3', cacheWrite5m: '3.75', cacheWrite1h: '6', output: '15' },
}
const CLAUDE_READ = {
  model: 'mesh/claude-sonnet-4.5',
  report: { input_tokens: 401, cache_read_input_tokens: 603, output_tokens: 307 },
  tokens: { input: 401, cacheRead: 603, output: 307 },
  prices: CLAUDE,
}
const CLAUDE_SPLIT = {
  ...CLAUDE_READ,
  report: {
    ...{ ...CLAUDE_READ.report, cache_creation_input_tokens: 700 },
    cache_creation: { ephemeral_5m_input_tokens: 300, ephemeral_1h_input_tokens: 400 },
  },
  tokens: { ...CLAUDE_READ.tokens, cacheWrite5m: 300, cacheWrite1h: 400 },
}
const CLAUDE_TOTAL = {
  ...CLAUDE_READ,
  report: { ...CLAUDE_READ.report, cache_creation_input_tokens: 700 },
  tokens: { ...CLAUDE_READ.tokens, cacheWrite5m: 700 },
}
/** Bedrock states no price of its own for writes of an hour. */
const CONVERSE_PRICES: Prices = { ...CLAUDE, cacheWrite1h: '3.75' }
const converseReport = (more: Report): Report => ({
  ...{ inputTokens: 401, outputTokens: 307, cacheReadInputTokens: 603, cacheWriteInputTokens: 700 },
  ...{ totalTokens: 2_011, ...more },
})
const GEMINI_READ = {
  promptTokenCount: 2_001,
  cachedContentTokenCount: 1_024,
  candidatesTokenCount: 307,
  thoughtsTokenCount: 100,
  totalTokenCount: 2_408,
}

const CASES: readonly Case[] = [
  { name: 'OpenAI, a read', wire: CHAT, ...GPT_READ },
  { name: 'OpenAI, a read, told on the chunk that finishes', wire: CHAT_ON_FINISH, ...GPT_READ },
  { name: 'OpenAI, a read, told as Groq does', wire: CHAT_IN_X_GROQ, ...GPT_READ },
  {
    ...{ ...GPT_READ, name: 'OpenAI, a write that has no price of its own', wire: CHAT },
    report: {
      ...GPT_READ.report,
      prompt_tokens_details: { cached_tokens: 1_024, cache_write_tokens: 500 },
    },
    tokens: { input: 477, cacheRead: 1_024, cacheWrite5m: 500, output: 307 },
  },
  {
    ...{ name: 'xAI, thought counted beside what was said', model: 'mesh/grok-4.3', wire: XAI },
    report: {
      ...{ prompt_tokens: 2_001, completion_tokens: 307, total_tokens: 2_508 },
      prompt_tokens_details: { cached_tokens: 1_024 },
      completion_tokens_details: { reasoning_tokens: 200 },
    },
    tokens: { input: 977, cacheRead: 1_024, output: 307, reasoning: 200 },
    prices: { input: '1.25', cacheRead: '0.2', output: '2.5', reasoning: '2.5' },
  },
  {
    ...{ name: 'OpenAI in Responses, thought counted within', model: 'mesh/gpt-5.5', wire: RESPONSES },
    report: {
      ...{ input_tokens: 2_001, output_tokens: 307, total_tokens: 2_308 },
      input_tokens_details: { cached_tokens: 1_024 },
      output_tokens_details: { reasoning_tokens: 64 },
    },
    tokens: { input: 977, cacheRead: 1_024, output: 243, reasoning: 64 },
    prices: { input: '5', cacheRead: '0.5', output: '30', reasoning: '30' },
  },
  ...(
    [
      ['at its start', MESSAGES],
      ['at its start, and once more at its end', MESSAGES_CUMULATIVE],
      ['at its end', MESSAGES_AT_END],
    ] as const
  ).flatMap(([when, wire]) => [
    { name: `Anthropic, a read, told ${when}`, wire, ...CLAUDE_READ },
    { name: `Anthropic, writes without their split, told ${when}`, wire, ...CLAUDE_TOTAL },
  ]),
  { name: 'Anthropic, writes of both kinds, told at its start', wire: MESSAGES, ...CLAUDE_SPLIT },
  {
    name: 'Anthropic, writes of both kinds, their total at its end',
    wire: MESSAGES_CUMULATIVE,
    ...CLAUDE_SPLIT,
  },
  { name: 'Anthropic, writes of both kinds, told at its end', wire: MESSAGES_AT_END, ...CLAUDE_SPLIT },
  {
    ...{
      name: 'Gemini, a read and thought',
      model: 'mesh/gemini-2.5-flash',
      wire: GEMINI,
      report: GEMINI_READ,
    },
    tokens: { input: 977, cacheRead: 1_024, output: 307, reasoning: 100 },
    prices: { input: '0.3', cacheRead: '0.03', output: '2.5', reasoning: '2.5' },
  },
  {
    ...{ name: 'Bedrock, writes of both kinds', model: 'mesh/claude-sonnet-4.5', wire: CONVERSE },
    report: converseReport({
      cacheDetails: [
        { ttl: '5m', inputTokens: 300 },
        { ttl: '1h', inputTokens: 400 },
      ],
    }),
    ...{ tokens: CLAUDE_SPLIT.tokens, prices: CONVERSE_PRICES },
  },
  {
    ...{ name: 'Bedrock, writes without their split', model: 'mesh/claude-sonnet-4.5', wire: CONVERSE },
    ...{ report: converseReport({}), tokens: CLAUDE_TOTAL.tokens, prices: CONVERSE_PRICES },
  },
  {
    ...{
      name: 'Cohere, what is billed and not what its templates add',
      model: 'mesh/command-a',
      wire: COHERE,
    },
    report: {
      billed_units: { input_tokens: 1_900, output_tokens: 300 },
      ...{ tokens: { input_tokens: 2_001, output_tokens: 307 }, cached_tokens: 512 },
    },
    ...{ tokens: { input: 1_900, output: 300 }, prices: { input: '2.5', output: '10' } },
  },
]

/** A tier holds for strictly more than its boundary, cached tokens among them, and then for all of the call. */
const TIERS: readonly Case[] = [
  ...([272_000, 272_001] as const).map((input) => ({
    ...{ name: `OpenAI in Responses at ${input}`, model: 'mesh/gpt-5.5', wire: RESPONSES },
    report: {
      ...{ input_tokens: input, output_tokens: 307, total_tokens: input + 307 },
      input_tokens_details: { cached_tokens: 100_000 },
    },
    tokens: { input: input - 100_000, cacheRead: 100_000, output: 307 },
    prices:
      input === 272_000
        ? { input: '5', cacheRead: '0.5', output: '30' }
        : { input: '10', cacheRead: '1', output: '45' },
    promptBytes: 900_000,
  })),
  ...([200_000, 200_001] as const).map((input) => ({
    ...{ name: `Gemini at ${input}`, model: 'mesh/gemini-2.5-pro', wire: GEMINI },
    report: {
      ...{ promptTokenCount: input, cachedContentTokenCount: 100_000 },
      ...{ candidatesTokenCount: 307, totalTokenCount: input + 307 },
    },
    tokens: { input: input - 100_000, cacheRead: 100_000, output: 307 },
    prices:
      input === 200_000
        ? { input: '1.25', cacheRead: '0.125', output: '10' }
        : { input: '2.5', cacheRead: '0.25', output: '15' },
    promptBytes: 800_000,
  })),
]

/** How callers ask. */
const SHAPES = [
  {
    path: '/v1/chat/completions',
    bodyOf: (prompt: string) => ({ messages: [{ role: 'user', content: prompt }], max_tokens: 1_000 }),
  },
  { path: '/v1/responses', bodyOf: (prompt: string) => ({ input: prompt, max_output_tokens: 1_000 }) },
  {
    path: '/v1/messages',
    bodyOf: (prompt: string) => ({ messages: [{ role: 'user', content: prompt }], max_tokens: 1_000 }),
  },
] as const

let router: TestRouter
let account: TestAccount
let stopProviders: () => Promise<void>
/** The case that is asked for at the moment. */
let current: Case | undefined

before(async () => {
  const server = createServer((request, response) => void answer(request, response))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  stopProviders = () => new Promise((resolve) => server.close(() => resolve()).closeAllConnections())
  router = await startTestRouter({
    environment: {
      ...{ OPENAI_API_KEY: 'sk-x', ANTHROPIC_API_KEY: 'sk-ant-x', GEMINI_API_KEY: 'x', XAI_API_KEY: 'x' },
      ...{ COHERE_API_KEY: 'x', AWS_BEARER_TOKEN_BEDROCK: 'x', AWS_REGION: 'us-east-1' },
      ...{ MESH_OPENAI_BASE_URL: `${url}/v1`, MESH_ANTHROPIC_BASE_URL: url, MESH_XAI_BASE_URL: `${url}/v1` },
      ...{ MESH_GOOGLE_BASE_URL: `${url}/v1beta`, MESH_COHERE_BASE_URL: `${url}/v2` },
      MESH_AMAZON_BEDROCK_BASE_URL: url,
    },
    policy: { pricing: { markupBasisPoints: Number(MARKUP_BASIS_POINTS) } },
  })
  account = await router.account({ creditUsd: '1000.00', livemode: true })
})
after(async () => {
  await router.stop()
  await stopProviders()
})

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  let body = ''
  for await (const chunk of request) body += chunk
  const path = new URL(request.url ?? '', 'http://localhost').pathname
  if (!current?.wire.path.test(path)) {
    response.writeHead(404).end()
    return
  }
  const { wire, report } = current
  const streams = /converse-stream$|streamGenerateContent$/.test(path) || JSON.parse(body).stream === true
  response.writeHead(200, {
    'content-type': streams ? (wire.streamType ?? 'text/event-stream') : 'application/json',
  })
  response.end(streams ? wire.streamed(report) : wire.whole(report))
}

/** USD per million tokens as pico-USD a token. */
function pico(price: string): bigint {
  const [whole = '', fraction = ''] = price.split('.')
  return BigInt(whole + fraction.padEnd(6, '0'))
}

/** One exact sum, rounded up once to nano-USD. */
function sumNano({ tokens, prices }: Case, sold: (pico: bigint) => bigint): bigint {
  const sum = Object.entries(tokens).reduce((total, [bucket, count]) => {
    const price = prices[bucket as keyof Prices]
    assert.ok(price !== undefined, bucket)
    return total + BigInt(count) * sold(pico(price))
  }, 0n)
  return (sum + 999n) / 1_000n
}

async function assertCharged(asked: Case, path: string, body: object): Promise<void> {
  current = asked
  const provider = { only: [asked.wire.provider] }
  const answered = await router.request('POST', path, {
    key: account.key,
    body: { model: asked.model, provider, ...body },
  })
  const where = `${path} ${answered.text.slice(-600)}`
  assert.equal(answered.status, 200, where)
  const event = await assertRecordsAgree(router, account, requestIdOf(answered))
  assert.equal(event.billingReason, 'completed', where)
  assert.deepEqual(event.usageFlags, [], where)
  assert.deepEqual(nonZero(event.tokens), asked.tokens, where)
  const upstreamNano = sumNano(asked, (price) => price)
  const totalNano = sumNano(asked, (price) => (price * (10_000n + MARKUP_BASIS_POINTS)) / 10_000n)
  assert.equal(nano(event.cost.upstreamCostUsd), upstreamNano, where)
  assert.equal(nano(event.cost.totalUsd), totalNano, where)
  // The caller is told the same, wherever its shape has it.
  const told = [...answered.text.matchAll(/"total":"([0-9.]+)"/g)].at(-1)?.[1]
  assert.equal(nano(told ?? ''), totalNano, where)
}

function nonZero(tokens: TokenBuckets): Tokens {
  return Object.fromEntries(Object.entries(tokens).filter(([, count]) => count !== 0))
}

for (const asked of CASES) {
  test(`peer bug 10: ${asked.name}: charged once and exactly, in every shape`, async () => {
    for (const { path, bodyOf } of SHAPES) {
      for (const stream of [false, true]) {
        await assertCharged(asked, path, { ...bodyOf('word '.repeat(PROMPT_BYTES / 5)), stream })
      }
    }
  })
}

for (const asked of TIERS) {
  test(`a tier begins above its boundary: ${asked.name}, in every shape`, async () => {
    const prompt = 'word '.repeat((asked.promptBytes ?? PROMPT_BYTES) / 5)
    for (const { path, bodyOf } of SHAPES)
      await assertCharged(asked, path, { ...bodyOf(prompt), stream: true })
  })
}
