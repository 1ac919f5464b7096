import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { verifyLedger } from '../src/ledger/verify.ts'
import { newRouterHome, type RouterHome, type RouterProcess, workersOf } from './support/router-process.ts'
import { makeAccount } from './support/test-router.ts'
import { until } from './support/until.ts'

/*
 * Settings that are read again while calls run: taken whole or not at all, at once for calls that begin, and never for
 * calls that run, each of which is charged at the prices that it was held at.
 */

const MODEL = 'mesh/gpt-5-mini'

async function begin(home: RouterHome, environment: Record<string, string> = {}) {
  const file = join(home.scratch, 'policy.json')
  const write = (policy: unknown) =>
    writeFile(file, typeof policy === 'string' ? policy : JSON.stringify(policy))
  await write({ pricing: { markupBasisPoints: 0 } })
  const router = await home.start({ MESH_SETTINGS: file, ...environment })
  const reload = async (policy: unknown, said: RegExp): Promise<void> => {
    await write(policy)
    const before = router.said.stderr.length
    router.signal('SIGHUP')
    await until('it has read its settings', () => said.test(router.said.stderr.slice(before)))
  }
  return { router, reload }
}

const TAKEN = /"msg":"the settings were read again"/
const REFUSED = /The settings are as they were\. /

interface Cost {
  readonly upstream_cost: string
  readonly margin: string
  readonly total: string
}

const nano = (usd: string): bigint => BigInt(usd.replace('.', ''))

/** What a call was charged, in hundredths of a percent above what it cost, rounded. */
const markupOf = ({ upstream_cost, margin }: Cost): bigint => (nano(margin) * 10_000n) / nano(upstream_cost)

function callerOf(router: RouterProcess, key: string) {
  return async (model = MODEL, more: object = {}): Promise<Cost> => {
    const { status, text, json } = await router.request('POST', '/v1/chat/completions', {
      key,
      body: { model, max_tokens: 400, messages: [{ role: 'user', content: 'Hello' }], ...more },
    })
    assert.equal(status, 200, text)
    return json.usage.cost_details
  }
}

test('a mark-up counts for calls that begin, and one that runs is charged at the prices of its hold', async (t) => {
  const home = await newRouterHome(t)
  const { router, reload } = await begin(home)
  const account = await makeAccount(router.request, {}, router.adminKey)
  const call = callerOf(router, account.key)
  assert.equal(markupOf(await call()), 0n)
  const running = call(MODEL, { metadata: { mesh_simulate: 'slow,tokens=300' } })
  await until('it runs', async () => {
    const { json } = await router.request('GET', '/v1/accounts/me', { key: account.key })
    return json.test.heldUsd !== '0.000000000' || json.heldUsd !== '0.000000000'
  })
  await reload({ pricing: { markupBasisPoints: 5_000 } }, TAKEN)
  const begun = await call()
  assert.ok(markupOf(begun) >= 5_000n && markupOf(begun) < 5_100n)
  assert.equal(markupOf(await running), 0n)
  for await (const { sentence } of verifyLedger(await home.openDatabase())) assert.fail(sentence)
})

test('the most particular mark-up counts: of an account, of a model, of a provider, of all', async (t) => {
  const home = await newRouterHome(t)
  const { router, reload } = await begin(home)
  const [own, other] = [
    await makeAccount(router.request, {}, router.adminKey),
    await makeAccount(router.request, {}, router.adminKey),
  ]
  await reload(
    {
      pricing: {
        markupBasisPoints: 1_000,
        providers: { openai: 2_000 },
        models: { 'claude-sonnet-4.5': 3_000 },
        accounts: { [own.id]: 4_000 },
      },
    },
    TAKEN,
  )
  const about = (cost: Cost, basisPoints: bigint) =>
    assert.ok(
      markupOf(cost) >= basisPoints && markupOf(cost) < basisPoints + 100n,
      `${markupOf(cost)} for ${basisPoints}`,
    )
  const anybody = callerOf(router, other.key)
  about(await anybody('mesh/deepseek-v4-flash'), 1_000n)
  about(await anybody(MODEL, { provider: { only: ['openai'] } }), 2_000n)
  about(await anybody(MODEL, { provider: { only: ['azure'] } }), 1_000n)
  about(await anybody('mesh/claude-sonnet-4.5'), 3_000n)
  const special = callerOf(router, own.key)
  about(await special(MODEL), 4_000n)
  about(await special('mesh/claude-sonnet-4.5'), 4_000n)
  for await (const { sentence } of verifyLedger(await home.openDatabase())) assert.fail(sentence)
})

test('a file that is refused changes nothing, and says why; what only a start can change is named', async (t) => {
  const home = await newRouterHome(t)
  const { router, reload } = await begin(home)
  const account = await makeAccount(router.request, {}, router.adminKey)
  const call = callerOf(router, account.key)
  await reload('{"pricing": {', REFUSED)
  await reload({ pricing: { markupBasisPoints: -500 } }, /sells below cost/)
  await reload({ pricing: { markupBasisPoints: 9_000, models: { 'no-such-model': 1 } } }, /no-such-model/)
  await reload({ pricing: { markupBasisPoints: 9_000 }, surprise: 1 }, /unknown key surprise/)
  assert.equal(markupOf(await call()), 0n)
  await reload(
    { http: { connectionsMax: 77 } },
    /http\.connectionsMax was changed: it counts from the next start/,
  )
})

test('every worker goes by what was read, also one that takes the place of another later', async (t) => {
  const home = await newRouterHome(t)
  const { router, reload } = await begin(home, { MESH_WORKERS: '2' })
  const account = await makeAccount(router.request, {}, router.adminKey)
  const call = callerOf(router, account.key)
  await reload({ pricing: { markupBasisPoints: 5_000 } }, TAKEN)
  const assertMarkedUp = async (): Promise<void> => {
    const costs = await Promise.all(Array.from({ length: 8 }, () => call()))
    for (const cost of costs) assert.ok(markupOf(cost) >= 5_000n)
  }
  await assertMarkedUp()
  const started = () => router.said.stderr.split('"msg":"router started"').length - 1
  const [first] = workersOf(router)
  assert.ok(first !== undefined)
  process.kill(first, 'SIGKILL')
  await until('another one serves', () => started() === 3)
  await assertMarkedUp()
})
