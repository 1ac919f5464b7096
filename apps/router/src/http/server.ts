import type { IncomingMessage, ServerResponse } from 'node:http'
import cors from '@fastify/cors'
import { shapeAt } from '@mesh/engine/shapes/registry.ts'
import {
  type FastifyBaseLogger,
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  fastify,
  type RawServerDefault,
} from 'fastify'
import { MeshError } from '../errors.ts'
import { newId, type Seams } from '../ids.ts'
import { describeError, type Log } from '../log.ts'
import { clientErrorHandler, refuseTunnels, trackAnswers } from './client-error.ts'
import { Connections } from './connections.ts'
import { CORS_HEADERS, corsDelegate, isCrossOrigin } from './cors.ts'
import { asMeshError, errorAnswer, isOwnFault } from './error-answer.ts'
import { type HttpObserver, tellOfRequests } from './http-observer.ts'
import { type BodyBounds, useBodyBudget, useJsonBodies } from './raw-body.ts'
import { originForm, requirePlainTransfer, requireSingleHeaders } from './request-head.ts'
import { cutSlowReaders, type ReaderBounds } from './slow-readers.ts'
import { unknownRoute } from './unknown-route.ts'
import { endUnreadBodies } from './unread-bodies.ts'
import { type ZodTypeProvider, zodValidatorCompiler } from './validation.ts'

/** What one connection and one request may cost before MESH knows who is there. */
export interface HttpBounds extends BodyBounds, ReaderBounds {
  /** Of all request bodies that are read at once. */
  readonly bodyBytesAtOnceMax: number
  /** All header lines of a request together. */
  readonly headerBytesMax: number
  readonly headersTimeoutMs: number
  /** From the first byte of a request to the last of its body. */
  readonly requestTimeoutMs: number
  /** How long an idle connection is kept for the next request. Proxies in front should close theirs earlier. */
  readonly keepAliveTimeoutMs: number
  /** Silence in both directions that ends a connection. Longer than the longest wait for a provider. */
  readonly connectionTimeoutMs: number
  /** Connections at once: for one more, the one that is idle longest is closed. */
  readonly connectionsMax: number
  /** Bytes of answers that one connection keeps waiting for its reader before its upstream has to wait too. */
  readonly waitingBytesMax: number
  /** The longest part of a path that stands for an id. */
  readonly pathPartCharactersMax: number
}

/** The bounds where an operator sets none. */
export const DEFAULT_HTTP_BOUNDS: HttpBounds = {
  bodyBytesMax: 1_048_576,
  bodyBytesAtOnceMax: 536_870_912,
  bodyTimeoutMs: 30_000,
  headerBytesMax: 16_384,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 120_000,
  keepAliveTimeoutMs: 75_000,
  connectionTimeoutMs: 960_000,
  connectionsMax: 20_000,
  waitingBytesMax: 16_384,
  readerStallMs: 60_000,
  readerBytesPerSecondMin: 64,
  readerDeadlineMs: 900_000,
  pathPartCharactersMax: 256,
}

export interface ServerOptions {
  readonly bounds: HttpBounds
  readonly log: Log
  readonly seams: Seams
  /** Is told what becomes of requests. */
  readonly observer?: HttpObserver
}

/** The HTTP server, with zod schemas as the types of its routes. */
export type Server = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  ZodTypeProvider
>

const NODE_CHECK_INTERVAL_MS = 1_000

/**
 * Builds the server without routes: bounds, request ids, CORS, validation, and one shape for every error. It does not
 * listen yet. While it closes, requests on open connections get 503 `overloaded`.
 */
