import { ALL_SCOPES, type Tenant, type Tenants, unknownSecret } from './tenants.ts'
import { ADMIN_KEY } from './test-router.ts'
import { until } from './until.ts'

/** Whose a credential is, once it is known. */
export type Holder =
  | { readonly kind: 'operator' }
  | {
      readonly kind: 'key'
      /** Whether it is of the account whose rows the matrix calls its own. */
      readonly isHome: boolean
      readonly livemode: boolean
      readonly scopes: readonly string[]
      /** Made by another key, so that it makes none itself. */
      readonly isMade: boolean
    }

export type Refusal = readonly [status: number, code: string]

/** One way to present oneself. */
export interface Credential {
  readonly name: string
  readonly headers: readonly (readonly [name: string, value: string])[]
  /** Goes behind the path. */
  readonly query?: string
  /** What every route answers that asks who is there. */
  readonly refusal?: Refusal
  /** The request itself is wrong: routes that ask nobody's name refuse it as well. */
  readonly isMalformed?: true
  readonly holder?: Holder
  /** Whose it is on the routes that look for keys in `x-api-key`, which others refuse. */
  readonly inApiKeyHeader?: Holder
}

const bearer = (secret: string) => [['authorization', `Bearer ${secret}`]] as const

/** Every kind of credential, for one home and one account that has nothing to do with it. */
export async function makeCredentials(tenants: Tenants, home: Tenant, other: Tenant): Promise<Credential[]> {
  const live = home.live.key.secret
  return [
    ...misplaced(live, other.live.key.secret),
    ...unknown(live, tenants.withdrawnOperatorKey),
    ...(await stopped(tenants, home)),
    ...(await ofHome(tenants, home)),
    { name: "another account's live key", headers: bearer(other.live.key.secret), holder: key(false, true) },
    {
      name: "another account's test key",
      headers: bearer(other.test.key.secret),
      holder: key(false, false),
    },
    { name: 'an operator key', headers: bearer(ADMIN_KEY), holder: { kind: 'operator' } },
  ]
}

function key(
  isHome: boolean,
  livemode: boolean,
  scopes: readonly string[] = ALL_SCOPES,
  isMade = false,
): Holder {
  return { kind: 'key', isHome, livemode, scopes, isMade }
}

/** A good key in a place where it is not looked for, or in a form that is not taken. */
function misplaced(secret: string, anotherSecret: string): Credential[] {
  const refusal = [401, 'invalid_api_key'] as const
  const basic = Buffer.from(`${secret}:`).toString('base64')
  return [
    { name: 'none', headers: [], refusal },
    { name: 'in x-api-key', headers: [['x-api-key', secret]], refusal, inApiKeyHeader: key(true, true) },
    { name: 'in the query', headers: [], query: `?api_key=${secret}&key=${secret}`, refusal },
    { name: 'in a cookie', headers: [['cookie', `session=${secret}; authorization=${secret}`]], refusal },
    { name: 'as Basic', headers: [['authorization', `Basic ${basic}`]], refusal },
    { name: 'without a scheme', headers: [['authorization', secret]], refusal },
    { name: 'two in one header', headers: bearer(`${secret}, Bearer ${anotherSecret}`), refusal },
    {
      name: 'two headers',
      headers: [...bearer(secret), ...bearer(anotherSecret)],
      refusal: [400, 'invalid_request'],
      isMalformed: true,
    },
  ]
}

function unknown(secret: string, withdrawnOperatorKey: string): Credential[] {
  const refusal = [401, 'invalid_api_key'] as const
  const mistyped = `${secret.slice(0, -1)}${secret.endsWith('0') ? '1' : '0'}`
  return [
    { name: 'malformed', headers: bearer('mesh_live_short'), refusal },
    { name: 'of another vendor', headers: bearer(`sk-${'a'.repeat(48)}`), refusal },
    { name: 'with a wrong checksum', headers: bearer(mistyped), refusal },
    { name: 'unknown, live', headers: bearer(unknownSecret(true)), refusal },
    { name: 'unknown, test', headers: bearer(unknownSecret(false)), refusal },
    { name: 'an operator key that was withdrawn', headers: bearer(withdrawnOperatorKey), refusal },
  ]
}

