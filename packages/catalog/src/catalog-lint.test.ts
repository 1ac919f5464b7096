import assert from 'node:assert/strict'
import { test } from 'node:test'
import sources from '../data/sources.json' with { type: 'json' }
import { lintCatalog, sourcesFile } from './catalog-lint.ts'
import { buildCatalog, type CatalogFiles, catalogFiles } from './load.ts'
import { catalogOverlay, overlaid } from './overlay.ts'

const TODAY = '2026-11-27'
const lint = (files: CatalogFiles, today = TODAY) => lintCatalog(files, sourcesFile.parse(sources), today)

test('there is nothing to mend in the catalogue that comes with MESH', () => {
  assert.deepEqual(lint(catalogFiles), [])
})

// biome-ignore lint/suspicious/noExplicitAny: a test changes any member of a row
type Row = any

/** The data with one endpoint, its model or a file changed. It must still load: this is what only a review finds. */
function changed(
  change: (endpoint: Row, model: Row, files: Row) => void,
  id = 'mesh/gpt-5.4@openai',
): CatalogFiles {
  const files: Row = structuredClone(catalogFiles)
  for (const { models } of Object.values<Row>(files.models)) {
    for (const model of models) {
      for (const endpoint of model.endpoints) {
        if (`${model.id}@${endpoint.provider}` === id) change(endpoint, model, files)
      }
    }
  }
  buildCatalog(files)
  return files
}

const OF_ENDPOINT = 'models/openai.json: mesh/gpt-5.4: openai'
const OF_MODEL = 'models/openai.json: mesh/gpt-5.4'

