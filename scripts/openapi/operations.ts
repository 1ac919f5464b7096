import { chatCompletionBody, chatMessage, chatTool } from '@mesh/engine/shapes/chat-completions/schema.ts'
import { embeddingsBody } from '@mesh/engine/shapes/embeddings/embeddings.ts'
import { providerPreferences } from '@mesh/engine/shapes/extensions.ts'
import { messagesBody, messagesMessage, messagesTool } from '@mesh/engine/shapes/messages/schema.ts'
import { rerankBody } from '@mesh/engine/shapes/rerank/rerank.ts'
import { messageItem, responsesBody, responsesTool, typedItem } from '@mesh/engine/shapes/responses/schema.ts'
import { z } from 'zod'
import type { ErrorCode } from '../../apps/router/src/errors.ts'
import * as answers from './answers.ts'
import * as calls from './call-answers.ts'
import { named } from './schema-words.ts'

/** Whom a route serves; keys by the scope that they need. */
export type Serves = 'all' | 'any key' | 'chat' | 'usage' | 'keys or operators' | 'keys' | 'operators'

/** What no schema of a route says: what it is for, whom it serves, what it answers. */
export interface Operation {
  /** Its name in generated clients. */
  readonly id: string
  readonly tag:
    | 'Calls'
    | 'Catalogue'
    | 'Keys'
    | 'Accounts and projects'
    | 'Records'
    | 'Providers'
    | 'Platform'
  readonly summary: string
  readonly serves: Serves
  readonly status: 200 | 201
  /** The answer, or that it is a text of another media type. */
  readonly answer: z.ZodType | { readonly mediaType: string }
  /** Another form of the answer, by its media type. */
  readonly orText?: string
  /** Whether `stream: true` answers server-sent events. */
  readonly streams?: true
  /** Of routes that read their bodies by themselves. */
  readonly body?: z.ZodType
  readonly example?: Readonly<Record<string, unknown>>
  /** Whether `Idempotency-Key` is read. */
  readonly idempotent?: true
  /** Anthropic's clients send the key in `x-api-key`. */
  readonly takesApiKeyHeader?: true
  /** Beyond those that every route of its kind may answer. */
  readonly errors?: readonly ErrorCode[]
}

const hello = [{ role: 'user', content: 'hello' }]
const request = <Schema extends z.ZodType>(id: string, schema: Schema): Schema =>
  named(`${id}Request`, schema)

request('ChatMessage', chatMessage)
request('ChatTool', chatTool)
request('MessagesMessage', messagesMessage)
request('MessagesTool', messagesTool)
request('InputMessage', messageItem)
request('InputItem', typedItem)
request('ResponsesTool', responsesTool)
request('ProviderPreferences', providerPreferences)

const CALL_ERRORS = [
  'unsupported_parameter',
  'context_length_exceeded',
  'sealed_transport_required',
  'insufficient_credits',
  'limit_exceeded',
  'model_not_allowed',
  'account_suspended',
  'model_not_found',
  'no_endpoint',
  'idempotency_in_progress',
  'idempotency_replay',
  'idempotency_conflict',
  'privacy_unavailable',
  'undecryptable',
  'rate_limit_exceeded',
  'too_many_concurrent',
  'provider_error',
  'provider_overloaded',
  'provider_timeout',
] as const satisfies readonly ErrorCode[]

const call = { tag: 'Calls', serves: 'chat', status: 200 } as const
const paid = { ...call, idempotent: true, errors: CALL_ERRORS } as const
const free = { ...call, errors: ['unsupported_parameter', 'model_not_found'] } as const
const read = { status: 200, errors: ['not_found'] } as const
const list = { status: 200 } as const

