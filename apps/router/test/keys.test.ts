import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { makeSecret } from '../src/accounts/key-secret.ts'
import { systemSeams } from '../src/seams.ts'
import { Sensitive } from '../src/sensitive.ts'
import { type HttpFixture, type JsonAnswer, startHttpFixture } from './support/http-fixture.ts'
import { until } from './support/until.ts'

let mesh: HttpFixture
before(async () => {
  mesh = await startHttpFixture()
})
after(() => mesh[Symbol.asyncDispose]())

test('a key lives: made, read, renamed, limited, rotated, revoked', async () => {
  const maker = await mesh.createKey()
  const made = await mesh.request('POST', '/v1/api-keys', {
    key: maker.secret,
    body: {
      name: ' Team key ',
      limits: { requestsPerMinute: 60, monthlyUsdLimit: '12.5', allowedModels: ['alpha'] },
    },
  })
  assert.equal(made.status, 201)
  assert.match(made.body.secret, /^mesh_live_[0-9A-Za-z]{49}$/)
  assert.equal(made.body.name, 'Team key')
  assert.deepEqual(made.body.scopes, ['chat'])
  assert.equal(made.body.livemode, true)
  assert.equal(made.body.limits.requestsPerMinute, 60)
  assert.equal(made.body.limits.monthlyUsdLimit, '12.500000000')
  assert.deepEqual(made.body.limits.allowedModels, ['mesh/alpha'])
  assert.equal(made.body.limits.totalUsdLimit, null)

  const { id, secret } = made.body
  const read = await mesh.request('GET', `/v1/api-keys/${id}`, { key: maker.secret })
  assert.equal(read.status, 200)
  assert.equal(read.body.secret, undefined)
  assert.equal(read.body.secretTail, secret.slice(-4))
  assert.equal(read.body.status, 'active')

  const current = await mesh.request('GET', '/v1/api-keys/current', { key: secret })
  assert.equal(current.status, 200)
  assert.equal(current.body.id, id)
  assert.equal(current.body.remaining.requestsPerMinute.remaining, 60)
  assert.match(current.body.remaining.requestsPerMinute.resetsAt, /:00\.000Z$/)
  assert.equal(current.body.remaining.monthlyUsdLimit.remaining, '12.500000000')
  assert.match(current.body.remaining.monthlyUsdLimit.resetsAt, /-01T00:00:00\.000Z$/)

  const patched = await mesh.request('PATCH', `/v1/api-keys/${id}`, {
    key: maker.secret,
    body: { name: 'Renamed' },
  })
  assert.equal(patched.body.name, 'Renamed')
  const limited = await mesh.request('PATCH', `/v1/api-keys/${id}/limits`, {
    key: maker.secret,
    body: { requestsPerMinute: null, totalUsdLimit: 3 },
  })
  assert.equal(limited.status, 200)
  assert.equal(limited.body.limits.requestsPerMinute, null)
  assert.equal(limited.body.limits.totalUsdLimit, '3.000000000')
  assert.equal(limited.body.limits.monthlyUsdLimit, '12.500000000')

  const rotated = await mesh.request('POST', `/v1/api-keys/${id}/rotate`, { key: maker.secret })
  assert.equal(rotated.status, 201)
  assert.notEqual(rotated.body.secret, secret)
  assert.equal(rotated.body.limits.totalUsdLimit, '3.000000000')
  const old = await mesh.request('GET', '/v1/api-keys/current', { key: secret })
  assert.equal(old.status, 401)
  assert.equal(old.body.error.code, 'key_revoked')
  assert.equal(old.body.error.metadata.successorId, rotated.body.id)
  assert.equal((await mesh.request('GET', '/v1/api-keys/current', { key: rotated.body.secret })).status, 200)

  const revoked = await mesh.request('DELETE', `/v1/api-keys/${rotated.body.id}`, { key: maker.secret })
  assert.equal(revoked.status, 200)
  assert.equal(revoked.body.status, 'revoked')
  const gone = await mesh.request('GET', '/v1/api-keys/current', { key: rotated.body.secret })
  assert.equal(gone.body.error.code, 'key_revoked')
  assert.equal(
    (await mesh.request('DELETE', `/v1/api-keys/${rotated.body.id}`, { key: maker.secret })).status,
    200,
  )

  const actions = await mesh.request('GET', '/v1/audit', { key: maker.secret })
  assert.deepEqual(
    actions.body.data.map(({ action }: { action: string }) => action),
    [
      'key.revoked',
      'key.rotated',
      'key.limits_updated',
      'key.updated',
      'key.created',
      'key.created',
      'account.created',
    ],
  )
  assert.ok(!JSON.stringify(actions.body).includes(secret.slice(0, 30)))
})

