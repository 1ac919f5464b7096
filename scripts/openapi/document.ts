import { z } from 'zod'
import { ERRORS, type ErrorCode } from '../../apps/router/src/errors.ts'
import { VERSION } from '../../apps/router/src/version.ts'
import { ERROR } from './answers.ts'
import { OPERATIONS, type Operation, type Serves } from './operations.ts'
import { type RouteSchemas, routeSchemas } from './route-schemas.ts'
import { components } from './schema-words.ts'

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json }
export type JsonObject = { readonly [key: string]: Json }

/** What every route may answer, and every route that wants a key, and every route that reads a body. */
const ALWAYS: readonly ErrorCode[] = ['headers_too_large', 'request_timeout', 'overloaded', 'internal']
const WITH_KEY: readonly ErrorCode[] = [
  'invalid_api_key',
  'key_revoked',
  'key_expired',
  'insufficient_scope',
  'account_suspended',
  'storage_unavailable',
]
const WITH_BODY: readonly ErrorCode[] = ['invalid_request', 'payload_too_large', 'unsupported_media_type']

/** The names that paths have in Fastify, by what the document calls them: a model's id has a slash in it. */
const PATHS: Readonly<Record<string, readonly string[]>> = {
  'GET /v1/models/*': ['GET /v1/models/{model}', 'GET /v1/models/{model}/endpoints'],
  'GET /docs/*': ['GET /docs/{page}'],
}

/** The operations that one route of Fastify is described by. */
export function operationsOf(route: string): readonly string[] {
  return PATHS[route] ?? [route.replaceAll(/:(\w+)/g, '{$1}')]
}

/** The description of the API as OpenAPI 3.1, from the schemas by which the router checks requests and the table of operations. */
export async function openApiDocument(): Promise<JsonObject> {
  const described = (await routeSchemas()).flatMap((route) =>
    operationsOf(route.name).map((name) => ({ name, route, operation: operationNamed(name) })),
  )
  const paths: Record<string, Record<string, Json>> = {}
  for (const { name, route, operation } of described) {
    const [method = '', path = ''] = name.split(' ')
    paths[path] = { ...paths[path], [method.toLowerCase()]: describe(path, operation, route) }
  }
  return {
    openapi: '3.1.1',
    info: {
      title: 'MESH',
      version: VERSION,
      summary: 'An OpenAI-compatible router with prepaid credits, exact books and signed receipts.',
      description: 'Pages to read are listed at /llms.txt.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    tags: [...new Set(Object.values(OPERATIONS).map(({ tag }) => tag))].map((name) => ({ name })),
    paths,
    components: { securitySchemes: SECURITY_SCHEMES, schemas: componentSchemas() },
  }
}

function operationNamed(name: string): Operation {
  const operation = OPERATIONS[name]
  if (!operation) throw new Error(`${name} has no operation in scripts/openapi/operations.ts`)
  return operation
}

const SECURITY_SCHEMES = {
  key: { type: 'http', scheme: 'bearer', description: 'A key: mesh_live_… or mesh_test_…' },
  keyHeader: {
    type: 'apiKey',
    in: 'header',
    name: 'x-api-key',
    description: 'The same, as Anthropic’s clients send it',
  },
  operatorKey: { type: 'http', scheme: 'bearer', description: 'An operator key' },
} as const

function securityOf({ serves, takesApiKeyHeader }: Operation): Json {
  const withKey = [{ key: [] }, ...(takesApiKeyHeader ? [{ keyHeader: [] }] : [])]
  const ways: Readonly<Record<Serves, Json>> = {
    all: [],
    'any key': withKey,
    chat: withKey,
    usage: withKey,
    keys: withKey,
    'keys or operators': [...withKey, { operatorKey: [] }],
    operators: [{ operatorKey: [] }],
  }
  return ways[serves]
}

const SCOPES: Partial<Record<Serves, string>> = {
  chat: 'Wants the scope `chat`.',
  usage: 'Wants the scope `usage`.',
  keys: 'Wants the scope `keys`.',
  'keys or operators': 'Wants the scope `keys`, or an operator key.',
  operators: 'Wants an operator key.',
}

function describe(path: string, operation: Operation, route: RouteSchemas): JsonObject {
  const { id, tag, summary, serves, example } = operation
  const body = operation.body ?? route.body
  const description = SCOPES[serves]
  return {
    operationId: id,
    tags: [tag],
    summary,
    ...(description === undefined ? {} : { description }),
    security: securityOf(operation),
    parameters: [...pathParameters(path), ...queryParameters(route), ...headerParameters(operation)],
    ...(body
      ? {
          requestBody: {
            required: true,
            content: {
              'application/json': { schema: schemaOf(body, 'input'), ...(example ? { example } : {}) },
            },
          },
        }
      : {}),
    responses: { [operation.status]: answerOf(operation), ...errorAnswers(operation, route) },
  } as JsonObject
}

function pathParameters(path: string): Json[] {
  return [...path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
  }))
}

