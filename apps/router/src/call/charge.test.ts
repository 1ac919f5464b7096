import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadCatalog } from '@mesh/catalog/load.ts'
import { EMPTY_BUCKETS } from '@mesh/catalog/token-buckets.ts'
import type { Candidate } from '@mesh/engine/plan.ts'
import type { RunOutcome } from '@mesh/engine/run-outcome.ts'
import { chargeFor } from './charge.ts'

const dispatchedAt = new Date('2026-11-23T12:00:00Z')

function completed(output: number): RunOutcome {
  const endpoint = loadCatalog().models.find(({ id }) => id === 'mesh/gpt-4o-mini')?.endpoints[0]
  assert.ok(endpoint)
  const served: Candidate = { endpoint, sellPrices: endpoint.prices, inputTokensMax: 0 }
  return {
    status: 'completed',
    attempts: [{ candidate: served, outcome: 'served', durationMs: 1 }],
    served,
    usage: { buckets: { ...EMPTY_BUCKETS, output }, source: 'reported', flags: [] },
    finishReason: 'stop',
    contentSent: true,
    droppedParameters: [],
    durationMs: 1,
  }
}

test('nobody pays more than was held: the rest is the house’s, and said to be', () => {
  const outcome = completed(1_000)
  const { totalNano: priceNano, ...whole } = chargeFor({ outcome, heldNano: 10n ** 12n, dispatchedAt })
  assert.ok(priceNano > 1n)
  assert.equal(whole.clamped, false)
  assert.equal(chargeFor({ outcome, heldNano: priceNano, dispatchedAt }).clamped, false)
  const { totalNano, clamped, upstreamNano } = chargeFor({ outcome, heldNano: priceNano - 1n, dispatchedAt })
  assert.deepEqual([totalNano, clamped, upstreamNano], [priceNano - 1n, true, whole.upstreamNano])
})
