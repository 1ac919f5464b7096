import { performance } from 'node:perf_hooks'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

const LOOK_MS = 1_000
/** The share of a second that a process without calls works. */
const IDLE_UTILIZATION_MAX = 0.05

/**
 * Gives back once, in the first second in which the process has next to nothing to do, what its start needed and nobody
 * needs any more: V8 leaves the young generation as large as a start made it, which is a third of what an idle router
 * takes. It grows again as calls need it. The collection stops the process for some tenths of a second, so no call may
 * be waiting for it.
 */
export function giveBackMemoryWhenIdle(): void {
  let before = performance.eventLoopUtilization()
  const timer = setInterval(() => {
    const now = performance.eventLoopUtilization()
    const { utilization } = performance.eventLoopUtilization(now, before)
    before = now
    if (utilization > IDLE_UTILIZATION_MAX) return
    clearInterval(timer)
    collect()
  }, LOOK_MS)
  timer.unref()
}

/** `gc` is there for those only who ask V8 for it: https://nodejs.org/api/v8.html#v8setflagsfromstringflags */
function collect(): void {
  setFlagsFromString('--expose-gc')
  const gc: unknown = runInNewContext('globalThis.gc')
  setFlagsFromString('--no-expose-gc')
  // Only a collection of last resort makes the young generation small again.
  if (typeof gc === 'function') gc({ type: 'major', execution: 'sync', flavor: 'last-resort' })
}
