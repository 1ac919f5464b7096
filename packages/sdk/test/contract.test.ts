import assert from 'node:assert/strict'
import { test } from 'node:test'
import { z } from 'zod'
import type { limitsSchema } from '../../../apps/router/src/accounts/limit-schema.ts'
import type { Limits as ServerLimits } from '../../../apps/router/src/accounts/limits.ts'
import type { MonitoringWindow as ServerWindow } from '../../../apps/router/src/records/monitoring.ts'
import type { UsageGroup as ServerGroup } from '../../../apps/router/src/records/usage.ts'
import { ACCESS_TABLE } from '../../../apps/router/test/support/access-table.ts'
import type * as answers from '../../../scripts/openapi/answers.ts'
import type * as calls from '../../../scripts/openapi/call-answers.ts'
import { routeSchemas } from '../../../scripts/openapi/route-schemas.ts'
import type { extensions } from '../../engine/src/shapes/extensions.ts'
import { rerankBody } from '../../engine/src/shapes/rerank/rerank.ts'
import {
  type Account,
  type AuditEvent,
  type CurrentKey,
  type DeletedProject,
  type Key,
  type KeyCreateParams,
  type KeyRotateParams,
  type KeyUpdateParams,
  type LedgerEntry,
  type LimitsPatch,
  type ListParams,
  type MadeKey,
  type MeshCallFields,
  MeshClient,
  type MeshModel,
  type ModelEndpoint,
  type MonitoringSummary,
  type MonitoringWindow,
  type Project,
  type ProjectCreateParams,
  type ProjectUpdateParams,
  type ProvidersHealth,
  type Ranking,
  type Receipt,
  type ReceiptKeys,
  type RequestEvent,
  type RerankParams,
  type RoutePlan,
  type Routing,
  type TokenCount,
  type UsageGroup,
  type UsageParams,
  type UsageReport,
} from '../src/sdk.ts'

/**
 * The types of the SDK and the schemas of the server, compared in both directions: a field that one has and the other
 * has not is an error of the type checker here. That real answers are what the schemas say is tested beside them.
 */

/** A type as JSON has it: ids and other patterns are strings, nothing is read-only, absent is not undefined. */
type Plain<T> = T extends string
  ? Record<never, never> extends Record<T, 1>
    ? string
    : T
  : T extends readonly (infer Item)[]
    ? Plain<Item>[]
    : T extends object
      ? { -readonly [Name in keyof T]: Plain<Exclude<T[Name], undefined>> }
      : T

type Same<One, Other> =
  (<T>() => T extends Plain<One> ? 1 : 2) extends <T>() => T extends Plain<Other> ? 1 : 2 ? true : false

/** Compiles where two types are the same. */
function same<Fact extends true>(): Fact | undefined {
  return undefined
}

type Answer<Name extends keyof typeof answers> = (typeof answers)[Name] extends z.ZodType
  ? z.output<(typeof answers)[Name]>
  : never
type CallAnswer<Name extends keyof typeof calls> = (typeof calls)[Name] extends z.ZodType
  ? z.output<(typeof calls)[Name]>
  : never
type ItemOf<Page extends { data: unknown[] }> = Page['data'][number]
type KeysOfEach<T> = T extends unknown ? keyof T : never

