import assert from 'node:assert/strict'

export interface Series {
  /** The name in its line: with `_bucket`, `_sum` or `_count` for a histogram. */
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

export interface MetricsText {
  readonly series: readonly Series[]
  /** The type of each metric, by its name. */
  readonly types: ReadonlyMap<string, string>
  /** The sum of a metric's series that have these labels. */
  sum(name: string, labels?: Readonly<Record<string, string>>): number
}

const HELP = /^# HELP ([a-z_0-9:]+) \S.*$/
const TYPE = /^# TYPE ([a-z_0-9:]+) (counter|gauge|histogram)$/
const SAMPLE = /^([a-z_0-9:]+)(?:\{(.*)\})? (-?[0-9.]+(?:e[-+]?\d+)?)$/
const LABEL = /([a-z_]+)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)/y

/**
 * Reads the text format of Prometheus (or OpenMetrics 1.0, as far as it is used), and fails on anything that is not
 * of it: https://prometheus.io/docs/instrumenting/exposition_formats/, https://prometheus.io/docs/specs/om/open_metrics_spec/.
 */
export function parseMetrics(text: string, format: 'prometheus' | 'openmetrics' = 'prometheus'): MetricsText {
  const series: Series[] = []
  const types = new Map<string, string>()
  let helped = ''
  let current = ''
  assert.ok(text.endsWith('\n'), 'the last line ends')
  const lines = text.slice(0, -1).split('\n')
  if (format === 'openmetrics') assert.equal(lines.pop(), '# EOF')
  for (const line of lines) {
    const [, help] = HELP.exec(line) ?? []
    const [, typed, type] = TYPE.exec(line) ?? []
    if (help !== undefined) helped = help
    else if (typed !== undefined && type !== undefined) {
      assert.equal(typed, helped, 'the help of a metric stands before its type')
      assert.ok(!types.has(typed), `${typed} comes once`)
      types.set(typed, type)
      current = typed
    } else if (line !== '' || format === 'openmetrics') {
      series.push(sampleOf(line, current, types.get(current) ?? '', format))
    }
  }
  const keys = series.map(({ name, labels }) => JSON.stringify([name, labels]))
  assert.equal(new Set(keys).size, keys.length, 'no series comes twice')
  checkHistograms(series, types)
  return {
    series,
    types,
    sum: (name, labels = {}) =>
      series
        .filter(
          (one) =>
            one.name === name && Object.entries(labels).every(([key, value]) => one.labels[key] === value),
        )
        .reduce((sum, { value }) => sum + value, 0),
  }
}

function sampleOf(line: string, metric: string, type: string, format: string): Series {
  const [, name = '', written = '', value = ''] = SAMPLE.exec(line) ?? []
  assert.notEqual(name, '', `a line that is no sample: ${line}`)
  const suffixes =
    type === 'histogram'
      ? ['_bucket', '_sum', '_count']
      : type === 'counter' && format === 'openmetrics'
        ? ['_total']
        : ['']
  assert.ok(
    suffixes.some((suffix) => name === metric + suffix),
    `${name} stands below ${metric}`,
  )
  if (type === 'counter') assert.ok(name.endsWith('_total') && Number(value) >= 0, line)
  const labels: Record<string, string> = {}
  LABEL.lastIndex = 0
  while (LABEL.lastIndex < written.length) {
    const [, key = '', content = ''] = LABEL.exec(written) ?? []
    assert.ok(key !== '' && !(key in labels), `labels that cannot be read: ${line}`)
    labels[key] = content
  }
  return { name, labels, value: Number(value) }
}

/** Buckets grow, and the last one is the count. */
function checkHistograms(series: readonly Series[], types: ReadonlyMap<string, string>): void {
  for (const [metric] of [...types].filter(([, type]) => type === 'histogram')) {
    const counts = series.filter(({ name }) => name === `${metric}_count`)
    for (const { labels, value } of counts) {
      const buckets = series.filter(
        (one) =>
          one.name === `${metric}_bucket` &&
          Object.entries(labels).every(([key, content]) => one.labels[key] === content),
      )
      assert.equal(buckets.at(-1)?.labels.le, '+Inf', metric)
      assert.equal(buckets.at(-1)?.value, value, metric)
      assert.deepEqual(
        buckets.map((one) => one.value),
        buckets.map((one) => one.value).sort((a, b) => a - b),
        metric,
      )
    }
  }
}
