import type { Table } from '../part.ts'

/** What MESH is held to. */
interface Bar {
  readonly what: string
  readonly bar: string
  readonly figure: string
  readonly isMet: (value: number) => boolean
  readonly shown: (value: number) => string
}

const BARS: readonly Bar[] = [
  {
    what: "calls/s beside Portkey's, JSON, 128 connections",
    bar: '≥ 6 ×',
    figure: 'json.128.times.Portkey',
    isMet: (value) => value >= 6,
    shown: (value) => `${value.toFixed(1)} ×`,
  },
  atMost('router CPU a call, JSON, 128 connections', 'json.128.serverUs', 100, 'µs'),
  atMost('PostgreSQL CPU a call, JSON, 128 connections', 'json.128.databaseUs', 60, 'µs'),
  atMost('added p50 at 1,000 calls/s', 'addedP50Ms', 1.5, 'ms', 2),
  atMost('added p99 at 1,000 calls/s', 'addedP99Ms', 10, 'ms', 2),
  atMost("CPU a chunk beside the bare proxy's, 500 streams", 'timesBare', 1.1, '×', 2),
  atLeast('open streams a GB', 'streamsPerGigabyte', 8_000),
  atMost('first start to first answered call', 'firstStartMs', 5_000, 'ms'),
  atMost('later start to first answered call', 'laterStartMs', 1_500, 'ms'),
  atMost('idle, router and PostgreSQL', 'idleMegabytes', 150, 'MB'),
  atMost('planning 46 models', 'planAllUs', 50, 'µs'),
  atLeast('settled calls/s, two routers', 'twoRoutersCallsPerSecond', 10_000),
]

function atMost(what: string, figure: string, most: number, unit: string, places = 0): Bar {
  return {
    what,
    bar: `≤ ${most.toLocaleString('en')} ${unit}`,
    figure,
    isMet: (value) => value <= most,
    shown: (value) => `${value.toLocaleString('en', { maximumFractionDigits: Math.max(places, 1) })} ${unit}`,
  }
}

function atLeast(what: string, figure: string, least: number): Bar {
  return {
    what,
    bar: `≥ ${least.toLocaleString('en')}`,
    figure,
    isMet: (value) => value >= least,
    shown: (value) => Math.round(value).toLocaleString('en'),
  }
}

/** The bars that have been measured, and whether each is met. */
export function barsTable(figures: Readonly<Record<string, number>>): Table {
  const rows = BARS.flatMap(({ what, bar, figure, isMet, shown }) => {
    const value = figures[figure]
    if (value === undefined || Number.isNaN(value)) return []
    return [[what, bar, shown(value), isMet(value) ? 'met' : 'missed']]
  })
  return { title: 'The bars', columns: ['', 'bar', 'measured', ''], rows }
}