test('of two rotations at once exactly one makes a successor', async () => {
  const { id, accountId } = await mesh.createKey()
  const rotate = () => mesh.request('POST', `/v1/api-keys/${id}/rotate`, { key: mesh.operatorKey, body: {} })
  const answers = await Promise.all([rotate(), rotate(), rotate(), rotate()])
  const winners = answers.filter(({ status }) => status === 201)
  const losers = answers.filter(({ status }) => status === 409)
  assert.equal(winners.length, 1)
  assert.equal(losers.length, 3)
  for (const { body, headers } of losers) {
    assert.equal(body.error.code, 'already_rotated')
    assert.equal(body.error.metadata.successorId, winners[0]?.body.id)
    assert.equal(headers.get('x-should-retry'), 'false')
  }
  const { body } = await mesh.request('GET', `/v1/api-keys?accountId=${accountId}`, { key: mesh.operatorKey })
  assert.deepEqual(
    body.data.map(({ status }: { status: string }) => status),
    ['active', 'replaced'],
  )
})

test('a rotated key works until its grace ends, and its end stops nothing else', async () => {
  const old = await mesh.createKey()
  const rotated = await mesh.request('POST', `/v1/api-keys/${old.id}/rotate`, {
    key: old.secret,
    body: { graceSeconds: 1 },
  })
  assert.equal(rotated.status, 201)
  const during = await mesh.request('GET', '/v1/api-keys/current', { key: old.secret })
  assert.equal(during.status, 200)
  assert.equal(during.body.status, 'grace')
  const remembered = await mesh.authenticator.authenticateForHold(new Sensitive(old.secret))
  assert.equal(remembered.key.id, old.id)
  await until('the grace has ended', async () => {
    return (await mesh.request('GET', '/v1/api-keys/current', { key: old.secret })).status === 401
  })
  await assert.rejects(mesh.authenticator.authenticateForHold(new Sensitive(old.secret)), {
    code: 'key_revoked',
  })
  assert.equal((await mesh.request('GET', '/v1/api-keys/current', { key: rotated.body.secret })).status, 200)
})

test('revoking a key stops the keys that it made; rotating it keeps them', async () => {
  const parent = await mesh.createKey()
  const child = await mesh.request('POST', '/v1/api-keys', { key: parent.secret, body: { name: 'child' } })
  const rotated = await mesh.request('POST', `/v1/api-keys/${parent.id}/rotate`, {
    key: parent.secret,
    body: { graceSeconds: 3600 },
  })
  const childWorks = async () =>
    (await mesh.request('GET', '/v1/key', { key: child.body.secret })).status === 200
  assert.ok(await childWorks())

  await mesh.request('DELETE', `/v1/api-keys/${parent.id}`, { key: rotated.body.secret })
  assert.ok(await childWorks(), 'a superseded key takes only itself')
  assert.equal((await mesh.request('GET', '/v1/key', { key: parent.secret })).status, 401)

  await mesh.request('DELETE', `/v1/api-keys/${rotated.body.id}`, { key: rotated.body.secret })
  const stopped = await mesh.request('GET', '/v1/key', { key: child.body.secret })
  assert.equal(stopped.status, 401)
  assert.equal(stopped.body.error.code, 'key_revoked')
})

test('revoking the newest key of a lineage also ends the grace of those before it', async () => {
  const old = await mesh.createKey()
  const { body: successor } = await mesh.request('POST', `/v1/api-keys/${old.id}/rotate`, {
    key: mesh.operatorKey,
    body: { graceSeconds: 3600 },
  })
  await mesh.request('DELETE', `/v1/api-keys/${successor.id}`, { key: mesh.operatorKey })
  assert.equal((await mesh.request('GET', '/v1/key', { key: old.secret })).body.error.code, 'key_revoked')
})

