import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Endpoint } from '@mesh/catalog/catalog.ts'
import fc from 'fast-check'
import { decodeInPieces, gather } from '../../test/decode-in-pieces.ts'
import { testAsk, testEndpoint } from '../../test/endpoints.ts'
import type { Ask, EmbedTask, RankTask } from '../ask.ts'
import { DEFAULT_ANSWER_BOUNDS, type Protocol } from '../protocol.ts'
import { cohereV2 } from './cohere.ts'
import { geminiEmbed } from './gemini-embed.ts'
import { jinaStyleRerank } from './jina-rerank.ts'
import { openaiEmbeddings } from './openai-embeddings.ts'

const EMBED: EmbedTask = { type: 'embed', inputs: ['a', 'b'], encoding: 'base64' }
const RANK: RankTask = { type: 'rank', query: 'q', documents: ['a', 'b', 'c'], returnDocuments: true }

function encode(protocol: Protocol, task: Ask['task'] & object, endpoint: Partial<Endpoint> = {}) {
  const ask = testAsk({ task, messages: [], endUserHmac: 'u' })
  const { body, ...request } = protocol.encode(ask, testEndpoint(endpoint), { stream: false })
  return { ...request, body: JSON.parse(body) }
}

test('OpenAI is asked for vectors as the caller wants them, others for plain ones', () => {
  const own = encode(openaiEmbeddings, { ...EMBED, dimensions: 3, purpose: 'clustering' })
  assert.equal(own.path, '/embeddings')
  assert.deepEqual(own.body, {
    model: 'test-1',
    input: ['a', 'b'],
    encoding_format: 'base64',
    dimensions: 3,
    user: 'u',
  })
  assert.deepEqual(own.droppedParameters, ['input_type'])
  const tokens = [[1, 2], [3]]
  const other = encode(openaiEmbeddings, { ...EMBED, inputs: tokens }, { provider: 'nearai' })
  assert.deepEqual(other.body, { model: 'test-1', input: tokens, encoding_format: 'float' })
  assert.deepEqual(other.droppedParameters, ['user'])
})

test('Gemini is asked for a batch, and told what it is for', () => {
  const { path, body } = encode(geminiEmbed, { ...EMBED, dimensions: 768, purpose: 'search_query' })
  assert.equal(path, '/models/test-1:batchEmbedContents')
  assert.deepEqual(body.requests[1], {
    model: 'models/test-1',
    content: { parts: [{ text: 'b' }] },
    taskType: 'RETRIEVAL_QUERY',
    outputDimensionality: 768,
  })
  assert.deepEqual(Object.keys(encode(geminiEmbed, EMBED).body.requests[0]), ['model', 'content'])
})

test('Cohere is asked for vectors that are never of half a text, and for a ranking', () => {
  const embed = encode(cohereV2, { ...EMBED, dimensions: 256 })
  assert.deepEqual(
    [embed.path, embed.body],
    [
      '/embed',
      {
        model: 'test-1',
        texts: ['a', 'b'],
        input_type: 'search_document',
        embedding_types: ['float'],
        output_dimension: 256,
        truncate: 'NONE',
      },
    ],
  )
  const rank = encode(cohereV2, { ...RANK, resultsMax: 2 })
  assert.deepEqual(
    [rank.path, rank.body],
    ['/rerank', { model: 'test-1', query: 'q', documents: ['a', 'b', 'c'], top_n: 2 }],
  )
})

test('a ranking in Jina’s words asks for no text back', () => {
  const { path, body } = encode(jinaStyleRerank, RANK)
  assert.equal(path, '/rerank')
  assert.deepEqual(body, { model: 'test-1', query: 'q', documents: ['a', 'b', 'c'], return_documents: false })
})

test('an endpoint says what it needs to be able to take', () => {
  const takes = (protocol: Protocol, need: string) => protocol.takes(testEndpoint({}), need)
  const needs = ['dimensions', 'input.tokens', 'input.96_texts', 'input.100_texts', 'input.2048_texts']
  assert.deepEqual(
    [openaiEmbeddings, geminiEmbed, cohereV2].map((protocol) => needs.map((need) => takes(protocol, need))),
    [
      [true, true, true, true, true],
      [true, false, true, true, false],
      [true, false, true, false, false],
    ],
  )
})

