import { CONNECTIONS_OF_PRIMARY, CONNECTIONS_OF_ROUTER } from './connections.ts'
import type { Database } from './database.ts'
import { StartupError } from './startup-error.ts'

/**
 * Looks whether PostgreSQL allows the connections that so many workers open. What others use of them is not known.
 * @throws StartupError where it allows fewer, so that nobody finds out under load.
 */
export async function requireConnections({ pool }: Pick<Database, 'pool'>, workers: number): Promise<void> {
  if (workers === 1) return
  const { rows } = await pool.query<{ allowed: number }>(
    `select least(
       current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer
         - coalesce(current_setting('reserved_connections', true)::integer, 0),
       (select nullif(rolconnlimit, -1) from pg_roles where rolname = current_user),
       (select nullif(datconnlimit, -1) from pg_database where datname = current_database())
     ) as allowed`,
  )
  const allowed = rows[0]?.allowed ?? 0
  const needed = workers * CONNECTIONS_OF_ROUTER + CONNECTIONS_OF_PRIMARY
  if (allowed >= needed) return
  throw new StartupError(
    `MESH_WORKERS=${workers} takes up to ${needed} connections to PostgreSQL, and it allows ${allowed}: set fewer workers, or let it allow more.`,
  )
}
