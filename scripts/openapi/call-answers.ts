import type { JsonResult } from '@mesh/engine/emulated-json.ts'
import { PRIVACY_CLASSES } from '@mesh/engine/privacy-class.ts'
import { z } from 'zod'
import { count, named, usd } from './schema-words.ts'

/** What calls and the catalogue answer. Bodies in OpenAI's and Anthropic's shapes are described as far as MESH adds to them. */

export const PRIVACY_CLASS = z.enum(PRIVACY_CLASSES)

/** What became of JSON that an endpoint was asked for in words. */
const EMULATED_RESULTS: readonly Exclude<JsonResult, 'native'>[] = [
  'valid',
  'extracted',
  'repaired',
  'invalid',
  'unchecked',
]

const endpointName = z.strictObject({ model: z.string(), provider: z.string() })

export const ROUTING = named(
  'Routing',
  z.strictObject({
    api: z.string(),
    requested: z.array(z.string()),
    mode: z.string(),
    rule: z.string(),
    selected: endpointName.nullable(),
    chain: z.array(
      z.strictObject({
        model: z.string(),
        provider: z.string(),
        outcome: z.string(),
        reason: z.string().nullable(),
      }),
    ),
    snapshot: z.string(),
    output_cap: count.optional(),
    output_cap_by: z.string().optional(),
    response_format: z
      .strictObject({ mode: z.enum(['native', 'emulated']), result: z.enum(EMULATED_RESULTS).optional() })
      .optional(),
    unknown_params: count.optional(),
    dropped_params: z.array(z.string()).optional(),
    privacy: z.looseObject({}),
  }),
)

const COST_DETAILS = named('CostDetails', z.strictObject({ upstream_cost: usd, margin: usd, total: usd }))

const costs = {
  cost: z.number().meta({ description: 'What the call cost in USD, as a number; `cost_details` is exact.' }),
  cost_details: COST_DETAILS,
}
const served = { model: z.string(), provider: z.string(), routing: ROUTING }

export const CHAT_COMPLETION = named(
  'ChatCompletion',
  z.strictObject({
    id: z.string(),
    object: z.literal('chat.completion'),
    created: z.int(),
    system_fingerprint: z.string().nullable(),
    choices: z.array(
      z.looseObject({
        index: z.int(),
        message: z.looseObject({
          role: z.literal('assistant'),
          content: z.string().nullable(),
          refusal: z.string().nullable(),
        }),
        logprobs: z.unknown(),
        finish_reason: z.enum(['stop', 'length', 'tool_calls', 'content_filter', 'error']),
      }),
    ),
    usage: z.looseObject({ prompt_tokens: count, completion_tokens: count, total_tokens: count, ...costs }),
    ...served,
  }),
)
export const RESPONSE = named(
  'Response',
  z.looseObject({
    id: z.string(),
    object: z.literal('response'),
    status: z.enum(['completed', 'incomplete', 'failed', 'in_progress']),
    store: z.literal(false),
    output: z.array(z.looseObject({ type: z.string() })),
    usage: z.looseObject({ input_tokens: count, output_tokens: count, total_tokens: count, ...costs }),
    ...served,
  }),
)
export const MESSAGE = named(
  'Message',
  z.looseObject({
    id: z.string(),
    type: z.literal('message'),
    role: z.literal('assistant'),
    content: z.array(z.looseObject({ type: z.string() })),
    stop_reason: z.string().nullable(),
    usage: z.looseObject({ input_tokens: count, output_tokens: count, ...costs }),
    ...served,
  }),
)
const taskUsage = z.looseObject({ prompt_tokens: count, total_tokens: count, ...costs })
export const EMBEDDINGS = named(
  'Embeddings',
  z.strictObject({
    object: z.literal('list'),
    data: z.array(
      z.strictObject({
        object: z.literal('embedding'),
        index: z.int(),
        embedding: z.union([z.array(z.number()), z.string()]),
      }),
    ),
    usage: taskUsage,
    ...served,
  }),
)
export const RANKING = named(
  'Ranking',
  z.strictObject({
    id: z.string(),
    results: z.array(
      z.strictObject({
        index: z.int(),
        relevance_score: z.number(),
        document: z.strictObject({ text: z.string() }).optional(),
      }),
    ),
    usage: taskUsage,
    ...served,
  }),
)
export const TOKEN_COUNT = named(
  'TokenCount',
  z.strictObject({
    object: z.literal('token_count'),
    model: z.string(),
    input_tokens: count,
    exact: z.boolean(),
    method: z.string(),
  }),
)
export const MESSAGE_TOKEN_COUNT = named(
  'MessageTokenCount',
  z.strictObject({ input_tokens: count, estimated: z.literal(true) }),
)
export const ROUTE = named(
  'Route',
  z.strictObject({
    object: z.literal('route'),
    requested: z.array(z.string()),
    mode: z.string(),
    rule: z.string(),
    snapshot: z.string(),
    selected: endpointName.nullable(),
    candidates: z.array(
      z.strictObject({
        rank: z.int(),
        model: z.string(),
        provider: z.string(),
        privacy_class: PRIVACY_CLASS,
        expected_cost_usd: usd,
        max_cost_usd: usd,
      }),
    ),
    excluded: z.array(z.strictObject({ model: z.string(), provider: z.string(), excluded_by: z.string() })),
    expected_cost_usd: usd.nullable(),
    hold_usd: usd.nullable(),
    max_cost_usd: usd.nullable(),
    dropped_params: z.array(z.string()).optional(),
    refusal: z.strictObject({ status: z.int(), code: z.string(), message: z.string() }).optional(),
  }),
)

