import { median } from '../load/load.ts'
import { startInstantMock } from '../mock/choose.ts'
import type { Part } from '../part.ts'
import { meshRouter } from '../subjects/mesh.ts'
import { type Measured, measure } from './measure.ts'
import { withStarted } from './started.ts'

const CONNECTIONS = 256

/** Two routers on one database. Nothing is pinned: on two cores they share both with their load and their database. */
export const twoRouters: Part = {
  name: 'two-routers',
  meaning: 'settled calls/s of one and of two routers on one database, with all cores for all',
  usesAllCores: true,
  async run(bench) {
    const mock = await startInstantMock({ ...bench, cores: undefined })
    try {
      const subjects = [1, 2].map((workers) =>
        meshRouter({
          cores: undefined,
          name: workers === 1 ? 'one router' : 'two routers (MESH_WORKERS=2)',
          environment: { MESH_WORKERS: String(workers) },
        }),
      )
      return await withStarted(subjects, mock.port, async (started) => {
        const found = new Map<string, Measured[]>()
        const run = (port: number, headers: Readonly<Record<string, string>>, seconds: number) =>
          bench.load.closedLoop({ port, kind: 'json', headers }, CONNECTIONS, seconds)
        for (const { running } of started) await run(running.port, running.headers, bench.warmUpSeconds)
        for (let round = 0; round < bench.rounds; round++) {
          bench.tell(`one and two routers, round ${round + 1}`)
          for (const { name, running } of started) {
            const load = () => run(running.port, running.headers, bench.seconds)
            found.set(name, [...(found.get(name) ?? []), await measure(running, load)])
          }
        }
        const of = (name: string, column: keyof Measured): number =>
          median((found.get(name) ?? []).map((measured) => measured[column]))
        const [, two = ''] = [...found.keys()]
        return {
          tables: [
            {
              title: `JSON, ${CONNECTIONS} connections, closed loop, not pinned`,
              columns: [
                '',
                'settled calls/s',
                'routers CPU µs/call',
                'PostgreSQL CPU µs/call',
                'p50 ms',
                'p99 ms',
              ],
              rows: [...found.keys()].map((name) => [
                name,
                Math.round(of(name, 'callsPerSecond')).toLocaleString('en'),
                of(name, 'serverUs').toFixed(1),
                of(name, 'databaseUs').toFixed(1),
                of(name, 'p50Ms').toFixed(1),
                of(name, 'p99Ms').toFixed(1),
              ]),
            },
          ],
          figures: { twoRoutersCallsPerSecond: of(two, 'callsPerSecond') },
          notes: [],
        }
      })
    } finally {
      await mock.program.stop()
    }
  },
}
