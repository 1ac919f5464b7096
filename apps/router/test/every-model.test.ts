import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { Endpoint, Model } from '@mesh/catalog/catalog.ts'
import { loadCatalog } from '@mesh/catalog/load.ts'
import OpenAI from 'openai'
import { startTestRouter, type TestAccount, type TestRouter } from './support/test-router.ts'

/*
 * Every model of the catalogue, and every endpoint of every model, answers the official client with a test key,
 * streamed and not, with a cost. `npm run conformance` prints what this file counts.
 */

const catalog = loadCatalog()
const ENDPOINTS = catalog.models.flatMap((model) => model.endpoints.map((endpoint) => ({ model, endpoint })))

let mesh: TestRouter
let account: TestAccount
let client: OpenAI
before(async () => {
  mesh = await startTestRouter()
  account = await mesh.account({ creditUsd: '1000.00' })
  client = new OpenAI({ baseURL: mesh.baseUrl, apiKey: account.key, maxRetries: 0 })
})
after(() => mesh.stop())

/** MESH adds the cost to the usage of every answer. */
function assertPriced({ usage }: { readonly usage?: object | null | undefined }, where: string): void {
  const cost = usage && 'cost' in usage ? usage.cost : undefined
  assert.ok(typeof cost === 'number' && cost > 0, `${where}: no cost`)
}

const only = (endpoint: Endpoint | undefined): object =>
  endpoint ? { provider: { only: [endpoint.provider], allow_fallbacks: false } } : {}

async function askInOnePiece(model: Model, endpoint?: Endpoint): Promise<void> {
  const answer = await client.chat.completions.create({
    model: model.id,
    max_tokens: 512,
    messages: [{ role: 'user', content: 'Say hello.' }],
    ...only(endpoint),
  })
  const [choice] = answer.choices
  assert.equal(choice?.finish_reason, 'stop')
  assert.ok(choice.message.content, 'no content')
  assertPriced(answer, model.id)
}

async function askStreamed(model: Model, endpoint?: Endpoint): Promise<void> {
  const stream = await client.chat.completions.create({
    model: model.id,
    max_tokens: 512,
    messages: [{ role: 'user', content: 'Say hello.' }],
    stream: true,
    stream_options: { include_usage: true },
    ...only(endpoint),
  })
  let text = ''
  let finished: string | null | undefined
  let priced: object = {}
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta.content ?? ''
    finished = chunk.choices[0]?.finish_reason ?? finished
    if (chunk.usage) priced = chunk
  }
  assert.equal(finished, 'stop')
  assert.notEqual(text, '')
  assertPriced(priced, model.id)
}

async function embed(model: Model, endpoint?: Endpoint): Promise<void> {
  const answer = await client.embeddings.create({
    model: model.id,
    input: ['hello', 'world'],
    ...only(endpoint),
  })
  assert.equal(answer.data.length, 2)
  assert.ok(answer.data.every(({ embedding }) => embedding.length > 0))
  assertPriced(answer, model.id)
}

async function rerank(model: Model, endpoint?: Endpoint): Promise<void> {
  const answer = await client.post<{ usage: object; results: { index: number }[] }>('/rerank', {
    body: { model: model.id, query: 'greetings', documents: ['hello', 'world'], ...only(endpoint) },
  })
  assert.deepEqual(answer.results.map(({ index }) => index).sort(), [0, 1])
  assertPriced(answer, model.id)
}

/** All ways in which a model of a kind is asked. */
const ASKED: Readonly<
  Record<Model['kind'], readonly ((model: Model, endpoint?: Endpoint) => Promise<void>)[]>
> = {
  chat: [askInOnePiece, askStreamed],
  embedding: [embed],
  rerank: [rerank],
}

test('every model answers the official client with a test key, streamed and not', async (t) => {
  const silent: string[] = []
  for (const model of catalog.models) {
    for (const ask of ASKED[model.kind]) {
      await ask(model).catch((error: Error) => silent.push(`${model.id}, ${ask.name}: ${error.message}`))
    }
  }
  assert.deepEqual(silent, [])
  t.diagnostic(`${catalog.models.length} of ${catalog.models.length} models`)
})

test('every endpoint of every provider does', async (t) => {
  const silent: string[] = []
  for (const { model, endpoint } of ENDPOINTS) {
    for (const ask of ASKED[model.kind]) {
      await ask(model, endpoint).catch((error: Error) =>
        silent.push(`${endpoint.id}, ${ask.name}: ${error.message}`),
      )
    }
  }
  assert.deepEqual(silent, [])
  const providers = new Set(ENDPOINTS.map(({ endpoint }) => endpoint.provider))
  assert.equal(providers.size, catalog.providers.length)
  t.diagnostic(`${providers.size} of ${catalog.providers.length} providers`)
  t.diagnostic(`${ENDPOINTS.length} of ${ENDPOINTS.length} endpoints`)
})