export function createServer(options: ServerOptions): Server {
  const { bounds, log, seams, observer } = options
  const server = fastify({
    logger: false,
    genReqId: () => newId('req', seams),
    requestIdHeader: false,
    rewriteUrl: originForm,
    bodyLimit: bounds.bodyBytesMax,
    connectionTimeout: bounds.connectionTimeoutMs,
    keepAliveTimeout: bounds.keepAliveTimeoutMs,
    requestTimeout: bounds.requestTimeoutMs,
    return503OnClosing: false,
    routerOptions: { maxParamLength: bounds.pathPartCharactersMax },
    http: {
      highWaterMark: bounds.waitingBytesMax,
      maxHeaderSize: bounds.headerBytesMax,
      headersTimeout: bounds.headersTimeoutMs,
      connectionsCheckingInterval: Math.min(NODE_CHECK_INTERVAL_MS, bounds.headersTimeoutMs),
      // Node answers a request without Host by itself, in no shape of ours; the hook below does it instead.
      requireHostHeader: false,
    },
    clientErrorHandler: clientErrorHandler(seams),
    frameworkErrors: (error, request, reply) => answerOutsideRoutes(error, request, reply),
  }).withTypeProvider<ZodTypeProvider>()

  const connections = new Connections(server.server, bounds.connectionsMax)
  cutSlowReaders(server.server, bounds, () => observer?.slowReaderCut())
  trackAnswers(server.server)
  refuseTunnels(server.server, seams)
  endUnreadBodies(server.server, bounds.bodyTimeoutMs)
  // Node would answer an unknown Expect header by itself; MESH answers the request as if it were not there.
  server.server.on('checkExpectation', (request, response) => server.routing(request, response))
  server.setValidatorCompiler(zodValidatorCompiler)
  useBodyBudget(server, bounds.bodyBytesAtOnceMax, observer)
  useJsonBodies(server, bounds)
  server.register(cors, { delegator: corsDelegate })
  if (observer) tellOfRequests(server, observer)
  addEntryHooks(server, connections)
  server.setErrorHandler((error, request, reply) => answerError(error, request, reply, log))
  server.setNotFoundHandler(unknownRoute(server))
  return server
}

function addEntryHooks(server: Server, connections: Connections): void {
  let closing = false
  server.addHook('preClose', async () => {
    closing = true
  })
  server.addHook('onRequest', async (request, reply) => {
    void reply.headers({
      'x-request-id': request.id,
      'x-content-type-options': 'nosniff',
      ...(isCrossOrigin(request.url) ? { 'cache-control': 'no-store' } : {}),
    })
    if (closing) throw new MeshError('overloaded', 'This router is shutting down. Send the request again.')
    if (connections.isExcess(request.raw)) {
      throw new MeshError('overloaded', 'This router has as many connections as it takes. Send it again.', {
        headers: { connection: 'close' },
      })
    }
    if (request.headers.host === undefined && request.raw.httpVersion !== '1.0') {
      throw new MeshError('invalid_request', 'The request has no Host header.')
    }
    requireSingleHeaders(request.raw)
    requirePlainTransfer(request.raw)
  })
}

function answerError(error: unknown, request: FastifyRequest, reply: FastifyReply, log: Log): FastifyReply {
  const meshError = asMeshError(error)
  if (isOwnFault(meshError)) {
    log.error('request failed', {
      requestId: request.id,
      method: request.method,
      ...(request.routeOptions.url === undefined ? {} : { route: request.routeOptions.url }),
      code: meshError.code,
      ...describeError(meshError.cause ?? meshError),
    })
  }
  const answer = errorAnswer(meshError, request.id, shapeAt(request.url))
  // A body that was refused half-read is thrown away by Node, so the connection can serve on; one that never ended
  // cannot.
  if (meshError.code === 'request_timeout') void reply.header('connection', 'close')
  else void reply.removeHeader('connection')
  return reply.code(answer.status).headers(answer.headers).send(answer.body)
}

/** Answers a URL that cannot be routed at all. No hook has run, so what they would have set is set here. */
function answerOutsideRoutes(error: FastifyError, request: FastifyRequest, reply: FastifyReply): void {
  const answer = errorAnswer(asMeshError(error), request.id, shapeAt(request.url))
  void reply
    .code(answer.status)
    .headers({
      ...answer.headers,
      'x-content-type-options': 'nosniff',
      ...(isCrossOrigin(request.url) ? CORS_HEADERS : {}),
    })
    .send(answer.body)
}
