import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { isRunning } from '../../src/storage/postmaster.ts'
import { until } from './until.ts'

/** Every process whose parent is `pid`, whatever session or group it is in. */
export function childrenOf(pid: number): number[] {
  if (process.platform === 'linux') {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number)
  }
  return execFileSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' })
    .split('\n')
    .map((line) => line.trim().split(/\s+/).map(Number))
    .flatMap(([child, parent]) => (child !== undefined && parent === pid ? [child] : []))
}

/** `kill -9` of a process and its children, as when the plug is pulled. Resolves when all of them are gone. */
export async function killFamily(pid: number): Promise<void> {
  // Stopped first, so that no child is born between the look and the blow.
  process.kill(pid, 'SIGSTOP')
  const family = [pid, ...childrenOf(pid)]
  for (const each of family) killIfThere(each)
  await until(`process ${pid} and its children are gone`, () => !family.some(isRunning))
}

/** A child that notices the end of its parent may be gone by itself. */
function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error
  }
}