test('a key grants nothing beyond itself', async (t) => {
  const accountId = await mesh.createAccount()
  const other = await mesh.createKey()
  const limits = {
    requestsPerMinute: 10,
    monthlyUsdLimit: '5',
    allowedModels: ['mesh/alpha'],
    minimumPrivacyClass: 'protected',
    expiresAt: '2100-01-01T00:00:00Z',
  }
  const maker = await mesh.createKey({ accountId, scopes: ['chat', 'keys'], limits })
  const strong = await mesh.createKey({ accountId, scopes: ['chat', 'keys', 'billing'] })
  const unlimited = await mesh.createKey({ accountId, scopes: ['chat'] })
  const tester = await mesh.createKey({ accountId, livemode: false })
  const chatOnly = await mesh.createKey({ accountId, scopes: ['chat'] })
  const otherProject = await mesh.request('POST', '/v1/projects', {
    key: other.secret,
    body: { name: 'theirs' },
  })
  const made = await mesh.request('POST', '/v1/api-keys', {
    key: maker.secret,
    body: { name: 'made', scopes: ['chat', 'keys'] },
  })
  assert.equal(made.status, 201)
  const child = made.body

  const create = (body: object) => ['POST', '/v1/api-keys', { name: 'x', ...body }] as const
  const attempts: [string, string, readonly [string, string, object?], number, string][] = [
    ['a scope it lacks', maker.secret, create({ scopes: ['billing'] }), 403, 'insufficient_scope'],
    [
      'a higher limit',
      maker.secret,
      create({ limits: { requestsPerMinute: 11 } }),
      403,
      'insufficient_scope',
    ],
    [
      'a higher budget',
      maker.secret,
      create({ limits: { monthlyUsdLimit: '5.01' } }),
      403,
      'insufficient_scope',
    ],
    ['no limit', maker.secret, create({ limits: { monthlyUsdLimit: null } }), 403, 'insufficient_scope'],
    [
      'another model',
      maker.secret,
      create({ limits: { allowedModels: ['mesh/beta'] } }),
      403,
      'insufficient_scope',
    ],
    [
      'a lower floor',
      maker.secret,
      create({ limits: { minimumPrivacyClass: 'standard' } }),
      403,
      'insufficient_scope',
    ],
    [
      'a later end',
      maker.secret,
      create({ limits: { expiresAt: '2100-01-01T00:00:01Z' } }),
      403,
      'insufficient_scope',
    ],
    ['the project of another', maker.secret, create({ projectId: otherProject.body.id }), 404, 'not_found'],
    ['another account', maker.secret, create({ accountId: other.accountId }), 400, 'invalid_request'],
    ['a live key by a test key', tester.secret, create({ livemode: true }), 403, 'insufficient_scope'],
    ['the scope admin', maker.secret, create({ scopes: ['admin'] }), 400, 'invalid_request'],
    ['a key by a made key', child.secret, create({}), 403, 'insufficient_scope'],
    [
      'a project by a made key',
      child.secret,
      ['POST', '/v1/projects', { name: 'x' }],
      403,
      'insufficient_scope',
    ],
    ['anything without the scope', chatOnly.secret, create({}), 403, 'insufficient_scope'],
    [
      'its own limit raised',
      maker.secret,
      ['PATCH', `/v1/api-keys/${maker.id}/limits`, { requestsPerMinute: 11 }],
      403,
      'insufficient_scope',
    ],
    [
      "its maker's limit raised",
      child.secret,
      ['PATCH', `/v1/api-keys/${maker.id}/limits`, { requestsPerMinute: null }],
      403,
      'insufficient_scope',
    ],
    [
      'its own scopes widened',
      maker.secret,
      ['PATCH', `/v1/api-keys/${maker.id}`, { scopes: ['chat', 'keys', 'usage'] }],
      403,
      'insufficient_scope',
    ],
    [
      'the secret of a key with more scopes',
      maker.secret,
      ['POST', `/v1/api-keys/${strong.id}/rotate`],
      403,
      'insufficient_scope',
    ],
    [
      'the secret of a key with fewer limits',
      maker.secret,
      ['POST', `/v1/api-keys/${unlimited.id}/rotate`],
      403,
      'insufficient_scope',
    ],
    [
      "its maker's secret",
      child.secret,
      ['POST', `/v1/api-keys/${maker.id}/rotate`],
      403,
      'insufficient_scope',
    ],
    ["another account's key", maker.secret, ['GET', `/v1/api-keys/${other.id}`], 404, 'not_found'],
    [
      "another account's key, revoked",
      maker.secret,
      ['DELETE', `/v1/api-keys/${other.id}`],
      404,
      'not_found',
    ],
    ['a live key read by a test key', tester.secret, ['GET', `/v1/api-keys/${maker.id}`], 404, 'not_found'],
    [
      'a live key revoked by a test key',
      tester.secret,
      ['DELETE', `/v1/api-keys/${maker.id}`],
      404,
      'not_found',
    ],
    ['accounts', maker.secret, ['GET', '/v1/accounts'], 403, 'insufficient_scope'],
    [
      'credit',
      maker.secret,
      ['POST', `/v1/accounts/${accountId}/grants`, { amountUsd: '1', reason: 'x' }],
      403,
      'insufficient_scope',
    ],
  ]
  for (const [what, key, [method, path, body], status, code] of attempts) {
    await t.test(what, async () => {
      const answer = await mesh.request(method, path, { key, ...(body === undefined ? {} : { body }) })
      assert.equal(answer.status, status, JSON.stringify(answer.body))
      assert.equal(answer.body.error.code, code)
    })
  }

  await t.test('what is left out is as the maker has it', () => {
    assert.equal(child.limits.requestsPerMinute, 10)
    assert.equal(child.limits.monthlyUsdLimit, '5.000000000')
    assert.equal(child.madeBy, maker.id)
  })
  await t.test('nothing of it happened', async () => {
    const { body } = await mesh.request('GET', `/v1/api-keys?accountId=${accountId}`, {
      key: mesh.operatorKey,
    })
    assert.equal(body.data.length, 6)
    assert.equal((await mesh.request('GET', '/v1/key', { key: other.secret })).status, 200)
  })
  await t.test('a key that loses a scope takes it from those that it made', async () => {
    await mesh.request('PATCH', `/v1/api-keys/${maker.id}`, {
      key: mesh.operatorKey,
      body: { scopes: ['chat'] },
    })
    assert.equal((await mesh.request('GET', '/v1/api-keys', { key: child.secret })).status, 403)
  })
})