test('answers are typed as the server describes them', () => {
  same<Same<Account, Answer<'ACCOUNT'>>>()
  same<Same<Key, Answer<'KEY'>>>()
  same<Same<MadeKey, Answer<'MADE_KEY'>>>()
  same<Same<CurrentKey, Answer<'CURRENT_KEY'>>>()
  same<Same<Project, Omit<Answer<'PROJECT'>, 'deleted'>>>()
  same<Same<DeletedProject, Required<Answer<'PROJECT'>>>>()
  same<Same<Omit<RequestEvent, 'routing'>, Omit<Answer<'REQUEST_EVENT'>, 'routing'>>>()
  same<Same<LedgerEntry, ItemOf<Answer<'LEDGER_ENTRIES'>>>>()
  same<Same<AuditEvent, ItemOf<Answer<'AUDIT_EVENTS'>>>>()
  same<Same<Omit<Receipt, 'receipt'>, Omit<Answer<'RECEIPT'>, 'receipt'>>>()
  same<
    Same<Omit<Receipt['receipt'], 'attestationHash'>, Omit<Answer<'RECEIPT'>['receipt'], 'attestationHash'>>
  >()
  same<Same<Required<ReceiptKeys['keys'][number]>, ItemOf<{ data: Answer<'RECEIPT_KEYS'>['keys'] }>>>()
  same<Same<UsageReport['data'], Answer<'USAGE'>['data']>>()
  same<Same<Omit<MonitoringSummary, 'window'>, Omit<Answer<'MONITORING_SUMMARY'>, 'window'>>>()
  same<Same<ProvidersHealth, Answer<'PROVIDER_HEALTH'>>>()
  same<Same<RoutePlan, CallAnswer<'ROUTE'>>>()
  same<Same<TokenCount, CallAnswer<'TOKEN_COUNT'>>>()
  same<Same<Ranking['results'], CallAnswer<'RANKING'>['results']>>()
  same<
    Same<
      Omit<ModelEndpoint, 'privacy' | 'pricing_exceptions'>,
      Omit<ItemOf<CallAnswer<'ENDPOINTS'>>, 'privacy' | 'pricing_exceptions'>
    >
  >()
  same<Same<keyof MeshModel, KeysOfEach<CallAnswer<'MODEL'>> | 'shutdown_date'>>()
  same<Same<Omit<Routing, 'privacy'>, Omit<CallAnswer<'ROUTING'>, 'privacy'>>>()
})

test('what is asked is typed as the server checks it', async () => {
  same<Same<LimitsPatch, z.input<ReturnType<typeof limitsSchema>>>>()
  same<Same<keyof Key['limits'], keyof ServerLimits>>()
  same<Same<MeshCallFields, Omit<z.input<typeof extensions>, 'model'>>>()
  same<Same<UsageGroup, ServerGroup>>()
  same<Same<MonitoringWindow, ServerWindow>>()

  type Names<Params> = Record<keyof Params, true>
  const typed: Readonly<Record<string, Readonly<Record<string, true>>>> = {
    'POST /v1/api-keys': {
      name: true,
      accountId: true,
      projectId: true,
      scopes: true,
      limits: true,
      livemode: true,
    } satisfies Names<KeyCreateParams>,
    'PATCH /v1/api-keys/:id': { name: true, scopes: true } satisfies Names<KeyUpdateParams>,
    'POST /v1/api-keys/:id/rotate': { graceSeconds: true } satisfies Names<KeyRotateParams>,
    'POST /v1/projects': { name: true, accountId: true, limits: true } satisfies Names<ProjectCreateParams>,
    'PATCH /v1/projects/:id': { name: true, limits: true } satisfies Names<ProjectUpdateParams>,
    'PATCH /v1/accounts/me': { name: true },
    'GET /v1/usage': { groupBy: true, from: true, to: true } satisfies Names<UsageParams>,
    'GET /v1/logs': { limit: true, cursor: true } satisfies Names<ListParams>,
    'GET /v1/monitoring/summary': { window: true },
  }
  const routes = await routeSchemas()
  for (const [name, members] of Object.entries(typed)) {
    const { body, querystring } = routes.find((route) => route.name === name) ?? {}
    const schema = body ?? querystring
    assert.ok(schema, name)
    assert.deepEqual(Object.keys(members).sort(), membersOf(schema), name)
  }
  const ranked: Names<RerankParams> = {
    ...{ model: true, models: true, route: true, provider: true, privacy: true, session_id: true },
    ...{ query: true, documents: true, top_n: true, return_documents: true },
  }
  const beyond = membersOf(rerankBody).filter((name) => !Object.hasOwn(ranked, name))
  // OpenAI's own, which every task takes.
  assert.deepEqual(beyond, ['metadata', 'user'])
})

function membersOf(schema: z.ZodType): string[] {
  const { properties = {} } = z.toJSONSchema(schema, { io: 'output', unrepresentable: 'any' })
  return Object.keys(properties).sort()
}

