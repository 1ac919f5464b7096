import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { loadCatalog } from '@mesh/catalog/load.ts'
import { formatUsd, roundUpToNano } from '@mesh/catalog/money.ts'
import { type Simulator, startSimulator } from '@mesh/simulator/server.ts'
import { type AccountId, newId } from '../src/ids.ts'
import { releaseHolds } from '../src/ledger/dead-routers.ts'
import { systemSeams } from '../src/seams.ts'
import { setClock } from './support/books-fixture.ts'
import {
  bookOf,
  chargedNano,
  chat,
  chunksOf,
  eventOf,
  holdsOf,
  nano,
  requestIdOf,
  send,
} from './support/calls.ts'
import { SCOPES, setLimits } from './support/set-limits.ts'
import { createTestDatabase, type TestDatabase } from './support/test-database.ts'
import { type Answered, startTestRouter, type TestAccount, type TestRouter } from './support/test-router.ts'
import { until } from './support/until.ts'

const CALLS = 200
const AFFORDED = 10
const OUTPUT_TOKENS = 64

let shared: TestDatabase
let mesh: TestRouter
/** What one call of the swarm holds. */
let holdNano: bigint
before(async () => {
  shared = await createTestDatabase()
  mesh = await startTestRouter({ on: shared })
  // The books' clock stands, so that no day or month ends between two calls.
  await setClock(mesh.database, '2031-03-15T12:00:00Z')
  const account = await mesh.account()
  const probe = await send(mesh, account.key, swarmBody(0))
  holdNano = nano((await eventOf(mesh, account.key, requestIdOf(probe))).cost.heldUsd)
})
after(async () => {
  await mesh.stop()
  await shared.close()
})

/** Every second call is streamed. */
function swarmBody(index: number, steering = ''): Record<string, unknown> {
  return chat(`tokens=${OUTPUT_TOKENS}${steering}`, { max_tokens: OUTPUT_TOKENS, stream: index % 2 === 1 })
}

/** Looks at an account's book, again and again, while `work` runs: it never owes, nor promises what it has not. */
async function watchingBook<Result>(account: TestAccount, work: () => Promise<Result>): Promise<Result> {
  const wrong: string[] = []
  let looks = 0
  let running = true
  const watcher = (async () => {
    while (running) {
      for (const livemode of [true, false]) {
        const { balanceNano, heldNano } = await bookOf(mesh.database, account.id, livemode)
        if (balanceNano < 0n || heldNano > balanceNano) {
          wrong.push(`${heldNano} was held on a balance of ${balanceNano}`)
        }
      }
      looks++
    }
  })()
  const result = await work().finally(() => {
    running = false
  })
  await watcher
  assert.deepEqual(wrong.slice(0, 3), [])
  assert.ok(looks > 0, 'nobody looked at the book')
  return result
}

/** What an account has spent, and that no row of its ledger ever left it in debt. */
async function spentBy(account: TestAccount): Promise<bigint> {
  const rows = await mesh.database.query
    .selectFrom('ledger_entries')
    .select(['amount_nano', 'balance_after_nano'])
    .where('account_id', '=', account.id as AccountId)
    .where('ledger_account', '=', 'customer')
    .where('kind', '=', 'usage')
    .execute()
  for (const { balance_after_nano } of rows) assert.ok((balance_after_nano ?? -1n) >= 0n)
  return rows.reduce((sum, { amount_nano }) => sum - amount_nano, 0n)
}

interface Swarm {
  readonly served: readonly Answered[]
  readonly refused: readonly Answered[]
}

function sorted(answers: readonly Answered[]): Swarm {
  const served = answers.filter(({ status }) => status === 200)
  const refused = answers.filter(({ status }) => status !== 200)
  for (const { status, text } of refused) assert.equal(status, 402, text)
  return { served, refused }
}

/** Sends 200 calls at once whose answers wait until all others were refused, so that exactly ten are afforded. */
async function swarmOnHold(account: TestAccount): Promise<Swarm> {
  const before = mesh.simulator.stats()
  let refusals = 0
  const calls = Array.from({ length: CALLS }, async (_, index) => {
    const answer = await send(mesh, account.key, swarmBody(index, ',hold'))
    if (answer.status !== 200) refusals++
    return answer
  })
  const allSent = () => refusals + mesh.simulator.stats().held >= CALLS
  await until('every call is held or refused', allSent).finally(() => mesh.simulator.release())
  const swarm = sorted(await Promise.all(calls))
  const reached = mesh.simulator.stats().requests - before.requests
  assert.equal(reached, swarm.served.length, 'a refused call reached the upstream')
  return swarm
}

const BUDGETS = ['totalUsdLimit', 'dailyUsdLimit', 'monthlyUsdLimit'] as const

