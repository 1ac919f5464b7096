import type { Endpoint, EndpointId, ProviderId } from '@mesh/catalog/catalog.ts'
import type { Clock } from '../clock.ts'
import type { Failure } from '../failure.ts'
import { type BreakerPolicy, type BreakerState, CircuitBreaker } from './circuit-breaker.ts'
import type { Observation, Tally } from './health-window.ts'
import { ProviderSlots, type SlotPolicy } from './provider-slots.ts'

/** What an operator sets for a provider. */
export interface GatePolicy extends BreakerPolicy, SlotPolicy {}

/** What an attempt said of its endpoint; absent where it said nothing, as when its caller left. */
export type AttemptReport = Omit<Observation, 'account'> & { readonly retryAfterMs?: number }

/** A way through the gate. Whoever took it leaves once, however the attempt ended. */
export interface Passage {
  leave(report: AttemptReport | undefined): void
}

/** Decides whether a call may be sent to an endpoint now. */
export interface Gate {
  enter(endpoint: Endpoint): Passage | Failure
}

/** A gate that stops nobody and remembers nothing. */
export const OPEN_GATE: Gate = { enter: () => ({ leave() {} }) }

/** What is known of an endpoint now. */
export interface EndpointStanding {
  readonly breaker: BreakerState
  readonly tally: Tally
}

export interface GatesOptions {
  readonly clock: Clock
  readonly policyFor: (provider: ProviderId) => GatePolicy
  /** Whether calls are kept away from endpoints that fail or ask for patience; `true` where it is absent. */
  readonly keepsAway?: boolean
  /** Told when the calls of one account alone fail at an endpoint, so that somebody else can try it. */
  readonly onSuspicion: (endpoint: Endpoint) => void
}

/** A provider that asks for more patience than this is tried again all the same: it may have spoken to one caller only. */
const PAUSE_MAX_MS = 30_000
/** Two accounts that are told to wait know that the provider means everybody. */
const PAUSED_ACCOUNTS_MIN = 2
const PAUSED_ACCOUNTS_MAX = 64

interface EndpointState {
  readonly breaker: CircuitBreaker
  /** Until when the provider asked each account's calls to wait. */
  readonly pausedUntilMs: Map<string, number>
}

/**
 * The gates in front of all endpoints of one world: circuit breakers, the providers' wishes to be left alone for a
 * while, and the accounts' shares of their places. What one account does never closes a gate for another.
 */
export class Gates {
  readonly #options: GatesOptions
  readonly #endpoints = new Map<EndpointId, EndpointState>()
  readonly #slots = new Map<ProviderId, ProviderSlots>()

  constructor(options: GatesOptions) {
    this.#options = options
  }

  /** The gate as one account meets it. */
  gateFor(account: string): Gate {
    return { enter: (endpoint) => this.#enter(endpoint, account) }
  }

  /** What is known of every endpoint that was called lately. */
  standings(): ReadonlyMap<EndpointId, EndpointStanding> {
    const { clock, policyFor, keepsAway = true } = this.#options
    const nowMs = clock.monotonic()
    const standings = new Map<EndpointId, EndpointStanding>()
    for (const [id, { breaker }] of this.#endpoints) {
      const state = keepsAway ? breaker.state(policyFor(providerOf(id)), nowMs) : 'closed'
      standings.set(id, { breaker: state, tally: breaker.window.tally(nowMs) })
    }
    return standings
  }

  /** Calls that run at a provider now. */
  running(provider: ProviderId): number {
    return this.#slots.get(provider)?.taken ?? 0
  }

  #enter(endpoint: Endpoint, account: string): Passage | Failure {
    const { clock, policyFor, keepsAway = true } = this.#options
    const nowMs = clock.monotonic()
    const policy = policyFor(endpoint.provider)
    const state = this.#stateOf(endpoint.id)
    const pauseMs = !keepsAway ? 0 : pauseFor(state.pausedUntilMs, account, nowMs)
    if (pauseMs > 0) return { outcome: 'not_dispatched', reason: 'rate_limited', retryAfterMs: pauseMs }
    const slots = this.#slotsOf(endpoint.provider)
    if (!slots.take(account, policy)) return { outcome: 'not_dispatched', reason: 'overloaded' }
    const entry = keepsAway ? state.breaker.enter(policy, nowMs) : 'pass'
    if (entry === 'stop') {
      slots.giveBack(account)
      const retryAfterMs = state.breaker.waitMs(policy, nowMs)
      return {
        outcome: 'not_dispatched',
        reason: 'breaker_open',
        ...(retryAfterMs > 0 ? { retryAfterMs } : {}),
      }
    }
    return {
      leave: (report) => {
        slots.giveBack(account)
        this.#leave(endpoint, account, entry, report)
      },
    }
  }

  #leave(
    endpoint: Endpoint,
    account: string,
    entry: 'pass' | 'trial',
    report: AttemptReport | undefined,
  ): void {
    const { clock, policyFor, onSuspicion } = this.#options
    const nowMs = clock.monotonic()
    const { breaker, pausedUntilMs } = this.#stateOf(endpoint.id)
    if (entry === 'trial') breaker.endTrial(report?.verdict, nowMs)
    if (!report) return
    const { retryAfterMs, ...observation } = report
    if (retryAfterMs !== undefined) {
      if (pausedUntilMs.size < PAUSED_ACCOUNTS_MAX || pausedUntilMs.has(account))
        pausedUntilMs.set(account, nowMs + Math.min(retryAfterMs, PAUSE_MAX_MS))
    }
    const policy = policyFor(endpoint.provider)
    if (breaker.observe({ ...observation, account }, policy, nowMs) === 'suspicious') onSuspicion(endpoint)
  }

  #stateOf(id: EndpointId): EndpointState {
    const known = this.#endpoints.get(id)
    if (known) return known
    const state = { breaker: new CircuitBreaker(), pausedUntilMs: new Map<string, number>() }
    this.#endpoints.set(id, state)
    return state
  }

  #slotsOf(provider: ProviderId): ProviderSlots {
    const known = this.#slots.get(provider)
    if (known) return known
    const slots = new ProviderSlots()
    this.#slots.set(provider, slots)
    return slots
  }
}

/** How long an account's calls are to wait yet. Pauses that are over are forgotten on the way. */
function pauseFor(pausedUntilMs: Map<string, number>, account: string, nowMs: number): number {
  if (pausedUntilMs.size === 0) return 0
  for (const [paused, untilMs] of pausedUntilMs) if (untilMs <= nowMs) pausedUntilMs.delete(paused)
  const untilMs =
    pausedUntilMs.get(account) ??
    (pausedUntilMs.size >= PAUSED_ACCOUNTS_MIN ? Math.min(...pausedUntilMs.values()) : nowMs)
  return untilMs - nowMs
}

/** `mesh/claude-sonnet-4.5@anthropic` → `anthropic`. */
function providerOf(id: EndpointId): ProviderId {
  return id.slice(id.lastIndexOf('@') + 1)
}
