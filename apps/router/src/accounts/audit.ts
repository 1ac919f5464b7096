import type { Kysely, Selectable } from 'kysely'
import { type AccountId, type Id, newId, type Seams } from '../ids.ts'
import type { Tables } from '../storage/tables.ts'
import { accountOf } from './authority.ts'
import { isLive, type Principal } from './principal.ts'

/** One change: who, what, before → after. Never a secret. */
export interface AuditRecord {
  /** The id of the key or the operator key that asked for it. */
  readonly actor: string
  readonly action: AuditAction
  /** The id of what changed. */
  readonly target: string
  readonly accountId?: AccountId
  /** The world that the change belongs to; absent where it is of both. */
  readonly livemode?: boolean
  readonly before?: Readonly<Record<string, unknown>>
  readonly after?: Readonly<Record<string, unknown>>
}

export type AuditAction =
  | 'account.created'
  | 'account.updated'
  | 'account.limits_updated'
  | 'account.granted'
  | 'project.created'
  | 'project.updated'
  | 'project.deleted'
  | 'key.created'
  | 'key.updated'
  | 'key.limits_updated'
  | 'key.rotated'
  | 'key.revoked'
  | 'operator_key.replaced'
  | 'operator_key.withdrawn'
  | 'provider.config_updated'
  | 'books.imported'

/** Writes an audit event in the transaction of the change itself, so that there is never one without the other. */
export async function recordAudit(
  transaction: Kysely<Tables>,
  seams: Seams,
  record: AuditRecord,
): Promise<void> {
  await transaction
    .insertInto('audit_events')
    .values({
      id: newId('aud', seams),
      account_id: record.accountId ?? null,
      livemode: record.livemode ?? null,
      actor: record.actor,
      action: record.action,
      target: record.target,
      before: record.before === undefined ? null : JSON.stringify(record.before),
      after: record.after === undefined ? null : JSON.stringify(record.after),
    })
    .execute()
}

/**
 * Lists audit events, the newest first, one more than `limit` where there are more. A test key reads nothing that
 * belongs to the live world.
 */
export function listAudit(
  query: Kysely<Tables>,
  principal: Principal,
  {
    accountId,
    before,
    limit,
  }: { accountId?: AccountId | undefined; before?: Id<'aud'> | undefined; limit: number },
): Promise<AuditRow[]> {
  let rows = query
    .selectFrom('audit_events')
    .selectAll()
    .orderBy('id', 'desc')
    .limit(limit + 1)
  const account = principal.kind === 'key' ? accountOf(principal, accountId) : accountId
  if (account !== undefined) rows = rows.where('account_id', '=', account)
  if (before !== undefined) rows = rows.where('id', '<', before)
  if (!isLive(principal)) {
    rows = rows.where((where) => where.or([where('livemode', 'is', null), where('livemode', '=', false)]))
  }
  return rows.execute()
}

type AuditRow = Selectable<Tables['audit_events']>

/** An audit event as the API shows it. */
export function renderAudit(row: AuditRow) {
  return {
    id: row.id,
    accountId: row.account_id,
    livemode: row.livemode,
    actor: row.actor,
    action: row.action,
    target: row.target,
    before: row.before,
    after: row.after,
    createdAt: row.created_at.toISOString(),
  }
}
