import type { ErrorCode } from '../errors.ts'
import type { HttpObserver } from './http-observer.ts'

/** How much of one request's body is in memory. Disposing of it gives all of that back. */
export interface BodyShare extends Disposable {
  /** Says whether so many bytes more may be kept. */
  take(bytes: number): boolean
}

/**
 * The bytes of request bodies that one router has in memory at once, from their arrival until they are parsed. They
 * are counted as they come: a body that is only announced takes nothing from anybody.
 */
export class BodyBudget {
  readonly bytesMax: number
  #bytes = 0

  readonly #observer: Pick<HttpObserver, 'bodyRefused'> | undefined

  constructor(bytesMax: number, observer?: Pick<HttpObserver, 'bodyRefused'>) {
    this.bytesMax = bytesMax
    this.#observer = observer
  }

  /** What is in memory now. */
  get bytes(): number {
    return this.#bytes
  }

  /** Says that a body was refused, for want of room or for what it is. */
  refused(code: ErrorCode): void {
    this.#observer?.bodyRefused(code)
  }

  share(): BodyShare {
    let taken = 0
    return {
      take: (bytes) => {
        if (this.#bytes + bytes > this.bytesMax) return false
        this.#bytes += bytes
        taken += bytes
        return true
      },
      [Symbol.dispose]: () => {
        this.#bytes -= taken
        taken = 0
      },
    }
  }
}
