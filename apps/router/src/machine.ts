import type { Catalog } from '@mesh/catalog/catalog.ts'
import { ensureOperatorKey, type Operator } from './accounts/operator-keys.ts'
import { replayJournal } from './accounts/revocation-replay.ts'
import { newId, type Seams } from './ids.ts'
import { releaseHolds } from './ledger/dead-routers.ts'
import { describeError, type Log } from './log.ts'
import { type PriceBook, priceBookOf, publishPrices } from './prices.ts'
import { publishSigningKey } from './records/receipts.ts'
import { agreeOnSigningKey } from './records/signing-agreement.ts'
import { loadSigningKey, type SigningKey } from './records/signing-key.ts'
import { homeFile, type Settings } from './settings.ts'
import { POOL_SIZE, PRIMARY_POOL_SIZE, STATEMENT_TIMEOUT_MS } from './storage/connections.ts'
import { type ConnectionOptions, type Database, openDatabase } from './storage/database.ts'
import { startEmbeddedPostgres } from './storage/embedded-postgres.ts'
import { externalDatabaseError } from './storage/external-database.ts'
import { migrate } from './storage/migrate.ts'
import { requireNotMovedAway } from './storage/moved-away.ts'
import { keepPartitions } from './storage/partition-keeper.ts'
import { requireConnections } from './storage/room-for-workers.ts'

/** What the routers of one machine share: its database, its keys, its prices. */
export interface Machine {
  readonly connection: ConnectionOptions
  readonly database: Database
  /** Whether the database is this machine's own, so that no router elsewhere uses it. */
  readonly isEmbedded: boolean
  readonly signingKey: SigningKey
  readonly prices: PriceBook
  readonly operator: Operator
  /** Where the operator key is, unless MESH_ADMIN_KEY names it. */
  readonly adminKeyFile: string
  /** Stops what was started. To be called when no router uses it any more. */
  close(): Promise<void>
}

export interface MachineOptions {
  readonly settings: Settings
  readonly catalog: Catalog
  readonly log: Log
  readonly seams: Seams
  /** Says to whoever starts MESH what is being done. */
  readonly notice: (text: string) => void
}

/**
 * Does what a start does once, however many processes then serve: starts or adopts the database, brings its schema up
 * to date, and sees to it that keys and prices are there.
 * @throws StartupError with one plain sentence where that cannot be.
 */
export async function prepareMachine(options: MachineOptions): Promise<Machine> {
  const { settings, catalog, log, seams } = options
  const closers: (() => Promise<void>)[] = []
  const close = () => closeAll(closers, log)
  try {
    const storage = await openStorage(options)
    closers.push(storage.close)
    const { database, isEmbedded } = storage
    await migrate(database.pool).catch((error: unknown) => {
      throw isEmbedded ? error : externalDatabaseError(error)
    })
    await requireNotMovedAway(database)
    await requireConnections(database, settings.workers)
    const partitions = keepPartitions(database, { now: seams.now, log })
    closers.push(partitions.stop)
    // A month's first row decides in which partition the month lies.
    await partitions.ready

    const signingKey = await loadSigningKey(
      settings.signingKeyFile ?? homeFile(settings, 'signing-key.pem'),
      { createIfMissing: settings.signingKeyFile === undefined },
    )
    // A home that is locked has no routers but those of this start.
    if (!isEmbedded) {
      const agreement = await agreeOnSigningKey(database, signingKey, log)
      closers.push(() => agreement.close())
    }
    await publishSigningKey(database, signingKey)
    const prices = priceBookOf(catalog, settings.policy)
    await publishPrices(database, prices)
    await replayJournal(database, homeFile(settings, 'revocations'))
    const adminKeyFile = homeFile(settings, 'admin-key')
    const operator = await ensureOperatorKey({
      database,
      seams,
      file: adminKeyFile,
      isShared: !isEmbedded,
      ...(settings.adminKey ? { configured: settings.adminKey } : {}),
    })
    // The home is locked and nobody serves yet, so whoever holds money is dead.
    if (isEmbedded) {
      await releaseHolds(database, { whose: 'of_other_routers', routerId: newId('rtr', seams) })
    }
    const { connection } = storage
    return { connection, database, isEmbedded, signingKey, prices, operator, adminKeyFile, close }
  } catch (error) {
    await close()
    throw error
  }
}

/** Closes parts in the order opposite to that in which they were opened. A part that fails keeps no other open. */
export async function closeAll(closers: (() => Promise<void>)[], log: Log): Promise<void> {
  for (const close of closers.splice(0).reverse()) {
    await close().catch((error: unknown) => log.error('a part did not stop', describeError(error)))
  }
}

async function openStorage({ settings, notice }: MachineOptions) {
  const options = {
    // A process that serves shares this pool among its requests.
    poolSize: settings.workers === 1 ? POOL_SIZE : PRIMARY_POOL_SIZE,
    keepsConnections: settings.workers === 1,
    applicationName: 'mesh',
    statementTimeoutMs: STATEMENT_TIMEOUT_MS,
  }
  if (settings.databaseUrl) {
    const connection = { url: settings.databaseUrl.reveal() }
    const database = openDatabase(connection, options)
    return { connection, database, isEmbedded: false, close: () => database.close() }
  }
  const embedded = await startEmbeddedPostgres({
    home: settings.home,
    binFolder: settings.postgresBin,
    notice,
  })
  const { connection } = embedded
  const database = openDatabase(connection, options)
  return {
    connection,
    database,
    isEmbedded: true,
    async close() {
      await database.close()
      await embedded.stop()
    },
  }
}
