import { z } from 'zod'
import type { CatalogFiles } from './load.ts'
import type { EndpointRow, ModelRow, ProvidersFile } from './schema.ts'

/**
 * What an operator adds to the catalogue, or knows better for his own contracts: own models and servers, deployments
 * and regions, what providers have promised him to keep. It is laid over the data files before they are read, so that
 * every rule that holds for them holds for it too.
 */

const text = z.string().min(1).max(200)
const providerId = z.string().regex(/^[a-z0-9]+(?:-[a-z0-9]+)*$/, 'must be an id such as "my-server"')
const date = z.string().regex(/^\d{4}-\d{2}-\d{2}$/, 'must be a date such as "2026-11-23"')
const tokens = z.int().positive().max(100_000_000)
const modality = z.enum(['text', 'image', 'audio', 'video', 'file'])
const usdPerMillion = z
  .string()
  .regex(/^\d{1,6}(?:\.\d{1,6})?$/, 'must be USD per million tokens, as a decimal string such as "0.075"')

/** USD per million tokens. What is not stated is billed as plain input. */
const ownPrices = z.strictObject({
  input: usdPerMillion,
  output: usdPerMillion.optional(),
  cacheRead: usdPerMillion.optional(),
  cacheWrite5m: usdPerMillion.optional(),
  cacheWrite1h: usdPerMillion.optional(),
})

const retention = z.strictObject({
  retention: z.enum(['none', 'limited', 'unknown']),
  training: z.enum(['no', 'yes', 'unknown']),
  promptCache: z
    .enum(['off', 'cache_salt'])
    .exactOptional()
    .describe('That it caches no prompts for you, or keeps apart what comes with another cache_salt (vLLM).'),
  source: text.describe('Where it says so: the contract, by its name.'),
  date: date.describe('Since when.'),
})

const ownProvider = z.strictObject({
  id: providerId,
  name: text.optional(),
  baseUrl: z
    .string()
    .max(500)
    .regex(
      /^https?:\/\/[A-Za-z0-9.[\]:-]+(?:\/[A-Za-z0-9._/-]*[A-Za-z0-9._-])?$/,
      'must be an http or https URL',
    ),
  credentialVariable: z
    .string()
    .regex(/^[A-Z][A-Z0-9_]*$/)
    .optional()
    .describe('The environment variable with its key; without one the provider is asked without a key.'),
  cancelStopsBilling: z.boolean().default(true),
})

const ownEndpoint = z.strictObject({
  provider: providerId,
  upstreamModel: text,
  protocol: z
    .enum(['openai_chat', 'openai_responses', 'anthropic_messages', 'openai_embeddings', 'jina_style_rerank'])
    .optional(),
  prices: ownPrices,
})

const ownModel = z.strictObject({
  id: z.templateLiteral(['mesh/', z.string().regex(/[a-z0-9]+(?:[.-][a-z0-9]+)*/)]),
  name: text.optional(),
  kind: z.enum(['chat', 'embedding', 'rerank']).default('chat'),
  contextTokens: tokens,
  outputTokensMax: tokens.optional(),
  inputModalities: z.array(modality).min(1).default(['text']),
  tools: z.boolean().default(false),
  jsonObject: z.boolean().default(false),
  jsonSchema: z.boolean().default(false),
  reasoning: z.boolean().default(false),
  otherNames: z.array(text).max(20).default([]),
  endpoints: z.array(ownEndpoint).min(1).max(20),
})

/** What an operator knows better of an endpoint: `mesh/gpt-4.1@azure` → its deployment, a region, a price of his own. */
const endpointChange = z.strictObject({
  upstreamModel: text.optional(),
  prices: ownPrices.optional(),
})

const credential = z.strictObject({
  name: z
    .string()
    .regex(/^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$/, 'must be a name such as "team-2"')
    .describe('All that is ever shown of it.'),
  variable: z
    .string()
    .regex(/^[A-Z][A-Z0-9_]*$/)
    .describe('The environment variable with its secret, or the NAME of NAME_FILE.'),
  weight: z.int().min(1).max(1_000).default(1),
})

