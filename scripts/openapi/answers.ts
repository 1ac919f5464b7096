import { z } from 'zod'
import { NO_LIMITS } from '../../apps/router/src/accounts/limits.ts'
import { SCOPES } from '../../apps/router/src/accounts/scopes.ts'
import { ERRORS } from '../../apps/router/src/errors.ts'
import { BILLING_REASONS } from '../../apps/router/src/records/billing-reason.ts'
import { PRIVACY_CLASS, ROUTING } from './call-answers.ts'
import { count, idOf, instant, keysOf, named, pageOf, usd } from './schema-words.ts'

/** What management and record routes answer. A test parses real answers with these, which take nothing that they do not name. */

export const ERROR = named(
  'Error',
  z.strictObject({
    error: z.strictObject({
      message: z.string().meta({ description: 'Says what to do. Never quotes the request.' }),
      type: z.enum([...new Set(Object.values(ERRORS).map(({ type }) => type))]),
      code: z.enum(keysOf(ERRORS)).meta({
        description: Object.entries(ERRORS)
          .map(([code, { status, meaning }]) => `- \`${code}\` (${status}): ${meaning}`)
          .join('\n'),
      }),
      param: z.string().nullable(),
      metadata: z.record(z.string(), z.unknown()).optional(),
    }),
  }),
)

const limit = z.int().nullable()
const amount = usd.nullable()
const LIMITS = named(
  'Limits',
  z.strictObject({
    requestsPerMinute: limit,
    tokensPerMinute: limit,
    maxConcurrentRequests: limit,
    monthlyRequestLimit: limit,
    monthlyTokenLimit: limit,
    dailyUsdLimit: amount,
    monthlyUsdLimit: amount,
    totalUsdLimit: amount,
    maxUsdPerRequest: amount,
    allowedModels: z.array(z.string()).nullable(),
    allowedProviders: z.array(z.string()).nullable(),
    minimumPrivacyClass: PRIVACY_CLASS.nullable(),
    expiresAt: instant.nullable(),
  } satisfies Record<keyof typeof NO_LIMITS, z.ZodType>),
)

const keyMembers = {
  id: idOf('key'),
  name: z.string(),
  accountId: idOf('acct'),
  projectId: idOf('proj'),
  livemode: z.boolean(),
  scopes: z.array(z.enum(SCOPES)),
  status: z.enum(['active', 'grace', 'replaced', 'expired', 'revoked']),
  secretTail: z.string().meta({ description: 'The last characters of its secret, to tell keys apart.' }),
  limits: LIMITS,
  madeBy: idOf('key').nullable().meta({ description: 'The first key of the line that made it.' }),
  successorId: idOf('key').nullable(),
  stopsAt: instant.nullable(),
  revokedAt: instant.nullable(),
  createdAt: instant,
}
export const KEY = named('ApiKey', z.strictObject(keyMembers))
export const MADE_KEY = named(
  'MadeApiKey',
  z.strictObject({ ...keyMembers, secret: z.string().meta({ description: 'Shown this once.' }) }),
)
const remaining = z.strictObject({ remaining: z.union([z.int(), usd]), resetsAt: instant.nullable() })
export const CURRENT_KEY = named(
  'CurrentApiKey',
  z.strictObject({
    ...keyMembers,
    usage: z.strictObject({
      requestsThisMinute: count,
      tokensThisMinute: count,
      concurrentRequests: count,
      requestsThisMonth: count,
      tokensThisMonth: count,
      usdToday: usd,
      usdThisMonth: usd,
      usdTotal: usd,
      heldUsd: usd,
    }),
    remaining: z
      .partialRecord(z.enum(keysOf(NO_LIMITS)), remaining)
      .meta({ description: 'What is left of each limit that is set, and when it starts anew.' }),
  }),
)
export const KEYS = pageOf('ApiKeyPage', KEY)

export const OPENROUTER_KEY = named(
  'OpenRouterKey',
  z.strictObject({
    data: z.strictObject({
      label: z.string(),
      limit: z.number().nullable(),
      limit_remaining: z.number().nullable(),
      limit_reset: z.string().nullable(),
      usage: z.number(),
      usage_daily: z.number(),
      usage_monthly: z.number(),
      is_free_tier: z.boolean(),
      is_management_key: z.boolean(),
      expires_at: instant.nullable(),
      rate_limit: z.strictObject({ requests: z.int(), interval: z.string() }),
    }),
  }),
)
export const OPENROUTER_CREDITS = named(
  'OpenRouterCredits',
  z.strictObject({ data: z.strictObject({ total_credits: z.number(), total_usage: z.number() }) }),
)

