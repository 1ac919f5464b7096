/** How many calls may run at one provider at once, from one router. */
export interface SlotPolicy {
  readonly slotsMax: number
  /** The most of them that one account may take, as a share from 0 to 1. At least one slot is everybody's. */
  readonly accountShare: number
}

/**
 * A provider's places for running calls, shared between accounts: none takes more than its share, so there is room
 * for others however long one account's calls run.
 */
export class ProviderSlots {
  #taken = 0
  readonly #takenBy = new Map<string, number>()

  get taken(): number {
    return this.#taken
  }

  /** Takes a place, or returns `false` where there is none for this account. What is taken is given back once. */
  take(account: string, { slotsMax, accountShare }: SlotPolicy): boolean {
    const own = this.#takenBy.get(account) ?? 0
    if (this.#taken >= slotsMax || own >= Math.max(1, Math.floor(slotsMax * accountShare))) return false
    this.#taken++
    this.#takenBy.set(account, own + 1)
    return true
  }

  giveBack(account: string): void {
    const own = (this.#takenBy.get(account) ?? 1) - 1
    this.#taken--
    if (own === 0) this.#takenBy.delete(account)
    else this.#takenBy.set(account, own)
  }
}
