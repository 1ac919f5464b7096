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

/**
 * The path of each simulated provider's API below the simulator's origin: the provider's id, then the path that the
 * vendor's own base URL has, so that what a client appends is the same in both worlds.
 */
const basePaths = {
  anthropic: '/anthropic',
  openai: '/openai/v1',
  xai: '/xai/v1',
  deepseek: '/deepseek',
  mistral: '/mistral/v1',
  groq: '/groq/openai/v1',
  fireworks: '/fireworks/inference/v1',
  deepinfra: '/deepinfra/v1/openai',
  nearai: '/nearai/v1',
  tinfoil: '/tinfoil/v1',
} as const satisfies Partial<Record<ProviderId, string>>

export type SimulatedProvider = keyof typeof basePaths
export type ChatProvider = Exclude<SimulatedProvider, 'anthropic'>

export const simulatedProviders: readonly SimulatedProvider[] = [
  'anthropic',
  'openai',
  'xai',
  'deepseek',
  'mistral',
  'groq',
  'fireworks',
  'deepinfra',
  'nearai',
  'tinfoil',
]

export function isSimulated(provider: string): provider is SimulatedProvider {
  return Object.hasOwn(basePaths, provider)
}

/** What stands in for `provider`'s own base URL, to which `/chat/completions` or `/v1/messages` is appended. */
export function baseUrlAt(origin: string, provider: SimulatedProvider): string {
  return `${origin}${basePaths[provider]}`
}

export type Route =
  | { readonly kind: 'inference'; readonly provider: SimulatedProvider }
  | { readonly kind: 'no_such_route'; readonly provider: SimulatedProvider }
  | { readonly kind: 'no_such_provider' }

/** Finds the provider that a request's path (with or without a query) belongs to. */
export function routeOf(url: string): Route {
  const path = url.split('?', 1)[0] ?? ''
  const provider = path.split('/', 2)[1] ?? ''
  if (!isSimulated(provider)) return { kind: 'no_such_provider' }
  const inference = `${basePaths[provider]}${provider === 'anthropic' ? '/v1/messages' : '/chat/completions'}`
  return path === inference ? { kind: 'inference', provider } : { kind: 'no_such_route', provider }
}
