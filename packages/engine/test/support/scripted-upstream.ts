import type { Failure } from '../../src/failure.ts'
import type { EncodeOptions, Protocol } from '../../src/protocol.ts'
import type { StreamEvent } from '../../src/stream-event.ts'
import type { Receiver, Transport, UpstreamRequest } from '../../src/transport.ts'

/** One exchange in a test's hands: the test plays the provider. */
export class ScriptedExchange {
  readonly request: UpstreamRequest
  readonly #receiver: Receiver
  isPaused = false
  isAborted = false

  constructor(request: UpstreamRequest, receiver: Receiver) {
    this.request = request
    this.#receiver = receiver
  }

  /** What `scriptedProtocol` was told to encode. */
  get options(): EncodeOptions {
    return JSON.parse(this.request.body)
  }

  sent(): this {
    if (!this.isAborted) this.#receiver.onSent()
    return this
  }

  head(status = 200): this {
    if (!this.isAborted) this.#receiver.onHead(status, {})
    return this
  }

  /** Connection, request and head at once. */
  accept(): this {
    return this.sent().head()
  }

  say(...events: readonly StreamEvent[]): this {
    return this.chunk(events.map((event) => `${JSON.stringify(event)}\n`).join(''))
  }

  chunk(text: string): this {
    if (!this.isAborted) this.#receiver.onChunk(new TextEncoder().encode(text))
    return this
  }

  end(): this {
    if (!this.isAborted) this.#receiver.onEnd()
    return this
  }

  fail(failure: Failure): this {
    if (!this.isAborted) this.#receiver.onFailure(failure)
    return this
  }

  /** An answer with a status that is none: `failure` is what the protocol makes of it. */
  refuse(status: number, failure: Failure): this {
    return this.sent().head(status).chunk(JSON.stringify(failure)).end()
  }

  pause(): void {
    this.isPaused = true
  }

  resume(): void {
    this.isPaused = false
  }

  abort(): void {
    this.isAborted = true
  }
}

export interface ScriptedTransport extends Transport {
  readonly exchanges: readonly ScriptedExchange[]
  /** The newest exchange. */
  readonly last: ScriptedExchange
}

/** Collects exchanges for the test to play; `onSend` may play at once. */
export function scriptedTransport(
  onSend: (exchange: ScriptedExchange) => void = () => {},
): ScriptedTransport {
  const exchanges: ScriptedExchange[] = []
  return {
    exchanges,
    get last() {
      const last = exchanges.at(-1)
      if (!last) throw new Error('nothing was sent')
      return last
    },
    send(request, receiver) {
      const exchange = new ScriptedExchange(request, receiver)
      exchanges.push(exchange)
      onSend(exchange)
      return exchange
    },
    close: () => Promise.resolve(),
  }
}

/** A wire format that is the events themselves: one JSON text a line. An error's body is its `Failure`. */
export const scriptedProtocol: Protocol = {
  choices: (ask, endpoint) => (endpoint.supportedParameters.includes('n') ? ask.choices : 1),
  encode: (_ask, _endpoint, options) => ({
    path: '/answer',
    headers: {},
    body: JSON.stringify(options),
    droppedParameters: ['seed'],
  }),
  takes: (_endpoint, parameter) => parameter !== 'seed',
  decoder() {
    let rest = ''
    return {
      push(bytes) {
        const lines = (rest + new TextDecoder().decode(bytes)).split('\n')
        rest = lines.pop() ?? ''
        return lines.map((line): StreamEvent => JSON.parse(line))
      },
      end: () => [],
    }
  },
  classify: (_status, _headers, body) => JSON.parse(body),
}
