import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Endpoint, EndpointId, Model, ModelId } from '@mesh/catalog/catalog.ts'
import fc from 'fast-check'
import {
  exampleEndpoint,
  examplePrices,
  exampleRates,
  exampleRoute,
  exampleShape,
} from '../test/support/examples.ts'
import { inputTokensMax } from './input-bound.ts'
import { ATTEMPTS_MAX, type PlanInput, plan } from './plan.ts'
import type { ExcludedBy } from './plan-filters.ts'
import { createPlanSnapshot, type PlanState } from './plan-snapshot.ts'

const PROVIDERS = ['acme', 'bolt', 'core', 'dune']

function exampleModel(id: ModelId, endpoints: readonly Endpoint[]): Model {
  return {
    id,
    name: id,
    vendor: 'acme',
    kind: 'chat',
    releaseDate: '2026-01-01',
    contextTokens: 100_000,
    outputTokensMax: 10_000,
    inputModalities: ['text'],
    outputModalities: ['text'],
    capabilities: {
      tools: true,
      jsonObject: true,
      jsonSchema: true,
      reasoning: false,
      vision: false,
      pdf: false,
    },
    aliases: [],
    endpoints,
  }
}

interface World {
  readonly endpoints: readonly Endpoint[]
  readonly input?: Partial<Omit<PlanInput, 'snapshot'>>
  readonly snapshot?: Partial<PlanState>
}

function planInput({ endpoints, input = {}, snapshot = {} }: World): PlanInput {
  const ids = [...new Set(endpoints.map(({ model }) => model))]
  const models = ids.map((id) =>
    exampleModel(
      id,
      endpoints.filter(({ model }) => model === id),
    ),
  )
  return {
    targets: ids,
    shape: exampleShape(),
    route: exampleRoute(),
    policy: { livemode: true },
    spreadKey: 'call-1',
    inputTokensMax,
    ...input,
    snapshot: createPlanSnapshot({
      id: 'snapshot-1',
      catalog: { version: '1', providers: [], models, tiers: [] },
      sellPrices: new Map(endpoints.map(({ id, prices }) => [id, prices])),
      protocolBuilt: (name) => name === 'openai_chat',
      takesParameter: ({ supportedParameters }, name) => supportedParameters.includes(name),
      credentials: new Set(PROVIDERS),
      enabledProviders: new Set(PROVIDERS),
      preferences: new Map(),
      health: new Map(),
      ...snapshot,
    }),
  }
}

const everybody = (providers: readonly string[]) => ({
  credentials: new Set(providers),
  enabledProviders: new Set(providers),
})

function idsOf(input: PlanInput): EndpointId[] {
  return plan(input).candidates.map(({ endpoint }) => endpoint.id)
}

const PLAIN = exampleEndpoint('mesh/one', 'acme')
const UNCACHED = exampleEndpoint('mesh/one', 'acme', {
  dataPolicy: { retention: 'unknown', training: 'unknown', promptCache: 'off' },
})
const shapeWith = (changes: Parameters<typeof exampleShape>[0]) => ({ shape: exampleShape(changes) })
const routeWith = (changes: Parameters<typeof exampleRoute>[0]) => ({ route: exampleRoute(changes) })

const TEXT = { textTokens: 20_000_000, textBytes: 0, messages: 1, images: 0, files: 0, audioSeconds: 0 }

