import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { sql } from 'kysely'
import { assertRecordsAgree, bookOf, chat, nano, requestIdOf, send } from './support/calls.ts'
import { setLimits } from './support/set-limits.ts'
import {
  ADMIN_KEY,
  type Answered,
  startTestRouter,
  type TestAccount,
  type TestRouter,
} from './support/test-router.ts'
import { until } from './support/until.ts'

let mesh: TestRouter
before(async () => {
  mesh = await startTestRouter()
})
after(() => mesh.stop())

const BODY = chat('tokens=20')

function sendOnce(account: Pick<TestAccount, 'key'>, key: string, body = BODY): Promise<Answered> {
  return send(mesh, account.key, body, { 'idempotency-key': key })
}

function assertConflict({ status, headers, json, text }: Answered, code: string): void {
  assert.equal(status, 409, text)
  assert.equal(json.error.code, code)
  assert.equal(headers.get('x-should-retry'), 'false')
}

/** What an account paid, and how often. */
async function paid(account: TestAccount): Promise<{ readonly usages: number; readonly nano: bigint }> {
  const { json } = await mesh.request('GET', '/v1/ledger?limit=100', { key: account.key })
  const usages = json.data.filter(({ type }: { type: string }) => type === 'usage')
  return {
    usages: usages.length,
    nano: usages.reduce((sum: bigint, { amountUsd }: { amountUsd: string }) => sum - nano(amountUsd), 0n),
  }
}

for (const stream of [false, true]) {
  test(`a repeat of a billed call runs nothing and charges nothing (${stream ? 'streamed' : 'whole'})`, async () => {
    const account = await mesh.account()
    const body = { ...BODY, stream }
    const first = await sendOnce(account, 'once', body)
    assert.equal(first.status, 200)
    const { requests } = mesh.simulator.stats()
    for (let repeat = 0; repeat < 3; repeat++) {
      const again = await sendOnce(account, 'once', body)
      assertConflict(again, 'idempotency_replay')
      const event = await assertRecordsAgree(mesh, account, requestIdOf(first))
      assert.deepEqual(again.json.error.metadata, {
        receiptId: first.headers.get('x-mesh-receipt-id'),
        totalUsd: event.cost.totalUsd,
      })
      assert.ok(nano(event.cost.totalUsd) > 0n)
    }
    assert.equal(mesh.simulator.stats().requests, requests)
    assert.equal((await paid(account)).usages, 1)
  })
}

test('of 20 at once with one key exactly one runs; the others are told that it does', async () => {
  const account = await mesh.account()
  const { requests } = mesh.simulator.stats()
  let ended = 0
  const calls = Array.from({ length: 20 }, async () => {
    const answer = await sendOnce(account, 'race', chat('tokens=20,hold'))
    ended++
    return answer
  })
  await until('19 are refused and one is held', () => ended === 19 && mesh.simulator.stats().held === 1)
  mesh.simulator.release()
  const answers = await Promise.all(calls)
  assert.equal(answers.filter(({ status }) => status === 200).length, 1)
  for (const answer of answers.filter(({ status }) => status !== 200)) {
    assertConflict(answer, 'idempotency_in_progress')
  }
  assert.equal(mesh.simulator.stats().requests, requests + 1)
  assert.equal((await paid(account)).usages, 1)
})

test('another body under the same key is a conflict, while the first runs and afterwards', async () => {
  const account = await mesh.account()
  const first = sendOnce(account, 'body', chat('tokens=20,hold'))
  await until('the first is held', () => mesh.simulator.stats().held === 1)
  assertConflict(await sendOnce(account, 'body', chat('tokens=21')), 'idempotency_conflict')
  mesh.simulator.release()
  assert.equal((await first).status, 200)
  assertConflict(await sendOnce(account, 'body', chat('tokens=21')), 'idempotency_conflict')
  assertConflict(await sendOnce(account, 'body', chat('tokens=20,hold')), 'idempotency_replay')
})

