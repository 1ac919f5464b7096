import { setTimeout as pause } from 'node:timers/promises'
import type pg from 'pg'
import { describeError, type Log } from '../log.ts'
import { postingFailure } from './posting-failure.ts'
import { keepRefused, type Settling } from './settlement-posting.ts'

const RETRY_MS = 1_000

/**
 * Settlements that the database refused for their own sake, on their way to the table where they are kept for people to
 * look at. Each is a charge that would be lost otherwise, so it is tried for as long as the router runs.
 */
export class RefusedSettlements {
  readonly #pool: Pick<pg.Pool, 'query'>
  readonly #log: Log
  readonly #closing = new AbortController()
  readonly #keeping = new Set<Promise<void>>()

  constructor(pool: Pick<pg.Pool, 'query'>, log: Log) {
    this.#pool = pool
    this.#log = log
  }

  /** Its hold is left to the reaper; what should have been posted is kept. */
  keep(settling: Settling, refusal: unknown): void {
    const { callId } = settling.settlement
    this.#log.error('a settlement was refused', { callId, ...describeError(refusal) })
    const keeping = this.#keep(settling).finally(() => this.#keeping.delete(keeping))
    this.#keeping.add(keeping)
  }

  /** Resolves when all are kept. */
  async kept(): Promise<void> {
    await Promise.all(this.#keeping)
  }

  close(): void {
    this.#closing.abort()
  }

  async #keep(settling: Settling): Promise<void> {
    const { callId } = settling.settlement
    const { signal } = this.#closing
    while (!signal.aborted) {
      try {
        await keepRefused(this.#pool, settling)
        return
      } catch (error) {
        this.#log.error('a refused settlement could not be kept', { callId, ...describeError(error) })
        if (postingFailure(error) === 'at_fault') return
        await pause(RETRY_MS, undefined, { signal }).catch(() => undefined)
      }
    }
  }
}
