import { type JsonObject, textAt } from '../json.ts'
import type { Prompt } from '../prompt.ts'
import type { CacheUse, PromptCache } from '../prompt-cache.ts'
import type { ChatProvider } from '../providers.ts'

/**
 * How a provider's OpenAI-compatible API differs from OpenAI's own. Taken from recorded exchanges where there are any
 * (OpenAI, DeepSeek, Groq, Mistral), else from the vendors' published references.
 */
export interface ChatDialect {
  readonly provider: ChatProvider
  /** Whether its models are OpenAI's own, with their limits and with all that its API checks. */
  readonly openAiModels: boolean
  /** Model ids that exist there. */
  readonly models: RegExp
  readonly completionId: 'chatcmpl' | 'uuid' | 'hex'
  /** Where thinking shows: nowhere, in a field beside the content, or as parts of the content. */
  readonly reasoning: 'hidden' | 'reasoning_content' | 'reasoning' | 'thinking_parts'
  readonly usage: 'openai' | 'xai' | 'deepseek' | 'groq' | 'mistral' | 'plain'
  /** Usage in a stream: in a chunk of its own when asked for, or always on the finish chunk. */
  readonly usagePlace: 'own_chunk_if_asked' | 'finish_chunk'
  readonly toolArguments: 'fragments' | 'whole'
  readonly toolCallId: 'call' | 'fc' | 'nine'
  readonly refusalField: boolean
  readonly developerRole: boolean
  /** Answers to a parameter that the API does not know: refuse as OpenAI, refuse as pydantic (422), or let it be. */
  readonly unknownParameters: 'openai' | 'pydantic' | 'ignored'
  readonly cache: {
    readonly minimumTokens: number
    readonly blockTokens: number
    /** The parameter whose values share no cache. */
    readonly apartBy?: string
    /** The parameter without which nothing is cached. */
    readonly onlyWith?: string
  }
}

const openWeights = {
  openAiModels: false,
  models: /^(?!mesh\/)\S+$/,
  completionId: 'chatcmpl',
  reasoning: 'reasoning_content',
  usage: 'plain',
  usagePlace: 'own_chunk_if_asked',
  toolArguments: 'fragments',
  toolCallId: 'call',
  refusalField: false,
  developerRole: true,
  unknownParameters: 'ignored',
  cache: { minimumTokens: 64, blockTokens: 64 },
} as const satisfies Omit<ChatDialect, 'provider'>

const openAi: ChatDialect = {
  provider: 'openai',
  openAiModels: true,
  models: /^(gpt-|chatgpt-|o\d)/,
  completionId: 'chatcmpl',
  reasoning: 'hidden',
  usage: 'openai',
  usagePlace: 'own_chunk_if_asked',
  toolArguments: 'fragments',
  toolCallId: 'call',
  refusalField: true,
  developerRole: true,
  unknownParameters: 'openai',
  cache: { minimumTokens: 1024, blockTokens: 128, apartBy: 'prompt_cache_key' },
}

/** Models of other makers on Azure. A deployment may have any name, so what is not OpenAI's is one of theirs. */
const azureHosted: ChatDialect = { ...openWeights, provider: 'azure', models: /^[a-z0-9][\w.-]{0,63}$/i }

