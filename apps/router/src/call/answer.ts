import type { Candidate } from '@mesh/engine/plan.ts'
import type { Sink } from '@mesh/engine/run-outcome.ts'

/** The way back to a caller: a stream, or one whole answer. An HTTP response, or a sealed one. */
export interface Answer extends Sink {
  /** Whether the status line has left, so that only the stream itself can still carry an error. */
  readonly headSent: boolean
  /** Headers that a stream's head or a whole answer will carry. Set before the first byte. */
  setHeaders(headers: Readonly<Record<string, string>>): void
  /** Headers of a stream's head, by who answers; `undefined` where a keep-alive leaves before that is known. */
  setHeadHeaders(headersFor: (served: Candidate | undefined) => Readonly<Record<string, string>>): void
  /** Sends the last bytes of a stream. Once an answer has ended, nothing more is sent. */
  end(text: string): void
  /** Sends a whole answer. */
  whole(status: number, body: string): void
}
