import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { EndpointId, ModelId } from '@mesh/catalog/catalog.ts'
import { loadCatalog } from '@mesh/catalog/load.ts'
import { MODES, modeId } from '@mesh/catalog/target.ts'
import fc from 'fast-check'
import { exampleRates, exampleRoute, exampleShape } from '../test/support/examples.ts'
import type { AskShape } from './ask.ts'
import { AUTO_RULES } from './auto-rules.ts'
import type { EndpointHealth } from './endpoint-health.ts'
import { inputTokensMax } from './input-bound.ts'
import { ATTEMPTS_MAX, type Plan, type PlanInput, plan } from './plan.ts'
import { expectedPrice } from './plan-order.ts'
import {
  createPlanSnapshot,
  type PlanSnapshot,
  type PlanState,
  type ProviderPreference,
} from './plan-snapshot.ts'

const catalog = loadCatalog()
const endpoints = catalog.models.flatMap((model) => model.endpoints)
const chatEndpoints = catalog.models.filter(({ kind }) => kind === 'chat').flatMap((model) => model.endpoints)
const providers = new Set(catalog.providers.map(({ id }) => id))

function snapshotOf(changes: Partial<PlanState> = {}): PlanSnapshot {
  return createPlanSnapshot({
    id: 'snapshot-1',
    catalog,
    sellPrices: new Map(endpoints.map(({ id, prices }) => [id, prices])),
    protocolBuilt: () => true,
    takesParameter: ({ supportedParameters }, name) => supportedParameters.includes(name),
    credentials: providers,
    enabledProviders: providers,
    preferences: new Map(),
    health: new Map(),
    ...changes,
  })
}

const SNAPSHOT = snapshotOf()

function withHealth(snapshot: PlanSnapshot, id: string, seen: PlanState['health']): PlanSnapshot {
  return { ...snapshot, id, health: seen }
}

function planned(targets: readonly ModelId[], changes: Partial<Omit<PlanInput, 'targets'>> = {}): Plan {
  return plan({
    targets,
    shape: exampleShape(),
    route: exampleRoute(),
    policy: { livemode: true },
    snapshot: SNAPSHOT,
    spreadKey: 'call-1',
    inputTokensMax,
    ...changes,
  })
}

const idsOf = ({ candidates }: Plan): EndpointId[] => candidates.map(({ endpoint }) => endpoint.id)
const health = (changes: Partial<EndpointHealth>): EndpointHealth => ({
  successRate: 1,
  samples: 20,
  breaker: 'closed',
  ...changes,
})

test('cheapest begins with the endpoint that costs least, of all that can do it', () => {
  const made = planned(['mesh/cheapest'])
  const prices = chatEndpoints.map(({ prices: schedule, contextTokens }) =>
    expectedPrice(schedule, exampleShape(), contextTokens),
  )
  const least = prices.reduce((a, b) => (b < a ? b : a))
  const [first] = made.candidates
  assert.ok(first)
  assert.equal(
    expectedPrice(first.sellPrices, exampleShape(), first.endpoint.contextTokens),
    least,
    first.endpoint.id,
  )
  assert.deepEqual([made.mode, made.rule, made.candidates.length], ['cheapest', 'cheapest', ATTEMPTS_MAX])
})

test('best begins with the highest rating, and puts models that nobody rated after all others', () => {
  const made = planned(['mesh/best'])
  const ratings = catalog.models.flatMap(({ kind, quality }) =>
    kind === 'chat' ? (quality?.score ?? []) : [],
  )
  const first = catalog.models.find(({ id }) => id === made.candidates[0]?.endpoint.model)
  assert.equal(first?.quality?.score, Math.max(...ratings))
  const scores = [...made.candidates.map(({ endpoint }) => endpoint.model), ...leftOut(made)].map(
    (id) => catalog.models.find((model) => model.id === id)?.quality?.score,
  )
  const firstUnrated = scores.indexOf(undefined)
  assert.ok(firstUnrated > 0)
  assert.ok(scores.slice(firstUnrated).every((score) => score === undefined))
  // The list price stands in for their rating: the dearest comes first.
  const unrated = [...new Set(leftOut(made).slice(firstUnrated - made.candidates.length))]
  assert.deepEqual(unrated, ['mesh/devstral-2', 'mesh/qwen3.6-35b-a3b', 'mesh/mistral-small-4'])
})

