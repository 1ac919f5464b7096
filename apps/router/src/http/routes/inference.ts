import type { ServerResponse } from 'node:http'
import { SHAPES } from '@mesh/engine/shapes/registry.ts'
import type { Shape } from '@mesh/engine/shapes/shape.ts'
import type { FastifyRequest } from 'fastify'
import { presentedSecret } from '../../accounts/authenticate.ts'
import { parseSecret } from '../../accounts/key-secret.ts'
import type { CallRequest } from '../../call/call-request.ts'
import { endWithError } from '../../call/end.ts'
import type { Mesh } from '../../call/mesh.ts'
import { call } from '../../call.ts'
import { isId } from '../../ids.ts'
import { describeError } from '../../log.ts'
import type { MeshNow } from '../../mesh-now.ts'
import { type World, worldOf } from '../../metrics/labels.ts'
import { CORS_HEADERS } from '../cors.ts'
import { asMeshError, isOwnFault } from '../error-answer.ts'
import { HttpAnswer } from '../http-answer.ts'
import { readJsonBody, useRawBodies } from '../raw-body.ts'
import type { Server } from '../server.ts'

/** The routes that run models, one for each shape in which callers write. Their bodies are read after the caller is known, and counted as they come. */
export function registerInferenceRoutes(server: Server, meshNow: MeshNow): void {
  server.register((scope, _options, done) => {
    useRawBodies(scope)
    for (const shape of SHAPES) {
      scope.post(shape.path, async (request, reply) => {
        // From here on the response is ours: what Fastify would have set is set by hand.
        reply.hijack()
        const mesh = meshNow.current
        await answerCall(toCallRequest(request, reply.raw, shape, mesh), request, mesh)
      })
    }
    done()
  })
}

async function answerCall(callRequest: CallRequest, request: FastifyRequest, mesh: Mesh): Promise<void> {
  try {
    await call(callRequest, mesh)
  } catch (error) {
    const meshError = asMeshError(error)
    if (isOwnFault(meshError)) {
      mesh.log.error('a call failed before it was sent', {
        callId: callRequest.id,
        code: meshError.code,
        ...describeError(meshError.cause ?? meshError),
      })
    }
    if (meshError.code === 'request_timeout') callRequest.answer.setHeaders({ connection: 'close' })
    endWithError(callRequest, meshError)
    mesh.observer.refused(worldShownBy(callRequest), meshError.code)
  } finally {
    // What a refused caller still sends is thrown away, so that he gets to read his answer.
    request.raw.resume()
  }
}

function toCallRequest(
  request: FastifyRequest,
  response: ServerResponse,
  shape: Shape,
  mesh: Mesh,
): CallRequest {
  const { calls } = mesh.policy
  const { id } = request
  if (!isId('req', id)) throw new Error('the server made a request id that is none')
  const idempotencyKey = request.headers['idempotency-key']
  const answer = new HttpAnswer(response, {
    'x-request-id': id,
    ...(shape.requestIdHeader === undefined ? {} : { [shape.requestIdHeader]: id }),
    'x-content-type-options': 'nosniff',
    'cache-control': 'no-store',
    ...CORS_HEADERS,
  })
  return {
    id,
    shape,
    secret: () => presentedSecret(request.headers, shape.keyHeaders),
    ...(typeof idempotencyKey === 'string' ? { idempotencyKey } : {}),
    readBody: () =>
      readJsonBody(request, { bodyBytesMax: calls.bodyBytesMax, bodyTimeoutMs: calls.bodyTimeoutMs }),
    answer,
    whenClosed: (task) => whenClosed(response, task),
  }
}

/** The world that a key says it is of, whether or not there is such a key. */
function worldShownBy({ secret }: CallRequest): World {
  try {
    const parsed = parseSecret(secret().reveal())
    return parsed.kind === 'key' ? worldOf(parsed.livemode) : 'none'
  } catch {
    return 'none'
  }
}

/** Calls `task` when the connection closes before the answer has ended, at once where it has. */
function whenClosed(response: ServerResponse, task: () => void): void {
  const onClose = (): void => {
    if (!response.writableFinished) task()
  }
  if (response.closed) onClose()
  else response.once('close', onClose)
}
