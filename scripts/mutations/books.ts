import type { Mutation } from './mutation.ts'

const HOLDS = 'apps/router/src/storage/migrations/0002-books.sql'
const SETTLEMENTS = 'apps/router/src/storage/migrations/0003-settlements.sql'
const BUSY_BOOKS = 'apps/router/src/storage/migrations/0005-busy-books.sql'
const LEANER_BOOKS = 'apps/router/src/storage/migrations/0009-leaner-books.sql'
const LOST_HOLDS = 'apps/router/src/storage/migrations/0011-lost-holds.sql'
const TABLES = 'apps/router/src/storage/migrations/0001-tables.sql'

/** What the database itself promises of holds, settlements and grants. */
export const BOOKS_MUTATIONS: readonly Mutation[] = [
  {
    breaks: 'Books are locked before they are read',
    file: LEANER_BOOKS,
    from: `  perform lock_books(array_agg(r.account_id::text), array_agg(r.livemode)) from unnest(asked) r;
  moment := mesh_now();
  rest_ms`,
    to: `  moment := mesh_now();
  rest_ms`,
    test: 'apps/router/test/books-limits.test.ts',
    named: 'never hold more than a balance for ten',
  },
  {
    breaks: 'What a batch has taken of a balance is not there for the next call',
    file: LEANER_BOOKS,
    from: 'balance_left := request.free_nano - nano_taken[slots[1]];',
    to: 'balance_left := request.free_nano;',
    test: 'apps/router/test/books-limits.test.ts',
  },
  {
    breaks: 'What is held already is not there for the next call',
    file: LEANER_BOOKS,
    from: 'coalesce(b.balance_nano - b.held_nano, 0) as free_nano',
    to: 'coalesce(b.balance_nano, 0) as free_nano',
    test: 'apps/router/test/overspend.test.ts',
  },
  {
    breaks: 'A revoked key holds nothing',
    file: LEANER_BOOKS,
    from: `a.status = 'active' and k.revoked_at is null`,
    to: `a.status = 'active'`,
    test: 'apps/router/test/books-stale.test.ts',
  },
  {
    breaks: 'A suspended account holds nothing',
    file: LEANER_BOOKS,
    from: `a.status = 'active' and k.revoked_at is null`,
    to: 'k.revoked_at is null',
    test: 'apps/router/test/books-stale.test.ts',
  },
  {
    breaks: 'A hold is refused where its caller was read before the last change',
    file: LEANER_BOOKS,
    from: `when 'hold' then a.policy_version = r.policy_version`,
    to: `when 'hold' then true`,
    test: 'apps/router/test/books-stale.test.ts',
  },
  {
    breaks: 'A rotated key holds nothing once its grace has ended',
    file: LEANER_BOOKS,
    from: `and (r.kind = 'extend' or coalesce(k.stops_at > moment, true))`,
    to: '',
    test: 'apps/router/test/books-stale.test.ts',
  },
  {
    breaks: 'A key that expired holds nothing',
    file: BUSY_BOOKS,
    from: 'coalesce(l.expires_at <= moment, false)',
    to: 'false',
    test: 'apps/router/test/books-stale.test.ts',
  },
  {
    breaks: 'A key holds in its own account, world and project alone',
    file: LEANER_BOOKS,
    from: 'and k.account_id = r.account_id and k.livemode = r.livemode and k.project_id = r.project_id',
    to: '',
    test: 'apps/router/test/books-stale.test.ts',
    named: 'a payer that does not fit together',
  },
  {
    breaks: 'requestsPerMinute counts',
    file: LEANER_BOOKS,
    from: 'coalesce(least(room.minute_requests, room.month_requests, room.concurrent_requests), unlimited)',
    to: 'coalesce(least(room.month_requests, room.concurrent_requests), unlimited)',
    test: 'apps/router/test/books-limits.test.ts',
  },
  {
    breaks: 'maxConcurrentRequests counts',
    file: LEANER_BOOKS,
    from: 'coalesce(least(room.minute_requests, room.month_requests, room.concurrent_requests), unlimited)',
    to: 'coalesce(least(room.minute_requests, room.month_requests), unlimited)',
    test: 'apps/router/test/books-limits.test.ts',
  },
  {
    breaks: 'tokensPerMinute counts',
    file: LEANER_BOOKS,
    from: 'coalesce(least(room.minute_tokens, room.month_tokens), unlimited)',
    to: 'coalesce(room.month_tokens, unlimited)',
    test: 'apps/router/test/books-limits.test.ts',
  },
  {
    breaks: 'totalUsdLimit counts',
    file: LEANER_BOOKS,
    from: 'coalesce(least(room.day_nano, room.month_nano, room.total_nano), unlimited)',
    to: 'coalesce(least(room.day_nano, room.month_nano), unlimited)',
    test: 'apps/router/test/books-limits.test.ts',
  },
  {
    breaks: 'dailyUsdLimit counts',
    file: LEANER_BOOKS,
    from: 'coalesce(least(room.day_nano, room.month_nano, room.total_nano), unlimited)',
    to: 'coalesce(least(room.month_nano, room.total_nano), unlimited)',
    test: 'apps/router/test/books-limits.test.ts',
  },
  {
    breaks: 'maxUsdPerRequest counts',
    file: LEANER_BOOKS,
    from: 'call_nano_room[slot] - request.held_nano);',
    to: 'nano_left);',
    test: 'apps/router/test/books-limits.test.ts',
    named: 'maxUsdPerRequest',
  },
  {
    breaks: 'What a made key spends counts against its maker',
    file: BUSY_BOOKS,
    from: `(r.lineage_id, 'key'), (r.parent_lineage_id, 'key')
    ) s (subject_id, scope)`,
    to: `(r.lineage_id, 'key')
    ) s (subject_id, scope)`,
    test: 'apps/router/test/books-limits.test.ts',
  },
  {
    breaks: 'Output is never lowered below the floor',
    file: LEANER_BOOKS,
    from: `elsif output >= request.output_tokens_floor then
      nano :=`,
    to: `elsif output >= 1 then
      nano :=`,
    test: 'apps/router/test/books-limits.test.ts',
    named: 'never below the floor',
  },
  {
    breaks: 'Fractions of a nano-USD are rounded up',
    file: HOLDS,
    from: 'as $$ select (tokens * pico + 999) / 1000 $$',
    to: 'as $$ select (tokens * pico) / 1000 $$',
    test: 'apps/router/test/books-limits.test.ts',
    named: 'fractions of a nano-USD',
  },
  {
    breaks: 'A settlement that its caller was told of is on disk',
    file: 'apps/router/src/ledger/postgres-books.ts',
    from: "openBooksConnection(this.#options.database, 'on')",
    to: "openBooksConnection(this.#options.database, 'off')",
    test: 'apps/router/test/books-crash.test.ts',
    named: 'outlives a crash',
  },
  {
    breaks: 'A lost hold comes back after a crash of the database',
    file: 'apps/router/src/ledger/postgres-books.ts',
    from: '    await orEnd(client, this.#running.restore(client))\n',
    to: '',
    test: 'apps/router/test/books-crash.test.ts',
  },
  {
    breaks: 'What a call held that was taken for dead is charged only where it is still there',
    file: LOST_HOLDS,
    from: 't.needed > b.balance_nano - b.held_nano',
    to: 'false',
    test: 'apps/router/test/books-settlement.test.ts',
    named: 'still carry it',
  },
  {
    breaks: 'A late charge passes no limit',
    file: LOST_HOLDS,
    from: 'least(room.day_nano, room.month_nano, room.total_nano)',
    to: 'least(room.day_nano, room.month_nano)',
    test: 'apps/router/test/books-settlement.test.ts',
    named: 'still carry it',
  },
  {
    breaks: 'A call whose hold a crash lost is charged only where others have not spent it',
    file: LOST_HOLDS,
    from: 'asked[unpayable] := unpaid(asked[unpayable]);',
    to: 'null;',
    test: 'apps/router/test/books-crash.test.ts',
    named: 'before its router has noticed',
  },
  {
    breaks: 'A hold that a crash lost is not put back where others have spent it',
    file: LOST_HOLDS,
    from: `    where i.place <> all (spent)
  ), '[]');`,
    to: `  ), '[]');`,
    test: 'apps/router/test/books-crash.test.ts',
    named: 'when its router is back',
  },
  {
    breaks: 'A call whose caller was told that nothing is charged is never charged later',
    file: LOST_HOLDS,
    from: `        and e.error_code is distinct from 'storage_unavailable'\n`,
    to: '',
    test: 'apps/router/test/books-crash.test.ts',
    named: 'is not charged again',
  },
  {
    breaks: 'A late charge is not made once its idempotency key may have been charged again',
    file: LOST_HOLDS,
    from: `where s.idempotency = 'billed' and not exists`,
    to: 'where false and not exists',
    test: 'apps/router/test/books-settlement.test.ts',
    named: 'may have been charged again',
  },
  {
    breaks: 'A call is settled once',
    file: LOST_HOLDS,
    from: `      when s.turn > 1 then null
      when e.id is null then s.call_id`,
    to: `      when e.id is null or s.turn > 0 then s.call_id`,
    test: 'apps/router/test/books-settlement.test.ts',
  },
  {
    breaks: 'What was held is given back when a call ends',
    file: LOST_HOLDS,
    from: 'balance_nano = b.balance_nano - d.total_nano, held_nano = b.held_nano - d.held_nano',
    to: 'balance_nano = b.balance_nano - d.total_nano',
    test: 'apps/router/test/books-settlement.test.ts',
  },
  {
    breaks: 'A settlement takes what it says from the balance',
    file: LOST_HOLDS,
    from: 'balance_nano = b.balance_nano - d.total_nano, held_nano = b.held_nano - d.held_nano',
    to: 'held_nano = b.held_nano - d.held_nano',
    test: 'apps/router/test/books-settlement.test.ts',
  },
  {
    breaks: 'A call ends its place among the running ones',
    file: SETTLEMENTS,
    from: 'active_requests = c.active_requests - d.calls',
    to: 'active_requests = c.active_requests',
    test: 'apps/router/test/books-limits.test.ts',
    named: 'leaves its place to the next',
  },
  {
    breaks: 'Every transaction of the ledger sums to zero',
    file: LEANER_BOOKS,
    from: `values (1, 'customer', -s.total_nano), (2, 'revenue', s.total_nano),`,
    to: `values (1, 'customer', -s.total_nano),`,
    test: 'apps/router/test/books-settlement.test.ts',
  },
  {
    breaks: 'A settlement that comes after its hold was reaped is posted',
    file: LOST_HOLDS,
    from: `      when e.billing_reason = 'router_crash' and s.billing_reason <> 'router_crash'
        and e.error_code is distinct from 'storage_unavailable'
        and not exists (select from events late where late.id = s.call_id || '_late') then s.call_id || '_late'
`,
    to: '',
    test: 'apps/router/test/books-settlement.test.ts',
    named: 'whose hold was reaped',
  },
  {
    breaks: 'A settlement that is withdrawn is refunded',
    file: LOST_HOLDS,
    from: '  perform refund_withdrawn(asked, moment);\n',
    to: '',
    test: 'apps/router/test/books-settlement.test.ts',
    named: 'nothing was delivered in time',
  },
  {
    breaks: 'A crashed call is not charged',
    file: BUSY_BOOKS,
    from: `'total_nano', 0, 'upstream_nano', 0, 'tokens', 0,`,
    to: `'total_nano', h.held_nano, 'upstream_nano', 0, 'tokens', 0,`,
    test: 'apps/router/test/books-settlement.test.ts',
  },
  {
    breaks: 'A hold that was renewed while its reaper waited stays',
    file: BUSY_BOOKS,
    from: 'where h.call_id = any (dead) and is_dead(h, whose, router, moment)',
    to: 'where h.call_id = any (dead)',
    test: 'apps/router/test/books-settlement.test.ts',
    named: 'renewed while its reaper waited',
  },
  {
    breaks: 'Nothing is reaped right after the database came back',
    file: BUSY_BOOKS,
    from: `if whose = 'expired' and mesh_now() < database_started_at() + grace then`,
    to: 'if false then',
    test: 'apps/router/test/books-settlement.test.ts',
    named: 'within the grace',
  },
  {
    breaks: 'A grant is given once by its id',
    file: SETTLEMENTS,
    from: `select * into earlier from ledger_entries e where e.id = entry;
  if found then`,
    to: `select * into earlier from ledger_entries e where e.id = entry;
  if false then`,
    test: 'apps/router/test/books-ledger.test.ts',
  },
  {
    breaks: 'Ledger entries cannot be changed',
    file: TABLES,
    from: 'before update or delete on ledger_entries',
    to: 'before delete on ledger_entries',
    test: 'apps/router/test/books-ledger.test.ts',
  },
]
