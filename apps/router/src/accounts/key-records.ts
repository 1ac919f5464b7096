import { type Kysely, type Selectable, sql } from 'kysely'
import { MeshError } from '../errors.ts'
import type { AccountId, KeyId } from '../ids.ts'
import { Sensitive } from '../sensitive.ts'
import type { ApiKeysTable, Tables } from '../storage/tables.ts'
import { accountOf } from './authority.ts'
import { hashSecret, makeSecret, secretTail } from './key-secret.ts'
import { LIMIT_SELECTION, type LimitColumns, readLimits } from './limit-rows.ts'
import { type Limits, renderLimits } from './limits.ts'
import type { PolicyChange, PolicyStore } from './policy-change.ts'
import { isLive, type Principal } from './principal.ts'
import { readScopes } from './scopes.ts'

/** A key as it is stored, with the limits of its lineage. */
export interface KeyRecord {
  readonly row: Selectable<ApiKeysTable>
  readonly limits: Limits
  readonly status: KeyStatus
}

/** `replaced`: rotated, and the grace is over. `grace`: rotated, and still good for a while. */
export type KeyStatus = 'active' | 'grace' | 'replaced' | 'expired' | 'revoked'

/** A key and its secret, which is shown this once and stored nowhere. */
export interface MadeKey {
  readonly key: KeyRecord
  readonly secret: Sensitive<string>
}

/** Lists keys, the newest first, one more than `limit` where there are more. A test key sees test keys only. */
export async function listKeys(
  query: Kysely<Tables>,
  principal: Principal,
  {
    accountId,
    before,
    limit,
  }: { accountId?: AccountId | undefined; before?: KeyId | undefined; limit: number },
): Promise<KeyRecord[]> {
  let rows = selectKeys(query)
    .orderBy('api_keys.id', 'desc')
    .limit(limit + 1)
  const account = principal.kind === 'key' ? accountOf(principal, accountId) : accountId
  if (account !== undefined) rows = rows.where('api_keys.account_id', '=', account)
  if (!isLive(principal)) rows = rows.where('api_keys.livemode', '=', false)
  if (before !== undefined) rows = rows.where('api_keys.id', '<', before)
  return (await rows.execute()).map(toRecord)
}

/** @throws MeshError `not_found` for a key that does not exist, is another account's, or of a world not to be seen. */
export async function readKey(query: Kysely<Tables>, principal: Principal, id: KeyId): Promise<KeyRecord> {
  const row = await selectKeys(query).where('api_keys.id', '=', id).executeTakeFirst()
  const visible =
    row !== undefined &&
    (principal.kind === 'operator' || row.account_id === principal.caller.account.id) &&
    (!row.livemode || isLive(principal))
  if (visible) return toRecord(row)
  throw new MeshError('not_found', 'There is no such key.')
}

/** Stores a new key under a fresh secret. */
export async function insertKey(
  { seams }: PolicyStore,
  change: PolicyChange,
  columns: Pick<
    Selectable<ApiKeysTable>,
    'id' | 'name' | 'project_id' | 'livemode' | 'scopes' | 'lineage_id' | 'parent_lineage_id'
  >,
): Promise<MadeKey> {
  const secret = makeSecret(columns.livemode, seams)
  await change.transaction
    .insertInto('api_keys')
    .values({
      ...columns,
      account_id: change.accountId,
      secret_sha256: hashSecret(secret),
      secret_tail: secretTail(secret),
    })
    .execute()
  return {
    key: await readKey(change.transaction, change.principal, columns.id),
    secret: new Sensitive(secret),
  }
}

/** @throws MeshError `invalid_request` for a revoked key. */
export function requireNotRevoked(row: Selectable<ApiKeysTable>): void {
  if (row.revoked_at === null) return
  throw new MeshError('invalid_request', 'This key is revoked. Make a new one with POST /v1/api-keys.')
}

/** A key as the API shows it. */
export function renderKey({ row, limits, status }: KeyRecord) {
  return {
    id: row.id,
    name: row.name,
    accountId: row.account_id,
    projectId: row.project_id,
    livemode: row.livemode,
    scopes: readScopes(row.scopes),
    status,
    secretTail: row.secret_tail,
    limits: renderLimits(limits),
    /** The first key of the lineage that made it. */
    madeBy: row.parent_lineage_id,
    successorId: row.successor_id,
    stopsAt: row.stops_at?.toISOString() ?? null,
    revokedAt: row.revoked_at?.toISOString() ?? null,
    createdAt: row.created_at.toISOString(),
  }
}

/** What an audit event says of a key. */
export function describeKey({ row, limits }: KeyRecord): Record<string, unknown> {
  return {
    name: row.name,
    projectId: row.project_id,
    livemode: row.livemode,
    scopes: readScopes(row.scopes),
    limits: renderLimits(limits),
    madeBy: row.parent_lineage_id,
  }
}

function selectKeys(query: Kysely<Tables>) {
  return query
    .selectFrom('api_keys')
    .innerJoin('limits', 'limits.subject_id', 'api_keys.lineage_id')
    .selectAll('api_keys')
    .select(LIMIT_SELECTION)
    .select(sql<Date>`mesh_now()`.as('now'))
}

function toRecord(row: Selectable<ApiKeysTable> & LimitColumns & { readonly now: Date }): KeyRecord {
  return { row, limits: readLimits(row), status: statusOf(row) }
}

function statusOf(row: Selectable<ApiKeysTable> & LimitColumns & { readonly now: Date }): KeyStatus {
  if (row.revoked_at !== null) return 'revoked'
  if (row.stops_at !== null && row.stops_at <= row.now) return 'replaced'
  if (row.expires_at !== null && row.expires_at <= row.now) return 'expired'
  return row.successor_id === null ? 'active' : 'grace'
}
