import { z } from 'zod'
import { limitsSchema } from '../../accounts/limit-schema.ts'
import {
  createProject,
  deleteProject,
  listProjects,
  renderProject,
  updateProject,
} from '../../accounts/projects.ts'
import { pageQuery, readCursor, toPage } from '../pagination.ts'
import type { Server } from '../server.ts'
import type { ManagementOptions } from './management.ts'
import { idOf, idParams, label, pathId } from './request-parts.ts'

/** `/v1/projects`: projects of the caller's account, or of any account for an operator. */
export function registerProjectRoutes(
  server: Server,
  { store, access, vocabulary }: ManagementOptions,
): void {
  const limits = limitsSchema(vocabulary)
  const onRequest = access.authenticated

  server.get(
    '/v1/projects',
    { onRequest, schema: { querystring: pageQuery.extend({ accountId: idOf('acct').optional() }) } },
    async (request) => {
      const principal = await access.requirePrincipal(request, 'keys')
      const { limit, cursor, accountId } = request.query
      const before = readCursor(cursor, 'proj')
      const projects = await listProjects(store.database.query, principal, { accountId, before, limit })
      return toPage(projects, limit, ({ row }) => row.id, renderProject)
    },
  )

  server.post(
    '/v1/projects',
    {
      onRequest,
      schema: {
        body: z.strictObject({
          name: label,
          accountId: idOf('acct').optional(),
          limits: limits.optional(),
        }),
      },
    },
    async (request, reply) => {
      const principal = await access.requirePrincipal(request, 'keys')
      void reply.code(201)
      return renderProject(await createProject(store, principal, request.body))
    },
  )

  server.patch(
    '/v1/projects/:id',
    {
      onRequest,
      schema: {
        params: idParams,
        body: z.strictObject({ name: label.optional(), limits: limits.optional() }),
      },
    },
    async (request) => {
      const principal = await access.requirePrincipal(request, 'keys')
      return renderProject(
        await updateProject(store, principal, pathId('proj', request.params.id), request.body),
      )
    },
  )

  server.delete('/v1/projects/:id', { onRequest, schema: { params: idParams } }, async (request) => {
    const principal = await access.requirePrincipal(request, 'keys')
    const project = await deleteProject(store, principal, pathId('proj', request.params.id))
    return { ...renderProject(project), deleted: true }
  })
}
