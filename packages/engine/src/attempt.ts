import type { Cancel, Clock } from './clock.ts'
import type { Failure } from './failure.ts'
import type { AnswerBounds, Decoder, Protocol, ResponseHeaders } from './protocol.ts'
import { Refusal } from './refusal.ts'
import { isOutput, type StreamEvent } from './stream-event.ts'
import type { Exchange, Receiver, Transport, UpstreamRequest } from './transport.ts'

export interface AttemptLimits {
  /** Until there is a connection. */
  readonly connectTimeoutMs: number
  /** From the request to the head of a streamed answer. */
  readonly firstByteTimeoutMs: number
  /** Between two chunks of an answer, not counting the time in which we took none; and for all of a refusal's body. */
  readonly idleTimeoutMs: number
  /**
   * From the request to the first output of a streamed answer, and between two outputs, however many bytes come that
   * carry none: pings, comments, empty deltas. Time in which we took nothing does not count.
   */
  readonly outputTimeoutMs: number
  readonly answer: AnswerBounds
}

export interface AttemptInput {
  readonly transport: Transport
  readonly request: UpstreamRequest
  readonly protocol: Protocol
  /** Whether the upstream was asked to stream. */
  readonly stream: boolean
  readonly clock: Clock
  readonly limits: AttemptLimits
  /** When the whole call must have ended, by the clock. */
  readonly deadlineAtMs: number
}

/** How an attempt ended. `complete`: the protocol's terminal event came. `stopped`: we ended it. */
export type AttemptEnd =
  | { readonly type: 'complete' }
  | { readonly type: 'failed'; readonly failure: Failure }
  | { readonly type: 'stopped' }

/** What an attempt has to tell: what the upstream said since the last step (nothing, after `wake`), or its end. */
export type Step =
  | { readonly type: 'events'; readonly events: readonly StreamEvent[] }
  | { readonly type: 'ended'; readonly end: AttemptEnd }

/** Chunks that nobody has taken yet, in bytes: beyond it the upstream is paused. */
const UNTAKEN_BYTES_MAX = 64 * 1024
/** After the terminal event the connection has this long to end by itself, so that it can be used again. */
const LINGER_MS = 1_000
/** A whole answer, from its first byte to its last, may take half of what is left, so that others may try. */
const UNSTREAMED_SHARE_OF_DEADLINE = 0.5

/**
 * One request to one endpoint, from its dispatch to its end, read step by step with `next`. It decodes, watches the
 * clock and pauses the upstream when nobody takes what comes; it knows nothing of callers, holds and other attempts.
 */
export class UpstreamAttempt implements Receiver {
  readonly #input: AttemptInput
  readonly #decoder: Decoder
  #exchange: Exchange | undefined
  #isSent = false
  #isAccepted = false
  #whenAccepted: (() => void) | undefined
  #isPaused = false
  #isOver = false
  #isAwake = false
  #heardAnything = false
  #events: StreamEvent[] = []
  #untakenBytes = 0
  #refusal: Refusal | undefined
  #end: AttemptEnd | undefined
  #deliver: ((step: Step) => void) | undefined
  /** The time-out that runs now, and since when. */
  #timeout: Timeout
  #quietSinceMs: number
  /** How long it may go on without output, and since when it does: from the moment that the request was sent. */
  #outputTimeoutMs = Number.POSITIVE_INFINITY
  #noOutputSinceMs = 0
  #heardOutput = false
  #cancelTimer: Cancel = () => {}
  #timerAtMs = Number.POSITIVE_INFINITY

  constructor(input: AttemptInput) {
    this.#input = input
    this.#decoder = input.protocol.decoder(input.limits.answer)
    this.#quietSinceMs = input.clock.monotonic()
    this.#timeout = {
      afterMs: input.limits.connectTimeoutMs,
      failure: { outcome: 'not_dispatched', reason: 'connect_timeout' },
    }
    const exchange = input.transport.send(input.request, this)
    this.#exchange = exchange
    // The transport may have been heard before it returned.
    if (this.#isOver) exchange.abort()
    else if (this.#isPaused) exchange.pause()
    if (!this.#end) this.#watch()
  }

  /** Whether the request began to leave. */
  get isSent(): boolean {
    return this.#isSent
  }

  /** Whether the provider said that it took the request: from here on it works, and bills. */
  get isAccepted(): boolean {
    return this.#isAccepted
  }

  /** Resolves with what came since the last step. One caller at a time. */
  next(): Promise<Step> {
    const step = this.#takeStep()
    if (step) return Promise.resolve(step)
    return new Promise((resolve) => {
      this.#deliver = resolve
    })
  }

  /** Lets `next` resolve though nothing came. */
  wake(): void {
    this.#isAwake = true
    this.#tell()
  }

  /** Drops the connection. What was said until now can still be taken. */
  stop(): void {
    this.#finish({ type: 'stopped' })
  }

  /** Calls `task` when the provider says that it took the request, at once where it has. */
  whenAccepted(task: () => void): void {
    if (this.#isAccepted) task()
    else this.#whenAccepted = task
  }

  onSent(): void {
    this.#isSent = true
    const { stream, limits, clock, deadlineAtMs } = this.#input
    const nowMs = clock.monotonic()
    const shareMs = (deadlineAtMs - nowMs) * UNSTREAMED_SHARE_OF_DEADLINE
    this.#outputTimeoutMs = stream ? limits.outputTimeoutMs : shareMs
    this.#noOutputSinceMs = nowMs
    this.#expect({
      afterMs: stream ? limits.firstByteTimeoutMs : shareMs,
      failure: { outcome: 'uncertain', reason: 'first_byte_timeout' },
    })
  }

  onHead(status: number, headers: ResponseHeaders): void {
    if (this.#end) return
    this.#expect({
      afterMs: this.#input.limits.idleTimeoutMs,
      failure: { outcome: 'uncertain', reason: 'idle_timeout' },
    })
    const isAnswer = status >= 200 && status < 300
    if (!isAnswer) {
      this.#refusal = new Refusal(this.#input.protocol, status, headers)
      return
    }
    this.#isAccepted = true
    this.#whenAccepted?.()
  }

