import { findDataFolder, prepareHome } from '../storage/data-folder.ts'
import { type Database, openDatabase } from '../storage/database.ts'
import { startEmbeddedPostgres } from '../storage/embedded-postgres.ts'
import { externalDatabaseError } from '../storage/external-database.ts'
import { StartupError } from '../storage/startup-error.ts'
import type { OpsContext } from './command.ts'

export interface DatabaseUse {
  /** Where a router has the embedded database: use it beside him, or refuse. */
  readonly whenBusy: 'attach' | 'refuse'
  /** Whether the embedded database is made where there is none. */
  readonly create: boolean
}

/**
 * Opens the database of the settings for as long as `work` takes; starts the embedded one where it is down, and stops
 * what it started. Throws `StartupError` where it cannot be used.
 */
export async function withDatabase<Result>(
  { settings: read, tell, signal }: OpsContext,
  { whenBusy, create }: DatabaseUse,
  work: (database: Database) => Promise<Result>,
): Promise<Result> {
  const settings = read()
  if (settings.databaseUrl === undefined && !create) await requireEmbedded(settings.home)
  const embedded = settings.databaseUrl
    ? undefined
    : await startEmbeddedPostgres({
        home: settings.home,
        binFolder: settings.postgresBin,
        whenBusy,
        notice: tell,
      })
  const connection = embedded?.connection ?? { url: settings.databaseUrl?.reveal() ?? '' }
  const database = openDatabase(connection, {
    poolSize: 2,
    applicationName: 'mesh ops',
    statementTimeoutMs: 0,
  })
  try {
    signal.throwIfAborted()
    await database.pool.query('select 1').catch((error: unknown) => {
      throw embedded ? error : externalDatabaseError(error)
    })
    return await work(database)
  } finally {
    await database.close()
    await embedded?.stop()
  }
}

async function requireEmbedded(home: string): Promise<void> {
  const folder = await findDataFolder(await prepareHome(home))
  if (folder?.initialised) return
  throw new StartupError(
    `There is no database in ${home} yet: set MESH_HOME or DATABASE_URL to where the books are.`,
  )
}
