import type { SimulatedProvider } from './providers.ts'

/** What happened to a request. `running` may still become any of the others. */
export type RequestState =
  | 'running'
  /** Answered in full, as far as its steering allows an end. */
  | 'completed'
  /** Turned away: a fault of the request, or a rate limit, an overload, a server error that was asked for. */
  | 'refused'
  /** The client left before the end. */
  | 'cancelled'
  /** The simulator broke the answer off because it was steered to. */
  | 'broken_off'

/** One request in words and numbers. It holds nothing of what was said. */
export interface RequestRecord {
  readonly requestId: string
  readonly provider: SimulatedProvider
  /** Absent for a request that was turned away. */
  readonly model?: string
  readonly stream: boolean
  readonly state: RequestState
  readonly held: boolean
  /** The tokens that went in, as the answer's usage reports them when nobody lies. */
  readonly inputTokens: number
  /** The tokens that were generated for what was sent so far, hidden reasoning included. */
  readonly outputTokens: number
}

export interface SimulatorStats {
  readonly requests: number
  readonly running: number
  readonly held: number
  readonly completed: number
  readonly refused: number
  readonly cancelled: number
  readonly brokenOff: number
  /** The latest requests in the order of their arrival. */
  readonly records: readonly RequestRecord[]
}

/** Records that are kept; the oldest go first, the counts stay. */
const recordsMax = 10_000

type Counts = Record<RequestState, number>

/** Keeps the records and wakes those who wait for a state of them. */
export class RequestLog {
  readonly #records = new Map<string, RequestRecord>()
  readonly #counts: Counts = { running: 0, completed: 0, refused: 0, cancelled: 0, broken_off: 0 }
  readonly #watchers = new Set<() => void>()
  #requests = 0
  #held = 0

  open(requestId: string, provider: SimulatedProvider): void {
    this.#requests += 1
    this.#counts.running += 1
    const record = { requestId, provider, stream: false, state: 'running', held: false } as const
    this.#records.set(requestId, { ...record, inputTokens: 0, outputTokens: 0 })
    if (this.#records.size > recordsMax) this.#forgetOldest()
    this.#wake()
  }

  change(requestId: string, change: Partial<Omit<RequestRecord, 'requestId' | 'provider'>>): void {
    const record = this.#records.get(requestId)
    if (record === undefined) return
    const changed = { ...record, ...change }
    this.#records.set(requestId, changed)
    this.#counts[record.state] -= 1
    this.#counts[changed.state] += 1
    this.#held += Number(changed.held) - Number(record.held)
    this.#wake()
  }

  /** Ends a request once; whatever comes later is ignored. */
  end(requestId: string, state: Exclude<RequestState, 'running'>): void {
    if (this.#records.get(requestId)?.state === 'running') this.change(requestId, { state, held: false })
  }

  stats(): SimulatorStats {
    const { running, completed, refused, cancelled, broken_off: brokenOff } = this.#counts
    const records = [...this.#records.values()]
    return {
      requests: this.#requests,
      running,
      held: this.#held,
      completed,
      refused,
      cancelled,
      brokenOff,
      records,
    }
  }

  /** Resolves with the first stats that satisfy `condition`, at once if they do already. */
  until(condition: (stats: SimulatorStats) => boolean): Promise<SimulatorStats> {
    return new Promise((resolve) => {
      const look = () => {
        const stats = this.stats()
        if (!condition(stats)) return
        this.#watchers.delete(look)
        resolve(stats)
      }
      this.#watchers.add(look)
      look()
    })
  }

  /** A running request stays: its end has yet to be counted. */
  #forgetOldest(): void {
    for (const record of this.#records.values()) {
      if (record.state === 'running') continue
      this.#records.delete(record.requestId)
      return
    }
  }

  #wake(): void {
    for (const look of [...this.#watchers]) look()
  }
}
