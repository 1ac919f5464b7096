import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { Database } from '../src/storage/database.ts'
import { Auditor } from './soak/audit.ts'
import { newWords } from './soak/call-kinds.ts'
import type { RoundResult } from './soak/fault.ts'
import { LeakSearch } from './soak/leak-search.ts'
import type { Repeated, RoundRecord } from './soak/load.ts'
import { makeCall, type Seen } from './soak/make-call.ts'
import { isSound, reportOf, tableOf } from './soak/report.ts'
import { chat } from './support/calls.ts'
import { startTestRouter } from './support/test-router.ts'

const HELD_PATIENCE_MS = 50

type End = Extract<Seen, { kind: 'end' }>

/** A round of two calls that went well, and the audit of it, which can be done again with something added. */
async function soundRound(t: TestContext) {
  const mesh = await startTestRouter()
  t.after(() => mesh.stop())
  const account = await mesh.account({ creditUsd: '1.00', limits: { totalUsdLimit: '0.50' } })
  const payer = { accountId: account.id, keyId: account.keyId, secret: account.key, isPoor: false }
  const callOnce = async (): Promise<End> => {
    const seen = await makeCall(mesh.url, account.key, {
      stream: true,
      body: chat('tokens=20', { stream: true }),
    })
    assert.ok(seen.kind === 'end' && seen.totalNano > 0n)
    return seen
  }
  const first = await callOnce()
  const second = await callOnce()
  const { database, url } = mesh
  const audit = async (
    added: { readonly seen?: Seen; readonly repeated?: Repeated; readonly leaks?: readonly string[] } = {},
  ): Promise<RoundResult> => {
    const seen = [first, second, ...(added.seen ? [added.seen] : [])]
    const record: RoundRecord = {
      calls: seen.map((each) => ({ seen: each, payer, url })),
      repeated: added.repeated ? [added.repeated] : [],
      foreign: [],
    }
    const leaks = added.leaks ?? []
    return await new Auditor(HELD_PATIENCE_MS).audit({
      database,
      record,
      unbrokenUrls: new Set([url]),
      url,
      leaks,
    })
  }
  const sound = { calls: 2, lost: 0, double: 0, overspent: 0, leaked: 0, findings: [] }
  assert.deepEqual(await audit(), sound)
  return { database, payer, first, second, audit }
}

/** Changes rows that never change. */
async function tamper(database: Database, table: string, sql: string, values: readonly unknown[]) {
  await database.pool.query(`alter table ${table} disable trigger user`)
  const { rowCount } = await database.pool.query(sql, [...values])
  assert.ok(rowCount !== null && rowCount > 0, 'nothing was changed')
}

/** Asserts that a column counts something, and names it. */
function assertCounted(
  result: RoundResult,
  column: 'lost' | 'double' | 'overspent' | 'leaked',
  pattern: RegExp,
): void {
  assert.ok(result[column] > 0, JSON.stringify(result))
  const sentences = result.findings.filter((finding) => finding.startsWith(`${column}: `))
  assert.equal(sentences.length, result[column])
  assert.ok(
    sentences.some((sentence) => pattern.test(sentence)),
    sentences.join('\n'),
  )
}

test('the audit counts an end as lost whose charge, event or amount is not in the books', async (t) => {
  const { database, first, second, audit } = await soundRound(t)
  const other: Seen = { ...first, totalNano: first.totalNano + 1n }
  assertCounted(await audit({ seen: other }), 'lost', /was told at .*, and the books have charged/)
  const unknown: Seen = { ...first, callId: 'req_00000000000000000000000000' }
  assertCounted(await audit({ seen: unknown }), 'lost', /req_0+ was told .*charged nothing.*events none/)
  const free: Seen = {
    ...first,
    kind: 'error',
    code: 'storage_unavailable',
    hadBegun: false,
    receiptId: undefined,
  }
  assertCounted(await audit({ seen: free }), 'lost', /answered with storage_unavailable, which costs nothing/)
  const begun: Seen = { kind: 'left', callId: 'req_00000000000000000000000000', text: '' }
  assertCounted(await audit({ seen: begun }), 'lost', /began to be answered by a router that lives/)

  const entries = 'delete from ledger_entries where call_id = $1'
  await tamper(database, 'ledger_entries', entries, [first.callId])
  const missing = await audit()
  assertCounted(missing, 'lost', new RegExp(`${first.callId} was told`))
  assertCounted(missing, 'lost', /has no transaction in the ledger/)
  await tamper(database, 'events', 'delete from events where id = $1', [second.callId])
  assertCounted(await audit(), 'lost', new RegExp(`${second.callId} was told .*events none`))
})

