import type OpenAI from 'openai'
import type { APIPromise } from 'openai'

/** Half of the calls were as quick as `p50` or quicker, and 95 of 100 as `p95`. Milliseconds. */
export interface Percentiles {
  readonly p50: number | null
  readonly p95: number | null
}

/** How calls did. USD as decimal strings. */
export interface CallSums {
  readonly requests: number
  readonly failed: number
  readonly refused: number
  /** 0 to 1, null where there were no calls. */
  readonly errorRate: number | null
  readonly totalUsd: string
  readonly firstTokenMs: Percentiles
  readonly durationMs: Percentiles
}

export type MonitoringWindow = '5m' | '15m' | '1h' | '6h' | '24h' | '7d'

export interface MonitoringSummary extends CallSums {
  readonly object: 'monitoring_summary'
  readonly window: MonitoringWindow
  readonly from: string
  readonly to: string
  readonly byEndpoint: readonly (CallSums & {
    readonly model: string | null
    readonly provider: string | null
  })[]
}

/** `mesh.monitoring`: how the account's calls did of late, for keys with the scope `usage`. */
export class Monitoring {
  readonly #client: OpenAI

  constructor(client: OpenAI) {
    this.#client = client
  }

  /** The last hour, where no window is named. */
  summary(
    query: { readonly window?: MonitoringWindow } = {},
    options?: OpenAI.RequestOptions,
  ): APIPromise<MonitoringSummary> {
    return this.#client.get('/monitoring/summary', { query, ...options })
  }
}
