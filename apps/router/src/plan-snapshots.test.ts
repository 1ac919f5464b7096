import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { EndpointId } from '@mesh/catalog/catalog.ts'
import { loadCatalog } from '@mesh/catalog/load.ts'
import type { EndpointHealth } from '@mesh/engine/endpoint-health.ts'
import { createPlanSnapshots, type SnapshotParts } from './plan-snapshots.ts'
import { policySchema } from './policy.ts'
import { priceBookOf } from './prices.ts'

const catalog = loadCatalog()
const prices = priceBookOf(catalog, policySchema.parse({})).standard
const all = new Set(catalog.providers.map(({ id }) => id))
const PARTS: SnapshotParts = {
  catalog,
  prices,
  credentials: new Set(['openai']),
  enabledProviders: all,
  preferences: new Map(),
  health: new Map(),
}
const ENDPOINT: EndpointId = 'mesh/gpt-5.5@openai'
const seen = (changes: Partial<EndpointHealth>) =>
  new Map([[ENDPOINT, { successRate: 1, samples: 100, breaker: 'closed' as const, ...changes }]])

test('a snapshot is named by what it is made of, and is the same one while that stays', () => {
  const before = createPlanSnapshots(PARTS)
  const again = createPlanSnapshots(PARTS, before)
  assert.equal(again.live, before.live)
  assert.equal(createPlanSnapshots(PARTS).live.id, before.live.id)
  assert.ok(before.live.id.startsWith(`${catalog.version}/`))
  const others = [
    createPlanSnapshots({ ...PARTS, credentials: all }),
    createPlanSnapshots({ ...PARTS, enabledProviders: new Set(['openai']) }),
    createPlanSnapshots({ ...PARTS, preferences: new Map([['openai', { priority: 1 }]]) }),
    createPlanSnapshots({ ...PARTS, health: seen({ firstTokenMsP50: 300 }) }),
    createPlanSnapshots({
      ...PARTS,
      prices: priceBookOf(catalog, policySchema.parse({ pricing: { markupBasisPoints: 600 } })).standard,
    }),
  ]
  const ids = [before, ...others].map(({ live }) => live.id)
  assert.equal(new Set(ids).size, ids.length)
})

test('what is seen of live endpoints, and what operators set for them, moves no test call', () => {
  const before = createPlanSnapshots(PARTS)
  const changed = { ...PARTS, health: seen({ breaker: 'open' }), enabledProviders: new Set(['anthropic']) }
  const after = createPlanSnapshots(changed, before)
  assert.equal(after.test, before.test)
  assert.equal(after.live.health.get(ENDPOINT)?.breaker, 'open')
  assert.equal(after.test.health.size, 0)
})

test('noise in what is seen makes no new snapshot', () => {
  const before = createPlanSnapshots({ ...PARTS, health: seen({ firstTokenMsP50: 412, samples: 100 }) })
  const after = createPlanSnapshots({ ...PARTS, health: seen({ firstTokenMsP50: 415, samples: 90 }) }, before)
  assert.equal(after.live, before.live)
})
