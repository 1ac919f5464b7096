import { sql } from 'kysely'
import { MeshError } from '../../errors.ts'
import { publishedKeys } from '../../records/receipts.ts'
import type { Database } from '../../storage/database.ts'
import type { Server } from '../server.ts'

/** What machines ask of the router itself. */
export function registerPlatformRoutes(server: Server, database: Database): void {
  server.get('/healthz', async () => ({ status: 'ok' }))

  server.get('/readyz', async () => {
    try {
      await sql`select 1`.execute(database.query)
    } catch (cause) {
      throw new MeshError('storage_unavailable', 'The database does not answer.', { retry: true, cause })
    }
    return { status: 'ready', database: 'ok' }
  })

  server.get('/.well-known/mesh-receipt-keys.json', async (_request, reply) => {
    void reply.header('access-control-allow-origin', '*')
    return await publishedKeys(database)
  })
}
