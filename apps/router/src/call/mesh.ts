import type { Catalog } from '@mesh/catalog/catalog.ts'
import type { ModelIndex } from '@mesh/catalog/lookup.ts'
import type { PriceList } from '@mesh/catalog/price-list.ts'
import type { Engine } from '@mesh/engine/run.ts'
import type { Authenticator } from '../accounts/authenticate.ts'
import type { AccountId, Seams } from '../ids.ts'
import type { Books } from '../ledger/books.ts'
import type { IdempotencyClaims } from '../ledger/idempotency.ts'
import type { Log } from '../log.ts'
import type { CallObserver } from '../metrics/router-metrics.ts'
import type { PlanSnapshots } from '../plan-snapshots.ts'
import type { Policy } from '../policy.ts'
import type { LiveHealth } from '../providers/live-health.ts'
import type { KeptSnapshots } from '../records/kept-snapshots.ts'
import type { LiveCalls } from './live-calls.ts'
import type { Pseudonyms } from './pseudonyms.ts'
import type { RefusalRows } from './refusal-rows.ts'

/**
 * What a call needs of the router. A call keeps the one that it began with, so prices, policy and snapshot are the
 * same for all its stages, whatever is changed meanwhile (`mesh-now.ts`).
 */
export interface Mesh {
  readonly catalog: Catalog
  readonly models: ModelIndex
  readonly terms: { readonly standard: Terms; readonly byAccount: ReadonlyMap<AccountId, Terms> }
  /** What plans are made from, kept for their replay. */
  readonly keptSnapshots: Pick<KeptSnapshots, 'keep'>
  readonly policy: Policy
  readonly authenticator: Authenticator
  readonly books: Books
  readonly claims: IdempotencyClaims
  /** The engine of each world: one reaches providers, the other their simulators. */
  readonly engines: { readonly live: Engine; readonly test: Engine }
  /** Decides whether a live call may be sent to an endpoint now. */
  readonly health: Pick<LiveHealth, 'gateFor'>
  readonly liveCalls: LiveCalls
  readonly refusalRows: RefusalRows
  readonly observer: CallObserver
  readonly pseudonyms: Pseudonyms
  /** Named in receipts as the issuer: the origin that people reach this router by. */
  readonly issuer: () => string
  readonly seams: Seams
  readonly log: Log
}

/** What an account is asked for, and the states that its plans are made from, which have the same prices. */
export interface Terms {
  readonly prices: PriceList
  readonly snapshots: PlanSnapshots
}

/** The terms of an account: its own where it has a mark-up of its own. */
export function termsFor({ terms }: Pick<Mesh, 'terms'>, accountId: AccountId): Terms {
  return terms.byAccount.get(accountId) ?? terms.standard
}
