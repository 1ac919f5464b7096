import type OpenAI from 'openai'
import type { APIPromise } from 'openai'
import type { Stream } from 'openai/core/streaming'
import type { CallId } from './ids.ts'
import type { PrivacyClass, PrivacyReport } from './privacy.ts'

/** Who may answer a call, and in which order. Ids of providers are those of `mesh.providers.health()`. */
export interface ProviderPreferences {
  readonly order?: string[] | null | undefined
  readonly only?: string[] | null | undefined
  readonly ignore?: string[] | null | undefined
  readonly allow_fallbacks?: boolean | null | undefined
  /** Refuse rather than drop a parameter that an endpoint does not take. */
  readonly require_parameters?: boolean | null | undefined
  readonly sort?: 'price' | 'throughput' | 'latency' | null | undefined
  /** USD per million tokens. */
  readonly max_price?:
    | {
        readonly prompt?: string | number | null | undefined
        readonly completion?: string | number | null | undefined
      }
    | null
    | undefined
  readonly data_collection?: 'allow' | 'deny' | null | undefined
  readonly zdr?: boolean | null | undefined
}

/**
 * How a call is to travel. `min_class` is a floor: a call that no endpoint can carry so is refused. `mode: 'mesh'` wants
 * a sealed call, which this version of the SDK cannot make, so it throws before anything is sent.
 */
export interface PrivacyWish {
  readonly mode?: 'standard' | 'protected' | 'mesh' | null | undefined
  readonly min_class?: PrivacyClass | null | undefined
  readonly padding?: 'off' | 'bucket' | 'fixed' | null | undefined
}

/** What MESH takes beside what OpenAI takes, the same in every call of a model. */
export interface MeshCallFields {
  /** Models to fall back to, in this order, when `model` cannot answer. */
  readonly models?: string[] | null | undefined
  /** `auto` lets MESH choose a model where none is named. */
  readonly route?: 'fallback' | 'auto' | null | undefined
  readonly provider?: ProviderPreferences | null | undefined
  readonly privacy?: PrivacyWish | null | undefined
  /** Calls of one session like the same provider, for its prompt cache. */
  readonly session_id?: string | null | undefined
}

/** How a call was routed: what was asked for, what was chosen, and every attempt on the way. */
export interface Routing {
  readonly api: string
  readonly requested: readonly string[]
  readonly mode: string
  readonly rule: string
  readonly selected: { readonly model: string; readonly provider: string } | null
  readonly chain: readonly {
    readonly model: string
    readonly provider: string
    readonly outcome: string
    readonly reason: string | null
  }[]
  readonly snapshot: string
  /** The cap on output that balance or limits allowed, where that is less than what was asked for. */
  readonly output_cap?: number
  /** Whose word that was: `balance`, or the name of the limit. */
  readonly output_cap_by?: string
  /** How the JSON that was asked for came about: docs/tools-and-json.md says what each result is. */
  readonly response_format?: {
    readonly mode: 'native' | 'emulated'
    readonly result?: 'valid' | 'extracted' | 'repaired' | 'invalid' | 'unchecked'
  }
  readonly dropped_params?: readonly string[]
  /** How many parameters MESH does not know; an event has their number, an answer their names. */
  readonly unknown_params?: number
  readonly privacy: PrivacyReport
}

/** What a call cost, beside its tokens. */
export interface UsageCost {
  /** USD. For display: bills are made from the strings of `cost_details`. */
  readonly cost: number
  /** USD as decimal strings; `total` is `upstream_cost` and `margin` together. */
  readonly cost_details: { readonly upstream_cost: string; readonly margin: string; readonly total: string }
}

/** What MESH adds to every answer. */
export interface MeshAnswerFields {
  readonly id: CallId
  readonly provider: string
  readonly routing: Routing
}

type Answer<Body extends { usage?: unknown }> = Omit<Body, 'id' | 'usage'> &
  MeshAnswerFields & { readonly usage: NonNullable<Body['usage']> & UsageCost }

export type MeshChatCompletion = Answer<OpenAI.ChatCompletion>
export type MeshResponse = OpenAI.Responses.Response & Answer<OpenAI.Responses.Response>
export type MeshEmbeddings = Omit<Answer<OpenAI.CreateEmbeddingResponse>, 'id'>

