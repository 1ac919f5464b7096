import { type NanoUsd, type PicoUsd, roundUpToNano } from '@mesh/catalog/money.ts'
import { dearestRates, type PriceSchedule } from '@mesh/catalog/price.ts'
import type { Candidate } from '@mesh/engine/plan.ts'
import type { HoldRequest } from '../ledger/books.ts'
import type { Policy } from '../policy.ts'

/** How much a call must set aside before it leaves, whichever of its candidates serves it. */
export interface HoldSize
  extends Pick<
    HoldRequest,
    | 'inputNano'
    | 'inputTokens'
    | 'outputPicoPerToken'
    | 'outputTokensWanted'
    | 'outputTokensFloor'
    | 'upstreamCeilingNano'
  > {
  readonly upstreamPicoPerToken: PicoUsd
  /**
   * The most that the call may ever hold. More than is wanted at first where the answer may grow and the hold with
   * it; the same where all of it is held from the start.
   */
  readonly outputTokensCap: number
}

export interface HoldSizeInput {
  readonly candidates: readonly Candidate[]
  readonly maxOutputTokens: number | undefined
  readonly choices: number
  readonly policy: Policy['holds']
}

/**
 * The dearest reachable candidate's price for input and output. All of a stated `max_tokens` is held. Without one it is
 * all that the first candidate can write where its provider bills on after a cancel, for it must be told a cap; else a
 * first slice, to be widened as the answer grows. A later candidate that bills on has its own output held when its turn
 * comes (`engine/run.ts`): most calls never get to it.
 */
export function sizeHold({ candidates, maxOutputTokens, choices, policy }: HoldSizeInput): HoldSize {
  const sell = dearest(candidates, (candidate) => candidate.sellPrices)
  const list = dearest(candidates, ({ endpoint }) => endpoint.prices)
  const modelMax = Math.max(...candidates.map(({ endpoint }) => endpoint.outputTokensMax))
  const cap = Math.min(maxOutputTokens ?? modelMax, modelMax) * choices
  const wanted =
    maxOutputTokens === undefined ? Math.min(cap, firstOutput(candidates, policy) * choices) : cap
  return {
    inputNano: sell.inputNano,
    inputTokens: Math.max(...candidates.map(({ inputTokensMax }) => inputTokensMax)),
    outputPicoPerToken: sell.outputPico,
    outputTokensWanted: wanted,
    outputTokensFloor: Math.min(wanted, policy.outputFloorTokens * choices),
    upstreamCeilingNano: list.inputNano + roundUpToNano(list.outputPico * BigInt(wanted)),
    upstreamPicoPerToken: list.outputPico,
    outputTokensCap: cap,
  }
}

/** What a call without `max_tokens` holds at first, in tokens a choice. */
function firstOutput([first]: readonly Candidate[], policy: Policy['holds']): number {
  const holdsSlice = first === undefined || first.endpoint.cancelStopsBilling
  return holdsSlice ? policy.outputSliceTokens : first.endpoint.outputTokensMax
}

function dearest(
  candidates: readonly Candidate[],
  pricesOf: (candidate: Candidate) => PriceSchedule,
): { readonly inputNano: NanoUsd; readonly outputPico: PicoUsd } {
  let inputNano = 0n
  let outputPico = 0n
  for (const candidate of candidates) {
    const rates = dearestRates(pricesOf(candidate), candidate.inputTokensMax)
    const input = roundUpToNano(BigInt(candidate.inputTokensMax) * rates.inputPico)
    if (input > inputNano) inputNano = input
    if (rates.outputPico > outputPico) outputPico = rates.outputPico
  }
  return { inputNano, outputPico }
}
