import { sql } from 'kysely'
import { MeshError } from '../errors.ts'
import { type KeyId, newId } from '../ids.ts'
import { requireManages, requireScopesWithin, requireSecretWithin } from './authority.ts'
import { insertKey, type MadeKey, readKey, requireNotRevoked } from './key-records.ts'
import { changePolicy, type PolicyStore } from './policy-change.ts'
import type { Principal } from './principal.ts'
import { readScopes } from './scopes.ts'

/**
 * Replaces a key by a successor of the same lineage, which has its limits, counts and children. The old key stops now
 * or after a grace.
 * @throws MeshError `already_rotated`, naming the successor, where there is one: a key is replaced once.
 */
export async function rotateKey(
  store: PolicyStore,
  principal: Principal,
  id: KeyId,
  graceSeconds: number,
): Promise<MadeKey> {
  const { row: found } = await readKey(store.database.query, principal, id)
  return changePolicy(store, principal, found.account_id, async (change) => {
    const { row, limits } = await readKey(change.transaction, change.principal, id)
    requireManages(change.principal, row)
    if (row.successor_id !== null) throw alreadyRotated(row.successor_id)
    requireNotRevoked(row)
    requireScopesWithin(change.principal, readScopes(row.scopes))
    requireSecretWithin(change.principal, row, limits)
    const made = await insertKey(store, change, {
      id: newId('key', store.seams),
      name: row.name,
      project_id: row.project_id,
      livemode: row.livemode,
      scopes: row.scopes,
      lineage_id: row.lineage_id,
      parent_lineage_id: row.parent_lineage_id,
    })
    const successorId = made.key.row.id
    await change.transaction
      .updateTable('api_keys')
      .set({
        successor_id: successorId,
        // One that is to stop anyway does not live longer for it.
        stops_at: sql<Date>`least(stops_at, mesh_now() + make_interval(secs => ${graceSeconds}))`,
      })
      .where('id', '=', id)
      .execute()
    if (graceSeconds === 0) change.stopCalls([id], 'key_revoked')
    await change.audit({
      action: 'key.rotated',
      target: id,
      livemode: row.livemode,
      after: { successorId, graceSeconds },
    })
    return made
  })
}

function alreadyRotated(successorId: KeyId): MeshError {
  return new MeshError(
    'already_rotated',
    `This key was rotated before. Rotate its successor ${successorId} instead.`,
    {
      metadata: { successorId },
    },
  )
}
