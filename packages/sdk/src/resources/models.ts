import OpenAI, { type APIPromise, type PagePromise } from 'openai'
import type { Page } from 'openai/core/pagination'
import type { PrivacyClass } from '../privacy.ts'

/** Prices in USD, as decimal strings: of a token, as OpenRouter's clients read them, and of a million tokens. */
export interface ModelPricing {
  readonly prompt: string
  readonly completion: string
  readonly input_cache_read: string
  readonly input_cache_write: string
  readonly usd_per_million: {
    readonly input: string
    readonly output: string
    readonly cache_read: string
    readonly cache_write_5m: string
    readonly cache_write_1h: string
  }
}

export type ModelKind = 'chat' | 'embedding' | 'rerank'

/** A model of the catalogue, or (`type: 'alias'`) a mode or tier that stands for several. */
export interface MeshModel extends OpenAI.Model {
  readonly type: 'model' | 'alias'
  readonly kind: ModelKind
  readonly name: string
  /** Whether this router can reach any endpoint of it. */
  readonly available: boolean
  readonly unavailable_reason?: string
  /** Of models alone: */
  readonly canonical_slug?: string
  readonly aliases?: readonly string[]
  readonly context_length?: number
  readonly architecture?: {
    readonly input_modalities: readonly string[]
    readonly output_modalities: readonly string[]
  }
  readonly capabilities?: Readonly<Record<string, boolean>>
  readonly quality?: { readonly score?: number; readonly source: string; readonly date: string } | null
  readonly pricing?: ModelPricing | null
  readonly top_provider?: {
    readonly context_length: number
    readonly max_completion_tokens: number
  } | null
  readonly supported_parameters?: readonly string[]
  readonly providers?: readonly string[]
  /** Of modes and tiers alone: */
  readonly alias_of?: 'mode' | 'tier'
  readonly description?: string
  readonly models?: readonly { readonly model: string; readonly why: string }[]
  readonly rules?: readonly {
    readonly rule: string
    readonly when: string
    readonly prefers: readonly string[]
  }[]
}

/** A model at one provider. */
export interface ModelEndpoint {
  readonly id: string
  readonly provider: string
  readonly model: string
  readonly upstream_model: string
  readonly protocol: string
  readonly context_length: number
  readonly max_completion_tokens: number
  readonly supported_parameters: readonly string[]
  readonly emulated_parameters: readonly string[]
  readonly input_modalities: readonly string[]
  readonly pricing: ModelPricing | null
  /** Where and when other prices hold: beyond a size of the input, or at a time of day. */
  readonly pricing_exceptions: readonly (ModelPricing & {
    readonly above_input_tokens?: number
    readonly from_utc?: string
    readonly until_utc?: string
  })[]
  readonly cancel_stops_billing: boolean | 'unknown'
  readonly data_policy: {
    readonly retention: string
    readonly training: string
    readonly source?: string
    readonly date?: string
  }
  readonly privacy: {
    readonly in_the_clear: PrivacyClass
    readonly ceiling: PrivacyClass
    readonly confidential_host: Readonly<Record<string, unknown>> | null
  }
  readonly health: {
    readonly breaker: string
    readonly success_rate: number
    readonly first_token_ms_p50: number | null
    readonly tokens_per_second_p50: number | null
  } | null
  readonly available: boolean
  readonly unavailable_reason?: string
}

export interface ModelEndpoints {
  readonly object: 'list'
  readonly id: string
  readonly data: readonly ModelEndpoint[]
}

/** `mesh.models`: the catalogue, which is public. Ids are taken with their slash. */
export class Models extends OpenAI.Models {
  override list(options?: OpenAI.RequestOptions): PagePromise<Page<MeshModel>, MeshModel> {
    return super.list(options) as unknown as PagePromise<Page<MeshModel>, MeshModel>
  }

  override retrieve(model: string, options?: OpenAI.RequestOptions): APIPromise<MeshModel> {
    return super.retrieve(model, options) as APIPromise<MeshModel>
  }

  /** Every endpoint of a model, mode or tier, with prices, privacy and health. */
  endpoints(model: string, options?: OpenAI.RequestOptions): APIPromise<ModelEndpoints> {
    return this._client.get(`/models/${encodeURIComponent(model)}/endpoints`, options)
  }
}
