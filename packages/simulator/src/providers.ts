/** The providers of the catalogue, by the ids that it gives them. */
const providerIds = [
  'anthropic',
  'openai',
  'google',
  'amazon-bedrock',
  'azure',
  'xai',
  'deepseek',
  'mistral',
  'groq',
  'fireworks',
  'deepinfra',
  'cohere',
  'nearai',
  'tinfoil',
] as const

export type ProviderId = (typeof providerIds)[number]

export function isProviderId(text: string): text is ProviderId {
  return providerIds.some((id) => id === text)
}

/** Where a simulated provider's API lies. */
interface ApiPaths {
  /**
   * Its path below the simulator's origin: the provider's id, then the path that the vendor's own base URL has, so that
   * what a client appends is the same in both worlds.
   */
  readonly base: string
  /** Whether a path below the base, without its query, is one of inference. */
  readonly isInference: (path: string) => boolean
}

function at(base: string, ...paths: readonly string[]): ApiPaths {
  return { base, isInference: (path) => paths.includes(path) }
}

const chatAt = (base: string): ApiPaths => at(base, '/chat/completions')

/** OpenAI's own API, and Azure's copy of it. */
const openAiAt = (base: string): ApiPaths => at(base, '/chat/completions', '/responses', '/embeddings')

const apis = {
  anthropic: at('/anthropic', '/v1/messages'),
  openai: openAiAt('/openai/v1'),
  azure: openAiAt('/azure/openai/v1'),
  google: {
    base: '/google/v1beta',
    isInference: (path) =>
      /^\/models\/[^/]+:(generateContent|streamGenerateContent|embedContent|batchEmbedContents)$/.test(path),
  },
  'amazon-bedrock': {
    base: '/amazon-bedrock',
    isInference: (path) => /^\/model\/[^/]+\/converse(-stream)?$/.test(path),
  },
  xai: chatAt('/xai/v1'),
  deepseek: chatAt('/deepseek'),
  mistral: chatAt('/mistral/v1'),
  groq: chatAt('/groq/openai/v1'),
  fireworks: chatAt('/fireworks/inference/v1'),
  deepinfra: chatAt('/deepinfra/v1/openai'),
  cohere: at('/cohere/v2', '/chat', '/embed', '/rerank'),
  nearai: at('/nearai/v1', '/chat/completions', '/embeddings', '/rerank'),
  tinfoil: chatAt('/tinfoil/v1'),
} as const satisfies Partial<Record<ProviderId, ApiPaths>>

export type SimulatedProvider = keyof typeof apis
export type ChatProvider = Exclude<SimulatedProvider, 'anthropic' | 'google' | 'amazon-bedrock' | 'cohere'>

export const simulatedProviders: readonly SimulatedProvider[] = [
  'anthropic',
  'openai',
  'azure',
  'google',
  'amazon-bedrock',
  'xai',
  'deepseek',
  'mistral',
  'groq',
  'fireworks',
  'deepinfra',
  'cohere',
  'nearai',
  'tinfoil',
]

export function isSimulated(provider: string): provider is SimulatedProvider {
  return Object.hasOwn(apis, provider)
}

/** What stands in for `provider`'s own base URL, to which `/chat/completions` or `/v1/messages` is appended. */
export function baseUrlAt(origin: string, provider: SimulatedProvider): string {
  return `${origin}${apis[provider].base}`
}

export type Route =
  /** `path` is what comes below the provider's base, without a query: some vendors have the model in it. */
  | { readonly kind: 'inference'; readonly provider: SimulatedProvider; readonly path: string }
  | { readonly kind: 'no_such_route'; readonly provider: SimulatedProvider }
  | { readonly kind: 'no_such_provider' }

/** Finds the provider that a request's path (with or without a query) belongs to. */
export function routeOf(url: string): Route {
  const whole = url.split('?', 1)[0] ?? ''
  const provider = whole.split('/', 2)[1] ?? ''
  if (!isSimulated(provider)) return { kind: 'no_such_provider' }
  const { base, isInference } = apis[provider]
  const path = whole.startsWith(`${base}/`) ? whole.slice(base.length) : ''
  return isInference(path) ? { kind: 'inference', provider, path } : { kind: 'no_such_route', provider }
}
