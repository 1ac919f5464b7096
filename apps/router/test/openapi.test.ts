import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { after, before, test } from 'node:test'
import { Validator } from '@seriousme/openapi-schema-validator'
import { Ajv2020 } from 'ajv/dist/2020.js'
import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { CHAT_COMPLETION } from '../../../scripts/openapi/call-answers.ts'
import { openApiDocument, operationsOf } from '../../../scripts/openapi/document.ts'
import { OPERATIONS, type Operation } from '../../../scripts/openapi/operations.ts'
import { ERRORS } from '../src/errors.ts'
import { ACCESS_TABLE } from './support/access-table.ts'
import { ADMIN_KEY, startTestRouter, type TestAccount, type TestRouter } from './support/test-router.ts'
import { until } from './support/until.ts'

/**
 * The description of the API is valid, has every route of the router and no other, and says of each what the router
 * does: whom it serves, which errors there are, and what it answers to the example that stands there.
 */

interface DescribedOperation {
  readonly operationId: string
  readonly security: readonly object[]
  readonly requestBody?: {
    readonly content: Record<string, { readonly schema: object; readonly example?: object }>
  }
  readonly responses: Readonly<Record<string, { readonly description: string }>>
}
interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, DescribedOperation>>>>
  readonly components: { readonly schemas: Readonly<Record<string, object>> }
}

let mesh: TestRouter
let account: TestAccount
let document: Document
const routes: string[] = []

function collectRoutes(message: unknown): void {
  const { fastify } = message as { readonly fastify: FastifyInstance }
  fastify.addHook('onRoute', ({ method, url }) => {
    for (const each of [method].flat()) routes.push(`${each} ${url}`)
  })
}

before(async () => {
  subscribe('fastify.initialization', collectRoutes)
  mesh = await startTestRouter()
  unsubscribe('fastify.initialization', collectRoutes)
  account = await mesh.account()
  document = (await openApiDocument()) as unknown as Document
})
after(() => mesh?.stop())

const described = (): Map<string, DescribedOperation> =>
  new Map(
    Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => [`${method.toUpperCase()} ${path}`, operation]),
    ),
  )

test('it is valid OpenAPI 3.1, and its schemas are valid JSON Schemas', async () => {
  const validator = new Validator()
  const { valid, errors } = await validator.validate(JSON.parse(JSON.stringify(document)))
  assert.ok(valid, JSON.stringify(errors))
  assert.equal(validator.version, '3.1')
  const ajv = schemas()
  for (const name of Object.keys(document.components.schemas)) {
    assert.ok(ajv.getSchema(`mesh#/components/schemas/${name}`), name)
  }
})

function schemas(): Ajv2020 {
  // Formats are told to readers; what they must be is checked by MESH.
  return new Ajv2020({ strict: false, validateFormats: false }).addSchema({ ...document }, 'mesh')
}

test('it has every route of the router and no other', () => {
  const there = routes
    .filter((route) => !/^(HEAD|OPTIONS) /.test(route))
    .flatMap(operationsOf)
    .sort()
  assert.deepEqual([...described().keys()].sort(), there)
  assert.deepEqual(Object.keys(OPERATIONS).sort(), there)
  const ids = Object.values(OPERATIONS).map(({ id }) => id)
  assert.equal(new Set(ids).size, ids.length)
})

test('it says whom each route serves, as the matrix of access has it', () => {
  for (const { method, path, serves, status, takesApiKeyHeader } of ACCESS_TABLE) {
    for (const name of operationsOf(`${method} ${path}`)) {
      const operation = OPERATIONS[name]
      assert.deepEqual(
        [operation?.serves, operation?.status, operation?.takesApiKeyHeader],
        [serves, status, takesApiKeyHeader],
        name,
      )
    }
  }
})

test('it has every error of the table that an answer can be', () => {
  const said = new Set(
    [...described().values()].flatMap(({ responses }) =>
      Object.values(responses).flatMap(({ description }) =>
        [...description.matchAll(/`(\w+)`/g)].map(([, code]) => code),
      ),
    ),
  )
  const unsaid = Object.keys(ERRORS).filter((code) => !said.has(code))
  // One is recorded and never sent; the other is the answer to what no route is.
  assert.deepEqual(unsaid, ['method_not_allowed', 'client_disconnected'])
})

test('what is served is this document', async () => {
  const { status, headers, json } = await mesh.request('GET', '/openapi.json')
  assert.equal(status, 200)
  assert.equal(headers.get('content-type'), 'application/json; charset=utf-8')
  assert.deepEqual(json, JSON.parse(JSON.stringify(document)))
})

test('every example is what its schema takes', () => {
  const ajv = schemas()
  for (const [name, { requestBody }] of described()) {
    const json = requestBody?.content['application/json']
    if (!json) continue
    assert.ok(json.example, `${name} has a body and no example`)
    const at = `mesh#/paths/${escaped(name.split(' ')[1] ?? '')}/${name.split(' ')[0]?.toLowerCase()}/requestBody/content/application~1json/schema`
    const takes = ajv.getSchema(at)
    assert.ok(takes, at)
    assert.ok(takes(json.example), `${name}: ${JSON.stringify(takes.errors)}`)
    assert.ok(!takes('no object'), name)
  }
})

/** A part of a JSON pointer in a fragment (RFC 6901). */
function escaped(path: string): string {
  return encodeURIComponent(path.replaceAll('~', '~0').replaceAll('/', '~1'))
}

