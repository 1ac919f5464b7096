import type { Catalog } from '@mesh/catalog/catalog.ts'
import { systemClock } from '@mesh/engine/clock.ts'
import { createTransport } from '@mesh/engine/transport.ts'
import { type Simulator, startSimulator } from '@mesh/simulator/server.ts'
import { createAuthenticator } from './accounts/authenticate.ts'
import { OperatorMemory } from './accounts/operator-memory.ts'
import { listenForPolicy } from './accounts/policy-listener.ts'
import { createRevocations } from './accounts/revocations.ts'
import { LiveCalls } from './call/live-calls.ts'
import { createPseudonyms } from './call/pseudonyms.ts'
import { RefusalRows } from './call/refusal-rows.ts'
import { catalogOf } from './catalog.ts'
import { type Conditions, conditionsOf, termsOf } from './conditions.ts'
import { openPorts } from './http/ports.ts'
import type { ProviderRoutesOptions } from './http/routes/providers.ts'
import { DEFAULT_HTTP_BOUNDS, type HttpBounds } from './http/server.ts'
import type { Id, Seams } from './ids.ts'
import { createIdempotencyClaims } from './ledger/idempotency.ts'
import { createBooks } from './ledger/postgres-books.ts'
import type { Log } from './log.ts'
import { closeAll } from './machine.ts'
import { MeshNow } from './mesh-now.ts'
import { expose, type Scrape } from './metrics/exposition.ts'
import { createRouterMetrics } from './metrics/router-metrics.ts'
import { fitOpenFiles, type OpenFilesFit, openFilesMax } from './open-files.ts'
import { HEALTH_EPOCH_MS } from './plan-snapshots.ts'
import type { PriceBook } from './prices.ts'
import { CredentialPools } from './providers/credential-pools.ts'
import { LiveHealth } from './providers/live-health.ts'
import { ProviderMemory } from './providers/provider-memory.ts'
import { KeptSnapshots } from './records/kept-snapshots.ts'
import type { SigningKey } from './records/signing-key.ts'
import { homeFile, type Settings } from './settings.ts'
import type { Database } from './storage/database.ts'
import { watchPartitions } from './storage/partition-horizon.ts'
import { withinPatience } from './storage/patience.ts'
import { TokenCounting } from './tokens/token-counting.ts'
import { VERSION } from './version.ts'
import type { Siblings } from './workers/siblings.ts'

/** What one process needs to serve. */
export interface ServeOptions {
  readonly settings: Settings
  readonly catalog: Catalog
  readonly prices: PriceBook
  readonly signingKey: SigningKey
  /** Its owner closes it, after this process has stopped to serve. */
  readonly database: Database
  /** This process, anew at every start. */
  readonly routerId: Id<'rtr'>
  /** The other processes of this machine that serve. */
  readonly siblings: Siblings
  readonly log: Log
  readonly seams: Seams
  /** The providers that test keys reach. Where it is given its owner stops it; else the process has its own. */
  readonly simulator?: Simulator
}

/** Where a process listens, and where all its siblings do. */
export interface Ports {
  readonly url: string
  /** The operators' own port, where there is one. */
  readonly adminUrl?: string
}

/** What counts for calls that begin from now on. Its price lists are published already. */
export interface Change {
  readonly settings: Settings
  readonly prices: PriceBook
}

/** Who serves: a process, or several on one port. */
export interface Serving extends Ports {
  /** Takes new settings and their prices. Calls that run keep those that they began with. */
  change(change: Change): Promise<void>
  /**
   * Takes no more calls, lets running ones end, and settles them.
   * @param booksPatienceMs How long it waits for books that cannot be written; without it, until they can.
   */
  stop(booksPatienceMs?: number): Promise<void>
}

const CACHED_KEYS_MAX = 10_000
/** How long calls that were ended may take to be settled. */
const LAST_CALLS_MS = 5_000
/** How long the last bytes of answers may take to leave, once every call has ended. */
const LAST_BYTES_MS = 5_000