/** The models of what had no place, in their order. */
function leftOut({ excluded }: Plan): ModelId[] {
  return excluded.flatMap(({ endpoint, by }) => {
    const model = endpoints.find(({ id }) => id === endpoint)?.model
    return by === 'attempts_max' && model ? [model] : []
  })
}

test('fast goes by what was measured; too few samples count for nothing, and the unknown comes last', () => {
  const fast = 'mesh/llama-3.3-70b@deepinfra'
  const slow = 'mesh/gpt-oss-20b@groq'
  const few = 'mesh/gpt-oss-20b@deepinfra'
  const seen = new Map<EndpointId, EndpointHealth>([
    [fast, health({ firstTokenMsP50: 200, tokensPerSecondP50: 500 })],
    [slow, health({ firstTokenMsP50: 900, tokensPerSecondP50: 100 })],
    [few, health({ firstTokenMsP50: 1, tokensPerSecondP50: 9_000, samples: 19 })],
  ])
  const made = planned(['mesh/fast'], { snapshot: withHealth(SNAPSHOT, 'snapshot-2', seen) })
  assert.deepEqual(idsOf(made).slice(0, 2), [fast, slow])
  assert.deepEqual([made.mode, made.rule, made.snapshot], ['fast', 'fast', 'snapshot-2'])
  // Nothing is known of the others, so the price decides among them.
  assert.deepEqual(
    idsOf(made).slice(2),
    idsOf(planned(['mesh/cheapest']))
      .filter((id) => id !== slow)
      .slice(0, 4),
  )
})

test('speeds within ten per cent are equal, so the price decides', () => {
  const dear = 'mesh/claude-opus-4.6@anthropic'
  const cheap = 'mesh/gpt-oss-20b@groq'
  const speeds = (dearMs: number): PlanSnapshot =>
    withHealth(
      SNAPSHOT,
      'snapshot-2',
      new Map([
        [dear, health({ firstTokenMsP50: dearMs, tokensPerSecondP50: 100 })],
        [cheap, health({ firstTokenMsP50: 500, tokensPerSecondP50: 100 })],
      ]),
    )
  assert.equal(idsOf(planned(['mesh/fast'], { snapshot: speeds(490) }))[0], cheap)
  // A short answer is over as soon as it begins.
  const short = exampleShape({ maxOutputTokens: 1 })
  assert.equal(idsOf(planned(['mesh/fast'], { snapshot: speeds(100), shape: short }))[0], dear)
})

test('what the catalogue states of a speed stands in until it is measured', () => {
  const stated = 'mesh/claude-haiku-4.5@anthropic'
  const models = catalog.models.map((model) => ({
    ...model,
    endpoints: model.endpoints.map((endpoint) =>
      endpoint.id === stated
        ? {
            ...endpoint,
            speed: { firstTokenMs: 400, tokensPerSecond: 150, source: 'a test', date: '2026-01-01' },
          }
        : endpoint,
    ),
  }))
  const snapshot = snapshotOf({ catalog: { ...catalog, models } })
  assert.equal(idsOf(planned(['mesh/fast'], { snapshot }))[0], stated)
  const measured = withHealth(
    snapshot,
    'snapshot-2',
    new Map([
      [stated, health({ firstTokenMsP50: 9_000, tokensPerSecondP50: 10 })],
      ['mesh/gpt-oss-20b@groq', health({ firstTokenMsP50: 300, tokensPerSecondP50: 150 })],
    ]),
  )
  assert.equal(idsOf(planned(['mesh/fast'], { snapshot: measured }))[0], 'mesh/gpt-oss-20b@groq')
})

const withTools = { parameters: ['tools'] }
const AUTO_CASES: readonly (readonly [rule: string, shape: Partial<AskShape>])[] = [
  ['auto.plain', {}],
  ['auto.plain', { parameters: ['reasoning'], reasoning: { effort: 'low' } }],
  ['auto.reasoning', { parameters: ['reasoning'], reasoning: { effort: 'high' } }],
  ['auto.reasoning', { parameters: ['reasoning', 'tools'], reasoning: { maxTokens: 16_384 } }],
  ['auto.tools', withTools],
  ['auto.tools', { parameters: ['response_format.json_schema'] }],
  ['auto.long_input', { inputTokensBound: { ...exampleShape().inputTokensBound, textBytes: 131_072 } }],
  ['auto.plain', { inputTokensBound: { ...exampleShape().inputTokensBound, textBytes: 130_000 } }],
]