for (const [name, row, problem, remedy, change] of [
  [
    'an answer longer than its context',
    OF_ENDPOINT,
    /outputTokensMax of 2000000 is more than/,
    /part of the context/,
    (endpoint) => {
      endpoint.outputTokensMax = 2_000_000
    },
  ],
  [
    'a context in thousands',
    OF_ENDPOINT,
    /contextTokens of 1050 is less/,
    /not thousands/,
    (endpoint) => {
      endpoint.contextTokens = 1_050
      endpoint.outputTokensMax = 1_000
      endpoint.prices.tiers = []
    },
  ],
  [
    'an answer in thousands',
    OF_ENDPOINT,
    /outputTokensMax of 128 is less/,
    /not thousands/,
    (endpoint) => {
      endpoint.outputTokensMax = 128
    },
  ],
  [
    "a context beyond the model's",
    OF_ENDPOINT,
    /more than the model's/,
    /larger one/,
    (endpoint) => {
      endpoint.contextTokens = 9_000_000
    },
  ],
  [
    'a cached token in another unit',
    OF_ENDPOINT,
    /cacheRead of 0\.002 is less than 1 in 500/,
    /per million/,
    (endpoint) => {
      endpoint.prices.usdPerMillionTokens.cacheRead = '0.002'
    },
  ],
  [
    'a tier that begins a token early',
    OF_ENDPOINT,
    /above 271999 begins a token early/,
    /state 272000/,
    (endpoint) => {
      endpoint.prices.tiers[0].aboveInputTokens = 271_999
    },
  ],
  [
    'a tier out of reach',
    OF_ENDPOINT,
    /out of reach/,
    /Correct either/,
    (endpoint, model) => {
      endpoint.prices.tiers[0].aboveInputTokens = model.contextTokens
    },
  ],
  [
    'a tier that is cheaper',
    OF_ENDPOINT,
    /cheaper than what comes before/,
    /Exchange/,
    (endpoint) => {
      endpoint.prices.tiers[0].usdPerMillionTokens = {
        ...endpoint.prices.usdPerMillionTokens,
        input: '1',
        cacheRead: '0.1',
      }
    },
  ],
  [
    'an hour that changes nothing',
    OF_ENDPOINT,
    /from minute 60 changes no price/,
    /Leave it out/,
    (endpoint) => {
      const { usdPerMillionTokens } = endpoint.prices
      endpoint.prices.tiers = []
      endpoint.prices.windows = [{ fromUtc: '01:00', untilUtc: '02:00', usdPerMillionTokens }]
    },
  ],
  [
    'a source without a date',
    OF_ENDPOINT,
    /"a web page" has no date/,
    /sources\.json/,
    (endpoint) => {
      endpoint.prices.source = 'a web page'
    },
  ],
  [
    'another version of a source',
    OF_ENDPOINT,
    /"models\.dev@ffffffff x" has no date/,
    /sources\.json/,
    (endpoint) => {
      endpoint.prices.source = 'models.dev@ffffffff x'
    },
  ],
  [
    'a promise that nobody made',
    OF_ENDPOINT,
    /without source and date/,
    /"unknown"/,
    (endpoint) => {
      endpoint.dataPolicy = { retention: 'none', training: 'no' }
    },
  ],
  [
    'a source of nothing',
    OF_ENDPOINT,
    /unknown and has a source/,
    /leave it out/,
    (endpoint) => {
      endpoint.dataPolicy = { retention: 'unknown', training: 'unknown', source: 'x', date: '2026-01-01' }
    },
  ],
  [
    'a promise of tomorrow',
    OF_ENDPOINT,
    /2027-01-01 comes after 2026-11-27/,
    /Correct the date/,
    (endpoint) => {
      endpoint.dataPolicy = { retention: 'none', training: 'no', source: 'x', date: '2027-01-01' }
    },
  ],
  [
    'a parameter in both lists',
    OF_ENDPOINT,
    /tools is both supported and emulated/,
    /one of the lists/,
    (endpoint) => {
      endpoint.emulatedParameters.push('tools')
    },
  ],
  [
    'an endpoint that hears what its model does not',
    OF_ENDPOINT,
    /takes audio, which the model does not/,
    /one of the lists/,
    (endpoint) => {
      endpoint.inputModalities.push('audio')
    },
  ],
  [
    'a budget beyond the answer',
    OF_ENDPOINT,
    /budget_tokens of 0 to 9000000/,
    /within the answer/,
    (endpoint) => {
      endpoint.reasoningOptions = [{ type: 'budget_tokens', min: 0, max: 9_000_000 }]
    },
  ],
  [
    'a speed in seconds',
    OF_ENDPOINT,
    /firstTokenMs of 1 lies outside/,
    /milliseconds/,
    (endpoint) => {
      endpoint.speed = { firstTokenMs: 1, source: 'x', date: '2026-01-01' }
    },
  ],
  [
    'a capability that no endpoint has',
    OF_MODEL,
    /it has tools, and no endpoint takes tools/,
    /List the parameter/,
    (_, model) => {
      for (const endpoint of model.endpoints) {
        endpoint.supportedParameters = endpoint.supportedParameters.filter((each: string) => each !== 'tools')
      }
    },
  ],
  [
    'a capability that is not claimed',
    OF_MODEL,
    /it has no reasoning, and openai takes reasoning/,
    /Leave the parameter out/,
    (_, model) => {
      model.capabilities.reasoning = false
    },
  ],
  [
    'eyes without images',
    OF_MODEL,
    /vision and the input modality image contradict/,
    /both or neither/,
    (_, model) => {
      model.capabilities.vision = false
    },
  ],
  [
    'a model that knows what comes after it',
    OF_MODEL,
    /knowledgeCutoff 2030-01 comes after/,
    /Correct the date/,
    (_, model) => {
      model.knowledgeCutoff = '2030-01'
    },
  ],
  [
    'a model of the future',
    OF_MODEL,
    /releaseDate 2030-01-01 comes after/,
    /Correct the date/,
    (_, model) => {
      model.releaseDate = '2030-01-01'
    },
  ],
  [
    'a review of the future',
    'providers.json',
    /2030-01-01 lies in the future/,
    /day of the review/,
    (_, __, files) => {
      files.providers.dataVersion = '2030-01-01'
    },
  ],
  [
    'a rating of the future',
    'quality.json: mesh/gpt-5.4',
    /2030-01-01 comes after/,
    /Correct the date/,
    (_, __, files) => {
      files.quality.models.find(({ model }: Row) => model === 'mesh/gpt-5.4').date = '2030-01-01'
    },
  ],
  [
    'a cancellation that nobody states',
    'providers.json: openai',
    /stated without a source/,
    /"unknown"/,
    (_, __, files) => {
      files.providers.providers.find(({ id }: Row) => id === 'openai').cancellation.source = null
    },
  ],
] as readonly (readonly [string, string, RegExp, RegExp, Parameters<typeof changed>[0]])[]) {
  test(`${name} is named with its row and what to do`, () => {
    const found = lint(changed(change))
    assert.equal(found.length, 1, JSON.stringify(found))
    assert.equal(found[0]?.row, row)
    assert.match(found[0]?.problem ?? '', problem)
    assert.match(found[0]?.remedy ?? '', remedy)
  })
}

test('what an operator lays over it is reviewed as well, and his own prices need no other source', () => {
  const own = {
    id: 'mesh/own',
    contextTokens: 32_000,
    endpoints: [{ provider: 'groq', upstreamModel: 'own', prices: { input: '0.5', output: '1' } }],
  }
  const laid = (model: object) => overlaid(catalogFiles, catalogOverlay.parse({ models: [model] }))
  assert.deepEqual(lint(laid(own)), [])
  const [finding] = lint(laid({ ...own, outputTokensMax: 64_000 }))
  assert.equal(finding?.row, 'models/own.json: mesh/own')
})
