import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { jsonExcess } from './json-measure.ts'

const bounds = { nestingMax: 8, valuesMax: 400 }
/** Small bodies are not looked at, so what is measured stands beside this much of nothing. */
const padding = Buffer.alloc(70_000, ' ')

function measured(text: string) {
  return jsonExcess(Buffer.concat([padding, Buffer.from(text)]), bounds)
}

function depthOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0
  return 1 + Math.max(0, ...Object.values(value).map(depthOf))
}

function valuesOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0
  return Object.values(value).reduce((sum, member) => sum + 1 + valuesOf(member), 0)
}

test('nothing is refused that is within the bounds, whatever its texts hold', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 7, stringUnit: 'binary' }), (value) => {
      fc.pre(depthOf(value) <= bounds.nestingMax && valuesOf(value) <= bounds.valuesMax)
      assert.equal(measured(JSON.stringify(value)), undefined)
    }),
  )
})

test('what is too deep or too much is found, and brackets in texts are none', () => {
  const deep = '['.repeat(9) + ']'.repeat(9)
  assert.equal(measured(deep), 'nesting')
  assert.equal(measured(deep.slice(1, -1)), undefined)
  assert.equal(measured(JSON.stringify(deep.repeat(100))), undefined)
  assert.equal(measured(JSON.stringify(`\\"${deep}\\`)), undefined)
  assert.equal(measured(`["${'\\\\'.repeat(3)}",${deep}]`), 'nesting')
  assert.equal(measured(JSON.stringify(Array(401).fill(1))), undefined)
  assert.equal(measured(JSON.stringify(Array(402).fill(1))), 'values')
  assert.equal(measured(JSON.stringify(Array(402).fill([]))), 'values')
  assert.equal(measured('['.repeat(1_000_000)), 'nesting')
})
