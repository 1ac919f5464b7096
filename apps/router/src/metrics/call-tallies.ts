import { formatUsd, type NanoUsd } from '@mesh/catalog/money.ts'
import { BUCKET_NAMES, EMPTY_BUCKETS, type TokenBuckets } from '@mesh/catalog/token-buckets.ts'
import type { CallEvent, Settlement } from '../ledger/books.ts'
import { type World, worldOf } from './labels.ts'
import type { MetricRegistry, Sample } from './metric-registry.ts'
import type { CounterName } from './metric-table.ts'

/** What the calls of one world came to that went to one endpoint. */
interface EndpointTally {
  readonly labels: { readonly world: World; readonly model: string; readonly provider: string }
  readonly calls: Map<string, number>
  readonly tokens: Record<keyof TokenBuckets, number>
  chargedNano: NanoUsd
  refundedNano: NanoUsd
  upstreamNano: NanoUsd
}

/** What is said of a provider in one world, whatever the model. */
interface ProviderTally {
  readonly labels: { readonly world: World; readonly provider: string }
  readonly attempts: Map<string, number>
  readonly failures: Map<string, number>
  readonly absorbedNano: Map<string, NanoUsd>
  fallbacks: number
  readonly observeDuration: (seconds: number) => void
  readonly observeFirstToken: (seconds: number) => void
}

const NONE = 'none'

/**
 * Counts calls by their settlements, each once: everything that is to be known of a call is in it. A call adds to
 * plain numbers here; metrics are made of them at a scrape.
 */
export class CallTallies {
  readonly #registry: MetricRegistry
  readonly #endpoints = new Map<string, EndpointTally>()
  readonly #providers = new Map<string, ProviderTally>()

  constructor(registry: MetricRegistry) {
    this.#registry = registry
    this.#showEndpoints()
    this.#showProviders()
  }

  /** Counts a call whose settlement is in the books. What was refused before it was sent is no call here. */
  add({ payer, event, totalNano, upstreamNano, absorbed }: Settlement): void {
    if (event.billingReason === 'rejected_not_billed') return
    const world = worldOf(payer.livemode)
    const endpoint = this.#endpoint(world, event)
    add(endpoint.calls, event.billingReason)
    for (const bucket of BUCKET_NAMES) endpoint.tokens[bucket] += event.buckets[bucket]
    endpoint.chargedNano += totalNano
    endpoint.upstreamNano += upstreamNano
    const provider = this.#provider(world, event.provider ?? NONE)
    provider.observeDuration(event.durationMs / 1000)
    if (event.firstTokenMs !== undefined) provider.observeFirstToken(event.firstTokenMs / 1000)
    for (const { provider: owedTo, amountNano } of absorbed) {
      const amounts = this.#provider(world, owedTo).absorbedNano
      amounts.set(event.billingReason, (amounts.get(event.billingReason) ?? 0n) + amountNano)
    }
    this.#addAttempts(world, event)
    if (event.errorCode !== undefined) {
      this.#registry.count('mesh_call_errors_total', { world, code: event.errorCode })
    }
  }

  /** Notes that what a settlement charged is given back. */
  refund({ payer, event, totalNano }: Settlement): void {
    this.#endpoint(worldOf(payer.livemode), event).refundedNano += totalNano
  }

  #addAttempts(world: World, { attempts }: CallEvent): void {
    for (const [place, { provider, outcome, reason }] of attempts.entries()) {
      const tally = this.#provider(world, provider)
      add(tally.attempts, outcome)
      if (reason !== undefined) add(tally.failures, reason)
      if (place < attempts.length - 1) tally.fallbacks++
    }
  }

  #endpoint(world: World, { modelServed, modelRequested, provider = NONE }: CallEvent): EndpointTally {
    const model = modelServed ?? modelRequested ?? NONE
    const key = `${world} ${provider} ${model}`
    const known = this.#endpoints.get(key)
    if (known) return known
    const made: EndpointTally = {
      labels: { world, model, provider },
      calls: new Map(),
      tokens: { ...EMPTY_BUCKETS },
      chargedNano: 0n,
      refundedNano: 0n,
      upstreamNano: 0n,
    }
    this.#endpoints.set(key, made)
    return made
  }

  #provider(world: World, provider: string): ProviderTally {
    const key = `${world} ${provider}`
    const known = this.#providers.get(key)
    if (known) return known
    const labels = { world, provider }
    const made: ProviderTally = {
      labels,
      attempts: new Map(),
      failures: new Map(),
      absorbedNano: new Map(),
      fallbacks: 0,
      observeDuration: this.#registry.observer('mesh_call_duration_seconds', labels),
      observeFirstToken: this.#registry.observer('mesh_call_first_token_seconds', labels),
    }
    this.#providers.set(key, made)
    return made
  }

  #showEndpoints(): void {
    const show = <Name extends CounterName>(
      name: Name,
      samples: (tally: EndpointTally) => readonly Sample<Name>[],
    ): void => this.#registry.read(name, () => [...this.#endpoints.values()].flatMap(samples))

    show('mesh_calls_total', ({ labels, calls }) =>
      [...calls].map(([billing_reason, value]) => ({ labels: { ...labels, billing_reason }, value })),
    )
    show('mesh_tokens_total', ({ labels, tokens }) =>
      BUCKET_NAMES.filter((bucket) => tokens[bucket] > 0).map((bucket) => ({
        labels: { ...labels, bucket },
        value: tokens[bucket],
      })),
    )
    show('mesh_charged_usd_total', ({ labels, chargedNano }) => [{ labels, value: shown(chargedNano) }])
    show('mesh_refunded_usd_total', ({ labels, refundedNano }) => [{ labels, value: shown(refundedNano) }])
    show('mesh_upstream_cost_usd_total', ({ labels, upstreamNano }) => [
      { labels, value: shown(upstreamNano) },
    ])
  }

  #showProviders(): void {
    const show = <Name extends CounterName>(
      name: Name,
      samples: (tally: ProviderTally) => readonly Sample<Name>[],
    ): void => this.#registry.read(name, () => [...this.#providers.values()].flatMap(samples))

    show('mesh_attempts_total', ({ labels, attempts }) =>
      [...attempts].map(([outcome, value]) => ({ labels: { ...labels, outcome }, value })),
    )
    show('mesh_attempt_failures_total', ({ labels, failures }) =>
      [...failures].map(([failure, value]) => ({ labels: { ...labels, failure }, value })),
    )
    show('mesh_fallbacks_total', ({ labels, fallbacks }) => [{ labels, value: fallbacks }])
    show('mesh_absorbed_cost_usd_total', ({ labels, absorbedNano }) =>
      [...absorbedNano].map(([billing_reason, amount]) => ({
        labels: { ...labels, billing_reason },
        value: shown(amount),
      })),
    )
  }
}

function add(counts: Map<string, number>, word: string): void {
  counts.set(word, (counts.get(word) ?? 0) + 1)
}

/** An amount for a graph: a float, which nothing is computed with. The exact amount stays in the tally. */
function shown(amount: NanoUsd): number {
  return Number(formatUsd(amount))
}
