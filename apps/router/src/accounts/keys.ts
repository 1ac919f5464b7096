import { sql } from 'kysely'
import { type AccountId, type KeyId, newId, type ProjectId } from '../ids.ts'
import {
  accountOf,
  boundIn,
  escapes,
  requireLimitsWithin,
  requireMaker,
  requireManages,
  requireOwnProject,
  requireScopesWithin,
  requireWorld,
} from './authority.ts'
import {
  describeKey,
  insertKey,
  type KeyRecord,
  type MadeKey,
  readKey,
  requireNotRevoked,
} from './key-records.ts'
import { insertLimits, storeLimits } from './limit-rows.ts'
import { type Limits, type LimitsPatch, NO_LIMITS, patchLimits, renderLimits } from './limits.ts'
import { changePolicy, type PolicyChange, type PolicyStore } from './policy-change.ts'
import type { Principal } from './principal.ts'
import { readProject } from './projects.ts'
import { DEFAULT_SCOPES, readScopes, type Scope } from './scopes.ts'

/** A key to be made. */
export interface NewKey {
  readonly name: string
  readonly accountId?: AccountId | undefined
  readonly projectId?: ProjectId | undefined
  readonly scopes?: readonly Scope[] | undefined
  readonly limits?: LimitsPatch | undefined
  readonly livemode?: boolean | undefined
}

/**
 * Makes a key in a project, the asking key's own or the account's default. A limit that is left out is the asking
 * key's own.
 * @throws MeshError `insufficient_scope` for anything beyond the asking key, `not_found` for another's project.
 */
export async function createKey(store: PolicyStore, principal: Principal, asked: NewKey): Promise<MadeKey> {
  const accountId = accountOf(principal, asked.accountId)
  return changePolicy(store, principal, accountId, async (change) => {
    requireMaker(change.principal)
    const livemode = asked.livemode ?? (change.principal.kind === 'key' && change.principal.caller.livemode)
    requireWorld(change.principal, livemode)
    const scopes = asked.scopes ?? DEFAULT_SCOPES
    requireScopesWithin(change.principal, scopes)
    const project = await readProject(
      change.transaction,
      accountId,
      asked.projectId ?? ownProject(change.principal),
    )
    requireOwnProject(change.principal, project.row.id)
    const limits = grantedLimits(change.principal, project.row.id, asked.limits ?? {})
    const id = newId('key', store.seams)
    await insertLimits(change.transaction, accountId, id, limits)
    const parent = change.principal.kind === 'key' ? change.principal.caller.key.lineageId : null
    const made = await insertKey(store, change, {
      id,
      name: asked.name,
      project_id: project.row.id,
      livemode,
      scopes: [...scopes],
      lineage_id: id,
      parent_lineage_id: parent,
    })
    await change.audit({ action: 'key.created', target: id, livemode, after: describeKey(made.key) })
    return made
  })
}

/** Renames a key, or sets the scopes of its lineage. Keys that it made lose what it loses. */
export async function updateKey(
  store: PolicyStore,
  principal: Principal,
  id: KeyId,
  patch: { readonly name?: string | undefined; readonly scopes?: readonly Scope[] | undefined },
): Promise<KeyRecord> {
  return changeKey(store, principal, id, async (change, { row }) => {
    const { name = row.name, scopes = readScopes(row.scopes) } = patch
    if (patch.scopes !== undefined) {
      requireScopesWithin(change.principal, scopes)
      await setScopes(change, row.lineage_id, scopes)
    }
    await change.transaction.updateTable('api_keys').set({ name }).where('id', '=', id).execute()
    await change.audit({
      action: 'key.updated',
      target: id,
      livemode: row.livemode,
      before: { name: row.name, scopes: readScopes(row.scopes) },
      after: { name, scopes },
    })
  })
}

/**
 * Changes the limits of a key's lineage. What it has used so far stays counted. A key loosens no limits of one whose
 * use would not count towards its own.
 */
export async function updateKeyLimits(
  store: PolicyStore,
  principal: Principal,
  id: KeyId,
  patch: LimitsPatch,
): Promise<KeyRecord> {
  return changeKey(store, principal, id, async (change, { row, limits }) => {
    if (change.principal.kind === 'key') {
      const { caller } = change.principal
      requireLimitsWithin(patch, escapes(caller, row) ? limits : boundIn(caller, row.project_id), '')
    }
    const patched = patchLimits(limits, patch)
    await storeLimits(change.transaction, row.lineage_id, patched)
    await change.audit({
      action: 'key.limits_updated',
      target: id,
      livemode: row.livemode,
      before: renderLimits(limits),
      after: renderLimits(patched),
    })
  })
}

async function changeKey(
  store: PolicyStore,
  principal: Principal,
  id: KeyId,
  work: (change: PolicyChange, key: KeyRecord) => Promise<void>,
): Promise<KeyRecord> {
  const { row: found } = await readKey(store.database.query, principal, id)
  return changePolicy(store, principal, found.account_id, async (change) => {
    const key = await readKey(change.transaction, change.principal, id)
    requireManages(change.principal, key.row)
    requireNotRevoked(key.row)
    await work(change, key)
    return readKey(change.transaction, change.principal, id)
  })
}

async function setScopes(
  { transaction }: PolicyChange,
  lineageId: KeyId,
  scopes: readonly Scope[],
): Promise<void> {
  await transaction
    .updateTable('api_keys')
    .set({ scopes: [...scopes] })
    .where('lineage_id', '=', lineageId)
    .execute()
  await transaction
    .updateTable('api_keys')
    .set({
      scopes: sql<string[]>`array(select unnest(scopes) intersect select unnest(${[...scopes]}::text[]))`,
    })
    .where('parent_lineage_id', '=', lineageId)
    .execute()
}

/** The limits of a new key: what is asked, and where nothing is asked the asking key's own. */
function grantedLimits(principal: Principal, projectId: ProjectId, asked: LimitsPatch): Limits {
  if (principal.kind === 'operator') return patchLimits(NO_LIMITS, asked)
  const bound = boundIn(principal.caller, projectId)
  requireLimitsWithin(asked, bound, 'limits.')
  return patchLimits(bound, asked)
}

function ownProject(principal: Principal): ProjectId | undefined {
  return principal.kind === 'key' ? principal.caller.project.id : undefined
}
