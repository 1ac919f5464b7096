import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import Anthropic from '@anthropic-ai/sdk'
import type { Endpoint } from '@mesh/catalog/catalog.ts'
import { loadCatalog } from '@mesh/catalog/load.ts'
import { promptCachingOf, sharesItsCache } from '@mesh/engine/prompt-caches.ts'
import { isSimulated } from '@mesh/simulator/providers.ts'
import { startSimulator } from '@mesh/simulator/server.ts'
import OpenAI from 'openai'
import { startTestRouter, type TestAccount, type TestRouter } from './support/test-router.ts'

/*
 * Providers cache the beginnings of prompts, for all who use one provider account: so for all accounts of MESH at once.
 * The simulators cache as their providers do.
 */

const CHAT_ENDPOINTS = loadCatalog()
  .models.filter(({ kind }) => kind === 'chat')
  .flatMap(({ endpoints }) => endpoints)

let mesh: TestRouter
let first: TestAccount
let second: TestAccount
before(async () => {
  mesh = await startTestRouter()
  first = await mesh.account({ creditUsd: '1000.00' })
  second = await mesh.account({ creditUsd: '1000.00' })
})
after(() => mesh.stop())

/** Long enough for every provider's cache, and different for every test. */
const longText = (about: string) =>
  `${about}: ${'the beginning of a prompt that is always the same; '.repeat(120)}`

interface Wishes {
  readonly minClass?: 'protected'
  readonly mode?: 'protected'
  readonly cacheKey?: string
}

function bodyFor({ model, provider, id }: Endpoint, about: string, wishes: Wishes) {
  const { minClass, mode, cacheKey } = wishes
  return {
    model,
    max_tokens: 300,
    messages: [
      {
        role: 'system',
        // Only some of them ask for such a mark; the others leave it out.
        content: [
          { type: 'text', text: longText(`${about} ${id}`), cache_control: { type: 'ephemeral', ttl: '5m' } },
        ],
      },
      { role: 'user', content: 'What of it?' },
    ],
    provider: { only: [provider], allow_fallbacks: false },
    ...(minClass || mode
      ? { privacy: { ...(minClass ? { min_class: minClass } : {}), ...(mode ? { mode } : {}) } }
      : {}),
    ...(cacheKey === undefined ? {} : { prompt_cache_key: cacheKey }),
  }
}

async function ask({ key }: TestAccount, endpoint: Endpoint, about: string, wishes: Wishes = {}) {
  return mesh.request('POST', '/v1/chat/completions', { key, body: bodyFor(endpoint, about, wishes) })
}

async function cachedTokens(account: TestAccount, endpoint: Endpoint, about: string, wishes: Wishes = {}) {
  const { status, json, text } = await ask(account, endpoint, about, wishes)
  assert.equal(status, 200, `${endpoint.id}: ${text}`)
  return json.usage.prompt_tokens_details?.cached_tokens ?? 0
}

/** Cohere's cached tokens have no price of their own, and Nova's simulator caches only what is marked. */
const READ_UNSEEN = /@cohere$|nova.*@amazon-bedrock$/

/** What the page on routing says of each provider is what happens there. */
test('an account meets the prompts of another only where MESH says that it may, and its own everywhere', async () => {
  for (const endpoint of CHAT_ENDPOINTS) {
    const { begins, accountField } = promptCachingOf(endpoint)
    assert.equal(await cachedTokens(first, endpoint, 'plain'), 0, `${endpoint.id}: there was nothing to read`)
    const met = await cachedTokens(second, endpoint, 'plain')
    if (accountField !== undefined) assert.equal(met, 0, `${endpoint.id}: it reads another account's prompt`)
    const own = await cachedTokens(first, endpoint, 'plain')
    const reads = begins === 'unasked' ? !READ_UNSEEN.test(endpoint.id) : endpoint.provider === 'anthropic'
    if (reads) {
      assert.ok(own > 0, `${endpoint.id}: it reads its own prompt again`)
    }
  }
})

test('a key of the callers own is salted: the same key of two accounts is two keys', async () => {
  const wishes = { cacheKey: 'the-same-everywhere' }
  let kept = 0
  for (const endpoint of CHAT_ENDPOINTS) {
    if (promptCachingOf(endpoint).accountField === undefined) continue
    await cachedTokens(first, endpoint, 'keyed', wishes)
    assert.equal(await cachedTokens(second, endpoint, 'keyed', wishes), 0, endpoint.id)
    assert.ok((await cachedTokens(second, endpoint, 'keyed', wishes)) > 0, endpoint.id)
    kept += 1
  }
  assert.ok(kept > 0)
})

for (const wishes of [{ minClass: 'protected' }, { mode: 'protected', minClass: 'protected' }] as const) {
  test(`above the class standard no account meets another's prompt: ${JSON.stringify(wishes)}`, async () => {
    let served = 0
    for (const endpoint of CHAT_ENDPOINTS) {
      const about = `floor ${JSON.stringify(wishes)}`
      const asked = await ask(first, endpoint, about, { ...wishes, cacheKey: 'k' })
      if (asked.status !== 200) {
        assert.equal(asked.json.error.code, 'privacy_unavailable', endpoint.id)
        assert.equal(asked.json.error.metadata.endpoints[endpoint.id], 'shared_cache')
        assert.ok(sharesItsCache(endpoint), endpoint.id)
        continue
      }
      served += 1
      assert.ok(!sharesItsCache(endpoint), endpoint.id)
      assert.ok(asked.json.routing.dropped_params.includes('cache_control'), endpoint.id)
      assert.equal(await cachedTokens(second, endpoint, about, { ...wishes, cacheKey: 'k' }), 0, endpoint.id)
    }
    assert.ok(served > 20)
  })
}

