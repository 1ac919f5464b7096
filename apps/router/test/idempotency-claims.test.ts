import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { newId } from '../src/ids.ts'
import {
  createIdempotencyClaims,
  type IdempotencyClaim,
  type IdempotencyOutcome,
} from '../src/ledger/idempotency.ts'
import { systemSeams } from '../src/seams.ts'
import { type Database, openDatabase } from '../src/storage/database.ts'
import { createTestDatabase } from './support/test-database.ts'
import { until } from './support/until.ts'
import { startWayTo, type WayToDatabase } from './support/way-to-database.ts'

const accountId = newId('acct', systemSeams)

function claimOf(key: number, changes: Partial<IdempotencyClaim> = {}): IdempotencyClaim {
  return {
    accountId,
    livemode: true,
    keyHmac: Buffer.from(`key ${key}`),
    bodyHmac: Buffer.from('body'),
    callId: newId('req', systemSeams),
    ...changes,
  }
}

/** Claims that reach the database over one connection, on a way that can fail, and a database that is near. */
async function openFarClaims(t: TestContext, patienceMs?: number) {
  const testDatabase = await createTestDatabase()
  t.after(() => testDatabase.close())
  const way: WayToDatabase = await startWayTo(testDatabase)
  t.after(() => way.close())
  const far = openDatabase(
    { url: way.url },
    { poolSize: 1, applicationName: 'mesh-test', statementTimeoutMs: 10_000 },
  )
  t.after(() => far.close())
  const near = testDatabase.database()
  return { claims: createIdempotencyClaims(far, patienceMs === undefined ? {} : { patienceMs }), way, near }
}

function count(outcomes: readonly IdempotencyOutcome[], wanted: IdempotencyOutcome['outcome']): number {
  return outcomes.filter(({ outcome }) => outcome === wanted).length
}

async function keysIn(database: Database): Promise<number> {
  const rows = await database.query.selectFrom('idempotency_keys').select('call_id').execute()
  return rows.length
}

test('a crowd of claims and releases shares the answers of a slow database', async (t) => {
  const { claims, way, near } = await openFarClaims(t)
  await claims.claim(claimOf(-1))
  way.delay(0, 300)
  const asked = Array.from({ length: 100 }, (_, key) => claimOf(key))
  // One after another they would take longer than callers wait.
  const outcomes = await Promise.all(asked.map((claim) => claims.claim(claim)))
  assert.equal(count(outcomes, 'claimed'), 100)
  await Promise.all(asked.map(({ callId }) => claims.release(callId)))
  assert.equal(await keysIn(near), 1)
})

test('of claims for one key that share a statement the first has it, and the others are told so', async (t) => {
  const { claims } = await openFarClaims(t)
  // It leaves alone, and the others together after it.
  const [, first, ...others] = await Promise.all([
    claims.claim(claimOf(0)),
    claims.claim(claimOf(1)),
    claims.claim(claimOf(1)),
    claims.claim(claimOf(1, { bodyHmac: Buffer.from('another') })),
    claims.claim(claimOf(1, { livemode: false })),
    claims.claim(claimOf(1, { accountId: newId('acct', systemSeams) })),
  ])
  assert.deepEqual(
    [first, ...others].map(({ outcome }) => outcome),
    ['claimed', 'in_progress', 'conflict', 'claimed', 'claimed'],
  )
})

test('routers that claim many keys at once in opposite orders share them out, and none waits for ever', async (t) => {
  const testDatabase = await createTestDatabase()
  t.after(() => testDatabase.close())
  const routers = [1, 2, 3].map(() => createIdempotencyClaims(testDatabase.database(2)))
  for (let round = 0; round < 10; round++) {
    const keys = Array.from({ length: 200 }, (_, key) => round * 1_000 + key)
    const outcomes = await Promise.all(
      routers.flatMap((router, index) =>
        (index === 0 ? keys : keys.toReversed()).map((key) => router.claim(claimOf(key))),
      ),
    )
    assert.deepEqual([count(outcomes, 'claimed'), count(outcomes, 'in_progress')], [200, 400])
  }
})

