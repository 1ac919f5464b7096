import type { Endpoint, ProtocolName, ProviderId } from '@mesh/catalog/catalog.ts'
import type { Ask, CacheMark, JsonObject, Message } from './ask.ts'
import { isOpenAiModel } from './quirks.ts'

/**
 * What a provider's prompt cache does with the calls of one provider account. All accounts of MESH share that one, so a
 * prompt that one of them sent could be read from the cache by another, who would learn from it that it was sent.
 */
export interface PromptCaching {
  /** `unasked`: whatever is sent is cached. `when_asked`: only with the caller's mark, or his key. */
  readonly begins: 'unasked' | 'when_asked' | 'never'
  /** The field whose values keep caches apart; it is sent a pseudonym of MESH's account. */
  readonly accountField?: AccountField
  /** Where it says so. */
  readonly source: string
}

type AccountField = 'prompt_cache_key' | 'prompt_cache_isolation_key' | 'user_id' | 'cache_salt'

const OPENAI: PromptCaching = {
  begins: 'unasked',
  accountField: 'prompt_cache_key',
  source: 'https://developers.openai.com/api/docs/guides/prompt-caching',
}

/** Every provider that is known to cache in some way of its own. */
const ROWS: Readonly<Record<ProviderId, PromptCaching>> = {
  openai: OPENAI,
  azure: OPENAI,
  anthropic: {
    begins: 'when_asked',
    source: 'https://platform.claude.com/docs/en/build-with-claude/prompt-caching',
  },
  'amazon-bedrock': {
    begins: 'when_asked',
    source: 'https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html',
  },
  mistral: {
    begins: 'when_asked',
    source: 'https://docs.mistral.ai/studio-api/conversations/advanced/prompt-caching',
  },
  fireworks: {
    begins: 'unasked',
    accountField: 'prompt_cache_isolation_key',
    source: 'https://docs.fireworks.ai/guides/prompt-caching',
  },
  deepseek: {
    begins: 'unasked',
    accountField: 'user_id',
    source: 'https://api-docs.deepseek.com/quick_start/rate_limit',
  },
  google: { begins: 'unasked', source: 'https://ai.google.dev/gemini-api/docs/caching' },
  xai: {
    begins: 'unasked',
    source: 'https://docs.x.ai/developers/advanced-api-usage/prompt-caching/best-practices',
  },
  groq: { begins: 'unasked', source: 'https://console.groq.com/docs/prompt-caching' },
}

/** Nothing is known that keeps accounts apart, so nothing does. */
const UNKNOWN: PromptCaching = { begins: 'unasked', source: 'unknown' }
const NEVER: PromptCaching = { begins: 'never', source: "the operator's settings" }
/** vLLM's own word: https://docs.vllm.ai/en/latest/design/prefix_caching/ */
const SALTED: PromptCaching = {
  begins: 'unasked',
  accountField: 'cache_salt',
  source: "the operator's settings",
}
const TAKE_A_SALT: ReadonlySet<ProtocolName> = new Set(['openai_chat', 'openai_responses'])
/** Amazon's own models on Bedrock cache unasked too. */
const AMAZONS_OWN = /^(?:[a-z-]+\.)?amazon\./

export function promptCachingOf(endpoint: Endpoint): PromptCaching {
  const { provider, protocol, upstreamModel, dataPolicy, outputTokensMax } = endpoint
  // Vectors and scores are made of whole texts; no provider tells of a cache of their beginnings.
  if (outputTokensMax === 0 || dataPolicy.promptCache === 'off') return NEVER
  if (dataPolicy.promptCache === 'cache_salt' && TAKE_A_SALT.has(protocol)) return SALTED
  if (provider === 'azure' && !isOpenAiModel(endpoint)) return UNKNOWN
  if (provider === 'amazon-bedrock' && AMAZONS_OWN.test(upstreamModel)) {
    return { ...(ROWS[provider] ?? UNKNOWN), begins: 'unasked' }
  }
  return ROWS[provider] ?? UNKNOWN
}

/** Whether one account's call may be read from the cache by another's, and no call can prevent it. */
export function sharesItsCache(endpoint: Endpoint): boolean {
  const { begins, accountField } = promptCachingOf(endpoint)
  return begins === 'unasked' && accountField === undefined
}

/** What keeps the cache of an ask's account apart from all others, in the provider's words. */
export function accountFieldOf({ accountKey }: Ask, endpoint: Endpoint): JsonObject {
  const { accountField } = promptCachingOf(endpoint)
  return accountField === undefined || accountKey === undefined ? {} : { [accountField]: accountKey }
}

/**
 * An ask that wishes for no cache, and the names of the wishes that it had: marks are kept apart by no provider, and a
 * key only by some.
 */
export function withoutCacheWishes(ask: Ask): { readonly ask: Ask; readonly removed: readonly string[] } {
  const { prompt_cache_key: key, ...extras } = ask.extras
  const isMarked = ask.tools.some(hasMark) || ask.messages.some((message) => marked(message).some(hasMark))
  const removed = [
    ...(isMarked ? ['cache_control'] : []),
    ...(key === undefined || key === null ? [] : ['prompt_cache_key']),
  ]
  if (removed.length === 0) return { ask, removed }
  return {
    ask: { ...ask, extras, tools: ask.tools.map(unmarked), messages: ask.messages.map(withoutMarks) },
    removed,
  }
}

type Markable = { readonly cache?: CacheMark }

function hasMark(part: object): boolean {
  return 'cache' in part && part.cache !== undefined
}

function marked(message: Message): readonly object[] {
  return message.role === 'assistant' ? [...message.parts, ...message.toolCalls] : message.parts
}

function unmarked<Part extends Markable>(part: Part): Part {
  if (part.cache === undefined) return part
  const { cache: _, ...rest } = part
  // What was taken away is optional in every kind of part.
  return rest as Part
}

function withoutMarks(message: Message): Message {
  switch (message.role) {
    case 'system':
    case 'developer':
      return { ...message, parts: message.parts.map(unmarked) }
    case 'assistant':
      return {
        ...message,
        parts: message.parts.map(unmarked),
        toolCalls: message.toolCalls.map(unmarked),
      }
    case 'user':
    case 'tool':
      return {
        ...message,
        parts: message.parts.map((part) => (part.type === 'audio' ? part : unmarked(part))),
      }
  }
}
