import type { WorkKind } from '../work.ts'

/** Where calls go. */
export interface LoadTarget {
  readonly port: number
  readonly kind: WorkKind
  readonly headers: Readonly<Record<string, string>>
}

/** Makes calls. */
export interface Load {
  readonly name: string
  /** As many as can be: each connection makes its next call when its last one has been answered. */
  closedLoop(target: LoadTarget, connections: number, seconds: number): Promise<LoadResult>
  /** So many a second, whether they are answered or not. */
  fixedRate(target: LoadTarget, perSecond: number, seconds: number): Promise<LoadResult>
}

export interface LoadResult {
  /** Answered with 200. */
  readonly calls: number
  readonly failed: number
  readonly seconds: number
  readonly p50Ms: number
  readonly p99Ms: number
}

export function percentiles(latenciesMs: number[]): Pick<LoadResult, 'p50Ms' | 'p99Ms'> {
  latenciesMs.sort((left, right) => left - right)
  const at = (share: number): number =>
    latenciesMs[Math.min(latenciesMs.length - 1, Math.floor(latenciesMs.length * share))] ?? Number.NaN
  return { p50Ms: at(0.5), p99Ms: at(0.99) }
}

export function median(values: readonly number[]): number {
  const ordered = [...values].sort((left, right) => left - right)
  const middle = ordered.length >> 1
  const upper = ordered[middle] ?? Number.NaN
  return ordered.length % 2 === 1 ? upper : ((ordered[middle - 1] ?? Number.NaN) + upper) / 2
}
