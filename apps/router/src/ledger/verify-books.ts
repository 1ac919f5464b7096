import { formatUsd } from '@mesh/catalog/money.ts'
import type pg from 'pg'
import type { Difference, Snapshot } from './verify.ts'

/** One rule of the books: a query that finds whatever breaks it, and how that is told. */
interface BookRule {
  readonly check: string
  readonly sql: string
  readonly tell: (row: BrokenRow) => string
}

/** What breaks a rule: whose it is, what there is and what there should be. */
interface BrokenRow {
  readonly subject: string
  readonly livemode: boolean | null
  readonly found: bigint | null
  readonly expected: bigint | null
}

/** The four whose counters a call moves. `call` is a row of holds, or of events joined with their keys. */
const SUBJECTS = `cross join lateral (
  values (call.account_id), (call.project_id), (call.lineage_id), (call.parent_lineage_id)
) s (subject_id)`

const RULES: readonly BookRule[] = [
  {
    check: 'transaction_sum',
    sql: `select transaction_id as subject, null::boolean as livemode, sum(amount_nano)::bigint as found, 0::bigint as expected
      from ledger_entries group by transaction_id having sum(amount_nano) <> 0`,
    tell: ({ subject, found }) =>
      `The entries of transaction ${subject} sum to ${usd(found)} and not to zero.`,
  },
  {
    check: 'balance',
    sql: `select coalesce(b.account_id, e.account_id) as subject, coalesce(b.livemode, e.livemode) as livemode,
        b.balance_nano as found, coalesce(e.sum, 0)::bigint as expected
      from balances b
      full join (
        select account_id, livemode, sum(amount_nano)::bigint as sum from ledger_entries
        where ledger_account = 'customer' group by account_id, livemode
      ) e using (account_id, livemode)
      where b.balance_nano is distinct from coalesce(e.sum, 0)`,
    tell: ({ subject, livemode, found, expected }) =>
      `The ${world(livemode)} balance of ${subject} is ${usd(found)}, and its entries sum to ${usd(expected)}.`,
  },
  {
    // Every entry takes over the balance that another one left; so all balances found are all balances left, but for
    // the zero that a book begins with and the balance that it has now. That holds whatever the order was.
    check: 'balance_after',
    sql: `select account_id as subject, livemode, amount_nano as found, null::bigint as expected
      from (
        select account_id, livemode, balance_after_nano - amount_nano as amount_nano, 1 as turn
        from ledger_entries where ledger_account = 'customer'
        union all select account_id, livemode, balance_nano, 1 from balances
        union all select account_id, livemode, balance_after_nano, -1
        from ledger_entries where ledger_account = 'customer'
        union all select account_id, livemode, 0, -1 from balances
      ) turns
      group by account_id, livemode, amount_nano having sum(turn) <> 0 or amount_nano is null`,
    tell: ({ subject, livemode, found }) =>
      `The ${world(livemode)} entries of ${subject} do not continue each other's balances at ${usd(found)}.`,
  },
  {
    check: 'held',
    sql: `select b.account_id as subject, b.livemode, b.held_nano as found, coalesce(h.sum, 0)::bigint as expected
      from balances b
      left join (
        select account_id, livemode, sum(held_nano)::bigint as sum from holds group by account_id, livemode
      ) h using (account_id, livemode)
      where b.held_nano <> coalesce(h.sum, 0)`,
    tell: ({ subject, livemode, found, expected }) =>
      `The ${world(livemode)} book of ${subject} has ${usd(found)} held, and its holds sum to ${usd(expected)}.`,
  },
  {
    check: 'counter_held',
    sql: `with held as (
        select s.subject_id, call.livemode, sum(call.held_nano)::bigint as nano from holds call ${SUBJECTS}
        where s.subject_id is not null group by s.subject_id, call.livemode
      )
      select coalesce(c.subject_id, h.subject_id) as subject, coalesce(c.livemode, h.livemode) as livemode,
        c.held_nano as found, coalesce(h.nano, 0) as expected
      from counters c full join held h using (subject_id, livemode)
      where c.held_nano is distinct from coalesce(h.nano, 0)`,
    tell: ({ subject, livemode, found, expected }) =>
      `The ${world(livemode)} counters of ${subject} have ${usd(found)} held, and its holds sum to ${usd(expected)}.`,
  },
  {
    check: 'counter_active',
    sql: `with active as (
        select s.subject_id, call.livemode, count(*) as calls from holds call ${SUBJECTS}
        where s.subject_id is not null group by s.subject_id, call.livemode
      )
      select coalesce(c.subject_id, a.subject_id) as subject, coalesce(c.livemode, a.livemode) as livemode,
        c.active_requests as found, coalesce(a.calls, 0) as expected
      from counters c full join active a using (subject_id, livemode)
      where c.active_requests is distinct from coalesce(a.calls, 0)`,
    tell: ({ subject, livemode, found, expected }) =>
      `The ${world(livemode)} counters of ${subject} say that ${found} calls run, and ${expected} do.`,
  },
  {
    // What was ever charged, given back or is held at the moment: what `totalUsdLimit` is measured by.
    check: 'counter_total',
    sql: `with used as (
        select e.account_id, e.project_id, k.lineage_id, k.parent_lineage_id, e.livemode,
          e.total_nano - coalesce(refund.amount_nano, 0) as nano
        from events e join api_keys k on k.id = e.key_id
        left join ledger_entries refund on refund.id = 'led_' || substr(e.id, 5) || '_refund'
        union all
        select account_id, project_id, lineage_id, parent_lineage_id, livemode, held_nano from holds
      ), total as (
        select s.subject_id, call.livemode, sum(call.nano)::bigint as nano from used call ${SUBJECTS}
        where s.subject_id is not null group by s.subject_id, call.livemode
      )
      select coalesce(c.subject_id, t.subject_id) as subject, coalesce(c.livemode, t.livemode) as livemode,
        c.total_nano as found, coalesce(t.nano, 0) as expected
      from counters c full join total t using (subject_id, livemode)
      where coalesce(c.total_nano, 0) <> coalesce(t.nano, 0)`,
    tell: ({ subject, livemode, found, expected }) =>
      `The ${world(livemode)} counters of ${subject} have ${usd(found)} in total, and its calls sum to ${usd(expected)}.`,
  },
  {
    check: 'event_without_transaction',
    sql: `select e.id as subject, e.livemode, null::bigint as found, e.total_nano as expected
      from events e
      where (e.total_nano <> 0 or e.upstream_nano <> 0 or e.absorbed_nano <> 0)
        and not exists (select from ledger_entries l where l.transaction_id = e.id)`,
    tell: ({ subject, expected }) =>
      `Event ${subject} over ${usd(expected)} has no transaction in the ledger.`,
  },
  {
    check: 'transaction_without_event',
    sql: `select distinct l.transaction_id as subject, l.livemode, null::bigint as found, null::bigint as expected
      from ledger_entries l
      where l.kind in ('usage', 'absorbed') and not exists (select from events e where e.id = l.transaction_id)`,
    tell: ({ subject }) => `Transaction ${subject} of the ledger has no event.`,
  },
  {
    check: 'event_amounts',
    sql: `with posted as (
        select transaction_id, ledger_account, sum(amount_nano)::bigint as nano from ledger_entries
        where kind in ('usage', 'absorbed') group by transaction_id, ledger_account
      )
      select e.id || ' at ' || a.ledger_account as subject, e.livemode, coalesce(p.nano, 0) as found, a.nano as expected
      from events e
      cross join lateral (
        values ('customer', -e.total_nano), ('revenue', e.total_nano), ('cost_of_sales', -e.upstream_nano),
          ('absorbed', -e.absorbed_nano)
      ) a (ledger_account, nano)
      left join posted p on p.transaction_id = e.id and p.ledger_account = a.ledger_account
      where coalesce(p.nano, 0) <> a.nano`,
    tell: ({ subject, found, expected }) =>
      `The ledger has ${usd(found)} for ${subject}, and the event says ${usd(expected)}.`,
  },
  {
    check: 'refund',
    sql: `select r.id as subject, r.livemode, r.amount_nano as found, coalesce(e.total_nano, 0) as expected
      from ledger_entries r
      left join events e on r.transaction_id = e.id || '_refund'
      where r.kind = 'refund' and r.ledger_account = 'customer' and r.amount_nano is distinct from e.total_nano`,
    tell: ({ subject, found, expected }) =>
      `Refund ${subject} gives ${usd(found)} back, and the call had cost ${usd(expected)}.`,
  },
  {
    check: 'refused_settlement',
    sql: `select call_id as subject, null::boolean as livemode, null::bigint as found, null::bigint as expected
      from refused_settlements`,
    tell: ({ subject }) => `The settlement of call ${subject} was refused, and waits in refused_settlements.`,
  },
  {
    check: 'receipt_digest',
    sql: `select id as subject, livemode, null::bigint as found, null::bigint as expected
      from receipts where payload_sha256 <> sha256(payload)`,
    tell: ({ subject }) => `The bytes of receipt ${subject} are not those that were fixed.`,
  },
  {
    check: 'receipt_missing',
    sql: `select e.id as subject, e.livemode, null::bigint as found, null::bigint as expected
      from events e
      where e.receipt_id is not null
        and not exists (select from receipts r where r.id = e.receipt_id and r.call_id = left(e.id, length(r.call_id)))`,
    tell: ({ subject }) => `Event ${subject} names a receipt that is not there.`,
  },
]

/** Checks the books against each other, inside the database. */
export async function* verifyBooks(snapshot: Snapshot): AsyncGenerator<Difference> {
  for (const { check, sql, tell } of RULES) {
    const { rows } = await snapshot.query<BrokenRow & pg.QueryResultRow>(sql)
    for (const row of rows) yield { check, subject: row.subject, sentence: tell(row) }
  }
}

function usd(amount: bigint | null): string {
  return amount === null ? 'nothing' : `$${formatUsd(amount)}`
}

function world(livemode: boolean | null): string {
  return livemode ? 'live' : 'test'
}
