import { type NanoUsd, roundUpToNano } from '@mesh/catalog/money.ts'
import { costNano, costPico, type Rates, ratesFor } from '@mesh/catalog/price.ts'
import { inputTokens, outputTokens } from '@mesh/catalog/token-buckets.ts'
import type { RunOutcome } from '@mesh/engine/run-outcome.ts'
import type { BillingReason } from '../records/billing-reason.ts'

/** What a call costs whom, and why. All amounts are nano-USD. */
export interface Charge {
  readonly billingReason: BillingReason
  /** What the customer pays; never more than what was held. */
  readonly totalNano: NanoUsd
  /** List-price cost of what the customer pays for. */
  readonly upstreamNano: NanoUsd
  /** List-price cost that MESH carries, by provider. */
  readonly absorbed: readonly { readonly provider: string; readonly amountNano: NanoUsd }[]
  /** The sell rates that were applied; absent where the customer pays nothing. */
  readonly rates?: Rates
  /** The price asked for more than was held: the rest is MESH's. */
  readonly clamped: boolean
}

export interface ChargeInput {
  readonly outcome: RunOutcome
  readonly heldNano: NanoUsd
  readonly dispatchedAt: Date
}

/**
 * Turns what became of a call into money. It is paid for when its answer came, was cut for want of credit, or was
 * left by its caller; an answer that failed, or that holds nothing at all, is carried by MESH.
 */
export function chargeFor(input: ChargeInput): Charge {
  const { outcome, heldNano, dispatchedAt } = input
  const billingReason = billingReasonFor(outcome)
  const failedAttempts = absorbedByFailedAttempts(input)
  const { served } = outcome
  if (!served) return free(billingReason, failedAttempts)

  const { buckets } = outcome.usage
  const listNano = costNano(buckets, served.endpoint.prices, dispatchedAt)
  if (!PAID.has(billingReason)) {
    return free(billingReason, [
      ...failedAttempts,
      { provider: served.endpoint.provider, amountNano: listNano },
    ])
  }
  const rates = ratesFor(served.sellPrices, inputTokens(buckets), dispatchedAt)
  const priceNano = roundUpToNano(costPico(buckets, rates))
  const clamped = priceNano > heldNano
  const totalNano = clamped ? heldNano : priceNano
  return {
    billingReason,
    totalNano,
    upstreamNano: listNano,
    absorbed: failedAttempts,
    rates,
    clamped,
  }
}

const PAID: ReadonlySet<BillingReason> = new Set([
  'completed',
  'truncated_by_length',
  'credit_cutoff',
  'client_disconnected',
  'estimated_usage',
])

function billingReasonFor({ status, served, usage, finishReason }: RunOutcome): BillingReason {
  switch (status) {
    case 'failed':
      return 'upstream_error_not_billed'
    case 'cut':
      return 'credit_cutoff'
    case 'client_gone':
      return 'client_disconnected'
    case 'deadline':
      return 'estimated_usage'
    case 'completed':
      // Vectors and scores are no output; where nothing can be generated, nothing is missing.
      if (outputTokens(usage.buckets) === 0 && served?.endpoint.outputTokensMax !== 0) {
        return 'zero_completion_not_billed'
      }
      if (usage.source !== 'reported') return 'estimated_usage'
      return finishReason === 'length' ? 'truncated_by_length' : 'completed'
  }
}

function free(billingReason: BillingReason, absorbed: Charge['absorbed']): Charge {
  return {
    billingReason,
    totalNano: 0n,
    upstreamNano: 0n,
    absorbed: absorbed.filter(({ amountNano }) => amountNano > 0n),
    clamped: false,
  }
}

/**
 * An attempt whose end is uncertain may be billed to MESH though it answered nothing. How much is not known, so its
 * input bound is booked: too much rather than too little, and never to the customer.
 */
function absorbedByFailedAttempts({ outcome, dispatchedAt }: ChargeInput): Charge['absorbed'] {
  return outcome.attempts
    .filter((attempt) => attempt.outcome === 'uncertain' && attempt.candidate !== outcome.served)
    .map(({ candidate }) => {
      const rates = ratesFor(candidate.endpoint.prices, candidate.inputTokensMax, dispatchedAt)
      return {
        provider: candidate.endpoint.provider,
        amountNano: roundUpToNano(BigInt(candidate.inputTokensMax) * rates.input),
      }
    })
    .filter(({ amountNano }) => amountNano > 0n)
}
