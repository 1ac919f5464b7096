import type { ServerResponse } from 'node:http'
import type { Candidate } from '@mesh/engine/plan.ts'
import type { Sink } from '@mesh/engine/run-outcome.ts'

export interface HttpSinkOptions {
  /** Headers of a streamed answer; `served` is absent when a keep-alive must leave before an endpoint has answered. */
  readonly headers: (served: Candidate | undefined) => Readonly<Record<string, string>>
  /** How long the reader may take nothing while bytes wait for it. */
  readonly readerStallMs: number
}

/** The reader is gone, or took nothing for too long. Nothing more can be written. */
export class ReaderGone extends Error {
  override readonly name = 'ReaderGone'
}

/**
 * An HTTP response as a call's sink. It writes to the raw response: web streams on this path cost several times the
 * CPU and memory. A write that the socket cannot take at once waits for the reader, so memory stays bounded.
 */
export class HttpSink implements Sink {
  readonly #response: ServerResponse
  readonly #options: HttpSinkOptions

  constructor(response: ServerResponse, options: HttpSinkOptions) {
    this.#response = response
    this.#options = options
  }

  get headSent(): boolean {
    return this.#response.headersSent
  }

  head(served?: Candidate): void {
    if (this.#response.headersSent) return
    this.#response.writeHead(200, {
      ...this.#options.headers(served),
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache, no-transform',
      'x-accel-buffering': 'no',
    })
    this.#response.flushHeaders()
  }

  async write(bytes: Uint8Array | string): Promise<void> {
    if (this.#response.destroyed || this.#response.writableEnded) throw new ReaderGone()
    if (!this.#response.write(bytes)) await this.#drained()
  }

  /** Sends the last bytes of a stream. */
  end(text: string): void {
    if (!this.#response.destroyed) this.#response.end(text)
  }

  /** Sends a whole answer: what a caller gets who did not ask for a stream, or an error before any stream. */
  answer(status: number, headers: Readonly<Record<string, string>>, body: string): void {
    if (this.#response.destroyed) return
    this.#response.writeHead(status, {
      ...headers,
      'content-type': 'application/json; charset=utf-8',
      'content-length': Buffer.byteLength(body),
    })
    this.#response.end(body)
  }

  #drained(): Promise<void> {
    const response = this.#response
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const timer = setTimeout(() => {
      reject(new ReaderGone())
      response.destroy()
    }, this.#options.readerStallMs)
    const onDrain = (): void => resolve()
    const onClose = (): void => reject(new ReaderGone())
    response.once('drain', onDrain)
    response.once('close', onClose)
    return promise.finally(() => {
      clearTimeout(timer)
      response.off('drain', onDrain)
      response.off('close', onClose)
    })
  }
}