export const catalogOverlay = z.strictObject({
  providers: z
    .array(ownProvider)
    .max(50)
    .default([])
    .describe('Own servers that speak a protocol of the list.'),
  models: z
    .array(ownModel)
    .max(500)
    .default([])
    .describe('Own models, at own servers or at built-in providers.'),
  endpoints: z
    .record(
      z.string().regex(/^mesh\/[^@]+@[^@]+$/, 'must be ids such as "mesh/gpt-4.1@azure"'),
      endpointChange,
    )
    .default({})
    .describe('Azure deployments, Bedrock regions and own prices, by endpoint.'),
  retention: z
    .record(providerId, retention)
    .default({})
    .describe('What providers keep by your contracts, by provider.'),
  credentials: z
    .record(
      providerId,
      z
        .array(credential)
        .min(1)
        .max(20)
        .refine(
          (all) => new Set(all.map(({ name }) => name)).size === all.length,
          'must have different names',
        ),
    )
    .default({})
    .describe('Several credentials of a provider, by provider, in place of its own variable.'),
})

export type CatalogOverlay = z.output<typeof catalogOverlay>
type OwnModel = CatalogOverlay['models'][number]
type OwnPrices = z.output<typeof ownPrices>
/** A row as data files have it, before it is read. */
type Raw<Row> = { readonly [Name in keyof Row]: unknown }

/** The vendor under which own models stand. */
const OWN = 'own'
/** What stands as the source of everything that an operator states. */
export const OPERATOR = 'MESH_SETTINGS'
/** As the catalogue says where nobody has rated a model. */
const NOT_RATED = 'list price (proxy)'

/**
 * Lays an overlay over the data files.
 * @throws Error where it changes an endpoint, or speaks of a provider, that is not there.
 */
export function overlaid(files: CatalogFiles, overlay: CatalogOverlay): CatalogFiles {
  const { providers, models, endpoints, retention } = overlay
  const known = files.providers as ProvidersFile
  const { dataVersion } = known
  const vendors = Object.entries(
    files.models as Readonly<Record<string, { readonly models: readonly ModelRow[] }>>,
  )
  requireKnown(
    overlay,
    known,
    vendors.flatMap(([, vendor]) => vendor.models),
  )
  const withChanges = (row: ModelRow): ModelRow => ({
    ...row,
    endpoints: row.endpoints.map((endpoint) => {
      const change = endpoints[`${row.id}@${endpoint.provider}`] ?? {}
      const promised = retention[endpoint.provider]
      return {
        ...endpoint,
        ...(change.upstreamModel === undefined ? {} : { upstreamModel: change.upstreamModel }),
        ...(change.prices ? { prices: pricesOf(change.prices) as unknown as EndpointRow['prices'] } : {}),
        ...(promised ? { dataPolicy: promised } : {}),
      }
    }),
  })
  const own = models.map((model) => withChanges(rowOf(model, dataVersion) as unknown as ModelRow))
  const ratings = files.quality as { readonly models: readonly unknown[] }
  return {
    ...files,
    providers: { ...known, providers: [...known.providers, ...providers.map(providerRow)] },
    models: {
      ...Object.fromEntries(
        vendors.map(([name, vendor]) => [name, { ...vendor, models: vendor.models.map(withChanges) }]),
      ),
      ...(own.length === 0
        ? {}
        : { [OWN]: { vendor: OWN, vendorName: 'Operator', openRouterVendor: OWN, models: own } }),
    },
    quality: {
      ...ratings,
      models: [
        ...ratings.models,
        ...models.map(({ id }) => ({ model: id, score: null, source: NOT_RATED, date: dataVersion })),
      ],
    },
  }
}