/** A body must stay the same, so the account is what changes between a refusal and a success. */
test('a call that was refused frees its key', async () => {
  const poor = await mesh.account({ creditUsd: '0' })
  assert.equal((await sendOnce(poor, 'broke')).json.error.code, 'insufficient_credits')
  const body = { amountUsd: '1.00', reason: 'test', livemode: false }
  await mesh.request('POST', `/v1/accounts/${poor.id}/grants`, { key: ADMIN_KEY, body })
  assert.equal((await sendOnce(poor, 'broke')).status, 200)
  assertConflict(await sendOnce(poor, 'broke'), 'idempotency_replay')

  const limited = await mesh.account({ limits: { maxUsdPerRequest: '0.000000001' } })
  assert.equal((await sendOnce(limited, 'limited')).status, 402)
  await setLimits(mesh, 'key', limited, { maxUsdPerRequest: null, allowedModels: ['mesh/claude-haiku-4.5'] })
  assert.equal((await sendOnce(limited, 'limited')).status, 403)
  await setLimits(mesh, 'key', limited, { allowedModels: null })
  assert.equal((await sendOnce(limited, 'limited')).status, 200)
})

test('a call that was not billed frees its key', async () => {
  const account = await mesh.account()
  for (const [steering, status] of [
    ['server_error', 502],
    ['empty', 200],
  ] as const) {
    // With one endpoint to try, every run is one request of its provider.
    const body = { ...chat(steering), provider: { only: ['groq'] }, model: 'mesh/llama-3.3-70b' }
    for (let run = 1; run <= 2; run++) {
      const { requests } = mesh.simulator.stats()
      assert.equal((await sendOnce(account, steering, body)).status, status)
      assert.equal(mesh.simulator.stats().requests, requests + 1)
    }
  }
  assert.equal((await paid(account)).usages, 0)
})

test('a call that its caller left is billed, so its key stays taken', async () => {
  const account = await mesh.account()
  const body = chat('tokens=100,hold=20', { stream: true })
  const left = new AbortController()
  const call = fetch(`${mesh.baseUrl}/chat/completions`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${account.key}`,
      'content-type': 'application/json',
      'idempotency-key': 'left',
    },
    body: JSON.stringify(body),
    signal: left.signal,
  })
  await until('the answer is on its way', () => mesh.simulator.stats().held === 1)
  const requestId = requestIdOf(await call)
  left.abort()
  const event = await assertRecordsAgree(mesh, account, requestId)
  assert.equal(event.billingReason, 'client_disconnected')
  assertConflict(await sendOnce(account, 'left', body), 'idempotency_replay')
})

test('worlds and accounts are apart: the same key runs once in each', async () => {
  const one = await mesh.account()
  const other = await mesh.account()
  const [mine, theirs] = [await sendOnce(one, 'shared'), await sendOnce(other, 'shared')]
  assert.deepEqual([mine.status, theirs.status], [200, 200])
  assertConflict(await sendOnce(one, 'shared'), 'idempotency_replay')

  // The live world has no provider here, so a live call gets as far as its plan, not to a conflict with the test one.
  const made = await mesh.request('POST', '/v1/api-keys', {
    key: ADMIN_KEY,
    body: { name: 'Live', accountId: one.id, livemode: true },
  })
  assert.equal((await sendOnce({ key: made.json.secret }, 'shared')).json.error.code, 'no_endpoint')
  assertConflict(await sendOnce(one, 'shared'), 'idempotency_replay')
})

test('other keys of the account share its idempotency keys', async () => {
  const account = await mesh.account()
  assert.equal((await sendOnce(account, 'team')).status, 200)
  const made = await mesh.request('POST', '/v1/api-keys', { key: account.key, body: { name: 'Second' } })
  assertConflict(await sendOnce({ key: made.json.secret }, 'team'), 'idempotency_replay')
})

test('a key that is no key is refused, and keys are kept as HMACs alone', async () => {
  const account = await mesh.account()
  for (const key of ['with space', 'x'.repeat(256), '']) {
    const { status, json } = await sendOnce(account, key)
    assert.equal(status, 400, `a key of ${key.length} characters was taken`)
    assert.equal(json.error.code, 'invalid_request')
  }
  assert.equal((await sendOnce(account, 'canary-of-an-idempotency-key')).status, 200)
  const { rows } = await sql<{
    dump: string
  }>`select row_to_json(k)::text as dump from idempotency_keys k`.execute(mesh.database.query)
  const canary = Buffer.from('canary-of-an-idempotency-key').toString('hex')
  assert.ok(rows.length > 0)
  assert.ok(rows.every(({ dump }) => !dump.includes('canary') && !dump.includes(canary)))
})

test('nothing is held when all is said', async () => {
  const account = await mesh.account()
  await sendOnce(account, 'last')
  assert.equal((await bookOf(mesh.database, account.id)).heldNano, 0n)
})
