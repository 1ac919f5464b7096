import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { type RawUpstream, startRawUpstream } from './support/raw-upstream.ts'
import { ADMIN_KEY, startTestRouter, type TestAccount, type TestRouter } from './support/test-router.ts'
import { until } from './support/until.ts'

/*
 * Who is called when providers fail, and what operators can do about it. Live keys reach two doubles of providers of
 * one model: `deepinfra`, which fails or answers as a test says, and `groq`, which always answers.
 */

const MODEL = 'mesh/gpt-oss-120b'
const FAILING = 'deepinfra'
const SOUND = 'groq'

let upstream: RawUpstream
let mesh: TestRouter
let ada: TestAccount
let bob: TestAccount
/** What the first provider does. */
let answer: 'fails' | 'answers' | 'limits' = 'answers'
/** What the second one waits for before it answers. */
let released: Promise<void> = Promise.resolve()

before(async () => {
  upstream = await startRawUpstream(({ host }) => async (wire) => {
    if (host === SOUND) await released
    await wire.write(host === FAILING ? BEHAVIOURS[answer] : BEHAVIOURS.answers)
  })
  mesh = await startTestRouter({
    policy: { providers: { probes: false } },
    environment: {
      DEEPINFRA_API_KEY: 'sk-any',
      GROQ_API_KEY: 'sk-any',
      MESH_DEEPINFRA_BASE_URL: upstream.baseUrl(FAILING),
      MESH_GROQ_BASE_URL: upstream.baseUrl(SOUND),
    },
  })
  ada = await mesh.account({ livemode: true })
  bob = await mesh.account({ livemode: true })
})
after(async () => {
  await mesh.stop()
  await upstream.close()
})

const respond = (status: string, body: string, more = ''): string =>
  `HTTP/1.1 ${status}\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n${more}\r\n${body}`

const BEHAVIOURS = {
  answers: respond(
    '200 OK',
    JSON.stringify({
      id: 'one',
      object: 'chat.completion',
      created: 1,
      model: 'any',
      choices: [{ index: 0, message: { role: 'assistant', content: 'Yes.' }, finish_reason: 'stop' }],
      usage: { prompt_tokens: 9, completion_tokens: 2, total_tokens: 11 },
    }),
  ),
  fails: respond('500 Internal Server Error', '{"error":{"message":"broken"}}'),
  limits: respond('429 Too Many Requests', '{"error":{"message":"slow down"}}', 'retry-after: 20\r\n'),
}

const call = (account: TestAccount, more: object = {}) =>
  mesh.request('POST', '/v1/chat/completions', {
    key: account.key,
    body: {
      model: MODEL,
      max_tokens: 16,
      messages: [{ role: 'user', content: 'Are you there?' }],
      provider: { order: [FAILING, SOUND] },
      ...more,
    },
  })

const seen = (provider: string): number => upstream.requests.get(provider) ?? 0

async function healthOf(provider: string) {
  const { json } = await mesh.request('GET', '/v1/providers/health')
  const found = json.data.find((each: { provider: string }) => each.provider === provider)
  return { ...found, model: found.models.find((each: { model: string }) => each.model === MODEL) }
}

const configure = (provider: string, body: object, key = ADMIN_KEY) =>
  mesh.request('PATCH', `/v1/providers/config/${provider}`, { key, body })

test('a provider that fails for one account alone is still tried for others', async () => {
  answer = 'fails'
  for (let at = 0; at < 15; at++) assert.equal((await call(ada)).json.provider, SOUND)
  assert.equal((await healthOf(FAILING)).model.breaker, 'closed')
  const before = seen(FAILING)
  assert.equal((await call(bob)).json.provider, SOUND)
  assert.equal(seen(FAILING), before + 1)
})

test('once it fails for another too, nobody waits for it; the answer says why', async () => {
  assert.equal((await healthOf(FAILING)).model.breaker, 'open')
  assert.notEqual((await healthOf(FAILING)).status, 'operational')
  const before = seen(FAILING)
  const { json } = await call(ada)
  assert.equal(json.provider, SOUND)
  assert.equal(seen(FAILING), before)
})

