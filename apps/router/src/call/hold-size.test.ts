import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadCatalog } from '@mesh/catalog/load.ts'
import type { Candidate } from '@mesh/engine/plan.ts'
import { sizeHold } from './hold-size.ts'

const SLICE = 4_096
const policy = { outputSliceTokens: SLICE, outputFloorTokens: 256, keySharePercent: 100, lifetimeMs: 60_000 }

/** A candidate of the catalogue, for a thousand tokens of input. */
function at(id: string): Candidate {
  const endpoint = loadCatalog()
    .models.flatMap(({ endpoints }) => endpoints)
    .find((candidate) => candidate.id === id)
  assert.ok(endpoint, id)
  return { endpoint, sellPrices: endpoint.prices, inputTokensMax: 1_000 }
}

const ANTHROPIC = at('mesh/claude-sonnet-4.5@anthropic')
const BEDROCK = at('mesh/claude-sonnet-4.5@amazon-bedrock')
const NOVA = at('mesh/nova-2-lite@amazon-bedrock')
const OPUS = at('mesh/claude-opus-4.6@anthropic')

function size(candidates: readonly Candidate[], maxOutputTokens?: number, choices = 1) {
  const { outputTokensWanted, outputTokensCap } = sizeHold({ candidates, maxOutputTokens, choices, policy })
  return [outputTokensWanted, outputTokensCap]
}

test('without max_tokens a slice is held first, whoever comes after', () => {
  assert.deepEqual(size([ANTHROPIC]), [SLICE, 64_000])
  assert.deepEqual(size([ANTHROPIC, BEDROCK]), [SLICE, 64_000])
  assert.deepEqual(size([ANTHROPIC, NOVA, OPUS]), [SLICE, 128_000])
  assert.deepEqual(size([ANTHROPIC, BEDROCK], undefined, 3), [3 * SLICE, 3 * 64_000])
})

test('where the first bills on, all that it can write is held, and not what a later one could', () => {
  assert.deepEqual(size([BEDROCK, ANTHROPIC]), [64_000, 64_000])
  assert.deepEqual(size([BEDROCK, OPUS]), [64_000, 128_000])
  assert.deepEqual(size([NOVA, OPUS]), [4_096, 128_000])
})

test('all of a stated max_tokens is held, and the dearest price of all candidates', () => {
  assert.deepEqual(size([ANTHROPIC, BEDROCK], 100), [100, 100])
  assert.deepEqual(size([ANTHROPIC], 8_000, 2), [16_000, 16_000])
  assert.deepEqual(size([NOVA], 100_000), [4_096, 4_096])
  const mixed = sizeHold({ candidates: [NOVA, OPUS], maxOutputTokens: 100, choices: 1, policy })
  assert.equal(mixed.outputPicoPerToken, OPUS.sellPrices.rates.output)
})
