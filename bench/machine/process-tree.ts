import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'

/** Ticks of `/proc/PID/stat` a second: `getconf CLK_TCK`. */
const TICKS_PER_SECOND = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }))
/** Places in `/proc/PID/stat` behind the name, which may hold spaces: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html */
const PARENT = 1
const USER_TICKS = 11
const SYSTEM_TICKS = 12

/** A process and all that descend from it. A process that ends meanwhile counts for nothing. */
export function treeOf(pid: number): number[] {
  const children = new Map<number, number[]>()
  for (const entry of readdirSync('/proc')) {
    const id = Number(entry)
    const parent = Number.isInteger(id) ? Number(statOf(id)?.[PARENT]) : Number.NaN
    if (Number.isNaN(parent)) continue
    children.set(parent, [...(children.get(parent) ?? []), id])
  }
  const found = [pid]
  for (const each of found) found.push(...(children.get(each) ?? []))
  return found
}

/** CPU time that processes have used so far, in microseconds, to the nearest tick (10 ms). */
export function cpuMicroseconds(pids: readonly number[]): number {
  const ticks = pids.map(statOf).reduce((sum, stat) => {
    return sum + Number(stat?.[USER_TICKS] ?? 0) + Number(stat?.[SYSTEM_TICKS] ?? 0)
  }, 0)
  return (ticks * 1_000_000) / TICKS_PER_SECOND
}

/** Resident memory of a process, in bytes. */
export function residentBytes(pid: number): number {
  return kilobytes(readFileSync(`/proc/${pid}/status`, 'utf8'), 'VmRSS') * 1024
}

/** Memory of processes with what they share counted once, in bytes. */
export function proportionalBytes(pids: readonly number[]): number {
  const each = pids.map((pid) => kilobytes(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'), 'Pss'))
  return each.reduce((sum, size) => sum + size, 0) * 1024
}

function kilobytes(text: string, name: string): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? Number.NaN)
}

/** What follows the name, from the state on. */
function statOf(pid: number): string[] | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return text.slice(text.lastIndexOf(')') + 2).split(' ')
  } catch {
    return undefined
  }
}
