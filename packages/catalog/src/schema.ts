import { z } from 'zod'
import { type PicoUsd, parsePricePerMillion } from './money.ts'

/**
 * The shape of the catalogue's data files. Every object is strict: a key that this file does not know is a mistake,
 * and a mistake in a price file costs money. Prices are decimal strings in USD per million tokens, as providers
 * publish them; `null` says that the provider states none.
 */

const name = z.string().min(1).max(200)
const providerId = z
  .string()
  .regex(/^[a-z0-9]+(?:-[a-z0-9]+)*$/, 'is not a provider id such as "amazon-bedrock"')
const modelId = z.templateLiteral(['mesh/', z.string().regex(/[a-z0-9]+(?:[.-][a-z0-9]+)*/)])
const date = z.string().regex(/^\d{4}-\d{2}-\d{2}$/, 'is not a date such as "2026-11-23"')
const tokenCount = z.int().positive().max(100_000_000)

const price = z.string().transform((text, context): PicoUsd => {
  const pico = parsePricePerMillion(text)
  if (pico !== undefined) return pico
  context.addIssue('is not a price in USD per million tokens such as "0.075"')
  return z.NEVER
})

const statedRates = z.strictObject({
  input: price,
  output: price.nullable(),
  cacheRead: price.nullable(),
  cacheWrite5m: price.nullable(),
  cacheWrite1h: price.nullable(),
  inputAudio: price.optional(),
  inputImage: price.optional(),
  reasoning: price.optional(),
  outputAudio: price.optional(),
  outputImage: price.optional(),
})

const crossCheck = z.discriminatedUnion('agrees', [
  z.strictObject({ source: name, agrees: z.literal(true) }),
  z.strictObject({ source: name, agrees: z.literal(false), usdPerMillionTokens: statedRates }),
])

const timeOfDay = z
  .string()
  .regex(/^(?:[01]\d|2[0-3]):[0-5]\d$|^24:00$/, 'is not a time of day in UTC such as "06:30"')
  .transform((text) => Number(text.slice(0, 2)) * 60 + Number(text.slice(3)))

const prices = z.strictObject({
  usdPerMillionTokens: statedRates,
  source: name,
  /** A second source: where it disagrees, both are kept here and the dearer is used, rate by rate. */
  crossCheck: crossCheck.nullable(),
  tiers: z.array(z.strictObject({ aboveInputTokens: tokenCount, usdPerMillionTokens: statedRates })),
  windows: z.array(
    z.strictObject({ fromUtc: timeOfDay, untilUtc: timeOfDay, usdPerMillionTokens: statedRates }),
  ),
})

const modality = z.enum(['text', 'image', 'audio', 'video', 'file', 'embedding', 'score'])

const parameter = z.enum([
  'max_tokens',
  'stop',
  'stream',
  'temperature',
  'top_p',
  'tools',
  'tool_choice',
  'reasoning',
  'response_format.json_object',
  'response_format.json_schema',
])

const reasoningOption = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('effort'), values: z.array(name).min(1) }),
  z.strictObject({
    type: z.literal('budget_tokens'),
    min: z.int().nonnegative().exactOptional(),
    max: z.int().positive().exactOptional(),
  }),
  z.strictObject({ type: z.literal('toggle') }),
])

const speed = z.strictObject({
  firstTokenMs: z.int().positive().exactOptional(),
  tokensPerSecond: z.number().positive().exactOptional(),
  source: name,
  date,
})

const endpoint = z.strictObject({
  provider: providerId,
  upstreamModel: name,
  protocol: z.enum([
    'openai_chat',
    'openai_responses',
    'anthropic_messages',
    'gemini',
    'gemini_embed',
    'bedrock_converse',
    'azure_openai',
    'azure_openai_embeddings',
    'openai_embeddings',
    'cohere_v2',
    'jina_style_rerank',
  ]),
  contextTokens: tokenCount,
  outputTokensMax: tokenCount.nullable(),
  inputModalities: z.array(modality).min(1),
  supportedParameters: z.array(parameter),
  emulatedParameters: z.array(parameter),
  /** `null`: not known. An empty list: there are none. */
  reasoningOptions: z.array(reasoningOption).nullable(),
  prices,
  confidential: z
    .strictObject({
      platform: z.enum(['nearai', 'tinfoil']),
      sealedBodies: z.union([z.boolean(), z.literal('unknown')]),
      note: name,
    })
    .nullable(),
  dataPolicy: z.strictObject({
    retention: z.enum(['none', 'limited', 'unknown']),
    training: z.enum(['no', 'yes', 'unknown']),
    promptCache: z.enum(['off', 'cache_salt']).exactOptional(),
    /** Where the provider says so, and since when. */
    source: name.exactOptional(),
    date: date.exactOptional(),
  }),
  /** What the provider or a benchmark states; absent where none is known. */
  speed: speed.exactOptional(),
})

