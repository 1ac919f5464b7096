import { listAudit, renderAudit } from '../../accounts/audit.ts'
import { pageQuery, readCursor, toPage } from '../pagination.ts'
import type { Server } from '../server.ts'
import type { ManagementOptions } from './management.ts'
import { idOf } from './request-parts.ts'

/** `/v1/audit`: every change of an account, for keys with the scope `keys`; an operator sees all accounts. */
export function registerAuditRoutes(server: Server, { store, access }: ManagementOptions): void {
  server.get(
    '/v1/audit',
    {
      onRequest: access.authenticated,
      schema: { querystring: pageQuery.extend({ accountId: idOf('acct').optional() }) },
    },
    async (request) => {
      const principal = await access.requirePrincipal(request, 'keys')
      const { limit, cursor, accountId } = request.query
      const rows = await listAudit(store.database.query, principal, {
        accountId,
        before: readCursor(cursor, 'aud'),
        limit,
      })
      return toPage(rows, limit, ({ id }) => id, renderAudit)
    },
  )
}
