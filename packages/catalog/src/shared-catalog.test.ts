import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { Endpoint, Model } from './catalog.ts'
import { loadCatalog } from './load.ts'
import type { PriceSchedule, Rates } from './price.ts'

/**
 * The proposal that the data files were made from. It shares no code with the loader: here its own names, its own
 * units and the rule "the dearer of two, rate by rate" are worked out again from the text.
 */
interface Proposal {
  readonly providers: readonly Readonly<Record<string, unknown>>[]
  readonly models: readonly ProposedModel[]
}

interface ProposedModel {
  readonly id: string
  readonly capabilities: Readonly<Record<string, boolean>>
  readonly endpoints: readonly ProposedEndpoint[]
  readonly [field: string]: unknown
}

interface ProposedPrice {
  readonly input: string
  readonly output?: string | null
  readonly cache_read?: string | null
  readonly cache_write?: string | null
  readonly cache_write_1h?: string | null
}

interface ProposedEndpoint {
  readonly provider: string
  readonly price_usd_per_mtok: ProposedPrice
  readonly price_tiers: readonly (ProposedPrice & { readonly above_input_tokens: number })[]
  readonly price_windows: readonly (ProposedPrice & { readonly utc: readonly [string, string] })[]
  readonly price_conflict: { readonly models_dev: ProposedPrice; readonly genai_prices: ProposedPrice } | null
  readonly confidential: { readonly tee: boolean }
  readonly [field: string]: unknown
}

/** A second source that is stated there has no tiers, no windows and no audio rates. */
type ComparedRates = Pick<Rates, 'input' | 'output' | 'cacheRead' | 'cacheWrite5m' | 'cacheWrite1h'>

const FILE = resolve(import.meta.dirname, '../../../../shared/catalog.json')
const catalog = loadCatalog()

function readProposal(context: TestContext): Proposal | undefined {
  if (existsSync(FILE)) return JSON.parse(readFileSync(FILE, 'utf8'))
  context.skip('NOT COMPARED: ../shared/catalog.json, which the data files were made from, is not here')
  return undefined
}

function pairs(proposal: Proposal): [string, ProposedEndpoint, Endpoint][] {
  const ours = new Map(
    catalog.models.flatMap((model) => model.endpoints).map((one) => [one.id as string, one]),
  )
  return proposal.models.flatMap((model) =>
    model.endpoints.map((endpoint): [string, ProposedEndpoint, Endpoint] => {
      const id = `${model.id}@${endpoint.provider}`
      const found = ours.get(id)
      assert.ok(found, id)
      return [id, endpoint, found]
    }),
  )
}

/** Moves the decimal point six places, in the text. */
function pico(text: string): bigint {
  const [whole = '', fraction = ''] = text.split('.')
  return BigInt(whole + fraction.padEnd(6, '0'))
}

function completed(price: ProposedPrice): ComparedRates {
  const input = pico(price.input)
  const write = price.cache_write ? pico(price.cache_write) : input
  return {
    input,
    output: price.output ? pico(price.output) : 0n,
    cacheRead: price.cache_read ? pico(price.cache_read) : input,
    cacheWrite5m: write,
    cacheWrite1h: price.cache_write_1h ? pico(price.cache_write_1h) : write,
  }
}

function expectedRates(price: ProposedPrice, conflict: ProposedEndpoint['price_conflict']): ComparedRates {
  const stated = [price, ...(conflict ? [conflict.models_dev, conflict.genai_prices] : [])].map(completed)
  const dearest = (name: keyof ComparedRates): bigint =>
    stated.map((one) => one[name]).reduce((most, rate) => (rate > most ? rate : most))
  return {
    input: dearest('input'),
    output: dearest('output'),
    cacheRead: dearest('cacheRead'),
    cacheWrite5m: dearest('cacheWrite5m'),
    cacheWrite1h: dearest('cacheWrite1h'),
  }
}

function compared({ input, output, cacheRead, cacheWrite5m, cacheWrite1h }: Rates): ComparedRates {
  return { input, output, cacheRead, cacheWrite5m, cacheWrite1h }
}

function comparedSchedule(schedule: PriceSchedule): object {
  return {
    rates: compared(schedule.rates),
    tiers: schedule.tiers.map(({ aboveInputTokens, rates }) => ({
      aboveInputTokens,
      rates: compared(rates),
    })),
    windows: schedule.windows.map((window) => ({ ...window, rates: compared(window.rates) })),
  }
}

function minuteOf(time: string): number {
  const [hours, minutes] = time.split(':')
  return Number(hours) * 60 + Number(minutes)
}

test("every price is the proposal's, the dearer one where its sources disagree", (context) => {
  const proposal = readProposal(context)
  if (!proposal) return
  const all = pairs(proposal)
  assert.equal(all.length, 100)
  assert.equal(all.filter(([, endpoint]) => endpoint.price_conflict).length, 10)
  for (const [id, proposed, ours] of all) {
    const { price_conflict: conflict } = proposed
    const expected = {
      rates: expectedRates(proposed.price_usd_per_mtok, conflict),
      tiers: proposed.price_tiers.map((tier) => ({
        aboveInputTokens: tier.above_input_tokens,
        rates: expectedRates(tier, conflict),
      })),
      windows: proposed.price_windows.map((window) => ({
        fromMinute: minuteOf(window.utc[0]),
        untilMinute: minuteOf(window.utc[1]),
        rates: expectedRates(window, conflict),
      })),
    }
    assert.deepEqual(comparedSchedule(ours.prices), expected, id)
  }
})