function queryParameters({ querystring }: RouteSchemas): Json[] {
  if (!querystring) return []
  const { properties = {} } = schemaOf(querystring, 'input') as { properties?: Record<string, JsonObject> }
  return Object.entries(properties).map(([name, schema]) => ({ name, in: 'query', required: false, schema }))
}

function headerParameters({ idempotent }: Operation): Json[] {
  if (!idempotent) return []
  const description = 'Makes a repeat safe for 24 hours: see docs/idempotency.md.'
  return [
    {
      name: 'Idempotency-Key',
      in: 'header',
      required: false,
      description,
      schema: { type: 'string', maxLength: 255 },
    },
  ]
}

function answerOf({ answer, orText, streams, summary }: Operation): Json {
  const text = { schema: { type: 'string' } }
  const content: Record<string, Json> =
    answer instanceof z.ZodType
      ? { 'application/json': { schema: schemaOf(answer, 'output') } }
      : { [answer.mediaType]: text }
  if (orText !== undefined) content[orText] = text
  if (streams) content['text/event-stream'] = text
  return { description: summary, content }
}

/** The codes that an operation may answer, in the order of the table. */
function codesOf(operation: Operation, route: Pick<RouteSchemas, 'body' | 'querystring'>): ErrorCode[] {
  const codes = new Set<ErrorCode>([
    ...ALWAYS,
    ...(operation.serves === 'all' ? [] : WITH_KEY),
    ...(operation.body || route.body ? WITH_BODY : []),
    ...(route.querystring ? (['invalid_request'] as const) : []),
    ...(operation.id === 'getReadiness' ? (['storage_unavailable'] as const) : []),
    ...(operation.errors ?? []),
  ])
  return (Object.keys(ERRORS) as ErrorCode[]).filter((code) => codes.has(code))
}

function errorAnswers(operation: Operation, route: RouteSchemas): Record<string, Json> {
  const byStatus = Map.groupBy(codesOf(operation, route), (code) => ERRORS[code].status)
  return Object.fromEntries(
    [...byStatus].map(([status, codes]) => [
      String(status),
      {
        description: codes.map((code) => `\`${code}\``).join(', '),
        content: { 'application/json': { schema: schemaOf(ERROR, 'output') } },
      },
    ]),
  )
}

type Direction = 'input' | 'output'
const uri = (id: string) => `#/components/schemas/${id}`

/** A schema as JSON Schema: a reference where it has a name. */
function schemaOf(schema: z.ZodType, io: Direction): Json {
  const name = components.get(schema)?.id
  if (name !== undefined) return { $ref: uri(name) }
  return withoutNames(z.toJSONSchema(schema, { io, unrepresentable: 'any' }))
}

function componentSchemas(): JsonObject {
  const converted = (io: Direction) => z.toJSONSchema(components, { io, unrepresentable: 'any', uri }).schemas
  const [requests, answers] = [converted('input'), converted('output')]
  const names = Object.keys(answers).sort()
  return Object.fromEntries(
    names.map((name) => [
      name,
      name.endsWith('Request') ? withoutNames(requests[name]) : open(withoutNames(answers[name])),
    ]),
  )
}

/** Without the names by which zod knows a whole schema. */
function withoutNames(schema: object | undefined): Json {
  const { $schema: _, $id: __, id: ___, ...rest } = { ...schema } as Record<string, Json>
  return rest
}

/**
 * Answers may get more members one day, so a reader must not refuse what it does not know. A format says enough without
 * its pattern.
 */
function open(schema: Json): Json {
  if (Array.isArray(schema)) return schema.map(open)
  if (typeof schema !== 'object' || schema === null) return schema
  const entries = Object.entries(schema).filter(
    ([name, value]) =>
      !(name === 'additionalProperties' && value === false) && !(name === 'pattern' && 'format' in schema),
  )
  return Object.fromEntries(entries.map(([name, value]) => [name, open(value)]))
}