/** Each limit, a value of it, and one that allows more. */
const LIMITS: readonly (readonly [limit: string, value: unknown, more: unknown, sumsUp: boolean])[] = [
  ['requestsPerMinute', 10, 11, true],
  ['tokensPerMinute', 10, 11, true],
  ['maxConcurrentRequests', 10, 11, true],
  ['monthlyRequestLimit', 10, 11, true],
  ['monthlyTokenLimit', 10, 11, true],
  ['dailyUsdLimit', '1', '2', true],
  ['monthlyUsdLimit', '1', '2', true],
  ['totalUsdLimit', '1', '2', true],
  ['maxUsdPerRequest', '1', '2', false],
  ['allowedModels', ['mesh/alpha'], ['mesh/alpha', 'mesh/beta'], false],
  ['allowedProviders', ['openai'], ['openai', 'anthropic'], false],
  ['minimumPrivacyClass', 'protected', 'standard', false],
  ['expiresAt', '2100-01-01T00:00:00.000Z', '2100-01-01T00:00:01.000Z', false],
]

async function makeProject(body: object, key = mesh.operatorKey): Promise<string> {
  const made = await mesh.request('POST', '/v1/projects', { key, body: { name: 'project', ...body } })
  assert.equal(made.status, 201, JSON.stringify(made.body))
  return made.body.id
}

function assertBeyond({ status, body }: JsonAnswer, param?: string): void {
  assert.equal(status, 403, JSON.stringify(body))
  assert.equal(body.error.code, 'insufficient_scope')
  if (param !== undefined) assert.equal(body.error.param, param)
}

