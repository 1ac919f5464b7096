import type { Holder, Refusal } from './credentials.ts'
import { MODEL } from './tenants.ts'

/** What an id in a path names. */
export type IdKind = 'account' | 'project' | 'key' | 'event' | 'receipt' | 'model' | 'page'

/** One route of the router and whom it serves. The tests fail for a route without a row here. */
export interface AccessRow {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE'
  /** As Fastify has it. */
  readonly path: string
  /** Who is served: everybody, keys with a scope (or with any), operators, or both. */
  readonly serves: 'all' | 'any key' | 'chat' | 'usage' | 'keys or operators' | 'keys' | 'operators'
  readonly status: number
  /** The kind of thing that `:id` names. */
  readonly id?: IdKind
  /** Whether a key may come in `x-api-key` too, as Anthropic's clients send it. */
  readonly takesApiKeyHeader?: true
  /** Whether what it names is changed, so that each request that is served needs one of its own. */
  readonly changes?: true
  /** What a key that another key made is told, where it would else be served. */
  readonly made?: Refusal
  /** What is sent, by whom. */
  readonly body?: (holder: Holder | undefined, homeAccountId: string) => unknown
}

const NOT_ITS_PLACE: Refusal = [403, 'insufficient_scope']

/** An operator says of which account he speaks; a key must not. */
const named = (holder: Holder | undefined, accountId: string, more: object = {}) => ({
  name: 'Named by the matrix',
  ...(holder?.kind === 'operator' ? { accountId } : {}),
  ...more,
})

