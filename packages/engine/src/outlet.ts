import type { Cancel, Clock } from './clock.ts'
import type { Candidate } from './plan.ts'
import type { Sink } from './run-outcome.ts'

export const KEEP_ALIVE_COMMENT = ': MESH PROCESSING\n\n'
/** Callers are promised a comment every ten seconds; the rest is room for a busy event loop. */
const KEEP_ALIVE_MS = 8_000

export interface OutletInput {
  readonly sink: Sink
  /** Whether the caller streams. A caller who does not gets nothing through here. */
  readonly stream: boolean
  readonly clock: Clock
  /** Aborted when the reader leaves. */
  readonly signal: AbortSignal
}

/** The way out to a caller who streams: the head before the first byte, comments while nothing flows. */
export class Outlet {
  readonly #input: OutletInput
  #isHeadSent = false
  #isLeft = false
  #lastWriteAtMs: number
  /** Ends the wait of the write that is under way. */
  #releaseWriter: (() => void) | undefined
  #isCommenting = false
  #whenLeft: (() => void) | undefined
  #cancelKeepAlive: Cancel = () => {}
  readonly #onAbort = (): void => this.leave()

  constructor(input: OutletInput) {
    this.#input = input
    this.#lastWriteAtMs = input.clock.monotonic()
    if (input.signal.aborted) this.#isLeft = true
    else input.signal.addEventListener('abort', this.#onAbort, { once: true })
    if (input.stream && !this.#isLeft) this.#keepAlive()
  }

  /** Whether the reader is gone, or could not keep up. */
  get isLeft(): boolean {
    return this.#isLeft
  }

  /** Sends the head, unless a keep-alive had to send it before. */
  open(served: Candidate): void {
    if (this.#input.stream && !this.#isLeft) this.#sendHead(served)
  }

  /** Calls `task` when the reader leaves. The newest task replaces the one before. */
  whenLeft(task: () => void): void {
    this.#whenLeft = task
  }

  /** Resolves when the reader can take more, or is gone. Never rejects. One write at a time. */
  write(text: string): Promise<void> {
    if (!this.#input.stream || this.#isLeft || text === '') return Promise.resolve()
    this.#lastWriteAtMs = this.#input.clock.monotonic()
    return new Promise((resolve) => {
      this.#releaseWriter = () => {
        this.#releaseWriter = undefined
        resolve()
      }
      this.#input.sink.write(text).then(this.#releaseWriter, this.#onAbort)
    })
  }

  /** Nothing is written any more; whoever waits for the reader goes on. */
  leave(): void {
    if (this.#isLeft) return
    this.#isLeft = true
    this.close()
    this.#whenLeft?.()
    this.#releaseWriter?.()
  }

  /** Ends the keep-alive. What follows on the sink is not this outlet's. */
  close(): void {
    this.#cancelKeepAlive()
    this.#input.signal.removeEventListener('abort', this.#onAbort)
  }

  #keepAlive(): void {
    const { clock } = this.#input
    const quietMs = clock.monotonic() - this.#lastWriteAtMs
    if (quietMs >= KEEP_ALIVE_MS) this.#comment()
    const delayMs = quietMs < KEEP_ALIVE_MS ? KEEP_ALIVE_MS - quietMs : KEEP_ALIVE_MS
    this.#cancelKeepAlive = clock.schedule(delayMs, () => this.#keepAlive())
  }

  /** A reader who has not taken the last bytes needs no more of them. */
  #comment(): void {
    if (this.#releaseWriter || this.#isCommenting) return
    this.#sendHead()
    this.#isCommenting = true
    this.#lastWriteAtMs = this.#input.clock.monotonic()
    this.#input.sink.write(KEEP_ALIVE_COMMENT).then(() => {
      this.#isCommenting = false
    }, this.#onAbort)
  }

  #sendHead(served?: Candidate): void {
    if (this.#isHeadSent) return
    this.#isHeadSent = true
    this.#input.sink.head(served)
  }
}