const REMOVALS: readonly (readonly [ExcludedBy, World])[] = [
  ['protocol_not_built', { endpoints: [{ ...PLAIN, protocol: 'gemini_embed' }] }],
  ['credential_missing', { endpoints: [PLAIN], snapshot: { credentials: new Set() } }],
  ['provider_disabled', { endpoints: [PLAIN], snapshot: { enabledProviders: new Set() } }],
  ['allowed_models', { endpoints: [PLAIN], input: { policy: { livemode: true, allowedModels: new Set() } } }],
  [
    'allowed_providers',
    { endpoints: [PLAIN], input: { policy: { livemode: true, allowedProviders: new Set() } } },
  ],
  [
    'privacy_class',
    { endpoints: [PLAIN], input: { policy: { livemode: true, minimumPrivacyClass: 'protected' } } },
  ],
  [
    'shared_cache',
    {
      endpoints: [{ ...PLAIN, dataPolicy: { retention: 'none', training: 'no' } }],
      input: { policy: { livemode: true, minimumPrivacyClass: 'protected' } },
    },
  ],
  ['data_policy', { endpoints: [PLAIN], input: routeWith({ zeroDataRetention: true }) }],
  ['data_policy', { endpoints: [PLAIN], input: routeWith({ denyDataCollection: true }) }],
  ['provider_only', { endpoints: [PLAIN], input: routeWith({ only: ['bolt'] }) }],
  ['provider_ignore', { endpoints: [PLAIN], input: routeWith({ ignore: ['acme'] }) }],
  [
    'modality',
    { endpoints: [PLAIN], input: shapeWith({ modalities: { image: true, file: false, audio: false } }) },
  ],
  [
    'modality',
    {
      endpoints: [{ ...PLAIN, protocol: 'bedrock_converse', inputModalities: ['text', 'image'] }],
      input: shapeWith({ modalities: { image: true, file: false, audio: false, mediaUrl: true } }),
      snapshot: { protocolBuilt: () => true },
    },
  ],
  [
    'parameters',
    {
      endpoints: [PLAIN],
      input: { ...routeWith({ requireParameters: true }), ...shapeWith({ parameters: ['tools', 'top_k'] }) },
    },
  ],
  [
    'context_length',
    {
      endpoints: [PLAIN],
      input: shapeWith({ inputTokensBound: { ...TEXT, textBytes: 12_800_128 } }),
    },
  ],
  ['max_price', { endpoints: [PLAIN], input: routeWith({ maxInputPricePico: 999_999n }) }],
  ['max_price', { endpoints: [PLAIN], input: routeWith({ maxOutputPricePico: 4_999_999n }) }],
  [
    'breaker_open',
    {
      endpoints: [PLAIN],
      snapshot: { health: new Map([[PLAIN.id, { successRate: 0, samples: 30, breaker: 'open' }]]) },
    },
  ],
]

for (const [word, world] of REMOVALS) {
  test(`an endpoint is removed by ${word}, and the plan says so`, () => {
    const made = plan(planInput(world))
    assert.deepEqual(made.candidates, [])
    assert.deepEqual(made.excluded, [{ endpoint: 'mesh/one@acme', by: word }])
  })
}

test("at one price a model's own maker comes before whoever sells it on, whatever their names", () => {
  const own = exampleEndpoint('mesh/one', 'zeta')
  const other = exampleEndpoint('mesh/one', 'acme')
  const input = planInput({ endpoints: [other, own], snapshot: everybody(['acme', 'zeta']) })
  const [model] = input.snapshot.catalog.models
  assert.ok(model)
  const madeBy = (vendor: string) => ({
    ...input,
    snapshot: createPlanSnapshot({
      ...input.snapshot,
      catalog: { ...input.snapshot.catalog, models: [{ ...model, vendor }] },
    }),
  })
  assert.deepEqual(idsOf(madeBy('zeta')), ['mesh/one@zeta', 'mesh/one@acme'])
  assert.deepEqual(idsOf(madeBy('somebody')), ['mesh/one@acme', 'mesh/one@zeta'])
})

test('an endpoint that nothing removes is a candidate with its bound and its sell prices', () => {
  const sell = examplePrices(7n, 9n)
  const made = plan(planInput({ endpoints: [PLAIN], snapshot: { sellPrices: new Map([[PLAIN.id, sell]]) } }))
  assert.deepEqual(made, {
    candidates: [{ endpoint: PLAIN, sellPrices: sell, inputTokensMax: 400 }],
    excluded: [],
    targets: ['mesh/one'],
    mode: 'models',
    rule: 'price',
    snapshot: 'snapshot-1',
  })
})

test('an endpoint that several filters remove carries the first word', () => {
  const made = plan(
    planInput({
      endpoints: [PLAIN],
      snapshot: { credentials: new Set(), enabledProviders: new Set() },
      input: routeWith({ ignore: ['acme'] }),
    }),
  )
  assert.deepEqual(made.excluded, [{ endpoint: 'mesh/one@acme', by: 'credential_missing' }])
})

test('test keys need no credential, and their simulators keep nothing', () => {
  const made = plan(
    planInput({
      endpoints: [UNCACHED],
      snapshot: { credentials: new Set() },
      input: {
        policy: { livemode: false, minimumPrivacyClass: 'protected' },
        ...routeWith({ zeroDataRetention: true, denyDataCollection: true }),
      },
    }),
  )
  assert.equal(made.candidates.length, 1)
})

test('a floor above what any call in the clear reaches removes even an endpoint that keeps nothing', () => {
  const kept = { ...PLAIN, dataPolicy: { retention: 'none', training: 'no', promptCache: 'off' } } as const
  const floor = (minimumPrivacyClass: 'protected' | 'private_gateway') =>
    plan(planInput({ endpoints: [kept], input: { policy: { livemode: true, minimumPrivacyClass } } }))
  assert.equal(floor('protected').candidates.length, 1)
  assert.equal(floor('private_gateway').candidates.length, 0)
})