for (const limit of BUDGETS) {
  test(`peer bug 1 (litellm#34732): ${CALLS} calls at once on a ${limit} for ${AFFORDED} spend no more, at each scope`, async () => {
    for (const scope of SCOPES) {
      const account = await mesh.account()
      await setLimits(mesh, scope, account, { [limit]: formatUsd(BigInt(AFFORDED) * holdNano) })
      const { served, refused } = await watchingBook(account, () => swarmOnHold(account))
      assert.equal(served.length, AFFORDED, scope)
      for (const { json } of refused) {
        const { code, metadata } = json.error
        assert.deepEqual([code, metadata.scope, metadata.limit], ['limit_exceeded', scope, limit])
      }
      const spent = await spentBy(account)
      assert.ok(spent > 0n && spent <= BigInt(AFFORDED) * holdNano)
      assert.equal(await holdsOf(mesh.database, account.id), 0)
    }
  })
}

test(`peer bug 1 (new-api#6609): ${CALLS} calls at once on a balance for ${AFFORDED} spend no more`, async () => {
  const account = await mesh.account({ creditUsd: formatUsd(BigInt(AFFORDED) * holdNano) })
  const { served, refused } = await watchingBook(account, () => swarmOnHold(account))
  assert.equal(served.length, AFFORDED)
  for (const { json, headers } of refused) {
    const { code, metadata } = json.error
    assert.deepEqual([code, metadata.scope, metadata.limit], ['insufficient_credits', 'account', 'balance'])
    assert.equal(nano(metadata.neededUsd), holdNano)
    assert.ok(nano(metadata.availableUsd) < holdNano)
    assert.equal(headers.get('x-should-retry'), 'false')
  }
  assert.equal(await spentBy(account), sum(served.map(chargedNano)))
  const { balanceNano, heldNano } = await bookOf(mesh.database, account.id)
  assert.equal(balanceNano, BigInt(AFFORDED) * holdNano - (await spentBy(account)))
  assert.equal(heldNano, 0n)
})

test('what the keys of a key spend counts against it', async () => {
  const account = await mesh.account({
    limits: { totalUsdLimit: formatUsd(BigInt(AFFORDED) * holdNano) },
  })
  const makeKey = async () => {
    const body = { name: 'Made', scopes: ['chat', 'usage'] }
    return (await mesh.request('POST', '/v1/api-keys', { key: account.key, body })).json.secret
  }
  const keys = [account.key, await makeKey(), await makeKey()]
  const { served } = await watchingBook(account, async () =>
    sorted(
      await Promise.all(
        Array.from({ length: 60 }, (_, index) => send(mesh, keys[index % 3] ?? '', swarmBody(index))),
      ),
    ),
  )
  assert.ok(served.length >= AFFORDED)
  assert.ok((await spentBy(account)) <= BigInt(AFFORDED) * holdNano)
})

interface Motion {
  readonly routers: readonly TestRouter[]
  /** Who serves the calls, in place of the routers' own simulators. */
  readonly upstream?: Simulator
  readonly livemode?: boolean
}

/** Sends 200 calls that end as they will, each of some routers in turn, on a balance for ten. */
async function swarmInMotion({ routers, upstream, livemode = false }: Motion): Promise<void> {
  const budgetNano = BigInt(AFFORDED) * holdNano
  const account = await mesh.account({ creditUsd: formatUsd(budgetNano), livemode })
  const upstreams = upstream ? [upstream] : routers.map(({ simulator }) => simulator)
  const requests = () => upstreams.reduce((all, simulator) => all + simulator.stats().requests, 0)
  const requestsBefore = requests()
  const sendOne = (index: number) =>
    send(routers[index % routers.length] ?? mesh, account.key, swarmBody(index))
  const { served } = await watchingBook(account, async () =>
    sorted(await Promise.all(Array.from({ length: CALLS }, (_, index) => sendOne(index)))),
  )
  // A call that ended for less than its hold leaves something for a later one.
  assert.ok(served.length >= AFFORDED)
  assert.equal(requests() - requestsBefore, served.length, 'a refused call reached the upstream')
  const spentNano = await spentBy(account)
  assert.equal(spentNano, sum(served.map(chargedNano)), 'what the callers saw is what the ledger says')
  assert.ok(spentNano <= budgetNano, `${spentNano} was spent of ${budgetNano}`)
  const left = { balanceNano: budgetNano - spentNano, heldNano: 0n }
  assert.deepEqual(await bookOf(mesh.database, account.id, livemode), left)
}

test('the same while calls end and free what they did not use', () => swarmInMotion({ routers: [mesh] }))

test('peer bug 2 (litellm#40095): the first calls of an account on a router that knows nothing yet spend no more', async () => {
  const cold = await startTestRouter({ on: shared })
  await swarmInMotion({ routers: [cold] }).finally(() => cold.stop())
})

test('the same through two routers on one database', async () => {
  const second = await startTestRouter({ on: shared })
  await swarmInMotion({ routers: [mesh, second] }).finally(() => second.stop())
})

test('the same for live keys', async (t) => {
  const upstream = await startSimulator()
  t.after(() => upstream.close())
  const environment = { OPENAI_API_KEY: 'sk-simulated', MESH_OPENAI_BASE_URL: upstream.baseUrl('openai') }
  const live = await startTestRouter({ on: shared, environment })
  await swarmInMotion({ routers: [live], upstream, livemode: true }).finally(() => live.stop())
})