for (const [rule, changes] of AUTO_CASES) {
  test(`auto follows ${rule} for ${JSON.stringify(changes)}, and begins with what the rule prefers`, () => {
    const made = planned(['mesh/auto'], { shape: exampleShape(changes) })
    assert.deepEqual([made.mode, made.rule], ['auto', rule])
    const prefers = AUTO_RULES.find(({ id }) => id === rule)?.prefers ?? []
    const preferred = new Set(
      catalog.tiers
        .filter(({ id }) => prefers.includes(id))
        .flatMap(({ models }) => models.map(({ model }) => model)),
    )
    assert.ok(made.candidates.length > 0)
    for (const { endpoint } of made.candidates) assert.ok(preferred.has(endpoint.model), endpoint.id)
  })
}

test('auto refuses nothing that fits: what a rule does not prefer comes after', () => {
  const allowedModels = new Set<ModelId>(['mesh/llama-4-maverick'])
  const made = planned(['mesh/auto'], { policy: { livemode: true, allowedModels } })
  assert.deepEqual(
    [...new Set(made.candidates.map(({ endpoint }) => endpoint.model))],
    ['mesh/llama-4-maverick'],
  )
})

test('a tier holds only its own models, by price; sort orders it otherwise', () => {
  const made = planned(['mesh/balanced'])
  const members = new Set(SNAPSHOT.index.ofTier.get('mesh/balanced')?.map(({ endpoint }) => endpoint.model))
  assert.deepEqual([made.mode, made.rule], ['tier', 'balanced'])
  assert.ok(made.candidates.every(({ endpoint }) => members.has(endpoint.model)))
  const fastest = 'mesh/claude-haiku-4.5@anthropic'
  const snapshot = withHealth(
    SNAPSHOT,
    'snapshot-2',
    new Map([[fastest, health({ tokensPerSecondP50: 300 })]]),
  )
  const sorted = planned(['mesh/balanced'], { snapshot, route: exampleRoute({ sort: 'throughput' }) })
  assert.equal(idsOf(sorted)[0], fastest)
  assert.equal(sorted.rule, 'balanced.by_throughput')
})

test('a tier for embeddings is one model: vectors of two models cannot be compared', () => {
  const made = planned(['mesh/embed'])
  assert.equal(new Set(made.candidates.map(({ endpoint }) => endpoint.model)).size, 1)
})

test('sort orders the endpoints of a model; what is unknown comes last', () => {
  const model = 'mesh/gpt-oss-120b'
  const snapshot = withHealth(
    SNAPSHOT,
    'snapshot-2',
    new Map([
      [`${model}@tinfoil` as const, health({ firstTokenMsP50: 900, tokensPerSecondP50: 300 })],
      [`${model}@groq` as const, health({ firstTokenMsP50: 100, tokensPerSecondP50: 200 })],
    ]),
  )
  const first = (sort: 'price' | 'throughput' | 'latency') => {
    const made = planned([model], { snapshot, route: exampleRoute({ sort }) })
    return [made.rule, idsOf(made)[0], idsOf(made)[1]]
  }
  assert.deepEqual(first('latency'), ['latency', `${model}@groq`, `${model}@tinfoil`])
  assert.deepEqual(first('throughput'), ['throughput', `${model}@tinfoil`, `${model}@groq`])
  assert.deepEqual(first('price'), ['price', `${model}@deepinfra`, first('price')[2]])
})

test('an endpoint that may be tried again keeps its place: its gate decides who tries it', () => {
  const model = 'mesh/claude-sonnet-4.5'
  const half = new Map([[`${model}@anthropic` as const, health({ breaker: 'half_open' })]])
  const snapshot = withHealth(SNAPSHOT, 'snapshot-2', half)
  assert.deepEqual(idsOf(planned([model], { snapshot })), [`${model}@anthropic`, `${model}@amazon-bedrock`])
})

