import type { z } from 'zod'
import amazon from '../data/models/amazon.json' with { type: 'json' }
import anthropic from '../data/models/anthropic.json' with { type: 'json' }
import cohere from '../data/models/cohere.json' with { type: 'json' }
import deepseek from '../data/models/deepseek.json' with { type: 'json' }
import google from '../data/models/google.json' with { type: 'json' }
import meta from '../data/models/meta.json' with { type: 'json' }
import minimax from '../data/models/minimax.json' with { type: 'json' }
import mistral from '../data/models/mistral.json' with { type: 'json' }
import moonshotai from '../data/models/moonshotai.json' with { type: 'json' }
import nvidia from '../data/models/nvidia.json' with { type: 'json' }
import openai from '../data/models/openai.json' with { type: 'json' }
import qwen from '../data/models/qwen.json' with { type: 'json' }
import xai from '../data/models/xai.json' with { type: 'json' }
import zAi from '../data/models/z-ai.json' with { type: 'json' }
import providers from '../data/providers.json' with { type: 'json' }
import quality from '../data/quality.json' with { type: 'json' }
import tiers from '../data/tiers.json' with { type: 'json' }
import { aliasesOf, ambiguousNames } from './aliases.ts'
import type { Catalog, Endpoint, Model, Provider } from './catalog.ts'
import { fingerprint } from './fingerprint.ts'
import { type CatalogOverlay, overlaid } from './overlay.ts'
import { lintPrices, lintSpread } from './price-lint.ts'
import { chosenModelsProblems, qualityOf } from './quality-and-tiers.ts'
import {
  type EndpointRow,
  type ModelRow,
  type ProvidersFile,
  providersFile,
  type QualityFile,
  qualityFile,
  tiersFile,
  type VendorFile,
  vendorFile,
} from './schema.ts'
import { scheduleOf } from './stated-prices.ts'
import { MODES } from './target.ts'

/** The data files as they were read, before anything is known about them. */
export interface CatalogFiles {
  readonly providers: unknown
  /** By file name without `.json`. */
  readonly models: Readonly<Record<string, unknown>>
  readonly quality: unknown
  readonly tiers: unknown
}

/** The catalogue's own data files. */
export const catalogFiles: CatalogFiles = {
  providers,
  models: {
    anthropic,
    openai,
    google,
    meta,
    mistral,
    deepseek,
    xai,
    qwen,
    moonshotai,
    'z-ai': zAi,
    minimax,
    cohere,
    nvidia,
    amazon,
  },
  quality,
  tiers,
}

/**
 * Loads the catalogue that comes with MESH, with what an operator lays over it, deep-frozen.
 * @throws Error that lists everything that is wrong with the overlay.
 */
export function loadCatalog(overlay?: CatalogOverlay): Catalog {
  return buildCatalog(overlay ? overlaid(catalogFiles, overlay) : catalogFiles)
}

/**
 * Builds a catalogue from data files.
 * @throws Error that lists everything that is wrong, each with its file, model and provider: a catalogue is taken
 * whole or not at all.
 */
export function buildCatalog(files: CatalogFiles): Catalog {
  const problems: string[] = []
  const providerData = readFile(providersFile, 'providers.json', files.providers, problems)
  const vendors: VendorFile[] = []
  for (const [name, raw] of Object.entries(files.models)) {
    const file = `models/${name}.json`
    const vendor = readFile(vendorFile, file, raw, problems)
    if (!vendor) continue
    if (vendor.vendor !== name)
      problems.push(`${file}: the vendor is "${vendor.vendor}", unlike the file's name`)
    vendors.push(vendor)
  }
  const ratings = readFile(qualityFile, 'quality.json', files.quality, problems)
  const tierData = readFile(tiersFile, 'tiers.json', files.tiers, problems)
  if (!providerData || !ratings || !tierData || problems.length > 0) throw refusal(problems)

  problems.push(...crossReferenceProblems(providerData, vendors))
  const models = vendors.flatMap((vendor) =>
    vendor.models.map((row) => modelOf(row, vendor, { providerData, ratings })),
  )
  problems.push(...chosenModelsProblems(models, ratings, tierData))
  const named = [
    ...models,
    ...tierData.tiers.map(({ id }) => ({ id, aliases: [] })),
    ...MODES.map((mode) => ({ id: `mesh/${mode}` as const, aliases: [] })),
  ]
  for (const { name, claimedBy } of ambiguousNames(named)) {
    problems.push(`the name "${name}" would mean each of ${claimedBy.join(', ')}`)
  }
  if (problems.length > 0) throw refusal(problems)

  return deepFreeze({
    version: versionOf(providerData, [...vendors, ratings, tierData]),
    providers: providerData.providers.map(
      ({ id, name, baseUrl, credentialVariable }): Provider => ({
        ...{ id, name, baseUrl },
        ...(credentialVariable === null ? {} : { credentialVariable }),
      }),
    ),
    models,
    tiers: tierData.tiers,
  })
}

