import type { PriceSchedule } from './price.ts'

/** `mesh/claude-sonnet-4.5`: the id by which callers, events and receipts name a model. */
export type ModelId = `mesh/${string}`
/** `anthropic`, `amazon-bedrock`: who runs an endpoint. */
export type ProviderId = string
/** `mesh/claude-sonnet-4.5@anthropic`: one model at one provider. The last key of every ordering. */
export type EndpointId = `${ModelId}@${ProviderId}`

/** What goes in or comes out. Embedding models answer with `embedding`, rerankers with `score`. */
export type Modality = 'text' | 'image' | 'audio' | 'video' | 'file' | 'embedding' | 'score'

/** The wire formats that endpoints speak. Which of them this build can speak is the engine's to say. */
export type ProtocolName =
  | 'openai_chat'
  | 'openai_responses'
  | 'anthropic_messages'
  | 'gemini'
  | 'gemini_embed'
  | 'bedrock_converse'
  | 'azure_openai'
  | 'azure_openai_embeddings'
  | 'openai_embeddings'
  | 'cohere_v2'
  | 'jina_style_rerank'

/** What a provider does with content. `unknown` is treated as: it keeps it and trains on it. */
export interface DataPolicy {
  readonly retention: 'none' | 'limited' | 'unknown'
  readonly training: 'no' | 'yes' | 'unknown'
  /**
   * What an operator knows of its prompt cache: there is none for him, or it keeps apart what comes with another
   * `cache_salt`, as vLLM does. Absent where it caches as its provider says.
   */
  readonly promptCache?: 'off' | 'cache_salt'
  /** Where the provider says so, and since when; absent where nothing is known. */
  readonly source?: string
  readonly date?: string
}

/** Attested confidential hardware that an endpoint runs in. Where there is none, its host can read what it is sent. */
export interface ConfidentialHost {
  readonly platform: 'nearai' | 'tinfoil'
  /** Whether it takes bodies that are sealed to the enclave, so that nobody on the way can read them. */
  readonly sealedBodies: boolean | 'unknown'
}

/** How a model can be told to think, as its endpoint publishes it. */
export type ReasoningOption =
  | { readonly type: 'effort'; readonly values: readonly string[] }
  | { readonly type: 'budget_tokens'; readonly min?: number; readonly max?: number }
  | { readonly type: 'toggle' }

/** How fast an endpoint is said to be: what stands in until it has been measured here. */
export interface StatedSpeed {
  /** Until the first token of an answer. */
  readonly firstTokenMs?: number
  readonly tokensPerSecond?: number
  readonly source: string
  readonly date: string
}

/** How good a model is held to be, by whom and since when: what the mode `best` orders by. */
export interface Quality {
  /** Absent where nobody has rated the model: its list price stands in then, behind every rated one. */
  readonly score?: number
  readonly source: string
  readonly date: string
}

/** One model at one provider: everything that a plan, a hold and a request need to know. */
export interface Endpoint {
  readonly id: EndpointId
  readonly model: ModelId
  readonly provider: ProviderId
  readonly upstreamModel: string
  readonly protocol: ProtocolName
  readonly contextTokens: number
  /** 0 where nothing is generated: embeddings and reranking. */
  readonly outputTokensMax: number
  readonly inputModalities: readonly Modality[]
  /** Parameters that the endpoint takes as they are, and those that MESH emulates there. */
  readonly supportedParameters: readonly string[]
  readonly emulatedParameters: readonly string[]
  readonly reasoningOptions: readonly ReasoningOption[]
  /** The provider's list price. The mark-up is policy and never stored here. */
  readonly prices: PriceSchedule
  /** Whether the provider stops billing when the connection is dropped; unknown counts as no. */
  readonly cancelStopsBilling: boolean
  readonly dataPolicy: DataPolicy
  readonly speed?: StatedSpeed
  readonly confidential?: ConfidentialHost
}

export interface Model {
  readonly id: ModelId
  readonly name: string
  readonly vendor: string
  readonly kind: 'chat' | 'embedding' | 'rerank'
  readonly releaseDate: string
  /** `2025-07` or `2025-07-31`, as the vendor states it; absent where it does not. */
  readonly knowledgeCutoff?: string
  readonly openWeights?: boolean
  readonly contextTokens: number
  readonly outputTokensMax: number
  readonly inputModalities: readonly Modality[]
  readonly outputModalities: readonly Modality[]
  readonly capabilities: {
    readonly tools: boolean
    readonly jsonObject: boolean
    readonly jsonSchema: boolean
    readonly reasoning: boolean
    readonly vision: boolean
    readonly pdf: boolean
  }
  readonly quality?: Quality
  /** Every id by which a caller may name the model, in lower case: vendor's, OpenRouter's, without `mesh/`. */
  readonly aliases: readonly string[]
  readonly endpoints: readonly Endpoint[]
}

/** A name for several models that people chose for it: a caller who names it is served by one of them. */
export interface Tier {
  readonly id: ModelId
  readonly name: string
  readonly description: string
  readonly kind: Model['kind']
  readonly models: readonly { readonly model: ModelId; readonly why: string }[]
}

export interface Provider {
  readonly id: ProviderId
  readonly name: string
  readonly baseUrl: string
  /** The vendor's own environment variable for its credential, as in `ANTHROPIC_API_KEY`; absent where it asks for none. */
  readonly credentialVariable?: string
}

/** The whole catalogue. Plain data: frozen at load, replaced whole, never changed in place. */
export interface Catalog {
  /** Names this state of the data; prices are materialised into a price list per version. */
  readonly version: string
  readonly providers: readonly Provider[]
  readonly models: readonly Model[]
  readonly tiers: readonly Tier[]
}