test('no limit of a project is escaped by way of another project', async (t) => {
  for (const [limit, value, , sumsUp] of LIMITS) {
    await t.test(limit, async () => {
      const accountId = await mesh.createAccount()
      const small = await makeProject({ accountId, limits: { [limit]: value } })
      const wide = await makeProject({ accountId })
      const maker = await mesh.createKey({ accountId, projectId: small })
      const stranger = await mesh.createKey({ accountId, projectId: wide, limits: { [limit]: value } })
      const ask = (method: string, path: string, body?: object) =>
        mesh.request(method, path, { key: maker.secret, body })

      const inside = await ask('POST', '/v1/api-keys', { name: 'inside' })
      assert.equal(inside.status, 201)
      const outside = await ask('POST', '/v1/api-keys', { name: 'outside', projectId: wide })
      const project = await ask('POST', '/v1/projects', { name: 'mine' })
      const secret = await ask('POST', `/v1/api-keys/${stranger.id}/rotate`)
      const loosened = await ask('PATCH', `/v1/api-keys/${stranger.id}/limits`, { [limit]: null })
      assertBeyond(loosened, limit)
      if (sumsUp) {
        assertBeyond(outside, 'projectId')
        assertBeyond(project)
        assert.match(project.body.error.message, /Ask the operator\.$/)
        assertBeyond(secret)
        return
      }
      assert.equal(outside.status, 201)
      assert.equal(secret.status, 201)
      assert.equal(project.status, 201)
      const expected = limit === 'maxUsdPerRequest' ? '1.000000000' : value
      assert.deepEqual(outside.body.limits[limit], expected)
      assert.deepEqual(project.body.limits[limit], expected)
      assertBeyond(
        await ask('POST', '/v1/projects', { name: 'mine', limits: { [limit]: null } }),
        `limits.${limit}`,
      )
    })
  }
})

test('no limit of a key is escaped by way of a project or of another key', async (t) => {
  for (const [limit, value, more, sumsUp] of LIMITS) {
    await t.test(limit, async () => {
      const accountId = await mesh.createAccount()
      const maker = await mesh.createKey({ accountId, limits: { [limit]: value } })
      const sibling = await mesh.createKey({ accountId, limits: { [limit]: value } })
      const ask = (method: string, path: string, body?: object) =>
        mesh.request(method, path, { key: maker.secret, body })
      for (const beyond of [more, null]) {
        const made = await ask('POST', '/v1/projects', { name: 'mine', limits: { [limit]: beyond } })
        assertBeyond(made, `limits.${limit}`)
      }
      const made = await ask('POST', '/v1/projects', { name: 'mine' })
      assert.deepEqual(made.body.limits[limit], maker.limits[limit])
      const child = await ask('POST', '/v1/api-keys', { name: 'child', projectId: made.body.id })
      assert.equal(child.body.madeBy, maker.id, 'what it uses counts against its maker')
      assert.equal((await ask('POST', `/v1/api-keys/${child.body.id}/rotate`)).status, 201)
      const secret = await ask('POST', `/v1/api-keys/${sibling.id}/rotate`)
      if (sumsUp) assertBeyond(secret)
      else assert.equal(secret.status, 201)
    })
  }
})

test('a key tightens the limits of any project, and loosens none', async (t) => {
  for (const [limit, value, more] of LIMITS) {
    await t.test(limit, async () => {
      const accountId = await mesh.createAccount()
      const own = await makeProject({ accountId })
      const other = await makeProject({ accountId })
      const { secret } = await mesh.createKey({ accountId, projectId: own })
      for (const id of [own, other]) {
        const change = (value: unknown, key = secret) =>
          mesh.request('PATCH', `/v1/projects/${id}`, { key, body: { limits: { [limit]: value } } })
        assert.equal((await change(more)).status, 200, 'no limit yet')
        const { status, body: present } = await change(value)
        assert.equal(status, 200)
        assertBeyond(await change(more), `limits.${limit}`)
        assertBeyond(await change(null), `limits.${limit}`)
        const renamed = await mesh.request('PATCH', `/v1/projects/${id}`, {
          key: secret,
          body: { name: 'renamed' },
        })
        assert.deepEqual(renamed.body.limits, present.limits)
        assert.equal((await change(null, mesh.operatorKey)).body.limits[limit], null)
      }
    })
  }
})

