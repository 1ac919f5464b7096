import type { Failure } from './failure.ts'
import type { Protocol, ResponseHeaders } from './protocol.ts'

/** How much of an error's body is read to classify it. */
export const CLASSIFIED_BYTES_MAX = 64 * 1024

/** A response that is no answer: its status, and as much of its body as it takes to say why. */
export class Refusal {
  readonly #protocol: Protocol
  readonly #status: number
  readonly #headers: ResponseHeaders
  readonly #decoder = new TextDecoder()
  #body = ''
  #bytes = 0

  constructor(protocol: Protocol, status: number, headers: ResponseHeaders) {
    this.#protocol = protocol
    this.#status = status
    this.#headers = headers
  }

  /** Whether no more of the body is wanted. */
  get isFull(): boolean {
    return this.#bytes >= CLASSIFIED_BYTES_MAX
  }

  push(bytes: Uint8Array): void {
    const taken = bytes.subarray(0, CLASSIFIED_BYTES_MAX - this.#bytes)
    this.#bytes += taken.length
    this.#body += this.#decoder.decode(taken, { stream: true })
  }

  /** What the protocol makes of it, with as much of the body as has come. */
  classify(): Failure {
    return this.#protocol.classify(this.#status, this.#headers, this.#body + this.#decoder.decode())
  }
}
