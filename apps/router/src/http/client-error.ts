import { type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import { MeshError } from '../errors.ts'
import { type Id, newId, type Seams } from '../ids.ts'
import { errorAnswer } from './error-answer.ts'

/**
 * Answers what Node refuses before there is a request (bad framing, headers too large or too slow) in MESH's own
 * shape. Fastify calls it with every `clientError`.
 */
export function clientErrorHandler(seams: Seams) {
  return (error: Error & { code?: string }, socket: Socket): void => {
    if (error.code === 'ECONNRESET' || !socket.writable || isAnswering(socket)) {
      socket.destroy()
      return
    }
    const requestId: Id<'req'> = newId('req', seams)
    const answer = errorAnswer(clientError(error.code), requestId)
    const headers = Object.entries({
      ...answer.headers,
      connection: 'close',
      'content-length': String(Buffer.byteLength(answer.body)),
    }).map(([name, value]) => `${name}: ${value}\r\n`)
    socket.end(
      `HTTP/1.1 ${answer.status} ${STATUS_CODES[answer.status] ?? ''}\r\n${headers.join('')}\r\n${answer.body}`,
    )
  }
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

/** The answer that each connection is at, so that no error is written into the middle of one. */
const answers = new WeakMap<object, ServerResponse>()

/** Keeps track of a server's answers for `clientErrorHandler`. */
export function trackAnswers(server: Server): void {
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    answers.set(request.socket, response)
  })
}

function isAnswering(socket: Socket): boolean {
  const response = answers.get(socket)
  return response?.headersSent === true && !response.writableEnded
}