test('the audit counts what is still held for calls that are over as lost', async (t) => {
  const { database, payer, audit } = await soundRound(t)
  await database.pool.query(
    `insert into holds select 'req_00000000000000000000000000', a.account_id, false, k.project_id, k.id, k.lineage_id,
       null, 'rtr_00000000000000000000000000', 5, 5, 5, 'm', 'p', 'prices', now(), now(), now(), now(),
       now() + interval '1 hour' from balances a join api_keys k on k.id = $1 and k.account_id = a.account_id
     where not a.livemode`,
    [payer.keyId],
  )
  assertCounted(await audit(), 'lost', /still a hold of call req_0+/)
  await database.pool.query('delete from holds')
  await database.pool.query('update counters set active_requests = 1 where subject_id = $1', [payer.keyId])
  assertCounted(await audit(), 'lost', /still calls that run in the counters of key_/)
})

test('the audit counts a call, and an idempotency key, that is charged twice', async (t) => {
  const { database, payer, first, second, audit } = await soundRound(t)
  const repeated = { payer, seen: [first, second] }
  const twice = await audit({ repeated })
  assertCounted(
    twice,
    'double',
    /One Idempotency-Key of key_\w+ was charged more than once: req_\w+ and req_/,
  )
  const replay: Seen = {
    kind: 'error',
    code: 'idempotency_replay',
    callId: undefined,
    hadBegun: false,
    totalNano: first.totalNano + 1n,
    receiptId: first.callId.replace('req_', 'rcpt_'),
    text: '',
  }
  assertCounted(await audit({ repeated: { payer, seen: [replay] } }), 'lost', /A repeat was told/)

  await tamper(
    database,
    'ledger_entries',
    `insert into ledger_entries select (jsonb_populate_record(null::ledger_entries, to_jsonb(e)
       || jsonb_build_object('id', e.id || '_again'))).* from ledger_entries e where call_id = $1`,
    [first.callId],
  )
  assertCounted(await audit(), 'double', new RegExp(`${first.callId} was charged more than once`))
})

test('the audit counts a debt, and a limit that was passed, as overspent', async (t) => {
  const { database, payer, audit } = await soundRound(t)
  await database.pool.query('update limits set total_nano = 1 where subject_id = $1', [payer.keyId])
  assertCounted(await audit(), 'overspent', /key_\w+ was charged \$[\d.]+, and its limit is \$0\.000000001/)
  await database.pool.query('update balances set balance_nano = -1 where account_id = $1', [payer.accountId])
  assertCounted(await audit(), 'overspent', /The balance of acct_\w+ is \$-0\.000000001/)
})

test('the audit counts a canary in a file, a log or an answer to somebody else as leaked', async (t) => {
  const { audit } = await soundRound(t)
  const folder = await mkdtemp(join(tmpdir(), 'mesh-leak-'))
  t.after(() => rm(folder, { recursive: true }))
  const words = newWords()
  const search = new LeakSearch(new Map(Object.entries(words)))
  await writeFile(join(folder, 'clean'), 'nothing')
  assert.deepEqual(search.inFiles(folder), [])
  await writeFile(join(folder, 'log'), `a line with ${words.prompt} in it`)
  const leaks = [
    ...search.inFiles(folder),
    ...search.inText('a log', Buffer.from(words.answer).toString('hex')),
  ]
  const result = await audit({ leaks })
  assertCounted(result, 'leaked', /There is prompt \(utf8\) in the file log/)
  assertCounted(result, 'leaked', /There is answer \(hex\) in a log/)
  assert.deepEqual(search.inFiles(folder), [], 'a file that has not changed is told once')
  await writeFile(join(folder, 'clean'), Buffer.from(words.user).toString('base64'))
  assert.match(search.inFiles(folder).join(), /There is user \(base64/)
})

test('the table has a row a fault, its findings under it, and no fault is sound that broke off', () => {
  const round = { calls: 10, lost: 0, double: 0, overspent: 0, leaked: 0, findings: [] }
  const sound = reportOf('none', [round, round])
  const found = reportOf('kill-router', [
    { ...round, double: 1, findings: ['double: req_1 was charged twice.'] },
  ])
  const broken = reportOf('drain-router', [], { problem: 'it hung' })
  const skipped = reportOf('full-disk', [], { skipped: 'needs root' })
  assert.deepEqual([sound, found, broken, skipped].map(isSound), [true, false, false, true])
  assert.equal(
    tableOf([sound, found, broken, skipped]),
    [
      'fault         rounds  calls  lost  double  overspent  leaked',
      'none               2     20     0       0          0       0',
      'kill-router        1     10     0       1          0       0',
      'drain-router       0      0     0       0          0       0  BROKEN OFF',
      'full-disk          0      0     0       0          0       0  skipped: needs root',
      '',
      'kill-router: double: req_1 was charged twice.',
      'drain-router: broken off: it hung',
      '',
    ].join('\n'),
  )
})