test('peer bug 3 (litellm PR#40002): long prompts are held for at the price of their tier, however many come at once', async () => {
  // Above 272,000 input tokens this model costs more. A text may have as many tokens as bytes, so that many may be in it.
  const long = chat('tokens=64', {
    model: 'gpt-5.4',
    max_tokens: 64,
    messages: [{ role: 'user', content: 'word '.repeat(60_000) }],
  })
  const probing = await mesh.account({ creditUsd: '100.00' })
  const probe = await send(mesh, probing.key, long)
  assert.equal(probe.status, 200, probe.text)
  const { heldUsd } = (await eventOf(mesh, probing.key, requestIdOf(probe))).cost
  const [tier] = endpointOf('mesh/gpt-5.4', 'openai').prices.tiers
  const listNano = roundUpToNano(300_000n * (tier?.rates.input ?? 0n))
  assert.ok(listNano > 0n && nano(heldUsd) >= listNano, `${heldUsd} was held`)

  const account = await mesh.account({ creditUsd: formatUsd(3n * nano(heldUsd)) })
  const calls = Array.from({ length: 5 }, () =>
    send(mesh, account.key, { ...long, metadata: { mesh_simulate: 'tokens=64,hold' } }),
  )
  await until('three are held', () => mesh.simulator.stats().held === 3).finally(() =>
    mesh.simulator.release(),
  )
  const statuses = (await Promise.all(calls)).map(({ status }) => status).sort()
  assert.deepEqual(statuses, [200, 200, 200, 402, 402])
})

test('a router that stood still until others have spent what its calls held charges nothing for them', async () => {
  // Long enough that nearly all that is held for one is its cost.
  const long = (stream: boolean, steering = '') =>
    chat(`tokens=1000${steering}`, { max_tokens: 1_000, stream })
  const probing = await mesh.account()
  const probe = await send(mesh, probing.key, long(false))
  const creditNano = nano((await eventOf(mesh, probing.key, requestIdOf(probe))).cost.heldUsd)
  for (const stream of [true, false]) {
    const account = await mesh.account({ creditUsd: formatUsd(creditNano) })
    const { key } = account
    const body = long(stream, stream ? ',hold=500' : ',hold')
    const headers = { 'idempotency-key': `still-${stream}` }
    const call = send(mesh, key, body, headers)
    await until('it is held', () => mesh.simulator.stats().held === 1)
    await releaseAsDead(account)
    const other = await send(mesh, key, long(false))
    assert.equal(other.status, 200, other.text)
    mesh.simulator.release()
    const answer = await call
    assert.equal(answer.status, stream ? 200 : 503)
    assert.equal((answer.json ?? chunksOf(answer.text).at(-1)).error.code, 'storage_unavailable')
    assert.ok(!answer.text.includes('[DONE]'))
    const event = await eventOf(mesh, key, requestIdOf(answer))
    assert.deepEqual([event.billingReason, event.cost.totalUsd], ['router_crash', '0.000000000'])
    const balanceNano = creditNano - chargedNano(other)
    assert.deepEqual(await bookOf(mesh.database, account.id), { balanceNano, heldNano: 0n })
    // Its key is free, as the caller was told; that there is nothing to pay it with is another matter.
    const again = await send(mesh, key, body, headers)
    assert.equal(again.json.error.code, 'insufficient_credits')
  }
})

/** As another router does when the holds of one that it hears nothing of have expired. */
async function releaseAsDead(account: TestAccount): Promise<void> {
  const { query, pool } = mesh.database
  await query
    .updateTable('holds')
    .set({ expires_at: new Date(0) })
    .where('account_id', '=', account.id as AccountId)
    .execute()
  await releaseHolds({ pool }, { whose: 'expired', routerId: newId('rtr', systemSeams) })
  assert.equal(await holdsOf(mesh.database, account.id), 0)
}

test('50 calls at once without max_tokens all run on 5 dollars', async () => {
  for (const model of ['mesh/claude-sonnet-4.5', 'gpt-5-mini']) {
    const account = await mesh.account({ creditUsd: '5.00' })
    const calls = Array.from({ length: 50 }, (_, index) =>
      send(mesh, account.key, chat('tokens=20,hold', { model, stream: index % 2 === 1 })),
    )
    // All of them hold at once: none of the answers ends before the last call is held or refused.
    const settled = Promise.all(calls)
    await until('all 50 are held', () => mesh.simulator.stats().held === 50).finally(() =>
      mesh.simulator.release(),
    )
    for (const { status, text } of await settled) assert.equal(status, 200, text)
  }
})

function endpointOf(modelId: string, provider: string) {
  const { models } = loadCatalog()
  const endpoint = models
    .find(({ id }) => id === modelId)
    ?.endpoints.find((candidate) => candidate.provider === provider)
  assert.ok(endpoint)
  return endpoint
}

function sum(amounts: readonly bigint[]): bigint {
  return amounts.reduce((total, amount) => total + amount, 0n)
}
