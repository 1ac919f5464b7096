import { sql } from 'kysely'
import { MeshError } from '../../errors.ts'
import { publishedKeys } from '../../records/receipts.ts'
import type { Database } from '../../storage/database.ts'
import { withinPatience } from '../../storage/patience.ts'
import type { Server } from '../server.ts'

/** Whoever asks whether a router is ready decides within a few seconds. */
const READY_PATIENCE_MS = 2_000

/** What machines ask of the router itself. */
export function registerPlatformRoutes(server: Server, database: Database): void {
  server.get('/healthz', async () => ({ status: 'ok' }))

  server.get('/readyz', async () => {
    let state: 'on' | 'off' | undefined
    try {
      const asked = sql<{ transaction_read_only: 'on' | 'off' }>`show transaction_read_only`
      const { rows } = await withinPatience(asked.execute(database.query), READY_PATIENCE_MS)
      state = rows[0]?.transaction_read_only
    } catch (cause) {
      throw new MeshError('storage_unavailable', 'The database does not answer.', { retry: true, cause })
    }
    if (state !== 'off') {
      throw new MeshError('storage_unavailable', 'The database takes no changes: it is a standby.', {
        retry: true,
      })
    }
    return { status: 'ready', database: 'ok' }
  })

  server.get('/.well-known/mesh-receipt-keys.json', () => publishedKeys(database))
}
