import { pack, unpack } from './packing.ts'

/** A way to one other process. */
export interface Channel {
  /** Calls `done` with an error where the way is closed. */
  send(message: object, done: (error: Error | null) => void): void
  onMessage(listener: (message: unknown) => void): void
  /** Called once when nothing comes any more. */
  onClosed(listener: () => void): void
}

/** What one process may ask another: by name, what goes with the question and what comes back. */
export type Questions = { readonly [name: string]: { readonly ask: unknown; readonly answer: unknown } }

/** Both ends are the same version of the same code, and nobody else can write here: so messages are believed. */
type Message =
  | { readonly mesh: 'question'; readonly number: number; readonly name: string; readonly body: unknown }
  | { readonly mesh: 'answer'; readonly number: number; readonly body: unknown }

interface Waiting {
  resolve(body: unknown): void
  reject(error: Error): void
}

/** One end of the way between a primary and a worker: questions go both ways, each gets one answer. */
export class Link<Asked extends Questions, Answered extends Questions> {
  readonly #channel: Channel
  readonly #waiting = new Map<number, Waiting>()
  readonly #answers: { [Name in keyof Answered]?: (ask: never) => Promise<unknown> } = {}
  #asked = 0
  #isClosed = false

  constructor(channel: Channel) {
    this.#channel = channel
    channel.onMessage((message) => this.#receive(message))
    channel.onClosed(() => {
      this.#isClosed = true
      for (const number of [...this.#waiting.keys()]) this.#fail(number, 'the other process has ended')
    })
  }

  /** Says how a question is answered. An answer that rejects is a fault of the code, and ends the process. */
  answer<Name extends keyof Answered & string>(
    name: Name,
    make: (ask: Answered[Name]['ask']) => Promise<Answered[Name]['answer']>,
  ): void {
    this.#answers[name] = make
  }

  /** Rejects where the other process has ended, or does not answer within `timeoutMs`. */
  ask<Name extends keyof Asked & string>(
    name: Name,
    body: Asked[Name]['ask'],
    timeoutMs: number,
  ): Promise<Asked[Name]['answer']> {
    const number = ++this.#asked
    const { promise, resolve, reject } = Promise.withResolvers<unknown>()
    const timer = setTimeout(() => this.#fail(number, 'the other process does not answer'), timeoutMs)
    const waiting: Waiting = { resolve, reject }
    this.#waiting.set(number, waiting)
    if (this.#isClosed) this.#fail(number, 'the other process has ended')
    else
      this.#send({ mesh: 'question', number, name, body: pack(body) }, () =>
        this.#fail(number, 'the other process cannot be reached'),
      )
    return promise.finally(() => clearTimeout(timer))
  }

  #send(message: Message, whenLost: () => void): void {
    this.#channel.send(message, (error) => {
      if (error) whenLost()
    })
  }

  #fail(number: number, why: string): void {
    const waiting = this.#waiting.get(number)
    this.#waiting.delete(number)
    waiting?.reject(new Error(why))
  }

  #receive(received: unknown): void {
    if (!isMessage(received)) return
    if (received.mesh === 'question') {
      const make = this.#answers[received.name] as ((ask: unknown) => Promise<unknown>) | undefined
      if (!make) throw new Error(`nobody answers ${received.name}`)
      const { number } = received
      void make(unpack(received.body)).then((body) =>
        // Whoever asked has ended where this is lost.
        this.#send({ mesh: 'answer', number, body: pack(body) }, () => undefined),
      )
      return
    }
    const waiting = this.#waiting.get(received.number)
    this.#waiting.delete(received.number)
    waiting?.resolve(unpack(received.body))
  }
}

function isMessage(received: unknown): received is Message {
  return typeof received === 'object' && received !== null && 'mesh' in received
}
