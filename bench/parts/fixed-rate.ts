import { median } from '../load/load.ts'
import { startInstantMock } from '../mock/choose.ts'
import type { Part } from '../part.ts'
import { type Measured, measure } from './measure.ts'
import { MESH, subjectsOf, withStarted } from './started.ts'

const PER_SECOND = 1_000

/** What standing in between adds to a call at a rate that nobody finds hard. */
export const fixedRate: Part = {
  name: 'fixed-rate',
  meaning: 'what is added to the time of a call at 1,000 calls/s',
  async run(bench) {
    const mock = await startInstantMock(bench)
    const notes: string[] = []
    try {
      return await withStarted(subjectsOf(bench, notes), mock.port, async (started) => {
        const straight: { p50Ms: number; p99Ms: number }[] = []
        const found = new Map<string, Measured[]>()
        const rate = (port: number, headers: Readonly<Record<string, string>>, seconds: number) =>
          bench.load.fixedRate({ port, kind: 'json', headers }, PER_SECOND, seconds)
        for (const { running } of started) await rate(running.port, running.headers, bench.warmUpSeconds)
        for (let round = 0; round < bench.rounds; round++) {
          bench.tell(`1,000 calls/s, round ${round + 1}`)
          straight.push(await rate(mock.port, {}, bench.seconds))
          for (const { name, running } of started) {
            const load = () => rate(running.port, running.headers, bench.seconds)
            found.set(name, [...(found.get(name) ?? []), await measure(running, load)])
          }
        }
        const direct = {
          p50Ms: median(straight.map(({ p50Ms }) => p50Ms)),
          p99Ms: median(straight.map(({ p99Ms }) => p99Ms)),
        }
        const of = (name: string, column: keyof Measured): number =>
          median((found.get(name) ?? []).map((measured) => measured[column]))
        const added = (name: string) => ({
          p50Ms: of(name, 'p50Ms') - direct.p50Ms,
          p99Ms: of(name, 'p99Ms') - direct.p99Ms,
        })
        notes.unshift(
          `Straight to the mock: p50 ${direct.p50Ms.toFixed(2)} ms, p99 ${direct.p99Ms.toFixed(2)} ms; that is taken off.`,
        )
        return {
          tables: [
            {
              title: `JSON, ${PER_SECOND.toLocaleString('en')} calls/s`,
              columns: [
                '',
                'added p50 ms',
                'added p99 ms',
                'calls/s',
                'server CPU µs/call',
                'PostgreSQL CPU µs/call',
              ],
              rows: [...found.keys()].map((name) => [
                name,
                added(name).p50Ms.toFixed(2),
                added(name).p99Ms.toFixed(2),
                Math.round(of(name, 'callsPerSecond')).toLocaleString('en'),
                of(name, 'serverUs').toFixed(0),
                of(name, 'databaseUs') > 0 ? of(name, 'databaseUs').toFixed(0) : '–',
              ]),
            },
          ],
          figures: { addedP50Ms: added(MESH).p50Ms, addedP99Ms: added(MESH).p99Ms },
          notes,
        }
      })
    } finally {
      await mock.program.stop()
    }
  },
}
