import type { EndpointId } from '@mesh/catalog/catalog.ts'

/** What has been seen of one endpoint lately, in one world: simulators never move what live calls are planned by. */
export interface EndpointHealth {
  /** Of its attempts, from 0 to 1; what was the caller's own doing does not count. */
  readonly successRate: number
  /** The median until the first token. Absent where no attempt came so far. */
  readonly firstTokenMsP50?: number
  /** The median rate of output after the first token. */
  readonly tokensPerSecondP50?: number
  /** How many attempts that is made from. */
  readonly samples: number
  /** `open`: not to be tried. `half_open`: in its usual place again, and its gate lets one call at a time try it. */
  readonly breaker: 'closed' | 'open' | 'half_open'
}

export type HealthByEndpoint = ReadonlyMap<EndpointId, EndpointHealth>

/** Medians of fewer attempts than this say nothing: what the catalogue states is used instead. */
export const HEALTH_SAMPLES_MIN = 20

/** Speeds that lie within ten per cent count as equal, so that noise reorders nothing. */
const STEP = 1.1
const STEPS_MAX = 200
const STEPS: readonly number[] = Array.from(
  { length: STEPS_MAX },
  (_, power) => Math.round(STEP ** power * 100) / 100,
)

/** The step of ten per cent that a positive value lies on: equal steps are equal speeds. */
export function speedStep(value: number): number {
  let low = 0
  let high = STEPS.length - 1
  while (low < high) {
    const middle = (low + high + 1) >> 1
    if ((STEPS[middle] ?? Number.POSITIVE_INFINITY) <= value) low = middle
    else high = middle - 1
  }
  return low
}

/**
 * Health as plans are made from it, and as it is kept for their replay: without what moves no plan, on steps of ten
 * per cent, in the order of the endpoints' ids. So two moments that plan alike freeze alike, and few have to be kept.
 */
export function freezeHealth(seen: HealthByEndpoint): HealthByEndpoint {
  const ids = [...seen.keys()].sort()
  const frozen = new Map<EndpointId, EndpointHealth>()
  for (const id of ids) {
    const health = seen.get(id)
    if (!health) continue
    const isKnown = health.samples >= HEALTH_SAMPLES_MIN
    if (!isKnown && health.breaker === 'closed') continue
    const { firstTokenMsP50, tokensPerSecondP50 } = health
    frozen.set(id, {
      successRate: Math.round(health.successRate * 20) / 20,
      ...(isKnown && firstTokenMsP50 !== undefined ? { firstTokenMsP50: onStep(firstTokenMsP50) } : {}),
      ...(isKnown && tokensPerSecondP50 !== undefined
        ? { tokensPerSecondP50: onStep(tokensPerSecondP50) }
        : {}),
      samples: isKnown ? HEALTH_SAMPLES_MIN : 0,
      breaker: health.breaker,
    })
  }
  return frozen
}

function onStep(value: number): number {
  return STEPS[speedStep(value)] ?? value
}
