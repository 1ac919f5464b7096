import { AggregatorRegistry, openMetricsContentType, prometheusContentType } from 'prom-client'
import { type MetricName, specOf } from './metric-table.ts'

/** A scrape as it is answered. */
export interface Exposition {
  readonly contentType: string
  readonly body: string
}

/** Asks every process of this machine, and writes what they answer; `accept` is the client's header. */
export type Scrape = (accept: string | undefined) => Promise<Exposition>

const SILENT: MetricName = 'mesh_workers_silent'

/**
 * Writes what the processes of this machine count as one text.
 * @param snapshots What each process that answered has.
 * @param silent How many did not answer.
 * @param accept The client's `Accept`: OpenMetrics where it likes that better than Prometheus' own format.
 */
export async function expose(
  snapshots: readonly (readonly object[])[],
  silent: number,
  accept: string | undefined,
): Promise<Exposition> {
  const isOpenMetrics = prefersOpenMetrics(accept ?? '')
  const all = [...snapshots, [silentFamily(silent)]]
  const merged = AggregatorRegistry.aggregate(
    isOpenMetrics ? all.map((families) => families.map(withoutTotal)) : all.map((families) => [...families]),
  )
  merged.setContentType(isOpenMetrics ? openMetricsContentType : prometheusContentType)
  return { contentType: merged.contentType, body: await merged.metrics() }
}

function silentFamily(value: number): object {
  const { help, type } = specOf(SILENT)
  return { name: SILENT, help, type, aggregator: 'sum', values: [{ value, labels: {} }] }
}

/**
 * In OpenMetrics a counter's family has no `_total`, which its samples get. prom-client sees to that for its own
 * metrics, but not for merged ones.
 */
function withoutTotal(family: object): object {
  if (!('type' in family && family.type === 'counter' && 'name' in family)) return family
  return { ...family, name: String(family.name).replace(/_total$/, '') }
}

/** https://www.rfc-editor.org/rfc/rfc9110#section-12.5.1, as far as it matters for two formats. */
function prefersOpenMetrics(accept: string): boolean {
  const weightOf = (mediaType: string): number =>
    Math.max(
      0,
      ...accept
        .split(',')
        .map((range) =>
          range
            .trim()
            .toLowerCase()
            .split(/\s*;\s*/),
        )
        .filter(([type]) => type === mediaType)
        .map((parts) => Number(parts.find((part) => part.startsWith('q='))?.slice(2) ?? 1) || 0),
    )
  const weight = weightOf('application/openmetrics-text')
  return weight > 0 && weight >= weightOf('text/plain')
}