/** Every route. HEAD is answered as GET is, and OPTIONS to everybody. */
export const ACCESS_TABLE: readonly AccessRow[] = [
  { method: 'GET', path: '/healthz', serves: 'all', status: 200 },
  { method: 'GET', path: '/readyz', serves: 'all', status: 200 },
  { method: 'GET', path: '/.well-known/mesh-receipt-keys.json', serves: 'all', status: 200 },
  { method: 'GET', path: '/openapi.json', serves: 'all', status: 200 },
  { method: 'GET', path: '/llms.txt', serves: 'all', status: 200 },
  { method: 'GET', path: '/docs', serves: 'all', status: 200 },
  { method: 'GET', path: '/docs/*', serves: 'all', status: 200, id: 'page' },
  { method: 'GET', path: '/metrics', serves: 'operators', status: 200 },
  { method: 'GET', path: '/v1/models', serves: 'all', status: 200 },
  { method: 'GET', path: '/v1/models/*', serves: 'all', status: 200, id: 'model' },

  {
    method: 'POST',
    path: '/v1/chat/completions',
    serves: 'chat',
    status: 200,
    body: () => ({ model: MODEL, max_tokens: 8, messages: [{ role: 'user', content: 'Hello' }] }),
  },
  {
    method: 'POST',
    path: '/v1/embeddings',
    serves: 'chat',
    status: 200,
    body: () => ({ model: 'mesh/text-embedding-3-small', input: 'Hello', dimensions: 8 }),
  },
  {
    method: 'POST',
    path: '/v1/rerank',
    serves: 'chat',
    status: 200,
    body: () => ({ model: 'mesh/qwen3-reranker-0.6b', query: 'Hello', documents: ['Hello', 'there'] }),
  },
  {
    method: 'POST',
    path: '/v1/tokens/count',
    serves: 'chat',
    status: 200,
    body: () => ({ model: MODEL, input: 'Hello' }),
  },

  {
    method: 'POST',
    path: '/v1/route',
    serves: 'chat',
    status: 200,
    body: () => ({ model: MODEL, messages: [{ role: 'user', content: 'Hello' }] }),
  },

  {
    method: 'POST',
    path: '/v1/responses',
    serves: 'chat',
    status: 200,
    body: () => ({ model: MODEL, max_output_tokens: 16, input: 'Hello' }),
  },
  {
    method: 'POST',
    path: '/v1/messages',
    serves: 'chat',
    takesApiKeyHeader: true,
    status: 200,
    body: () => ({ model: MODEL, max_tokens: 8, messages: [{ role: 'user', content: 'Hello' }] }),
  },
  {
    method: 'POST',
    path: '/v1/messages/count_tokens',
    serves: 'chat',
    takesApiKeyHeader: true,
    status: 200,
    body: () => ({ model: MODEL, messages: [{ role: 'user', content: 'Hello' }] }),
  },

  { method: 'GET', path: '/v1/accounts/me', serves: 'any key', status: 200 },
  {
    method: 'PATCH',
    path: '/v1/accounts/me',
    serves: 'keys',
    status: 200,
    made: NOT_ITS_PLACE,
    body: () => ({ name: 'Named by the matrix' }),
  },
  {
    method: 'POST',
    path: '/v1/accounts',
    serves: 'operators',
    status: 201,
    body: () => ({ name: 'Made by the matrix' }),
  },
  { method: 'GET', path: '/v1/accounts', serves: 'operators', status: 200 },
  { method: 'GET', path: '/v1/accounts/:id', serves: 'operators', status: 200, id: 'account' },
  {
    method: 'PATCH',
    path: '/v1/accounts/:id',
    serves: 'operators',
    status: 200,
    id: 'account',
    changes: true,
    body: () => ({ name: 'Named by the matrix' }),
  },
  {
    method: 'PATCH',
    path: '/v1/accounts/:id/limits',
    serves: 'operators',
    status: 200,
    id: 'account',
    changes: true,
    body: () => ({ requestsPerMinute: 1_000 }),
  },
  {
    method: 'POST',
    path: '/v1/accounts/:id/grants',
    serves: 'operators',
    status: 201,
    id: 'account',
    changes: true,
    body: () => ({ amountUsd: '1', reason: 'matrix', livemode: false }),
  },

  { method: 'GET', path: '/v1/projects', serves: 'keys or operators', status: 200 },
  {
    method: 'POST',
    path: '/v1/projects',
    serves: 'keys or operators',
    status: 201,
    made: NOT_ITS_PLACE,
    body: (holder, accountId) => named(holder, accountId),
  },
  {
    method: 'PATCH',
    path: '/v1/projects/:id',
    serves: 'keys or operators',
    status: 200,
    id: 'project',
    changes: true,
    made: NOT_ITS_PLACE,
    body: () => ({ name: 'Named by the matrix' }),
  },
  {
    method: 'DELETE',
    path: '/v1/projects/:id',
    serves: 'keys or operators',
    status: 200,
    id: 'project',
    changes: true,
    made: NOT_ITS_PLACE,
  },

  { method: 'GET', path: '/v1/key', serves: 'any key', status: 200 },
  { method: 'GET', path: '/v1/credits', serves: 'any key', status: 200 },
  { method: 'GET', path: '/v1/api-keys/current', serves: 'any key', status: 200 },
  { method: 'GET', path: '/v1/api-keys', serves: 'keys or operators', status: 200 },
  {
    method: 'POST',
    path: '/v1/api-keys',
    serves: 'keys or operators',
    status: 201,
    made: NOT_ITS_PLACE,
    body: (holder, accountId) => named(holder, accountId, { scopes: ['keys'] }),
  },
  { method: 'GET', path: '/v1/api-keys/:id', serves: 'keys or operators', status: 200, id: 'key' },
  {
    method: 'PATCH',
    path: '/v1/api-keys/:id',
    serves: 'keys or operators',
    status: 200,
    id: 'key',
    changes: true,
    made: NOT_ITS_PLACE,
    body: () => ({ name: 'Named by the matrix' }),
  },
  {
    method: 'PATCH',
    path: '/v1/api-keys/:id/limits',
    serves: 'keys or operators',
    status: 200,
    id: 'key',
    changes: true,
    made: NOT_ITS_PLACE,
    body: () => ({ requestsPerMinute: 1_000 }),
  },
  {
    method: 'DELETE',
    path: '/v1/api-keys/:id',
    serves: 'keys or operators',
    status: 200,
    id: 'key',
    changes: true,
    made: NOT_ITS_PLACE,
  },
  {
    method: 'POST',
    path: '/v1/api-keys/:id/rotate',
    serves: 'keys or operators',
    status: 201,
    id: 'key',
    changes: true,
    made: NOT_ITS_PLACE,
    body: () => ({}),
  },

  { method: 'GET', path: '/v1/providers/health', serves: 'all', status: 200 },
  { method: 'GET', path: '/v1/providers/config', serves: 'operators', status: 200 },
  {
    method: 'PATCH',
    path: '/v1/providers/config/:provider',
    serves: 'operators',
    status: 200,
    body: () => ({ enabled: true }),
  },

  { method: 'GET', path: '/v1/audit', serves: 'keys or operators', status: 200 },
  { method: 'GET', path: '/v1/logs', serves: 'usage', status: 200 },
  { method: 'GET', path: '/v1/logs/:id', serves: 'usage', status: 200, id: 'event' },
  { method: 'GET', path: '/v1/ledger', serves: 'usage', status: 200 },
  { method: 'GET', path: '/v1/receipts', serves: 'usage', status: 200 },
  { method: 'GET', path: '/v1/receipts/:id', serves: 'usage', status: 200, id: 'receipt' },
  { method: 'GET', path: '/v1/usage', serves: 'usage', status: 200 },
  { method: 'GET', path: '/v1/monitoring/summary', serves: 'usage', status: 200 },
]