test('a parameter that a provider takes without its catalogue entry listing it is no reason to leave it out', () => {
  const input = { ...routeWith({ requireParameters: true }), ...shapeWith({ parameters: ['seed'] }) }
  const taking = { takesParameter: (_: Endpoint, name: string) => name === 'seed' }
  assert.equal(plan(planInput({ endpoints: [PLAIN], input })).candidates.length, 0)
  assert.equal(plan(planInput({ endpoints: [PLAIN], input, snapshot: taking })).candidates.length, 1)
})

test('an emulated parameter is as good as a supported one', () => {
  const emulating = { ...PLAIN, emulatedParameters: ['response_format.json_object'] }
  const input = {
    ...routeWith({ requireParameters: true }),
    ...shapeWith({ parameters: ['response_format.json_object'] }),
  }
  assert.equal(plan(planInput({ endpoints: [emulating], input })).candidates.length, 1)
})

test('a price cap holds for the dearest tier and hour that the call can reach', () => {
  const dear = exampleRates(3_000_000n, 5_000_000n)
  const cap = routeWith({ maxInputPricePico: 2_000_000n })
  const tiered = (aboveInputTokens: number) => ({
    ...PLAIN,
    prices: { ...examplePrices(), tiers: [{ aboveInputTokens, rates: dear }] },
  })
  assert.equal(plan(planInput({ endpoints: [tiered(400)], input: cap })).candidates.length, 1)
  assert.equal(plan(planInput({ endpoints: [tiered(399)], input: cap })).candidates.length, 0)
  const windowed = {
    ...PLAIN,
    prices: { ...examplePrices(), windows: [{ fromMinute: 0, untilMinute: 60, rates: dear }] },
  }
  assert.equal(plan(planInput({ endpoints: [windowed], input: cap })).candidates.length, 0)
})

test("the caller's models come first, then his providers, then the price, then the id", () => {
  const dear = examplePrices(9_000_000n, 9_000_000n)
  const endpoints = [
    exampleEndpoint('mesh/second', 'acme', { prices: examplePrices(1n, 1n) }),
    exampleEndpoint('mesh/first', 'core'),
    exampleEndpoint('mesh/first', 'bolt'),
    exampleEndpoint('mesh/first', 'acme', { prices: dear }),
    exampleEndpoint('mesh/first', 'dune', { prices: dear }),
  ]
  const input = planInput({
    endpoints,
    input: { targets: ['mesh/first', 'mesh/second', 'mesh/first'], ...routeWith({ order: ['dune'] }) },
  })
  assert.deepEqual(idsOf(input), [
    'mesh/first@dune',
    'mesh/first@bolt',
    'mesh/first@core',
    'mesh/first@acme',
    'mesh/second@acme',
  ])
  assert.deepEqual(plan(input).targets, ['mesh/first', 'mesh/second'])
})

test('the expected price weighs input against at most 512 tokens of output', () => {
  const endpoints = [
    exampleEndpoint('mesh/one', 'acme', { prices: examplePrices(10n, 1n) }),
    exampleEndpoint('mesh/one', 'bolt', { prices: examplePrices(1n, 10n) }),
  ]
  const ordered = (maxOutputTokens: number) =>
    idsOf(planInput({ endpoints, input: shapeWith({ maxOutputTokens }) }))
  assert.deepEqual(ordered(10), ['mesh/one@bolt', 'mesh/one@acme'])
  assert.deepEqual(ordered(50_000), ['mesh/one@acme', 'mesh/one@bolt'])
})

test('without fallbacks only the first candidate stays', () => {
  const endpoints = [exampleEndpoint('mesh/one', 'bolt'), exampleEndpoint('mesh/one', 'acme')]
  const input = planInput({ endpoints, input: routeWith({ allowFallbacks: false }) })
  assert.deepEqual(idsOf(input), ['mesh/one@acme'])
})

test('a plan holds what may be tried: the best endpoint of every model, then the others in their order', () => {
  const hosts = ['acme', 'bolt', 'core', 'dune', 'echo']
  const endpoints = [
    ...hosts.map((provider) => exampleEndpoint('mesh/one', provider)),
    ...hosts.slice(0, 3).map((provider) => exampleEndpoint('mesh/two', provider)),
    exampleEndpoint('mesh/three', 'acme'),
  ]
  const made = plan(planInput({ endpoints, snapshot: everybody(hosts) }))
  assert.deepEqual(
    made.candidates.map(({ endpoint }) => endpoint.id),
    ['mesh/one@acme', 'mesh/one@bolt', 'mesh/one@core', 'mesh/one@dune', 'mesh/two@acme', 'mesh/three@acme'],
  )
  assert.deepEqual(
    made.excluded,
    ['mesh/one@echo', 'mesh/two@bolt', 'mesh/two@core'].map((endpoint) => ({ endpoint, by: 'attempts_max' })),
  )
})

