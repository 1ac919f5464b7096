import { sql } from 'kysely'
import type { KeyId, ProjectId } from '../ids.ts'
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

/**
 * Revokes one key, or a lineage or a whole project with all the keys that these made, as far as they still count, and
 * records each.
 */
export async function revokeKeys(
  change: PolicyChange,
  which: { readonly id: KeyId } | { readonly lineageId: KeyId } | { readonly projectId: ProjectId },
): Promise<void> {
  const revoked = await change.transaction
    .updateTable('api_keys')
    .set({ revoked_at: sql<Date>`mesh_now()` })
    .where('account_id', '=', change.accountId)
    .where('revoked_at', 'is', null)
    .where((where) =>
      where.or([where('stops_at', 'is', null), where('stops_at', '>', sql<Date>`mesh_now()`)]),
    )
    .where((where) => {
      if ('id' in which) return where('id', '=', which.id)
      const lineages = where
        .selectFrom('api_keys as stopping')
        .select('stopping.lineage_id')
        .where((key) =>
          'lineageId' in which
            ? key('stopping.lineage_id', '=', which.lineageId)
            : key('stopping.project_id', '=', which.projectId),
        )
      return where.or([where('lineage_id', 'in', lineages), where('parent_lineage_id', 'in', lineages)])
    })
    .returning(['id', 'livemode'])
    .execute()
  for (const { id, livemode } of revoked) await change.audit({ action: 'key.revoked', target: id, livemode })
  change.stopCalls(
    revoked.map(({ id }) => id),
    'key_revoked',
  )
}