const pricing = z.strictObject({
  prompt: z.string(),
  completion: z.string(),
  input_cache_read: z.string(),
  input_cache_write: z.string(),
  usd_per_million: z.strictObject({
    input: z.string(),
    output: z.string(),
    cache_read: z.string(),
    cache_write_5m: z.string(),
    cache_write_1h: z.string(),
  }),
})
const kind = z.enum(['chat', 'embedding', 'rerank'])
const listed = {
  id: z.string(),
  object: z.literal('model'),
  created: z.int(),
  owned_by: z.string(),
  kind,
  name: z.string(),
  available: z.boolean(),
}
const modalities = z.array(z.string())
const MODEL_ENTRY = named(
  'Model',
  z.strictObject({
    ...listed,
    type: z.literal('model'),
    canonical_slug: z.string(),
    aliases: z.array(z.string()),
    context_length: z.int(),
    architecture: z.strictObject({ input_modalities: modalities, output_modalities: modalities }),
    capabilities: z.record(z.string(), z.boolean()),
    quality: z
      .strictObject({ score: z.number().optional(), source: z.string(), date: z.string() })
      .nullable(),
    pricing: pricing.nullable(),
    top_provider: z.strictObject({ context_length: z.int(), max_completion_tokens: z.int() }).nullable(),
    supported_parameters: z.array(z.string()),
    providers: z.array(z.string()),
    unavailable_reason: z.string().optional(),
  }),
)
const ALIAS_ENTRY = named(
  'Alias',
  z.strictObject({
    ...listed,
    type: z.literal('alias'),
    alias_of: z.enum(['mode', 'tier']),
    description: z.string(),
    models: z.array(z.strictObject({ model: z.string(), why: z.string() })).optional(),
    rules: z
      .array(z.strictObject({ rule: z.string(), when: z.string(), prefers: z.array(z.string()) }))
      .optional(),
  }),
)
const anyModel = z.discriminatedUnion('type', [MODEL_ENTRY, ALIAS_ENTRY])
const ENDPOINT = named(
  'Endpoint',
  z.strictObject({
    id: z.string(),
    provider: z.string(),
    model: z.string(),
    upstream_model: z.string(),
    protocol: z.string(),
    context_length: z.int(),
    max_completion_tokens: z.int(),
    supported_parameters: z.array(z.string()),
    emulated_parameters: z.array(z.string()),
    input_modalities: modalities,
    pricing: pricing.nullable(),
    pricing_exceptions: z.array(
      pricing.extend({
        above_input_tokens: z.int().optional(),
        from_utc: z.string().optional(),
        until_utc: z.string().optional(),
      }),
    ),
    cancel_stops_billing: z.union([z.boolean(), z.literal('unknown')]),
    data_policy: z.strictObject({
      retention: z.string(),
      training: z.string(),
      source: z.string().optional(),
      date: z.string().optional(),
    }),
    privacy: z.strictObject({
      in_the_clear: PRIVACY_CLASS,
      ceiling: PRIVACY_CLASS,
      confidential_host: z.looseObject({}).nullable(),
    }),
    health: z
      .strictObject({
        breaker: z.string(),
        success_rate: z.number(),
        first_token_ms_p50: z.number().nullable(),
        tokens_per_second_p50: z.number().nullable(),
      })
      .nullable(),
    available: z.boolean(),
    unavailable_reason: z.string().optional(),
  }),
)
export const MODELS = named(
  'ModelList',
  z.strictObject({ object: z.literal('list'), data: z.array(anyModel) }),
)
export const MODEL = named('ModelOrAlias', anyModel)
export const ENDPOINTS = named(
  'EndpointList',
  z.strictObject({ object: z.literal('list'), id: z.string(), data: z.array(ENDPOINT) }),
)
