import type { IncomingHttpHeaders } from 'node:http'
import { type Kysely, sql } from 'kysely'
import { MeshError } from '../errors.ts'
import type { AccountId, KeyId, Seams } from '../ids.ts'
import { Sensitive } from '../sensitive.ts'
import type { Database } from '../storage/database.ts'
import type { Tables } from '../storage/tables.ts'
import { type Caller, type KeyState, readKeyState } from './caller.ts'
import { hashSecret, parseSecret } from './key-secret.ts'
import { findOperator } from './operator-keys.ts'
import type { KeyStop } from './policy-notice.ts'
import { type ReadKey, RememberedKeys } from './remembered-keys.ts'

export interface AuthenticatorOptions {
  readonly database: Pick<Database, 'query'>
  readonly seams: Pick<Seams, 'monotonic'>
  /** Keys remembered for the call path; the one used longest ago is forgotten first. */
  readonly cachedKeysMax: number
}

/**
 * Tells who a secret belongs to. Both ways throw `invalid_api_key`, `key_revoked`, `key_expired`,
 * `account_suspended`, and `insufficient_scope` for an operator key, which makes no calls.
 */
export interface Authenticator {
  /** From the database, as it stands now. For every route that takes no hold. */
  authenticate(secret: Sensitive<string>): Promise<Caller>
  /**
   * From memory where the key is known. Only for what takes a hold next: the hold refuses a policy version that is
   * no longer the account's as `stale`, upon which the caller evicts the account and authenticates again. Nobody is
   * refused from memory: what stood against a key may have been lifted since.
   */
  authenticateForHold(secret: Sensitive<string>): Promise<Caller>
  evict(accountId: AccountId): void
  evictAll(): void
  /** Those of some keys that no longer count: for streams that ran while notices of the database were missed. */
  stoppedAmong(keyIds: readonly KeyId[]): Promise<KeyStop[]>
}

/** Builds the authenticator over the database. */
export function createAuthenticator({ database, seams, cachedKeysMax }: AuthenticatorOptions): Authenticator {
  const remembered = new RememberedKeys(cachedKeysMax)

  const read = async (secret: string): Promise<ReadKey> => {
    const readAtMs = seams.monotonic()
    const state = await readKeyState(database.query, { secretSha256: hashSecret(secret) })
    if (!state) throw unknownKey()
    return { state, readAtMs }
  }

  return {
    async authenticate(secret) {
      await requireKeySecret(secret, database)
      const { state } = await read(secret.reveal())
      return usableCaller(state, 0)
    },
    async authenticateForHold(secret) {
      const hash = hashSecret(secret.reveal()).toString('latin1')
      const known = remembered.get(hash)
      if (known && !refusalOf(known.state, seams.monotonic() - known.readAtMs)) return known.state.caller
      if (!known) await requireKeySecret(secret, database)
      const { state, readAtMs } = await remembered.readOnce(hash, () => read(secret.reveal()))
      return usableCaller(state, seams.monotonic() - readAtMs)
    },
    evict: (accountId) => remembered.evict(accountId),
    evictAll: () => remembered.evictAll(),
    stoppedAmong: (keyIds) => stoppedAmong(database.query, keyIds),
  }
}

async function stoppedAmong(query: Kysely<Tables>, keyIds: readonly KeyId[]): Promise<KeyStop[]> {
  if (keyIds.length === 0) return []
  const counting = await query
    .selectFrom('api_keys')
    .innerJoin('accounts', 'accounts.id', 'api_keys.account_id')
    .select(['api_keys.id', 'accounts.status'])
    .where('api_keys.id', 'in', keyIds)
    .where('api_keys.revoked_at', 'is', null)
    .where((where) =>
      where.or([where('stops_at', 'is', null), where('stops_at', '>', sql<Date>`mesh_now()`)]),
    )
    .execute()
  const statuses = new Map(counting.map(({ id, status }) => [id, status]))
  const stops: KeyStop[] = [
    { keyIds: keyIds.filter((id) => !statuses.has(id)), reason: 'key_revoked' },
    {
      keyIds: keyIds.filter((id) => (statuses.get(id) ?? 'active') !== 'active'),
      reason: 'account_suspended',
    },
  ]
  return stops.filter((stop) => stop.keyIds.length > 0)
}

/**
 * The secret that a request presents as `Authorization: Bearer …`, or as `x-api-key` where that is taken too.
 * @throws MeshError `invalid_api_key` where there is none, or two that differ.
 */
export function presentedSecret(
  headers: IncomingHttpHeaders,
  takes: 'bearer' | 'bearer_or_x_api_key' = 'bearer',
): Sensitive<string> {
  const bearer = /^Bearer +(\S+)\s*$/i.exec(headers.authorization ?? '')?.[1]
  const header = takes === 'bearer_or_x_api_key' ? headers['x-api-key'] : undefined
  const apiKey = typeof header === 'string' && header !== '' ? header.trim() : undefined
  if (bearer !== undefined && apiKey !== undefined && bearer !== apiKey) {
    throw new MeshError(
      'invalid_api_key',
      'Authorization and x-api-key hold different keys. Send one of them.',
    )
  }
  const secret = bearer ?? apiKey
  if (secret !== undefined) return new Sensitive(secret)
  throw new MeshError('invalid_api_key', 'Send your key in the header Authorization: Bearer mesh_…')
}

async function requireKeySecret(secret: Sensitive<string>, database: Pick<Database, 'query'>): Promise<void> {
  const parsed = parseSecret(secret.reveal())
  if (parsed.kind === 'key') return
  if (parsed.kind === 'mistyped') {
    throw new MeshError(
      'invalid_api_key',
      'This key looks mistyped: its checksum does not fit. Copy it again, whole and without spaces.',
    )
  }
  if (await findOperator(database, secret)) {
    throw new MeshError(
      'insufficient_scope',
      'This is an operator key: it makes no calls. Make a key with POST /v1/api-keys and use that.',
    )
  }
  throw unknownKey()
}

/**
 * The caller of a key that counts.
 * @param ageMs How long ago the state was read.
 * @throws MeshError `key_revoked`, `key_expired` or `account_suspended`.
 */
export function usableCaller(state: KeyState, ageMs: number): Caller {
  const refusal = refusalOf(state, ageMs)
  if (refusal) throw refusal
  return state.caller
}

function refusalOf(state: KeyState, ageMs: number): MeshError | undefined {
  const { status } = state.caller.account
  if (state.revoked) {
    return new MeshError('key_revoked', 'This key was revoked. Use another key.')
  }
  if (state.graceMs !== undefined && state.graceMs <= ageMs) {
    return new MeshError('key_revoked', 'This key was replaced by its successor. Use that one.', {
      ...(state.successorId === undefined ? {} : { metadata: { successorId: state.successorId } }),
    })
  }
  if (state.expiryMs !== undefined && state.expiryMs <= ageMs) {
    return new MeshError('key_expired', 'This key has expired. Make a new one, or have its expiresAt moved.')
  }
  if (status !== 'active') {
    return new MeshError('account_suspended', `This account is ${status}. Ask the operator.`)
  }
  return undefined
}

function unknownKey(): MeshError {
  return new MeshError(
    'invalid_api_key',
    'MESH does not know this key. Check that it is a key of this server.',
  )
}
