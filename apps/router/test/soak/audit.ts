import { formatUsd } from '@mesh/catalog/money.ts'
import { verifyLedger } from '../../src/ledger/verify.ts'
import { verifyReceipt } from '../../src/records/verify-receipt.ts'
import type { Database } from '../../src/storage/database.ts'
import { requester } from '../support/test-router.ts'
import { until } from '../support/until.ts'
import type { RoundResult } from './fault.ts'
import type { Repeated, RoundRecord, SeenCall } from './load.ts'

/** The columns of the table that must be zero. */
export type Column = 'lost' | 'double' | 'overspent' | 'leaked'

/** Something that is not as it must be. */
export interface Finding {
  readonly column: Column
  readonly sentence: string
}

export interface RoundAudit {
  readonly database: Database
  readonly record: RoundRecord
  /** Routers that were never gone in this round: what their callers were promised must have come. */
  readonly unbrokenUrls: ReadonlySet<string>
  /** A router that answers, for receipts. */
  readonly url?: string
  /** Sentences on what was found where it must not be. */
  readonly leaks: readonly string[]
}

/** What a dead router held comes back when it expires, on a machine that does much else as well. */
const HELD_PATIENCE_MS = 30_000
const RECEIPTS_OF_SAMPLE = 3

/** What the books have of one call. */
interface Booked {
  /** The customer's rows, as they were charged. */
  readonly charges: readonly bigint[]
  readonly refunds: readonly bigint[]
  readonly events: readonly { readonly totalNano: bigint; readonly billingReason: string }[]
}

/** Compares, round after round, what callers saw with what the books have. Tells every finding once. */
export class Auditor {
  readonly #told = new Set<string>()
  /** Calls of earlier rounds. */
  readonly #known = new Set<string>()
  readonly #heldPatienceMs: number

  /** `heldPatienceMs` is how long it waits until nothing is held. */
  constructor(heldPatienceMs = HELD_PATIENCE_MS) {
    this.#heldPatienceMs = heldPatienceMs
  }

