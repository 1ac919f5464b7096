import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { startInstantMock } from '../mock/choose.ts'
import type { Part, Table } from '../part.ts'
import { meshRouter } from '../subjects/mesh.ts'

const PROJECT = join(import.meta.dirname, '../..')
const SHOWN = 20
const CONNECTIONS = 128

/** What V8's sampling profiler writes: https://chromedevtools.github.io/devtools-protocol/tot/Profiler/#type-Profile */
interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number }
    readonly children?: readonly number[]
  }[]
  readonly samples: readonly number[]
  readonly timeDeltas: readonly number[]
}

/** Where the router's own thread spends its time at saturation. */
export const profile: Part = {
  name: 'profile',
  meaning: 'a CPU profile of the router at saturation, as a text top-20',
  async run(bench) {
    const folder = await mkdtemp(join(tmpdir(), 'mesh-bench-profile-'))
    const mock = await startInstantMock(bench)
    try {
      const nodeWords = ['--cpu-prof', `--cpu-prof-dir=${folder}`]
      const running = await meshRouter({ cores: bench.cores, nodeWords }).start(mock.port)
      const { port, headers } = running
      bench.tell('profile of the router')
      try {
        const seconds = bench.warmUpSeconds + 2 * bench.seconds
        await bench.load.closedLoop({ port, kind: 'json', headers }, CONNECTIONS, seconds)
      } finally {
        await running.stop()
      }
      const [file = ''] = (await readdir(folder)).filter((name) => name.endsWith('.cpuprofile'))
      const read: CpuProfile = JSON.parse(await readFile(join(folder, file), 'utf8'))
      return { tables: [topFunctions(read), topPlaces(read)], figures: {}, notes: [] }
    } finally {
      await mock.program.stop()
      await rm(folder, { recursive: true, force: true })
    }
  },
}

/** Microseconds that each function was on top of the stack. Waiting for something to do does not count. */
function selfTimes(
  { nodes, samples, timeDeltas }: CpuProfile,
  nameOf: (place: string, functionName: string) => string,
): { readonly times: readonly (readonly [name: string, us: number])[]; readonly allUs: number } {
  const names = new Map(
    nodes.map(({ id, callFrame: { functionName, url, lineNumber } }) => [
      id,
      functionName === '(idle)' ? '' : nameOf(placeOf(url, lineNumber), functionName),
    ]),
  )
  const times = new Map<string, number>()
  let allUs = 0
  for (const [index, id] of samples.entries()) {
    const name = names.get(id) ?? ''
    const us = timeDeltas[index] ?? 0
    if (name === '') continue
    times.set(name, (times.get(name) ?? 0) + us)
    allUs += us
  }
  return { times: [...times].sort(([, left], [, right]) => right - left), allUs }
}

function topFunctions(read: CpuProfile): Table {
  const { times, allUs } = selfTimes(read, (place, name) => `${name || '(anonymous)'}  ${place}`)
  return {
    title: 'Router, functions by their own time',
    columns: ['', 'share'],
    rows: times.slice(0, SHOWN).map(([name, us]) => [name, percent(us, allUs)]),
  }
}

/** The same by package, or by folder of MESH. */
function topPlaces(read: CpuProfile): Table {
  const { times, allUs } = selfTimes(read, (place, name) => {
    return place === '' ? name : partOf(place)
  })
  return {
    title: 'Router, by part',
    columns: ['', 'share'],
    rows: times.slice(0, SHOWN).map(([name, us]) => [name, percent(us, allUs)]),
  }
}

function placeOf(url: string, line: number): string {
  if (url === '') return ''
  const place = url.startsWith('file:') ? relative(PROJECT, fileURLToPath(url)) : url
  return `${place}:${line + 1}`
}

function percent(part: number, whole: number): string {
  return `${((part / whole) * 100).toFixed(1)} %`
}

function partOf(place: string): string {
  const patterns = [
    /node_modules\/((?:@[^/]+\/)?[^/]+)/,
    /^((?:apps|packages)\/[^/]+\/src(?:\/[^/:]+(?=\/))?)/,
    /^(node:(?:internal\/)?[^/:]+)/,
  ]
  for (const pattern of patterns) {
    const part = pattern.exec(place)?.[1]
    if (part !== undefined) return part
  }
  return place
}