const VECTORS = [
  [0.5, -1],
  [2, 3.25],
]
const ANSWERS: readonly (readonly [
  name: string,
  protocol: Protocol,
  body: object,
  input: number | undefined,
])[] = [
  [
    'OpenAI, in whatever order',
    openaiEmbeddings,
    {
      object: 'list',
      data: [
        { index: 1, embedding: VECTORS[1] },
        { index: 0, embedding: VECTORS[0] },
      ],
      usage: { prompt_tokens: 7, total_tokens: 7 },
    },
    7,
  ],
  ['Gemini', geminiEmbed, { embeddings: VECTORS.map((values) => ({ values })) }, undefined],
  [
    'Gemini, with usage',
    geminiEmbed,
    { embeddings: VECTORS.map((values) => ({ values })), usageMetadata: { promptTokenCount: 7 } },
    7,
  ],
  [
    'Cohere',
    cohereV2,
    { id: '1', embeddings: { float: VECTORS }, meta: { billed_units: { input_tokens: 7 } } },
    7,
  ],
]

for (const [name, protocol, body, input] of ANSWERS) {
  test(`vectors are read, however the answer is cut: ${name}`, () => {
    const answer = JSON.stringify(body)
    fc.assert(
      fc.property(fc.array(fc.nat(), { maxLength: 8 }), (cuts) => {
        const { vectors, usage, ended } = gather(
          decodeInPieces(protocol.decoder(DEFAULT_ANSWER_BOUNDS), answer, cuts),
        )
        assert.equal(ended, true)
        assert.deepEqual(vectors, VECTORS)
        assert.equal(usage?.buckets.input, input ?? 0)
        assert.deepEqual(usage?.flags, input === undefined ? ['missing'] : [])
      }),
    )
  })
}

test('packed vectors are passed on as they are', () => {
  const packed = Buffer.from(new Float32Array([0.5, -1]).buffer).toString('base64')
  const body = JSON.stringify({
    data: [{ index: 0, embedding: packed }],
    usage: { prompt_tokens: 1, total_tokens: 1 },
  })
  const { vectors } = gather(decodeInPieces(openaiEmbeddings.decoder(DEFAULT_ANSWER_BOUNDS), body))
  assert.deepEqual(vectors, [packed])
})

for (const [name, protocol, usage] of [
  ['Jina', jinaStyleRerank, { usage: { total_tokens: 30 } }],
  ['Cohere', cohereV2, { meta: { billed_units: { search_units: 1 } } }],
] as const) {
  test(`scores are read, under either name: ${name}`, () => {
    const body = {
      results: [
        { index: 2, relevance_score: 0.9, document: { text: 'c' } },
        { index: 0, score: 0.1 },
      ],
      ...usage,
    }
    const decoded = gather(
      decodeInPieces(protocol.decoder(DEFAULT_ANSWER_BOUNDS), JSON.stringify(body), [5, 40]),
    )
    assert.equal(decoded.ended, true)
    assert.deepEqual(decoded.scores, [
      { index: 2, score: 0.9 },
      { index: 0, score: 0.1 },
    ])
    assert.equal(decoded.usage?.buckets.input, name === 'Jina' ? 30 : 0)
  })
}

const BROKEN: readonly (readonly [name: string, protocol: Protocol, answer: string, reason: string])[] = [
  ['a text for a vector', openaiEmbeddings, '{"data":[{"embedding":"no base64!"}]}', 'malformed'],
  ['a vector with a hole', openaiEmbeddings, '{"data":[{"embedding":[1,null]}]}', 'malformed'],
  ['an empty vector', geminiEmbed, '{"embeddings":[{"values":[]}]}', 'malformed'],
  ['a score without a place', jinaStyleRerank, '{"results":[{"relevance_score":1}]}', 'malformed'],
  ['another document', openaiEmbeddings, '{"object":"list"}', 'malformed'],
  ['a stream', openaiEmbeddings, 'data: {"data":[]}\n\n', 'malformed'],
  ['HTML', geminiEmbed, '<html></html>', 'wrong_content_type'],
  ['nothing', jinaStyleRerank, '', 'empty'],
]

for (const [name, protocol, answer, reason] of BROKEN) {
  test(`a broken answer is none: ${name}`, () => {
    const { ended, failure } = gather(decodeInPieces(protocol.decoder(DEFAULT_ANSWER_BOUNDS), answer))
    assert.deepEqual([ended, failure?.outcome, failure?.reason], [false, 'uncertain', reason])
  })
}

test('an error of Gemini’s is told from an answer', () => {
  const body = '{"error":{"code":404,"message":"models/x is not found","status":"NOT_FOUND"}}'
  const { outcome, reason } = geminiEmbed.classify(404, {}, body)
  assert.deepEqual([outcome, reason], ['refused_unbilled', 'model_not_found'])
})
