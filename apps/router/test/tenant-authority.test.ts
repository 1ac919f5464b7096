import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { assertError, type Expected } from './support/assert-error.ts'
import { chat, send } from './support/calls.ts'
import {
  ALL_SCOPES,
  digestOf,
  MODEL,
  startTenants,
  type Tenant,
  type TenantKey,
  type Tenants,
} from './support/tenants.ts'
import { ADMIN_KEY, type Answered } from './support/test-router.ts'

/** What a key may hand on: nothing beyond itself, by no way; and what is handed on stops with who handed it on. */

let tenants: Tenants
let home: Tenant
before(async () => {
  tenants = await startTenants()
  home = await tenants.tenant('Home')
})
after(() => tenants?.[Symbol.asyncDispose]())

const BEYOND: Expected = [403, 'insufficient_scope']
const WRONG: Expected = [400, 'invalid_request']
const NOT_THERE: Expected = [404, 'not_found']
const REVOKED: Expected = [401, 'key_revoked']

function request(key: string, method: string, path: string, body?: unknown): Promise<Answered> {
  return tenants.mesh.request(method, path, { key, ...(body === undefined ? {} : { body }) })
}

/** A key of the home account that an operator made. */
function operatorMade(body: object = {}): Promise<TenantKey> {
  return tenants.makeKey({ accountId: home.accountId, livemode: true, scopes: ['chat', 'keys'], ...body })
}

function limitsOf(): Promise<string | undefined> {
  return digestOf(tenants.mesh.database, home.accountId).then(({ limits }) => limits)
}

/** Each limit as the asking key has it, and what would be more. */
const LIMITS: readonly (readonly [field: string, own: unknown, more: unknown])[] = [
  ['requestsPerMinute', 1_000, 1_001],
  ['tokensPerMinute', 1_000_000, 1_000_001],
  ['maxConcurrentRequests', 10, 11],
  ['monthlyRequestLimit', 1_000, 1_001],
  ['monthlyTokenLimit', 1_000_000, 1_000_001],
  ['dailyUsdLimit', '1', '1.000000001'],
  ['monthlyUsdLimit', '5', '5.000000001'],
  ['totalUsdLimit', '9', '9.000000001'],
  ['maxUsdPerRequest', '0.5', '0.500000001'],
  ['allowedModels', [MODEL], [MODEL, 'mesh/gpt-5-mini']],
  ['allowedProviders', ['openai'], ['openai', 'anthropic']],
  ['minimumPrivacyClass', 'protected', 'standard'],
  ['expiresAt', '2100-01-01T00:00:00Z', '2100-01-01T00:00:00.001Z'],
]

test('no limit is passed by any way of setting one', async (t) => {
  const limits = Object.fromEntries(LIMITS.map(([field, own]) => [field, own]))
  const maker = await operatorMade({ limits })
  const child = await tenants.makeKey({ scopes: ['keys'] }, maker.secret)
  const sibling = await operatorMade({ limits })
  const project = await tenants.ask('POST', '/v1/projects', { name: 'x', accountId: home.accountId, limits })
  const inProject = await operatorMade({ projectId: project.id })
  const before = await limitsOf()
  const ways: readonly (readonly [
    way: string,
    key: string,
    method: string,
    path: string,
    nested: boolean,
  ])[] = [
    ['a new key', maker.secret, 'POST', '/v1/api-keys', true],
    ['its own limits', maker.secret, 'PATCH', `/v1/api-keys/${maker.id}/limits`, false],
    ["its child's limits", maker.secret, 'PATCH', `/v1/api-keys/${child.id}/limits`, false],
    ["its sibling's limits", maker.secret, 'PATCH', `/v1/api-keys/${sibling.id}/limits`, false],
    ["a child's own limits", child.secret, 'PATCH', `/v1/api-keys/${child.id}/limits`, false],
    ['a new project', maker.secret, 'POST', '/v1/projects', true],
    ['its project', inProject.secret, 'PATCH', `/v1/projects/${project.id}`, true],
  ]
  for (const [way, key, method, path, nested] of ways) {
    await t.test(way, async () => {
      for (const [field, , more] of LIMITS) {
        for (const value of [more, null]) {
          const patch = { [field]: value }
          const named = method === 'POST' ? { name: 'x', limits: patch } : { limits: patch }
          const answer = await request(key, method, path, nested ? named : patch)
          assertError(answer, BEYOND, `${way}, ${field} = ${value}`)
          assert.equal(answer.json.error.param, `${nested ? 'limits.' : ''}${field}`)
        }
      }
    })
  }
  await t.test('and nothing of it has come to be', async () => assert.equal(await limitsOf(), before))
})

