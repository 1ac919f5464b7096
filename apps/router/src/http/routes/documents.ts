import type { FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import { MeshError } from '../../errors.ts'
import { type Document, INDEX, OPENAPI, readDocuments } from '../documents.ts'
import type { Server } from '../server.ts'

/** Pages change with versions of MESH alone; a reader asks again after this long, and mostly hears that nothing did. */
const MAX_AGE_S = 300

/** What there is to read: the pages of `docs/` as text, their index, and the description of this API. Public. */
export function registerDocumentRoutes(server: Server): void {
  const documents = readDocuments()
  const answer = (name: string, request: FastifyRequest, reply: FastifyReply): FastifyReply => {
    const found = documents.get(name)
    if (!found) throw new MeshError('not_found', 'There is no such page. GET /llms.txt lists them.')
    return send(found, request, reply)
  }
  server.get('/openapi.json', (request, reply) => answer(OPENAPI, request, reply))
  server.get('/llms.txt', (request, reply) => answer(INDEX, request, reply))
  server.get('/docs', (request, reply) => answer(INDEX, request, reply))
  server.get('/docs/*', { schema: { params: z.object({ '*': z.string() }) } }, (request, reply) =>
    answer(request.params['*'], request, reply),
  )
}

function send(
  { body, contentType, etag }: Document,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  void reply.headers({
    etag,
    'cache-control': `public, max-age=${MAX_AGE_S}`,
    // They hold nothing of anybody, and pages that show them are elsewhere.
    'access-control-allow-origin': '*',
  })
  if (isKnown(request.headers['if-none-match'], etag)) return reply.code(304).send()
  return reply.type(contentType).send(body)
}

/** RFC 9110, 13.1.2: a list of tags, weak ones compared as strong ones, or `*`. */
function isKnown(ifNoneMatch: string | undefined, etag: string): boolean {
  if (ifNoneMatch === undefined) return false
  const tags = ifNoneMatch.split(',').map((tag) => tag.trim().replace(/^W\//, ''))
  return tags.includes('*') || tags.includes(etag)
}
