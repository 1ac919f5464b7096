import { spawnSync } from 'node:child_process'
import { availableParallelism, cpus } from 'node:os'

/** Which core runs what: a server under test has one for itself; load, mock and database share the other. */
export interface Cores {
  readonly server: number
  readonly rest: number
}

/** `undefined` where there is no `taskset` (macOS) or only one core: then the kernel decides, and the table says so. */
export function chooseCores(): Cores | undefined {
  if (availableParallelism() < 2) return undefined
  if (spawnSync('taskset', ['--version']).status !== 0) return undefined
  return { server: 0, rest: 1 }
}

/** Moves a process with all its threads; what it starts from then on goes along. */
export function pin(pid: number, core: number | 'all' | undefined): void {
  if (core === undefined) return
  const list = core === 'all' ? `0-${cpus().length - 1}` : String(core)
  spawnSync('taskset', ['-acp', list, String(pid)])
}

/** The machine in one line. */
export function describeMachine(): string {
  const processors = cpus()
  const model = processors[0]?.model.trim() ?? 'unknown processor'
  return `${processors.length} × ${model}, ${process.platform} ${process.arch}, Node ${process.versions.node}`
}