test('a rotation takes an empty body of any type, and nothing but JSON otherwise', async () => {
  for (const type of [
    'application/json',
    'text/plain',
    'application/x-www-form-urlencoded',
    'application/octet-stream',
  ]) {
    const { id } = await mesh.createKey()
    const rotate = (body: string) =>
      fetch(`${mesh.url}/v1/api-keys/${id}/rotate`, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${mesh.operatorKey}`,
          'content-type': type,
        },
        body,
      })
    const { status } = await rotate('graceSeconds=1')
    assert.equal(status, type === 'application/json' ? 400 : 415, type)
    assert.equal((await rotate('')).status, 201, type)
  }
})

test('test keys see their own world alone', async () => {
  const live = await mesh.createKey()
  const made = await mesh.request('POST', '/v1/api-keys', {
    key: live.secret,
    body: { name: 'test', livemode: false, scopes: ['keys'] },
  })
  assert.match(made.body.secret, /^mesh_test_/)
  const grant = (livemode: boolean, amountUsd: string) =>
    mesh.request('POST', `/v1/accounts/${live.accountId}/grants`, {
      key: mesh.operatorKey,
      body: { amountUsd, reason: 'start', livemode },
    })
  assert.equal((await grant(true, '7')).status, 201)
  assert.equal((await grant(false, '2')).status, 201)

  const listed = await mesh.request('GET', '/v1/api-keys', { key: made.body.secret })
  assert.deepEqual(
    listed.body.data.map(({ id }: { id: string }) => id),
    [made.body.id],
  )
  const account = await mesh.request('GET', '/v1/accounts/me', { key: made.body.secret })
  assert.equal(account.body.balanceUsd, '2.000000000')
  assert.ok(!JSON.stringify(account.body).includes('7.000000000'))
  const audit = await mesh.request('GET', '/v1/audit', { key: made.body.secret })
  assert.ok(audit.body.data.every(({ livemode }: { livemode: boolean | null }) => livemode !== true))
  assert.ok(!JSON.stringify(audit.body).includes('7.000000000'))
  const credits = await mesh.request('GET', '/v1/credits', { key: made.body.secret })
  assert.deepEqual(credits.body, { data: { total_credits: 2, total_usage: 0 } })
  const owner = await mesh.request('GET', '/v1/accounts/me', { key: live.secret })
  assert.equal(owner.body.balanceUsd, '7.000000000')
  assert.equal(owner.body.test.balanceUsd, '2.000000000')
})

test('a mistyped key is told apart from an unknown one', async () => {
  const { secret } = await mesh.createKey()
  const flipped = `${secret.slice(0, 20)}${secret[20] === 'a' ? 'b' : 'a'}${secret.slice(21)}`
  for (const typo of [flipped, secret.slice(0, -1), `${secret}x`]) {
    const { status, body } = await mesh.request('GET', '/v1/key', { key: typo })
    assert.equal(status, 401)
    assert.equal(body.error.code, 'invalid_api_key')
    assert.match(body.error.message, /mistyped/)
    assert.ok(!body.error.message.includes(typo.slice(10, 30)))
  }
  for (const unknown of [makeSecret(true, systemSeams), 'sk-proj-abcdefghijklmnopqrstuvwxyz0123456789']) {
    const { status, body } = await mesh.request('GET', '/v1/key', { key: unknown })
    assert.equal(status, 401)
    assert.doesNotMatch(body.error.message, /mistyped/)
  }
  const { status, body } = await mesh.request('GET', '/v1/key')
  assert.equal(status, 401)
  assert.equal(body.error.code, 'invalid_api_key')
})

test('an expired key says so, and its account lists it as expired', async () => {
  const key = await mesh.createKey({ limits: { expiresAt: '2020-01-01T00:00:00+01:00' } })
  const { status, body } = await mesh.request('GET', '/v1/key', { key: key.secret })
  assert.equal(status, 401)
  assert.equal(body.error.code, 'key_expired')
  const listed = await mesh.request('GET', `/v1/api-keys/${key.id}`, { key: mesh.operatorKey })
  assert.equal(listed.body.status, 'expired')
})

test('keys come in pages, the newest first', async () => {
  const accountId = await mesh.createAccount()
  const ids: string[] = []
  for (let count = 0; count < 5; count++) ids.unshift((await mesh.createKey({ accountId })).id)
  const seen: string[] = []
  let path: string | undefined = `/v1/api-keys?accountId=${accountId}&limit=2`
  while (path !== undefined) {
    const { status, body } = await mesh.request('GET', path, { key: mesh.operatorKey })
    assert.equal(status, 200)
    seen.push(...body.data.map(({ id }: { id: string }) => id))
    path = body.next_cursor && `/v1/api-keys?accountId=${accountId}&limit=2&cursor=${body.next_cursor}`
    if (path === null) break
  }
  assert.deepEqual(seen, ids)
  for (const query of [
    'limit=0',
    'limit=101',
    'limit=1e1',
    'limit=2&limit=3',
    'cursor=nonsense',
    'unknown=1',
  ]) {
    const { status, body } = await mesh.request('GET', `/v1/api-keys?${query}`, { key: mesh.operatorKey })
    assert.equal(status, 400, query)
    assert.equal(body.error.code, 'invalid_request')
  }
})

test('peer bug 4 (Bifrost#5673): a field that is not known is refused, never silently dropped; a refusal quotes nothing', async (t) => {
  const { secret } = await mesh.createKey()
  const canary = 'CANARY_9f3'
  const refused: [string, unknown, string | null][] = [
    ['an unknown field', { name: 'x', [canary]: 1 }, null],
    ['an unknown limit', { name: 'x', limits: { [canary]: 1 } }, 'limits'],
    ['a name that is no text', { name: { [canary]: 1 } }, 'name'],
    ['a name of spaces', { name: '   ' }, 'name'],
    ['a name with a NUL byte', { name: `a\u0000${canary}` }, 'name'],
    ['a negative limit', { name: 'x', limits: { requestsPerMinute: -1 } }, 'limits.requestsPerMinute'],
    ['half a request', { name: 'x', limits: { requestsPerMinute: 1.5 } }, 'limits.requestsPerMinute'],
    [
      'ten decimals of a dollar',
      { name: 'x', limits: { dailyUsdLimit: '0.0000000001' } },
      'limits.dailyUsdLimit',
    ],
    [
      'more money than there is',
      { name: 'x', limits: { dailyUsdLimit: '9999999999' } },
      'limits.dailyUsdLimit',
    ],
    [
      'a model that does not exist',
      { name: 'x', limits: { allowedModels: ['alpha', canary] } },
      'limits.allowedModels[1]',
    ],
    ['an empty list of models', { name: 'x', limits: { allowedModels: [] } }, 'limits.allowedModels'],
    [
      'a provider that does not exist',
      { name: 'x', limits: { allowedProviders: [canary] } },
      'limits.allowedProviders[0]',
    ],
    ['a scope that does not exist', { name: 'x', scopes: [canary] }, 'scopes[0]'],
    ['a time that is none', { name: 'x', limits: { expiresAt: canary } }, 'limits.expiresAt'],
    ['an id of another kind', { name: 'x', projectId: `key_${canary}` }, 'projectId'],
    ['a list', [canary], null],
    ['no body', undefined, null],
  ]
  for (const [what, body, param] of refused) {
    await t.test(what, async () => {
      const answer = await mesh.request('POST', '/v1/api-keys', {
        key: secret,
        ...(body === undefined ? {} : { body }),
      })
      assert.equal(answer.status, 400, JSON.stringify(answer.body))
      assert.equal(answer.body.error.code, 'invalid_request')
      assert.equal(answer.body.error.param, param)
      assert.ok(!JSON.stringify(answer.body).includes(canary), answer.body.error.message)
    })
  }
  await t.test('but nobody unknown learns of the schema', async () => {
    assert.equal((await mesh.request('POST', '/v1/api-keys', { body: { nonsense: 1 } })).status, 401)
  })
})
