import type { ServerResponse } from 'node:http'
import type { Candidate } from '@mesh/engine/plan.ts'
import type { Answer } from '../call/answer.ts'

/** The reader is gone, or took nothing for too long. Nothing more can be written. */
class ReaderGone extends Error {
  override readonly name = 'ReaderGone'
}

/**
 * An HTTP response as the way back to a caller. It writes to the raw response: web streams on this path cost several
 * times the CPU and memory. A write that the socket cannot take at once waits for the reader, so memory stays bounded.
 */
export class HttpAnswer implements Answer {
  readonly #response: ServerResponse
  readonly #readerStallMs: number
  #headers: Readonly<Record<string, string>>
  #headHeadersFor: (served: Candidate | undefined) => Readonly<Record<string, string>> = () => ({})

  /** `headers` are those that every answer carries (request id, CORS); `readerStallMs` bounds one wait for the reader. */
  constructor(response: ServerResponse, headers: Readonly<Record<string, string>>, readerStallMs: number) {
    this.#response = response
    this.#headers = headers
    this.#readerStallMs = readerStallMs
  }

  get headSent(): boolean {
    return this.#response.headersSent
  }

  setHeaders(headers: Readonly<Record<string, string>>): void {
    this.#headers = { ...this.#headers, ...headers }
  }

  setHeadHeaders(headersFor: (served: Candidate | undefined) => Readonly<Record<string, string>>): void {
    this.#headHeadersFor = headersFor
  }

  head(served?: Candidate): void {
    if (this.#response.headersSent || !this.#isOpen) return
    this.#response.writeHead(200, {
      ...this.#headers,
      ...this.#headHeadersFor(served),
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache, no-transform',
      'x-accel-buffering': 'no',
    })
    this.#response.flushHeaders()
  }

  async write(bytes: Uint8Array | string): Promise<void> {
    if (!this.#isOpen) throw new ReaderGone()
    if (!this.#response.write(bytes)) await this.#drained()
  }

  end(text: string): void {
    if (this.#isOpen) this.#response.end(text)
  }

  whole(status: number, body: string): void {
    if (!this.#isOpen) return
    this.#response.writeHead(status, {
      ...this.#headers,
      'content-type': 'application/json; charset=utf-8',
      'content-length': Buffer.byteLength(body),
    })
    this.#response.end(body)
  }

  /** Whether anybody listens, and the end has not been sent. */
  get #isOpen(): boolean {
    return !this.#response.destroyed && !this.#response.writableEnded
  }

  #drained(): Promise<void> {
    const response = this.#response
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const timer = setTimeout(() => {
      reject(new ReaderGone())
      response.destroy()
    }, this.#readerStallMs)
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
