import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { EndpointId } from '@mesh/catalog/catalog.ts'
import { loadCatalog } from '@mesh/catalog/load.ts'
import { formatUsd } from '@mesh/catalog/money.ts'
import { costNano } from '@mesh/catalog/price.ts'
import {
  BUCKET_NAMES,
  EMPTY_BUCKETS,
  inputTokens,
  outputTokens,
  type TokenBuckets,
} from '@mesh/catalog/token-buckets.ts'
import fc from 'fast-check'
import { decodeInPieces, gather } from '../test/decode-in-pieces.ts'
import type { JsonObject } from './ask.ts'
import { geminiUsage } from './gemini-usage.ts'
import { DEFAULT_ANSWER_BOUNDS } from './protocol.ts'
import { gemini } from './protocols/gemini.ts'
import type { UsageFlag } from './stream-event.ts'

const detail = (modality: string, tokenCount: number) => ({ modality, tokenCount })

const CASES: readonly (readonly [
  name: string,
  usage: JsonObject,
  buckets: Partial<TokenBuckets>,
  flags?: readonly UsageFlag[],
])[] = [
  [
    'thoughts are beside the candidates',
    { promptTokenCount: 10, candidatesTokenCount: 5, thoughtsTokenCount: 7, totalTokenCount: 22 },
    { input: 10, output: 5, reasoning: 7 },
  ],
  [
    'the prompt includes what came from the cache',
    { promptTokenCount: 345, cachedContentTokenCount: 230, candidatesTokenCount: 51, totalTokenCount: 396 },
    { input: 115, cacheRead: 230, output: 51 },
  ],
  [
    'what hosted tools put in is input beside the prompt',
    { promptTokenCount: 13, toolUsePromptTokenCount: 289, candidatesTokenCount: 194, totalTokenCount: 496 },
    { input: 302, output: 194 },
  ],
  [
    'sound and pictures, cached sound at the rate of sound',
    {
      promptTokenCount: 1000,
      promptTokensDetails: [
        detail('TEXT', 300),
        detail('AUDIO', 500),
        detail('IMAGE', 150),
        detail('VIDEO', 50),
      ],
      cachedContentTokenCount: 400,
      cacheTokensDetails: [detail('TEXT', 200), detail('AUDIO', 200)],
      candidatesTokenCount: 30,
      candidatesTokensDetails: [detail('TEXT', 10), detail('AUDIO', 20)],
      totalTokenCount: 1030,
    },
    { input: 150, inputAudio: 500, inputImage: 150, cacheRead: 200, output: 10, outputAudio: 20 },
  ],
  ['no candidates at all', { promptTokenCount: 14, totalTokenCount: 14 }, { input: 14 }],
  [
    'no prompt, which the total has',
    { candidatesTokenCount: 4, totalTokenCount: 14 },
    { input: 10, output: 4 },
  ],
  [
    'a total above its parts is output',
    { promptTokenCount: 10, candidatesTokenCount: 5, totalTokenCount: 20 },
    { input: 10, output: 10 },
    ['sum_mismatch'],
  ],
  [
    'a total below its parts',
    { promptTokenCount: 10, candidatesTokenCount: 5, thoughtsTokenCount: 5, totalTokenCount: 12 },
    { input: 10, output: 5, reasoning: 5 },
    ['sum_mismatch'],
  ],
  [
    'more from the cache than there was',
    { promptTokenCount: 10, cachedContentTokenCount: 90, candidatesTokenCount: 1, totalTokenCount: 11 },
    { input: 10, output: 1 },
    ['sum_mismatch'],
  ],
  ['nothing', {}, {}, ['missing']],
  [
    'negative counts',
    { promptTokenCount: -5, candidatesTokenCount: -5, totalTokenCount: -10 },
    {},
    ['negative', 'missing'],
  ],
]

for (const [name, usage, buckets, flags = []] of CASES) {
  test(`Gemini's usage: ${name}`, () => {
    assert.deepEqual(geminiUsage(usage), { buckets: { ...EMPTY_BUCKETS, ...buckets }, flags })
  })
}

