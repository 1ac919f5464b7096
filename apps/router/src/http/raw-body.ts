import { isUtf8 } from 'node:buffer'
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { MeshError } from '../errors.ts'
import { BodyBudget, type BodyShare } from './body-budget.ts'

/** How much of a body is read, and for how long. */
export interface BodyBounds {
  readonly bodyBytesMax: number
  /** From the first read to the last byte. */
  readonly bodyTimeoutMs: number
}

/**
 * Leaves the bodies of a plugin's routes unread, so that a handler reads them itself, after it knows the caller.
 * Call it on an encapsulated instance: it replaces every content-type parser there.
 */
export function useRawBodies(
  scope: Pick<FastifyInstance, 'removeAllContentTypeParsers' | 'addContentTypeParser'>,
) {
  scope.removeAllContentTypeParsers()
  scope.addContentTypeParser('*', (_request, _payload, done) => done(null))
}

/**
 * Parses JSON bodies of all other routes within the same bounds. An empty body is `undefined`, whatever type its
 * sender gives it: many programs give one to every POST.
 */
export function useJsonBodies(
  server: Pick<FastifyInstance, 'removeAllContentTypeParsers' | 'addContentTypeParser'>,
  bounds: BodyBounds,
) {
  server.removeAllContentTypeParsers()
  server.addContentTypeParser('*', (request: FastifyRequest) =>
    withBytes(request, bounds, (bytes) => {
      if (bytes.length === 0) return undefined
      requireJson(request.headers)
      return parseJson(bytes)
    }),
  )
}

const BODY_BUDGET = 'bodyBudget'

/** Bounds what all bodies of a server take together while they are read. Needed before any body is. */
export function useBodyBudget(server: Pick<FastifyInstance, 'decorate'>, bytesMax: number): void {
  server.decorate(BODY_BUDGET, new BodyBudget(bytesMax))
}

/**
 * Reads a request's body as JSON.
 * @throws MeshError `unsupported_media_type`, `payload_too_large`, `overloaded`, `request_timeout`,
 * `client_disconnected`, or `invalid_request` for what is not JSON in UTF-8.
 */
export async function readJsonBody(request: FastifyRequest, bounds: BodyBounds): Promise<unknown> {
  requireJson(request.headers)
  return withBytes(request, bounds, parseJson)
}

/** Reads a body and parses it, and lets go of its bytes then. */
async function withBytes(
  request: FastifyRequest,
  bounds: BodyBounds,
  parse: (bytes: Buffer) => unknown,
): Promise<unknown> {
  using share = request.server.getDecorator<BodyBudget>(BODY_BUDGET).share()
  return parse(await readBytes(request.raw, bounds, share))
}

const JSON_MEDIA_TYPE = /^application\/json\s*(?:;|$)/i
const CHARSET = /;\s*charset\s*=\s*"?([^";\s]+)/i

function requireJson(headers: IncomingHttpHeaders): void {
  const contentType = headers['content-type'] ?? ''
  if (!JSON_MEDIA_TYPE.test(contentType)) {
    throw new MeshError(
      'unsupported_media_type',
      'Send the body as JSON, with the header Content-Type: application/json.',
    )
  }
  if (!/^utf-?8$/i.test(CHARSET.exec(contentType)?.[1] ?? 'utf-8')) {
    throw new MeshError('unsupported_media_type', 'Send the body in UTF-8.')
  }
  if (!/^(identity)?$/i.test((headers['content-encoding'] ?? '').trim())) {
    throw new MeshError(
      'unsupported_media_type',
      'Send the body uncompressed: MESH takes no Content-Encoding but identity.',
    )
  }
}

/** A property that would change the prototype of an object it is copied into, however its name is escaped. */
const PROTOTYPE_PROPERTY =
  /"(?:_|\\u005[Ff]){2}(?:p|\\u0070)(?:r|\\u0072)(?:o|\\u006[Ff])(?:t|\\u0074)(?:o|\\u006[Ff])(?:_|\\u005[Ff]){2}"\s*:/

function parseJson(bytes: Buffer): unknown {
  if (!isUtf8(bytes)) throw new MeshError('invalid_request', 'The body is not valid UTF-8.')
  const text = bytes.toString('utf8')
  try {
    const value: unknown = JSON.parse(text)
    if (!PROTOTYPE_PROPERTY.test(text)) return value
  } catch {
    // V8's message quotes the body, so it goes no further.
    throw new MeshError('invalid_request', 'The body is not valid JSON.')
  }
  throw new MeshError('invalid_request', 'The body holds a property name that MESH does not take.')
}

/**
 * A body that is too large is not cut off: the rest is thrown away as it comes, because closing the connection on a
 * client that still sends loses it the answer. The server's own request time-out ends those who never stop.
 */
function readBytes(message: IncomingMessage, bounds: BodyBounds, share: BodyShare): Promise<Buffer> {
  if (Number(message.headers['content-length'] ?? 0) > bounds.bodyBytesMax) {
    message.resume()
    return Promise.reject(tooLarge(bounds))
  }
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
  const chunks: Buffer[] = []
  let length = 0
  const onData = (chunk: Buffer): void => {
    length += chunk.length
    if (length > bounds.bodyBytesMax) reject(tooLarge(bounds))
    else if (share.take(chunk.length)) chunks.push(chunk)
    else
      reject(
        new MeshError('overloaded', 'This router reads as many bodies as it can. Send the request again.'),
      )
  }
  const onEnd = (): void =>
    resolve(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks, length))
  const onLost = (): void => {
    reject(new MeshError('client_disconnected', 'The connection closed before the body had come whole.'))
  }
  const timer = setTimeout(() => {
    reject(
      new MeshError(
        'request_timeout',
        `The body did not come whole within ${bounds.bodyTimeoutMs} ms. Send it again.`,
      ),
    )
  }, bounds.bodyTimeoutMs)
  message.on('data', onData).once('end', onEnd).once('error', onLost).once('close', onLost)
  return promise.finally(() => {
    clearTimeout(timer)
    message.off('data', onData).off('end', onEnd).off('close', onLost)
    message.resume()
  })
}

function tooLarge(bounds: BodyBounds): MeshError {
  return new MeshError(
    'payload_too_large',
    `The body is larger than the ${bounds.bodyBytesMax} bytes that MESH takes here.`,
    {
      metadata: { bytesMax: bounds.bodyBytesMax },
    },
  )
}