test('a call that only travels as protected has no wish for a cache either, and says which class it had', async () => {
  const claude = CHAT_ENDPOINTS.find(({ id }) => id === 'mesh/claude-haiku-4.5@anthropic')
  const gemini = CHAT_ENDPOINTS.find(({ provider }) => provider === 'google')
  assert.ok(claude && gemini)
  const wishes = { mode: 'protected' } as const
  const asked = await ask(first, claude, 'mode', wishes)
  assert.equal(asked.json.routing.privacy.class, 'protected')
  assert.equal(await cachedTokens(second, claude, 'mode', wishes), 0)
  assert.equal((await ask(first, gemini, 'mode', wishes)).json.routing.privacy.class, 'standard')
})

interface Turn {
  readonly prompt: number
  readonly cached: number
}

const TURNS = ['And then?', 'And after that?', 'And in the end?']

/** A conversation that grows, with tools before it: what every turn read from the cache. */
async function conversation(client: OpenAI, model: string, about: string, more: object): Promise<Turn[]> {
  const messages: OpenAI.Chat.ChatCompletionMessageParam[] = [{ role: 'system', content: longText(about) }]
  const turns: Turn[] = []
  for (const content of TURNS) {
    messages.push({ role: 'user', content })
    const answer = await client.chat.completions.create({
      model,
      messages,
      tools: [
        {
          type: 'function',
          function: {
            name: 'look_up',
            description: 'Looks something up.',
            parameters: {
              type: 'object',
              properties: { zebra: { type: 'string' }, ape: { type: 'number' } },
            },
          },
        },
      ],
      tool_choice: 'none',
      ...more,
    })
    const { usage } = answer
    turns.push({
      prompt: usage?.prompt_tokens ?? 0,
      cached: usage?.prompt_tokens_details?.cached_tokens ?? 0,
    })
    messages.push({ role: 'assistant', content: 'So it went on.' })
  }
  return turns
}

/** One endpoint of each provider that speaks OpenAI's chat completions and caches unasked. */
const SPEAK_CHAT = [...new Set(CHAT_ENDPOINTS.map(({ provider }) => provider))].flatMap((provider) => {
  const endpoint = CHAT_ENDPOINTS.find(
    (other) =>
      other.provider === provider &&
      /openai_chat|azure_openai/.test(other.protocol) &&
      other.supportedParameters.includes('tools') &&
      promptCachingOf(other).begins === 'unasked' &&
      // The newest of OpenAI's think unasked, and refuse tools here where they do.
      !/gpt-5\.[4-9]/.test(other.upstreamModel),
  )
  return endpoint ? [endpoint] : []
})

for (const { id, model, provider, upstreamModel } of SPEAK_CHAT) {
  test(`the cache hit rate through MESH equals direct: ${id}`, async (t) => {
    assert.ok(isSimulated(provider))
    const alone = await startSimulator()
    t.after(() => alone.close())
    const direct = new OpenAI({ baseURL: alone.baseUrl(provider), apiKey: 'sk-direct', maxRetries: 0 })
    const through = new OpenAI({ baseURL: mesh.baseUrl, apiKey: first.key, maxRetries: 0 })
    const about = `rate ${id}`
    const wanted = await conversation(direct, upstreamModel, about, {})
    const seen = await conversation(through, model, about, {
      provider: { only: [provider], allow_fallbacks: false },
    })
    assert.ok(wanted.every(({ cached }, index) => index === 0 || cached > 0))
    assert.deepEqual(seen, wanted)
  })
}

test('the cache hit rate through MESH equals direct: marks of Anthropics own client', async (t) => {
  const alone = await startSimulator()
  t.after(() => alone.close())
  const clients = [
    new Anthropic({ baseURL: alone.baseUrl('anthropic'), apiKey: 'sk-direct', maxRetries: 0 }),
    new Anthropic({ baseURL: mesh.url, apiKey: first.key, maxRetries: 0 }),
  ]
  const [wanted, seen] = await Promise.all(
    clients.map(async (client) => {
      const messages: Anthropic.MessageParam[] = []
      const turns: object[] = []
      for (const text of TURNS) {
        messages.push({
          role: 'user',
          content: [{ type: 'text', text, cache_control: { type: 'ephemeral' } }],
        })
        const answer = await client.messages.create({
          model: 'claude-sonnet-4-5-20250929',
          max_tokens: 300,
          system: [
            { type: 'text', text: longText('marks'), cache_control: { type: 'ephemeral', ttl: '1h' } },
          ],
          messages,
        })
        const { input_tokens, cache_read_input_tokens, cache_creation } = answer.usage
        turns.push({ input_tokens, cache_read_input_tokens, cache_creation })
        messages.push({ role: 'assistant', content: 'So it went on.' })
      }
      return turns
    }),
  )
  assert.ok(JSON.stringify(wanted?.at(-1)).match(/"cache_read_input_tokens":[1-9]/))
  assert.deepEqual(seen, wanted)
})
