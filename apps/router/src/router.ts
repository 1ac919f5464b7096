import type { AddressInfo } from 'node:net'
import { loadCatalog } from '@mesh/catalog/load.ts'
import { createModelIndex } from '@mesh/catalog/lookup.ts'
import { protocolFor } from '@mesh/engine/protocols/registry.ts'
import { createTransport } from '@mesh/engine/transport.ts'
import { type Simulator, startSimulator } from '@mesh/simulator/server.ts'
import { createAuthenticator } from './accounts/authenticate.ts'
import { ensureOperatorKey } from './accounts/operator-keys.ts'
import { listenForPolicy } from './accounts/policy-listener.ts'
import { LiveCalls } from './call/live-calls.ts'
import type { Mesh } from './call/mesh.ts'
import { createPseudonyms } from './call/pseudonyms.ts'
import { RefusalRows } from './call/refusal-rows.ts'
import { liveEngine, providersWithCredentials, testEngine } from './engines.ts'
import { type FirstAccount, makeFirstAccount } from './first-account.ts'
import { registerRoutes } from './http/routes.ts'
import { createServer, DEFAULT_HTTP_BOUNDS } from './http/server.ts'
import { newId, type Seams } from './ids.ts'
import { createIdempotencyClaims } from './ledger/idempotency.ts'
import { createBooks } from './ledger/postgres-books.ts'
import { describeError, type Log } from './log.ts'
import { publishPriceList } from './prices.ts'
import { publishSigningKey } from './records/receipts.ts'
import { loadSigningKey } from './records/signing-key.ts'
import { homeFile, type Settings } from './settings.ts'
import { openDatabase } from './storage/database.ts'
import { startEmbeddedPostgres } from './storage/embedded-postgres.ts'
import { externalDatabaseError } from './storage/external-database.ts'
import { migrate } from './storage/migrate.ts'
import { keepPartitions } from './storage/partition-keeper.ts'
import { StartupError } from './storage/startup-error.ts'

/** A router that listens. */
export interface Router {
  readonly url: string
  /** Null where MESH_ADMIN_KEY names the operator key: no file holds one that works then. */
  readonly adminKeyFile: string | null
  /** Made on the very first start of the embedded default, and then only. */
  readonly firstAccount?: FirstAccount
  /** Takes no more calls, lets running ones end, settles them, and stops what was started. */
  stop(): Promise<void>
}

export interface RouterOptions {
  readonly settings: Settings
  readonly log: Log
  readonly seams: Seams
  /** Says to whoever starts MESH what is being done. */
  readonly notice: (text: string) => void
  /** The providers that test keys reach. Where it is given its owner stops it; else the router has its own. */
  readonly simulator?: Simulator
}

const POOL_SIZE = 10
const STATEMENT_TIMEOUT_MS = 10_000
const CACHED_KEYS_MAX = 10_000
/** How long calls that were ended may take to be settled. */
const LAST_CALLS_MS = 5_000
/** How long the last bytes of answers may take to leave, once every call has ended. */
const LAST_BYTES_MS = 5_000