test('keys that somebody has locked delay no claim of others, and one that runs not even its own', async (t) => {
  const { claims, near } = await openFarClaims(t)
  await claims.claim(claimOf(1))
  await claims.claim(claimOf(3))
  await near.pool.query(`update idempotency_keys set created_at = 'epoch' where key_hmac = $1`, [
    claimOf(3).keyHmac,
  ])
  const client = await near.connect()
  await client.query('begin')
  await client.query(`update idempotency_keys set total_nano = 1`)
  // It is a day old, so it is free, and locked all the same.
  let isClaimed = false
  const free = claims.claim(claimOf(3)).then(({ outcome }) => {
    isClaimed = true
    return outcome
  })
  const outcomes = await Promise.all([claimOf(0), claimOf(1), claimOf(2)].map((claim) => claims.claim(claim)))
  assert.deepEqual(
    outcomes.map(({ outcome }) => outcome),
    ['claimed', 'in_progress', 'claimed'],
  )
  assert.equal(isClaimed, false)
  await client.query('rollback')
  assert.equal(await free, 'claimed')
  await client.end()
})

/** Counts from now on how often a key was claimed in all, also where it is free again. */
async function countClaims(database: Database): Promise<() => Promise<bigint>> {
  await database.pool.query(`
    create sequence claims_made minvalue 0;
    create function count_claim() returns trigger language plpgsql as $$
      begin perform nextval('claims_made'); return new; end $$;
    create trigger counted before insert on idempotency_keys for each row execute function count_claim();
    select nextval('claims_made')`)
  return async () => {
    const { rows } = await database.pool.query<{ made: bigint }>('select last_value as made from claims_made')
    return rows[0]?.made ?? assert.fail()
  }
}

test('of claims that took too long one under way is freed again, and the others never leave', async (t) => {
  const { claims, way, near } = await openFarClaims(t, 300)
  const claimsMade = await countClaims(near)
  await claims.claim(claimOf(0))
  way.delay(0, 1_500)
  const late = [claimOf(1), claimOf(2), claimOf(3)]
  const refused = late.map((claim) => assert.rejects(claims.claim(claim), { code: 'storage_unavailable' }))
  await until('the one under way is claimed', async () => (await keysIn(near)) === 2)
  await Promise.all(refused)
  await until('it is free again', async () => (await keysIn(near)) === 1)
  assert.equal(await claimsMade(), 2n)
  way.restore()
  for (const key of [1, 2, 3]) assert.equal((await claims.claim(claimOf(key))).outcome, 'claimed')
})

test('claims go on over another connection where one answers nothing any more', async (t) => {
  const testDatabase = await createTestDatabase()
  t.after(() => testDatabase.close())
  const way = await startWayTo(testDatabase)
  t.after(() => way.close())
  const options = { poolSize: 2, applicationName: 'mesh-test', statementTimeoutMs: 20_000 }
  const far = openDatabase({ url: way.url }, options)
  t.after(() => far.close())
  const claims = createIdempotencyClaims(far, { patienceMs: 3_000 })
  await claims.claim(claimOf(0))
  way.strand()
  const stranded = assert.rejects(claims.claim(claimOf(1)), { code: 'storage_unavailable' })
  assert.equal((await claims.claim(claimOf(2))).outcome, 'claimed')
  await stranded
  way.cut()
})

test('claims that a lost connection took along are refused, and their keys are free again', async (t) => {
  const { claims, way, near } = await openFarClaims(t)
  await claims.claim(claimOf(0))
  // It is claimed, and the answer is lost on its way.
  way.delay(0, 60_000)
  const lost = claimOf(1)
  const refused = assert.rejects(claims.claim(lost), { code: 'storage_unavailable' })
  await until('it is claimed', async () => (await keysIn(near)) === 2)
  way.cut()
  await refused
  way.restore()
  await until('it is free again', async () => (await keysIn(near)) === 1)
  assert.equal((await claims.claim(claimOf(1))).outcome, 'claimed')
})
