import type { Catalog } from '@mesh/catalog/catalog.ts'
import type { Simulator } from '@mesh/simulator/server.ts'
import type pg from 'pg'
import type { PolicyListener } from '../accounts/policy-listener.ts'
import type { LiveCalls } from '../call/live-calls.ts'
import type { ErrorCode } from '../errors.ts'
import type { HttpObserver } from '../http/http-observer.ts'
import type { BooksObserver, BooksQueue } from '../ledger/books-observer.ts'
import type { PostgresBooks } from '../ledger/postgres-books.ts'
import type { PartitionHorizon } from '../storage/partition-horizon.ts'
import { CallTallies } from './call-tallies.ts'
import { type Build, labelValues, type World } from './labels.ts'
import { MetricRegistry } from './metric-registry.ts'
import { showProcess } from './process-metrics.ts'

/** What a call tells of itself that is in no settlement. */
export interface CallObserver {
  /** A call was answered with an error before it was sent, or could not be booked in time. */
  refused(world: World, code: ErrorCode): void
}

/** Parts of a process that know their own numbers: they are asked at a scrape. */
export interface WatchedParts {
  readonly liveCalls: Pick<LiveCalls, 'count'>
  /** Calls that may run at once. */
  readonly callsMax: number
  readonly books: PostgresBooks
  readonly listener: PolicyListener
  readonly pool: pg.Pool
  readonly simulator: Simulator
  readonly partitions: PartitionHorizon
}

/** What one process counts of itself, and the ways to tell it. */
export interface RouterMetrics extends Disposable {
  readonly registry: MetricRegistry
  readonly calls: CallObserver
  readonly books: BooksObserver
  readonly http: HttpObserver
  watch(parts: WatchedParts): void
}

const NO_ROUTE = 'none'
const QUEUES = ['holds', 'settlements'] as const satisfies readonly BooksQueue[]

/** Builds the metrics of one process. */
export function createRouterMetrics(catalog: Catalog, build: Build): RouterMetrics {
  const routes = new Set([NO_ROUTE])
  const registry = new MetricRegistry(labelValues(catalog, routes, build))
  const ownProcess = showProcess(registry)
  registry.readOne('mesh_workers', () => 1)
  registry.read('mesh_build_info', () => [
    {
      labels: {
        version: build.version,
        node_version: process.version,
        catalog_version: catalog.version,
        price_list: build.priceListId,
      },
      value: 1,
    },
  ])
  return {
    registry,
    calls: { refused: (world, code) => registry.count('mesh_refusals_total', { world, code }) },
    books: observeBooks(registry),
    http: {
      route: (pattern) => void routes.add(pattern),
      request: (pattern, status) =>
        registry.count('mesh_http_requests_total', { route: pattern ?? NO_ROUTE, status: String(status) }),
      bodies(budget) {
        registry.readOne('mesh_http_bodies_bytes', () => budget.bytes)
        registry.readOne('mesh_http_bodies_bytes_max', () => budget.bytesMax)
      },
      bodyRefused: (code) => registry.count('mesh_http_bodies_refused_total', { code }),
      slowReaderCut: () => registry.count('mesh_slow_readers_cut_total', {}),
    },
    watch: (parts) => watchParts(registry, parts),
    [Symbol.dispose]: () => ownProcess[Symbol.dispose](),
  }
}

function observeBooks(registry: MetricRegistry): BooksObserver {
  const tallies = new CallTallies(registry)
  const observersOf = (queue: BooksQueue) => ({
    items: registry.observer('mesh_books_batch_items', { queue }),
    seconds: registry.observer('mesh_books_batch_duration_seconds', { queue }),
  })
  const batches = { holds: observersOf('holds'), settlements: observersOf('settlements') }
  return {
    batch(queue, items, durationMs) {
      batches[queue].items(items)
      batches[queue].seconds(durationMs / 1000)
    },
    setback: (queue) => registry.count('mesh_books_setbacks_total', { queue }),
    holdRefused: (refusal) => registry.count('mesh_holds_refused_total', { refusal }),
    settled: (settlement) => tallies.add(settlement),
    late: () => registry.count('mesh_settlements_late_total', {}),
    withdrawn: (settlement) => tallies.refund(settlement),
    quarantined: () => registry.count('mesh_settlements_quarantined_total', {}),
    reaped: (count) => registry.count('mesh_holds_reaped_total', {}, count),
  }
}

function watchParts(registry: MetricRegistry, parts: WatchedParts): void {
  const { liveCalls, callsMax, books, listener, pool, simulator, partitions } = parts
  registry.readOne('mesh_calls_running', () => liveCalls.count)
  registry.readOne('mesh_calls_running_max', () => callsMax)
  registry.readOne('mesh_holds_held', () => books.state().held)
  registry.read('mesh_books_queue_items', () =>
    QUEUES.map((queue) => ({ labels: { queue }, value: books.state()[queue].items })),
  )
  registry.readOne('mesh_settlements_oldest_seconds', () => books.state().oldestSettlementMs / 1000)
  registry.read('mesh_database_up', () => [
    ...QUEUES.map((queue) => ({
      labels: { connection: queue },
      value: Number(books.state()[queue].isConnected),
    })),
    { labels: { connection: 'policy' }, value: Number(listener.isConnected) },
  ])
  registry.readOne('mesh_policy_notices_total', () => listener.noticeCount)
  registry.read('mesh_database_pool_connections', () => [
    { labels: { state: 'in_use' }, value: pool.totalCount - pool.idleCount },
    { labels: { state: 'idle' }, value: pool.idleCount },
  ])
  registry.readOne('mesh_database_pool_connections_max', () => pool.options.max ?? 0)
  registry.readOne('mesh_database_pool_waiting', () => pool.waitingCount)
  registry.readOne('mesh_partitions_until_timestamp_seconds', () => (partitions.untilMs ?? 0) / 1000)
  registry.readOne('mesh_simulator_requests_running', () => simulator.stats().running)
  registry.read('mesh_simulator_requests_total', () => {
    const { completed, refused, cancelled, brokenOff } = simulator.stats()
    return [
      { labels: { state: 'completed' }, value: completed },
      { labels: { state: 'refused' }, value: refused },
      { labels: { state: 'cancelled' }, value: cancelled },
      { labels: { state: 'broken_off' }, value: brokenOff },
    ]
  })
}
