import type { ProviderId } from '@mesh/catalog/catalog.ts'

/** A value that came from, or goes to, JSON. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json }
export type JsonObject = { readonly [key: string]: Json }

/**
 * What a caller asked for, whatever the shape in which it came: the one form that every protocol encodes.
 * It holds content, so nothing of it is ever logged, stored or put in an error message.
 */
export interface Ask {
  /**
   * What is to be made of texts instead of an answer to messages, of which there are none then: nothing is generated,
   * and only input is paid for. Absent for a conversation.
   */
  readonly task?: Task
  readonly messages: readonly Message[]
  readonly tools: readonly Tool[]
  readonly toolChoice?: ToolChoice
  readonly parallelToolCalls?: boolean
  readonly responseFormat?: ResponseFormat
  readonly reasoning?: ReasoningRequest
  /** The caller's bound on everything that comes out, hidden reasoning included. */
  readonly maxOutputTokens?: number
  readonly temperature?: number
  readonly topP?: number
  readonly topK?: number
  readonly stop: readonly string[]
  /** How many answers; each is held and charged. */
  readonly choices: number
  /** Parameters with no cross-protocol meaning (`seed`, `logit_bias`, …), under their OpenAI chat names. */
  readonly extras: JsonObject
  /** A stable, non-reversible stand-in for the caller's end user. The caller's own string never leaves. */
  readonly endUserHmac?: string
  /** Such a stand-in for MESH's own account: the same for all of its calls, so that a provider can keep its cache apart. */
  readonly accountKey?: string
  readonly stream: boolean
  /** The caller wants usage in a chunk of its own (`stream_options.include_usage`). */
  readonly usageChunk: boolean
}

export type Task = EmbedTask | RankTask

/** A vector for each text. */
export interface EmbedTask {
  readonly type: 'embed'
  /** Texts, or each text as its tokens in the model's own vocabulary. */
  readonly inputs: readonly string[] | readonly (readonly number[])[]
  /** How long the vectors are to be; absent for as long as the model makes them. */
  readonly dimensions?: number
  readonly encoding: 'float' | 'base64'
  /** What the vectors are for, where a model makes a difference of it. */
  readonly purpose?: 'search_query' | 'search_document' | 'classification' | 'clustering'
}

/** A score for each document: how well it answers the query. */
export interface RankTask {
  readonly type: 'rank'
  readonly query: string
  readonly documents: readonly string[]
  /** Only the best are wanted, and no more than so many. */
  readonly resultsMax?: number
  /** The caller wants the texts beside their scores. They never come from a provider. */
  readonly returnDocuments: boolean
}

export type Message =
  | { readonly role: 'system' | 'developer'; readonly parts: readonly TextPart[] }
  | { readonly role: 'user'; readonly parts: readonly InputPart[]; readonly name?: string }
  | {
      readonly role: 'assistant'
      readonly parts: readonly TextPart[]
      readonly toolCalls: readonly ToolCall[]
      readonly reasoning: readonly ReasoningBlock[]
      readonly refusal?: string
    }
  | {
      readonly role: 'tool'
      readonly toolCallId: string
      readonly parts: readonly InputPart[]
      /** Whether the caller says that the tool failed. */
      readonly isError?: boolean
    }

/** Marks the end of a prefix that the provider should cache, where it takes such marks. */
export interface CacheMark {
  readonly ttl: '5m' | '1h'
}

export interface TextPart {
  readonly type: 'text'
  readonly text: string
  readonly cache?: CacheMark
}

export type InputPart =
  | TextPart
  | {
      readonly type: 'image'
      readonly source: MediaSource
      readonly detail?: 'auto' | 'low' | 'high'
      readonly cache?: CacheMark
    }
  | {
      readonly type: 'file'
      readonly source: MediaSource
      readonly filename?: string
      readonly cache?: CacheMark
    }
  | { readonly type: 'audio'; readonly format: 'wav' | 'mp3'; readonly base64: string }

export type MediaSource =
  | { readonly kind: 'url'; readonly url: string }
  | { readonly kind: 'base64'; readonly mediaType: string; readonly base64: string }

export interface Tool {
  readonly name: string
  readonly description?: string
  /** JSON Schema, passed on with its own key order: prompt caches depend on the bytes. */
  readonly parameters?: JsonObject
  readonly strict?: boolean
  readonly cache?: CacheMark
}

export type ToolChoice = 'auto' | 'none' | 'required' | { readonly name: string }

