import { type Kysely, sql } from 'kysely'
import { MeshError } from '../errors.ts'
import type { AccountId, KeyId, Seams } from '../ids.ts'
import { type Database, inTransaction } from '../storage/database.ts'
import type { Tables } from '../storage/tables.ts'
import { type AuditRecord, recordAudit } from './audit.ts'
import { usableCaller } from './authenticate.ts'
import { readKeyState } from './caller.ts'
import { type KeyStop, POLICY_CHANNEL, type StopReason, writeNotices } from './policy-notice.ts'
import { actorId, type Principal, requireScope } from './principal.ts'
import { type Revocations, STOPPING } from './revocations.ts'

export interface PolicyStore {
  readonly database: Pick<Database, 'query'>
  readonly seams: Seams
  /** Whom to tell of what was stopped before anybody hears that it was. */
  readonly revocations?: Pick<Revocations, 'sync'>
}

/** A change of an account, its projects, keys or limits, while it holds the account's row. */
export interface PolicyChange {
  readonly transaction: Kysely<Tables>
  readonly accountId: AccountId
  /** Who asks, as they stand now: not as they stood when their request came in. */
  readonly principal: Principal
  audit(record: Pick<AuditRecord, 'action' | 'target' | 'livemode' | 'before' | 'after'>): Promise<void>
  /** Says that keys stop now, so that their running calls are cut on every router. */
  stopCalls(keyIds: readonly KeyId[], reason: StopReason): void
}

/**
 * Runs a change in one transaction, that of the store where it is in one. Taking the account's row first makes the changes of an account follow one
 * another; its new policy version makes every hold that was prepared before be refused as stale; the notice lets
 * routers forget what they remember. The key that asks is read again under the lock, so one that was revoked in the
 * meantime changes nothing any more.
 * @throws MeshError `not_found` where there is no such account, and all that authentication throws.
 */
export async function changePolicy<Result>(
  { database, seams, revocations }: PolicyStore,
  principal: Principal,
  accountId: AccountId,
  change: (change: PolicyChange) => Promise<Result>,
): Promise<Result> {
  let stopping = false
  const changed = await inTransaction(database.query, async (transaction) => {
    const account = await transaction
      .updateTable('accounts')
      .set((set) => ({ policy_version: set('policy_version', '+', 1n) }))
      .where('id', '=', accountId)
      .returning('id')
      .executeTakeFirst()
    if (!account) throw new MeshError('not_found', 'There is no such account.')
    const stops: KeyStop[] = []
    const current = await readAgain(transaction, principal)
    const result = await change({
      transaction,
      accountId,
      principal: current,
      audit: (record) => {
        stopping ||= STOPPING.has(record.action)
        return recordAudit(transaction, seams, { ...record, accountId, actor: actorId(current) })
      },
      stopCalls: (keyIds, reason) => void stops.push({ keyIds, reason }),
    })
    for (const payload of writeNotices(accountId, stops)) {
      await sql`select pg_notify(${POLICY_CHANNEL}, ${payload})`.execute(transaction)
    }
    return result
  })
  if (stopping) await revocations?.sync()
  return changed
}

async function readAgain(transaction: Kysely<Tables>, principal: Principal): Promise<Principal> {
  if (principal.kind === 'operator') return principal
  const state = await readKeyState(transaction, { id: principal.caller.key.id })
  if (!state) throw new MeshError('invalid_api_key', 'This key no longer exists.')
  const caller = usableCaller(state, 0)
  requireScope(caller, 'keys')
  return { kind: 'key', caller }
}
