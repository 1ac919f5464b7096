import { setTimeout as pause } from 'node:timers/promises'
import { median } from '../load/load.ts'
import { openStreams } from '../load/streams.ts'
import { cpuMicroseconds, residentBytes } from '../machine/process-tree.ts'
import { startSocketMock } from '../mock/mock.ts'
import type { Bench, Part } from '../part.ts'
import type { Running, Subject } from '../subjects/subject.ts'
import { MESH, subjectsOf, withStarted } from './started.ts'

const STREAMS = 500
const CHUNKS_PER_SECOND = 20
const SETTLING_MS = 3_000

interface ChunkCost {
  readonly serverUs: number
  readonly databaseUs: number
  readonly chunksPerSecond: number
}

/** What it costs to pass on a chunk of a stream. */
export const streamChunks: Part = {
  name: 'streams',
  meaning: 'CPU a chunk with 500 streams of 20 chunks/s each',
  async run(bench) {
    const mock = await startSocketMock(bench.cores?.rest, CHUNKS_PER_SECOND)
    const notes: string[] = []
    try {
      return await withStarted(streaming(bench, notes), mock.port, async (started) => {
        const found = new Map<string, ChunkCost[]>()
        for (let round = 0; round < bench.rounds; round++) {
          bench.tell(`${STREAMS} streams, round ${round + 1}`)
          for (const { name, running } of started) {
            found.set(name, [...(found.get(name) ?? []), await costOfChunks(running, bench)])
          }
        }
        const of = (name: string, column: keyof ChunkCost): number =>
          median((found.get(name) ?? []).map((cost) => cost[column]))
        const bare = of('bare undici proxy', 'serverUs')
        return {
          tables: [
            {
              title: `${STREAMS} streams, ${CHUNKS_PER_SECOND} chunks/s each`,
              columns: ['', 'server CPU µs/chunk', 'PostgreSQL CPU µs/chunk', 'chunks/s', '× bare proxy'],
              rows: [...found.keys()].map((name) => [
                name,
                of(name, 'serverUs').toFixed(1),
                of(name, 'databaseUs') > 0 ? of(name, 'databaseUs').toFixed(1) : '–',
                Math.round(of(name, 'chunksPerSecond')).toLocaleString('en'),
                (of(name, 'serverUs') / bare).toFixed(2),
              ]),
            },
          ],
          figures: { chunkUs: of(MESH, 'serverUs'), timesBare: of(MESH, 'serverUs') / bare },
          notes,
        }
      })
    } finally {
      await mock.program.stop()
    }
  },
}

async function costOfChunks(running: Running, { seconds }: Bench): Promise<ChunkCost> {
  const streams = openStreams(running)
  try {
    await streams.open(STREAMS)
    await pause(SETTLING_MS)
    const pids = [running.serverPids(), running.databasePids()] as const
    const before = [cpuMicroseconds(pids[0]), cpuMicroseconds(pids[1]), streams.chunks()] as const
    const startedAtMs = performance.now()
    await pause(seconds * 1_000)
    const chunks = streams.chunks() - before[2]
    return {
      serverUs: (cpuMicroseconds(pids[0]) - before[0]) / chunks,
      databaseUs: (cpuMicroseconds(pids[1]) - before[1]) / chunks,
      chunksPerSecond: (chunks * 1_000) / (performance.now() - startedAtMs),
    }
  } finally {
    streams.close()
    // Those who left are settled before anybody else is measured.
    await pause(SETTLING_MS)
  }
}

const FEW = 500
const MANY = 2_000
const SLOW_CHUNKS_PER_SECOND = 1
const GIGABYTE = 1_000_000_000

/** What an open stream takes of memory, by the slope between few and many. */
export const streamMemory: Part = {
  name: 'stream-memory',
  meaning: 'memory of an open stream, by the slope from 500 to 2,000',
  async run(bench) {
    const mock = await startSocketMock(bench.cores?.rest, SLOW_CHUNKS_PER_SECOND)
    const notes: string[] = []
    const rows: string[][] = []
    const figures: Record<string, number> = {}
    try {
      for (const subject of streaming(bench, notes)) {
        bench.tell(`memory of open streams: ${subject.name}`)
        await withStarted([subject], mock.port, async ([started]) => {
          if (!started) return
          const slope = await bytesPerStream(started.running)
          const perGigabyte = Math.floor(GIGABYTE / slope)
          rows.push([started.name, (slope / 1_000).toFixed(1), perGigabyte.toLocaleString('en')])
          if (started.name === MESH) figures.streamsPerGigabyte = perGigabyte
        })
      }
    } finally {
      await mock.program.stop()
    }
    const title = `Resident memory of the server, ${FEW} to ${MANY.toLocaleString('en')} open streams`
    return { tables: [{ title, columns: ['', 'KB a stream', 'streams a GB'], rows }], figures, notes }
  },
}

async function bytesPerStream(running: Running): Promise<number> {
  const streams = openStreams(running)
  const resident = async (): Promise<number> => {
    await pause(2 * SETTLING_MS)
    return running.serverPids().reduce((sum, pid) => sum + residentBytes(pid), 0)
  }
  try {
    await streams.open(FEW)
    const few = await resident()
    await streams.open(MANY - FEW)
    return ((await resident()) - few) / (MANY - FEW)
  } finally {
    streams.close()
  }
}

function streaming(bench: Bench, notes: string[]): Subject[] {
  return subjectsOf(bench, notes).filter(({ name }) => {
    const fails = name.startsWith('Portkey')
    if (fails) notes.push(`${name} was skipped: it answers every streamed call with 500 here.`)
    return !fails
  })
}