test('every route answers its example with what the document says', async (t) => {
  await callOnce()
  for (const [name, operation] of Object.entries(OPERATIONS)) {
    await t.test(name, () => assertAnswers(name, operation))
  }
})

test('what an answer says of capped output and of JSON is in the document', async () => {
  const poor = await mesh.account({ creditUsd: '0.05' })
  const body = {
    model: 'mesh/claude-sonnet-4.5',
    messages: [{ role: 'user', content: 'Count to ten, in JSON.' }],
    metadata: { mesh_simulate: 'tokens=9000' },
    max_tokens: 8_000,
    response_format: { type: 'json_object' },
  }
  const { json } = await mesh.request('POST', '/v1/chat/completions', { key: poor.key, body })
  const { error, data } = CHAT_COMPLETION.safeParse(json)
  assert.equal(error && z.prettifyError(error), undefined)
  assert.equal(data?.routing.output_cap_by, 'balance')
  assert.deepEqual(data?.routing.response_format, { mode: 'emulated', result: 'unchecked' })
})

/** One call that leaves records behind. */
async function callOnce(): Promise<void> {
  const body = { model: 'mesh/gpt-5-mini', messages: [{ role: 'user', content: 'hello' }] }
  const { status } = await mesh.request('POST', '/v1/chat/completions', { key: account.key, body })
  assert.equal(status, 200)
  await until('its event is there', async () => {
    const { json } = await mesh.request('GET', '/v1/logs', { key: account.key })
    return json.data.length > 0
  })
}

async function assertAnswers(name: string, operation: Operation): Promise<void> {
  const [method = '', template = ''] = name.split(' ')
  const key = operation.serves === 'operators' ? ADMIN_KEY : account.key
  const path = await pathOf(template)
  const answered = await mesh.request(method, path, {
    ...(operation.serves === 'all' ? {} : { key }),
    ...(operation.example ? { body: operation.example } : {}),
  })
  assert.equal(answered.status, operation.status, answered.text)
  const type = answered.headers.get('content-type') ?? ''
  if (!(operation.answer instanceof z.ZodType)) {
    assert.ok(type.startsWith(operation.answer.mediaType), type)
    return
  }
  assert.match(type, /^application\/json/)
  const parsed = operation.answer.safeParse(answered.json)
  assert.equal(parsed.error && z.prettifyError(parsed.error), undefined)
  if (operation.orText !== undefined) await assertText(path, key, operation.orText)
  if (operation.streams) await assertStreams(path, key, operation)
}

async function assertText(path: string, key: string, mediaType: string): Promise<void> {
  const asked = mediaType === 'application/jose' ? `${path}?format=jws` : path
  const { status, headers } = await mesh.request('GET', asked, { key, headers: { accept: mediaType } })
  assert.equal(status, 200)
  assert.ok(headers.get('content-type')?.startsWith(mediaType))
}

async function assertStreams(path: string, key: string, { example }: Operation): Promise<void> {
  const { status, headers } = await mesh.request('POST', path, { key, body: { ...example, stream: true } })
  assert.equal(status, 200)
  assert.match(headers.get('content-type') ?? '', /^text\/event-stream/)
}

/** The path with an id of a thing that is there, made anew where the request would take it away. */
async function pathOf(template: string): Promise<string> {
  const first = async (list: string): Promise<string> =>
    (await mesh.request('GET', list, { key: account.key })).json.data[0].id
  const made = async (list: string, key = account.key): Promise<string> =>
    (await mesh.request('POST', list, { key, body: { name: 'Made for the example' } })).json.id
  if (template.startsWith('/v1/api-keys/{id}')) return template.replace('{id}', await made('/v1/api-keys'))
  if (template.startsWith('/v1/projects/{id}')) return template.replace('{id}', await made('/v1/projects'))
  if (template.startsWith('/v1/accounts/{id}')) {
    return template.replace('{id}', await made('/v1/accounts', ADMIN_KEY))
  }
  if (template === '/v1/logs/{id}') return template.replace('{id}', await first('/v1/logs'))
  if (template === '/v1/receipts/{id}') return template.replace('{id}', await first('/v1/receipts'))
  return template
    .replace('{model}', 'mesh/gpt-5-mini')
    .replace('{provider}', 'groq')
    .replace('{page}', 'quickstart.md')
}

test('the catalogue answers for every model and alias as the document says', async () => {
  const { json } = await mesh.request('GET', '/v1/models')
  for (const { id } of json.data) {
    for (const [name, path] of [
      ['GET /v1/models/{model}', `/v1/models/${id}`],
      ['GET /v1/models/{model}/endpoints', `/v1/models/${id}/endpoints`],
    ] as const) {
      const { answer } = OPERATIONS[name] ?? {}
      assert.ok(answer instanceof z.ZodType)
      const parsed = answer.safeParse((await mesh.request('GET', path)).json)
      assert.equal(parsed.error && z.prettifyError(parsed.error), undefined, path)
    }
  }
})

test('an error is what the document says', async () => {
  const refused = [
    await mesh.request('GET', '/v1/logs'),
    await mesh.request('POST', '/v1/chat/completions', { key: account.key, body: { model: 'mesh/none' } }),
    await mesh.request('GET', '/v1/models/mesh/none'),
  ]
  const ajv = schemas()
  const takes = ajv.getSchema('mesh#/components/schemas/Error')
  for (const { json } of refused) assert.ok(takes?.(json), JSON.stringify(json))
})
