import { HealthWindow, type Observation } from './health-window.ts'

/** When a breaker opens, and for how long. */
export interface BreakerPolicy {
  /** The share of failures, 0 to 1, at which it opens. */
  readonly errorRate: number
  /** How long it stays open before one call may try again. */
  readonly cooldownMs: number
}

export type BreakerState = 'closed' | 'open' | 'half_open'

/** Fewer attempts than this in a minute prove nothing. */
const SAMPLES_MIN = 10
/** One account can make its own calls fail; two that know nothing of each other cannot. */
const FAILING_ACCOUNTS_MIN = 2
/** An endpoint that fails its trial again and again is tried less and less often, but at least this often. */
const COOLDOWN_GROWTH_MAX = 16

/**
 * Keeps calls from an endpoint that fails. It opens when its failures of the last minute reach a share and come from
 * several accounts; after a cool-down it lets one call at a time through, whose end decides. What says nothing of the
 * endpoint (a caller who left, a request at fault) decides nothing.
 */
export class CircuitBreaker {
  readonly window = new HealthWindow()
  #openedAtMs: number | undefined
  #cooldownGrowth = 1
  #isTrying = false

  state(policy: BreakerPolicy, nowMs: number): BreakerState {
    if (this.#openedAtMs === undefined) return 'closed'
    return nowMs < this.#openedAtMs + this.#cooldownMs(policy) ? 'open' : 'half_open'
  }

  /** How long until a call may try again; 0 where one may now. */
  waitMs(policy: BreakerPolicy, nowMs: number): number {
    if (this.#openedAtMs === undefined) return 0
    return Math.max(0, this.#openedAtMs + this.#cooldownMs(policy) - nowMs)
  }

  /** Whether a call may go through now. Where it says `trial`, that call's end is to be told with `endTrial`. */
  enter(policy: BreakerPolicy, nowMs: number): 'pass' | 'trial' | 'stop' {
    const state = this.state(policy, nowMs)
    if (state === 'closed') return 'pass'
    if (state === 'open' || this.#isTrying) return 'stop'
    this.#isTrying = true
    return 'trial'
  }

  /** Takes what an attempt says. Returns whether the failures of a single account would have opened it. */
  observe(observation: Observation, policy: BreakerPolicy, nowMs: number): 'suspicious' | undefined {
    this.window.add(observation, nowMs)
    if (observation.verdict !== 'unhealthy' || this.#openedAtMs !== undefined) return undefined
    const { healthy, unhealthy, failingAccounts } = this.window.recent(nowMs)
    const samples = healthy + unhealthy
    if (samples < SAMPLES_MIN || unhealthy < policy.errorRate * samples) return undefined
    if (failingAccounts < FAILING_ACCOUNTS_MIN) return 'suspicious'
    this.#openedAtMs = nowMs
    return undefined
  }

  /** The trial of a half-open breaker ended; without a verdict the next call may try. */
  endTrial(verdict: Observation['verdict'] | undefined, nowMs: number): void {
    this.#isTrying = false
    if (verdict === 'unhealthy') {
      this.#openedAtMs = nowMs
      this.#cooldownGrowth = Math.min(COOLDOWN_GROWTH_MAX, this.#cooldownGrowth * 2)
    } else if (verdict === 'healthy') {
      this.#openedAtMs = undefined
      this.#cooldownGrowth = 1
      this.window.forgive()
    }
  }

  #cooldownMs({ cooldownMs }: BreakerPolicy): number {
    return cooldownMs * this.#cooldownGrowth
  }
}