const dialects: Readonly<Record<ChatProvider, ChatDialect>> = {
  openai: openAi,
  azure: { ...openAi, provider: 'azure' },
  // xAI leaves reasoning out of completion_tokens and counts it in total_tokens only.
  xai: {
    ...openWeights,
    provider: 'xai',
    models: /^grok-/,
    completionId: 'uuid',
    usage: 'xai',
    refusalField: true,
  },
  deepseek: {
    ...openWeights,
    provider: 'deepseek',
    models: /^deepseek-/,
    completionId: 'uuid',
    usage: 'deepseek',
    usagePlace: 'finish_chunk',
    developerRole: false,
    cache: { minimumTokens: 64, blockTokens: 64, apartBy: 'user_id' },
  },
  mistral: {
    ...openWeights,
    provider: 'mistral',
    models: /^(mistral|ministral|magistral|devstral|codestral|pixtral|open-)/,
    completionId: 'hex',
    reasoning: 'thinking_parts',
    usage: 'mistral',
    usagePlace: 'finish_chunk',
    toolArguments: 'whole',
    toolCallId: 'nine',
    developerRole: false,
    unknownParameters: 'pydantic',
    cache: { minimumTokens: 64, blockTokens: 64, onlyWith: 'prompt_cache_key' },
  },
  groq: {
    ...openWeights,
    provider: 'groq',
    reasoning: 'reasoning',
    usage: 'groq',
    usagePlace: 'finish_chunk',
    toolArguments: 'whole',
    toolCallId: 'fc',
    cache: { minimumTokens: 1024, blockTokens: 128 },
  },
  fireworks: {
    ...openWeights,
    provider: 'fireworks',
    models: /^accounts\/[\w-]+\/(models|routers)\/\S+$/,
    usagePlace: 'finish_chunk',
    cache: { minimumTokens: 64, blockTokens: 64, apartBy: 'prompt_cache_isolation_key' },
  },
  deepinfra: { ...openWeights, provider: 'deepinfra', models: /^(?!mesh\/)[\w.-]+\/\S+$/ },
  nearai: { ...openWeights, provider: 'nearai' },
  tinfoil: { ...openWeights, provider: 'tinfoil' },
}

/** How `provider` speaks of `model`. */
export function chatDialect(provider: ChatProvider, model: string): ChatDialect {
  const dialect = dialects[provider]
  return provider === 'azure' && model !== '' && !dialect.models.test(model) ? azureHosted : dialect
}

/** What a request reads from the cache and writes to it. */
export function useDialectsCache(
  { provider, cache: { minimumTokens, blockTokens, apartBy, onlyWith } }: ChatDialect,
  body: JsonObject,
  { model, parts }: Pick<Prompt, 'model' | 'parts'>,
): (cache: PromptCache) => CacheUse {
  const scope = [provider, model, apartBy === undefined ? '' : textAt(body, apartBy)].join('\n')
  if (onlyWith !== undefined && textAt(body, onlyWith) === '') return () => NOTHING_CACHED
  return (cache) => cache.useAutomatic(scope, parts, minimumTokens, blockTokens)
}

const NOTHING_CACHED: CacheUse = { read: 0, write5m: 0, write1h: 0 }

/** What is known of OpenAI's own models; the other providers' limits are not checked here. */
export interface OpenAiModel {
  readonly contextTokens: number
  readonly outputTokensMax: number
  readonly reasoningEfforts: readonly string[]
  readonly defaultEffort: string
}

/** The first row whose pattern fits counts. Sources: OpenAI's model pages, and the product's catalogue. */
const openAiModels: readonly (readonly [RegExp, OpenAiModel])[] = [
  [/^o\d/, reasoner(200_000, 100_000, ['low', 'medium', 'high'], 'medium')],
  [/^gpt-5(\.\d+)?-chat/, plain(128_000, 16_384)],
  [
    /^gpt-5\.[4-9]-(mini|nano)/,
    reasoner(400_000, 128_000, ['none', 'low', 'medium', 'high', 'xhigh'], 'none'),
  ],
  [/^gpt-5\.[5-9]/, reasoner(1_050_000, 128_000, ['none', 'low', 'medium', 'high', 'xhigh'], 'medium')],
  [/^gpt-5\.4/, reasoner(1_050_000, 128_000, ['none', 'low', 'medium', 'high', 'xhigh'], 'none')],
  [/^gpt-5\.[1-3]/, reasoner(400_000, 128_000, ['none', 'low', 'medium', 'high'], 'none')],
  [/^gpt-5/, reasoner(400_000, 128_000, ['minimal', 'low', 'medium', 'high'], 'medium')],
  [/^gpt-4\.1/, plain(1_047_576, 32_768)],
  [/./, plain(128_000, 16_384)],
]

function reasoner(
  contextTokens: number,
  outputTokensMax: number,
  reasoningEfforts: readonly string[],
  defaultEffort: string,
): OpenAiModel {
  return { contextTokens, outputTokensMax, reasoningEfforts, defaultEffort }
}

function plain(contextTokens: number, outputTokensMax: number): OpenAiModel {
  return { contextTokens, outputTokensMax, reasoningEfforts: [], defaultEffort: 'none' }
}

export function openAiModel(model: string): OpenAiModel {
  return openAiModels.find(([pattern]) => pattern.test(model))?.[1] ?? plain(128_000, 16_384)
}