test('a mode takes no model that cannot do what is asked; a model that is named is asked without it', () => {
  const shape = exampleShape({ parameters: ['tools', 'reasoning', 'seed'] })
  const takesParameter: PlanState['takesParameter'] = ({ model, supportedParameters }, name) =>
    model !== 'mesh/gpt-oss-20b' && supportedParameters.includes(name)
  const snapshot = snapshotOf({ takesParameter })
  const made = planned(['mesh/cheapest'], { shape, snapshot })
  for (const { endpoint } of made.candidates) {
    for (const name of ['tools', 'reasoning']) assert.ok(endpoint.supportedParameters.includes(name))
  }
  assert.ok(
    made.excluded.some(({ endpoint, by }) => endpoint === 'mesh/gpt-oss-20b@groq' && by === 'parameters'),
  )
  assert.ok(planned(['mesh/gpt-oss-20b'], { shape, snapshot }).candidates.length > 0)
})

test('a mode takes no model that is too small for what the call probably comes to', () => {
  const outputTokens = 40_000
  const made = planned(['mesh/cheapest'], { shape: exampleShape({ maxOutputTokens: outputTokens }) })
  for (const { endpoint } of made.candidates) assert.ok(endpoint.outputTokensMax >= outputTokens, endpoint.id)
  const textBytes = 4 * 200_000
  const long = planned(['mesh/cheapest'], {
    shape: exampleShape({ inputTokensBound: { ...exampleShape().inputTokensBound, textBytes } }),
  })
  for (const { endpoint } of long.candidates) assert.ok(endpoint.contextTokens > 200_000, endpoint.id)
  assert.ok(long.excluded.some(({ by }) => by === 'context_length'))
})

test('the order of targets wins, models, modes and tiers mixed; every target has a place', () => {
  const made = planned(['mesh/claude-opus-4.6', 'mesh/cheapest', 'mesh/gpt-5.5'])
  const ids = idsOf(made)
  assert.equal(ids[0], 'mesh/claude-opus-4.6@anthropic')
  assert.equal(ids[2], idsOf(planned(['mesh/cheapest']))[0])
  assert.ok(ids.some((id) => id.startsWith('mesh/gpt-5.5@')))
  assert.equal(ids.length, ATTEMPTS_MAX)
  assert.equal(new Set(ids).size, ids.length)
  assert.deepEqual([made.mode, made.rule], ['models', 'price'])
  const words = new Map(made.excluded.map(({ endpoint, by }) => [endpoint, by]))
  assert.equal(words.size, made.excluded.length, 'no endpoint is removed twice')
  for (const id of ids) assert.ok(!words.has(id))
})

const anyShape: fc.Arbitrary<AskShape> = fc
  .record({
    textBytes: fc.integer({ min: 0, max: 2_000_000 }),
    maxOutputTokens: fc.option(fc.integer({ min: 1, max: 100_000 }), { nil: undefined }),
    choices: fc.integer({ min: 1, max: 4 }),
    image: fc.boolean(),
    parameters: fc.subarray(['tools', 'response_format.json_schema', 'reasoning', 'temperature', 'seed']),
    effort: fc.constantFrom('low' as const, 'high' as const, undefined),
  })
  .map(({ textBytes, maxOutputTokens, choices, image, parameters, effort }) =>
    exampleShape({
      inputTokensBound: {
        textTokens: textBytes,
        textBytes,
        messages: 1,
        images: image ? 1 : 0,
        files: 0,
        audioSeconds: 0,
      },
      ...(maxOutputTokens === undefined ? {} : { maxOutputTokens }),
      choices,
      modalities: { image, file: false, audio: false },
      parameters,
      ...(effort ? { reasoning: { effort } } : {}),
    }),
  )

const anyTarget = fc.constantFrom<ModelId>(
  ...MODES.map(modeId),
  ...catalog.tiers.filter(({ kind }) => kind === 'chat').map(({ id }) => id),
  ...catalog.models.filter(({ kind }) => kind === 'chat').map(({ id }) => id),
)
const anyTargets = fc.array(anyTarget, { minLength: 1, maxLength: 4 })
const anyRoute = fc
  .record({
    order: fc.subarray([...providers]),
    ignore: fc.subarray([...providers], { maxLength: 3 }),
    sort: fc.constantFrom('price' as const, 'throughput' as const, 'latency' as const, undefined),
    allowFallbacks: fc.boolean(),
  })
  .map(({ sort, ...rest }) => exampleRoute({ ...rest, ...(sort ? { sort } : {}) }))
