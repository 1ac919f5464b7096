import type { Endpoint } from '@mesh/catalog/catalog.ts'

/** How one provider's Responses differ from the others'. Data, so that no encoder branches on a name. */
export interface ResponsesQuirks {
  /**
   * How a model's own reasoning comes back to it: as what it encrypted, or as plain text, which only hosts of open
   * models show. What comes encrypted must be asked for.
   */
  readonly reasoningHistory: 'encrypted' | 'text'
  /** Whether a summary of the reasoning is to be had, which must be asked for. */
  readonly summaries: boolean
  /** The longest id of a tool call that is taken. */
  readonly callIdCharactersMax: number
  readonly outputTokensMin: number
  /** Optional parameters, under their OpenAI names, that are taken beside those in the catalogue's vocabulary. */
  readonly takes: ReadonlySet<string>
}

const OPENAI: ResponsesQuirks = {
  reasoningHistory: 'encrypted',
  summaries: true,
  callIdCharactersMax: 64,
  outputTokensMin: 16,
  takes: new Set([
    'parallel_tool_calls',
    'verbosity',
    'prompt_cache_key',
    'user',
    'logprobs',
    'top_logprobs',
  ]),
}

const ROWS: Readonly<Record<string, ResponsesQuirks>> = {
  openai: OPENAI,
  azure: OPENAI,
  'amazon-bedrock': { ...OPENAI, callIdCharactersMax: 256 },
}

/** What servers of open models take (vLLM, Ollama, DeepSeek's own). */
const OPEN_MODEL_HOST: ResponsesQuirks = {
  reasoningHistory: 'text',
  summaries: false,
  callIdCharactersMax: 256,
  outputTokensMin: 1,
  takes: new Set(['parallel_tool_calls', 'user']),
}

const BY_PROVIDER: ReadonlyMap<string, ResponsesQuirks> = new Map(Object.entries(ROWS))

export function responsesQuirksOf(endpoint: Endpoint): ResponsesQuirks {
  return BY_PROVIDER.get(endpoint.provider) ?? OPEN_MODEL_HOST
}

/** What Responses have no word for, though chat has, whatever the catalogue says of the model. */
const UNKNOWN_TO_RESPONSES: ReadonlySet<string> = new Set(['stop', 'n', 'top_k'])
/** The reasoning models refuse to show these. */
const REFUSED_BY_REASONERS: ReadonlySet<string> = new Set(['logprobs', 'top_logprobs'])

/** Whether a provider takes an optional parameter at this endpoint. */
export function responsesTakes(endpoint: Endpoint, parameter: string): boolean {
  if (UNKNOWN_TO_RESPONSES.has(parameter)) return false
  if (parameter === 'file_url') return true
  if (endpoint.supportedParameters.includes(parameter)) return true
  if (!responsesQuirksOf(endpoint).takes.has(parameter)) return false
  const { supportedParameters } = endpoint
  return !REFUSED_BY_REASONERS.has(parameter) || supportedParameters.includes('temperature')
}