test('whatever numbers come, every bucket is a non-negative safe integer, and no total shrinks', () => {
  const counts = fc.oneof(fc.integer({ min: -10, max: 1_000_000 }), fc.double(), fc.constantFrom(null, 'x'))
  const details = fc.array(
    fc.record({ modality: fc.constantFrom('TEXT', 'AUDIO', 'IMAGE', 'VIDEO', 'X'), tokenCount: counts }),
    { maxLength: 4 },
  )
  const names = ['promptTokenCount', 'candidatesTokenCount', 'thoughtsTokenCount', 'totalTokenCount']
  const others = ['cachedContentTokenCount', 'toolUsePromptTokenCount']
  const lists = ['promptTokensDetails', 'candidatesTokensDetails', 'cacheTokensDetails']
  const usages = fc.record(
    Object.fromEntries([
      ...[...names, ...others].map((name) => [name, counts]),
      ...lists.map((name) => [name, details]),
    ]),
    { requiredKeys: [] },
  )
  fc.assert(
    fc.property(usages, (usage) => {
      const reported = usage as JsonObject
      const { buckets } = geminiUsage(reported)
      for (const name of BUCKET_NAMES)
        assert.ok(Number.isSafeInteger(buckets[name]) && buckets[name] >= 0, name)
      const prompt = reported.promptTokenCount
      if (typeof prompt === 'number' && Number.isInteger(prompt) && prompt >= 0 && prompt < 1e12) {
        assert.ok(inputTokens(buckets) >= prompt)
      }
      assert.ok(outputTokens(buckets) >= 0)
    }),
  )
})

/** What a call costs to the billionth of a USD, from Google's own count, by the list price of the catalogue. */
const GOLDEN: readonly (readonly [endpoint: EndpointId, usage: JsonObject, usd: string])[] = [
  // 115 × 0.3 + 230 × 0.03 + 51 × 2.5 millionths.
  [
    'mesh/gemini-2.5-flash@google',
    { promptTokenCount: 345, cachedContentTokenCount: 230, candidatesTokenCount: 51, totalTokenCount: 396 },
    '0.000168900',
  ],
  // Thoughts cost what other output costs: 29 × 2 + (736 + 1,001) × 12.
  [
    'mesh/gemini-3.1-pro@google',
    { promptTokenCount: 29, candidatesTokenCount: 736, thoughtsTokenCount: 1001, totalTokenCount: 1766 },
    '0.020902000',
  ],
  // Above 200,000 tokens of input, cached ones among them, all is dearer: 100,001 × 2.5 + 100,000 × 0.25 + 10 × 15.
  [
    'mesh/gemini-2.5-pro@google',
    {
      promptTokenCount: 200_001,
      cachedContentTokenCount: 100_000,
      candidatesTokenCount: 10,
      totalTokenCount: 200_011,
    },
    '0.275152500',
  ],
  // Sound has a rate of its own: 85 × 0.3 + 144 × 1 + 17 × 2.5.
  [
    'mesh/gemini-2.5-flash@google',
    {
      promptTokenCount: 229,
      promptTokensDetails: [detail('TEXT', 85), detail('AUDIO', 144)],
      candidatesTokenCount: 17,
      totalTokenCount: 246,
    },
    '0.000212000',
  ],
]

test('peer bug 10: cached tokens are charged once and at their rate, whole and streamed', () => {
  const endpoints = loadCatalog().models.flatMap((model) => model.endpoints)
  for (const [id, usageMetadata, usd] of GOLDEN) {
    const endpoint = endpoints.find((each) => each.id === id)
    assert.ok(endpoint)
    const said = (text: string, more: object) => ({
      candidates: [{ content: { parts: [{ text }] }, index: 0, ...more }],
    })
    const early = { promptTokenCount: 900_000, candidatesTokenCount: 1, totalTokenCount: 900_001 }
    const answers = [
      JSON.stringify({ ...said('Hi', { finishReason: 'STOP' }), usageMetadata }),
      // What is counted on the way is a guess, and may be far above the end's.
      [
        { ...said('H', {}), usageMetadata: early },
        { ...said('i', { finishReason: 'STOP' }), usageMetadata },
      ]
        .map((message) => `data: ${JSON.stringify(message)}\r\n\r\n`)
        .join(''),
    ]
    for (const answer of answers) {
      const { usage } = gather(decodeInPieces(gemini.decoder(DEFAULT_ANSWER_BOUNDS), answer))
      const buckets = usage?.buckets ?? EMPTY_BUCKETS
      assert.equal(formatUsd(costNano(buckets, endpoint.prices, new Date('2026-11-01T12:00:00Z'))), usd, id)
      assert.deepEqual(usage?.flags, [])
    }
  }
})
