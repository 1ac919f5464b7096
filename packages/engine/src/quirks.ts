import type { Endpoint } from '@mesh/catalog/catalog.ts'

/** How one provider's "OpenAI-compatible" chat differs from the others'. Data, so that no encoder branches on a name. */
export interface ChatQuirks {
  readonly outputCapField: 'max_tokens' | 'max_completion_tokens'
  /**
   * The optional parameters, under their OpenAI names, that the provider takes, besides those in the catalogue's
   * vocabulary. Whatever is not listed is dropped and named: some ignore what they do not know, Mistral refuses the
   * whole request. `store` listed means that the provider can keep answers and is told not to; `stream_options` that
   * it must be asked for usage.
   */
  readonly takes: ReadonlySet<string>
  /** Parameters that go by another name there. */
  readonly renames: Readonly<Record<string, string>>
  /** Parameters that some of its models refuse though they are listed above, and which models those are. */
  readonly refuses?: {
    readonly when: 'reasons' | 'temperature_refused'
    readonly parameters: readonly string[]
  }
  /** Whether the role `developer` is known; `system` says the same elsewhere. */
  readonly developerRole: boolean
  readonly requiredToolChoice: 'required' | 'any'
  readonly documents: 'file' | 'document_url'
  /** Whether several text parts stay parts, or are joined by line feeds because a chat template wants one text. */
  readonly textParts: 'separate' | 'joined'
  /** How thinking is switched where effort has no word for off. */
  readonly reasoningSwitch: 'none' | 'thinking' | 'effort' | 'chat_template'
  /**
   * Models that call tools only where they do not think: OpenAI's newest, in chat completions.
   * https://github.com/openai/openai-openapi/issues/541
   */
  readonly toolsForbidThinking?: RegExp
  /** Where the model's own reasoning of earlier turns goes back to it. */
  readonly reasoningHistory?: 'reasoning' | 'reasoning_content'
  /** Whether an answer that the model is to go on with must be marked with `prefix`, and is refused otherwise. */
  readonly marksPrefill?: true
  /** The exact number of letters and digits that a tool call's id must have. */
  readonly toolCallIdLength?: number
  /** The longest id of a tool call that is taken, where that is bounded. */
  readonly toolCallIdCharactersMax?: number
}

const PENALTIES = ['frequency_penalty', 'presence_penalty'] as const
const LOGPROBS = ['logprobs', 'top_logprobs'] as const
const OPEN_MODEL_SAMPLING = ['top_k', 'min_p', 'repetition_penalty'] as const

/** What vLLM takes, which most hosts of open models run. Also for servers that an operator adds. */
const OPEN_MODEL_HOST: ChatQuirks = {
  outputCapField: 'max_tokens',
  takes: new Set([
    'n',
    'seed',
    'logit_bias',
    'parallel_tool_calls',
    'user',
    'stream_options',
    ...PENALTIES,
    ...LOGPROBS,
    ...OPEN_MODEL_SAMPLING,
  ]),
  renames: {},
  developerRole: false,
  requiredToolChoice: 'required',
  documents: 'file',
  textParts: 'joined',
  reasoningSwitch: 'chat_template',
  reasoningHistory: 'reasoning_content',
}

const OPENAI: ChatQuirks = {
  outputCapField: 'max_completion_tokens',
  takes: new Set([
    'n',
    'seed',
    'logit_bias',
    'verbosity',
    'prompt_cache_key',
    'parallel_tool_calls',
    'user',
    'name',
    'refusal',
    'store',
    'stream_options',
    ...PENALTIES,
    ...LOGPROBS,
  ]),
  renames: {},
  // The reasoning models refuse the whole family of sampling parameters, not only temperature.
  refuses: {
    when: 'temperature_refused',
    parameters: ['stop', 'logit_bias', ...PENALTIES, ...LOGPROBS],
  },
  developerRole: true,
  requiredToolChoice: 'required',
  documents: 'file',
  textParts: 'separate',
  reasoningSwitch: 'none',
  toolCallIdCharactersMax: 40,
  toolsForbidThinking: /^mesh\/gpt-5\.[4-9]/,
}