test('a project with limits is not left by way of another project, whatever the limit', async (t) => {
  for (const [field, own] of LIMITS) {
    await t.test(field, async () => {
      const { accountId } = home
      const body = { name: 'x', accountId, limits: { [field]: own } }
      const project = await tenants.ask('POST', '/v1/projects', body)
      const inside = await operatorMade({ projectId: project.id })
      const outside = await operatorMade()
      const isSummed = ![
        'maxUsdPerRequest',
        'allowedModels',
        'allowedProviders',
        'minimumPrivacyClass',
        'expiresAt',
      ].includes(field)
      const ask = (method: string, path: string, sent: object) => request(inside.secret, method, path, sent)
      const made = await ask('POST', '/v1/api-keys', { name: 'x', projectId: home.projectId })
      if (isSummed) assertError(made, BEYOND)
      else assert.deepEqual([made.status, made.json.limits[field]], [201, shown(own)])
      const loosened = { name: 'x', projectId: home.projectId, limits: { [field]: null } }
      assertError(await ask('POST', '/v1/api-keys', loosened), BEYOND)
      assertError(await ask('POST', `/v1/api-keys/${outside.id}/rotate`, {}), BEYOND)
      // One that is looser already is not made looser still, and may be tightened.
      const tight = await operatorMade({ limits: { [field]: own } })
      assertError(await ask('PATCH', `/v1/api-keys/${tight.id}/limits`, { [field]: null }), BEYOND)
    })
  }
})

/** A limit as it is shown. */
function shown(limit: unknown): unknown {
  return limit === '0.5'
    ? '0.500000000'
    : limit === '2100-01-01T00:00:00Z'
      ? '2100-01-01T00:00:00.000Z'
      : limit
}

test('no scope is passed by any way of giving one', async (t) => {
  for (const scope of ALL_SCOPES.filter((each) => each !== 'keys')) {
    await t.test(scope, async () => {
      const others = ALL_SCOPES.filter((each) => each !== scope)
      const maker = await operatorMade({ scopes: others })
      const child = await tenants.makeKey({ scopes: others }, maker.secret)
      const sibling = await operatorMade({ scopes: ALL_SCOPES })
      const ways: readonly (readonly [key: TenantKey, method: string, path: string, body: object])[] = [
        [maker, 'POST', '/v1/api-keys', { name: 'x', scopes: [scope] }],
        [maker, 'POST', '/v1/api-keys', { name: 'x', scopes: ALL_SCOPES }],
        [maker, 'PATCH', `/v1/api-keys/${maker.id}`, { scopes: ALL_SCOPES }],
        [maker, 'PATCH', `/v1/api-keys/${child.id}`, { scopes: [scope] }],
        [maker, 'PATCH', `/v1/api-keys/${sibling.id}`, { scopes: [scope] }],
        [maker, 'POST', `/v1/api-keys/${sibling.id}/rotate`, {}],
        [child, 'PATCH', `/v1/api-keys/${child.id}`, { scopes: ALL_SCOPES }],
      ]
      for (const [key, method, path, body] of ways) {
        assertError(await request(key.secret, method, path, body), BEYOND, `${method} ${path}`)
      }
    })
  }
  await t.test('admin', async () => {
    const { key } = home.live
    for (const scopes of [['admin'], ['chat', 'admin'], ['operator'], ['*'], []]) {
      assertError(await request(key.secret, 'POST', '/v1/api-keys', { name: 'x', scopes }), WRONG)
      assertError(await request(key.secret, 'PATCH', `/v1/api-keys/${key.id}`, { scopes }), WRONG)
    }
  })
})

