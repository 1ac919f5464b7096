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

const many = 1_000_000_000_000

/** What a few bytes can ask for, each of which would keep the process from anything else for hours, or fill its memory. */
const greedy: Readonly<Record<string, JsonObject>> = {
  'a long text': { type: 'string', minLength: many },
  'a long list': { type: 'array', minItems: many, items: { type: 'integer' } },
  'lists of lists': nestedLists(12),
  'many members': { type: 'object', minProperties: many, additionalProperties: { type: 'integer' } },
  'a tree that doubles at each level': doubling(16),
  'a long fixed value, often': { type: 'array', minItems: many, items: { const: 'x'.repeat(50_000) } },
  'a long name, often': {
    type: 'array',
    minItems: many,
    items: { type: 'object', properties: { ['x'.repeat(50_000)]: { type: 'integer' } } },
  },
  'parts without end': {
    allOf: Array.from({ length: 5_000 }, (_, part) => ({
      properties: { [`left${part}`]: { type: 'integer' }, [`right${part}`]: { type: 'integer' } },
    })),
  },
  'a repetition of repetitions': withPattern('^(A+)+!$'),
  'a repetition of choices': withPattern('^(?:A|A)*!$'),
  'choices, one after the other': withPattern(`^${'(A|A)'.repeat(40)}!$`),
  'optional ones, one after the other': withPattern(`^${'A?'.repeat(40)}!$`),
  'repetitions, one after the other': withPattern(`${'A*'.repeat(12)}!`),
  'bounded repetitions': withPattern(`^${'A{0,40}'.repeat(12)}!$`),
  'a reference back': withPattern('^(A*)\\1(A*)\\2!$'),
  'a look ahead': withPattern('^(?=(A+)+!)A$'),
  'many patterns': {
    type: 'object',
    properties: Object.fromEntries(
      Array.from({ length: 5_000 }, (_, at) => [`p${at}`, withPattern('^A*A*A*!$')]),
    ),
  },
  'a reference that is no escape': { $ref: '#/%zz' },
  'a reference to what every object has': { $ref: '#/constructor/prototype' },
}

function withPattern(pattern: string): JsonObject {
  return { type: 'string', pattern }
}

function nestedLists(levels: number): JsonObject {
  return levels === 0
    ? { type: 'integer' }
    : { type: 'array', minItems: 1_000, items: nestedLists(levels - 1) }
}

function doubling(levels: number): JsonObject {
  const node = (level: number): JsonObject => ({
    type: 'object',
    properties: Object.fromEntries(
      ['a', 'b', 'c', 'd'].map((name) => [
        name,
        level === 0 ? { type: 'integer' } : { $ref: `#/$defs/n${level - 1}` },
      ]),
    ),
    required: ['a', 'b', 'c', 'd'],
  })
  const definitions = Array.from({ length: levels }, (_, level) => [`n${level}`, node(level)])
  return { ...node(levels), $defs: Object.fromEntries(definitions) }
}

test('no schema, however greedy, costs more than a bounded piece of work', async (t) => {
  for (const [what, schema] of Object.entries(greedy)) {
    await t.test(what, () => {
      assert.ok(JSON.stringify(exampleOf(schema)).length < 4_000_000)
    })
  }
})

test('patterns as people write them are still matched', () => {
  for (const pattern of [
    '^[A-Z]{3}$',
    '^\\d{5}(-\\d{4})?$',
    '^[^@]+@[^@]+\\.[^@]+$',
    '^\\d+(\\.\\d{1,2})?$',
    '^(?:sim|SIM)[_-]\\d$',
    '[a-z]+',
    '^\\d{4}-\\d{2}-\\d{2}$',
  ]) {
    const example = exampleOf(withPattern(pattern))
    assert.match(String(example), new RegExp(pattern, 'u'))
  }
})