/** What the rows of models refer to. */
interface OtherFiles {
  readonly providerData: ProvidersFile
  readonly ratings: QualityFile
}

/** Rules that no schema of one row can state. */
function crossReferenceProblems(providerData: ProvidersFile, vendors: readonly VendorFile[]): string[] {
  const problems: string[] = []
  const providerIds = new Set(providerData.providers.map(({ id }) => id))
  if (providerIds.size !== providerData.providers.length)
    problems.push('providers.json: a provider is listed twice')
  const seenModels = new Set<string>()
  for (const vendor of vendors) {
    for (const model of vendor.models) {
      const row = `models/${vendor.vendor}.json: ${model.id}`
      if (seenModels.has(model.id)) problems.push(`${row}: the model is listed twice`)
      seenModels.add(model.id)
      problems.push(...lintSpread(model).map((problem) => `${row}: ${problem}`))
      problems.push(...endpointProblems(model, providerIds).map((problem) => `${row}: ${problem}`))
    }
  }
  return problems
}

function endpointProblems(model: ModelRow, providerIds: ReadonlySet<string>): string[] {
  const problems: string[] = []
  const seenProviders = new Set<string>()
  for (const { provider, outputTokensMax, prices } of model.endpoints) {
    if (!providerIds.has(provider)) problems.push(`${provider}: providers.json has no such provider`)
    if (seenProviders.has(provider)) problems.push(`${provider}: the endpoint is listed twice`)
    seenProviders.add(provider)
    if ((model.kind === 'chat') !== (outputTokensMax !== null)) {
      problems.push(`${provider}: a chat model states outputTokensMax, and no other kind does`)
    }
    problems.push(...lintPrices(prices, model.kind).map((problem) => `${provider}: prices: ${problem}`))
  }
  return problems
}

function modelOf(row: ModelRow, vendor: VendorFile, { providerData, ratings }: OtherFiles): Model {
  const { knowledgeCutoff, outputTokensMax, otherNames: _, endpoints, ...rest } = row
  const quality = qualityOf(row.id, ratings)
  return {
    ...rest,
    vendor: vendor.vendor,
    ...(knowledgeCutoff === null ? {} : { knowledgeCutoff }),
    outputTokensMax: outputTokensMax ?? 0,
    ...(quality ? { quality } : {}),
    aliases: aliasesOf(row, vendor),
    endpoints: endpoints.map((endpoint) => endpointOf(endpoint, row, providerData)),
  }
}

function endpointOf(row: EndpointRow, model: ModelRow, providerData: ProvidersFile): Endpoint {
  const { outputTokensMax, reasoningOptions, prices, confidential, ...rest } = row
  const provider = providerData.providers.find(({ id }) => id === row.provider)
  return {
    ...rest,
    id: `${model.id}@${row.provider}`,
    model: model.id,
    outputTokensMax: outputTokensMax ?? 0,
    reasoningOptions: reasoningOptions ?? [],
    prices: scheduleOf(prices),
    cancelStopsBilling: provider?.cancellation.stopsBilling === true,
    ...(confidential
      ? { confidential: { platform: confidential.platform, sealedBodies: confidential.sealedBodies } }
      : {}),
  }
}

/** The data's stated date and the fingerprint of everything in the files, whatever the order of their keys. */
function versionOf(providerData: ProvidersFile, others: readonly unknown[]): string {
  const canonical = JSON.stringify([providerData, ...others], (_, value: unknown) =>
    typeof value === 'bigint' ? value.toString() : value,
  )
  return `${providerData.dataVersion}.${fingerprint(canonical)}`
}

function readFile<Schema extends z.ZodType>(
  schema: Schema,
  file: string,
  raw: unknown,
  problems: string[],
): z.infer<Schema> | undefined {
  const result = schema.safeParse(raw)
  if (result.success) return result.data
  problems.push(
    ...result.error.issues.map((issue) => `${file}: ${locate(raw, issue.path)}: ${issue.message}`),
  )
  return undefined
}

/** Writes a path so that a reviewer finds the row: rows by the id or the provider that they state. */
function locate(raw: unknown, path: readonly PropertyKey[]): string {
  const words: string[] = []
  let value = raw
  for (const step of path) {
    value = childOf(value, step)
    const named = childOf(value, 'id') ?? childOf(value, 'provider')
    if (typeof step !== 'number') words.push(String(step))
    else words.push(typeof named === 'string' ? named : `#${step + 1}`)
  }
  return words.length === 0 ? 'the file' : words.join(' › ')
}

function childOf(value: unknown, step: PropertyKey): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, step) : undefined
}

function refusal(problems: readonly string[]): Error {
  return new Error(`The catalogue is wrong:\n${problems.map((problem) => `- ${problem}`).join('\n')}`)
}

function deepFreeze<Value>(value: Value): Value {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value
  for (const child of Object.values(value)) deepFreeze(child)
  return Object.freeze(value)
}
