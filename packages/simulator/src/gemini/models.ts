/** What the simulator knows of a Gemini model. Sources: Google's model pages, recorded exchanges, the catalogue. */
export interface GeminiModel {
  readonly contextTokens: number
  readonly outputTokensMax: number
  /** The levels of `thinkingLevel`, from the third generation on; none where a budget is taken. */
  readonly levels: readonly string[]
  readonly budget: { readonly min: number; readonly max: number; readonly canBeOff: boolean } | undefined
  /** From the third generation on: refuses calls that come back without their signature, and several candidates. */
  readonly isThirdGeneration: boolean
}

const CONTEXT_TOKENS = 1_048_576
const OUTPUT_TOKENS_MAX = 65_536

/** `undefined` for a name that is no model's that generates content. */
export function geminiModel(name: string): GeminiModel | undefined {
  const parts = /^gemini-(\d)(?:\.(\d))?-(pro|flash|flash-lite)(?:-preview)?$/.exec(name)
  if (parts === null) return undefined
  const version = Number(`${parts[1]}.${parts[2] ?? '0'}`)
  const isPro = parts[3] === 'pro'
  const common = { contextTokens: CONTEXT_TOKENS, outputTokensMax: OUTPUT_TOKENS_MAX }
  if (version >= 3) {
    const levels = isPro ? ['LOW', 'MEDIUM', 'HIGH'] : ['MINIMAL', 'LOW', 'MEDIUM', 'HIGH']
    return { ...common, levels, budget: undefined, isThirdGeneration: true }
  }
  if (version < 2.5) return undefined
  const budget = isPro ? { min: 128, max: 32_768, canBeOff: false } : { min: 1, max: 24_576, canBeOff: true }
  return { ...common, levels: [], budget, isThirdGeneration: false }
}
