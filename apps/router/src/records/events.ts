import { formatUsd } from '@mesh/catalog/money.ts'
import type { Selectable } from 'kysely'
import type { AccountId, CallId } from '../ids.ts'
import type { Database } from '../storage/database.ts'
import type { EventsTable } from '../storage/tables.ts'

/** Whose rows are read: one world of one account. A key never reads the other world. */
export interface Reader {
  readonly accountId: AccountId
  readonly livemode: boolean
}

/** A request event as `GET /v1/logs` shows it. */
export function eventView(event: Selectable<EventsTable>): Record<string, unknown> {
  return {
    id: event.id,
    object: 'request_event',
    livemode: event.livemode,
    createdAt: event.created_at.toISOString(),
    accountId: event.account_id,
    projectId: event.project_id,
    keyId: event.key_id,
    modelRequested: event.model_requested,
    modelServed: event.model_served,
    provider: event.provider,
    status: event.http_status,
    errorCode: event.error_code,
    stream: event.stream,
    billingReason: event.billing_reason,
    finishReason: event.finish_reason,
    tokens: event.buckets,
    usageSource: event.usage_source,
    usageFlags: event.usage_flags,
    cost: {
      upstreamCostUsd: formatUsd(event.upstream_nano),
      marginUsd: formatUsd(event.margin_nano),
      totalUsd: formatUsd(event.total_nano),
      heldUsd: formatUsd(event.held_nano),
    },
    priceListId: event.price_list_id,
    receiptId: event.receipt_id,
    attempts: event.attempts,
    routing: withoutPlan(event.routing),
    privacy: event.privacy,
    firstTokenMs: event.first_token_ms,
    durationMs: event.duration_ms,
  }
}

/** What a plan is made from is kept for its replay (`ops route replay`), which says it in full. */
function withoutPlan({ plan: _, ...routing }: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return routing
}

/** One page of events, newest first; `before` is the id after which the last page ended. */
export async function listEvents(
  database: Database,
  reader: Reader,
  page: { readonly limit: number; readonly before?: string },
): Promise<Selectable<EventsTable>[]> {
  let query = database.query
    .selectFrom('events')
    .selectAll()
    .where('account_id', '=', reader.accountId)
    .where('livemode', '=', reader.livemode)
  if (page.before !== undefined) query = query.where('id', '<', page.before as CallId)
  return await query.orderBy('id', 'desc').limit(page.limit).execute()
}

/** One event, or `undefined` where this reader has none of that id. */
export async function findEvent(
  database: Database,
  reader: Reader,
  id: CallId,
): Promise<Selectable<EventsTable> | undefined> {
  return await database.query
    .selectFrom('events')
    .selectAll()
    .where('id', '=', id)
    .where('account_id', '=', reader.accountId)
    .where('livemode', '=', reader.livemode)
    .executeTakeFirst()
}
