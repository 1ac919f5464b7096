import type { Bench } from '../part.ts'
import { meshRouter } from '../subjects/mesh.ts'
import type { Running, Subject } from '../subjects/subject.ts'

/** A subject that runs. */
export interface Started {
  readonly name: string
  readonly running: Running
}

/** The name of what all others are compared with. */
export const MESH = 'MESH, everything on'

/** The others and MESH, as far as they are here; what is not is named in the notes. */
export function subjectsOf(bench: Bench, notes: string[]): Subject[] {
  const subjects: Subject[] = []
  for (const other of bench.others) {
    if ('why' in other) notes.push(`${other.name} was skipped: ${other.why}.`)
    else subjects.push(other)
  }
  return [...subjects, meshRouter({ cores: bench.cores, name: MESH })]
}

/** Starts all of them, hands them over, and stops them whatever happens. */
export async function withStarted<Result>(
  subjects: readonly Subject[],
  upstreamPort: number,
  use: (started: readonly Started[]) => Promise<Result>,
): Promise<Result> {
  const started: Started[] = []
  try {
    for (const subject of subjects) {
      started.push({ name: subject.name, running: await subject.start(upstreamPort) })
    }
    return await use(started)
  } finally {
    for (const { running } of started) await running.stop()
  }
}
