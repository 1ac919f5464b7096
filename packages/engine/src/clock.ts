/** Where time and timers come from, so that tests can move time by hand. */
export interface Clock {
  /** Milliseconds from any fixed point, never going back. */
  monotonic(): number
  /** Runs `task` once, `delayMs` from now. Returns what takes it back. */
  schedule(delayMs: number, task: () => void): Cancel
}

export type Cancel = () => void

/** The machine's own time. */
export const systemClock: Clock = {
  monotonic: () => performance.now(),
  schedule(delayMs, task) {
    const timer = setTimeout(task, delayMs)
    return () => clearTimeout(timer)
  },
}
