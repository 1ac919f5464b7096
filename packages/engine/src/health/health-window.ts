import { addHistograms, bucketOf, type Histogram } from './histogram.ts'

/** What one attempt says of its endpoint. */
export interface Observation {
  /**
   * - `healthy`: it answered.
   * - `unhealthy`: it failed through its own fault.
   * - `busy`: it refused for load or rate, which it does in health too.
   */
  readonly verdict: 'healthy' | 'unhealthy' | 'busy'
  /** Whose call it was. The operator's own probes count as an account of their own. */
  readonly account: string
  readonly firstTokenMs?: number
  readonly tokensPerSecond?: number
}

/** What was seen of an endpoint in a span of time. */
export interface Tally {
  readonly healthy: number
  readonly unhealthy: number
  readonly busy: number
  readonly firstTokenMs: Histogram
  readonly tokensPerSecond: Histogram
}

interface Slot {
  /** The number of its span since the clock's start. */
  readonly number: number
  healthy: number
  unhealthy: number
  busy: number
  /** Accounts whose calls failed; as many as it takes to know that they are several. */
  readonly failing: Set<string>
  readonly firstTokenMs: Record<number, number>
  readonly tokensPerSecond: Record<number, number>
}

/** What is seen of an endpoint is forgotten after five minutes, in steps of this length. */
const SLOT_MS = 15_000
const SLOTS_MAX = 20
/** A breaker looks at the last minute at most, and at no less than three quarters of it. */
const RECENT_SLOTS = 4
const FAILING_ACCOUNTS_MAX = 8

/** What was seen of one endpoint lately. Time is the engine's clock, in milliseconds. */
export class HealthWindow {
  #slots: Slot[] = []

  add({ verdict, account, firstTokenMs, tokensPerSecond }: Observation, nowMs: number): void {
    const slot = this.#slotAt(nowMs)
    slot[verdict]++
    if (verdict === 'unhealthy' && slot.failing.size < FAILING_ACCOUNTS_MAX) slot.failing.add(account)
    if (firstTokenMs !== undefined) count(slot.firstTokenMs, firstTokenMs)
    if (tokensPerSecond !== undefined) count(slot.tokensPerSecond, tokensPerSecond)
  }

  /** The last five minutes. */
  tally(nowMs: number): Tally {
    const slots = this.#since(nowMs, SLOTS_MAX)
    return {
      healthy: sum(slots, 'healthy'),
      unhealthy: sum(slots, 'unhealthy'),
      busy: sum(slots, 'busy'),
      firstTokenMs: addHistograms(slots.map((slot) => slot.firstTokenMs)),
      tokensPerSecond: addHistograms(slots.map((slot) => slot.tokensPerSecond)),
    }
  }

  /** What a breaker decides on: the last minute. */
  recent(nowMs: number): { healthy: number; unhealthy: number; failingAccounts: number } {
    const slots = this.#since(nowMs, RECENT_SLOTS)
    return {
      healthy: sum(slots, 'healthy'),
      unhealthy: sum(slots, 'unhealthy'),
      failingAccounts: new Set(slots.flatMap(({ failing }) => [...failing])).size,
    }
  }

  /** Forgets failures, so that an endpoint that recovered is not judged by its past. */
  forgive(): void {
    for (const slot of this.#slots) {
      slot.unhealthy = 0
      slot.failing.clear()
    }
  }

  #since(nowMs: number, slots: number): Slot[] {
    const oldest = Math.floor(nowMs / SLOT_MS) - slots
    return this.#slots.filter(({ number }) => number > oldest)
  }

  #slotAt(nowMs: number): Slot {
    const number = Math.floor(nowMs / SLOT_MS)
    const last = this.#slots.at(-1)
    if (last?.number === number) return last
    const slot: Slot = {
      number,
      healthy: 0,
      unhealthy: 0,
      busy: 0,
      failing: new Set(),
      firstTokenMs: {},
      tokensPerSecond: {},
    }
    this.#slots = [...this.#since(nowMs, SLOTS_MAX - 1), slot]
    return slot
  }
}

function count(histogram: Record<number, number>, value: number): void {
  const bucket = bucketOf(value)
  histogram[bucket] = (histogram[bucket] ?? 0) + 1
}

function sum(slots: readonly Slot[], name: 'healthy' | 'unhealthy' | 'busy'): number {
  return slots.reduce((total, slot) => total + slot[name], 0)
}
