import type { EndpointId } from '@mesh/catalog/catalog.ts'
import type { BreakerState } from '@mesh/engine/health/circuit-breaker.ts'
import type { EndpointStanding } from '@mesh/engine/health/gate.ts'
import { addHistograms, type Histogram, quantile } from '@mesh/engine/health/histogram.ts'

/** What one process saw of the endpoints that it called lately: plain data that adds up with that of its siblings. */
export type HealthReport = readonly (readonly [EndpointId, EndpointStanding])[]

/** What is told of an endpoint. */
export interface EndpointHealthView {
  /** 0 to 1, over calls that say something of the endpoint; `null` where too few were made lately. */
  readonly successRate: number | null
  readonly firstTokenMs: { readonly p50: number; readonly p95: number } | null
  readonly tokensPerSecond: { readonly p50: number } | null
  readonly breaker: BreakerState
}

/** Fewer calls than this would tell of somebody's own calls rather than of an endpoint. */
const SAMPLES_TOLD_MIN = 20

const UNKNOWN: EndpointHealthView = {
  successRate: null,
  firstTokenMs: null,
  tokensPerSecond: null,
  breaker: 'closed',
}

/** Adds up what several processes saw. */
export function healthOf(reports: readonly HealthReport[], endpoint: EndpointId): EndpointHealthView {
  const standings = reports.flatMap((report) =>
    report.flatMap(([id, standing]) => (id === endpoint ? [standing] : [])),
  )
  if (standings.length === 0) return UNKNOWN
  const tallies = standings.map(({ tally }) => tally)
  const healthy = tallies.reduce((sum, tally) => sum + tally.healthy, 0)
  const failed = tallies.reduce((sum, tally) => sum + tally.unhealthy + tally.busy, 0)
  const enough = healthy + failed >= SAMPLES_TOLD_MIN
  return {
    successRate: enough ? Math.round((healthy / (healthy + failed)) * 1_000) / 1_000 : null,
    firstTokenMs: enough ? firstTokens(addHistograms(tallies.map(({ firstTokenMs }) => firstTokenMs))) : null,
    tokensPerSecond: enough ? rates(addHistograms(tallies.map((tally) => tally.tokensPerSecond))) : null,
    breaker: worst(standings.map(({ breaker }) => breaker)),
  }
}

function firstTokens(histogram: Histogram): EndpointHealthView['firstTokenMs'] {
  const p50 = quantile(histogram, 0.5)
  const p95 = quantile(histogram, 0.95)
  return p50 === undefined || p95 === undefined ? null : { p50: Math.round(p50), p95: Math.round(p95) }
}

function rates(histogram: Histogram): EndpointHealthView['tokensPerSecond'] {
  const p50 = quantile(histogram, 0.5)
  return p50 === undefined ? null : { p50: Math.round(p50) }
}

function worst(states: readonly BreakerState[]): BreakerState {
  if (states.includes('open')) return 'open'
  return states.includes('half_open') ? 'half_open' : 'closed'
}