export interface ToolCall {
  readonly id: string
  readonly name: string
  /** The arguments as the model wrote them: a JSON text, not always a valid one. */
  readonly arguments: string
  /** Gemini's proof that it made the call, in base64. It returns only to Gemini. See `tool-call-signature.ts`. */
  readonly signature?: string
  readonly cache?: CacheMark
}

export type ResponseFormat =
  | { readonly type: 'text' }
  | { readonly type: 'json_object' }
  | {
      readonly type: 'json_schema'
      readonly name: string
      readonly description?: string
      readonly schema: JsonObject
      readonly strict?: boolean
    }

export interface ReasoningRequest {
  readonly effort?: 'none' | 'minimal' | 'low' | 'medium' | 'high' | 'xhigh' | 'max'
  readonly maxTokens?: number
  /**
   * Only how hard to work is said (Anthropic's `output_config.effort`): whether to reason is left to the model's default.
   */
  readonly effortOnly?: boolean
  /** Reason, but leave the reasoning out of the answer. It is paid for all the same. */
  readonly exclude?: boolean
  /** How a provider that keeps its reasoning to itself sums it up. Absent: as it sees fit. */
  readonly summary?: 'none' | 'auto' | 'concise' | 'detailed'
}

/** A block of a model's own reasoning, kept so that it can be given back to it in the next turn. */
export interface ReasoningBlock {
  readonly text: string
  /** The provider's proof that the block is its own; such a block returns only to the protocol that made it. */
  readonly signature?: string
  /** Reasoning that the provider shows in encrypted form only. */
  readonly redacted?: string
  /** Whose form of block it is (`anthropic-claude-v1`), as it was given out; absent where it is not known. */
  readonly format?: string
}

/** How a caller wants a call routed. It never holds content, so a plan is the same for a sealed call. */
export interface RouteRequest {
  /** Model ids as the caller wrote them, the first choice first. */
  readonly models: readonly string[]
  readonly allowFallbacks: boolean
  readonly order: readonly ProviderId[]
  readonly only: readonly ProviderId[]
  readonly ignore: readonly ProviderId[]
  readonly requireParameters: boolean
  /** By what endpoints are ordered, where the caller does not want the price or the mode's own order. */
  readonly sort?: 'price' | 'throughput' | 'latency'
  /** USD per million tokens, as pico-USD per token. */
  readonly maxInputPricePico?: bigint
  readonly maxOutputPricePico?: bigint
  readonly denyDataCollection: boolean
  readonly zeroDataRetention: boolean
  readonly sessionId?: string
}

export type PrivacyClass = 'standard' | 'protected' | 'private_gateway' | 'confidential'

/** How a caller wants a call to travel (`mode`) and below which class it must not run (`minClass`). */
export interface PrivacyRequest {
  readonly mode: 'standard' | 'protected' | 'mesh'
  readonly minClass?: PrivacyClass
  /** How the records of a sealed stream are padded. It has no effect on a call in the clear. */
  readonly padding: 'off' | 'bucket' | 'fixed'
}

/** What a plan needs to know of an ask: its shape and size, not its content. */
export interface AskShape {
  readonly inputTokensBound: InputBound
  readonly maxOutputTokens?: number
  readonly choices: number
  readonly modalities: {
    readonly image: boolean
    readonly file: boolean
    readonly audio: boolean
    /** Whether an image or a file is named by a URL, for the provider to fetch. */
    readonly mediaUrl?: boolean
    /** Whether a document is: few providers fetch those (`Protocol.takes` of `file_url`). */
    readonly fileUrl?: boolean
  }
  /** Parameter names in the catalogue's vocabulary (`tools`, `response_format.json_schema`, …). */
  readonly parameters: readonly string[]
  /** How much thinking is asked for, where it is. */
  readonly reasoning?: Pick<ReasoningRequest, 'effort' | 'maxTokens'>
  /**
   * What an endpoint must take to be asked at all, for an answer without it is none: `dimensions`, `input.tokens`
   * (texts as tokens), `input.120_texts` (so many at once).
   */
  readonly needs?: readonly string[]
}

/** How much input there is, before it is known which model will count it: a bound on its tokens, and plain sizes. */
export interface InputBound {
  /** UTF-8 bytes of all text plus a constant a message: a hard bound for byte-level tokenizers. */
  readonly textTokens: number
  /** UTF-8 bytes of the same text as it came, and nothing else: what fair estimates are made from. */
  readonly textBytes: number
  readonly messages: number
  /** How many texts are read one by one, each with a context of its own; 1 where it is not said. */
  readonly contexts?: number
  readonly images: number
  readonly files: number
  readonly audioSeconds: number
}