test('a test key reaches nothing live by any way, and its keys neither', async () => {
  const { key } = home.test
  const made = await tenants.makeKey({ scopes: ['keys'] }, key.secret)
  assert.match(made.secret, /^mesh_test_/)
  const live = await operatorMade()
  for (const { secret } of [key, made]) {
    assertError(await request(secret, 'POST', '/v1/api-keys', { name: 'x', livemode: true }), BEYOND)
    for (const [method, path, body] of [
      ['GET', '', undefined],
      ['PATCH', '', { name: 'mine' }],
      ['PATCH', '/limits', { requestsPerMinute: 1 }],
      ['POST', '/rotate', {}],
      ['DELETE', '', undefined],
    ] as const) {
      assertError(await request(secret, method, `/v1/api-keys/${live.id}${path}`, body), NOT_THERE)
    }
  }
  const project = `/v1/projects/${home.otherProjectId}`
  assertError(await request(key.secret, 'DELETE', project), BEYOND)
  assertError(await request(key.secret, 'PATCH', project, { limits: { requestsPerMinute: 0 } }), BEYOND)
  assertError(await request(key.secret, 'PATCH', project, { name: 'mine' }), BEYOND)
  // The other way round it is meant: a live key may make one to test with.
  const tester = await tenants.makeKey({ livemode: false }, live.secret)
  assert.match(tester.secret, /^mesh_test_/)
})

/** What only MESH or an operator decides of an account, a project or a key. */
const NOT_FOR_CALLERS = {
  accountId: 'acct_00000000000000000000000000',
  plan: 'enterprise',
  status: 'active',
  balanceUsd: '1000',
  heldUsd: '0',
  test: { balanceUsd: '1000' },
  isAdmin: true,
  admin: true,
  role: 'admin',
  id: 'key_00000000000000000000000000',
  secret: 'mesh_live_chosen',
  secretSha256: '00',
  lineageId: 'key_00000000000000000000000000',
  lineage_id: 'key_00000000000000000000000000',
  madeBy: null,
  parentLineageId: null,
  successorId: null,
  revokedAt: null,
  stopsAt: null,
  createdAt: '2000-01-01T00:00:00Z',
  policyVersion: 1,
  isDefault: true,
  defaultProjectId: null,
}

test('a field that is not for its caller is refused, never passed on', async () => {
  const { accountId, live, otherProjectId } = home
  const key = await operatorMade({ scopes: ALL_SCOPES })
  const routes: readonly (readonly [
    by: string,
    method: string,
    path: string,
    good: object,
    takes: readonly string[],
  ])[] = [
    [live.key.secret, 'PATCH', '/v1/accounts/me', { name: 'Home' }, []],
    [live.key.secret, 'POST', '/v1/projects', { name: 'x' }, []],
    [live.key.secret, 'PATCH', `/v1/projects/${otherProjectId}`, { name: 'x' }, []],
    [live.key.secret, 'POST', '/v1/api-keys', { name: 'x' }, []],
    [live.key.secret, 'PATCH', `/v1/api-keys/${key.id}`, { name: 'x' }, []],
    [live.key.secret, 'PATCH', `/v1/api-keys/${key.id}/limits`, { requestsPerMinute: 1_000 }, []],
    [live.key.secret, 'POST', `/v1/api-keys/${key.id}/rotate`, { graceSeconds: 0 }, []],
    [ADMIN_KEY, 'POST', '/v1/accounts', { name: 'x' }, ['plan']],
    [ADMIN_KEY, 'PATCH', `/v1/accounts/${accountId}`, { name: 'Home' }, ['plan', 'status']],
    [ADMIN_KEY, 'POST', `/v1/accounts/${accountId}/grants`, { amountUsd: '1', reason: 'x' }, []],
  ]
  const before = await digestOf(tenants.mesh.database, accountId)
  for (const [by, method, path, good, takes] of routes) {
    for (const [field, value] of Object.entries(NOT_FOR_CALLERS)) {
      if (takes.includes(field)) continue
      const answer = await request(by, method, path, { ...good, [field]: value })
      assertError(answer, WRONG, `${method} ${path} with ${field}`)
    }
  }
  assert.deepEqual(await digestOf(tenants.mesh.database, accountId), before)
})

