import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { type KeyedUpstream, startKeyedUpstream } from './support/keyed-upstream.ts'
import { newRouterHome } from './support/router-process.ts'
import { ADMIN_KEY, makeAccount, startTestRouter, type TestRouter } from './support/test-router.ts'
import { until } from './support/until.ts'

/* Several credentials of one provider: one that is turned away is set aside, and the others serve. */

const POLICY = {
  catalog: {
    credentials: {
      openai: [
        { name: 'team-1', variable: 'TEAM_1_KEY' },
        { name: 'team-2', variable: 'TEAM_2_KEY' },
      ],
    },
  },
}
const SECRETS = { TEAM_1_KEY: 'sk-team-one', TEAM_2_KEY: 'sk-team-two' }

async function begin(t: TestContext, environment: Readonly<Record<string, string>> = SECRETS) {
  const upstream = await startKeyedUpstream()
  const mesh = await startTestRouter({
    environment: { ...environment, MESH_OPENAI_BASE_URL: upstream.baseUrl },
    policy: POLICY,
  })
  t.after(async () => {
    await mesh.stop()
    await upstream.close()
  })
  return { upstream, mesh }
}

const body = (model = 'mesh/gpt-4o-mini') => ({
  model,
  max_tokens: 50,
  messages: [{ role: 'user', content: 'Hello' }],
  provider: { only: ['openai'] },
})

async function ask(mesh: Pick<TestRouter, 'request'>, key: string, model?: string) {
  return mesh.request('POST', '/v1/chat/completions', { key, body: body(model) })
}

/** The credential that an account's calls carry now. */
async function keyOf(mesh: TestRouter, upstream: KeyedUpstream, key: string): Promise<string> {
  const { status, text } = await ask(mesh, key)
  assert.equal(status, 200, text)
  return upstream.presented.at(-1)?.key ?? ''
}

async function credentialsOf(mesh: TestRouter) {
  const { json } = await mesh.request('GET', '/v1/providers/config', { key: ADMIN_KEY })
  return json.data.find(({ provider }: { provider: string }) => provider === 'openai')
}

for (const status of [401, 403, 429]) {
  test(`a credential that gets ${status} is set aside, and its call is answered with the other one`, async (t) => {
    const { upstream, mesh } = await begin(t)
    const { key } = await mesh.account({ livemode: true })
    const first = await keyOf(mesh, upstream, key)
    const other = Object.values(SECRETS).find((secret) => secret !== first)
    assert.ok(other)
    upstream.answers(first, status, status === 429 ? { 'retry-after': '30' } : {})

    const asked = await ask(mesh, key)
    assert.equal(asked.status, 200, asked.text)
    const chain = asked.json.routing.chain.map(
      (link: { provider: string; outcome: string; reason: string }) => [
        link.provider,
        link.outcome,
        link.reason,
      ],
    )
    const reason = status === 429 ? 'rate_limited' : 'credential_refused'
    assert.deepEqual(chain, [
      ['openai', 'refused_unbilled', reason],
      ['openai', 'served', null],
    ])
    // Neither this account nor any other meets it again.
    const before = upstream.presented.length
    await Promise.all([ask(mesh, key), ask(mesh, (await mesh.account({ livemode: true })).key)])
    assert.deepEqual(
      upstream.presented.slice(before).map((shown) => shown.key),
      [other, other],
    )
    const { credentials } = await credentialsOf(mesh)
    const aside = credentials.filter((one: { status: string }) => one.status === 'set_aside')
    assert.equal(aside.length, 1)
    assert.equal(aside[0].name, first === SECRETS.TEAM_1_KEY ? 'team-1' : 'team-2')
    assert.deepEqual(aside[0].models, status === 401 ? [] : ['mesh/gpt-4o-mini'])
    // What one credential met is no fault of the endpoint's.
    const { json: health } = await mesh.request('GET', '/v1/providers/health')
    const openai = health.data.find(({ provider }: { provider: string }) => provider === 'openai')
    assert.ok(!['degraded', 'down'].includes(openai.status), openai.status)
    const told = JSON.stringify([mesh.logged, asked.text, health, credentials])
    for (const secret of Object.values(SECRETS)) assert.ok(!told.includes(secret))
    assert.ok(status === 429 || JSON.stringify(mesh.logged).includes(aside[0].name))
  })
}

