import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decodeInPieces, gather } from '../../test/decode-in-pieces.ts'
import { testAsk, testEndpoint } from '../../test/endpoints.ts'
import { type RecordedExchange, recordedExchanges } from '../../test/recorded-exchanges.ts'
import type { EmbedTask } from '../ask.ts'
import { DEFAULT_ANSWER_BOUNDS, type Protocol } from '../protocol.ts'
import { cohereV2 } from './cohere.ts'
import { geminiEmbed } from './gemini-embed.ts'
import { openaiEmbeddings } from './openai-embeddings.ts'

/*
 * Vectors that providers really made. Each case says, with none of the code under test, what a record holds and what
 * was asked for in it.
 */

interface Family {
  readonly name: string
  readonly path: string
  readonly protocol: Protocol
  vectorsIn(body: Body): readonly (readonly number[] | string)[]
  /** `undefined` where the provider tells none. */
  inputTokensIn(body: Body): number | undefined
  taskOf(request: Body): EmbedTask
  modelOf(request: Body): string
  /** What a request of ours says otherwise, on purpose. */
  readonly differences?: (request: Body) => Body
}

// biome-ignore lint/suspicious/noExplicitAny: a record is whatever JSON the provider sent.
type Body = any

const TASK_TYPES: Readonly<Record<string, EmbedTask['purpose']>> = {
  RETRIEVAL_QUERY: 'search_query',
  RETRIEVAL_DOCUMENT: 'search_document',
}

const FAMILIES: readonly Family[] = [
  {
    name: 'openai',
    path: '/v1/embeddings',
    protocol: openaiEmbeddings,
    vectorsIn: (body) => body.data.map((item: Body) => item.embedding),
    inputTokensIn: (body) => body.usage.prompt_tokens,
    modelOf: (request) => request.model,
    taskOf: ({ input, encoding_format, dimensions }) => ({
      type: 'embed',
      inputs: input,
      encoding: encoding_format,
      ...(dimensions === undefined ? {} : { dimensions }),
    }),
  },
  {
    name: 'gemini',
    path: ':batchEmbedContents',
    protocol: geminiEmbed,
    vectorsIn: (body) => body.embeddings.map((embedding: Body) => embedding.values),
    inputTokensIn: (body) => body.usageMetadata?.promptTokenCount,
    modelOf: (request) => request.requests[0].model.slice('models/'.length),
    taskOf: ({ requests }) => {
      const [{ taskType, outputDimensionality }] = requests
      const purpose = TASK_TYPES[taskType]
      return {
        type: 'embed',
        inputs: requests.map((request: Body) => request.content.parts[0].text),
        encoding: 'float',
        ...(purpose === undefined ? {} : { purpose }),
        ...(outputDimensionality === undefined ? {} : { dimensions: outputDimensionality }),
      }
    },
  },
  {
    name: 'cohere',
    path: '/v2/embed',
    protocol: cohereV2,
    vectorsIn: (body) => body.embeddings.float,
    inputTokensIn: (body) => body.meta.billed_units.input_tokens,
    modelOf: (request) => request.model,
    taskOf: ({ texts, input_type, output_dimension }) => ({
      type: 'embed',
      inputs: texts,
      encoding: 'float',
      purpose: input_type,
      ...(output_dimension === null ? {} : { dimensions: output_dimension }),
    }),
    // No text is ever cut without a word; and what is left out is the same as null.
    differences: ({ max_tokens, output_dimension, ...rest }) => ({ ...rest, truncate: 'NONE' }),
  },
]

function decoded({ protocol, vectorsIn, inputTokensIn }: Family, exchange: RecordedExchange): void {
  const record = JSON.parse(exchange.body)
  for (const step of [exchange.body.length, 1021, 61]) {
    const cuts = Array.from({ length: Math.floor(exchange.body.length / step) }, (_, at) => at * step)
    const answer = gather(decodeInPieces(protocol.decoder(DEFAULT_ANSWER_BOUNDS), exchange.body, cuts))
    assert.equal(answer.failure, undefined)
    assert.equal(answer.ended, true)
    assert.deepEqual(answer.vectors, vectorsIn(record))
    const tokens = inputTokensIn(record)
    assert.equal(answer.usage?.buckets.input, tokens ?? 0)
    assert.deepEqual(answer.usage?.flags, tokens === undefined ? ['missing'] : [])
  }
}

const ABSENT = 'SKIPPED: the recorded exchanges are not beside this project'

for (const family of FAMILIES) {
  test(`every recorded exchange for vectors is understood both ways: ${family.name}`, (t) => {
    const exchanges = recordedExchanges(family.path)
    if (!exchanges) return t.skip(ABSENT)
    let answers = 0
    for (const exchange of exchanges) {
      const { requestBody, status, headers, body, file } = exchange
      const task = family.taskOf(requestBody)
      const endpoint = testEndpoint({ upstreamModel: family.modelOf(requestBody) })
      const request = family.protocol.encode(testAsk({ task, messages: [] }), endpoint, { stream: false })
      assert.deepEqual(JSON.parse(request.body), family.differences?.(requestBody) ?? requestBody, file)
      assert.ok(exchange.path.endsWith(request.path), file)
      if (status < 300) {
        decoded(family, exchange)
        answers += 1
      } else {
        const failure = family.protocol.classify(status, headers, body)
        t.diagnostic(`${file}: ${status} ${failure.outcome} ${failure.reason}`)
        if (status === 404) assert.equal(failure.reason, 'model_not_found')
      }
    }
    const refused = exchanges.length - answers
    t.diagnostic(
      `${family.name}: decoded ${answers} of ${answers} answers, classified ${refused} of ${refused} refusals`,
    )
    t.diagnostic(`${family.name}: re-encoded ${exchanges.length} of ${exchanges.length} requests`)
    assert.ok(answers > 0)
  })
}