export const PROJECT = named(
  'Project',
  z.strictObject({
    id: idOf('proj'),
    accountId: idOf('acct'),
    name: z.string(),
    isDefault: z.boolean(),
    limits: LIMITS,
    createdAt: instant,
    deleted: z.literal(true).optional(),
  }),
)
export const PROJECTS = pageOf('ProjectPage', PROJECT)

const book = { balanceUsd: usd, heldUsd: usd }
export const ACCOUNT = named(
  'Account',
  z.strictObject({
    id: idOf('acct'),
    name: z.string(),
    plan: z.string(),
    status: z.enum(['active', 'suspended', 'closed']),
    ...book,
    test: z.strictObject(book),
    limits: LIMITS,
    defaultProjectId: idOf('proj'),
    createdAt: instant,
  }),
)
export const ACCOUNTS = pageOf('AccountPage', ACCOUNT)
export const GRANT = named(
  'Grant',
  z.strictObject({
    id: idOf('led'),
    accountId: idOf('acct'),
    amountUsd: usd,
    reason: z.string(),
    livemode: z.boolean(),
    balanceUsd: usd,
    createdAt: instant,
  }),
)
const AUDIT_EVENT = named(
  'AuditEvent',
  z.strictObject({
    id: idOf('aud'),
    accountId: idOf('acct').nullable(),
    livemode: z.boolean().nullable(),
    actor: z.string().meta({ description: 'The key or operator key that did it.' }),
    action: z.string(),
    target: z.string(),
    before: z.unknown(),
    after: z.unknown(),
    createdAt: instant,
  }),
)
export const AUDIT_EVENTS = pageOf('AuditEventPage', AUDIT_EVENT)

const billingReason = z.enum(keysOf(BILLING_REASONS)).meta({ description: 'See docs/billing-reasons.md.' })
const usageSource = z.enum(['reported', 'estimated', 'none'])
const TOKENS = named(
  'TokenBuckets',
  z.strictObject({
    input: count,
    cacheRead: count,
    cacheWrite5m: count,
    cacheWrite1h: count,
    inputAudio: count,
    inputImage: count,
    output: count,
    reasoning: count,
    outputAudio: count,
    outputImage: count,
  }),
)
const privacy = z.strictObject({
  requested: z.enum(['standard', 'protected', 'mesh']),
  class: PRIVACY_CLASS,
  sealed: z.literal('none'),
  providerPlaintext: z.boolean(),
  reason: z.literal('cleartext-to-edge').optional(),
})

export const REQUEST_EVENT = named(
  'RequestEvent',
  z.strictObject({
    id: idOf('req'),
    object: z.literal('request_event'),
    livemode: z.boolean(),
    createdAt: instant,
    accountId: idOf('acct'),
    projectId: idOf('proj'),
    keyId: idOf('key'),
    modelRequested: z.string().nullable(),
    modelServed: z.string().nullable(),
    provider: z.string().nullable(),
    status: z.int(),
    errorCode: z.enum(keysOf(ERRORS)).nullable(),
    stream: z.boolean(),
    billingReason,
    finishReason: z.string().nullable(),
    tokens: TOKENS,
    usageSource,
    usageFlags: z.array(z.string()),
    cost: z.strictObject({ upstreamCostUsd: usd, marginUsd: usd, totalUsd: usd, heldUsd: usd }),
    priceListId: z.string().nullable(),
    receiptId: idOf('rcpt').nullable(),
    attempts: z.array(
      z.strictObject({
        model: z.string(),
        provider: z.string(),
        outcome: z.string(),
        reason: z.string().optional(),
        status: z.int().optional(),
        durationMs: z.int(),
      }),
    ),
    routing: ROUTING.partial(),
    privacy,
    firstTokenMs: z.int().nullable(),
    durationMs: z.int(),
  }),
)
export const REQUEST_EVENTS = pageOf('RequestEventPage', REQUEST_EVENT)

const LEDGER_ENTRY = named(
  'LedgerEntry',
  z.strictObject({
    id: idOf('led'),
    object: z.literal('ledger_entry'),
    livemode: z.boolean(),
    createdAt: instant,
    type: z.enum(['grant', 'purchase', 'usage', 'refund', 'adjustment']),
    amountUsd: usd,
    balanceAfterUsd: usd,
    requestId: idOf('req').nullable(),
    reason: z.string().nullable(),
  }),
)
export const LEDGER_ENTRIES = pageOf('LedgerEntryPage', LEDGER_ENTRY)