test('the ten disagreements, and what is charged for each', (context) => {
  const proposal = readProposal(context)
  if (!proposal) return
  const disagreements = pairs(proposal)
    .filter(([, endpoint]) => endpoint.price_conflict)
    .map(([id, , { prices }]) => [id, prices.rates.input, prices.rates.output, prices.rates.cacheRead])
  assert.deepEqual(disagreements, [
    ['mesh/gpt-5-mini@azure', 250_000n, 2_000_000n, 30_000n],
    ['mesh/o4-mini@azure', 1_100_000n, 4_400_000n, 280_000n],
    ['mesh/gpt-oss-120b@fireworks', 150_000n, 600_000n, 15_000n],
    ['mesh/deepseek-v4-pro@deepseek', 660_000n, 1_980_000n, 22_000n],
    ['mesh/deepseek-v4-pro@azure', 1_740_000n, 3_480_000n, 1_740_000n],
    ['mesh/deepseek-v4-flash@deepseek', 220_000n, 660_000n, 7_000n],
    ['mesh/deepseek-v4-flash@azure', 220_000n, 660_000n, 190_000n],
    ['mesh/deepseek-v3.2@azure', 580_000n, 1_680_000n, 580_000n],
    ['mesh/qwen3-coder-480b@amazon-bedrock', 450_000n, 1_800_000n, 450_000n],
    ['mesh/glm-5.2@fireworks', 1_400_000n, 4_400_000n, 260_000n],
  ])
})

/** Where chat was proposed, and Responses are spoken: see docs/decisions/0012-who-is-asked-in-responses.md. */
const ASKED_IN_RESPONSES: ReadonlySet<string> = new Set([
  'mesh/gpt-5.5@openai',
  'mesh/gpt-5.4@openai',
  'mesh/gpt-5.4-mini@openai',
  'mesh/gpt-5.4-nano@openai',
])

/** Where the proposal contradicts itself, and `npm run catalog:check` says so: what is used instead. */
const CORRECTED: Readonly<Record<string, object>> = {
  // An answer is part of the context, which is smaller than what is proposed.
  'mesh/kimi-k2.6@tinfoil': { max_output_tokens: 256_000 },
  // The model is proposed as one that does not reason.
  'mesh/command-a@azure': {
    supported_parameters: [
      ...['max_tokens', 'stop', 'stream', 'temperature', 'top_p', 'tools', 'tool_choice'],
      'response_format.json_object',
    ],
  },
}

test("everything else of every endpoint is the proposal's", (context) => {
  const proposal = readProposal(context)
  if (!proposal) return
  for (const [id, proposed, ours] of pairs(proposal)) {
    assert.deepEqual(
      {
        upstream_model_id: ours.upstreamModel,
        protocol: ours.protocol,
        context_length: ours.contextTokens,
        max_output_tokens: ours.outputTokensMax || null,
        input_modalities: ours.inputModalities,
        supported_parameters: ours.supportedParameters,
        emulated_parameters: ours.emulatedParameters,
        reasoning_options: ours.reasoningOptions,
        tee: ours.confidential !== undefined,
        data_policy: ours.dataPolicy,
      },
      {
        upstream_model_id: proposed.upstream_model_id,
        protocol: ASKED_IN_RESPONSES.has(id) ? 'openai_responses' : proposed.protocol,
        context_length: proposed.context_length,
        max_output_tokens: proposed.max_output_tokens,
        input_modalities: proposed.input_modalities,
        supported_parameters: proposed.supported_parameters,
        emulated_parameters: proposed.emulated_parameters,
        reasoning_options: proposed.reasoning_options ?? [],
        tee: proposed.confidential.tee,
        data_policy: { retention: 'unknown', training: 'unknown' },
        ...CORRECTED[id],
      },
      id,
    )
  }
})

test("every model and every provider is the proposal's", (context) => {
  const proposal = readProposal(context)
  if (!proposal) return
  assert.deepEqual(
    [...catalog.models].sort(byId).map(proposedShape),
    [...proposal.models].sort(byId).map(({ endpoints, canonical_slug, ...rest }) => {
      const { sealed_privacy, ...capabilities } = rest.capabilities
      assert.equal(
        sealed_privacy,
        endpoints.some((endpoint) => endpoint.confidential.tee),
        rest.id,
      )
      return { ...rest, capabilities }
    }),
  )
  assert.deepEqual(
    catalog.providers.map(({ id, name, baseUrl, credentialVariable }) => [
      id,
      name,
      baseUrl,
      credentialVariable,
    ]),
    proposal.providers.map(({ id, name, base_url, credential_env }) => [id, name, base_url, credential_env]),
  )
})

function byId(one: { readonly id: string }, other: { readonly id: string }): number {
  return one.id < other.id ? -1 : 1
}

function proposedShape(model: Model): object {
  const { tools, jsonObject, jsonSchema, reasoning, vision, pdf } = model.capabilities
  const spelling: Readonly<Record<string, string>> = { embedding: 'embeddings', score: 'scores' }
  return {
    id: model.id,
    name: model.name,
    vendor: model.vendor,
    kind: model.kind,
    open_weights: model.openWeights,
    release_date: model.releaseDate,
    knowledge_cutoff: model.knowledgeCutoff ?? null,
    context_length: model.contextTokens,
    max_output_tokens: model.outputTokensMax || null,
    input_modalities: model.inputModalities,
    output_modalities: model.outputModalities.map((modality) => spelling[modality] ?? modality),
    capabilities: { tools, json_object: jsonObject, json_schema: jsonSchema, reasoning, vision, pdf },
  }
}
