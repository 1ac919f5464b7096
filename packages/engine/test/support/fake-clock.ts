import type { Clock } from '../../src/clock.ts'

/** Time that moves only when a test moves it. */
export interface FakeClock extends Clock {
  /** Moves time on, running what falls due in its order; whatever hangs on a timer has happened when it resolves. */
  advance(durationMs: number): Promise<void>
  /** How many timers are set. */
  readonly timerCount: number
}

export function fakeClock(startMs = 0): FakeClock {
  let nowMs = startMs
  const timers = new Set<{ readonly dueAtMs: number; readonly task: () => void }>()

  const nextDue = (untilMs: number) =>
    [...timers].filter(({ dueAtMs }) => dueAtMs <= untilMs).sort((a, b) => a.dueAtMs - b.dueAtMs)[0]

  return {
    get timerCount() {
      return timers.size
    },
    monotonic: () => nowMs,
    schedule(delayMs, task) {
      const timer = { dueAtMs: nowMs + Math.max(0, delayMs), task }
      timers.add(timer)
      return () => timers.delete(timer)
    },
    async advance(durationMs) {
      const untilMs = nowMs + durationMs
      await settled()
      for (let due = nextDue(untilMs); due; due = nextDue(untilMs)) {
        nowMs = Math.max(nowMs, due.dueAtMs)
        timers.delete(due)
        due.task()
        await settled()
      }
      nowMs = untilMs
    },
  }
}

/** Resolves when every promise that could go on has gone on. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
