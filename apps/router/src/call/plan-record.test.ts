import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ModelId } from '@mesh/catalog/catalog.ts'
import type { AskShape, RouteRequest } from '@mesh/engine/ask.ts'
import { PRIVACY_CLASSES } from '@mesh/engine/privacy-class.ts'
import fc from 'fast-check'
import { type PlanRequest, readPlanRecord, recordOf } from './plan-record.ts'

const PROVIDERS = ['openai', 'anthropic', 'groq']
const isProvider = (id: string): boolean => PROVIDERS.includes(id)
const count = fc.nat({ max: 1_000_000 })
const optional = <Value>(values: fc.Arbitrary<Value>) => fc.option(values, { nil: undefined })

/** Leaves out what is `undefined`, as the callers of a plan do. */
function given<Values extends object>(values: Values) {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined))
}

const shape: fc.Arbitrary<AskShape> = fc
  .record({
    inputTokensBound: fc.record(
      {
        textTokens: count,
        textBytes: count,
        messages: count,
        images: count,
        files: count,
        audioSeconds: count,
      },
      { noNullPrototype: true },
    ),
    maxOutputTokens: optional(count),
    choices: fc.integer({ min: 1, max: 8 }),
    modalities: fc.record(
      { image: fc.boolean(), file: fc.boolean(), audio: fc.boolean() },
      { noNullPrototype: true },
    ),
    parameters: fc.subarray(['tools', 'stream', 'reasoning', 'seed']),
    reasoning: optional(
      fc.record(
        { effort: fc.constantFrom('low', 'high'), maxTokens: count },
        { requiredKeys: [], noNullPrototype: true },
      ),
    ),
  })
  .map((values) => given(values) as unknown as AskShape)

const route: fc.Arbitrary<RouteRequest> = fc
  .record({
    models: fc.constant([]),
    allowFallbacks: fc.boolean(),
    order: fc.subarray(PROVIDERS),
    only: fc.subarray(PROVIDERS),
    ignore: fc.subarray(PROVIDERS),
    requireParameters: fc.boolean(),
    sessionId: optional(fc.constantFrom('0a', 'ff')),
    sort: optional(fc.constantFrom('price', 'throughput', 'latency')),
    maxInputPricePico: optional(fc.bigInt(0n, 10n ** 15n)),
    maxOutputPricePico: optional(fc.bigInt(0n, 10n ** 15n)),
    denyDataCollection: fc.boolean(),
    zeroDataRetention: fc.boolean(),
  })
  .map((values) => given(values) as unknown as RouteRequest)

const policy = fc
  .record({
    allowedModels: optional(fc.subarray<ModelId>(['mesh/one', 'mesh/two']).map((ids) => new Set(ids))),
    allowedProviders: optional(fc.subarray(PROVIDERS).map((ids) => new Set(ids))),
    minimumPrivacyClass: fc.constantFrom(...PRIVACY_CLASSES),
    livemode: fc.boolean(),
  })
  .map((values) => given(values) as unknown as PlanRequest['policy'])

test('what is kept of a plan, through JSON, is all that it was made from', () => {
  fc.assert(
    fc.property(shape, route, policy, (askShape, routeRequest, planPolicy) => {
      const targets: ModelId[] = ['mesh/auto']
      const request: PlanRequest = { targets, shape: askShape, route: routeRequest, policy: planPolicy }
      const kept = JSON.parse(JSON.stringify(recordOf(request, isProvider)))
      const { livemode } = planPolicy
      assert.deepEqual(readPlanRecord(kept, { targets, livemode })?.request, request)
    }),
  )
})

test('a plain call keeps little, and nobody keeps a name that is no provider', () => {
  const plain: PlanRequest = {
    targets: ['mesh/auto'],
    shape: {
      inputTokensBound: {
        textTokens: 400,
        textBytes: 370,
        messages: 1,
        images: 0,
        files: 0,
        audioSeconds: 0,
      },
      choices: 1,
      modalities: { image: false, file: false, audio: false },
      parameters: ['stream'],
    },
    route: {
      ...{ models: ['auto'], allowFallbacks: true, order: [], only: [], ignore: [] },
      ...{ requireParameters: false, denyDataCollection: false, zeroDataRetention: false },
    },
    policy: { livemode: false, minimumPrivacyClass: 'standard' },
  }
  assert.equal(JSON.stringify(recordOf(plain, isProvider)), '{"in":[400,370,1,0,0,0],"params":["stream"]}')
  const named = recordOf({ ...plain, route: { ...plain.route, only: ['kanarie', 'groq'] } }, isProvider)
  assert.deepEqual(named.only, ['?', 'groq'])
})

test('what is no record is none', () => {
  for (const kept of [undefined, null, {}, { in: [1] }, 'text', { in: [1, 1, 1, 1, 1, -1] }]) {
    assert.equal(readPlanRecord(kept, { targets: [], livemode: false }), undefined)
  }
})