function requireKnown(
  { endpoints, retention, credentials, models, providers }: CatalogOverlay,
  known: ProvidersFile,
  rows: readonly ModelRow[],
): void {
  const own = models.flatMap((model) => model.endpoints.map(({ provider }) => `${model.id}@${provider}`))
  const builtIn = rows.flatMap((row) => row.endpoints.map(({ provider }) => `${row.id}@${provider}`))
  const ids = new Set([...own, ...builtIn])
  for (const id of Object.keys(endpoints)) {
    if (!ids.has(id)) throw new Error(`catalog.endpoints: there is no endpoint ${id}`)
  }
  const providerIds = new Set([...known.providers, ...providers].map(({ id }) => id))
  for (const id of Object.keys(retention)) {
    if (!providerIds.has(id)) throw new Error(`catalog.retention: there is no provider ${id}`)
  }
  for (const id of Object.keys(credentials)) {
    if (!providerIds.has(id)) throw new Error(`catalog.credentials: there is no provider ${id}`)
  }
}

function providerRow({
  id,
  name = id,
  baseUrl,
  credentialVariable,
  cancelStopsBilling,
}: CatalogOverlay['providers'][number]) {
  return {
    ...{ id, name, baseUrl },
    credentialVariable: credentialVariable ?? null,
    cancellation: { stopsBilling: cancelStopsBilling, source: OPERATOR },
  }
}

function rowOf(model: OwnModel, dataVersion: string): Raw<ModelRow> {
  const {
    id,
    name = id,
    kind,
    contextTokens,
    inputModalities,
    tools,
    jsonObject,
    jsonSchema,
    reasoning,
  } = model
  const outputTokensMax = kind === 'chat' ? (model.outputTokensMax ?? contextTokens) : null
  const isChat = kind === 'chat'
  return {
    ...{ id, name, kind, contextTokens, outputTokensMax, inputModalities },
    releaseDate: dataVersion,
    knowledgeCutoff: null,
    openWeights: false,
    otherNames: model.otherNames,
    outputModalities: [isChat ? 'text' : kind === 'embedding' ? 'embedding' : 'score'],
    capabilities: {
      ...{ tools, jsonObject, jsonSchema, reasoning },
      vision: inputModalities.includes('image'),
      pdf: inputModalities.includes('file'),
    },
    endpoints: model.endpoints.map(({ provider, upstreamModel, protocol, prices }) => ({
      ...{ provider, upstreamModel, contextTokens, outputTokensMax, inputModalities },
      protocol: protocol ?? PROTOCOL_OF_KIND[kind],
      supportedParameters: isChat ? parametersOf(model) : [],
      emulatedParameters: isChat && !jsonObject ? ['response_format.json_object'] : [],
      reasoningOptions: null,
      prices: pricesOf(prices),
      confidential: null,
      dataPolicy: { retention: 'unknown', training: 'unknown' },
    })),
  }
}

const PROTOCOL_OF_KIND = {
  chat: 'openai_chat',
  embedding: 'openai_embeddings',
  rerank: 'jina_style_rerank',
} as const

function parametersOf({ tools, jsonObject, jsonSchema, reasoning }: OwnModel): string[] {
  return [
    ...['max_tokens', 'stop', 'stream', 'temperature', 'top_p'],
    ...(tools ? ['tools', 'tool_choice'] : []),
    ...(jsonObject ? ['response_format.json_object'] : []),
    ...(jsonSchema ? ['response_format.json_schema'] : []),
    ...(reasoning ? ['reasoning'] : []),
  ]
}

function pricesOf({ input, output, cacheRead, cacheWrite5m, cacheWrite1h }: OwnPrices) {
  return {
    usdPerMillionTokens: {
      input,
      output: output ?? null,
      cacheRead: cacheRead ?? null,
      cacheWrite5m: cacheWrite5m ?? null,
      cacheWrite1h: cacheWrite1h ?? null,
    },
    source: OPERATOR,
    crossCheck: null,
    tiers: [],
    windows: [],
  }
}
