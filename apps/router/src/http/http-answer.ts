import type { ServerResponse } from 'node:http'
import type { Candidate } from '@mesh/engine/plan.ts'
import type { Answer } from '../call/answer.ts'

/** The reader is gone, or was cut off. Nothing more can be written. */
class ReaderGone extends Error {
  override readonly name = 'ReaderGone'
}

/** A large body goes in parts of this size, so that it can be seen how fast it is taken. */
const PART_BYTES = 16_384

/**
 * An HTTP response as the way back to a caller. It writes to the raw response: web streams on this path cost several
 * times the CPU and memory. A write that the socket cannot take at once waits for the reader, so memory stays bounded;
 * the server cuts off who reads too slowly (`cutSlowReaders`).
 */
export class HttpAnswer implements Answer {
  readonly #response: ServerResponse
  #isWhole = false
  #headers: Readonly<Record<string, string>>
  #headHeadersFor: (served: Candidate | undefined) => Readonly<Record<string, string>> = () => ({})

  /** `headers` are those that every answer carries (request id, CORS). */
  constructor(response: ServerResponse, headers: Readonly<Record<string, string>>) {
    this.#response = response
    this.#headers = headers
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

  write(bytes: Uint8Array | string): Promise<void> | undefined {
    if (!this.#isOpen) return Promise.reject(new ReaderGone())
    return this.#response.write(bytes) ? undefined : this.#drained()
  }

  end(text: string): void {
    if (this.#isOpen) this.#response.end(text)
  }

  whole(status: number, body: string): void {
    if (!this.#isOpen) return
    this.#isWhole = true
    const length = Buffer.byteLength(body)
    this.#response.writeHead(status, {
      ...this.#headers,
      'content-type': 'application/json; charset=utf-8',
      'content-length': length,
    })
    if (length <= PART_BYTES) this.#response.end(body)
    // All is charged and said by now: nobody has to hear that the reader left within.
    else this.#endInParts(Buffer.from(body)).catch(() => {})
  }

  async #endInParts(bytes: Buffer): Promise<void> {
    let sent = 0
    for (; sent + PART_BYTES < bytes.length; sent += PART_BYTES) {
      if (!this.#response.write(bytes.subarray(sent, sent + PART_BYTES))) await this.#drained()
    }
    this.#response.end(bytes.subarray(sent))
  }

  /** Whether anybody listens, and neither the end nor a whole answer has been sent. */
  get #isOpen(): boolean {
    return !this.#response.destroyed && !this.#response.writableEnded && !this.#isWhole
  }

  #drained(): Promise<void> {
    const response = this.#response
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const onDrain = (): void => resolve()
    const onClose = (): void => reject(new ReaderGone())
    response.once('drain', onDrain)
    response.once('close', onClose)
    return promise.finally(() => {
      response.off('drain', onDrain)
      response.off('close', onClose)
    })
  }
}
