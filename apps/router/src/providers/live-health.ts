import type { Endpoint, EndpointId } from '@mesh/catalog/catalog.ts'
import type { Clock } from '@mesh/engine/clock.ts'
import type { EndpointHealth, HealthByEndpoint } from '@mesh/engine/endpoint-health.ts'
import { type Gate, Gates } from '@mesh/engine/health/gate.ts'
import { quantile } from '@mesh/engine/health/histogram.ts'
import { probe } from '@mesh/engine/health/probe.ts'
import type { Engine } from '@mesh/engine/run.ts'
import { describeError, type Log } from '../log.ts'
import type { HealthReport } from './health-report.ts'
import type { ProviderMemory } from './provider-memory.ts'

export interface LiveHealthOptions {
  readonly memory: Pick<ProviderMemory, 'configOf'>
  readonly engine: () => Engine
  readonly clock: Clock
  /** The most of a provider's places that one account may take, in percent. */
  readonly accountSharePercent: number
  /** Whether calls are kept away from endpoints that fail. */
  readonly keepsAway: boolean
  /** Whether MESH asks endpoints itself that fail for one account alone. */
  readonly probes: boolean
  readonly log: Log
}

/** Under this name MESH's own questions count as one account more. No account has it. */
const OPERATOR = 'operator'
/** An endpoint that keeps failing one account is not asked more often than this. */
const PROBE_INTERVAL_MS = 30_000

/** The health of live endpoints, as this process sees it: it decides who is called, and tells how they do. */
export class LiveHealth {
  readonly #options: LiveHealthOptions
  readonly #gates: Gates
  readonly #probedAtMs = new Map<EndpointId, number>()

  constructor(options: LiveHealthOptions) {
    this.#options = options
    const accountShare = options.accountSharePercent / 100
    this.#gates = new Gates({
      clock: options.clock,
      policyFor(provider) {
        const { maxConcurrency, circuitBreaker } = options.memory.configOf(provider)
        return { ...circuitBreaker, slotsMax: maxConcurrency, accountShare }
      },
      keepsAway: options.keepsAway,
      onSuspicion: (endpoint) => void this.#probe(endpoint),
    })
  }

  gateFor(accountId: string): Gate {
    return this.#gates.gateFor(accountId)
  }

  /** How every endpoint did that was called lately, for plans. */
  seen(): HealthByEndpoint {
    const seen = new Map<EndpointId, EndpointHealth>()
    for (const [id, { breaker, tally }] of this.#gates.standings()) {
      const samples = tally.healthy + tally.unhealthy + tally.busy
      const firstTokenMsP50 = quantile(tally.firstTokenMs, 0.5)
      const tokensPerSecondP50 = quantile(tally.tokensPerSecond, 0.5)
      seen.set(id, {
        successRate: samples === 0 ? 1 : tally.healthy / samples,
        ...(firstTokenMsP50 === undefined ? {} : { firstTokenMsP50 }),
        ...(tokensPerSecondP50 === undefined ? {} : { tokensPerSecondP50 }),
        samples,
        breaker,
      })
    }
    return seen
  }

  report(): HealthReport {
    return [...this.#gates.standings()]
  }

  async #probe(endpoint: Endpoint): Promise<void> {
    const { engine, clock, log, probes } = this.#options
    const nowMs = clock.monotonic()
    const probedAtMs = this.#probedAtMs.get(endpoint.id)
    // What generates nothing has no question that would be as small.
    if (!probes || endpoint.outputTokensMax === 0) return
    if (probedAtMs !== undefined && nowMs - probedAtMs < PROBE_INTERVAL_MS) return
    this.#probedAtMs.set(endpoint.id, nowMs)
    const passage = this.#gates.gateFor(OPERATOR).enter(endpoint)
    if ('outcome' in passage) return
    try {
      const report = await probe(engine(), endpoint)
      passage.leave(report)
      log.info('an endpoint that fails one account was asked', {
        provider: endpoint.provider,
        model: endpoint.model,
        reason: report?.verdict ?? 'unknown',
      })
    } catch (error) {
      passage.leave(undefined)
      log.error('an endpoint could not be asked', { provider: endpoint.provider, ...describeError(error) })
    }
  }
}
