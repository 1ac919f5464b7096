/**
 * Notices when the clock of the database was set: it then moved otherwise than this process's own time did. What has
 * expired by a clock that was just set forward is not dead, for its owner had no time to renew it.
 */
export class ClockWatch {
  readonly #toleranceMs: number
  readonly #graceMs: number
  #last: { readonly clockMs: number; readonly monotonicMs: number } | undefined
  #unsteadyUntilMs = Number.NEGATIVE_INFINITY

  /** `toleranceMs`: what two looks may differ by. `graceMs`: how long after a jump everybody has had time to renew. */
  constructor({ toleranceMs, graceMs }: { readonly toleranceMs: number; readonly graceMs: number }) {
    this.#toleranceMs = toleranceMs
    this.#graceMs = graceMs
  }

  /** Takes the database's time and, at the same moment, one that never jumps. */
  isSteady(clockMs: number, monotonicMs: number): boolean {
    const last = this.#last ?? { clockMs, monotonicMs }
    this.#last = { clockMs, monotonicMs }
    const jumpMs = Math.abs(clockMs - last.clockMs - (monotonicMs - last.monotonicMs))
    if (jumpMs > this.#toleranceMs) this.#unsteadyUntilMs = monotonicMs + this.#graceMs
    return monotonicMs >= this.#unsteadyUntilMs
  }
}
