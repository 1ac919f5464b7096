import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Json, JsonObject } from './ask.ts'
import { schemaProblem } from './json-schema.ts'

const DAY: JsonObject = {
  type: 'object',
  properties: {
    name: { enum: ['mon', 'tue'] },
    hours: { type: 'array', items: { type: 'integer', minimum: 0, maximum: 23 }, minItems: 1 },
    next: { anyOf: [{ $ref: '#' }, { type: 'null' }] },
    note: { $ref: '#/$defs/text' },
  },
  required: ['name', 'hours'],
  additionalProperties: false,
  $defs: { text: { type: ['string', 'null'], maxLength: 3 } },
}

const CASES: readonly (readonly [Json, string | undefined])[] = [
  [{ name: 'mon', hours: [0, 23] }, undefined],
  [{ name: 'mon', hours: [1], next: { name: 'tue', hours: [2], next: null } }, undefined],
  [{ name: 'mon', hours: [1], note: 'é€𝄞' }, undefined],
  ['mon', '$ must be object'],
  [{ hours: [1] }, '$.name is missing'],
  [{ name: 'wed', hours: [1] }, '$.name must be one of the values that the schema lists'],
  [{ name: 'mon', hours: [] }, '$.hours, the number of its items, must be 1 or more'],
  [{ name: 'mon', hours: [1, 1.5] }, '$.hours[1] must be integer'],
  [{ name: 'mon', hours: [24] }, '$.hours[0] must be 23 or less'],
  [{ name: 'mon', hours: [1], more: true }, '$.more must not be there'],
  [{ name: 'mon', hours: [1], note: 'long' }, '$.note, its length, must be 3 or less'],
  [
    { name: 'mon', hours: [1], next: { name: 'tue' } },
    '$.next fits none of its forms: $.next.hours is missing',
  ],
]

for (const [value, problem] of CASES) {
  test(`${JSON.stringify(value)} against a schema: ${problem ?? 'fits'}`, () => {
    assert.equal(schemaProblem(DAY, value), problem)
  })
}

test('equal values are equal whatever the order of their keys', () => {
  assert.equal(schemaProblem({ const: { a: 1, b: [2] } }, { b: [2], a: 1 }), undefined)
  assert.ok(schemaProblem({ const: { a: 1, b: [2] } }, { b: [2], a: 2 }))
})

test('whatever is taken for a schema, it is read to an end and never throws', () => {
  fc.assert(
    fc.property(fc.object(), fc.jsonValue(), (schema, value) => {
      schemaProblem(JSON.parse(JSON.stringify(schema)), value as Json)
    }),
  )
  const endless: JsonObject = { $ref: '#', allOf: [{ $ref: '#' }, { $ref: '#' }] }
  assert.equal(schemaProblem(endless, 1), undefined)
})

test('a value that was made from its own types fits them', () => {
  const value = fc.record({
    name: fc.constantFrom('mon', 'tue'),
    hours: fc.array(fc.nat(23), { minLength: 1 }),
  })
  fc.assert(fc.property(value, (day) => schemaProblem(DAY, day) === undefined))
})

test('a hostile schema, and a large value, cost no more than so many steps', { timeout: 30_000 }, () => {
  const large = Object.fromEntries(Array.from({ length: 20_000 }, (_, at) => [`member ${at}`, at]))
  const long = 'a'.repeat(1_000_000)
  const many = <Rule>(rule: Rule): Rule[] => Array.from({ length: 50_000 }, () => rule)
  const around = `#${'/a'.repeat(500_000)}`
  for (const [schema, value] of [
    [{ anyOf: many({ enum: [{ other: 1 }] }) }, large],
    [{ anyOf: many({ properties: { 'member 0': { type: 'string' } } }) }, large],
    [{ allOf: many({ minLength: 1, maxLength: 2_000_000 }) }, long],
    [{ items: { $ref: around } }, many(1)],
    [{ allOf: many({ $ref: '#/$defs/all' }), $defs: { all: { required: Object.keys(large) } } }, large],
    [{ allOf: many({ $ref: '#/$defs/any' }), $defs: { any: { type: many('object') } } }, large],
  ] as const) {
    schemaProblem(schema, value)
  }
})