test('more models than may be tried: the first ones have the places', () => {
  const models = Array.from({ length: 8 }, (_, at): ModelId => `mesh/model-${at}`)
  const endpoints = models.flatMap((model) => [
    exampleEndpoint(model, 'acme'),
    exampleEndpoint(model, 'bolt'),
  ])
  const input = planInput({ endpoints })
  assert.deepEqual(
    idsOf(input),
    models.slice(0, ATTEMPTS_MAX).map((model) => `${model}@acme`),
  )
  // Without fallbacks nothing is left out for want of a place.
  const single = plan({ ...input, route: exampleRoute({ allowFallbacks: false }) })
  assert.deepEqual([single.candidates.length, single.excluded], [1, []])
})

test('no prompt that may fit is left out, however many bytes a token has', () => {
  const long = (textBytes: number) =>
    plan(planInput({ endpoints: [PLAIN], input: shapeWith({ inputTokensBound: { ...TEXT, textBytes } }) }))
  // 100,000 tokens of 128 spaces each.
  assert.equal(long(12_800_000).candidates.length, 1)
  assert.equal(long(12_800_128).candidates.length, 0)
})

test('a plan never depends on the order of the catalogue, and puts a cheaper endpoint no later', () => {
  const endpoint = fc.record({
    model: fc.constantFrom<ModelId>('mesh/one', 'mesh/two', 'mesh/three'),
    provider: fc.constantFrom(...PROVIDERS),
    price: fc.bigInt(1n, 5n),
    builtProtocol: fc.boolean(),
  })
  const world = fc.uniqueArray(endpoint, {
    minLength: 1,
    maxLength: 12,
    selector: ({ model, provider }) => `${model}@${provider}`,
  })
  fc.assert(
    fc.property(world, fc.infiniteStream(fc.nat()), fc.subarray(PROVIDERS), (rows, shuffle, order) => {
      const endpoints = rows.map((row) =>
        exampleEndpoint(row.model, row.provider, {
          prices: examplePrices(row.price, row.price),
          protocol: row.builtProtocol ? 'openai_chat' : 'gemini_embed',
        }),
      )
      const shuffled = endpoints
        .map((each) => ({ each, key: shuffle.next().value ?? 0 }))
        .sort((a, b) => a.key - b.key)
        .map(({ each }) => each)
      const targets: ModelId[] = ['mesh/two', 'mesh/one', 'mesh/three']
      const input = { targets, ...routeWith({ order }) }
      const made = plan(planInput({ endpoints, input }))
      assert.deepEqual(plan(planInput({ endpoints: shuffled, input })), made)
      assert.equal(made.candidates.length + made.excluded.length, endpoints.length)
      assert.ok(made.candidates.length <= ATTEMPTS_MAX)
      const served = new Set(made.candidates.map(({ endpoint }) => endpoint.model))
      const possible = new Set(rows.filter(({ builtProtocol }) => builtProtocol).map(({ model }) => model))
      assert.deepEqual(served, possible)
      for (const [before, after] of made.candidates
        .slice(1)
        .map((after, at) => [made.candidates[at], after])) {
        if (!before || !after || before.endpoint.model !== after.endpoint.model) continue
        if (order.includes(before.endpoint.provider) || order.includes(after.endpoint.provider)) continue
        assert.ok(before.sellPrices.rates.input <= after.sellPrices.rates.input)
      }
    }),
  )
})

test('an endpoint that does not take what a call needs is left out, whether or not parameters are required', () => {
  const able = exampleEndpoint('mesh/one', 'acme', { supportedParameters: ['dimensions'] })
  const unable = exampleEndpoint('mesh/one', 'bolt', { supportedParameters: [] })
  const shape = exampleShape({ parameters: ['seed', 'dimensions'], needs: ['dimensions'] })
  const planned = plan(planInput({ endpoints: [able, unable], input: { shape } }))
  assert.deepEqual(
    planned.candidates.map(({ endpoint }) => endpoint.provider),
    ['acme'],
  )
  assert.deepEqual(planned.excluded, [{ endpoint: unable.id, by: 'parameters' }])
})

test('texts that each fit a context of their own fit together', () => {
  const endpoint = exampleEndpoint('mesh/one', 'acme', { contextTokens: 10 })
  const shapeOf = (contexts: number) => {
    const { inputTokensBound } = exampleShape()
    return exampleShape({ inputTokensBound: { ...inputTokensBound, textBytes: 3_000, contexts } })
  }
  const words = (contexts: number) =>
    plan(planInput({ endpoints: [endpoint], input: { shape: shapeOf(contexts) } })).excluded.map(
      ({ by }) => by,
    )
  assert.deepEqual([words(1), words(2), words(3)], [['context_length'], ['context_length'], []])
})
