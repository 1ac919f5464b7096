import { join } from 'node:path'
import { median } from '../load/load.ts'
import { startInstantMock } from '../mock/choose.ts'
import type { Part } from '../part.ts'
import { meshRouter } from '../subjects/mesh.ts'
import { PARTS, WITHOUT } from '../without/parts.ts'
import { type Measured, measure } from './measure.ts'
import { withStarted } from './started.ts'

const PRELOAD = join(import.meta.dirname, '../without/preload.ts')
const CONNECTIONS = 128

/** What each feature costs, by what is left when it is left out. */
export const features: Part = {
  name: 'features',
  meaning: 'the router without one of its parts at a time',
  async run(bench) {
    const mock = await startInstantMock(bench)
    try {
      const found = new Map<string, Measured[]>()
      for (const part of Object.keys(PARTS)) {
        bench.tell(`without ${part}`)
        const subject = meshRouter({
          cores: bench.cores,
          name: part,
          nodeWords: ['--import', PRELOAD],
          environment: { [WITHOUT]: part },
          hasLimits: part !== 'limits',
        })
        await withStarted([subject], mock.port, async ([started]) => {
          if (!started) return
          const { port, headers } = started.running
          const run = (seconds: number) =>
            bench.load.closedLoop({ port, kind: 'json', headers }, CONNECTIONS, seconds)
          await run(bench.warmUpSeconds)
          for (let round = 0; round < bench.rounds; round++) {
            const measured = await measure(started.running, () => run(bench.seconds))
            found.set(part, [...(found.get(part) ?? []), measured])
          }
        })
      }
      const of = (part: string, column: keyof Measured): number =>
        median((found.get(part) ?? []).map((measured) => measured[column]))
      const all = { server: of('nothing', 'serverUs'), database: of('nothing', 'databaseUs') }
      return {
        tables: [
          {
            title: `Without one part at a time: JSON, ${CONNECTIONS} connections, closed loop`,
            columns: [
              'left out',
              'router CPU µs/call',
              'difference',
              'PostgreSQL CPU µs/call',
              'difference',
              'calls/s',
            ],
            rows: Object.entries(PARTS).map(([part, meaning]) => [
              meaning,
              of(part, 'serverUs').toFixed(1),
              part === 'nothing' ? '' : (all.server - of(part, 'serverUs')).toFixed(1),
              of(part, 'databaseUs').toFixed(1),
              part === 'nothing' ? '' : (all.database - of(part, 'databaseUs')).toFixed(1),
              Math.round(of(part, 'callsPerSecond')).toLocaleString('en'),
            ]),
          },
        ],
        figures: {},
        notes: ['Fewer µs also mean smaller batches for PostgreSQL, so the differences do not add up.'],
      }
    } finally {
      await mock.program.stop()
    }
  },
}