const ROWS: Readonly<Record<string, ChatQuirks>> = {
  openai: OPENAI,
  azure: OPENAI,
  xai: {
    ...OPEN_MODEL_HOST,
    takes: new Set(['n', 'seed', 'parallel_tool_calls', 'user', 'stream_options', ...PENALTIES, ...LOGPROBS]),
    refuses: { when: 'reasons', parameters: ['stop', ...PENALTIES] },
    textParts: 'separate',
    reasoningSwitch: 'none',
  },
  deepseek: {
    ...OPEN_MODEL_HOST,
    takes: new Set(['stream_options', ...PENALTIES, ...LOGPROBS]),
    reasoningSwitch: 'thinking',
  },
  mistral: {
    outputCapField: 'max_tokens',
    // Usage always comes, and `stream_options` is not known.
    takes: new Set(['n', 'seed', 'parallel_tool_calls', 'prompt_cache_key', ...PENALTIES]),
    renames: { seed: 'random_seed' },
    developerRole: false,
    requiredToolChoice: 'any',
    documents: 'document_url',
    textParts: 'separate',
    reasoningSwitch: 'none',
    toolCallIdLength: 9,
    marksPrefill: true,
  },
  groq: {
    ...OPEN_MODEL_HOST,
    takes: new Set(['seed', 'parallel_tool_calls', 'user', 'stream_options']),
    reasoningSwitch: 'none',
    reasoningHistory: 'reasoning',
  },
  fireworks: {
    ...OPEN_MODEL_HOST,
    takes: new Set([...OPEN_MODEL_HOST.takes, 'prompt_cache_key']),
    reasoningSwitch: 'effort',
  },
  deepinfra: {
    ...OPEN_MODEL_HOST,
    takes: new Set([
      'n',
      'seed',
      'user',
      'stream_options',
      'prompt_cache_key',
      ...PENALTIES,
      ...LOGPROBS,
      ...OPEN_MODEL_SAMPLING,
    ]),
    reasoningSwitch: 'effort',
  },
}

const BY_PROVIDER: ReadonlyMap<string, ChatQuirks> = new Map(Object.entries(ROWS))

/**
 * Models of other makers on Azure stand behind its model inference API, not OpenAI's.
 * https://learn.microsoft.com/rest/api/aifoundry/model-inference/get-chat-completions
 */
const AZURE_HOSTED: ChatQuirks = {
  ...OPEN_MODEL_HOST,
  takes: new Set(['seed', 'stream_options', ...PENALTIES]),
  reasoningSwitch: 'none',
}
const OPENAI_MODEL = /^mesh\/(?:gpt-|o\d)/

/** Whether a model is OpenAI's, whoever runs it. */
export function isOpenAiModel({ model }: Pick<Endpoint, 'model'>): boolean {
  return OPENAI_MODEL.test(model)
}

export function chatQuirksOf(endpoint: Endpoint): ChatQuirks {
  if (endpoint.provider === 'azure' && !isOpenAiModel(endpoint)) return AZURE_HOSTED
  return BY_PROVIDER.get(endpoint.provider) ?? OPEN_MODEL_HOST
}

/** Whether a provider takes an optional parameter at this endpoint. */
export function takes(quirks: ChatQuirks, endpoint: Endpoint, parameter: string): boolean {
  const inVocabulary = endpoint.supportedParameters.includes(parameter)
  if (!inVocabulary && !quirks.takes.has(parameter)) return false
  if (!quirks.refuses?.parameters.includes(parameter)) return true
  const refused =
    quirks.refuses.when === 'reasons'
      ? endpoint.supportedParameters.includes('reasoning')
      : !endpoint.supportedParameters.includes('temperature')
  return !refused
}
