import type { Catalog } from '@mesh/catalog/catalog.ts'
import { MODE_TARGETS } from '@mesh/catalog/target.ts'
import { BUCKET_NAMES } from '@mesh/catalog/token-buckets.ts'
import type { FailureReason } from '@mesh/engine/failure.ts'
import type { Attempt } from '@mesh/engine/run-outcome.ts'
import type { RequestState } from '@mesh/simulator/stats.ts'
import { ERRORS } from '../errors.ts'
import type { HoldRefused } from '../ledger/books.ts'
import type { BooksQueue } from '../ledger/books-observer.ts'
import { BILLING_REASONS } from '../records/billing-reason.ts'

/** Every label that a metric may have, and what its values are. Nothing that a caller wrote is ever one. */
export const LABELS = {
  world: '`live`, `test`; `none` where no key of MESH was shown',
  model:
    "the catalogue's ids; that of the mode or tier that was asked for, or `none`, where no model was reached",
  provider: "the catalogue's ids; `none` where no provider was reached",
  billing_reason: 'the words of [billing reasons](billing-reasons.md)',
  code: 'the codes of [errors](errors.md)',
  outcome: '`served`, `not_dispatched`, `refused_unbilled`, `uncertain`, `request_fault`',
  failure: 'why an attempt failed: the words that an event has for it',
  refusal:
    '`insufficient_credits`, `limit_exceeded`, `rate_limit_exceeded`, `too_many_concurrent`; `stale`, upon which the caller is read again',
  bucket: 'the kinds of tokens that are priced',
  queue: '`holds`, `settlements`',
  connection: '`holds`, `settlements`, `policy`: the connections that stand all the time',
  state: 'what the metric says of it',
  route: "a route's pattern, as in `/v1/logs/:id`, never a path; `none` where no route takes it",
  status: 'an HTTP status that MESH answers with; 499 where the client left first',
  version: 'of MESH',
  node_version: 'of Node',
  catalog_version: 'of the catalogue',
  price_list: 'the price list that new calls are held at',
} as const satisfies Record<string, string>

export type LabelName = keyof typeof LABELS

/** The values that each label can have. Anything else is shown as `other`. */
export type LabelValues = Readonly<Record<LabelName, ReadonlySet<string>>>

export type World = 'live' | 'test' | 'none'

export function worldOf(livemode: boolean): World {
  return livemode ? 'live' : 'test'
}

/** What this router is, in words that do not change while it runs. */
export interface Build {
  readonly version: string
  readonly priceListId: string
}

/** `routes` are patterns; the set is filled while routes are registered. */
export function labelValues(catalog: Catalog, routes: ReadonlySet<string>, build: Build): LabelValues {
  return {
    world: new Set<World>(['live', 'test', 'none']),
    model: new Set([...[...catalog.models, ...catalog.tiers, ...MODE_TARGETS].map(({ id }) => id), 'none']),
    provider: new Set([...catalog.providers.map(({ id }) => id), 'none']),
    billing_reason: new Set(Object.keys(BILLING_REASONS)),
    code: new Set(Object.keys(ERRORS)),
    outcome: new Set(Object.keys(OUTCOMES)),
    failure: new Set(Object.keys(FAILURES)),
    refusal: new Set(Object.keys(HOLD_REFUSALS)),
    bucket: new Set(BUCKET_NAMES),
    queue: new Set(QUEUES),
    connection: new Set([...QUEUES, 'policy']),
    state: new Set(['in_use', 'idle', ...Object.keys(SIMULATOR_STATES)]),
    route: routes,
    status: new Set([...Object.values(ERRORS).map(({ status }) => status), 200, 201, 204, 499].map(String)),
    version: new Set([build.version]),
    node_version: new Set([process.version]),
    catalog_version: new Set([catalog.version]),
    price_list: new Set([build.priceListId]),
  }
}

const QUEUES = ['holds', 'settlements'] as const satisfies readonly BooksQueue[]

const OUTCOMES: Readonly<Record<Attempt['outcome'], true>> = {
  served: true,
  not_dispatched: true,
  refused_unbilled: true,
  uncertain: true,
  request_fault: true,
}

const HOLD_REFUSALS: Readonly<Record<HoldRefused['reason'], true>> = {
  stale: true,
  insufficient_credits: true,
  limit_exceeded: true,
  rate_limit_exceeded: true,
  too_many_concurrent: true,
}

const SIMULATOR_STATES: Readonly<Record<RequestState, true>> = {
  running: true,
  completed: true,
  refused: true,
  cancelled: true,
  broken_off: true,
}

const FAILURES: Readonly<Record<FailureReason, true>> = {
  connect_failed: true,
  connect_timeout: true,
  credential_missing: true,
  credential_refused: true,
  model_not_found: true,
  rate_limited: true,
  quota_exhausted: true,
  overloaded: true,
  server_error: true,
  first_byte_timeout: true,
  idle_timeout: true,
  deadline: true,
  connection_cut: true,
  stream_cut: true,
  malformed: true,
  wrong_content_type: true,
  empty: true,
  oversized: true,
  invalid_request: true,
  context_length: true,
  content_policy: true,
  payload_too_large: true,
  cancelled: true,
  breaker_open: true,
}