/** What the SDK leaves to others, and why. */
const NOT_IN_THE_SDK: Readonly<Record<string, string>> = {
  'GET /healthz': 'for machines; meshrouter doctor asks /readyz',
  'GET /readyz': 'for machines; meshrouter doctor asks it without a key',
  'GET /metrics': 'for Prometheus',
  'GET /openapi.json': 'for generators of clients',
  'GET /docs': 'for readers',
  'GET /docs/*': 'for readers',
  'GET /llms.txt': 'for readers',
  'POST /v1/messages': "Anthropic's own client speaks it",
  'POST /v1/messages/count_tokens': "Anthropic's own client speaks it",
  'GET /v1/key': "OpenRouter's clients ask it; keys.current says more",
  'GET /v1/credits': "OpenRouter's clients ask it; accounts.current says more",
  'POST /v1/accounts': 'for operators',
  'GET /v1/accounts': 'for operators',
  'GET /v1/accounts/:id': 'for operators',
  'PATCH /v1/accounts/:id': 'for operators',
  'POST /v1/accounts/:id/grants': 'for operators',
  'GET /v1/providers/config': 'for operators',
  'PATCH /v1/providers/config/:provider': 'for operators',
}

test('every method asks a route that the server has, and every route has its method or its reason', async () => {
  const asked = new Set<string>()
  const mesh = new MeshClient({
    apiKey: `mesh_test_${'0'.repeat(49)}`,
    baseURL: 'http://mesh/v1',
    operatorKey: 'operator',
    async fetch(input, init) {
      asked.add(`${init?.method ?? 'GET'} ${new URL(String(input)).pathname}`)
      return Response.json({ data: [], next_cursor: null })
    },
  })
  const messages = [{ role: 'user' as const, content: 'hello' }]
  await Promise.all([
    mesh.chat.completions.create({ model: 'mesh/auto', messages }),
    mesh.responses.create({ model: 'mesh/auto', input: 'hello' }),
    mesh.embeddings.create({ model: 'mesh/embed', input: 'hello' }),
    mesh.rerank({ query: 'q', documents: ['d'] }),
    mesh.countTokens({ model: 'mesh/auto', messages }),
    mesh.route({ messages }),
    mesh.models.list(),
    mesh.models.retrieve('mesh/auto'),
    mesh.models.endpoints('mesh/auto'),
    mesh.accounts.current(),
    mesh.accounts.update({}),
    mesh.accounts.updateLimits('acct_1', {}),
    mesh.keys.create({ name: 'k' }),
    mesh.keys.list(),
    mesh.keys.retrieve('key_1'),
    mesh.keys.current(),
    mesh.keys.update('key_1', {}),
    mesh.keys.updateLimits('key_1', {}),
    mesh.keys.rotate('key_1'),
    mesh.keys.revoke('key_1'),
    mesh.projects.create({ name: 'p' }),
    mesh.projects.list(),
    mesh.projects.update('proj_1', {}),
    mesh.projects.delete('proj_1'),
    mesh.logs.list(),
    mesh.logs.retrieve('req_1'),
    mesh.ledger.list(),
    mesh.receipts.list(),
    mesh.receipts.retrieve('rcpt_1'),
    mesh.receipts.keys(),
    mesh.usage.retrieve(),
    mesh.monitoring.summary(),
    mesh.providers.health(),
    mesh.audit.list(),
  ])
  const resources = [
    'accounts',
    'audit',
    'keys',
    'ledger',
    'logs',
    'monitoring',
    'projects',
    'providers',
    'receipts',
    'usage',
  ] as const
  // Each method of each resource is asked above: a new one is missed here.
  const methods = resources.flatMap((name) => Object.getOwnPropertyNames(Object.getPrototypeOf(mesh[name])))
  const own = methods.filter((name) => name !== 'constructor' && name !== 'verify')
  assert.equal(asked.size, own.length + 9)

  const patternOf = (path: string) =>
    new RegExp(`^${path.replaceAll(/:[a-z]+/g, '[^/]+').replace('*', '.+')}$`)
  const served = ACCESS_TABLE.map(({ method, path }) => ({
    name: `${method} ${path}`,
    method,
    pattern: patternOf(path),
  }))
  const reached = new Set<string>()
  for (const request of asked) {
    const [method, path = ''] = request.split(' ')
    const exact = served.find(({ name }) => name === request)
    const route = exact ?? served.find((each) => each.method === method && each.pattern.test(path))
    assert.ok(route, `the server has no ${request}`)
    reached.add(route.name)
  }
  const left = served.map(({ name }) => name).filter((name) => !reached.has(name))
  assert.deepEqual(left.sort(), Object.keys(NOT_IN_THE_SDK).sort())
})
