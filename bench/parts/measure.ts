import type { LoadResult } from '../load/load.ts'
import { cpuMicroseconds } from '../machine/process-tree.ts'
import type { Running } from '../subjects/subject.ts'

/** A measurement of a subject under load. */
export interface Measured extends LoadResult {
  readonly callsPerSecond: number
  readonly serverUs: number
  readonly databaseUs: number
}

/** Runs a load and takes the CPU that each of its calls cost. */
export async function measure(running: Running, load: () => Promise<LoadResult>): Promise<Measured> {
  const [serverPids, databasePids] = [running.serverPids(), running.databasePids()]
  const before = [cpuMicroseconds(serverPids), cpuMicroseconds(databasePids)] as const
  const result = await load()
  const { calls, seconds } = result
  return {
    ...result,
    callsPerSecond: calls / seconds,
    serverUs: (cpuMicroseconds(serverPids) - before[0]) / calls,
    databaseUs: (cpuMicroseconds(databasePids) - before[1]) / calls,
  }
}
