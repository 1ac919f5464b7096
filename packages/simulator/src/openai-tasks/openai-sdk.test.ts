import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import OpenAI from 'openai'
import { startSimulator } from '../server.ts'

const simulator = await startSimulator()
after(() => simulator.close())

const openai = new OpenAI({ apiKey: 'test', baseURL: simulator.baseUrl('openai'), maxRetries: 0 })
const nearai = new OpenAI({ apiKey: 'test', baseURL: simulator.baseUrl('nearai'), maxRetries: 0 })
const model = 'text-embedding-3-small'

test('vectors of one text and of several, with their usage', async () => {
  const one = await openai.embeddings.create({ model, input: 'Hello there' })
  assert.equal(one.data.length, 1)
  assert.equal(one.data[0]?.embedding.length, 1536)
  assert.deepEqual({ ...one.usage }, { prompt_tokens: 3, total_tokens: 3 })
  const several = await openai.embeddings.create({ model, input: ['Hello there', 'Other'], dimensions: 8 })
  assert.deepEqual(
    several.data.map(({ index, embedding }) => [index, embedding.length]),
    [
      [0, 8],
      [1, 8],
    ],
  )
})

test('packed and plain vectors are the same numbers', async () => {
  // The client asks for packed ones unless it is told otherwise, and unpacks them.
  const packed = await openai.embeddings.create({ model, input: 'Hello', dimensions: 64 })
  const plain = await openai.embeddings.create({
    model,
    input: 'Hello',
    dimensions: 64,
    encoding_format: 'float',
  })
  assert.deepEqual([...(packed.data[0]?.embedding ?? [])], plain.data[0]?.embedding)
  const length = Math.hypot(...(plain.data[0]?.embedding ?? []))
  assert.ok(Math.abs(length - 1) < 1e-5)
})

test('texts may come as tokens', async () => {
  const tokens = await openai.embeddings.create({ model, input: [[1, 2, 3], [4]], dimensions: 8 })
  assert.equal(tokens.data.length, 2)
  assert.equal(tokens.usage.prompt_tokens, 4)
  const single = await openai.embeddings.create({ model, input: [1, 2, 3], dimensions: 8 })
  assert.deepEqual(single.data[0]?.embedding, tokens.data[0]?.embedding)
})

test('Azure and hosts of open models do the same', async () => {
  // With version 1 of its API, Azure's clients are OpenAI's own.
  const azure = new OpenAI({ apiKey: 'test', baseURL: simulator.baseUrl('azure'), maxRetries: 0 })
  const deployed = await azure.embeddings.create({ model: 'my-embedder', input: 'Hello' })
  assert.equal(deployed.data[0]?.embedding.length, 1536)
  const open = await nearai.embeddings.create({ model: 'Qwen/Qwen3-Embedding-0.6B', input: 'Hello' })
  assert.equal(open.data[0]?.embedding.length, 1024)
})

test('a ranking in Jina’s words', async () => {
  const ranking = await nearai.post<{
    usage: { total_tokens: number }
    results: { index: number; relevance_score: number; document?: { text: string } }[]
  }>('/rerank', {
    body: {
      model: 'Qwen/Qwen3-Reranker-0.6B',
      query: 'red fox',
      documents: ['blue sea', 'a red fox'],
      top_n: 1,
    },
  })
  assert.equal(ranking.results.length, 1)
  assert.deepEqual(ranking.results[0]?.document, { text: 'a red fox' })
  assert.equal(ranking.usage.total_tokens, 2 * 42 + 2 + 3)
})

test('errors arrive as the client’s own classes', async () => {
  const ask = (body: Partial<OpenAI.EmbeddingCreateParams>, steering = '') =>
    openai.embeddings.create({ model, input: 'Hello', ...body }, { headers: { 'x-mesh-simulate': steering } })
  await assert.rejects(ask({ model: 'gpt-4o-mini' }), OpenAI.NotFoundError)
  await assert.rejects(ask({ input: '' }), OpenAI.BadRequestError)
  await assert.rejects(ask({ input: [] }), OpenAI.BadRequestError)
  await assert.rejects(ask({ dimensions: 9_999 }), OpenAI.BadRequestError)
  await assert.rejects(ask({ model: 'text-embedding-ada-002', dimensions: 8 }), /does not support/)
  await assert.rejects(ask({ input: 'x'.repeat(40_000) }), /maximum context length/)
  await assert.rejects(ask({}, 'rate_limit'), OpenAI.RateLimitError)
  await assert.rejects(ask({}, 'overloaded'), OpenAI.InternalServerError)
  await assert.rejects(ask({}, 'malformed'))
  assert.equal((await ask({}, 'empty')).data.length, 0)
  assert.equal((await ask({}, 'lying_usage=missing')).usage, undefined)
})
