import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PromptCache, type PromptPart, textPart } from './prompt-cache.ts'

const minutes = 60_000

function cacheAt(start = 0) {
  const clock = { nowMs: start }
  return { clock, cache: new PromptCache(() => clock.nowMs) }
}

const long = (letter: string, tokens: number) => textPart(letter.repeat(tokens * 4))

test('an unasked cache reads whole blocks of a prefix that was seen, from its minimum on', () => {
  const { cache, clock } = cacheAt()
  const use = (parts: readonly PromptPart[]) => cache.useAutomatic('openai', parts, 1024, 128).read
  assert.equal(use([long('a', 1200), long('b', 50)]), 0)
  assert.equal(use([long('a', 1200), long('c', 50)]), 1152)
  assert.equal(use([long('x', 1), long('a', 1200)]), 0)
  assert.equal(use([long('q', 1000)]), 0)
  assert.equal(use([long('q', 1000)]), 0)
  assert.equal(cache.useAutomatic('another scope', [long('a', 1200)], 1024, 128).read, 0)
  clock.nowMs += 11 * minutes
  assert.equal(use([long('a', 1200)]), 0)
})

test('a marked prefix is written once and read afterwards, until its time is over', () => {
  const { cache, clock } = cacheAt()
  const parts = [{ ...long('s', 2000), cacheTtl: '5m' as const }, long('u', 10)]
  const use = () => cache.useMarked('claude', parts, 1024)
  assert.deepEqual(use(), { read: 0, write5m: 2000, write1h: 0 })
  assert.deepEqual(use(), { read: 2000, write5m: 0, write1h: 0 })
  clock.nowMs += 4 * minutes
  assert.deepEqual(use(), { read: 2000, write5m: 0, write1h: 0 })
  clock.nowMs += 6 * minutes
  assert.deepEqual(use(), { read: 0, write5m: 2000, write1h: 0 })
})

test('each mark is written under its own time to live, and a longer prefix writes only what is new', () => {
  const { cache } = cacheAt()
  const tools = { ...long('t', 1500), cacheTtl: '1h' as const }
  const system = { ...long('s', 500), cacheTtl: '5m' as const }
  assert.deepEqual(cache.useMarked('claude', [tools, system], 1024), { read: 0, write5m: 500, write1h: 1500 })
  const turn = { ...long('m', 300), cacheTtl: '5m' as const }
  assert.deepEqual(cache.useMarked('claude', [tools, system, turn], 1024), {
    read: 2000,
    write5m: 300,
    write1h: 0,
  })
})

test('a mark on a prefix that is too short does nothing', () => {
  const { cache } = cacheAt()
  const parts = [{ ...long('s', 1000), cacheTtl: '5m' as const }]
  for (let turn = 0; turn < 2; turn += 1) {
    assert.deepEqual(cache.useMarked('claude', parts, 1024), { read: 0, write5m: 0, write1h: 0 })
  }
})
