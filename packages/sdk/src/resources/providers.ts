import type OpenAI from 'openai'
import type { APIPromise } from 'openai'

/** How an endpoint did lately; null where too few calls say anything. */
export interface EndpointHealth {
  readonly model: string
  /** 0 to 1. */
  readonly successRate: number | null
  readonly firstTokenMs: { readonly p50: number; readonly p95: number } | null
  readonly tokensPerSecond: { readonly p50: number } | null
  readonly breaker: 'closed' | 'open' | 'half_open'
}

export interface ProviderHealth {
  readonly provider: string
  readonly name: string
  /** `unavailable` where the router has no credential for it, or its operator has switched it off. */
  readonly status: 'operational' | 'degraded' | 'down' | 'unknown' | 'unavailable'
  readonly models: readonly EndpointHealth[]
}

export interface ProvidersHealth {
  readonly object: 'list'
  readonly window: string
  readonly data: readonly ProviderHealth[]
}

/** `mesh.providers`: public. It tells of live endpoints. */
export class Providers {
  readonly #client: OpenAI

  constructor(client: OpenAI) {
    this.#client = client
  }

  health(options?: OpenAI.RequestOptions): APIPromise<ProvidersHealth> {
    return this.#client.get('/providers/health', options)
  }
}