/** Keys that worked once. */
async function stopped({ ask, makeKey, mesh, tenant }: Tenants, home: Tenant): Promise<Credential[]> {
  const { accountId } = home
  const make = (more: object = {}) => makeKey({ accountId, livemode: true, scopes: ALL_SCOPES, ...more })
  const revoked = await make()
  await ask('DELETE', `/v1/api-keys/${revoked.id}`)
  const replaced = await make()
  await ask('POST', `/v1/api-keys/${replaced.id}/rotate`)
  const project = await ask('POST', '/v1/projects', { name: 'To be deleted', accountId })
  const ofDeleted = await make({ projectId: project.id })
  await ask('DELETE', `/v1/projects/${project.id}`)
  const maker = await make()
  const orphan = await makeKey({ scopes: ALL_SCOPES }, maker.secret)
  await ask('DELETE', `/v1/api-keys/${maker.id}`)
  const suspended = await tenant('Suspended')
  await ask('PATCH', `/v1/accounts/${suspended.accountId}`, { status: 'suspended' })
  const closed = await tenant('Closed')
  await ask('PATCH', `/v1/accounts/${closed.accountId}`, { status: 'closed' })
  const expired = await make({ limits: { expiresAt: new Date(Date.now() + 50).toISOString() } })
  const afterGrace = await make()
  await ask('POST', `/v1/api-keys/${afterGrace.id}/rotate`, { graceSeconds: 1 })
  await until('the grace is over and the key has expired', async () => {
    const [graced, late] = await Promise.all(
      [afterGrace, expired].map(({ secret }) => mesh.request('GET', '/v1/key', { key: secret })),
    )
    return graced?.status === 401 && late?.status === 401
  })
  const gone = [401, 'key_revoked'] as const
  const asleep = [403, 'account_suspended'] as const
  return [
    { name: 'revoked', headers: bearer(revoked.secret), refusal: gone },
    { name: 'made by a key that was revoked', headers: bearer(orphan.secret), refusal: gone },
    { name: 'replaced by its successor', headers: bearer(replaced.secret), refusal: gone },
    { name: 'replaced, its grace over', headers: bearer(afterGrace.secret), refusal: gone },
    { name: 'of a deleted project', headers: bearer(ofDeleted.secret), refusal: gone },
    { name: 'expired', headers: bearer(expired.secret), refusal: [401, 'key_expired'] },
    { name: 'of a suspended account', headers: bearer(suspended.live.key.secret), refusal: asleep },
    { name: 'of a closed account', headers: bearer(closed.test.key.secret), refusal: asleep },
  ]
}

async function ofHome({ makeKey, ask }: Tenants, home: Tenant): Promise<Credential[]> {
  const { accountId } = home
  const single = await Promise.all(
    ALL_SCOPES.map(async (scope): Promise<Credential> => {
      const { secret } = await makeKey({ accountId, livemode: true, scopes: [scope] })
      return { name: `with ${scope} alone`, headers: bearer(secret), holder: key(true, true, [scope]) }
    }),
  )
  const made = await makeKey({ scopes: ALL_SCOPES }, home.live.key.secret)
  const graced = await makeKey({ accountId, livemode: true, scopes: ALL_SCOPES })
  await ask('POST', `/v1/api-keys/${graced.id}/rotate`, { graceSeconds: 3_600 })
  return [
    { name: 'live', headers: bearer(home.live.key.secret), holder: key(true, true) },
    { name: 'test', headers: bearer(home.test.key.secret), holder: key(true, false) },
    ...single,
    { name: 'made by a key', headers: bearer(made.secret), holder: key(true, true, ALL_SCOPES, true) },
    { name: 'rotated, in its grace', headers: bearer(graced.secret), holder: key(true, true) },
  ]
}
