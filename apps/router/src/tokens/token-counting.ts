import { Worker } from 'node:worker_threads'
import { MeshError } from '../errors.ts'
import type { AccountId } from '../ids.ts'
import type { TextCount } from './count-text.ts'
import type { CountAnswer, CountQuestion } from './count-thread.ts'
import type { EncodingName } from './encodings.ts'

export interface TokenCountingBounds {
  /** Texts that wait for the thread, all accounts together. */
  readonly waitingMax: number
  readonly waitingPerAccountMax: number
  /** How long one request is counted; what is left then is estimated. */
  readonly budgetMs: number
  /** How long the thread is kept when nobody asks. Its vocabularies take some hundred megabytes. */
  readonly idleMs: number
}

export const TOKEN_COUNTING_BOUNDS: TokenCountingBounds = {
  waitingMax: 64,
  waitingPerAccountMax: 4,
  budgetMs: 2_000,
  idleMs: 60_000,
}

interface Waiting {
  readonly accountId: AccountId
  readonly question: CountQuestion
  readonly resolve: (count: TextCount) => void
  readonly reject: (error: Error) => void
}

/**
 * Counts tokens in a thread of its own, one request after the other, in the order in which they came. The thread starts
 * when it is first asked and ends when nobody asks any more.
 */
export class TokenCounting {
  readonly #bounds: TokenCountingBounds
  readonly #waiting: Waiting[] = []
  #thread: Worker | undefined
  #idle: NodeJS.Timeout | undefined
  #serial = 0

  constructor(bounds: TokenCountingBounds = TOKEN_COUNTING_BOUNDS) {
    this.#bounds = bounds
  }

  /**
   * The tokens of all texts together.
   * @throws MeshError `too_many_concurrent` where the account has as many requests here as one may, `overloaded` where
   * there are as many as are taken.
   */
  count(accountId: AccountId, encoding: EncodingName, texts: readonly string[]): Promise<TextCount> {
    const { waitingMax, waitingPerAccountMax, budgetMs } = this.#bounds
    if (this.#waiting.length >= waitingMax) {
      throw new MeshError(
        'overloaded',
        'As many texts as can wait are being counted. Send the request again.',
      )
    }
    if (this.#waiting.filter((each) => each.accountId === accountId).length >= waitingPerAccountMax) {
      throw new MeshError(
        'too_many_concurrent',
        'This account has as many texts counted at once as one account may: wait until one of them is.',
        { metadata: { scope: 'account' } },
      )
    }
    this.#serial += 1
    const question = { id: this.#serial, encoding, texts, budgetMs }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ accountId, question, resolve, reject })
      if (this.#waiting.length === 1) this.#ask()
    })
  }

  async close(): Promise<void> {
    clearTimeout(this.#idle)
    await this.#thread?.terminate()
  }

  #ask(): void {
    clearTimeout(this.#idle)
    const [first] = this.#waiting
    if (first) this.#startedThread().postMessage(first.question)
    else this.#idle = setTimeout(() => this.#endIdleThread(), this.#bounds.idleMs).unref()
  }

  /** Its end takes a moment, and whoever asks meanwhile gets another one. */
  #endIdleThread(): void {
    const thread = this.#thread
    this.#thread = undefined
    void thread?.terminate()
  }

  #startedThread(): Worker {
    if (this.#thread) return this.#thread
    const thread = new Worker(new URL('./count-thread.ts', import.meta.url))
    thread.unref()
    thread.on('message', ({ tokens, isExact }: CountAnswer) => {
      this.#waiting.shift()?.resolve({ tokens, isExact })
      this.#ask()
    })
    thread.on('error', () => {})
    thread.on('exit', () => {
      if (this.#thread !== thread) return
      this.#thread = undefined
      // Whoever it was asked for last is told; the others are counted by the next thread.
      this.#waiting.shift()?.reject(new Error('the thread that counts tokens ended'))
      if (this.#waiting.length > 0) this.#ask()
    })
    this.#thread = thread
    return thread
  }
}
