import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadCatalog } from './load.ts'
import { createModelIndex } from './lookup.ts'

const catalog = loadCatalog()
const index = createModelIndex(catalog)

test('every id and every alias names its own model, in any case, with and without mesh/', () => {
  for (const model of catalog.models) {
    for (const name of [model.id, ...model.aliases]) {
      assert.equal(index.resolve(name), model, name)
      assert.equal(index.resolve(name.toUpperCase()), model, name)
      assert.equal(index.resolve(`mesh/${name.replace('mesh/', '')}`), model, name)
    }
  }
})

test("the vendors' and OpenRouter's names of a model", () => {
  const names: [string, string][] = [
    ['claude-sonnet-4.5', 'mesh/claude-sonnet-4.5'],
    ['claude-sonnet-4-5-20250929', 'mesh/claude-sonnet-4.5'],
    ['claude-sonnet-4-5', 'mesh/claude-sonnet-4.5'],
    ['anthropic/claude-sonnet-4.5', 'mesh/claude-sonnet-4.5'],
    ['Claude-Haiku-4-5', 'mesh/claude-haiku-4.5'],
    ['gpt-5-mini', 'mesh/gpt-5-mini'],
    ['openai/gpt-5-mini', 'mesh/gpt-5-mini'],
    ['google/gemini-3.1-pro-preview', 'mesh/gemini-3.1-pro'],
    ['google/gemma-4-31b-it', 'mesh/gemma-4-31b'],
    ['meta-llama/llama-4-maverick', 'mesh/llama-4-maverick'],
    ['meta-llama/llama-3.3-70b-instruct', 'mesh/llama-3.3-70b'],
    ['meta-llama/Llama-3.3-70B-Instruct-Turbo', 'mesh/llama-3.3-70b'],
    ['mistralai/mistral-large-2512', 'mesh/mistral-large-3'],
    ['qwen/qwen3-coder', 'mesh/qwen3-coder-480b'],
    ['x-ai/grok-4.3', 'mesh/grok-4.3'],
    ['command-a-03-2025', 'mesh/command-a'],
    ['global.anthropic.claude-sonnet-4-5-20250929-v1:0', 'mesh/claude-sonnet-4.5'],
  ]
  for (const [name, id] of names) assert.equal(index.resolve(name)?.id, id, name)
})

test('modes and tiers are targets and no models, with and without mesh/', () => {
  const targets: [string, string, string][] = [
    ['auto', 'mesh/auto', 'chat'],
    ['mesh/auto', 'mesh/auto', 'chat'],
    ['openrouter/auto', 'mesh/auto', 'chat'],
    ['Cheapest', 'mesh/cheapest', 'chat'],
    ['mesh/fast', 'mesh/fast', 'chat'],
    ['best', 'mesh/best', 'chat'],
    ['mesh/swift', 'mesh/swift', 'chat'],
    ['balanced', 'mesh/balanced', 'chat'],
    ['mesh/pro', 'mesh/pro', 'chat'],
    ['mesh/embed', 'mesh/embed', 'embedding'],
  ]
  for (const [name, id, kind] of targets) {
    const target = index.resolveTarget(name)
    assert.deepEqual([target?.id, target?.kind], [id, kind], name)
    assert.equal(index.resolve(name), undefined, name)
  }
  assert.equal(index.resolveTarget('claude-sonnet-4.5')?.id, 'mesh/claude-sonnet-4.5')
  for (const name of ['', 'mesh/', 'constructor', 'x'.repeat(1_000)]) {
    assert.equal(index.resolveTarget(name), undefined)
  }
})

test('what is no name resolves to nothing', () => {
  const long = 'mesh/claude-sonnet-4.5'.padEnd(1_000_000, ' ')
  for (const name of [
    '',
    'mesh/',
    'mesh',
    '/',
    '__proto__',
    'constructor',
    'mistral-large',
    'auto',
    'claude',
    long,
  ]) {
    assert.equal(index.resolve(name), undefined, name.slice(0, 40))
  }
})

test('a misspelt name finds the nearest ids first', () => {
  assert.deepEqual(index.nearest('mesh/claude-sonet-4.5', 2), [
    'mesh/claude-sonnet-4.5',
    'mesh/claude-sonnet-4.6',
  ])
  assert.equal(index.nearest('anthropic/Claude-Opus-4.7', 1)[0]?.startsWith('mesh/claude-opus-4.'), true)
  assert.equal(index.nearest('gpt5-mini', 1)[0], 'mesh/gpt-5-mini')
  // Two characters are missing from the one; one is missing from the other, and one is wrong.
  assert.deepEqual(index.nearest('gpt-4mini', 2), ['mesh/gpt-4o-mini', 'mesh/gpt-5-mini'])
  assert.equal(index.nearest('', 3).length, 3)
  assert.equal(index.nearest('x', 1_000).length, catalog.models.length)
})

test('no more of a hostile name is looked at than the bound', () => {
  let characters = 0
  const hostile = {
    length: 1_000_000,
    slice(from: number, until: number): string {
      characters = until - from
      return 'x'.repeat(characters)
    },
  }
  assert.equal(index.nearest(hostile as unknown as string, 3).length, 3)
  assert.ok(characters <= 128)
})