const RECEIPT_CLAIMS = named(
  'ReceiptClaims',
  z.strictObject({
    version: z.literal(1),
    issuer: z.string(),
    receiptId: idOf('rcpt'),
    requestId: idOf('req'),
    issuedAt: instant,
    accountId: idOf('acct'),
    projectId: idOf('proj'),
    keyId: idOf('key'),
    livemode: z.boolean(),
    modelRequested: z.string().nullable(),
    modelServed: z.string().nullable(),
    provider: z.string().nullable(),
    route: z.array(z.strictObject({ model: z.string(), provider: z.string(), outcome: z.string() })),
    tokens: TOKENS,
    usageSource,
    priceListId: z.string().nullable(),
    pricesUsdPerMillion: z.record(z.string(), z.string()).nullable(),
    upstreamCostUsd: usd,
    marginUsd: usd,
    totalUsd: usd,
    currency: z.literal('USD'),
    billingReason,
    finishReason: z.string().nullable(),
    firstTokenMs: z.int().nullable(),
    durationMs: z.int(),
    privacy,
    attestationHash: z.null(),
    ledgerEntryId: idOf('led').nullable(),
  }),
)
export const RECEIPT = named(
  'Receipt',
  z.strictObject({
    id: idOf('rcpt'),
    object: z.literal('receipt'),
    livemode: z.boolean(),
    receipt: RECEIPT_CLAIMS,
    jws: z
      .string()
      .meta({ description: 'The same, signed: a compact JWS with Ed25519 (RFC 7515, RFC 9864).' }),
  }),
)
export const RECEIPTS = pageOf('ReceiptPage', RECEIPT)
export const RECEIPT_KEYS = named(
  'ReceiptKeys',
  z.strictObject({
    keys: z.array(
      z.strictObject({
        kty: z.literal('OKP'),
        crv: z.literal('Ed25519'),
        x: z.string(),
        kid: z.string(),
        use: z.literal('sig'),
        alg: z.literal('Ed25519'),
      }),
    ),
  }),
)

export const USAGE = named(
  'Usage',
  z.strictObject({
    from: instant,
    to: instant,
    groupBy: z.array(z.string()),
    data: z.array(
      z.strictObject({
        day: z.string().optional(),
        model: z.string().nullable().optional(),
        provider: z.string().nullable().optional(),
        project: z.string().optional(),
        key: z.string().optional(),
        requests: count,
        inputTokens: count,
        outputTokens: count,
        upstreamCostUsd: usd,
        totalUsd: usd,
      }),
    ),
  }),
)
const percentiles = z.strictObject({ p50: z.number().nullable(), p95: z.number().nullable() })
const monitored = {
  requests: count,
  failed: count,
  refused: count,
  errorRate: z.number().nullable(),
  totalUsd: usd,
  firstTokenMs: percentiles,
  durationMs: percentiles,
}
export const MONITORING_SUMMARY = named(
  'MonitoringSummary',
  z.strictObject({
    object: z.literal('monitoring_summary'),
    window: z.string(),
    from: instant,
    to: instant,
    ...monitored,
    byEndpoint: z.array(
      z.strictObject({ model: z.string().nullable(), provider: z.string().nullable(), ...monitored }),
    ),
  }),
)

const breaker = z.enum(['closed', 'open', 'half_open'])
export const PROVIDER_HEALTH = named(
  'ProviderHealthList',
  z.strictObject({
    object: z.literal('list'),
    window: z.string(),
    data: z.array(
      z.strictObject({
        provider: z.string(),
        name: z.string(),
        status: z.enum(['operational', 'degraded', 'down', 'unknown', 'unavailable']),
        models: z.array(
          z.strictObject({
            model: z.string(),
            successRate: z.number().nullable(),
            firstTokenMs: z.strictObject({ p50: z.int(), p95: z.int() }).nullable(),
            tokensPerSecond: z.strictObject({ p50: z.int() }).nullable(),
            breaker,
          }),
        ),
      }),
    ),
  }),
)
export const PROVIDER_CONFIG = named(
  'ProviderConfig',
  z.strictObject({
    provider: z.string(),
    name: z.string(),
    hasCredential: z.boolean(),
    credentials: z
      .array(
        z.strictObject({
          name: z.string(),
          weight: z.number(),
          status: z.enum(['serving', 'set_aside']),
          models: z.array(z.string()),
        }),
      )
      .meta({ description: 'As the process that answers finds them.' }),
    baseUrl: z.string(),
    enabled: z.boolean(),
    priority: z.int(),
    routingWeight: z.int().nullable(),
    timeoutMs: z.int().nullable(),
    maxConcurrency: z.int(),
    circuitBreaker: z.strictObject({ errorRate: z.number(), cooldownMs: z.int() }),
  }),
)
export const PROVIDER_CONFIGS = named(
  'ProviderConfigList',
  z.strictObject({ object: z.literal('list'), data: z.array(PROVIDER_CONFIG) }),
)
export const HEALTHZ = named('Alive', z.strictObject({ status: z.literal('ok') }))
export const READYZ = named(
  'Ready',
  z.strictObject({ status: z.literal('ready'), database: z.literal('ok') }),
)