  onChunk(bytes: Uint8Array): void {
    if (this.#end) return
    if (this.#refusal) {
      this.#refusal.push(bytes)
      if (this.#refusal.isFull) this.#fail(this.#refusal.classify())
      return
    }
    this.#quietSinceMs = this.#input.clock.monotonic()
    this.#take(this.#decoder.push(bytes))
    if (this.#events.length > 0) this.#holdBack(bytes.length)
    this.#tell()
  }

  onEnd(): void {
    if (this.#isClosed()) return
    if (this.#refusal) {
      this.#fail(this.#refusal.classify())
      return
    }
    this.#take(this.#decoder.end())
    if (!this.#end) this.#fail({ outcome: 'uncertain', reason: this.#heardAnything ? 'stream_cut' : 'empty' })
    this.#tell()
  }

  onFailure(failure: Failure): void {
    if (!this.#isClosed()) this.#fail(this.#refusal?.classify() ?? failure)
  }

  /** Notes that the connection is over; says whether the attempt had ended before it. */
  #isClosed(): boolean {
    this.#isOver = true
    if (this.#end) this.#cancelTimer()
    return this.#end !== undefined
  }

  #take(events: readonly StreamEvent[]): void {
    for (const event of events) {
      if (event.type === 'failure') this.#fail(event.failure)
      else if (event.type === 'end') this.#finish({ type: 'complete' })
      else this.#events.push(event)
    }
    if (events.some(isOutput)) {
      this.#heardOutput = true
      this.#noOutputSinceMs = this.#input.clock.monotonic()
    }
    this.#heardAnything ||= this.#events.length > 0
  }

  #fail(failure: Failure): void {
    this.#finish({ type: 'failed', failure })
  }

  #finish(end: AttemptEnd): void {
    if (this.#end) return
    this.#end = end
    this.#cancelTimer()
    if (end.type === 'complete') this.#letGo()
    else this.#drop()
    this.#tell()
  }

  /** Leaves the connection to its own end, for a while. */
  #letGo(): void {
    if (this.#isOver) return
    if (this.#isPaused) this.#exchange?.resume()
    this.#cancelTimer = this.#input.clock.schedule(LINGER_MS, () => this.#drop())
  }

  #drop(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#exchange?.abort()
  }

  #tell(): void {
    if (!this.#deliver) return
    const step = this.#takeStep()
    if (!step) return
    const deliver = this.#deliver
    this.#deliver = undefined
    deliver(step)
  }

  #takeStep(): Step | undefined {
    if (this.#events.length > 0 || (this.#isAwake && !this.#end)) {
      const events = this.#events
      this.#events = []
      this.#isAwake = false
      this.#takeMore()
      return { type: 'events', events }
    }
    return this.#end && { type: 'ended', end: this.#end }
  }

  #holdBack(bytes: number): void {
    this.#untakenBytes += bytes
    if (this.#untakenBytes <= UNTAKEN_BYTES_MAX || this.#isPaused) return
    this.#isPaused = true
    this.#exchange?.pause()
  }

  #takeMore(): void {
    this.#untakenBytes = 0
    if (!this.#isPaused) return
    this.#isPaused = false
    this.#quietSinceMs = this.#input.clock.monotonic()
    this.#noOutputSinceMs = this.#quietSinceMs
    if (!this.#isOver) this.#exchange?.resume()
  }

  #expect(timeout: Timeout): void {
    this.#timeout = timeout
    this.#quietSinceMs = this.#input.clock.monotonic()
    this.#watch()
  }

  /**
   * One timer an attempt: when it fires early, because bytes came or what is waited for has changed since it was set,
   * it is set again. It is set anew before that only where it would fire too late.
   */
  #watch(): void {
    if (this.#end) return
    const { clock, deadlineAtMs } = this.#input
    const nowMs = clock.monotonic()
    const byteDueAtMs = (this.#isPaused ? nowMs : this.#quietSinceMs) + this.#timeout.afterMs
    const outputDueAtMs = (this.#isPaused ? nowMs : this.#noOutputSinceMs) + this.#outputTimeoutMs
    const dueAtMs = Math.min(byteDueAtMs, outputDueAtMs, deadlineAtMs)
    if (nowMs < dueAtMs) {
      if (this.#timerAtMs <= dueAtMs) return
      this.#cancelTimer()
      this.#timerAtMs = dueAtMs
      this.#cancelTimer = clock.schedule(dueAtMs - nowMs, () => {
        this.#timerAtMs = Number.POSITIVE_INFINITY
        this.#watch()
      })
      return
    }
    this.#fail(this.#refusal?.classify() ?? this.#lateFailure(nowMs, byteDueAtMs))
  }

  #lateFailure(nowMs: number, byteDueAtMs: number): Failure {
    if (nowMs >= this.#input.deadlineAtMs) return deadlineFailure(this.#isSent)
    if (nowMs >= byteDueAtMs) return this.#timeout.failure
    return { outcome: 'uncertain', reason: this.#heardOutput ? 'idle_timeout' : 'first_byte_timeout' }
  }
}

interface Timeout {
  readonly afterMs: number
  readonly failure: Failure
}

function deadlineFailure(isSent: boolean): Failure {
  return { outcome: isSent ? 'uncertain' : 'not_dispatched', reason: 'deadline' }
}
