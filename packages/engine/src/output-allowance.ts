import type { Budget } from './run-outcome.ts'

/**
 * How much a call may still say: its hold, widened ahead of need. It lives as long as the call; `setCeiling` tells it
 * what the endpoint of the present attempt can produce at most.
 *
 * The next slice is asked for when less than half a slice is left, while the answer goes on. Only when nothing is
 * left does the answer wait for it. After a refusal it asks once more, when nothing is left; refused again, the answer
 * is cut. A rejection counts as a refusal: the books could not be reached in time.
 */
export class OutputAllowance {
  readonly #budget: Budget
  readonly #sliceTokens: number
  #heldTokens: number
  #possibleTokens = 0
  #asking: Promise<void> | undefined
  #refused = false

  constructor(budget: Budget, sliceTokens: number) {
    this.#budget = budget
    this.#sliceTokens = sliceTokens
    this.#heldTokens = budget.outputTokensHeld
  }

  get heldTokens(): number {
    return this.#heldTokens
  }

  /** Names the most output that the upstream can produce. Where it is held whole, no answer is ever cut. */
  setCeiling(outputTokensPossible: number): void {
    this.#possibleTokens = outputTokensPossible
  }

  /** Whether everything that the upstream can produce is held. */
  get holdsEverything(): boolean {
    return this.#heldTokens >= this.#possibleTokens
  }

  /** Whether this much output is held. A promise where the answer has to wait to learn it. */
  covers(outputTokens: number): boolean | Promise<boolean> {
    if (this.holdsEverything) return true
    const isLow = outputTokens + this.#sliceTokens / 2 > this.#heldTokens
    if (isLow && !this.#asking && !this.#refused) this.#ask(outputTokens)
    return outputTokens <= this.#heldTokens ? true : this.#coversAtLast(outputTokens)
  }

  /**
   * Holds as much of this output as balance and limits carry, before it is asked for: for a provider that must be told a
   * cap. What is refused here is no refusal of a slice later. `undefined` where there is nothing to wait for.
   */
  reach(outputTokens: number): Promise<void> | undefined {
    const wanted = Math.min(this.#budget.outputTokensCap, outputTokens)
    return wanted > this.#heldTokens ? this.#reach(wanted) : undefined
  }

  async #reach(wanted: number): Promise<void> {
    await this.#asking
    const refused = this.#refused
    this.#asking = this.#extend(wanted).finally(() => {
      this.#asking = undefined
    })
    await this.#asking
    this.#refused = refused
  }

  /** Resolves when no extension is under way: the call must not be settled while one is. */
  async settled(): Promise<void> {
    await this.#asking
  }

  async #coversAtLast(outputTokens: number): Promise<boolean> {
    await this.#asking
    if (!this.#isCovered(outputTokens)) {
      this.#ask(outputTokens)
      await this.#asking
    }
    return this.#isCovered(outputTokens)
  }

  #isCovered(outputTokens: number): boolean {
    return this.holdsEverything || outputTokens <= this.#heldTokens
  }

  #ask(outputTokens: number): void {
    const most = Math.min(this.#budget.outputTokensCap, this.#possibleTokens)
    const wanted = Math.min(most, Math.max(outputTokens, this.#heldTokens) + this.#sliceTokens)
    if (wanted <= this.#heldTokens) return
    this.#asking = this.#extend(wanted).finally(() => {
      this.#asking = undefined
    })
  }

  async #extend(wanted: number): Promise<void> {
    const before = this.#heldTokens
    const held = await this.#budget.extend(wanted).catch(() => before)
    this.#heldTokens = Math.max(before, held)
    this.#refused = this.#heldTokens === before
  }
}
