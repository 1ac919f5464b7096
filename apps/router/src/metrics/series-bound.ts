import type { Catalog } from '@mesh/catalog/catalog.ts'
import type { LabelValues } from './labels.ts'
import { METRIC_NAMES, type MetricName, specOf } from './metric-table.ts'

/** The series that `/metrics` can ever have with the built-in catalogue, whatever callers do. */
export const SERIES_MAX = 25_000
/** A histogram shows `+Inf`, its sum and its count beside its buckets. */
const SERIES_BESIDE_BUCKETS = 3

/** How many series a metric can have. A model is at some providers only, so the two are counted together. */
function seriesMax(name: MetricName, values: LabelValues, catalog: Catalog): number {
  const { labels, buckets } = specOf(name)
  const places = catalog.models.reduce((sum, { endpoints }) => sum + endpoints.length + 1, 0)
  const hasModel = labels.includes('model')
  const combinations = labels
    .filter((label) => label !== 'model' && !(hasModel && label === 'provider'))
    // One more is `other`.
    .reduce((product, label) => product * (values[label].size + 1), hasModel ? places : 1)
  return combinations * (buckets ? buckets.length + SERIES_BESIDE_BUCKETS : 1)
}

/** The sum over all metrics. */
export function seriesMaxOfAll(values: LabelValues, catalog: Catalog): number {
  return METRIC_NAMES.reduce((sum, name) => sum + seriesMax(name, values, catalog), 0)
}
