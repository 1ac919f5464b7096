import { type ExpressionBuilder, sql } from 'kysely'
import type { KeyId, ProjectId } from '../ids.ts'
import type { Tables } from '../storage/tables.ts'
import { requireManages } from './authority.ts'
import { type KeyRecord, readKey } from './key-records.ts'
import { changePolicy, type PolicyChange, type PolicyStore } from './policy-change.ts'
import type { Principal } from './principal.ts'

/**
 * Revokes a key. The newest of a lineage takes the whole lineage with it, and every key that it made; one that was
 * rotated before takes only itself, for all else belongs to its successor. Revoking twice changes nothing.
 */
export async function revokeKey(store: PolicyStore, principal: Principal, id: KeyId): Promise<KeyRecord> {
  const { row: found } = await readKey(store.database.query, principal, id)
  return changePolicy(store, principal, found.account_id, async (change) => {
    const { row } = await readKey(change.transaction, change.principal, id)
    requireManages(change.principal, row)
    await revokeKeys(change, row.successor_id === null ? { lineageId: row.lineage_id } : { id })
    return readKey(change.transaction, change.principal, id)
  })
}

/** One key, or a lineage or a whole project with all the keys that these made. */
type Revoking = { readonly id: KeyId } | { readonly lineageId: KeyId } | { readonly projectId: ProjectId }

/**
 * Revokes keys as far as they still count, and records each. Calls end too that a key began before a rotation stopped
 * it: they may go on after its grace, but not after its lineage.
 */
export async function revokeKeys(change: PolicyChange, which: Revoking): Promise<void> {
  const revoked = await change.transaction
    .updateTable('api_keys')
    .set({ revoked_at: sql<Date>`mesh_now()` })
    .where(among(change, which))
    .where((where) =>
      where.or([where('stops_at', 'is', null), where('stops_at', '>', sql<Date>`mesh_now()`)]),
    )
    .returning(['id', 'livemode'])
    .execute()
  for (const { id, livemode } of revoked) await change.audit({ action: 'key.revoked', target: id, livemode })
  const replaced = await change.transaction
    .selectFrom('api_keys')
    .select('id')
    .where(among(change, which))
    .execute()
  change.stopCalls(
    [...revoked, ...replaced].map(({ id }) => id),
    'key_revoked',
  )
}

/** Those of an account's keys that are not revoked yet. */
function among({ accountId }: PolicyChange, which: Revoking) {
  return (where: ExpressionBuilder<Tables, 'api_keys'>) => {
    const isOpen = [where('account_id', '=', accountId), where('revoked_at', 'is', null)]
    if ('id' in which) return where.and([...isOpen, where('id', '=', which.id)])
    const lineages = where
      .selectFrom('api_keys as stopping')
      .select('stopping.lineage_id')
      .where((key) =>
        'lineageId' in which
          ? key('stopping.lineage_id', '=', which.lineageId)
          : key('stopping.project_id', '=', which.projectId),
      )
    return where.and([
      ...isOpen,
      where.or([where('lineage_id', 'in', lineages), where('parent_lineage_id', 'in', lineages)]),
    ])
  }
}