test('a call is that of its caller, whatever its body says', async () => {
  const other = await tenants.tenant('Other')
  const body = {
    ...chat(undefined, { max_tokens: 8 }),
    accountId: other.accountId,
    account_id: other.accountId,
    projectId: other.projectId,
    keyId: other.live.key.id,
    livemode: true,
    payer: { accountId: other.accountId },
  }
  const before = await digestOf(tenants.mesh.database, other.accountId)
  const answer = await send(tenants.mesh, home.test.key.secret, body)
  assert.equal(answer.status, 200, answer.text)
  assert.deepEqual([...answer.json.routing.dropped_params].sort(), [
    'accountId',
    'account_id',
    'keyId',
    'livemode',
    'payer',
    'projectId',
  ])
  const event = await tenants.ask('GET', `/v1/logs/${answer.json.id}`, undefined, home.test.key.secret)
  assert.deepEqual([event.accountId, event.keyId, event.livemode], [home.accountId, home.test.key.id, false])
  assert.deepEqual(await digestOf(tenants.mesh.database, other.accountId), before)
})

test('what made keys spend counts against who made them, and stops them all together', async () => {
  const maker = await operatorMade({ livemode: false, limits: { totalUsdLimit: '0.0003' } })
  const [first, second] = await Promise.all([
    tenants.makeKey({}, maker.secret),
    tenants.makeKey({}, maker.secret),
  ])
  assert.ok(first && second)
  const spent = async ({ secret }: TenantKey) =>
    (await tenants.ask('GET', '/v1/api-keys/current', undefined, secret)).usage.usdTotal
  const call = ({ secret }: TenantKey, tokens: number) =>
    send(tenants.mesh, secret, chat(`tokens=${tokens}`, { max_tokens: tokens }))
  assert.equal((await call(first, 300)).status, 200)
  assert.notEqual(await spent(first), '0.000000000')
  assert.deepEqual([await spent(maker), await spent(second)], [await spent(first), '0.000000000'])
  for (const key of [maker, second, first]) {
    const refused = await call(key, 600)
    assertError(refused, [402, 'limit_exceeded'])
    assert.deepEqual(
      [refused.json.error.metadata.scope, refused.json.error.metadata.limit],
      ['key', 'totalUsdLimit'],
    )
  }
})

test('a made key makes nothing, nor does its successor; revoking its maker stops it, rotating its maker does not', async () => {
  const maker = await operatorMade()
  const child = await tenants.makeKey({ scopes: ['keys'] }, maker.secret)
  const successor = await tenants.ask(
    'POST',
    `/v1/api-keys/${child.id}/rotate`,
    { graceSeconds: 3_600 },
    child.secret,
  )
  const sibling = await operatorMade()
  for (const key of [child, successor]) {
    assertError(await request(key.secret, 'POST', '/v1/api-keys', { name: 'x', scopes: ['keys'] }), BEYOND)
    assertError(await request(key.secret, 'POST', '/v1/projects', { name: 'x' }), BEYOND)
    assertError(await request(key.secret, 'PATCH', '/v1/accounts/me', { name: 'mine' }), BEYOND)
    for (const { id } of [maker, sibling]) {
      assertError(await request(key.secret, 'POST', `/v1/api-keys/${id}/rotate`, {}), BEYOND)
      assertError(await request(key.secret, 'DELETE', `/v1/api-keys/${id}`), BEYOND)
    }
  }
  const next = await tenants.ask('POST', `/v1/api-keys/${maker.id}/rotate`, {})
  assertError(await request(maker.secret, 'GET', '/v1/key'), REVOKED)
  // The one that was replaced takes nothing with it: all else belongs to its successor.
  await tenants.ask('DELETE', `/v1/api-keys/${maker.id}`)
  for (const { secret } of [next, child, successor]) await tenants.ask('GET', '/v1/key', undefined, secret)
  await tenants.ask('DELETE', `/v1/api-keys/${next.id}`)
  for (const { secret } of [next, child, successor]) {
    assertError(await request(secret, 'GET', '/v1/key'), REVOKED)
  }
  await tenants.ask('GET', '/v1/key', undefined, sibling.secret)
})

