import type { FastifyReply, FastifyRequest } from 'fastify'
import { MeshError } from '../errors.ts'

/** What a server can be asked of its routes: the handler of a path with one method, or nothing. */
export interface RouteFinder {
  findRoute(route: { readonly method: string; readonly url: string }): unknown
}

const METHODS = ['GET', 'POST', 'PATCH', 'PUT', 'DELETE'] as const

/** OpenAI's routes that MESH does not have, by how they begin, and what to do instead. */
export const NOT_OFFERED: readonly (readonly [prefix: string, advice: string])[] = [
  ['/v1/completions', 'MESH has no legacy completions. Use POST /v1/chat/completions with messages.'],
  ['/v1/assistants', 'MESH keeps no assistants. Use POST /v1/chat/completions.'],
  ['/v1/threads', 'MESH keeps no threads. Send the whole conversation to POST /v1/chat/completions.'],
  ['/v1/responses', 'MESH keeps no answers. POST /v1/responses makes one; send store: false.'],
  ['/v1/conversations', 'MESH keeps no conversations. Send the whole conversation with each call.'],
  ['/v1/files', 'MESH keeps no files. Send images and documents inside the message.'],
  ['/v1/uploads', 'MESH keeps no files. Send images and documents inside the message.'],
  ['/v1/vector_stores', 'MESH keeps no vector stores. Keep documents in a store of your own.'],
  ['/v1/messages/batches', 'MESH has no batches. Send the calls one by one; they may run in parallel.'],
  ['/v1/batches', 'MESH has no batches. Send the calls one by one; they may run in parallel.'],
  ['/v1/images', 'MESH does not make images.'],
  ['/v1/videos', 'MESH does not make videos.'],
  ['/v1/audio', 'MESH has no audio routes.'],
  ['/v1/realtime', 'MESH has no realtime route. Use POST /v1/chat/completions with stream: true.'],
  ['/v1/moderations', 'MESH has no moderation route.'],
  ['/v1/fine_tuning', 'MESH does not fine-tune models.'],
  ['/v1/fine-tunes', 'MESH does not fine-tune models.'],
  ['/v1/evals', 'MESH runs no evaluations.'],
  ['/v1/containers', 'MESH has no containers.'],
  [
    '/v1/organization',
    'MESH has accounts and projects instead: see GET /v1/accounts/me and GET /v1/projects.',
  ],
]

/** Routes that MESH means to have and this version does not, by how they begin, and what to use instead. */
const NOT_BUILT: readonly (readonly [prefix: string, instead: string])[] = [
  ['/v1/attestation', 'No call is sealed yet: see privacy in GET /v1/logs.'],
  ['/v1/auth', 'Use a key: an operator makes one with POST /v1/api-keys.'],
  ['/v1/payments', 'An operator gives credit with POST /v1/accounts/{id}/grants.'],
  ['/v1/credits/topup', 'An operator gives credit with POST /v1/accounts/{id}/grants.'],
  ['/v1/webhooks', 'Ask GET /v1/logs and GET /v1/ledger.'],
  ['/v1/prices', 'GET /v1/models shows prices. The mark-up is set in the file that MESH_SETTINGS names.'],
  [
    '/log',
    'Each receipt can be verified by itself: GET /v1/receipts and GET /.well-known/mesh-receipt-keys.json.',
  ],
  ['/.well-known/hpke-keys', 'No call is sealed yet.'],
]

/** Answers a request that no route takes: 405 where another method would do, else a 404 that says what to change. */
export function unknownRoute(routes: RouteFinder) {
  return (request: FastifyRequest, reply: FastifyReply): never => {
    const path = request.url.split('?', 1)[0] ?? '/'
    const allowed = METHODS.filter((method) => routes.findRoute({ method, url: path }) != null)
    if (allowed.length > 0) {
      const methods = allowed.join(', ')
      void reply.header('allow', methods)
      throw new MeshError('method_not_allowed', `This route takes ${methods}.`)
    }
    throw new MeshError('not_found', adviceFor(path, routes))
  }
}

function adviceFor(path: string, routes: RouteFinder): string {
  const exists = (url: string): boolean => METHODS.some((method) => routes.findRoute({ method, url }) != null)
  if (/^\/v1(?:\/+v1)+(?:\/|$)/.test(path)) {
    return 'The base URL holds /v1 twice. Set it so that the path begins with /v1 once.'
  }
  if (!path.startsWith('/v1') && (exists(`/v1${path}`) || adviceOn(`/v1${path}`) !== undefined)) {
    return 'The base URL lacks /v1. Put /v1 at its end.'
  }
  const tidy = path.replace(/\/{2,}/g, '/').replace(/\/$/, '')
  if (tidy !== path && tidy !== '' && exists(tidy)) {
    return 'The path has a slash too many. Take out double slashes and the one at the end.'
  }
  return (
    adviceOn(path) ??
    'There is nothing at this path. Calls go to POST /v1/chat/completions, and GET /v1/models lists the models.'
  )
}

/** What to do instead of asking for a path that OpenAI has, or a later MESH. */
function adviceOn(path: string): string | undefined {
  const instead = NOT_BUILT.find(([prefix]) => isBelow(path, prefix))?.[1]
  if (instead !== undefined) return `MESH does not have this route in this version. ${instead}`
  return NOT_OFFERED.find(([prefix]) => isBelow(path, prefix))?.[1]
}

function isBelow(path: string, prefix: string): boolean {
  return path === prefix || path.startsWith(`${prefix}/`)
}