/** Makes everything that a router is made of, in the order in which the parts need each other, and listens. */
export async function startRouter(options: RouterOptions): Promise<Router> {
  const { settings, log, seams, notice } = options
  const closers: (() => Promise<void>)[] = []
  const stopAll = async (): Promise<void> => {
    for (const close of closers.splice(0).reverse()) {
      await close().catch((error: unknown) => log.error('a part did not stop', describeError(error)))
    }
  }
  try {
    const catalog = loadCatalog()
    const routerId = newId('rtr', seams)

    const storage = await openStorage(settings, notice)
    closers.push(storage.close)
    const { database } = storage
    await migrate(database.pool).catch((error: unknown) => {
      throw storage.isEmbedded ? error : externalDatabaseError(error)
    })
    const partitions = keepPartitions(database, { now: seams.now, log })
    closers.push(partitions.stop)
    // A month's first row decides in which partition the month lies.
    await partitions.ready

    const signingKey = await loadSigningKey(
      settings.signingKeyFile ?? homeFile(settings, 'signing-key.pem'),
      {
        createIfMissing: settings.signingKeyFile === undefined,
      },
    )
    await publishSigningKey(database, signingKey)
    const prices = await publishPriceList(database, catalog, settings.policy)
    const adminKeyFile = homeFile(settings, 'admin-key')
    const operator = await ensureOperatorKey({
      database,
      seams,
      file: adminKeyFile,
      isShared: !storage.isEmbedded,
      ...(settings.adminKey ? { configured: settings.adminKey } : {}),
    })

    const { holds } = settings.policy
    const books = createBooks({
      database,
      routerId,
      log,
      holdTtlMs: holds.lifetimeMs,
      keyShareBasisPoints: holds.keySharePercent * 100,
      patienceMs: settings.policy.calls.settleWaitMs,
      runningMax: settings.policy.calls.concurrencyMax,
    })
    await books.start()
    closers.push(() => books.close())
    // The folder's lock is ours, so whoever held money before us is dead.
    if (storage.isEmbedded) await books.reap('of_other_routers')

    const authenticator = createAuthenticator({ database, seams, cachedKeysMax: CACHED_KEYS_MAX })
    const liveCalls = new LiveCalls(settings.policy.calls.concurrencyMax)
    const listener = await listenForPolicy({ database, authenticator, liveCalls, log })
    closers.push(() => listener.close())

    const simulator = options.simulator ?? (await startSimulator())
    if (simulator !== options.simulator) closers.push(() => simulator.close())
    const transport = createTransport(settings.proxy ? { proxy: settings.proxy } : {})
    closers.push(() => transport.close())

    let url = ''
    const mesh: Mesh = {
      catalog,
      models: createModelIndex(catalog),
      prices,
      snapshot: {
        id: `${catalog.version}/${prices.id}`,
        catalog,
        sellPrices: prices.sell,
        protocolBuilt: (name) => protocolFor(name) !== undefined,
        takesParameter: (endpoint, name) => protocolFor(endpoint.protocol)?.takes(endpoint, name) ?? false,
        credentials: providersWithCredentials(settings),
        enabledProviders: new Set(catalog.providers.map(({ id }) => id)),
      },
      policy: settings.policy,
      authenticator,
      books,
      claims: createIdempotencyClaims(database),
      engines: {
        live: liveEngine(catalog, settings, transport),
        test: testEngine(simulator, settings.policy, transport),
      },
      liveCalls,
      refusalRows: new RefusalRows(seams),
      pseudonyms: createPseudonyms(signingKey.deriveSecret('pseudonyms')),
      issuer: () => settings.publicUrl ?? url,
      seams,
      log,
    }

    const { bodyBytesAtOnceMax } = settings.policy.calls
    const server = createServer({ bounds: { ...DEFAULT_HTTP_BOUNDS, bodyBytesAtOnceMax }, log, seams })
    registerRoutes(server, { mesh, database, signingKey })
    closers.push(() => server.close())
    url = await listen(server.listen({ port: settings.port, host: settings.host }), settings, () =>
      server.server.address(),
    )
    // Last of all: its key is shown once, so a start that fails must not have made it.
    const firstAccount =
      storage.isEmbedded && isLoopback(settings.host)
        ? await makeFirstAccount(database, operator, seams, settings.policy)
        : undefined
    log.info('router started', { routerId })

    return {
      url,
      adminKeyFile: settings.adminKey ? null : adminKeyFile,
      ...(firstAccount ? { firstAccount } : {}),
      async stop() {
        const closed = server.close()
        if (!(await liveCalls.drained(settings.policy.shutdown.drainMs))) {
          liveCalls.abortAll()
          // Without providers every attempt ends, so every call comes to its settlement.
          await transport.close()
          await liveCalls.drained(LAST_CALLS_MS)
        }
        // A connection on which nothing was ever asked stays open for as long as its client likes.
        const impatience = setTimeout(() => server.server.closeAllConnections(), LAST_BYTES_MS)
        await closed
        clearTimeout(impatience)
        await books.drain()
        await stopAll()
        log.info('router stopped', { routerId })
      },
    }
  } catch (error) {
    await stopAll()
    throw error
  }
}

async function openStorage(settings: Settings, notice: (text: string) => void) {
  const options = { poolSize: POOL_SIZE, applicationName: 'mesh', statementTimeoutMs: STATEMENT_TIMEOUT_MS }
  if (settings.databaseUrl) {
    const database = openDatabase({ url: settings.databaseUrl.reveal() }, options)
    return { database, isEmbedded: false, close: () => database.close() }
  }
  const embedded = await startEmbeddedPostgres({
    home: settings.home,
    binFolder: settings.postgresBin,
    notice,
  })
  const database = openDatabase(embedded.connection, options)
  return {
    database,
    isEmbedded: true,
    async close() {
      await database.close()
      await embedded.stop()
    },
  }
}

async function listen(
  listening: Promise<string>,
  { host, port }: Settings,
  address: () => AddressInfo | string | null,
): Promise<string> {
  try {
    await listening
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (code === 'EADDRINUSE') {
      throw new StartupError(
        `Port ${port} on ${host} is in use: stop what uses it, or set PORT to another one.`,
      )
    }
    if (code === 'EACCES')
      throw new StartupError(`This user may not listen on port ${port}: set PORT to 1024 or more.`)
    if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND') {
      throw new StartupError(`${host} is not an address of this machine: set HOST to one that is.`)
    }
    throw error
  }
  const bound = address()
  const boundPort = bound !== null && typeof bound === 'object' ? bound.port : port
  const shown = host.includes(':') ? `[${host}]` : host
  return `http://${shown}:${boundPort}`
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\./.test(host)
}
