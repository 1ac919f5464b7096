import assert from 'node:assert/strict'
import { test } from 'node:test'
import { respawnDelayMs } from './respawn.ts'

test('a steady worker is replaced at once, one that dies again and again later each time, within a bound', () => {
  assert.equal(respawnDelayMs(0), 0)
  const delays = Array.from({ length: 2_000 }, (_, deaths) => respawnDelayMs(deaths))
  assert.ok(delays.every((delay, deaths) => deaths === 0 || delay >= (delays[deaths - 1] ?? 0)))
  assert.deepEqual(delays.slice(1, 4), [100, 200, 400])
  assert.equal(delays.at(-1), 10_000)
})
