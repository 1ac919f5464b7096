import type { Endpoint } from '@mesh/catalog/catalog.ts'

/** How one vendor's models differ from the others' behind Bedrock's Converse. Data, so that no encoder branches on a name. */
export interface ConverseQuirks {
  /** The tool choices that its models take; any other refuses the whole request, be it `auto`, which is the default. */
  readonly toolChoices: readonly ('auto' | 'any' | 'tool')[]
  /** Where `top_k`, which Converse has no word for, goes. */
  readonly topK?: 'top_k' | 'inferenceConfig.topK'
  /** In whose words its models are told to think. */
  readonly reasoning: 'claude' | 'reasoningConfig' | 'reasoning_effort' | 'reasoning_config' | 'none'
  /** Whether Claude's rules for what may be sampled together hold. */
  readonly claudeSampling: boolean
  /** Where cache points may stand, and whether they may last an hour. */
  readonly cachePoints: { readonly messages: boolean; readonly tools: boolean; readonly hour: boolean }
  /** Whether its own reasoning of earlier turns goes back to it. */
  readonly reasoningHistory: boolean
  readonly strictTools: boolean
  /** Whether a tool's result may say that the call succeeded. */
  readonly resultStatus: boolean
  /** Characters that ids of tool calls must not have. */
  readonly foreignInToolIds: RegExp
}

const NO_CACHE_POINTS = { messages: false, tools: false, hour: false }

/** What is known to work with every model: also for vendors that are not listed. */
const PLAIN: ConverseQuirks = {
  toolChoices: ['auto'],
  reasoning: 'none',
  claudeSampling: false,
  cachePoints: NO_CACHE_POINTS,
  reasoningHistory: false,
  strictTools: false,
  resultStatus: true,
  foreignInToolIds: /[^a-zA-Z0-9_.:-]/g,
}

/** By the vendor's word in Bedrock's model ids. Sources: AWS's pages on Converse, tool use, prompt caching and each vendor's models; recorded exchanges. */
const ROWS: Readonly<Record<string, ConverseQuirks>> = {
  anthropic: {
    toolChoices: ['auto', 'any', 'tool'],
    topK: 'top_k',
    reasoning: 'claude',
    claudeSampling: true,
    cachePoints: { messages: true, tools: true, hour: true },
    reasoningHistory: true,
    strictTools: true,
    resultStatus: true,
    foreignInToolIds: /[^a-zA-Z0-9_-]/g,
  },
  amazon: {
    ...PLAIN,
    toolChoices: ['auto', 'any', 'tool'],
    topK: 'inferenceConfig.topK',
    reasoning: 'reasoningConfig',
    cachePoints: { messages: true, tools: false, hour: false },
  },
  meta: { ...PLAIN, toolChoices: [] },
  mistral: { ...PLAIN, toolChoices: ['any'] },
  openai: { ...PLAIN, reasoning: 'reasoning_effort' },
  xai: { ...PLAIN, reasoning: 'reasoning_effort' },
  writer: { ...PLAIN, resultStatus: false },
  qwen: { ...PLAIN, reasoning: 'reasoning_config' },
}

const BY_VENDOR: ReadonlyMap<string, ConverseQuirks> = new Map(Object.entries(ROWS))

/** The geographies by which ids of cross-region inference profiles begin. */
const GEOGRAPHY = /^(?:us|us-gov|eu|apac|jp|au|ca|global)\./

/** `us.anthropic.claude-…` and `anthropic.claude-…` are both Anthropic's. */
export function converseQuirksOf({ upstreamModel }: Pick<Endpoint, 'upstreamModel'>): ConverseQuirks {
  const vendor = upstreamModel.replace(GEOGRAPHY, '').split('.', 1)[0] ?? ''
  return BY_VENDOR.get(vendor) ?? PLAIN
}