const anyHealth = fc.dictionary(
  fc.constantFrom(...endpoints.map(({ id }) => id)),
  fc.record({
    successRate: fc.double({ min: 0, max: 1, noNaN: true }),
    firstTokenMsP50: fc.integer({ min: 1, max: 60_000 }),
    tokensPerSecondP50: fc.integer({ min: 1, max: 2_000 }),
    samples: fc.integer({ min: 0, max: 40 }),
    breaker: fc.constantFrom('closed' as const, 'open' as const, 'half_open' as const),
  }),
  { maxKeys: 30 },
)
const healthMap = (seen: Record<string, EndpointHealth>): PlanSnapshot['health'] =>
  new Map(endpoints.flatMap(({ id }) => (seen[id] ? [[id, seen[id]] as const] : [])))

test('the same input gives the same plan, in whatever order the catalogue lists its rows', () => {
  fc.assert(
    fc.property(
      anyTargets,
      anyShape,
      anyRoute,
      anyHealth,
      fc.infiniteStream(fc.nat()),
      (targets, shape, route, seen, keys) => {
        const shuffle = <Row>(rows: readonly Row[]): Row[] =>
          rows
            .map((row) => ({ row, key: keys.next().value ?? 0 }))
            .sort((a, b) => a.key - b.key)
            .map(({ row }) => row)
        const models = shuffle(
          catalog.models.map((model) => ({ ...model, endpoints: shuffle(model.endpoints) })),
        )
        const shuffled = snapshotOf({
          catalog: { ...catalog, models, tiers: shuffle(catalog.tiers) },
          health: healthMap(seen),
        })
        const snapshot = withHealth(SNAPSHOT, 'snapshot-1', healthMap(seen))
        const made = planned(targets, { shape, route, snapshot })
        assert.deepEqual(planned(targets, { shape, route, snapshot }), made)
        assert.deepEqual(planned(targets, { shape, route, snapshot: shuffled }), made)
      },
    ),
  )
})

test("no limit, floor or filter is left by any way: mode, tier, fallback or the caller's order", () => {
  const anyPolicy = fc.record({
    allowedModels: fc.option(fc.subarray(catalog.models.map(({ id }) => id)), { nil: undefined }),
    allowedProviders: fc.option(fc.subarray([...providers]), { nil: undefined }),
    maxOutputPricePico: fc.option(fc.bigInt(100_000n, 30_000_000n), { nil: undefined }),
  })
  fc.assert(
    fc.property(
      anyTargets,
      anyShape,
      anyRoute,
      anyHealth,
      anyPolicy,
      (targets, shape, route, seen, policy) => {
        const { allowedModels, allowedProviders, maxOutputPricePico } = policy
        const made = planned(targets, {
          shape,
          route: { ...route, ...(maxOutputPricePico === undefined ? {} : { maxOutputPricePico }) },
          snapshot: withHealth(SNAPSHOT, 'snapshot-1', healthMap(seen)),
          policy: {
            livemode: true,
            ...(allowedModels ? { allowedModels: new Set(allowedModels) } : {}),
            ...(allowedProviders ? { allowedProviders: new Set(allowedProviders) } : {}),
          },
        })
        assert.ok(made.candidates.length <= (route.allowFallbacks ? ATTEMPTS_MAX : 1))
        for (const { endpoint, sellPrices } of made.candidates) {
          assert.ok(!allowedModels || allowedModels.includes(endpoint.model))
          assert.ok(!allowedProviders || allowedProviders.includes(endpoint.provider))
          assert.ok(!route.ignore.includes(endpoint.provider))
          assert.ok(!shape.modalities.image || endpoint.inputModalities.includes('image'))
          assert.ok(maxOutputPricePico === undefined || sellPrices.rates.output <= maxOutputPricePico)
          assert.notEqual(seen[endpoint.id]?.breaker, 'open')
        }
        const nothing = planned(targets, {
          shape,
          route,
          policy: { livemode: true, minimumPrivacyClass: 'protected' },
        })
        assert.deepEqual(nothing.candidates, [], 'no endpoint of the catalogue is known to keep nothing')
      },
    ),
  )
})