/** Each race is run so often: who comes first is left to chance. */
const ROUNDS = 4

test('of two rotations at once one makes the successor, and the other is told its name', async () => {
  for (let round = 0; round < ROUNDS; round++) {
    const key = await operatorMade()
    const answers = await Promise.all(
      [0, 0, 60].map((graceSeconds) =>
        request(ADMIN_KEY, 'POST', `/v1/api-keys/${key.id}/rotate`, { graceSeconds }),
      ),
    )
    const made = answers.filter(({ status }) => status === 201)
    assert.equal(made.length, 1)
    for (const answer of answers.filter(({ status }) => status !== 201)) {
      assertError(answer, [409, 'already_rotated'])
      assert.equal(answer.json.error.metadata.successorId, made[0]?.json.id)
    }
  }
})

test('a key that is revoked and rotated at once has no successor that lives by accident', async () => {
  for (let round = 0; round < ROUNDS; round++) {
    const key = await operatorMade()
    const [revoked, rotated] = await Promise.all([
      request(key.secret, 'DELETE', `/v1/api-keys/${key.id}`),
      request(ADMIN_KEY, 'POST', `/v1/api-keys/${key.id}/rotate`, { graceSeconds: 60 }),
    ])
    assert.equal(revoked.status, 200, revoked.text)
    assertError(await request(key.secret, 'GET', '/v1/key'), REVOKED)
    // Whoever revoked it second was shown the successor, which is another key.
    assert.equal(revoked.json.successorId, rotated.status === 201 ? rotated.json.id : null)
    if (rotated.status !== 201) assertError(rotated, WRONG)
    else await tenants.ask('GET', '/v1/key', undefined, rotated.json.secret)
  }
})

test('no key outlives the project that it was made in, nor the key that made it, while that goes', async (t) => {
  const stops: readonly (readonly [
    what: string,
    stop: (maker: TenantKey, projectId: string) => Promise<Answered>,
  ])[] = [
    ['its project', (_maker, projectId) => request(ADMIN_KEY, 'DELETE', `/v1/projects/${projectId}`)],
    ['its maker', ({ id }) => request(ADMIN_KEY, 'DELETE', `/v1/api-keys/${id}`)],
    ['its maker, by itself', ({ id, secret }) => request(secret, 'DELETE', `/v1/api-keys/${id}`)],
  ]
  for (const [what, stop] of stops) {
    await t.test(what, async () => {
      for (let round = 0; round < ROUNDS; round++) {
        const { id: projectId } = await tenants.ask('POST', '/v1/projects', {
          name: 'x',
          accountId: home.accountId,
        })
        const maker = await operatorMade({ projectId })
        const make = () => request(maker.secret, 'POST', '/v1/api-keys', { name: 'x' })
        const [first, second, stopped, third, fourth] = await Promise.all([
          make(),
          make(),
          stop(maker, projectId),
          make(),
          make(),
        ])
        assert.equal(stopped.status, 200, stopped.text)
        for (const made of [first, second, third, fourth]) {
          if (made.status === 201) assertError(await request(made.json.secret, 'GET', '/v1/key'), REVOKED)
          else assertError(made, REVOKED)
        }
      }
    })
  }
})

test('a key that loses a scope while it makes another does not leave it there', async () => {
  for (let round = 0; round < ROUNDS; round++) {
    const maker = await operatorMade({ scopes: ALL_SCOPES })
    const [made, patched] = await Promise.all([
      request(maker.secret, 'POST', '/v1/api-keys', { name: 'x', scopes: ['usage', 'chat'] }),
      request(ADMIN_KEY, 'PATCH', `/v1/api-keys/${maker.id}`, { scopes: ['chat', 'keys'] }),
    ])
    assert.equal(patched.status, 200, patched.text)
    if (made.status !== 201) assertError(made, BEYOND)
    else {
      const { scopes } = await tenants.ask('GET', `/v1/api-keys/${made.json.id}`)
      assert.deepEqual(scopes, ['chat'])
    }
  }
})
