import type { Selectable } from 'kysely'
import { MeshError } from '../errors.ts'
import type { AccountId, KeyId, ProjectId } from '../ids.ts'
import type { ApiKeysTable } from '../storage/tables.ts'
import type { Caller } from './caller.ts'
import { fieldBeyond, type Limits, type LimitsPatch, tallies, tighterOf } from './limits.ts'
import { isLive, type Principal } from './principal.ts'
import type { Scope } from './scopes.ts'

/** A key that somebody manages. */
type ManagedKey = Pick<Selectable<ApiKeysTable>, 'project_id' | 'lineage_id' | 'parent_lineage_id'>

/**
 * What the owner of a key may hand on: no scope, limit or world beyond the key's own, and no change of other keys
 * by a key that was itself made by one. Operators are bound by none of this.
 */

/** The account that something is asked of: a key's own, or the one that an operator names. */
export function accountOf(principal: Principal, named: AccountId | undefined): AccountId {
  if (principal.kind === 'key') {
    if (named === undefined) return principal.caller.account.id
    throw new MeshError(
      'invalid_request',
      'accountId: Only an operator key names an account. Leave it out.',
      {
        param: 'accountId',
      },
    )
  }
  if (named !== undefined) return named
  throw new MeshError('invalid_request', 'accountId: An operator key must name the account.', {
    param: 'accountId',
  })
}

/** @throws MeshError `insufficient_scope` for a key that another key made. */
export function requireMaker(principal: Principal): void {
  if (principal.kind === 'operator' || principal.caller.key.parentLineageId === undefined) return
  throw beyond('A key that was made by another key makes no keys, and changes no projects and no account.')
}

/** @throws MeshError `insufficient_scope` for a made key that would change a key of another lineage. */
export function requireManages(principal: Principal, target: { readonly lineage_id: KeyId }): void {
  if (principal.kind === 'operator') return
  const { parentLineageId, lineageId } = principal.caller.key
  if (parentLineageId === undefined || target.lineage_id === lineageId) return
  throw beyond('A key that was made by another key manages only itself.')
}

/** @throws MeshError `insufficient_scope` where a test key would make a live one. */
export function requireWorld(principal: Principal, livemode: boolean): void {
  if (!livemode || isLive(principal)) return
  throw beyond('A test key makes no live keys.', 'livemode')
}

/** @throws MeshError `insufficient_scope` for a scope that the asking key has not itself. */
export function requireScopesWithin(principal: Principal, scopes: readonly Scope[]): void {
  if (principal.kind === 'operator') return
  const missing = scopes.find((scope) => !principal.caller.scopes.includes(scope))
  if (missing === undefined) return
  throw beyond(`This key lacks the scope ${missing}, so it cannot give it to another.`, 'scopes')
}

/**
 * @throws MeshError `insufficient_scope` for a key that makes another project, or a key in one, although its own
 * project's limits sum up what is used in it: what is used over there would not count towards them.
 */
export function requireOwnProject(principal: Principal, projectId?: ProjectId): void {
  if (principal.kind === 'operator' || !escapesProject(principal.caller, projectId)) return
  throw beyond(
    "This key's project has limits on what is used in it, so the key makes no other project, and no keys in one. Ask the operator.",
    ...(projectId === undefined ? [] : ['projectId']),
  )
}

/** @throws MeshError `insufficient_scope` for a key that would loosen any limit of a project. */
export function requireTighter(principal: Principal, patch: LimitsPatch, present: Limits): void {
  if (principal.kind === 'operator') return
  const field = fieldBeyond(patch, present)
  if (field === undefined) return
  throw beyond(
    `A key only tightens the limits of a project, and ${field} would allow more than now. Ask the operator.`,
    `limits.${field}`,
    { limit: field },
  )
}

/** @throws MeshError `insufficient_scope` for a limit that allows more than a bound does. */
export function requireLimitsWithin(patch: LimitsPatch, bound: Limits, param: string): void {
  const field = fieldBeyond(patch, bound)
  if (field === undefined) return
  throw beyond(`${field} would allow more than the key that asks has itself.`, `${param}${field}`, {
    limit: field,
  })
}

/**
 * Whether a key's use escapes limits of the asking key or its project that sum up what is used: it is in another
 * project, or it is neither of the asking key's lineage nor made by that.
 */
export function escapes(caller: Caller, target: ManagedKey): boolean {
  const escapesKey = tallies(caller.key.limits) && !isFamily(caller, target)
  return escapesKey || escapesProject(caller, target.project_id)
}

/**
 * A rotation hands out a secret, so it gives away as much as making the key would. A key of the asking key's own
 * lineage, or made by it, is bound by its limits already.
 * @throws MeshError `insufficient_scope` for a secret that allows more than the asking key has itself.
 */
export function requireSecretWithin(principal: Principal, target: ManagedKey, limits: Limits): void {
  if (principal.kind === 'operator') return
  const { caller } = principal
  if (escapes(caller, target)) {
    throw beyond("What this key uses does not count towards the asking key's limits. Ask the operator.")
  }
  if (isFamily(caller, target)) return
  requireLimitsWithin(limits, boundIn(caller, target.project_id), 'limits.')
}

function isFamily({ key: { lineageId } }: Caller, target: ManagedKey): boolean {
  return target.lineage_id === lineageId || target.parent_lineage_id === lineageId
}

function escapesProject({ project }: Caller, projectId: ProjectId | undefined): boolean {
  return project.id !== projectId && tallies(project.limits)
}

/**
 * The most that a key may allow others in a project: its own limits, and in another project those of its own project
 * as well, which would else be escaped by making a key over there.
 */
export function boundIn(caller: Caller, projectId: ProjectId): Limits {
  return projectId === caller.project.id
    ? caller.key.limits
    : tighterOf(caller.key.limits, caller.project.limits)
}

function beyond(message: string, param?: string, metadata?: Readonly<Record<string, unknown>>): MeshError {
  return new MeshError('insufficient_scope', message, {
    ...(param === undefined ? {} : { param }),
    ...(metadata === undefined ? {} : { metadata }),
  })
}