test('under cheapest a cheaper price never ranks lower', () => {
  const anyEndpoint = fc.constantFrom(...chatEndpoints)
  fc.assert(
    fc.property(anyEndpoint, anyShape, fc.bigInt(0n, 99n), (endpoint, shape, percent) => {
      const rank = (snapshot: PlanSnapshot): number => {
        const made = planned(['mesh/cheapest'], { shape, snapshot })
        const left = made.excluded.filter(({ by }) => by === 'attempts_max').map(({ endpoint: id }) => id)
        return [...idsOf(made), ...left].indexOf(endpoint.id)
      }
      const { input, output } = endpoint.prices.rates
      const rates = exampleRates((input * percent) / 100n, (output * percent) / 100n)
      const sellPrices = new Map(SNAPSHOT.sellPrices).set(endpoint.id, { rates, tiers: [], windows: [] })
      assert.ok(rank(snapshotOf({ sellPrices })) <= rank(SNAPSHOT))
    }),
  )
})

/** A model that several providers sell, with what an operator prefers among them. */
const SHARED = 'mesh/gpt-oss-120b'
const preferring = (preferences: Record<string, ProviderPreference>): PlanSnapshot =>
  snapshotOf({ preferences: new Map(Object.entries(preferences)) })
const providerOf = (made: Plan): string | undefined => made.candidates[0]?.endpoint.provider
const sellers = idsOf(planned([SHARED])).map((id) => id.slice(id.lastIndexOf('@') + 1))

test('a provider of a higher priority comes first, whatever it costs, and a lower one last', () => {
  const [cheapest = '', second = ''] = sellers
  const dearest = sellers.at(-1) ?? ''
  const snapshot = preferring({ [dearest]: { priority: 5 }, [cheapest]: { priority: -1 } })
  const order = idsOf(planned([SHARED], { snapshot })).map((id) => id.slice(id.lastIndexOf('@') + 1))
  assert.deepEqual([order[0], order[1], order.at(-1)], [dearest, second, cheapest])
  assert.equal(planned([SHARED], { snapshot }).rule, 'operator')
  const others = preferring({ [`not-${cheapest}`]: { priority: 5 } })
  assert.equal(planned([SHARED], { snapshot: others }).rule, 'price')
})

test("what the caller says goes before what the operator prefers: his order, his sort, and a mode's own", () => {
  const [cheapest = ''] = sellers
  const dearest = sellers.at(-1) ?? ''
  const snapshot = preferring({ [dearest]: { priority: 5 } })
  const route = (changes: object) => ({ snapshot, route: { ...exampleRoute(), ...changes } })
  assert.equal(providerOf(planned([SHARED], route({ order: [cheapest] }))), cheapest)
  assert.equal(providerOf(planned([SHARED], route({ sort: 'price' }))), cheapest)
  assert.equal(planned([SHARED], route({ sort: 'price' })).rule, 'price')
  assert.deepEqual(idsOf(planned(['mesh/cheapest'], { snapshot })), idsOf(planned(['mesh/cheapest'])))
})

test('calls are spread by weight, each always alike, and a session stays where it is', () => {
  const [one = '', other = '', third = ''] = sellers
  const snapshot = preferring({ [one]: { priority: 0, weight: 3 }, [other]: { priority: 0, weight: 1 } })
  const drawn = Array.from({ length: 4_000 }, (_, at) =>
    providerOf(planned([SHARED], { snapshot, spreadKey: `req_${at}` })),
  )
  const share = drawn.filter((provider) => provider === one).length / drawn.length
  assert.ok(share > 0.72 && share < 0.78, `${share}`)
  assert.ok(!drawn.includes(third))
  const again = planned([SHARED], { snapshot, spreadKey: 'req_7' })
  assert.equal(providerOf(again), drawn[7])
  const inSession = Array.from({ length: 50 }, (_, at) =>
    providerOf(
      planned([SHARED], {
        snapshot,
        spreadKey: `req_${at}`,
        route: { ...exampleRoute(), sessionId: 'session-1' },
      }),
    ),
  )
  assert.equal(new Set(inSession).size, 1)
})
