import { type Kysely, type Selectable, sql } from 'kysely'
import { MeshError } from '../errors.ts'
import { type AccountId, newId, type ProjectId } from '../ids.ts'
import type { ProjectsTable, Tables } from '../storage/tables.ts'
import {
  accountOf,
  requireLimitsWithin,
  requireMaker,
  requireOwnProject,
  requireTighter,
} from './authority.ts'
import { revokeKeys } from './key-revocation.ts'
import { insertLimits, LIMIT_SELECTION, type LimitColumns, readLimits, storeLimits } from './limit-rows.ts'
import { type Limits, type LimitsPatch, NO_LIMITS, patchLimits, renderLimits, tighterOf } from './limits.ts'
import { changePolicy, type PolicyChange, type PolicyStore } from './policy-change.ts'
import { isLive, type Principal } from './principal.ts'

/** A project as it is stored, with its limits. */
export interface ProjectRecord {
  readonly row: Selectable<ProjectsTable>
  readonly limits: Limits
}

/**
 * A project of an account; its default project where none is named.
 * @throws MeshError `not_found`, also for a project of another account.
 */
export async function readProject(
  query: Kysely<Tables>,
  accountId: AccountId,
  id: ProjectId | undefined,
): Promise<ProjectRecord> {
  const row = await selectProjects(query)
    .where('projects.account_id', '=', accountId)
    .where((where) =>
      id === undefined ? where('projects.is_default', '=', true) : where('projects.id', '=', id),
    )
    .executeTakeFirst()
  if (row) return toRecord(row)
  throw noSuchProject()
}

/** Lists projects, the newest first, one more than `limit` where there are more. */
export async function listProjects(
  query: Kysely<Tables>,
  principal: Principal,
  {
    accountId,
    before,
    limit,
  }: { accountId?: AccountId | undefined; before?: ProjectId | undefined; limit: number },
): Promise<ProjectRecord[]> {
  let rows = selectProjects(query)
    .orderBy('projects.id', 'desc')
    .limit(limit + 1)
  const account = principal.kind === 'key' ? accountOf(principal, accountId) : accountId
  if (account !== undefined) rows = rows.where('projects.account_id', '=', account)
  if (before !== undefined) rows = rows.where('projects.id', '<', before)
  return (await rows.execute()).map(toRecord)
}

/**
 * Makes a project. Limits on it bind its keys together; those that a key leaves out are its own and its project's.
 * @throws MeshError `insufficient_scope` for a project that would allow more than the asking key has itself.
 */
export async function createProject(
  store: PolicyStore,
  principal: Principal,
  asked: {
    readonly name: string
    readonly accountId?: AccountId | undefined
    readonly limits?: LimitsPatch | undefined
  },
): Promise<ProjectRecord> {
  const accountId = accountOf(principal, asked.accountId)
  return changePolicy(store, principal, accountId, async (change) => {
    requireMaker(change.principal)
    const limits = grantedLimits(change.principal, asked.limits ?? {})
    const id = newId('proj', store.seams)
    await insertProject(change.transaction, accountId, { id, name: asked.name, isDefault: false, limits })
    await change.audit({
      action: 'project.created',
      target: id,
      after: { name: asked.name, limits: renderLimits(limits) },
    })
    return readProject(change.transaction, accountId, id)
  })
}

/** Stores a project and its limits. */
export async function insertProject(
  transaction: Kysely<Tables>,
  accountId: AccountId,
  project: {
    readonly id: ProjectId
    readonly name: string
    readonly isDefault: boolean
    readonly limits: Limits
  },
): Promise<void> {
  const { id, name, isDefault, limits } = project
  await transaction
    .insertInto('projects')
    .values({ id, account_id: accountId, name, is_default: isDefault })
    .execute()
  await insertLimits(transaction, accountId, id, limits)
}

