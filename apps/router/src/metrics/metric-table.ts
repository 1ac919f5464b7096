import type { LabelName } from './labels.ts'

interface MetricSpec {
  readonly type: 'counter' | 'gauge' | 'histogram'
  readonly help: string
  readonly labels: readonly LabelName[]
  /** Upper bounds of a histogram's buckets. */
  readonly buckets?: readonly number[]
  /** How the values of several workers become one; `sum` unless said. */
  readonly merge?: 'sum' | 'max' | 'min' | 'first'
}

const CALL_SECONDS = [0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900] as const
const FIRST_TOKEN_SECONDS = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120] as const
const BATCH_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5] as const
const BATCH_ITEMS = [1, 2, 4, 8, 16, 32, 64, 128, 256] as const

/**
 * Every metric that `/metrics` shows. What a call was is counted when its settlement is posted, so these counters
 * say what the books say. They are floats and begin at nothing with each process: the ledger is the book of money.
 */
export const METRICS = {
  mesh_calls_total: {
    type: 'counter',
    help: 'Calls that were sent and settled, by who answered (else by what was asked for) and why they cost what they cost.',
    labels: ['world', 'model', 'provider', 'billing_reason'],
  },
  mesh_call_errors_total: {
    type: 'counter',
    help: 'Settled calls that ended in an error; client_disconnected is a caller who left.',
    labels: ['world', 'code'],
  },
  mesh_refusals_total: {
    type: 'counter',
    help: 'Calls that were refused before they were sent, and those whose end could not be booked in time (storage_unavailable). Replays and conflicts of idempotency keys are among them.',
    labels: ['world', 'code'],
  },
  mesh_call_duration_seconds: {
    type: 'histogram',
    help: 'From the start of a sent call to the end of its answer.',
    labels: ['world', 'provider'],
    buckets: CALL_SECONDS,
  },
  mesh_call_first_token_seconds: {
    type: 'histogram',
    help: 'From the start of a sent call to the first content of its answer.',
    labels: ['world', 'provider'],
    buckets: FIRST_TOKEN_SECONDS,
  },
  mesh_attempts_total: {
    type: 'counter',
    help: 'Dispatches of calls to providers, by what became of them.',
    labels: ['world', 'provider', 'outcome'],
  },
  mesh_attempt_failures_total: {
    type: 'counter',
    help: 'Attempts that failed, by why; deadline is a call that was cut at its deadline.',
    labels: ['world', 'provider', 'failure'],
  },
  mesh_fallbacks_total: {
    type: 'counter',
    help: 'Attempts whose failure was followed by another attempt, by the provider that had failed.',
    labels: ['world', 'provider'],
  },
  mesh_tokens_total: {
    type: 'counter',
    help: 'Tokens of settled calls, whether they were charged or not.',
    labels: ['world', 'model', 'provider', 'bucket'],
  },
  mesh_charged_usd_total: {
    type: 'counter',
    help: 'What settlements charged. For the eye: a float, where the ledger is exact.',
    labels: ['world', 'model', 'provider'],
  },
  mesh_refunded_usd_total: {
    type: 'counter',
    help: 'What was given back of it, because the charge came after its caller had been told that nothing was charged.',
    labels: ['world', 'model', 'provider'],
  },
  mesh_upstream_cost_usd_total: {
    type: 'counter',
    help: 'List-price cost of what was charged.',
    labels: ['world', 'model', 'provider'],
  },
  mesh_absorbed_cost_usd_total: {
    type: 'counter',
    help: 'List-price cost that MESH carries itself, by whom it is owed to. What reaped holds may cost is in the ledger alone.',
    labels: ['world', 'provider', 'billing_reason'],
  },
  mesh_calls_running: { type: 'gauge', help: 'Calls that run now.', labels: [] },
  mesh_calls_running_max: { type: 'gauge', help: 'Calls that may run at once.', labels: [] },
  mesh_slow_readers_cut_total: {
    type: 'counter',
    help: 'Callers who were cut off because they took too little of their answer for too long.',
    labels: [],
  },
  mesh_holds_refused_total: {
    type: 'counter',
    help: 'Holds that the books refused.',
    labels: ['refusal'],
  },
  mesh_holds_held: {
    type: 'gauge',
    help: 'Calls that money is held for here, those whose settlement waits included.',
    labels: [],
  },
  mesh_holds_reaped_total: {
    type: 'counter',
    help: 'Holds of dead routers that were released here.',
    labels: [],
  },
  mesh_books_queue_items: {
    type: 'gauge',
    help: 'Holds and settlements that wait for their batch.',
    labels: ['queue'],
  },
  mesh_books_batch_items: {
    type: 'histogram',
    help: 'Calls in a batch that was posted.',
    labels: ['queue'],
    buckets: BATCH_ITEMS,
  },
  mesh_books_batch_duration_seconds: {
    type: 'histogram',
    help: 'How long the database took to post a batch.',
    labels: ['queue'],
    buckets: BATCH_SECONDS,
  },
  mesh_books_setbacks_total: {
    type: 'counter',
    help: 'Times that a batch, or the connection for one, failed for reasons that pass. Settlements are posted again until they are in the books.',
    labels: ['queue'],
  },
  mesh_settlements_quarantined_total: {
    type: 'counter',
    help: 'Settlements that the database refused for their own sake. Each one needs a person: npm run ops -- ledger verify names them.',
    labels: [],
  },
  mesh_settlements_oldest_seconds: {
    type: 'gauge',
    help: 'How long the settlement has waited that waits longest, until it is in the books; 0 where none waits.',
    labels: [],
    merge: 'max',
  },
  mesh_settlements_late_total: {
    type: 'counter',
    help: 'Settlements that were posted after their caller had been told that the books could not be written in time.',
    labels: [],
  },
  mesh_database_up: {
    type: 'gauge',
    help: '1 where the connection stands. The one for policy notices is asked every two seconds; the database is not asked for a scrape.',
    labels: ['connection'],
    merge: 'min',
  },
  mesh_database_pool_connections: {
    type: 'gauge',
    help: 'Connections of the pool.',
    labels: ['state'],
  },
  mesh_database_pool_connections_max: {
    type: 'gauge',
    help: 'Connections that the pool may have.',
    labels: [],
  },
  mesh_database_pool_waiting: {
    type: 'gauge',
    help: 'Statements that wait for a connection of the pool.',
    labels: [],
  },
  mesh_policy_notices_total: {
    type: 'counter',
    help: 'Notices of changed accounts, keys and limits that were heard.',
    labels: [],
  },
  mesh_partitions_until_timestamp_seconds: {
    type: 'gauge',
    help: 'Until when events and ledger entries have partitions, as of the last look, in seconds since 1970. Later rows go to the default partitions.',
    labels: [],
    merge: 'max',
  },
  mesh_http_requests_total: {
    type: 'counter',
    help: 'Requests that were answered, or left by their client.',
    labels: ['route', 'status'],
  },
  mesh_http_bodies_bytes: {
    type: 'gauge',
    help: 'Bytes of request bodies that are in memory until they are parsed.',
    labels: [],
  },
  mesh_http_bodies_bytes_max: {
    type: 'gauge',
    help: 'Bytes of request bodies that may be in memory at once.',
    labels: [],
  },
  mesh_http_bodies_refused_total: {
    type: 'counter',
    help: 'Request bodies that were refused, by why; overloaded is for want of room.',
    labels: ['code'],
  },
  mesh_simulator_requests_total: {
    type: 'counter',
    help: 'Requests of test calls that the simulators have ended, by how.',
    labels: ['state'],
  },
  mesh_simulator_requests_running: {
    type: 'gauge',
    help: 'Requests of test calls that the simulators are at.',
    labels: [],
  },
  mesh_build_info: {
    type: 'gauge',
    help: 'What this router is, in its labels. Always 1.',
    labels: ['version', 'node_version', 'catalog_version', 'price_list'],
    merge: 'first',
  },
  mesh_workers: { type: 'gauge', help: 'Router processes that answered this scrape.', labels: [] },
  mesh_workers_silent: {
    type: 'gauge',
    help: 'Router processes that did not answer this scrape within a second: what they count is not in it.',
    labels: [],
  },
  process_cpu_user_seconds_total: {
    type: 'counter',
    help: 'CPU time spent in user mode.',
    labels: [],
  },
  process_cpu_system_seconds_total: {
    type: 'counter',
    help: 'CPU time spent in the kernel.',
    labels: [],
  },
  process_start_time_seconds: {
    type: 'gauge',
    help: 'When the process began, in seconds since 1970; of workers, the youngest.',
    labels: [],
    merge: 'max',
  },
  process_resident_memory_bytes: { type: 'gauge', help: 'Memory in RAM.', labels: [] },
  process_open_fds: { type: 'gauge', help: 'Open file descriptors, on Linux.', labels: [] },
  nodejs_heap_size_used_bytes: { type: 'gauge', help: 'Heap in use.', labels: [] },
  nodejs_heap_size_total_bytes: { type: 'gauge', help: 'Heap that is reserved.', labels: [] },
  nodejs_external_memory_bytes: {
    type: 'gauge',
    help: 'Memory outside the heap that objects on it keep, buffers included.',
    labels: [],
  },
  nodejs_active_resources: {
    type: 'gauge',
    help: 'Sockets, timers and requests that keep the event loop alive.',
    labels: [],
  },
  nodejs_eventloop_lag_p50_seconds: {
    type: 'gauge',
    help: 'Delay of the event loop since the last scrape, median.',
    labels: [],
    merge: 'max',
  },
  nodejs_eventloop_lag_p99_seconds: {
    type: 'gauge',
    help: 'Delay of the event loop since the last scrape, 99th percentile.',
    labels: [],
    merge: 'max',
  },
  nodejs_eventloop_lag_max_seconds: {
    type: 'gauge',
    help: 'Delay of the event loop since the last scrape, longest.',
    labels: [],
    merge: 'max',
  },
  nodejs_eventloop_active_seconds_total: {
    type: 'counter',
    help: 'Time in which the event loop did not wait for anything: its rate is how busy the one thread is.',
    labels: [],
  },
} as const satisfies Record<string, MetricSpec>

export type MetricName = keyof typeof METRICS

type OfType<Type extends MetricSpec['type']> = {
  [Name in MetricName]: (typeof METRICS)[Name]['type'] extends Type ? Name : never
}[MetricName]

export type CounterName = OfType<'counter'>
export type GaugeName = OfType<'gauge'>
export type HistogramName = OfType<'histogram'>

/** Counters and gauges that are one number. */
export type UnlabelledName = {
  [Name in CounterName | GaugeName]: (typeof METRICS)[Name]['labels'] extends readonly [] ? Name : never
}[CounterName | GaugeName]

/** The labels of a metric, each with a value. */
export type LabelsOf<Name extends MetricName> = Readonly<
  Record<(typeof METRICS)[Name]['labels'][number], string>
>

/** A metric's entry, with what its type may have. */
export function specOf(name: MetricName): MetricSpec {
  return METRICS[name]
}

/** Every metric's name, in the order of the table. */
export const METRIC_NAMES = Object.keys(METRICS) as readonly MetricName[]