/** `usage` and `routing` come with the last chunk; with `stream_options.include_usage` in a chunk of their own. */
export type MeshChatCompletionChunk = Omit<OpenAI.ChatCompletionChunk, 'id' | 'usage'> & {
  readonly id: CallId
  readonly provider: string
  readonly routing?: Routing
  readonly usage?: (OpenAI.CompletionUsage & UsageCost) | null
}

/** In MESH a call may name `models` alone, or none with `route: 'auto'`. */
type ChatParams<Params extends { model: unknown }> = Omit<Params, 'model'> & {
  readonly model?: string
} & MeshCallFields

export type MeshChatParams = ChatParams<OpenAI.ChatCompletionCreateParamsNonStreaming>
export type MeshChatStreamParams = ChatParams<OpenAI.ChatCompletionCreateParamsStreaming>

type Responses = OpenAI.Responses.ResponseCreateParamsNonStreaming
type StreamedResponses = OpenAI.Responses.ResponseCreateParamsStreaming

/** `mesh.chat`: OpenAI's, whose calls take what MESH takes and give what MESH gives. */
export interface MeshChat {
  readonly completions: {
    create(body: MeshChatParams, options?: OpenAI.RequestOptions): APIPromise<MeshChatCompletion>
    create(
      body: MeshChatStreamParams,
      options?: OpenAI.RequestOptions,
    ): APIPromise<Stream<MeshChatCompletionChunk>>
  } & OpenAI['chat']['completions']
}

/** `mesh.responses`, likewise. MESH keeps no answers, so every call carries its whole conversation. */
export interface MeshResponses {
  create(body: Responses & MeshCallFields, options?: OpenAI.RequestOptions): APIPromise<MeshResponse>
  create(
    body: StreamedResponses & MeshCallFields,
    options?: OpenAI.RequestOptions,
  ): APIPromise<Stream<OpenAI.Responses.ResponseStreamEvent>>
}

/** `mesh.embeddings`, likewise. */
export interface MeshEmbeddingCalls {
  create(
    body: OpenAI.EmbeddingCreateParams & MeshCallFields,
    options?: OpenAI.RequestOptions,
  ): APIPromise<MeshEmbeddings>
}

/** The parameters of a dry run: those of a chat call, or the text of an embedding. */
export type RouteParams = Partial<Omit<MeshChatParams, 'stream'>> & { readonly input?: string | string[] }

/** What would become of a call. Nothing was sent, held or kept. USD as decimal strings, null where nothing is left. */
export interface RoutePlan {
  readonly object: 'route'
  readonly requested: readonly string[]
  readonly mode: string
  readonly rule: string
  readonly snapshot: string
  readonly selected: { readonly model: string; readonly provider: string } | null
  readonly candidates: readonly {
    readonly rank: number
    readonly model: string
    readonly provider: string
    readonly privacy_class: PrivacyClass
    readonly expected_cost_usd: string
    readonly max_cost_usd: string
  }[]
  readonly excluded: readonly {
    readonly model: string
    readonly provider: string
    readonly excluded_by: string
  }[]
  readonly expected_cost_usd: string | null
  readonly hold_usd: string | null
  readonly max_cost_usd: string | null
  readonly dropped_params?: readonly string[]
  /** What the call would be told, where nobody can serve it. */
  readonly refusal?: { readonly status: number; readonly code: string; readonly message: string }
}

/** The parameters of `mesh.rerank`. */
export interface RerankParams extends MeshCallFields {
  readonly model?: string
  readonly query: string
  readonly documents: (string | { readonly text: string })[]
  readonly top_n?: number | null | undefined
  readonly return_documents?: boolean | null | undefined
}

/** A ranking: the best first, `index` is the document's place in what was sent. */
export interface Ranking extends MeshAnswerFields {
  readonly model: string
  readonly results: readonly {
    readonly index: number
    readonly relevance_score: number
    readonly document?: { readonly text: string }
  }[]
  readonly usage: UsageCost & { readonly prompt_tokens: number; readonly total_tokens: number }
}

/** The parameters of `mesh.countTokens`: texts, or the messages and tools of a chat call. */
export type CountTokensParams =
  | { readonly model: string; readonly input: string | string[] }
  | Pick<OpenAI.ChatCompletionCreateParamsNonStreaming, 'model' | 'messages' | 'tools'>

/** How many tokens that is; `method` says how they were counted. */
export interface TokenCount {
  readonly object: 'token_count'
  readonly model: string
  readonly input_tokens: number
  readonly exact: boolean
  readonly method: string
}
