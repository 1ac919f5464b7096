import assert from 'node:assert/strict'
import { test } from 'node:test'
import { z } from 'zod'
import type { JsonObject } from './json.ts'
import { exampleOf } from './schema-example.ts'

const schemas: readonly JsonObject[] = [
  { type: 'object', properties: {}, additionalProperties: false },
  {
    type: 'object',
    properties: {
      city: { type: 'string', minLength: 12, maxLength: 14 },
      unit: { type: 'string', enum: ['celsius', 'kelvin'] },
      days: { type: 'integer', minimum: 3, maximum: 9 },
      share: { type: 'number', exclusiveMinimum: 0, exclusiveMaximum: 1 },
      even: { type: 'integer', multipleOf: 4, minimum: 5 },
      when: { type: 'string', format: 'date-time' },
      id: { type: 'string', format: 'uuid' },
      code: { type: 'string', pattern: '^[A-Z]{3}$' },
      zip: { type: 'string', pattern: '^\\d{5}$' },
      tags: { type: 'array', items: { type: 'string' }, minItems: 2 },
      maybe: { anyOf: [{ type: 'number' }, { type: 'null' }] },
      nullable: { type: ['string', 'null'] },
      fixed: { const: 'exactly this' },
      flag: { type: 'boolean' },
    },
    required: ['city', 'unit', 'days', 'share', 'even', 'when', 'id', 'code', 'zip', 'tags', 'fixed'],
    additionalProperties: false,
  },
  {
    type: 'object',
    properties: { head: { $ref: '#/$defs/Node' } },
    required: ['head'],
    $defs: {
      Node: {
        type: 'object',
        properties: { value: { type: 'integer' }, next: { $ref: '#/$defs/Node' } },
        required: ['value'],
      },
    },
  },
  {
    allOf: [
      { type: 'object', properties: { left: { type: 'integer' } }, required: ['left'] },
      { type: 'object', properties: { right: { type: 'boolean' } }, required: ['right'] },
    ],
  },
]

test('an example is valid against its schema, by the judgement of another implementation', () => {
  for (const schema of schemas) {
    const example = exampleOf(schema)
    const judged = z.fromJSONSchema(JSON.parse(JSON.stringify(schema))).safeParse(example)
    assert.ok(judged.success, `${JSON.stringify(example)}: ${judged.error?.message}`)
    assert.deepEqual(example, exampleOf(schema))
  }
})

test('a schema that requires itself without end still comes to an end', () => {
  const schema = { type: 'object', properties: { self: { $ref: '#' } }, required: ['self'] }
  assert.ok(JSON.stringify(exampleOf(schema)).length < 1_000)
})
