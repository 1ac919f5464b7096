/**
 * Counts of values in buckets whose bounds grow by a fixed factor, so that any quantile is known to within that
 * factor, whatever was counted, in memory that does not grow; and so that the counts of several routers add up.
 */
export type Histogram = Readonly<Record<number, number>>

/** Each bound is a tenth above the one before: a quantile is off by less than that. */
const GROWTH = Math.log(1.1)
/** Nothing that is counted here is larger: a week in milliseconds. */
const VALUE_MAX = 604_800_000

/** The bucket of a value; everything up to 1 is in the first. */
export function bucketOf(value: number): number {
  return Math.ceil(Math.log(Math.min(Math.max(value, 1), VALUE_MAX)) / GROWTH)
}

/** The sum of several histograms. */
export function addHistograms(histograms: readonly Histogram[]): Histogram {
  const sum: Record<number, number> = {}
  for (const histogram of histograms) {
    for (const [bucket, count] of Object.entries(histogram)) {
      sum[Number(bucket)] = (sum[Number(bucket)] ?? 0) + count
    }
  }
  return sum
}

/** How many values were counted. */
export function countOf(histogram: Histogram): number {
  return Object.values(histogram).reduce((sum, count) => sum + count, 0)
}

/** The value below which a share (0 to 1) of all lie, as its bucket's upper bound; `undefined` where none was counted. */
export function quantile(histogram: Histogram, share: number): number | undefined {
  const total = countOf(histogram)
  if (total === 0) return undefined
  const rank = Math.max(1, Math.ceil(total * share))
  let seen = 0
  for (const bucket of Object.keys(histogram)
    .map(Number)
    .sort((a, b) => a - b)) {
    seen += histogram[bucket] ?? 0
    if (seen >= rank) return Math.exp(bucket * GROWTH)
  }
  return undefined
}
