import { z } from 'zod'
import type { CatalogFiles } from './load.ts'
import { formatPricePerMillion } from './money.ts'
import { OPERATOR } from './overlay.ts'
import {
  type EndpointRow,
  type ModelRow,
  providersFile,
  qualityFile,
  type StatedPrices,
  type StatedRates,
  tiersFile,
  vendorFile,
} from './schema.ts'

/**
 * What a reviewer would ask of the catalogue's rows beyond what makes them usable: numbers in the wrong unit, limits
 * that contradict each other, facts without a source or a date. The loader refuses a catalogue that cannot be used
 * (`schema.ts`, `price-lint.ts`); this refuses one that cannot be trusted. Run by `npm run catalog:check`.
 */

const date = z.string().regex(/^\d{4}-\d{2}-\d{2}$/)

/** `data/sources.json`: the price lists that rows name, with the date of each. */
export const sourcesFile = z.strictObject({
  sources: z.array(
    z.strictObject({ id: z.string(), name: z.string(), url: z.url(), date, licence: z.string() }),
  ),
})
export type SourcesFile = z.infer<typeof sourcesFile>

/** A row, what is wrong with it, and what to do. */
export interface Finding {
  readonly row: string
  readonly problem: string
  readonly remedy: string
}

type Report = (problem: string, remedy: string) => void

/** The deepest published discount on cached input is 1 in 120. */
const CACHE_READ_DIVISOR_MAX = 500n
/** The least context and output of a model that is still sold; less is a number in thousands. */
const TOKENS_MIN = { chat: 4_000, embedding: 256, rerank: 256 } as const
const OUTPUT_TOKENS_MIN = 512
const FIRST_TOKEN_MS = [10, 600_000] as const
const TOKENS_PER_SECOND = [1, 10_000] as const

/**
 * Everything that is wrong with a catalogue that can be loaded. `today` is a date as in `2026-11-23`.
 * @throws ZodError for files that cannot be loaded.
 */
export function lintCatalog(files: CatalogFiles, sources: SourcesFile, today: string): Finding[] {
  const providerData = providersFile.parse(files.providers)
  const findings: Finding[] = []
  const reportFor =
    (row: string): Report =>
    (problem, remedy) =>
      void findings.push({ row, problem, remedy })
  const context: Context = { sources, today, dataVersion: providerData.dataVersion }

  const lastDate = latest(today, providerData.dataVersion)
  if (providerData.dataVersion > today) {
    reportFor('providers.json')(
      `dataVersion ${providerData.dataVersion} lies in the future`,
      'State the day of the review.',
    )
  }
  for (const source of sources.sources) {
    notAfter(source.date, providerData.dataVersion, 'date', reportFor(`sources.json: ${source.id}`))
  }
  for (const { id, cancellation } of providerData.providers) {
    const { stopsBilling, source } = cancellation
    const report = reportFor(`providers.json: ${id}`)
    if ((stopsBilling === 'unknown') === (source === null)) continue
    report(
      stopsBilling === 'unknown'
        ? 'cancellation is unknown and has a source'
        : 'cancellation is stated without a source',
      'Name the page that says so, or state "unknown".',
    )
  }
  for (const file of Object.values(files.models)) {
    const vendor = vendorFile.parse(file)
    for (const model of vendor.models)
      lintModel(model, `models/${vendor.vendor}.json: ${model.id}`, reportFor, context)
  }
  for (const { model, date: rated } of qualityFile.parse(files.quality).models) {
    notAfter(rated, lastDate, 'date', reportFor(`quality.json: ${model}`))
  }
  notAfter(tiersFile.parse(files.tiers).reviewed, lastDate, 'reviewed', reportFor('tiers.json'))
  return findings
}

interface Context {
  readonly sources: SourcesFile
  readonly today: string
  readonly dataVersion: string
}

