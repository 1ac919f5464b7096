import { type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import { MeshError } from '../errors.ts'
import { type Id, newId, type Seams } from '../ids.ts'
import { errorAnswer } from './error-answer.ts'

/** How long the rest of what was refused is thrown away: closing on a client that still sends loses it the answer. */
const LINGER_MS = 5_000

/**
 * Answers what Node refuses before there is a request (bad framing, headers too large or too slow) in MESH's own
 * shape. Fastify calls it with every `clientError`.
 */
export function clientErrorHandler(seams: Seams) {
  const refused = new WeakSet<Socket>()
  return (error: Error & { code?: string }, socket: Socket): void => {
    // Whatever follows what could not be read cannot be read either.
    if (refused.has(socket)) return
    refused.add(socket)
    const way = error.code === 'ECONNRESET' || !socket.writable ? 'destroy' : wayToRefuse(socket)
    if (way === 'answer') socket.end(answerText(clientError(error.code), seams))
    else if (way === 'end') socket.end()
    else {
      socket.destroy()
      return
    }
    const linger = setTimeout(() => socket.destroy(), LINGER_MS).unref()
    socket.once('close', () => clearTimeout(linger))
  }
}

/** Refuses CONNECT, which MESH is no proxy for. Node would close the connection without a word. */
export function refuseTunnels(server: Server, seams: Seams): void {
  server.on('connect', (_request, socket) => {
    // It is no longer the server's, so nobody else hears of its errors.
    socket.on('error', () => undefined)
    if (wayToRefuse(socket) !== 'answer') {
      socket.destroy()
      return
    }
    const refusal = new MeshError('method_not_allowed', 'MESH is no proxy: no route takes CONNECT.')
    socket.end(answerText(refusal, seams), () => socket.destroy())
  })
}

/** An error as bytes for a connection that ends with it. */
function answerText(error: MeshError, seams: Seams): string {
  const requestId: Id<'req'> = newId('req', seams)
  const answer = errorAnswer(error, requestId)
  const headers = Object.entries({
    ...answer.headers,
    connection: 'close',
    'content-length': String(Buffer.byteLength(answer.body)),
  }).map(([name, value]) => `${name}: ${value}\r\n`)
  return `HTTP/1.1 ${answer.status} ${STATUS_CODES[answer.status] ?? ''}\r\n${headers.join('')}\r\n${answer.body}`
}

function clientError(code: string | undefined): MeshError {
  switch (code) {
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new MeshError('request_timeout', 'The request did not come whole in time. Send it again.')
    case 'HPE_HEADER_OVERFLOW':
      return new MeshError('headers_too_large', 'The headers are larger than MESH takes.')
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return new MeshError(
        'payload_too_large',
        'The chunk extensions of the body are larger than MESH takes.',
      )
    default:
      return new MeshError('invalid_request', 'This is not a valid HTTP/1.1 request.')
  }
}

/** What one connection is at. A client need not wait for an answer before it asks again. */
interface Answering {
  /** Answers whose last byte has not left. */
  readonly underWay: Set<ServerResponse>
  latest: ServerResponse
}

const answering = new WeakMap<object, Answering>()

/** Keeps track of a server's answers, so that no error is taken for one of them, nor written into one. */
export function trackAnswers(server: Server): void {
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    const { underWay } = answering.get(request.socket) ?? { underWay: new Set<ServerResponse>() }
    answering.set(request.socket, { underWay, latest: response })
    underWay.add(response)
    response.once('close', () => underWay.delete(response))
  })
}

/**
 * What can be said on a connection of bytes that cannot be read. An error is an answer only where one is due: not while
 * another is under way, nor to a request that came whole, which may run and be charged, nor to one that was answered
 * while its body still came.
 */
function wayToRefuse(socket: object): 'answer' | 'end' | 'destroy' {
  const at = answering.get(socket)
  if (!at) return 'answer'
  const { underWay, latest } = at
  if ([...underWay].some((response) => response !== latest)) return 'destroy'
  if (!latest.headersSent) return latest.req.complete ? 'destroy' : 'answer'
  if (!latest.writableEnded) return 'destroy'
  return latest.req.complete ? 'answer' : 'end'
}
