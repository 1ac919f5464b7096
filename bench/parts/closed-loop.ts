import { median } from '../load/load.ts'
import { startInstantMock } from '../mock/choose.ts'
import type { Bench, Part, PartResult, Table } from '../part.ts'
import type { WorkKind } from '../work.ts'
import { type Measured, measure } from './measure.ts'
import { MESH, type Started, subjectsOf, withStarted } from './started.ts'

const CONNECTIONS = [32, 128]

/** As many calls as can be with answers in one piece, side by side and in turns. */
export const closedLoopJson: Part = {
  name: 'json',
  meaning: 'calls a second and CPU a call at saturation, beside the others',
  run: (bench) => closedLoop('json', bench),
}

/** The same with answers as streams. */
export const closedLoopSse: Part = {
  name: 'sse',
  meaning: 'the same with streamed answers, sent at once',
  run: (bench) => closedLoop('sse', bench),
}

async function closedLoop(kind: WorkKind, bench: Bench): Promise<PartResult> {
  const mock = await startInstantMock(bench)
  const notes: string[] = []
  try {
    return await withStarted(subjectsOf(bench, notes), mock.port, async (started) => {
      const tables: Table[] = []
      const figures: Record<string, number> = {}
      const straight = await bench.load.closedLoop({ port: mock.port, kind, headers: {} }, 128, bench.seconds)
      const ceiling = Math.round(straight.calls / straight.seconds).toLocaleString('en')
      notes.unshift(
        `The ceiling of generator (${bench.load.name}) and mock (${mock.name}) together: ${ceiling} calls/s.`,
      )
      for (const { running } of started) {
        const { port, headers } = running
        await bench.load.closedLoop({ port, kind, headers }, 128, bench.warmUpSeconds)
      }
      for (const connections of CONNECTIONS) {
        bench.tell(`${kind}, ${connections} connections`)
        const found = await rounds(bench, started, kind, connections)
        tables.push(tableOf(kind, connections, found))
        addFigures(figures, kind, connections, found, notes)
      }
      return { tables, figures, notes }
    })
  } finally {
    await mock.program.stop()
  }
}

type Found = ReadonlyMap<string, readonly Measured[]>

async function rounds(
  { load, rounds: count, seconds }: Bench,
  started: readonly Started[],
  kind: WorkKind,
  connections: number,
): Promise<Found> {
  const found = new Map<string, Measured[]>()
  const targets = started.map(({ name, running }) => {
    const { port, headers } = running
    return {
      name,
      running,
      load: (time: number) => load.closedLoop({ port, kind, headers }, connections, time),
    }
  })
  for (let round = 0; round < count; round++) {
    for (const { name, running, load: run } of targets) {
      found.set(name, [...(found.get(name) ?? []), await measure(running, () => run(seconds))])
    }
  }
  return found
}

function tableOf(kind: WorkKind, connections: number, found: Found): Table {
  return {
    title: `${kind === 'json' ? 'JSON' : 'SSE, sent at once'}, ${connections} connections, closed loop`,
    columns: ['', 'calls/s', 'server CPU µs/call', 'PostgreSQL CPU µs/call', 'p50 ms', 'p99 ms', 'failed'],
    rows: [...found].map(([name, each]) => {
      const of = (column: keyof Measured): number => median(each.map((measured) => measured[column]))
      if (of('calls') === 0) return [name, 'fails', '', '', '', '', String(of('failed'))]
      return [
        name,
        Math.round(of('callsPerSecond')).toLocaleString('en'),
        of('serverUs').toFixed(1),
        of('databaseUs') > 0 ? of('databaseUs').toFixed(1) : '–',
        of('p50Ms').toFixed(2),
        of('p99Ms').toFixed(2),
        String(of('failed')),
      ]
    }),
  }
}

function addFigures(
  figures: Record<string, number>,
  kind: WorkKind,
  connections: number,
  found: Found,
  notes: string[],
): void {
  const of = (name: string, column: keyof Measured): number =>
    median((found.get(name) ?? []).map((measured) => measured[column]))
  const place = `${kind}.${connections}`
  figures[`${place}.callsPerSecond`] = of(MESH, 'callsPerSecond')
  figures[`${place}.serverUs`] = of(MESH, 'serverUs')
  figures[`${place}.databaseUs`] = of(MESH, 'databaseUs')
  for (const name of found.keys()) {
    if (name === MESH) continue
    const others = of(name, 'callsPerSecond')
    // Without a single answer there is nothing to be compared with.
    const failing = `${name} answered no call of ${kind} with 200.`
    if (others === 0 && !notes.includes(failing)) notes.push(failing)
    if (others > 0) figures[`${place}.times.${name.split(' ')[0]}`] = of(MESH, 'callsPerSecond') / others
  }
}