function lintModel(model: ModelRow, row: string, reportFor: (row: string) => Report, context: Context): void {
  const report = reportFor(row)
  notAfter(model.releaseDate, context.dataVersion, 'releaseDate', report)
  if (model.knowledgeCutoff !== null)
    notAfter(model.knowledgeCutoff, model.releaseDate, 'knowledgeCutoff', report)
  lintLimits(model, model.kind, report)
  lintCapabilities(model, report)
  for (const endpoint of model.endpoints) {
    lintEndpoint(endpoint, model, reportFor(`${row}: ${endpoint.provider}`), context)
  }
}

/** A date that comes after another one is a slip in one of them. A cut-off may name a month alone. */
function notAfter(earlier: string, later: string, name: string, report: Report): void {
  if (earlier <= later) return
  report(`${name} ${earlier} comes after ${later}`, 'Correct the date that is wrong.')
}

function latest(one: string, other: string): string {
  return one > other ? one : other
}

interface Limits {
  readonly contextTokens: number
  readonly outputTokensMax: number | null
}

function lintLimits(
  { contextTokens, outputTokensMax }: Limits,
  kind: ModelRow['kind'],
  report: Report,
): void {
  const inThousands = 'State tokens, not thousands of them.'
  if (contextTokens < TOKENS_MIN[kind]) {
    report(`contextTokens of ${contextTokens} is less than any ${kind} model has`, inThousands)
  }
  if (outputTokensMax === null) return
  if (outputTokensMax < OUTPUT_TOKENS_MIN) {
    report(`outputTokensMax of ${outputTokensMax} is less than any model writes`, inThousands)
  }
  if (outputTokensMax > contextTokens) {
    report(
      `outputTokensMax of ${outputTokensMax} is more than the context of ${contextTokens}`,
      'An answer is part of the context: bound it by that.',
    )
  }
}

/** What a model is said to do, and the parameter by which an endpoint does it. */
const CAPABILITIES = [
  ['tools', 'tools'],
  ['jsonObject', 'response_format.json_object'],
  ['jsonSchema', 'response_format.json_schema'],
  ['reasoning', 'reasoning'],
] as const

function lintCapabilities(model: ModelRow, report: Report): void {
  const { capabilities, endpoints, inputModalities } = model
  for (const [capability, parameter] of CAPABILITIES) {
    const offering = endpoints.filter(({ supportedParameters, emulatedParameters }) =>
      [...supportedParameters, ...emulatedParameters].includes(parameter),
    )
    const native = offering.find(({ supportedParameters }) => supportedParameters.includes(parameter))
    if (capabilities[capability] && offering.length === 0) {
      report(
        `it has ${capability}, and no endpoint takes ${parameter}`,
        'List the parameter, or say that it has not.',
      )
    }
    if (!capabilities[capability] && native) {
      report(
        `it has no ${capability}, and ${native.provider} takes ${parameter}`,
        'Leave the parameter out, or say that the model has it.',
      )
    }
  }
  for (const [capability, modality] of [
    ['vision', 'image'],
    ['pdf', 'file'],
  ] as const) {
    if (capabilities[capability] !== inputModalities.includes(modality)) {
      report(
        `${capability} and the input modality ${modality} contradict each other`,
        'State both or neither.',
      )
    }
  }
}

function lintEndpoint(endpoint: EndpointRow, model: ModelRow, report: Report, context: Context): void {
  lintLimits(endpoint, model.kind, report)
  if (endpoint.contextTokens > model.contextTokens) {
    report(
      `its context of ${endpoint.contextTokens} is more than the model's`,
      'State the larger one of the model.',
    )
  }
  for (const parameter of endpoint.emulatedParameters) {
    if (!endpoint.supportedParameters.includes(parameter)) continue
    report(`${parameter} is both supported and emulated`, 'Leave it in one of the lists.')
  }
  const strange = endpoint.inputModalities.filter((each) => !model.inputModalities.includes(each))
  if (strange.length > 0) {
    report(`it takes ${strange.join(', ')}, which the model does not`, 'Correct one of the lists.')
  }
  lintReasoningOptions(endpoint, report)
  lintSpeed(endpoint, report)
  lintRates(endpoint.prices.usdPerMillionTokens, report)
  lintSchedule(endpoint.prices, endpoint.contextTokens, report)
  lintSources(endpoint, report, context)
}

