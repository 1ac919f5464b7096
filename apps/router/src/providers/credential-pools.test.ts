import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Failure } from '@mesh/engine/failure.ts'
import { exampleEndpoint } from '../../../../packages/engine/test/support/examples.ts'
import { fakeClock } from '../../../../packages/engine/test/support/fake-clock.ts'
import type { Log } from '../log.ts'
import { Sensitive } from '../sensitive.ts'
import { type Credential, CredentialPools } from './credential-pools.ts'

const SILENT: Log = { error() {}, warn() {}, info() {}, debug() {} }

const ONE = exampleEndpoint('mesh/one', 'openai')
const TWO = exampleEndpoint('mesh/two', 'openai')

function credential(name: string, weight = 1, secret = `secret-${name}`): Credential {
  return { name, weight, secret: new Sensitive(secret) }
}

const BOTH = [credential('a'), credential('b')]

const REFUSED: Failure = { outcome: 'refused_unbilled', reason: 'credential_refused', status: 401 }
const FORBIDDEN: Failure = { outcome: 'refused_unbilled', reason: 'credential_refused', status: 403 }
const slowDown = (retryAfterMs?: number): Failure => ({
  outcome: 'refused_unbilled',
  reason: 'rate_limited',
  status: 429,
  ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
})

function pool() {
  const clock = fakeClock()
  const pools = new CredentialPools(clock, SILENT)
  const secretFor = (key: string, endpoint = ONE, credentials: readonly Credential[] = BOTH) =>
    pools.choose(credentials, endpoint, key)?.secret.reveal()
  const accountOf = (secret: string): string => {
    const account = ACCOUNTS.find((key) => secretFor(key) === secret)
    assert.ok(account)
    return account
  }
  return { clock, pools, secretFor, accountOf }
}

const ACCOUNTS = Array.from({ length: 2_000 }, (_, index) => `acct_${index}`)

test('accounts are spread by the weights, and each keeps to its credential, whatever the order of the list', () => {
  const { secretFor } = pool()
  const weighted = [credential('a', 3), credential('b', 1)]
  const withA = ACCOUNTS.filter((key) => secretFor(key, ONE, weighted) === 'secret-a').length
  assert.ok(withA > 1_400 && withA < 1_600, String(withA))
  for (const key of ACCOUNTS.slice(0, 50)) {
    assert.equal(secretFor(key, ONE, weighted), secretFor(key, ONE, weighted.toReversed()))
  }
  assert.ok(ACCOUNTS.some((key) => secretFor(key, ONE) !== secretFor(key, TWO)))
})

test('one that is refused is set aside for every model, one without a right for that model alone', async () => {
  const { pools, clock, secretFor, accountOf } = pool()
  const account = accountOf('secret-a')
  assert.equal(pools.choose(BOTH, ONE, account)?.setAside(REFUSED), true)
  for (const endpoint of [ONE, TWO]) {
    for (const key of ACCOUNTS.slice(0, 50)) assert.equal(secretFor(key, endpoint), 'secret-b')
  }
  assert.deepEqual(pools.standings('openai', BOTH), [
    { name: 'a', weight: 1, status: 'set_aside', models: [] },
    { name: 'b', weight: 1, status: 'serving', models: [] },
  ])
  await clock.advance(5 * 60_000)
  assert.equal(secretFor(account), 'secret-a')

  assert.equal(pools.choose(BOTH, ONE, account)?.setAside(FORBIDDEN), true)
  assert.equal(secretFor(account), 'secret-b')
  assert.ok(ACCOUNTS.some((key) => secretFor(key, TWO) === 'secret-a'))
  assert.deepEqual(pools.standings('openai', BOTH)[0]?.models, ['mesh/one'])
})

test('one that is told to slow down rests for as long as its provider says, within a minute', async () => {
  const { pools, clock, secretFor, accountOf } = pool()
  const account = accountOf('secret-a')
  for (const [retryAfterMs, restsMs] of [
    [undefined, 5_000],
    [2_000, 2_000],
    [3_600_000, 60_000],
  ] as const) {
    assert.equal(pools.choose(BOTH, ONE, account)?.setAside(slowDown(retryAfterMs)), true)
    await clock.advance(restsMs - 1)
    assert.equal(secretFor(account), 'secret-b')
    await clock.advance(1)
    assert.equal(secretFor(account), 'secret-a')
  }
})

test('where all are set aside nobody is refused: the one that rests shortest is sent', () => {
  const { pools, secretFor, accountOf } = pool()
  const account = accountOf('secret-a')
  assert.equal(pools.choose(BOTH, ONE, account)?.setAside(slowDown(9_000)), true)
  assert.equal(pools.choose(BOTH, ONE, account)?.setAside(slowDown(20_000)), false, 'nobody is left')
  assert.equal(secretFor(account), 'secret-a')
})

test('a credential alone is never set aside, and a new secret under an old name has a clean record', () => {
  const { pools, secretFor } = pool()
  const alone = [credential('a')]
  assert.equal(pools.choose(alone, ONE, 'acct_1')?.setAside(REFUSED), false)
  assert.equal(secretFor('acct_1', ONE, alone), 'secret-a')
  const account = ACCOUNTS.find((key) => secretFor(key) === 'secret-a') ?? ''
  pools.choose(BOTH, ONE, account)?.setAside(REFUSED)
  const renewed = [credential('a', 1, 'secret-new'), credential('b')]
  assert.equal(secretFor(account, ONE, renewed), 'secret-new')
})