/** Makes everything that a process serves with, in the order in which the parts need each other, and listens. */
export async function serve(options: ServeOptions): Promise<Serving> {
  const { settings, catalog, prices, signingKey, database, routerId, siblings, log, seams } = options
  const closers: (() => Promise<void>)[] = []
  try {
    const { holds } = settings.policy
    const metrics = createRouterMetrics(catalog, { version: VERSION, priceListId: prices.standard.id })
    closers.push(async () => metrics[Symbol.dispose]())
    const books = createBooks({
      database,
      routerId,
      log,
      observer: metrics.books,
      holdTtlMs: holds.lifetimeMs,
      keyShareBasisPoints: holds.keySharePercent * 100,
      patienceMs: settings.policy.calls.settleWaitMs,
      runningMax: settings.policy.calls.concurrencyMax,
    })
    await Promise.all([books.start(), database.openAhead()])
    closers.push(() => books.close())

    const authenticator = createAuthenticator({ database, seams, cachedKeysMax: CACHED_KEYS_MAX })
    const { calls, http } = settings.policy
    const fit = fitOpenFiles(
      { connectionsMax: http.connectionsMax, callsMax: calls.concurrencyMax },
      openFilesMax(),
    )
    const liveCalls = new LiveCalls({
      countMax: fit.callsMax,
      countPerAccountMax: Math.max(1, Math.floor((fit.callsMax * calls.accountSharePercent) / 100)),
    })
    const revocations = createRevocations({ database, path: homeFile(settings, 'revocations'), seams, log })
    closers.push(() => revocations.close())
    const providers = new ProviderMemory(database)
    await providers.refresh()
    const listener = await listenForPolicy({
      ...{ database, authenticator, liveCalls, revocations, providers, log },
    })
    closers.push(() => listener.close())

    const simulator = options.simulator ?? (await startSimulator())
    if (simulator !== options.simulator) closers.push(() => simulator.close())
    const { upstreamAnswerBytesMax, upstreamHeaderBytesMax } = settings.policy.calls
    const transport = createTransport({
      responseBytesMax: upstreamAnswerBytesMax,
      responseHeaderBytesMax: upstreamHeaderBytesMax,
      ...(settings.proxy ? { proxy: settings.proxy } : {}),
    })
    closers.push(() => transport.close())

    let url = ''
    let changed = { catalog, settings, prices }
    const input = () => ({ ...changed, providers, health: health.seen() })
    const pools = new CredentialPools(systemClock, log)
    const conditions = (): Conditions => conditionsOf({ ...input(), pools, transport, simulator })
    const health = new LiveHealth({
      memory: providers,
      engine: () => meshNow.current.engines.live,
      clock: systemClock,
      accountSharePercent: settings.policy.providers.accountSharePercent,
      keepsAway: settings.policy.providers.keepAway,
      probes: settings.policy.providers.probes,
      log,
    })
    const keptSnapshots = new KeptSnapshots(database, seams.now, log)
    closers.push(() => keptSnapshots.settled())
    const meshNow = new MeshNow({
      ...conditions(),
      keptSnapshots,
      authenticator,
      books,
      claims: createIdempotencyClaims(database, { patienceMs: settings.policy.calls.settleWaitMs }),
      health,
      liveCalls,
      refusalRows: new RefusalRows(seams),
      observer: metrics.calls,
      pseudonyms: createPseudonyms(signingKey.deriveSecret('pseudonyms')),
      issuer: () => settings.publicUrl ?? url,
      seams,
      log,
    })
    providers.whenChanged(() => meshNow.change(conditions()))
    const epochs = setInterval(() => {
      meshNow.change({ terms: termsOf(input(), meshNow.current.terms) })
    }, HEALTH_EPOCH_MS)
    closers.push(async () => clearInterval(epochs))

    const bounds: HttpBounds = {
      ...DEFAULT_HTTP_BOUNDS,
      ...http,
      connectionsMax: fit.connectionsMax,
      bodyBytesAtOnceMax: calls.bodyBytesAtOnceMax,
      readerStallMs: calls.readerStallMs,
      readerBytesPerSecondMin: calls.readerBytesPerSecondMin,
      readerDeadlineMs: calls.deadlineMs,
    }
    const partitions = watchPartitions(database, seams.now)
    closers.push(() => partitions.stop())
    const { callsMax } = fit
    metrics.watch({ liveCalls, callsMax, books, listener, pool: database.pool, simulator, partitions })
    siblings.report('metrics', () => metrics.registry.snapshot())
    siblings.report('health', async () => health.report())
    const operators = new OperatorMemory(database)
    await operators.refresh()
    const scrape: Scrape = async (accept) => {
      const { reports, silent } = await siblings.gather('metrics')
      return expose(reports, silent, accept)
    }
    const providerRoutes: ProviderRoutesOptions = {
      catalog: () => meshNow.current.catalog,
      gatherHealth: async () => (await siblings.gather('health')).reports,
      memory: providers,
      pools,
      settings: () => changed.settings,
      ...{ database, seams },
    }
    const tokenCounting = new TokenCounting()
    closers.push(() => tokenCounting.close())
    const routes = {
      ...{ meshNow, database, signingKey, revocations, operators, scrape, tokenCounting },
      providers: providerRoutes,
    }
    const ports = await openPorts({ settings, bounds, routes, observer: metrics.http, log, seams })
    closers.push(() => ports.close())
    const { adminUrl } = ports
    url = ports.url
    // A start that is refused says one sentence and nothing else, so this waits until it has been made.
    if (fit.isLowered) tellOfFewFiles(fit, log)
    log.info('router started', { routerId })

    return {
      url,
      ...(adminUrl === undefined ? {} : { adminUrl }),
      async change(change) {
        changed = { ...change, catalog: catalogOf(change.settings.policy) }
        meshNow.change(conditions())
      },
      async stop(booksPatienceMs) {
        const closed = ports.close()
        if (!(await liveCalls.drained(changed.settings.policy.shutdown.drainMs))) {
          liveCalls.abortAll()
          // Without providers every attempt ends, so every call comes to its settlement.
          await transport.close()
          await liveCalls.drained(LAST_CALLS_MS)
        }
        // Whoever reads slowly, or has asked half a question, is not waited for.
        const impatience = setTimeout(() => ports.closeAllConnections(), LAST_BYTES_MS)
        await closed
        clearTimeout(impatience)
        if (booksPatienceMs === undefined) await books.drain()
        else
          await withinPatience(books.drain(), booksPatienceMs).catch(() => log.warn('settlements are lost'))
        await closeAll(closers, log)
        log.info('router stopped', { routerId })
      },
    }
  } catch (error) {
    await closeAll(closers, log)
    throw error
  }
}

function tellOfFewFiles({ callsMax, connectionsMax }: OpenFilesFit, log: Log): void {
  const setting = 'ulimit -n'
  log.info('the limit of open files lowers calls.concurrencyMax', { setting, count: callsMax })
  log.info('the limit of open files lowers http.connectionsMax', { setting, count: connectionsMax })
}
