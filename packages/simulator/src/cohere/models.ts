/** What the simulator knows of a Cohere chat model. Source: https://docs.cohere.com/docs/models */
export interface CommandModel {
  readonly contextTokens: number
  readonly outputTokensMax: number
  readonly thinks: boolean
  readonly sees: boolean
}

/** `undefined` for a name that is no chat model's. */
export function commandModel(name: string): CommandModel | undefined {
  if (!/^(?:command|c4ai-aya)-[a-z0-9-]+$/.test(name)) return undefined
  const thinks = name.includes('reasoning') || name.includes('plus-05-2026')
  const isLarge = name.startsWith('command-a')
  return {
    contextTokens: isLarge ? 256_000 : 128_000,
    outputTokensMax: thinks ? 32_000 : isLarge ? 8_000 : 4_000,
    thinks,
    sees: name.includes('vision') || name.includes('plus-05-2026'),
  }
}

/** The dimensions that an embedding model has, the default first; `undefined` for a name that is no such model's. */
export function embedDimensions(name: string): readonly number[] | undefined {
  if (/^embed-v4\.\d$/.test(name)) return [1536, 1024, 512, 256]
  if (/^embed-[a-z]+-light-v\d\.\d$/.test(name)) return [384]
  return /^embed-[a-z]+-v\d\.\d$/.test(name) ? [1024] : undefined
}

export function isReranker(name: string): boolean {
  return /^rerank-[a-z0-9.-]*v\d\.\d/.test(name)
}