/** Renames a project or changes its limits. A key can tighten them, not loosen them. */
export async function updateProject(
  store: PolicyStore,
  principal: Principal,
  id: ProjectId,
  patch: { readonly name?: string | undefined; readonly limits?: LimitsPatch | undefined },
): Promise<ProjectRecord> {
  return changeProject(store, principal, id, async (change, { row, limits }) => {
    const { name = row.name } = patch
    requireTighter(change.principal, patch.limits ?? {}, limits)
    const patched = patchLimits(limits, patch.limits ?? {})
    await change.transaction.updateTable('projects').set({ name }).where('id', '=', id).execute()
    await storeLimits(change.transaction, id, patched)
    await change.audit({
      action: 'project.updated',
      target: id,
      before: { name: row.name, limits: renderLimits(limits) },
      after: { name, limits: renderLimits(patched) },
    })
    return readProject(change.transaction, change.accountId, id)
  })
}

/** Deletes a project and revokes its keys and the keys that these made. The default project stays. */
export async function deleteProject(
  store: PolicyStore,
  principal: Principal,
  id: ProjectId,
): Promise<ProjectRecord> {
  return changeProject(store, principal, id, async (change, project) => {
    if (project.row.is_default) {
      throw new MeshError(
        'invalid_request',
        'The default project cannot be deleted: keys without a project are in it.',
      )
    }
    await revokeKeys(change, { projectId: id })
    await change.transaction
      .updateTable('projects')
      .set({ deleted_at: sql<Date>`mesh_now()` })
      .where('id', '=', id)
      .execute()
    await change.audit({ action: 'project.deleted', target: id, before: { name: project.row.name } })
    return project
  })
}

/** A project as the API shows it. */
export function renderProject({ row, limits }: ProjectRecord) {
  return {
    id: row.id,
    accountId: row.account_id,
    name: row.name,
    isDefault: row.is_default,
    limits: renderLimits(limits),
    createdAt: row.created_at.toISOString(),
  }
}

function selectProjects(query: Kysely<Tables>) {
  return query
    .selectFrom('projects')
    .innerJoin('limits', 'limits.subject_id', 'projects.id')
    .selectAll('projects')
    .select(LIMIT_SELECTION)
    .where('projects.deleted_at', 'is', null)
}

function toRecord(row: Selectable<ProjectsTable> & LimitColumns): ProjectRecord {
  return { row, limits: readLimits(row) }
}

async function changeProject<Result>(
  store: PolicyStore,
  principal: Principal,
  id: ProjectId,
  work: (change: PolicyChange, project: ProjectRecord) => Promise<Result>,
): Promise<Result> {
  const owner = await store.database.query
    .selectFrom('projects')
    .select('account_id')
    .where('id', '=', id)
    .executeTakeFirst()
  const accountId = principal.kind === 'key' ? principal.caller.account.id : owner?.account_id
  if (accountId === undefined || owner?.account_id !== accountId) throw noSuchProject()
  return changePolicy(store, principal, accountId, async (change) => {
    const project = await readProject(change.transaction, accountId, id)
    requireMaker(change.principal)
    if (!isLive(change.principal)) await requireNoLiveKeys(change, id)
    return work(change, project)
  })
}

/** The limits of a new project: what is asked, and where nothing is asked those of the asking key and its project. */
function grantedLimits(principal: Principal, asked: LimitsPatch): Limits {
  if (principal.kind === 'operator') return patchLimits(NO_LIMITS, asked)
  requireOwnProject(principal)
  const bound = tighterOf(principal.caller.key.limits, principal.caller.project.limits)
  requireLimitsWithin(asked, bound, 'limits.')
  return patchLimits(bound, asked)
}

/** A project is of both worlds; where live keys use it, a test key has no say. */
async function requireNoLiveKeys({ transaction }: PolicyChange, id: ProjectId): Promise<void> {
  const live = await transaction
    .selectFrom('api_keys')
    .select('id')
    .where('project_id', '=', id)
    .where('livemode', '=', true)
    .where('revoked_at', 'is', null)
    .executeTakeFirst()
  if (!live) return
  throw new MeshError(
    'insufficient_scope',
    'Live keys use this project, so a test key cannot change it. Use a live key.',
  )
}

function noSuchProject(): MeshError {
  return new MeshError('not_found', 'There is no such project.')
}
