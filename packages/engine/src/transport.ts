import { Agent, type Dispatcher, EnvHttpProxyAgent } from 'undici'
import type { Failure } from './failure.ts'
import type { ResponseHeaders } from './protocol.ts'

/** Where an endpoint is reached and with what credentials. Never logged, and no error carries any of it. */
export interface UpstreamTarget {
  /** With the path under which the protocol's own paths begin: `https://api.openai.com/v1`. */
  readonly baseUrl: string
  readonly headers: Readonly<Record<string, string>>
  /** Where the credential is a signature over the request: returns the headers that carry it. Called once a request. */
  readonly sign?: (request: RequestToSign) => Readonly<Record<string, string>>
  /** The model's id there, where it is another than the catalogue's. */
  readonly upstreamModel?: string
  /**
   * Where its credential is one of several: told that the provider turned it away (`isOfCredential`), it says whether
   * another one can be sent in its place.
   */
  readonly setAside?: (failure: Failure) => boolean
}

/** What a signature can cover: the request as it goes out. */
export interface RequestToSign {
  /** As the `host` header has it. */
  readonly host: string
  /** With the path of the base URL. */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

export interface UpstreamRequest {
  readonly target: UpstreamTarget
  /** Below the base URL, as in `/chat/completions`. */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/**
 * Hears of one exchange: `onSent`, `onHead`, any number of `onChunk`, then `onEnd`; or `onFailure` in place of any of
 * them. Nothing is heard after `onEnd`, `onFailure` or `Exchange.abort`.
 */
export interface Receiver {
  /** There is a connection, and the request begins to leave: from here on a failure is uncertain. */
  onSent(): void
  onHead(status: number, headers: ResponseHeaders): void
  onChunk(bytes: Uint8Array): void
  /** The connection ended as HTTP says it must. Whether the answer is whole is the protocol's to say. */
  onEnd(): void
  onFailure(failure: Failure): void
}

/** A request on its way. */
export interface Exchange {
  /** Takes no more from the connection; a chunk that is in hand already may still be heard. */
  pause(): void
  resume(): void
  /** Drops the connection. */
  abort(): void
}

/** Sends requests. The one place of the engine that touches a network. Time-outs are the caller's. */
export interface Transport {
  send(request: UpstreamRequest, receiver: Receiver): Exchange
  /** Drops every connection. Exchanges that still run fail. */
  close(): Promise<void>
}

export interface TransportOptions {
  /** Exchanges that may run at once with one origin. More are refused before dispatch, so nothing queues. */
  readonly exchangesPerOriginMax?: number
  /** How long a connection may take; a backstop behind the caller's own time-out, in milliseconds. */
  readonly connectTimeoutMs?: number
  /** Bytes of one answer, streamed or not. */
  readonly responseBytesMax?: number
  /** Bytes of an answer's head. */
  readonly responseHeaderBytesMax?: number
  /** Absent: straight to the provider, whatever the environment says. */
  readonly proxy?: { readonly httpsProxy: string; readonly noProxy: string }
}

const EXCHANGES_PER_ORIGIN_MAX = 10_000
const CONNECT_TIMEOUT_MS = 10_000
/** The longest answer of any model is a few tens of megabytes, a chunk a token; more than this is not an answer. */
export const RESPONSE_BYTES_MAX = 64 * 1024 * 1024
export const RESPONSE_HEADER_BYTES_MAX = 16 * 1024
/** Providers keep idle connections for a minute or more; a shorter time of ours means never writing to a dead one. */
const KEEP_ALIVE_MS = 15_000
const KEEP_ALIVE_MAX_MS = 60_000

/**
 * The transport over undici's dispatch API. HTTP/1.1 only: on a shared HTTP/2 session one reset takes every stream
 * with it. No redirects, no decompression, no retries: an attempt is exactly one request.
 */
export function createTransport(options: TransportOptions = {}): Transport {
  const exchangesMax = options.exchangesPerOriginMax ?? EXCHANGES_PER_ORIGIN_MAX
  const responseBytesMax = options.responseBytesMax ?? RESPONSE_BYTES_MAX
  const dispatcher = createDispatcher(options, exchangesMax)
  const runningByOrigin = new Map<string, number>()
  /** There are as many as the operator has set up. */
  const bases = new Map<string, Base>()

  function baseOf(baseUrl: string): Base {
    const known = bases.get(baseUrl)
    if (known) return known
    const { origin, host, pathname } = new URL(baseUrl)
    const base = { origin, host, path: pathname.replace(/\/+$/, '') }
    bases.set(baseUrl, base)
    return base
  }

  function send(request: UpstreamRequest, receiver: Receiver): Exchange {
    const { target, body } = request
    const base = baseOf(target.baseUrl)
    const { origin, host } = base
    const running = runningByOrigin.get(origin) ?? 0
    if (running >= exchangesMax) {
      receiver.onFailure({ outcome: 'not_dispatched', reason: 'overloaded' })
      return FINISHED_EXCHANGE
    }
    runningByOrigin.set(origin, running + 1)
    const exchange = new UndiciExchange(receiver, responseBytesMax, () => {
      runningByOrigin.set(origin, (runningByOrigin.get(origin) ?? 1) - 1)
    })
    const path = `${base.path}${request.path}`
    const headers = { ...request.headers, ...target.headers, 'accept-encoding': 'identity' }
    dispatcher.dispatch(
      {
        origin,
        path,
        method: 'POST',
        headers: target.sign ? { ...headers, ...target.sign({ host, path, headers, body }) } : headers,
        body,
        headersTimeout: 0,
        bodyTimeout: 0,
      },
      exchange,
    )
    return exchange
  }

  return { send, close: () => dispatcher.destroy() }
}

/** A base URL, taken apart: the path has no slash at its end. */
interface Base {
  readonly origin: string
  readonly host: string
  readonly path: string
}

function createDispatcher(options: TransportOptions, connections: number): Dispatcher {
  const agentOptions = {
    connections,
    pipelining: 1,
    allowH2: false,
    maxHeaderSize: options.responseHeaderBytesMax ?? RESPONSE_HEADER_BYTES_MAX,
    keepAliveTimeout: KEEP_ALIVE_MS,
    keepAliveMaxTimeout: KEEP_ALIVE_MAX_MS,
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: { timeout: options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS },
  }
  if (!options.proxy) return new Agent(agentOptions)
  // Empty rather than absent: undici would look into the environment for what is not given.
  return new EnvHttpProxyAgent({ ...agentOptions, httpProxy: '', ...options.proxy })
}

const FINISHED_EXCHANGE: Exchange = { pause() {}, resume() {}, abort() {} }

/** One exchange between undici's handler calls and a receiver. */
class UndiciExchange implements Exchange, Dispatcher.DispatchHandler {
  readonly #receiver: Receiver
  readonly #bytesMax: number
  readonly #release: () => void
  #controller: Dispatcher.DispatchController | undefined
  #bytes = 0
  #finished = false

