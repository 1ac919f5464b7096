import type OpenAI from 'openai'
import type { APIPromise } from 'openai'

/** What sums can be split by. */
export type UsageGroup = 'day' | 'model' | 'provider' | 'project' | 'key'

export interface UsageParams {
  readonly groupBy?: readonly UsageGroup[]
  /** RFC 3339 or a date; 30 days before `to` where nothing is said, 400 at most. */
  readonly from?: string
  /** Now where nothing is said. */
  readonly to?: string
}

/** The sums of one group. USD as decimal strings. */
export interface UsageRow {
  readonly day?: string
  /** Null for calls that nobody served. */
  readonly model?: string | null
  readonly provider?: string | null
  readonly project?: string
  readonly key?: string
  readonly requests: number
  readonly inputTokens: number
  readonly outputTokens: number
  readonly upstreamCostUsd: string
  readonly totalUsd: string
}

export interface UsageReport {
  readonly from: string
  readonly to: string
  readonly groupBy: readonly UsageGroup[]
  readonly data: readonly UsageRow[]
}

/** `mesh.usage`: sums over calls, for keys with the scope `usage`. */
export class Usage {
  readonly #client: OpenAI

  constructor(client: OpenAI) {
    this.#client = client
  }

  retrieve(
    { groupBy = [], ...span }: UsageParams = {},
    options?: OpenAI.RequestOptions,
  ): APIPromise<UsageReport> {
    const query = { ...span, ...(groupBy.length > 0 ? { groupBy: groupBy.join(',') } : {}) }
    return this.#client.get('/usage', { query, ...options })
  }
}