function lintReasoningOptions({ reasoningOptions, outputTokensMax }: EndpointRow, report: Report): void {
  for (const option of reasoningOptions ?? []) {
    if (option.type !== 'budget_tokens') continue
    const { min = 0, max = outputTokensMax ?? 0 } = option
    if (min > max || max > (outputTokensMax ?? 0)) {
      report(
        `budget_tokens of ${min} to ${max} do not fit in an answer of ${outputTokensMax}`,
        'State tokens, within the answer.',
      )
    }
  }
}

function lintSpeed({ speed }: EndpointRow, report: Report): void {
  const { firstTokenMs, tokensPerSecond } = speed ?? {}
  for (const [name, value, [least, most]] of [
    ['firstTokenMs', firstTokenMs, FIRST_TOKEN_MS],
    ['tokensPerSecond', tokensPerSecond, TOKENS_PER_SECOND],
  ] as const) {
    if (value === undefined || (value >= least && value <= most)) continue
    report(`${name} of ${value} lies outside ${least} to ${most}`, 'State milliseconds, or tokens a second.')
  }
}

function lintRates({ input, cacheRead }: StatedRates, report: Report): void {
  if (cacheRead === null || cacheRead * CACHE_READ_DIVISOR_MAX >= input) return
  report(
    `cacheRead of ${formatPricePerMillion(cacheRead)} is less than 1 in ${CACHE_READ_DIVISOR_MAX} of the input's ${formatPricePerMillion(input)}`,
    'State it in USD per million tokens.',
  )
}

function lintSchedule(
  { usdPerMillionTokens: base, tiers, windows }: StatedPrices,
  contextTokens: number,
  report: Report,
): void {
  for (const { aboveInputTokens: boundary, usdPerMillionTokens: rates } of tiers) {
    const tier = `the tier above ${boundary}`
    if (boundary >= contextTokens)
      report(`${tier} is out of reach in a context of ${contextTokens}`, 'Correct either.')
    if (boundary % 1_000 === 999) {
      report(
        `${tier} begins a token early`,
        `A tier holds for strictly more than its boundary: state ${boundary + 1}.`,
      )
    }
    if (rates.input < base.input || (rates.output ?? 0n) < (base.output ?? 0n)) {
      report(`${tier} is cheaper than what comes before it`, 'Exchange the two.')
    }
    lintRates(rates, report)
  }
  for (const { fromUtc, usdPerMillionTokens: rates } of windows) {
    const names = ['input', 'output', 'cacheRead'] as const
    if (names.every((name) => rates[name] === base[name])) {
      report(`the window from minute ${fromUtc} changes no price`, 'Leave it out, or state its prices.')
    }
    lintRates(rates, report)
  }
}

/** What is stated has a source and a date. What nobody states is `unknown`, and has none. */
function lintSources({ prices, dataPolicy, speed }: EndpointRow, report: Report, context: Context): void {
  const { sources, today, dataVersion } = context
  for (const source of [prices.source, ...(prices.crossCheck ? [prices.crossCheck.source] : [])]) {
    const isListed = sources.sources.some(({ id }) => source === id || source.startsWith(`${id} `))
    if (source === OPERATOR || isListed) continue
    report(
      `the source "${source}" has no date`,
      'List it in sources.json, with its version and the date of that.',
    )
  }
  const { retention, training, source, date: since } = dataPolicy
  const isKnown = retention !== 'unknown' || training !== 'unknown'
  if (isKnown && (source === undefined || since === undefined)) {
    report(
      'its data policy is stated without source and date',
      'Name what says so and since when, or state "unknown".',
    )
  }
  if (!isKnown && source !== undefined) {
    report('its data policy is unknown and has a source', 'State what the source says, or leave it out.')
  }
  if (since !== undefined) notAfter(since, latest(today, dataVersion), 'the data policy’s date', report)
  if (speed) notAfter(speed.date, latest(today, dataVersion), 'the date of its speed', report)
}