  constructor(receiver: Receiver, bytesMax: number, release: () => void) {
    this.#receiver = receiver
    this.#bytesMax = bytesMax
    this.#release = release
  }

  pause(): void {
    if (!this.#finished) this.#controller?.pause()
  }

  resume(): void {
    if (!this.#finished) this.#controller?.resume()
  }

  abort(): void {
    if (!this.#finish()) return
    this.#drop()
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    // Aborted while it waited for a connection: undici calls this before the first byte is written.
    if (this.#finished) this.#drop()
    else this.#receiver.onSent()
  }

  onResponseStart(_: Dispatcher.DispatchController, status: number, headers: ResponseHeaders): void {
    const informational = status < 200
    if (!this.#finished && !informational) this.#receiver.onHead(status, headers)
  }

  onResponseData(_: Dispatcher.DispatchController, chunk: Uint8Array): void {
    if (this.#finished) return
    this.#bytes += chunk.length
    if (this.#bytes > this.#bytesMax) {
      this.#fail({ outcome: 'uncertain', reason: 'oversized' })
      this.#drop()
      return
    }
    this.#receiver.onChunk(chunk)
  }

  onResponseEnd(): void {
    if (this.#finish()) this.#receiver.onEnd()
  }

  onResponseError(_: Dispatcher.DispatchController | null, error: Error): void {
    this.#fail(this.#controller ? failureOnTheWay(error) : failureBeforeDispatch(error))
  }

  #fail(failure: Failure): void {
    if (this.#finish()) this.#receiver.onFailure(failure)
  }

  /** Whether this call was the one that ended the exchange. */
  #finish(): boolean {
    if (this.#finished) return false
    this.#finished = true
    this.#release()
    return true
  }

  #drop(): void {
    this.#controller?.abort(new Error('aborted'))
  }
}

function failureBeforeDispatch(error: Error): Failure {
  const timedOut = codeOf(error) === 'UND_ERR_CONNECT_TIMEOUT' || codeOf(error) === 'ETIMEDOUT'
  return { outcome: 'not_dispatched', reason: timedOut ? 'connect_timeout' : 'connect_failed' }
}

/** Bytes of the request were written: the provider may have worked, whatever became of its answer. */
function failureOnTheWay(error: Error): Failure {
  if (codeOf(error) === 'UND_ERR_HEADERS_OVERFLOW') return { outcome: 'uncertain', reason: 'oversized' }
  // The one name to know it by: undici gives its parser's errors a code only sometimes.
  if (error.name === 'HTTPParserError') return { outcome: 'uncertain', reason: 'malformed' }
  return { outcome: 'uncertain', reason: 'connection_cut' }
}

function codeOf(error: Error): string {
  return 'code' in error && typeof error.code === 'string' ? error.code : ''
}
