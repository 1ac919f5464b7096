import { isUtf8 } from 'node:buffer'
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { CHAT_BOUNDS } from '@mesh/engine/shapes/bounds.ts'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { MeshError } from '../errors.ts'
import { BodyBudget, type BodyShare } from './body-budget.ts'
import type { HttpObserver } from './http-observer.ts'
import { type JsonBounds, jsonExcess } from './json-measure.ts'

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
    orTell(request, () =>
      withBytes(request, bounds, (bytes) => {
        if (bytes.length === 0) return undefined
        requireJson(request.headers)
        return parseJson(bytes)
      }),
    ),
  )
}

const BODY_BUDGET = 'bodyBudget'

/** Bounds what all bodies of a server take together while they are read. Needed before any body is. */
export function useBodyBudget(
  server: Pick<FastifyInstance, 'decorate'>,
  bytesMax: number,
  observer?: HttpObserver,
): void {
  const budget = new BodyBudget(bytesMax, observer)
  observer?.bodies(budget)
  server.decorate(BODY_BUDGET, budget)
}

function bodyBudgetOf(server: Pick<FastifyInstance, 'getDecorator'>): BodyBudget {
  return server.getDecorator<BodyBudget>(BODY_BUDGET)
}

/**
 * Reads a request's body as JSON.
 * @throws MeshError `unsupported_media_type`, `payload_too_large`, `overloaded`, `request_timeout`,
 * `client_disconnected`, or `invalid_request` for what is not JSON in UTF-8.
 */
export async function readJsonBody(request: FastifyRequest, bounds: BodyBounds): Promise<unknown> {
  return orTell(request, async () => {
    requireJson(request.headers)
    return withBytes(request, bounds, parseJson)
  })
}

/** Reads a body, and tells what it is refused for where it is. */
async function orTell(request: FastifyRequest, read: () => Promise<unknown>): Promise<unknown> {
  try {
    return await read()
  } catch (error) {
    if (error instanceof MeshError) bodyBudgetOf(request.server).refused(error.code)
    throw error
  }
}

/** Reads a body and parses it, and lets go of its bytes then. */
async function withBytes(
  request: FastifyRequest,
  bounds: BodyBounds,
  parse: (bytes: Buffer) => unknown,
): Promise<unknown> {
  using share = bodyBudgetOf(request.server).share()
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

/** No body of any route has more, so that none is parsed that could not be taken. */
const JSON_BOUNDS: JsonBounds = {
  nestingMax: CHAT_BOUNDS.nestingMax,
  valuesMax: CHAT_BOUNDS.valuesMax,
}

function parseJson(bytes: Buffer): unknown {
  if (!isUtf8(bytes)) throw new MeshError('invalid_request', 'The body is not valid UTF-8.')
  requireJsonWithin(bytes, JSON_BOUNDS)
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

function requireJsonWithin(bytes: Buffer, bounds: JsonBounds): void {
  const excess = jsonExcess(bytes, bounds)
  if (excess === undefined) return
  throw new MeshError(
    'invalid_request',
    excess === 'nesting'
      ? `The request must be nested at most ${bounds.nestingMax} levels deep.`
      : `The request must have at most ${bounds.valuesMax} values in all.`,
  )
}

/**
 * A body that is too large is not cut off: the rest is thrown away as it comes, because closing the connection on a
 * client that still sends loses it the answer. `endUnreadBodies` ends those who never stop.
 */
function readBytes(message: IncomingMessage, bounds: BodyBounds, share: BodyShare): Promise<Buffer> {
  if (Number(message.headers['content-length'] ?? 0) > bounds.bodyBytesMax) {
    message.resume()
    return Promise.reject(tooLarge(bounds))
  }
  // Who left while his key was looked up is not heard of any more.
  if (message.destroyed) return Promise.reject(connectionLost())
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
  const onEnd = (): void => {
    // A message that has come whole closes too, before anybody who waits for it runs.
    message.off('close', onLost)
    resolve(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks, length))
  }
  const onLost = (): void => reject(connectionLost())
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

function connectionLost(): MeshError {
  return new MeshError('client_disconnected', 'The connection closed before the body had come whole.')
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
