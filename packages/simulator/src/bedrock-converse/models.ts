import { type ClaudeModel, claudeModel } from '../anthropic-messages/models.ts'

/** What the simulator knows of a model on Bedrock. Sources: AWS's model pages, recorded exchanges, the catalogue. */
export interface BedrockModel {
  readonly vendor: string
  readonly claude?: ClaudeModel
  readonly contextTokens: number
  readonly outputTokensMax: number
  readonly toolChoices: readonly string[]
  /** What `additionalModelRequestFields` may hold. */
  readonly ownFields: readonly string[]
  readonly takesCachePoints: boolean
  readonly takesToolCachePoints: boolean
  readonly thinksUnasked: boolean
}

const GEOGRAPHY = /^(?:us|us-gov|eu|apac|jp|au|ca|global)\./
const VENDORS =
  /^(?:ai21|amazon|anthropic|cohere|deepseek|google|meta|minimax|mistral|moonshot|moonshotai|nvidia|openai|qwen|writer|xai|zai)\./

const open = {
  contextTokens: 256_000,
  outputTokensMax: 131_072,
  toolChoices: ['auto'],
  ownFields: [],
  takesCachePoints: false,
  takesToolCachePoints: false,
  thinksUnasked: false,
} as const satisfies Omit<BedrockModel, 'vendor'>

const vendors: Readonly<Record<string, Partial<BedrockModel>>> = {
  amazon: {
    contextTokens: 1_000_000,
    toolChoices: ['auto', 'any', 'tool'],
    ownFields: ['inferenceConfig', 'reasoningConfig'],
    takesCachePoints: true,
  },
  meta: { contextTokens: 3_500_000, toolChoices: [] },
  mistral: { toolChoices: ['auto', 'any'] },
  openai: { ownFields: ['reasoning_effort'], thinksUnasked: true },
  xai: { contextTokens: 1_000_000, ownFields: ['reasoning_effort'] },
  qwen: { ownFields: ['reasoning_config'] },
  minimax: { thinksUnasked: true },
}

/** `undefined` for an id that no model or inference profile has. */
export function bedrockModel(id: string): BedrockModel | undefined {
  const bare = id.replace(GEOGRAPHY, '')
  if (!VENDORS.test(bare)) return undefined
  const vendor = bare.split('.', 1)[0] ?? ''
  if (vendor !== 'anthropic') return { ...open, ...vendors[vendor], vendor }
  const claude = claudeModel(bare.slice('anthropic.'.length).replace(/-v\d+(:\d+)?$/, ''))
  if (claude === undefined) return undefined
  return {
    ...open,
    vendor,
    claude,
    contextTokens: claude.contextTokens,
    outputTokensMax: claude.outputTokensMax,
    toolChoices: ['auto', 'any', 'tool'],
    ownFields: ['thinking', 'output_config', 'top_k', 'anthropic_beta'],
    takesCachePoints: true,
    takesToolCachePoints: true,
  }
}
