import type { Cancel, Clock } from './clock.ts'
import type { Candidate } from './plan.ts'
import type { Sink } from './run-outcome.ts'

export const KEEP_ALIVE_COMMENT = ': MESH PROCESSING\n\n'
/** Callers are promised a comment every ten seconds; the rest is room for a busy event loop. */
const KEEP_ALIVE_MS = 8_000
/** A long text is written in parts of about this many characters, so that a reader is waited for in between. */
const PART_CHARACTERS = 16_384
const EVENT_END = '\n\n'
const TAKEN = Promise.resolve()

export interface OutletInput {
  readonly sink: Sink
  /** Whether the caller streams. A caller who does not gets nothing through here. */
  readonly stream: boolean
  readonly clock: Clock
  /** Aborted when the reader leaves. */
  readonly signal: AbortSignal
  /** When the call must have ended, by the clock: from then on no reader is waited for. */
  readonly deadlineAtMs: number
}

/** The way out to a caller who streams: the head before the first byte, comments while nothing flows. */
export class Outlet {
  readonly #input: OutletInput
  #isHeadSent = false
  #isLeft = false
  #isOverdue = false
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

  /** Resolves when the reader can take more, is gone, or is waited for no longer. Never rejects. One write at a time. */
  write(text: string): Promise<void> {
    if (!this.#input.stream || text === '') return Promise.resolve()
    return text.length <= PART_CHARACTERS ? this.#writePart(text) : this.#writeInParts(text)
  }

  /** Who leaves in between has whole events, so that an error can still follow them. */
  async #writeInParts(text: string): Promise<void> {
    for (let from = 0; from < text.length && !this.#isLeft; ) {
      const to = endOfPart(text, from)
      await this.#writePart(text.slice(from, to))
      from = to
    }
  }

  #writePart(text: string): Promise<void> {
    if (this.#isLeft) return Promise.resolve()
    this.#lastWriteAtMs = this.#input.clock.monotonic()
    const written = this.#input.sink.write(text)
    if (written === undefined) return TAKEN
    if (this.#isOverdue) {
      written.catch(this.#onAbort)
      return Promise.resolve()
    }
    return new Promise((resolve) => {
      this.#releaseWriter = () => {
        this.#releaseWriter = undefined
        resolve()
      }
      written.then(this.#releaseWriter, this.#onAbort)
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
    const { clock, deadlineAtMs } = this.#input
    const nowMs = clock.monotonic()
    if (nowMs >= deadlineAtMs) {
      this.#isOverdue = true
      this.#releaseWriter?.()
      return
    }
    const quietMs = nowMs - this.#lastWriteAtMs
    if (quietMs >= KEEP_ALIVE_MS) this.#comment()
    const delayMs = quietMs < KEEP_ALIVE_MS ? KEEP_ALIVE_MS - quietMs : KEEP_ALIVE_MS
    this.#cancelKeepAlive = clock.schedule(Math.min(delayMs, deadlineAtMs - nowMs), () => this.#keepAlive())
  }

  /** A reader who has not taken the last bytes needs no more of them. */
  #comment(): void {
    if (this.#releaseWriter || this.#isCommenting) return
    this.#sendHead()
    this.#lastWriteAtMs = this.#input.clock.monotonic()
    const written = this.#input.sink.write(KEEP_ALIVE_COMMENT)
    if (written === undefined) return
    this.#isCommenting = true
    written.then(() => {
      this.#isCommenting = false
    }, this.#onAbort)
  }

  #sendHead(served?: Candidate): void {
    if (this.#isHeadSent) return
    this.#isHeadSent = true
    this.#input.sink.head(served)
  }
}

/** Where the part that begins at `from` ends: after the last whole event within its size, or the first one beyond it. */
function endOfPart(text: string, from: number): number {
  const most = from + PART_CHARACTERS
  if (most >= text.length) return text.length
  const last = text.lastIndexOf(EVENT_END, most - EVENT_END.length)
  if (last > from) return last + EVENT_END.length
  const next = text.indexOf(EVENT_END, most)
  return next < 0 ? text.length : next + EVENT_END.length
}
