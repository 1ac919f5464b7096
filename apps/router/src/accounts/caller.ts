import type { ModelId, ProviderId } from '@mesh/catalog/catalog.ts'
import type { PrivacyClass } from '@mesh/engine/ask.ts'
import { type InferResult, type Kysely, type Selectable, sql } from 'kysely'
import type { AccountId, KeyId, ProjectId } from '../ids.ts'
import type { Payer } from '../ledger/books.ts'
import type { AccountsTable, Tables } from '../storage/tables.ts'
import { readLimits } from './limit-rows.ts'
import { type Limits, NO_LIMITS, tighterOf } from './limits.ts'
import { readScopes, type Scope } from './scopes.ts'

export type AccountStatus = Selectable<AccountsTable>['status']

/** Who calls: a key, the project and the account that it belongs to, and what it may do. */
export interface Caller {
  readonly key: {
    readonly id: KeyId
    readonly name: string
    /** The first key of its rotation chain: limits and counters are kept under it. */
    readonly lineageId: KeyId
    /** The lineage of the key that made it. A made key makes no keys. */
    readonly parentLineageId?: KeyId
    readonly limits: Limits
  }
  readonly project: { readonly id: ProjectId; readonly name: string; readonly limits: Limits }
  readonly account: { readonly id: AccountId; readonly name: string; readonly status: AccountStatus }
  readonly scopes: readonly Scope[]
  readonly livemode: boolean
  /** What account, project, key and its parent allow together. */
  readonly allows: {
    /** Catalogue ids; absent where every model is allowed. */
    readonly models?: ReadonlySet<ModelId>
    readonly providers?: ReadonlySet<ProviderId>
    readonly minimumPrivacyClass: PrivacyClass
  }
  readonly payer: Payer
}

/** A key as it stands in the database: whose it is, and whether it still counts. */
export interface KeyState {
  readonly caller: Caller
  readonly revoked: boolean
  readonly successorId?: KeyId
  /** Until the grace of a rotation ends, by the database's clock; negative when it has. */
  readonly graceMs?: number
  /** Until the earliest `expiresAt` of account, project, key and parent; negative when it has passed. */
  readonly expiryMs?: number
}

/**
 * Reads a key by its secret's hash or by its id. The account's policy version is read before its limits: when they
 * change in between, the version is the older one, and a hold refuses it as stale.
 */
export async function readKeyState(query: Kysely<Tables>, by: KeySelector): Promise<KeyState | undefined> {
  const row = await selectKey(query, by).executeTakeFirst()
  if (!row) return undefined
  const subjects = [
    row.account_id,
    row.project_id,
    row.lineage_id,
    ...(row.parent_lineage_id === null ? [] : [row.parent_lineage_id]),
  ]
  const rows = await query.selectFrom('limits').selectAll().where('subject_id', 'in', subjects).execute()
  const limitsOf = (subject: string): Limits => {
    const found = rows.find(({ subject_id }) => subject_id === subject)
    return found ? readLimits(found) : NO_LIMITS
  }
  const key = limitsOf(row.lineage_id)
  const project = limitsOf(row.project_id)
  const parent = row.parent_lineage_id === null ? NO_LIMITS : limitsOf(row.parent_lineage_id)
  const together = [key, project, parent].reduce(tighterOf, limitsOf(row.account_id))
  const untilMs = (moment: Date): number => moment.getTime() - row.now.getTime()
  return {
    caller: toCaller(row, { key, project, together }),
    revoked: row.revoked_at !== null,
    ...(row.successor_id === null ? {} : { successorId: row.successor_id }),
    ...(row.stops_at === null ? {} : { graceMs: untilMs(row.stops_at) }),
    ...(together.expiresAt === null ? {} : { expiryMs: untilMs(together.expiresAt) }),
  }
}

type KeySelector = { readonly secretSha256: Buffer } | { readonly id: KeyId }
type KeyRow = InferResult<ReturnType<typeof selectKey>>[number]

function selectKey(query: Kysely<Tables>, by: KeySelector) {
  return query
    .selectFrom('api_keys as key')
    .innerJoin('accounts as account', 'account.id', 'key.account_id')
    .innerJoin('projects as project', 'project.id', 'key.project_id')
    .select([
      'key.id',
      'key.name',
      'key.account_id',
      'key.project_id',
      'key.livemode',
      'key.scopes',
      'key.lineage_id',
      'key.parent_lineage_id',
      'key.successor_id',
      'key.stops_at',
      'key.revoked_at',
      'project.name as project_name',
      'account.name as account_name',
      'account.status',
      'account.policy_version',
      sql<Date>`mesh_now()`.as('now'),
    ])
    .where((where) => {
      return 'id' in by ? where('key.id', '=', by.id) : where('key.secret_sha256', '=', by.secretSha256)
    })
}

function toCaller(row: KeyRow, limits: { key: Limits; project: Limits; together: Limits }): Caller {
  const parent = row.parent_lineage_id === null ? {} : { parentLineageId: row.parent_lineage_id }
  const { allowedModels, allowedProviders, minimumPrivacyClass } = limits.together
  return {
    key: { id: row.id, name: row.name, lineageId: row.lineage_id, ...parent, limits: limits.key },
    project: { id: row.project_id, name: row.project_name, limits: limits.project },
    account: { id: row.account_id, name: row.account_name, status: row.status },
    scopes: readScopes(row.scopes),
    livemode: row.livemode,
    allows: {
      ...(allowedModels === null ? {} : { models: new Set(allowedModels) }),
      ...(allowedProviders === null ? {} : { providers: new Set(allowedProviders) }),
      minimumPrivacyClass: minimumPrivacyClass ?? 'standard',
    },
    payer: {
      accountId: row.account_id,
      projectId: row.project_id,
      keyId: row.id,
      lineageId: row.lineage_id,
      ...parent,
      livemode: row.livemode,
      policyVersion: row.policy_version,
    },
  }
}