const model = z.strictObject({
  id: modelId,
  name,
  kind: z.enum(['chat', 'embedding', 'rerank']),
  releaseDate: date,
  knowledgeCutoff: z
    .string()
    .regex(/^\d{4}-\d{2}(?:-\d{2})?$/)
    .nullable(),
  openWeights: z.boolean(),
  /** Names that the rules for aliases do not find: OpenRouter's, where it calls the model something else. */
  otherNames: z.array(name.toLowerCase()),
  contextTokens: tokenCount,
  outputTokensMax: tokenCount.nullable(),
  inputModalities: z.array(modality).min(1),
  outputModalities: z.array(modality).min(1),
  capabilities: z.strictObject({
    tools: z.boolean(),
    jsonObject: z.boolean(),
    jsonSchema: z.boolean(),
    reasoning: z.boolean(),
    vision: z.boolean(),
    pdf: z.boolean(),
  }),
  endpoints: z.array(endpoint).min(1),
})

/** `data/models/<vendor>.json`: the models of one vendor and where each can be had. */
export const vendorFile = z.strictObject({
  vendor: providerId,
  vendorName: name,
  /** What OpenRouter puts before the slash in its ids of this vendor's models. */
  openRouterVendor: providerId,
  models: z.array(model).min(1),
})

/** What says of a rating that nobody has rated the model. */
const LIST_PRICE_PROXY = 'list price (proxy)'

const rating = z
  .strictObject({
    model: modelId,
    score: z.int().positive().nullable(),
    /** The row of the source, where it calls the model something else. */
    entry: name.exactOptional(),
    source: name,
    date,
  })
  .refine(({ score, source }) => (score === null) === (source === LIST_PRICE_PROXY), {
    path: ['source'],
    message: `is "${LIST_PRICE_PROXY}" where there is no score, and only there`,
  })

/** `data/quality.json`: how good the models are held to be, on one scale. */
export const qualityFile = z.strictObject({ scale: z.string().min(1).max(1_000), models: z.array(rating) })

/** `data/tiers.json`: which models a tier stands for, and why. */
export const tiersFile = z.strictObject({
  reviewed: date,
  tiers: z.array(
    z.strictObject({
      id: modelId,
      name,
      description: name,
      kind: z.enum(['chat', 'embedding', 'rerank']),
      models: z.array(z.strictObject({ model: modelId, why: name })).min(1),
    }),
  ),
})

/** `data/providers.json`: who runs endpoints, and the date of the data. */
export const providersFile = z.strictObject({
  dataVersion: date,
  providers: z
    .array(
      z.strictObject({
        id: providerId,
        name,
        baseUrl: z
          .string()
          .regex(
            /^https?:\/\/[A-Za-z0-9.{}[\]:-]+(?:\/[A-Za-z0-9._/-]*[A-Za-z0-9._-])?$/,
            'is not a base URL',
          ),
        /** `null`: it asks for none, as a server of the operator's own may. */
        credentialVariable: z
          .string()
          .regex(/^[A-Z][A-Z0-9_]*$/)
          .nullable(),
        /** Whether generation, and its bill, stop when the connection is dropped. */
        cancellation: z.strictObject({
          stopsBilling: z.union([z.boolean(), z.literal('unknown')]),
          source: name.nullable(),
        }),
      }),
    )
    .min(1),
})

export type VendorFile = z.infer<typeof vendorFile>
export type ModelRow = z.infer<typeof model>
export type EndpointRow = z.infer<typeof endpoint>
export type ProvidersFile = z.infer<typeof providersFile>
export type QualityFile = z.infer<typeof qualityFile>
export type TiersFile = z.infer<typeof tiersFile>
export type StatedPrices = z.infer<typeof prices>
export type StatedRates = z.infer<typeof statedRates>