  /** Audits a round whose load has ended. */
  async audit(round: RoundAudit): Promise<RoundResult> {
    const found = await findingsOf(round, this.#known, this.#heldPatienceMs)
    const findings = found.filter(({ column, sentence }) => !this.#told.has(`${column} ${sentence}`))
    for (const { column, sentence } of findings) this.#told.add(`${column} ${sentence}`)
    const count = (column: Column): number => findings.filter((finding) => finding.column === column).length
    return {
      calls: round.record.calls.length,
      lost: count('lost'),
      double: count('double'),
      overspent: count('overspent'),
      leaked: count('leaked'),
      findings: findings.map(({ column, sentence }) => `${column}: ${sentence}`),
    }
  }
}

async function findingsOf(
  round: RoundAudit,
  known: Set<string>,
  heldPatienceMs: number,
): Promise<readonly Finding[]> {
  const { database, record } = round
  const lost: string[] = await stillHeld(database, heldPatienceMs)
  const books = await readBooks(database)
  for (const call of record.calls) lost.push(...lostOf(call, books, round.unbrokenUrls))
  if (round.url !== undefined) lost.push(...(await unsoundReceipts(round.url, record.calls)))
  for await (const { sentence } of verifyLedger(database)) lost.push(sentence)
  const repeats = await chargesByKey(database, record.repeated, known)
  const findings = [
    ...lost.map((sentence) => ({ column: 'lost', sentence }) as const),
    ...chargedTwice(books).map((sentence) => ({ column: 'double', sentence }) as const),
    ...record.repeated.flatMap((repeated) => repeatFindings(repeated, repeats, books)),
    ...(await overspent(database)).map((sentence) => ({ column: 'overspent', sentence }) as const),
    ...[...record.foreign, ...round.leaks].map((sentence) => ({ column: 'leaked', sentence }) as const),
  ]
  for (const callId of books.keys()) known.add(callId)
  return findings
}

/** Waits until nothing is held any more, as it must come to be, and tells what still is. */
async function stillHeld(database: Database, patienceMs: number): Promise<string[]> {
  const left = async () => {
    const { rows } = await database.pool.query<{ what: string; subject: string }>(
      `select 'a hold of call' as what, call_id as subject from holds
       union all select 'money held in the counters of', subject_id from counters where held_nano <> 0
       union all select 'calls that run in the counters of', subject_id from counters where active_requests <> 0
       union all select 'money held in the book of', account_id from balances where held_nano <> 0`,
    )
    return rows
  }
  await until('nothing is held', async () => (await left()).length === 0, patienceMs).catch(() => undefined)
  return (await left()).map(({ what, subject }) => `There is still ${what} ${subject}.`)
}

type Books = ReadonlyMap<string, Booked>

async function readBooks(database: Database): Promise<Books> {
  const { rows } = await database.pool.query<{
    call: string
    kind: 'usage' | 'refund' | 'event'
    nano: bigint
    reason: string | null
  }>(
    `select call_id as call, kind, abs(amount_nano) as nano, null as reason from ledger_entries
     where kind in ('usage', 'refund') and ledger_account = 'customer'
     union all select left(id, 30), 'event', total_nano, billing_reason from events`,
  )
  const books = new Map<
    string,
    { charges: bigint[]; refunds: bigint[]; events: Booked['events'][number][] }
  >()
  for (const { call, kind, nano, reason } of rows) {
    const booked = books.get(call) ?? { charges: [], refunds: [], events: [] }
    books.set(call, booked)
    if (kind === 'usage') booked.charges.push(nano)
    else if (kind === 'refund') booked.refunds.push(nano)
    else booked.events.push({ totalNano: nano, billingReason: reason ?? '' })
  }
  return books
}

const NOTHING: Booked = { charges: [], refunds: [], events: [] }

/** What the customer pays in the end. */
function paid({ charges, refunds }: Booked): bigint {
  const sum = (amounts: readonly bigint[]): bigint => amounts.reduce((total, amount) => total + amount, 0n)
  return sum(charges) - sum(refunds)
}

/**
 * What one caller was told and the books do not have. The event of a reaped call says that its router was not heard
 * of; where the router was only slow its settlement is posted later as an event of its own, and that one counts.
 */
function lostOf({ seen, url }: SeenCall, books: Books, unbrokenUrls: ReadonlySet<string>): string[] {
  const { callId } = seen
  if (callId === undefined) return []
  const booked = books.get(callId) ?? NOTHING
  const settled = booked.events.filter(({ billingReason }) => billingReason !== 'router_crash')
  if (seen.kind === 'end') {
    const isCharged = same(booked.charges, seen.totalNano === 0n ? [] : [seen.totalNano])
    const isRecorded = same(
      settled.map(({ totalNano }) => totalNano),
      [seen.totalNano],
    )
    return isCharged && isRecorded && booked.refunds.length === 0
      ? []
      : [`The end of ${callId} was told at ${usd(seen.totalNano)}, and the books have ${tell(booked)}.`]
  }
  if (seen.kind === 'error' && !seen.hadBegun && seen.code !== 'idempotency_replay') {
    return paid(booked) === 0n
      ? []
      : [`${callId} was answered with ${seen.code}, which costs nothing, and the books have ${tell(booked)}.`]
  }
  if (
    seen.kind === 'error' &&
    seen.totalNano !== undefined &&
    seen.hadBegun &&
    paid(booked) !== seen.totalNano
  ) {
    return [`${callId} ended badly at ${usd(seen.totalNano)}, and the books have ${tell(booked)}.`]
  }
  // An answer that had begun is settled, whatever its caller saw of it, where its router has lived on.
  if (unbrokenUrls.has(url) && !(seen.kind === 'error' && !seen.hadBegun) && booked.events.length === 0) {
    return [`${callId} began to be answered by a router that lives, and has no event.`]
  }
  return []
}

function same(left: readonly bigint[], right: readonly bigint[]): boolean {
  return left.length === right.length && left.every((amount, index) => amount === right[index])
}

function chargedTwice(books: Books): string[] {
  return [...books].flatMap(([callId, booked]) => {
    const charged = booked.events.filter(({ totalNano }) => totalNano > 0n)
    return booked.charges.length > 1 || charged.length > 1
      ? [`${callId} was charged more than once: the books have ${tell(booked)}.`]
      : []
  })
}

interface KeyCharge {
  readonly callId: string
  readonly totalNano: bigint
}

/** What was charged in this round to keys that each stand for one call and its repeats. */
async function chargesByKey(
  database: Database,
  repeated: readonly Repeated[],
  known: ReadonlySet<string>,
): Promise<ReadonlyMap<string, readonly KeyCharge[]>> {
  const { rows } = await database.pool.query<{ key: string; call: string; nano: bigint }>(
    `select e.key_id as key, left(e.id, 30) as call, e.total_nano as nano from events e
     where e.total_nano > 0 and e.key_id = any ($1)
       and not exists (select from ledger_entries r where r.id = 'led_' || substr(e.id, 5) || '_refund')`,
    [repeated.map(({ payer }) => payer.keyId)],
  )
  const byKey = new Map<string, KeyCharge[]>()
  for (const { key, call, nano } of rows) {
    if (!known.has(call)) byKey.set(key, [...(byKey.get(key) ?? []), { callId: call, totalNano: nano }])
  }
  return byKey
}

function repeatFindings(
  { payer, seen }: Repeated,
  charges: ReadonlyMap<string, readonly KeyCharge[]>,
  books: Books,
): Finding[] {
  const charged = charges.get(payer.keyId) ?? []
  const findings: Finding[] = []
  if (charged.length > 1) {
    const ids = charged.map(({ callId }) => callId).join(' and ')
    findings.push({
      column: 'double',
      sentence: `One Idempotency-Key of ${payer.keyId} was charged more than once: ${ids}.`,
    })
  }
  for (const each of seen) {
    if (each.kind !== 'error' || each.code !== 'idempotency_replay') continue
    const first = each.receiptId?.replace(/^rcpt_/, 'req_') ?? ''
    const booked = books.get(first) ?? NOTHING
    if (each.totalNano !== undefined && same(booked.charges, [each.totalNano])) continue
    findings.push({
      column: 'lost',
      sentence: `A repeat was told that ${first} had cost ${usd(each.totalNano ?? 0n)}, and the books have ${tell(booked)}.`,
    })
  }
  return findings
}

/** Books in debt, and keys and accounts that were charged more than their limit in total. */
async function overspent(database: Database): Promise<string[]> {
  const { rows: debts } = await database.pool.query<{ account: string; nano: bigint }>(
    'select account_id as account, balance_nano as nano from balances where balance_nano < 0',
  )
  const { rows: passed } = await database.pool.query<{ subject: string; nano: bigint; limit: bigint }>(
    `select l.subject_id as subject, sum(charge.nano)::bigint as nano, l.total_nano as limit
     from limits l
     join lateral (
       select e.total_nano - coalesce(refund.amount_nano, 0) as nano
       from events e join api_keys k on k.id = e.key_id
       left join ledger_entries refund on refund.id = 'led_' || substr(e.id, 5) || '_refund'
       where e.account_id = l.account_id
         and l.subject_id in (e.account_id, e.project_id, k.lineage_id, k.parent_lineage_id)
     ) charge on true
     where l.total_nano is not null
     group by l.subject_id, l.total_nano having sum(charge.nano) > l.total_nano`,
  )
  return [
    ...debts.map(({ account, nano }) => `The balance of ${account} is ${usd(nano)}.`),
    ...passed.map(
      ({ subject, nano, limit }) => `${subject} was charged ${usd(nano)}, and its limit is ${usd(limit)}.`,
    ),
  ]
}

/** Some receipts as anybody can verify them: signature, and the amount that the caller was told. */
async function unsoundReceipts(url: string, calls: readonly SeenCall[]): Promise<string[]> {
  const request = requester(url)
  const { json: keys } = await request('GET', '/.well-known/mesh-receipt-keys.json')
  const faults: string[] = []
  let left = RECEIPTS_OF_SAMPLE
  for (const { seen, payer } of calls) {
    if (left === 0) break
    if (seen.kind !== 'end' || seen.totalNano === 0n) continue
    left--
    const id = seen.callId.replace(/^req_/, 'rcpt_')
    const { status, json } = await request('GET', `/v1/receipts/${id}`, { key: payer.secret })
    const verdict = status === 200 ? verifyReceipt(json.jws, keys) : undefined
    const told = verdict?.valid === true ? verdict.claims.totalUsd : undefined
    if (told !== formatUsd(seen.totalNano))
      faults.push(`The receipt ${id} does not verify over ${usd(seen.totalNano)}.`)
  }
  return faults
}

function tell({ charges, refunds, events }: Booked): string {
  const amounts = (nanos: readonly bigint[]): string => nanos.map(usd).join(' + ') || 'nothing'
  const reasons = events.map(({ totalNano, billingReason }) => `${billingReason} at ${usd(totalNano)}`)
  return `charged ${amounts(charges)}, given back ${amounts(refunds)}, events ${reasons.join(' and ') || 'none'}`
}

function usd(nano: bigint): string {
  return `$${formatUsd(nano)}`
}
