import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { startTestRouter, type TestAccount, type TestRouter } from './support/test-router.ts'

let mesh: TestRouter
before(async () => {
  mesh = await startTestRouter()
})
after(() => mesh.stop())

/** The first part of an id, and of the ids of what the books added to it. */
const FIRST = '01aaaaaaaaaaaaaaaaaaaaaaaa'
const LATER = '01bbbbbbbbbbbbbbbbbbbbbbbb'

/** Rows as the books leave them when a settlement comes late, and when one is withdrawn. */
async function insertRows(account: TestAccount): Promise<void> {
  const { pool } = mesh.database
  for (const id of [`req_${FIRST}`, `req_${FIRST}_late`, `req_${LATER}`]) {
    await pool.query(
      `insert into events (id, account_id, project_id, key_id, livemode, created_at, http_status, stream,
         billing_reason, usage_source, buckets, held_nano, upstream_nano, margin_nano, total_nano, attempts, routing,
         privacy, duration_ms)
       values ($1, $2, $3, $4, false, now(), 200, false, 'completed', 'none', '{}', 0, 0, 0, 0, '[]', '{}', '{}', 1)`,
      [id, account.id, account.projectId, account.keyId],
    )
  }
  for (const [id, kind] of [
    [`led_${FIRST}`, 'usage'],
    [`led_${FIRST}_refund`, 'refund'],
    [`led_${LATER}`, 'usage'],
  ]) {
    await pool.query(
      `insert into ledger_entries (id, transaction_id, kind, ledger_account, account_id, livemode, amount_nano,
         balance_after_nano)
       values ($1::text, $1, $2, 'customer', $3, false, 1, 1), ($1 || '_2', $1, $2, 'revenue', $3, false, -1, null)`,
      [id, kind, account.id],
    )
  }
  await pool.query(
    `insert into receipts (id, call_id, account_id, livemode, payload, payload_sha256)
     values ($1, $2, $3, false, '{}', sha256('{}'))`,
    [`rcpt_${FIRST}_late`, `req_${FIRST}_late`, account.id],
  )
}

/** The ids of a list, read one row a page. */
async function idsOf(path: string, key: string): Promise<string[]> {
  const ids: string[] = []
  let cursor = ''
  do {
    const { status, json, text } = await mesh.request('GET', `${path}?limit=1${cursor}`, { key })
    assert.equal(status, 200, text)
    ids.push(...json.data.map(({ id }: { id: string }) => id))
    cursor = json.next_cursor === null ? '' : `&cursor=${json.next_cursor}`
  } while (cursor !== '')
  return ids
}

test('pages go on after rows that the books added to a call, and such rows are found by their ids', async () => {
  const account = await mesh.account({ creditUsd: '0' })
  await insertRows(account)
  assert.deepEqual(await idsOf('/v1/logs', account.key), [
    `req_${LATER}`,
    `req_${FIRST}_late`,
    `req_${FIRST}`,
  ])
  assert.deepEqual(await idsOf('/v1/ledger', account.key), [
    `led_${LATER}`,
    `led_${FIRST}_refund`,
    `led_${FIRST}`,
  ])
  const event = await mesh.request('GET', `/v1/logs/req_${FIRST}_late`, { key: account.key })
  assert.equal(event.json.id, `req_${FIRST}_late`, event.text)
  const receipt = await mesh.request('GET', `/v1/receipts/rcpt_${FIRST}_late`, { key: account.key })
  assert.equal(receipt.json.id, `rcpt_${FIRST}_late`, receipt.text)
})

test('a cursor that no list gave out is refused', async () => {
  const { key } = await mesh.account({ creditUsd: '0' })
  for (const id of [`led_${FIRST}_other`, `led_${FIRST}_late_late`, `req_${FIRST}`, 'led_', '']) {
    const cursor = Buffer.from(id, 'latin1').toString('base64url')
    const { status, json } = await mesh.request('GET', `/v1/ledger?cursor=${cursor}`, { key })
    assert.deepEqual([status, json.error.param], [400, 'cursor'], id)
  }
  for (const id of [`req_${FIRST}_refunded`, `req_${FIRST}_late`, 'req_x']) {
    assert.equal((await mesh.request('GET', `/v1/logs/${id}`, { key })).status, 404, id)
  }
})