/** Every route of the router, as Fastify names it. */
export const OPERATIONS: Readonly<Record<string, Operation>> = {
  'POST /v1/chat/completions': {
    ...paid,
    id: 'createChatCompletion',
    summary: "A call in OpenAI's shape of chat completions",
    body: request('ChatCompletion', chatCompletionBody),
    example: {
      model: 'mesh/claude-sonnet-4.5',
      models: ['mesh/gpt-5-mini'],
      route: 'fallback',
      messages: hello,
    },
    answer: calls.CHAT_COMPLETION,
    streams: true,
  },
  'POST /v1/responses': {
    ...paid,
    id: 'createResponse',
    summary: "A call in the shape of OpenAI's Responses; nothing is stored",
    body: request('Response', responsesBody),
    example: { model: 'mesh/gpt-5-mini', input: 'hello', max_output_tokens: 500 },
    answer: calls.RESPONSE,
    streams: true,
  },
  'POST /v1/messages': {
    ...paid,
    id: 'createMessage',
    summary: "A call in the shape of Anthropic's messages",
    body: request('Message', messagesBody),
    example: { model: 'mesh/claude-sonnet-4.5', max_tokens: 500, messages: hello },
    answer: calls.MESSAGE,
    streams: true,
    takesApiKeyHeader: true,
  },
  'POST /v1/messages/count_tokens': {
    ...free,
    id: 'countMessageTokens',
    summary: "Tokens of a call in Anthropic's shape; free",
    body: request('MessageTokenCount', messagesBody.partial({ max_tokens: true })),
    example: { model: 'mesh/claude-sonnet-4.5', messages: hello },
    answer: calls.MESSAGE_TOKEN_COUNT,
    takesApiKeyHeader: true,
  },
  'POST /v1/embeddings': {
    ...paid,
    id: 'createEmbeddings',
    summary: "Vectors of texts, in OpenAI's shape",
    body: request('Embeddings', embeddingsBody),
    example: { model: 'mesh/text-embedding-3-small', input: ['a red fox'], dimensions: 256 },
    answer: calls.EMBEDDINGS,
  },
  'POST /v1/rerank': {
    ...paid,
    id: 'createRanking',
    summary: 'Documents by how well they answer a query',
    body: request('Ranking', rerankBody),
    example: {
      model: 'mesh/qwen3-reranker-0.6b',
      query: 'red fox',
      documents: ['prices fell', 'a red fox'],
      top_n: 1,
    },
    answer: calls.RANKING,
  },
  'POST /v1/tokens/count': {
    ...free,
    id: 'countTokens',
    summary: 'Tokens of texts, or of a call; free',
    body: request(
      'TokenCount',
      z.object({
        model: z.string(),
        input: z.union([z.string(), z.array(z.string())]).optional(),
        messages: chatCompletionBody.shape.messages.optional(),
        tools: chatCompletionBody.shape.tools,
      }),
    ),
    example: { model: 'mesh/gpt-5-mini', input: 'Hello, world!' },
    answer: calls.TOKEN_COUNT,
  },
  'POST /v1/route': {
    ...call,
    id: 'planRoute',
    summary: 'What would become of a call, and what it could cost; free',
    body: request('Route', chatCompletionBody.partial({ messages: true })),
    example: { model: 'auto', messages: hello },
    answer: calls.ROUTE,
    errors: ['unsupported_parameter', 'model_not_found', 'too_many_concurrent'],
  },

  'GET /v1/models': {
    ...list,
    id: 'listModels',
    tag: 'Catalogue',
    serves: 'all',
    summary: 'All models, modes and tiers, with prices',
    answer: calls.MODELS,
  },
  'GET /v1/models/{model}': {
    ...read,
    id: 'getModel',
    tag: 'Catalogue',
    serves: 'all',
    summary: 'A model, mode or tier by any of its names; its slash may be encoded or not',
    answer: calls.MODEL,
    errors: ['model_not_found'],
  },
  'GET /v1/models/{model}/endpoints': {
    ...read,
    id: 'listEndpoints',
    tag: 'Catalogue',
    serves: 'all',
    summary: 'Who serves a model, mode or tier, at which prices and on which terms',
    answer: calls.ENDPOINTS,
    errors: ['model_not_found'],
  },

  'POST /v1/api-keys': {
    id: 'createApiKey',
    tag: 'Keys',
    serves: 'keys or operators',
    status: 201,
    summary: 'Makes a key; its secret is in this answer alone',
    example: {
      name: 'the intern',
      scopes: ['chat'],
      limits: { dailyUsdLimit: '1.00', requestsPerMinute: 60 },
    },
    answer: answers.MADE_KEY,
    errors: ['not_found'],
  },
  'GET /v1/api-keys': {
    ...list,
    id: 'listApiKeys',
    tag: 'Keys',
    serves: 'keys or operators',
    summary: 'The keys of an account',
    answer: answers.KEYS,
  },
  'GET /v1/api-keys/current': {
    ...list,
    id: 'getCurrentApiKey',
    tag: 'Keys',
    serves: 'any key',
    summary: 'The key that asks: its limits, its usage, what is left',
    answer: answers.CURRENT_KEY,
  },
  'GET /v1/api-keys/{id}': {
    ...read,
    id: 'getApiKey',
    tag: 'Keys',
    serves: 'keys or operators',
    summary: 'A key',
    answer: answers.KEY,
  },
  'PATCH /v1/api-keys/{id}': {
    ...read,
    id: 'updateApiKey',
    tag: 'Keys',
    serves: 'keys or operators',
    summary: 'Renames a key, or changes its scopes',
    example: { name: 'the intern, autumn' },
    answer: answers.KEY,
  },
  'PATCH /v1/api-keys/{id}/limits': {
    ...read,
    id: 'updateApiKeyLimits',
    tag: 'Keys',
    serves: 'keys or operators',
    summary: 'Changes limits of a key; null takes one away',
    example: { dailyUsdLimit: '0.50' },
    answer: answers.KEY,
  },
  'POST /v1/api-keys/{id}/rotate': {
    id: 'rotateApiKey',
    tag: 'Keys',
    serves: 'keys or operators',
    status: 201,
    summary: 'Makes the successor of a key, once',
    example: { graceSeconds: 600 },
    answer: answers.MADE_KEY,
    errors: ['not_found', 'already_rotated'],
  },
  'DELETE /v1/api-keys/{id}': {
    ...read,
    id: 'revokeApiKey',
    tag: 'Keys',
    serves: 'keys or operators',
    summary: 'Stops a key, and every key that was made with it, at once',
    answer: answers.KEY,
  },
  'GET /v1/key': {
    ...list,
    id: 'getOpenRouterKey',
    tag: 'Keys',
    serves: 'any key',
    summary: 'The key that asks, as OpenRouter shows it',
    answer: answers.OPENROUTER_KEY,
  },
  'GET /v1/credits': {
    ...list,
    id: 'getOpenRouterCredits',
    tag: 'Keys',
    serves: 'any key',
    summary: 'Credit and usage, as OpenRouter shows them',
    answer: answers.OPENROUTER_CREDITS,
  },

  'GET /v1/accounts/me': {
    ...list,
    id: 'getCurrentAccount',
    tag: 'Accounts and projects',
    serves: 'any key',
    summary: 'The account of the key: balance, what is held, limits',
    answer: answers.ACCOUNT,
  },
  'PATCH /v1/accounts/me': {
    ...list,
    id: 'updateCurrentAccount',
    tag: 'Accounts and projects',
    serves: 'keys',
    summary: 'Renames the account of the key',
    example: { name: 'Ada' },
    answer: answers.ACCOUNT,
  },
  'POST /v1/accounts': {
    id: 'createAccount',
    tag: 'Accounts and projects',
    serves: 'operators',
    status: 201,
    summary: 'Makes an account with a default project and no credit',
    example: { name: 'Ada' },
    answer: answers.ACCOUNT,
  },
  'GET /v1/accounts': {
    ...list,
    id: 'listAccounts',
    tag: 'Accounts and projects',
    serves: 'operators',
    summary: 'All accounts',
    answer: answers.ACCOUNTS,
  },
  'GET /v1/accounts/{id}': {
    ...read,
    id: 'getAccount',
    tag: 'Accounts and projects',
    serves: 'operators',
    summary: 'An account',
    answer: answers.ACCOUNT,
  },
  'PATCH /v1/accounts/{id}': {
    ...read,
    id: 'updateAccount',
    tag: 'Accounts and projects',
    serves: 'operators',
    summary: 'Renames an account, changes its plan, suspends or closes it',
    example: { status: 'suspended' },
    answer: answers.ACCOUNT,
  },
  'PATCH /v1/accounts/{id}/limits': {
    ...read,
    id: 'updateAccountLimits',
    tag: 'Accounts and projects',
    serves: 'operators',
    summary: 'Changes limits of an account; null takes one away',
    example: { monthlyUsdLimit: '100.00' },
    answer: answers.ACCOUNT,
  },
  'POST /v1/accounts/{id}/grants': {
    id: 'grantCredit',
    tag: 'Accounts and projects',
    serves: 'operators',
    status: 201,
    summary: 'Gives credit',
    example: { amountUsd: '5.00', reason: 'to try it', livemode: false },
    answer: answers.GRANT,
    idempotent: true,
    errors: ['not_found', 'idempotency_conflict'],
  },
  'GET /v1/projects': {
    ...list,
    id: 'listProjects',
    tag: 'Accounts and projects',
    serves: 'keys or operators',
    summary: 'The projects of an account',
    answer: answers.PROJECTS,
  },
  'POST /v1/projects': {
    id: 'createProject',
    tag: 'Accounts and projects',
    serves: 'keys or operators',
    status: 201,
    summary: 'Makes a project',
    example: { name: 'search', limits: { monthlyUsdLimit: '20.00' } },
    answer: answers.PROJECT,
  },
  'PATCH /v1/projects/{id}': {
    ...read,
    id: 'updateProject',
    tag: 'Accounts and projects',
    serves: 'keys or operators',
    summary: 'Renames a project, or changes its limits',
    example: { limits: { monthlyUsdLimit: '10.00' } },
    answer: answers.PROJECT,
  },
  'DELETE /v1/projects/{id}': {
    ...read,
    id: 'deleteProject',
    tag: 'Accounts and projects',
    serves: 'keys or operators',
    summary: 'Deletes a project and stops its keys',
    answer: answers.PROJECT,
  },

  'GET /v1/logs': {
    ...list,
    id: 'listRequestEvents',
    tag: 'Records',
    serves: 'usage',
    summary: 'The events of calls, without content',
    answer: answers.REQUEST_EVENTS,
  },
  'GET /v1/logs/{id}': {
    ...read,
    id: 'getRequestEvent',
    tag: 'Records',
    serves: 'usage',
    summary: 'The event of a call, by the id of its answer',
    answer: answers.REQUEST_EVENT,
  },
  'GET /v1/ledger': {
    ...list,
    id: 'listLedgerEntries',
    tag: 'Records',
    serves: 'usage',
    summary: 'Changes of the balance',
    answer: answers.LEDGER_ENTRIES,
    orText: 'text/csv',
  },
  'GET /v1/receipts': {
    ...list,
    id: 'listReceipts',
    tag: 'Records',
    serves: 'usage',
    summary: 'Signed receipts of calls',
    answer: answers.RECEIPTS,
  },
  'GET /v1/receipts/{id}': {
    ...read,
    id: 'getReceipt',
    tag: 'Records',
    serves: 'usage',
    summary: 'A signed receipt',
    answer: answers.RECEIPT,
    orText: 'application/jose',
  },
  'GET /v1/usage': {
    ...list,
    id: 'getUsage',
    tag: 'Records',
    serves: 'usage',
    summary: 'Sums of calls, tokens and cost',
    answer: answers.USAGE,
  },
  'GET /v1/monitoring/summary': {
    ...list,
    id: 'getMonitoringSummary',
    tag: 'Records',
    serves: 'usage',
    summary: "How the account's calls did lately",
    answer: answers.MONITORING_SUMMARY,
  },
  'GET /v1/audit': {
    ...list,
    id: 'listAuditEvents',
    tag: 'Records',
    serves: 'keys or operators',
    summary: 'Changes of keys, limits, projects and accounts: who, what, when',
    answer: answers.AUDIT_EVENTS,
  },

  'GET /v1/providers/health': {
    ...list,
    id: 'getProviderHealth',
    tag: 'Providers',
    serves: 'all',
    summary: 'How live endpoints do',
    answer: answers.PROVIDER_HEALTH,
  },
  'GET /v1/providers/config': {
    ...list,
    id: 'listProviderConfigs',
    tag: 'Providers',
    serves: 'operators',
    summary: 'What is set for providers',
    answer: answers.PROVIDER_CONFIGS,
  },
  'PATCH /v1/providers/config/{provider}': {
    ...read,
    id: 'updateProviderConfig',
    tag: 'Providers',
    serves: 'operators',
    summary: 'Changes what is set for a provider; null goes back to the default',
    example: { enabled: true, priority: 1 },
    answer: answers.PROVIDER_CONFIG,
  },

  'GET /.well-known/mesh-receipt-keys.json': {
    ...list,
    id: 'getReceiptKeys',
    tag: 'Platform',
    serves: 'all',
    summary: 'The public keys that receipts are checked with',
    answer: answers.RECEIPT_KEYS,
  },
  'GET /healthz': {
    ...list,
    id: 'getHealth',
    tag: 'Platform',
    serves: 'all',
    summary: 'Whether the process lives',
    answer: answers.HEALTHZ,
  },
  'GET /readyz': {
    ...list,
    id: 'getReadiness',
    tag: 'Platform',
    serves: 'all',
    summary: 'Whether the database takes changes',
    answer: answers.READYZ,
  },
  'GET /metrics': {
    ...list,
    id: 'getMetrics',
    tag: 'Platform',
    serves: 'operators',
    summary: 'Metrics for Prometheus',
    answer: { mediaType: 'text/plain' },
  },
  'GET /openapi.json': {
    ...list,
    id: 'getOpenApi',
    tag: 'Platform',
    serves: 'all',
    summary: 'This document',
    answer: z.looseObject({ openapi: z.string() }),
  },
  'GET /llms.txt': {
    ...list,
    id: 'getIndex',
    tag: 'Platform',
    serves: 'all',
    summary: 'What there is to read',
    answer: { mediaType: 'text/plain' },
  },
  'GET /docs': {
    ...list,
    id: 'getDocs',
    tag: 'Platform',
    serves: 'all',
    summary: 'What there is to read',
    answer: { mediaType: 'text/plain' },
  },
  'GET /docs/{page}': {
    ...read,
    id: 'getPage',
    tag: 'Platform',
    serves: 'all',
    summary: 'A page of the documentation',
    answer: { mediaType: 'text/markdown' },
  },
}