test('with nobody else to try the caller is told to wait, and pays nothing', async () => {
  const refused = await call(bob, { provider: { only: [FAILING] } })
  assert.equal(refused.status, 503)
  assert.equal(refused.json.error.code, 'provider_overloaded')
  assert.ok(Number(refused.headers.get('retry-after')) >= 1)
  const { json } = await mesh.request('GET', '/v1/accounts/me', { key: bob.key })
  assert.equal(json.heldUsd, '0.000000000')
})

test('after its cool-down one call tries it again, and its answer brings everybody back', async () => {
  await configure(FAILING, { circuitBreaker: { cooldownMs: 1_000 } })
  answer = 'answers'
  await until('it is tried again', async () => (await call(ada)).json.provider === FAILING)
  assert.equal((await healthOf(FAILING)).model.breaker, 'closed')
  assert.equal((await call(bob)).json.provider, FAILING)
})

test('a provider that asks for patience gets it', async () => {
  answer = 'limits'
  assert.equal((await call(ada)).json.provider, SOUND)
  const before = seen(FAILING)
  const { json } = await call(ada)
  assert.equal(json.provider, SOUND)
  assert.equal(seen(FAILING), before)
  answer = 'answers'
  // It said so to one account; whether it means all is not known yet.
  assert.equal((await call(bob)).json.provider, FAILING)
})

test('an operator switches a provider off and on, and it is in the audit', async () => {
  const off = await configure(SOUND, { enabled: false })
  assert.equal(off.status, 200)
  assert.equal(off.json.enabled, false)
  assert.equal(off.json.hasCredential, true)
  const refused = await call(bob, { provider: { only: [SOUND] } })
  assert.equal(refused.json.error.code, 'no_endpoint')
  assert.equal((await healthOf(SOUND)).status, 'unavailable')
  const { json: audit } = await mesh.request('GET', '/v1/audit', { key: ADMIN_KEY })
  const [change] = audit.data.filter(({ action }: { action: string }) => action === 'provider.config_updated')
  assert.deepEqual([change.target, change.before.enabled, change.after.enabled], [SOUND, true, false])
  // `null` goes back to the default.
  assert.equal((await configure(SOUND, { enabled: null })).json.enabled, true)
  assert.equal((await call(bob, { provider: { only: [SOUND] } })).status, 200)
})

test('no account takes more of the places of a provider than its share', async () => {
  await configure(SOUND, { maxConcurrency: 2 })
  const { promise, resolve } = Promise.withResolvers<void>()
  released = promise
  const before = seen(SOUND)
  const only = { provider: { only: [SOUND] } }
  const running = call(ada, only)
  await until('it is asked', () => seen(SOUND) === before + 1)
  const refused = await call(ada, only)
  assert.deepEqual([refused.status, refused.json.error.code], [503, 'provider_overloaded'])
  const other = call(bob, only)
  await until('it is asked for somebody else', () => seen(SOUND) === before + 2)
  resolve()
  assert.deepEqual([(await running).status, (await other).status], [200, 200])
  assert.equal((await call(ada, only)).status, 200)
  await configure(SOUND, { maxConcurrency: null })
})

test('an operator says which provider comes first, and the caller may say otherwise', async () => {
  for (const provider of [SOUND, FAILING]) {
    const other = provider === SOUND ? FAILING : SOUND
    await configure(provider, { priority: 10 })
    assert.equal((await call(bob, { provider: {} })).json.provider, provider)
    assert.equal((await call(bob, { provider: { order: [other] } })).json.provider, other)
    await configure(provider, { priority: null })
  }
})

test('what cannot be is refused in words: values, names, and who asks', async () => {
  const wrong = await configure(SOUND, { circuitBreaker: { errorRate: 2 } })
  assert.equal(wrong.status, 400)
  assert.equal((await configure(SOUND, { enable: true })).status, 400)
  assert.equal((await configure('nobody', { enabled: true })).status, 404)
  assert.equal((await configure(SOUND, { enabled: false }, ada.key)).status, 403)
  const { json } = await mesh.request('GET', '/v1/providers/config', { key: ADMIN_KEY })
  assert.equal(json.data.length, 14)
  assert.ok(!JSON.stringify(json).includes('sk-any'))
})
