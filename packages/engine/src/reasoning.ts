import type { Endpoint, ReasoningOption } from '@mesh/catalog/catalog.ts'
import type { ReasoningRequest } from './ask.ts'

export type Effort = NonNullable<ReasoningRequest['effort']>

const EFFORTS: readonly Effort[] = ['none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max']

/** How an endpoint can be told to think, in one value each. */
export interface ReasoningControls {
  /** The efforts that it knows, weakest first; empty where it knows none. */
  readonly efforts: readonly Effort[]
  readonly budget: Extract<ReasoningOption, { type: 'budget_tokens' }> | undefined
  readonly toggle: boolean
}

export function reasoningControlsOf(endpoint: Endpoint): ReasoningControls {
  const known = endpoint.reasoningOptions.flatMap((option) => (option.type === 'effort' ? option.values : []))
  return {
    efforts: EFFORTS.filter((effort) => known.includes(effort)),
    budget: endpoint.reasoningOptions.find((option) => option.type === 'budget_tokens'),
    toggle: endpoint.reasoningOptions.some((option) => option.type === 'toggle'),
  }
}

/**
 * The effort that is asked for, or `undefined` where nothing is: a request that only wants reasoning left out of the
 * answer does not ask for any. A budget alone asks for a medium effort wherever budgets are not known.
 */
export function effortAsked(request: ReasoningRequest | undefined): Effort | undefined {
  if (request?.effort !== undefined) return request.effort
  if (request?.maxTokens === undefined) return undefined
  return request.maxTokens > 0 ? 'medium' : 'none'
}

/** The nearest effort that an endpoint knows, the weaker of two; never `none` for one who asked to think. */
export function closestEffort(asked: Effort, known: readonly Effort[]): Effort | undefined {
  const rank = EFFORTS.indexOf(asked)
  let closest: Effort | undefined
  let closestDistance = EFFORTS.length
  for (const effort of known) {
    if (effort === 'none' && asked !== 'none') continue
    const distance = Math.abs(EFFORTS.indexOf(effort) - rank)
    if (distance >= closestDistance) continue
    closest = effort
    closestDistance = distance
  }
  return closest
}

/** Which share of the output cap each effort may think with, where a provider wants a number. */
const BUDGET_SHARES: Readonly<Record<Effort, number>> = {
  none: 0,
  minimal: 0.1,
  low: 0.2,
  medium: 0.5,
  high: 0.8,
  xhigh: 0.9,
  max: 0.95,
}

/**
 * A thinking budget in tokens, within what the endpoint takes and below the output cap, or `undefined` where the cap
 * leaves no room for the least that the endpoint takes.
 */
export function budgetTokens(
  request: ReasoningRequest,
  effort: Effort,
  option: { readonly min?: number; readonly max?: number },
  outputTokensCap: number,
): number | undefined {
  const wished = request.maxTokens ?? Math.floor(outputTokensCap * BUDGET_SHARES[effort])
  const budget = Math.min(
    Math.max(wished, option.min ?? 1),
    option.max ?? Number.MAX_SAFE_INTEGER,
    outputTokensCap - 1,
  )
  return budget < (option.min ?? 1) ? undefined : budget
}