test('where all are turned away the call fails as with one, and the next is sent all the same', async (t) => {
  const { upstream, mesh } = await begin(t)
  const { key } = await mesh.account({ livemode: true })
  for (const secret of Object.values(SECRETS)) upstream.answers(secret, 401)
  const asked = await ask(mesh, key)
  assert.deepEqual([asked.status, asked.json.error.code], [502, 'provider_error'])
  assert.equal(upstream.presented.length, 2, 'each was tried once')
  for (const secret of Object.values(SECRETS)) upstream.answers(secret, 200)
  assert.equal((await ask(mesh, key)).status, 200)
})

test('one that is not set is left out with a warning, and the others serve', async (t) => {
  const { upstream, mesh } = await begin(t, { TEAM_2_KEY: SECRETS.TEAM_2_KEY })
  const { key } = await mesh.account({ livemode: true })
  assert.equal(await keyOf(mesh, upstream, key), SECRETS.TEAM_2_KEY)
  const { hasCredential, credentials } = await credentialsOf(mesh)
  assert.equal(hasCredential, true)
  assert.deepEqual(
    credentials.map(({ name }: { name: string }) => name),
    ['team-2'],
  )
})

test('credentials are read again on SIGHUP, from their files too, and a new secret is tried at once', async (t) => {
  const upstream = await startKeyedUpstream()
  t.after(() => upstream.close())
  const home = await newRouterHome(t)
  const secrets = join(home.scratch, 'team-1')
  const policy = join(home.scratch, 'policy.json')
  await writeFile(secrets, 'sk-first')
  const credentials = { openai: [{ name: 'team-1', variable: 'TEAM_1_KEY' }] }
  await writeFile(policy, JSON.stringify({ catalog: { credentials } }))
  const router = await home.start({
    MESH_SETTINGS: policy,
    TEAM_1_KEY_FILE: secrets,
    TEAM_2_KEY: 'sk-second',
    MESH_OPENAI_BASE_URL: upstream.baseUrl,
  })
  const { key } = await makeAccount(router.request, { livemode: true }, router.adminKey)
  const readAgain = async (said = /"msg":"the settings were read again"/): Promise<void> => {
    const before = router.said.stderr.length
    router.signal('SIGHUP')
    await until('it has read its settings', () => said.test(router.said.stderr.slice(before)))
  }
  const presentedBy = async (): Promise<readonly string[]> => {
    const before = upstream.presented.length
    assert.equal((await ask(router, key)).status, 200)
    return upstream.presented.slice(before).map((shown) => shown.key)
  }
  assert.deepEqual(await presentedBy(), ['sk-first'])

  upstream.answers('sk-first', 401)
  const two = [...credentials.openai, { name: 'team-2', variable: 'TEAM_2_KEY' }]
  await writeFile(policy, JSON.stringify({ catalog: { credentials: { openai: two } } }))
  await readAgain()
  assert.equal((await presentedBy()).at(-1), 'sk-second')
  await writeFile(policy, JSON.stringify({ catalog: { credentials: { nobody: two } } }))
  await readAgain(/catalog\.credentials: there is no provider nobody/)
  assert.deepEqual(await presentedBy(), ['sk-second'])

  await writeFile(secrets, 'sk-renewed')
  await writeFile(policy, JSON.stringify({ catalog: { credentials } }))
  await readAgain()
  assert.deepEqual(await presentedBy(), ['sk-renewed'])
  assert.ok(!/sk-(first|second|renewed)/.test(router.said.stderr + router.said.stdout))
})
