import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { LabelName, LabelValues } from './labels.ts'
import {
  type CounterName,
  type GaugeName,
  type HistogramName,
  type LabelsOf,
  METRIC_NAMES,
  type MetricName,
  specOf,
  type UnlabelledName,
} from './metric-table.ts'

/** One value of a metric. */
export interface Sample<Name extends MetricName> {
  readonly labels: LabelsOf<Name>
  readonly value: number
}

type Read = () => Iterable<Sample<MetricName>> | Promise<Iterable<Sample<MetricName>>>

/** What a label shows in place of a value that is not in its set. */
const OTHER = 'other'

/**
 * The metrics of one process. Every label's value is checked against its closed set, so whatever a caller writes the
 * number of series stays bounded. Most values are read where they are known, at a scrape; a counter that is counted
 * here costs the building of a string each time, so nothing is counted here for a chunk of an answer.
 */
export class MetricRegistry {
  readonly #values: LabelValues
  readonly #registry = new Registry()
  readonly #counters = new Map<MetricName, Counter>()
  readonly #histograms = new Map<MetricName, Histogram>()
  readonly #readers = new Map<MetricName, Read[]>()
  #snapshot: Promise<readonly object[]> | undefined

  constructor(values: LabelValues) {
    this.#values = values
    for (const name of METRIC_NAMES) this.#add(name)
  }

  count<Name extends CounterName>(name: Name, labels: LabelsOf<Name>, by = 1): void {
    this.#counters.get(name)?.inc(this.#bounded(labels), by)
  }

  /** The way to observe values under the same labels again and again. */
  observer<Name extends HistogramName>(name: Name, labels: LabelsOf<Name>): (value: number) => void {
    const child = this.#histograms.get(name)?.labels(this.#bounded(labels))
    return (value) => child?.observe(value)
  }

  /**
   * Names a place that the values of a counter or a gauge are read from at each scrape. Several places may have parts
   * of one metric; values under the same labels are added up.
   */
  read<Name extends CounterName | GaugeName>(
    name: Name,
    read: () => Iterable<Sample<Name>> | Promise<Iterable<Sample<Name>>>,
  ): void {
    this.#readers.set(name, [...(this.#readers.get(name) ?? []), read])
  }

  /** The same for a metric that is one number. */
  readOne(name: UnlabelledName, read: () => number | Promise<number>): void {
    this.read(name, async () => [{ labels: {}, value: await read() }])
  }

  /** All metrics as they are now. Those who ask at once share one look. */
  snapshot(): Promise<readonly object[]> {
    this.#snapshot ??= this.#registry.getMetricsAsJSON().finally(() => {
      this.#snapshot = undefined
    })
    return this.#snapshot
  }

  #add(name: MetricName): void {
    const { type, help, labels, buckets, merge = 'sum' } = specOf(name)
    const common = { name, help, labelNames: labels, aggregator: merge, registers: [this.#registry] }
    if (type === 'histogram') {
      this.#histograms.set(name, new Histogram({ ...common, buckets: [...(buckets ?? [])] }))
      return
    }
    const metric: Counter | Gauge =
      type === 'counter'
        ? new Counter({ ...common, collect: () => this.#collect(name, metric) })
        : new Gauge({ ...common, collect: () => this.#collect(name, metric) })
    if (metric instanceof Counter) this.#counters.set(name, metric)
  }

  async #collect(name: MetricName, metric: Counter | Gauge): Promise<void> {
    const readers = this.#readers.get(name)
    if (readers === undefined) return
    const parts = await Promise.all(readers.map((read) => read()))
    metric.reset()
    for (const { labels, value } of parts.flatMap((samples) => [...samples])) {
      metric.inc(this.#bounded(labels), value)
    }
  }

  #bounded(labels: Readonly<Partial<Record<LabelName, string>>>): Record<string, string> {
    const bounded: Record<string, string> = {}
    for (const [name, value] of Object.entries(labels)) {
      bounded[name] = this.#values[name as LabelName].has(value) ? value : OTHER
    }
    return bounded
  }
}
