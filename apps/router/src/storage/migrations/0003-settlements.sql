-- How calls end in the books, and how money comes in. The rules of 0002-books.sql hold here too.

-- The end of a call. `place` is its place in the batch.
create type settlement as (
  place integer,
  call_id mesh_id,
  account_id mesh_id,
  livemode boolean,
  project_id mesh_id,
  key_id mesh_id,
  lineage_id mesh_id,
  parent_lineage_id mesh_id,
  held_nano bigint,
  held_tokens bigint,
  total_nano bigint,
  upstream_nano bigint,
  -- Whom the upstream cost is owed to.
  payable_to text,
  -- [{provider, amount_nano}]: what the house carries.
  absorbed jsonb,
  tokens bigint,
  receipt_id mesh_id,
  receipt_payload text,
  idempotency text,
  -- Stands instead of an earlier one that may have been posted meanwhile: its caller was told that nothing is charged.
  withdraws boolean,
  created_at timestamptz,
  model_requested text,
  model_served text,
  provider text,
  http_status integer,
  error_code text,
  stream boolean,
  billing_reason text,
  finish_reason text,
  usage_source text,
  usage_flags text[],
  buckets jsonb,
  price_list_id text,
  dispatched_at timestamptz,
  attempts jsonb,
  routing jsonb,
  privacy jsonb,
  first_token_ms integer,
  duration_ms integer
);

-- The hold of a call that ended, with what the call used in the end: nothing where its settlement is not posted.
create type ended_hold as (
  call_id mesh_id,
  account_id mesh_id,
  livemode boolean,
  project_id mesh_id,
  lineage_id mesh_id,
  parent_lineage_id mesh_id,
  held_nano bigint,
  held_tokens bigint,
  minute_start timestamptz,
  day_start timestamptz,
  month_start timestamptz,
  used_nano bigint,
  used_tokens bigint
);

-- The ids of the events of a batch, by place; null where nothing is to be posted because the call has its event.
-- One exception: the event of a reaped call says only that its router was not heard of. If its settlement comes after
-- all it is posted too, as an event of its own beside the first, for rows are never changed.
create function event_ids_for(asked settlement[]) returns text[] language plpgsql stable as $$
begin
  return array(
    select case
      when s.turn > 1 then null
      when e.id is null then s.call_id
      when e.billing_reason = 'router_crash' and s.billing_reason <> 'router_crash'
        and not exists (select from events late where late.id = s.call_id || '_late') then s.call_id || '_late'
    end
    from (select *, row_number() over (partition by call_id order by place) as turn from unnest(asked)) s
    left join events e on e.id = s.call_id
    order by s.place
  );
end $$;

-- Writes events with their receipts, and settles their idempotency keys.
create function record_events(asked settlement[], event_ids text[]) returns void language plpgsql as $$
begin
  insert into events (
    id, account_id, project_id, key_id, livemode, created_at, model_requested, model_served, provider, http_status,
    error_code, stream, billing_reason, finish_reason, usage_source, usage_flags, buckets,
    held_nano, upstream_nano, margin_nano, total_nano, absorbed_nano,
    price_list_id, dispatched_at, attempts, routing, privacy, receipt_id, first_token_ms, duration_ms
  )
  select event_ids[s.place], s.account_id, s.project_id, s.key_id, s.livemode, s.created_at, s.model_requested,
    s.model_served, s.provider, s.http_status,
    s.error_code, s.stream, s.billing_reason, s.finish_reason, s.usage_source, s.usage_flags, s.buckets,
    s.held_nano, s.upstream_nano, s.total_nano - s.upstream_nano, s.total_nano, a.nano - coalesce(reaped.absorbed_nano, 0),
    s.price_list_id, s.dispatched_at, s.attempts, s.routing, s.privacy, s.receipt_id, s.first_token_ms, s.duration_ms
  from unnest(asked) s
  cross join lateral (
    select coalesce(sum((a ->> 'amount_nano')::bigint), 0) as nano from jsonb_array_elements(s.absorbed) a
  ) a
  -- A late settlement takes back what was booked as absorbed when its hold was reaped.
  left join events reaped on event_ids[s.place] <> s.call_id and reaped.id = s.call_id
  where event_ids[s.place] is not null
  order by s.place;

  insert into receipts (id, call_id, account_id, livemode, payload, payload_sha256, created_at)
  select s.receipt_id, s.call_id, s.account_id, s.livemode, payload, sha256(payload), s.created_at
  from unnest(asked) s cross join lateral decode(s.receipt_payload, 'base64') payload
  where s.receipt_id is not null and event_ids[s.place] is not null;

  update idempotency_keys k set state = 'billed', receipt_id = s.receipt_id, total_nano = s.total_nano
  from unnest(asked) s
  where k.call_id = s.call_id and s.idempotency = 'billed' and event_ids[s.place] is not null;
  delete from idempotency_keys k using unnest(asked) s
  where k.call_id = s.call_id and s.idempotency = 'freed' and event_ids[s.place] is not null;
end $$;

-- Posts the ledger's entries, one transaction an event. The customer's entry has the id of its call; the others have
-- their place in the transaction behind it, and those of a late settlement places above a hundred. A late settlement
-- takes back what was booked as absorbed when its hold was reaped (places 5 and 6 of that transaction).
create function post_entries(asked settlement[], event_ids text[], moment timestamptz) returns void
language plpgsql as $$
begin
  insert into ledger_entries (
    id, transaction_id, kind, ledger_account, account_id, livemode, amount_nano, balance_after_nano, call_id, created_at
  )
  select s.led || case when e.place > 1 then '_' || e.place + case when s.late then 100 else 0 end else '' end,
    event_ids[s.place], case when s.total_nano = 0 and s.upstream_nano = 0 then 'absorbed' else 'usage' end,
    e.ledger_account, s.account_id, s.livemode, e.amount_nano,
    case when e.place = 1 then b.balance_nano - s.total_until end, s.call_id, moment
  from (
    select s.*, 'led_' || substr(s.call_id, 5) as led, event_ids[s.place] <> s.call_id as late,
      sum(s.total_nano) over (partition by s.account_id, s.livemode order by s.place) as total_until
    from unnest(asked) s
    where event_ids[s.place] is not null
  ) s
  join balances b on b.account_id = s.account_id and b.livemode = s.livemode
  cross join lateral (
    values (1, 'customer', -s.total_nano), (2, 'revenue', s.total_nano),
      (3, 'cost_of_sales', -s.upstream_nano), (4, 'payable:' || s.payable_to, s.upstream_nano)
    union all
    select 3 + 2 * a.place, 'absorbed', -(a.entry ->> 'amount_nano')::bigint
    from jsonb_array_elements(s.absorbed) with ordinality a (entry, place)
    union all
    select 4 + 2 * a.place, 'payable:' || (a.entry ->> 'provider'), (a.entry ->> 'amount_nano')::bigint
    from jsonb_array_elements(s.absorbed) with ordinality a (entry, place)
    union all
    select 90 + right(reaped.id, 1)::integer, reaped.ledger_account, -reaped.amount_nano
    from ledger_entries reaped
    where s.late and reaped.id in (s.led || '_5', s.led || '_6')
  ) e (place, ledger_account, amount_nano)
  where e.amount_nano <> 0;
end $$;

-- Takes ended calls' holds out of the counters: what was held is replaced by what was used, in the windows that the
-- hold began in and no later ones. A call that was held stays counted as a request.
create function correct_counters(ended ended_hold[]) returns void language plpgsql as $$
begin
  update counters c set
    minute_tokens = c.minute_tokens + d.minute_tokens,
    day_nano = c.day_nano + d.day_nano,
    month_tokens = c.month_tokens + d.month_tokens,
    month_nano = c.month_nano + d.month_nano,
    total_nano = c.total_nano + d.total_nano,
    held_nano = c.held_nano - d.held_nano,
    active_requests = c.active_requests - d.calls
  from (
    select s.subject_id, h.livemode,
      coalesce(sum(h.used_tokens - h.held_tokens) filter (where k.minute_start = h.minute_start), 0) as minute_tokens,
      coalesce(sum(h.used_nano - h.held_nano) filter (where k.day_start = h.day_start), 0) as day_nano,
      coalesce(sum(h.used_tokens - h.held_tokens) filter (where k.month_start = h.month_start), 0) as month_tokens,
      coalesce(sum(h.used_nano - h.held_nano) filter (where k.month_start = h.month_start), 0) as month_nano,
      sum(h.used_nano - h.held_nano) as total_nano,
      sum(h.held_nano) as held_nano,
      count(*) as calls
    from unnest(ended) h
    cross join lateral (values (h.account_id), (h.project_id), (h.lineage_id), (h.parent_lineage_id)) s (subject_id)
    join counters k on k.subject_id = s.subject_id and k.livemode = h.livemode
    group by s.subject_id, h.livemode
  ) d
  where c.subject_id = d.subject_id and c.livemode = d.livemode;
end $$;

-- What calls used whose hold is no longer there: in the windows of the settlement, since those of the hold are lost.
-- A reaped call was counted as a request and stays it; one whose hold a crash of PostgreSQL lost is counted now.
create function growth_without_hold(asked settlement[], event_ids text[], ended ended_hold[])
returns counter_growth[] language plpgsql as $$
begin
  return (select array_agg(growth) from (
    select row(s.subject_id, p.livemode, p.account_id, sum((event_ids[p.place] = p.call_id)::integer), sum(p.tokens),
      sum(p.total_nano), 0, 0)::counter_growth as growth
    from unnest(asked) p
    cross join lateral (values (p.account_id), (p.project_id), (p.lineage_id), (p.parent_lineage_id)) s (subject_id)
    where s.subject_id is not null and event_ids[p.place] is not null and (p.held_nano > 0 or p.held_tokens > 0)
      and p.call_id not in (select h.call_id from unnest(ended) h)
    group by s.subject_id, p.livemode, p.account_id
  ) grown);
end $$;

-- Gives back what was charged for calls whose settlement is withdrawn. A charge stays as it is written; a transaction
-- of kind `refund` stands against it, and what the provider is owed becomes the house's own cost.
create function refund_withdrawn(asked settlement[], moment timestamptz) returns void language plpgsql as $$
declare
  charged ledger_entries[];
begin
  if not exists (select from unnest(asked) s where s.withdraws) then
    return;
  end if;
  charged := array(
    select e from unnest(asked) s
    join ledger_entries e on e.id = 'led_' || substr(s.call_id, 5)
    where s.withdraws and e.kind = 'usage'
      and not exists (select from ledger_entries r where r.id = e.id || '_refund')
  );
  if cardinality(charged) = 0 then
    return;
  end if;
  update balances b set balance_nano = b.balance_nano + g.amount_nano
  from (select c.account_id, c.livemode, -sum(c.amount_nano) as amount_nano from unnest(charged) c group by 1, 2) g
  where b.account_id = g.account_id and b.livemode = g.livemode;
  insert into ledger_entries (
    id, transaction_id, kind, ledger_account, account_id, livemode, amount_nano, balance_after_nano, call_id, created_at
  )
  select c.id || '_refund' || e.suffix, c.transaction_id || '_refund', 'refund', e.ledger_account, c.account_id,
    c.livemode, e.amount_nano,
    -- The balance holds all refunds of the batch by now: take the later ones out again.
    case when e.suffix = '' then b.balance_nano + c.given_later end, c.call_id, moment
  from (
    select c.*, coalesce(sum(c.amount_nano) over (
      partition by c.account_id, c.livemode order by c.id desc rows between unbounded preceding and 1 preceding
    ), 0) as given_later
    from unnest(charged) c
  ) c
  join balances b on b.account_id = c.account_id and b.livemode = c.livemode
  -- Of the same transaction: a late settlement has its entries at other places.
  left join ledger_entries cost on cost.id in (c.id || '_3', c.id || '_103')
    and cost.transaction_id = c.transaction_id and cost.ledger_account = 'cost_of_sales'
  cross join lateral (
    values ('', 'customer', -c.amount_nano), ('_2', 'revenue', c.amount_nano),
      ('_3', 'cost_of_sales', -cost.amount_nano), ('_4', 'absorbed', cost.amount_nano)
  ) e (suffix, ledger_account, amount_nano)
  where e.amount_nano is not null;
  update counters k set
    day_nano = k.day_nano + d.day_nano, month_nano = k.month_nano + d.month_nano, total_nano = k.total_nano + d.total_nano
  from (
    select s.subject_id, p.livemode, sum(c.amount_nano) as total_nano,
      coalesce(sum(c.amount_nano) filter (where n.day_start = window_start('day', c.created_at)), 0) as day_nano,
      coalesce(sum(c.amount_nano) filter (where n.month_start = window_start('month', c.created_at)), 0) as month_nano
    from unnest(charged) c
    join unnest(asked) p on p.call_id = c.call_id and p.withdraws
    cross join lateral (values (p.account_id), (p.project_id), (p.lineage_id), (p.parent_lineage_id)) s (subject_id)
    join counters n on n.subject_id = s.subject_id and n.livemode = p.livemode
    group by s.subject_id, p.livemode
  ) d
  where k.subject_id = d.subject_id and k.livemode = d.livemode;
  delete from idempotency_keys i using unnest(charged) c where i.call_id = c.call_id;
end $$;

-- Settles a batch: each call exactly once by its id, never refused, whether its hold is still there or not. Answers
-- in the order of the array. `duplicate` is a call that had been settled before: nothing is posted, and a hold that
-- came into being after its settlement is released.
create function settle_calls(settlements json) returns table (ledger_entry_id text, duplicate boolean)
language plpgsql
set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  asked settlement[] := array(select s from json_populate_recordset(null::settlement, settlements) s);
  event_ids text[];
  ended ended_hold[];
  unheld counter_growth[];
  moment timestamptz;
begin
  perform lock_books(array_agg(s.account_id::text), array_agg(s.livemode)) from unnest(asked) s;
  moment := mesh_now();
  perform from holds h where h.call_id in (select s.call_id from unnest(asked) s) order by h.call_id for update;
  event_ids := event_ids_for(asked);
  ended := array(
    select row(h.call_id, h.account_id, h.livemode, h.project_id, h.lineage_id, h.parent_lineage_id, h.held_nano,
      h.held_tokens, h.minute_start, h.day_start, h.month_start, sum(s.total_nano), sum(s.tokens))::ended_hold
    from (
      select call_id, case when event_ids[place] is null then 0 else total_nano end as total_nano,
        case when event_ids[place] is null then 0 else tokens end as tokens
      from unnest(asked)
    ) s
    join holds h on h.call_id = s.call_id
    group by h.call_id
  );

  perform record_events(asked, event_ids);
  perform post_entries(asked, event_ids, moment);
  perform correct_counters(ended);
  unheld := growth_without_hold(asked, event_ids, ended);
  if unheld is not null then
    perform count_growth(unheld, moment);
  end if;
  update balances b set balance_nano = b.balance_nano - d.total_nano, held_nano = b.held_nano - d.held_nano
  from (
    select c.account_id, c.livemode, sum(c.total_nano) as total_nano, sum(c.held_nano) as held_nano
    from (
      select s.account_id, s.livemode, s.total_nano, 0 as held_nano
      from unnest(asked) s where event_ids[s.place] is not null
      union all
      select h.account_id, h.livemode, 0, h.held_nano from unnest(ended) h
    ) c
    group by c.account_id, c.livemode
  ) d
  where b.account_id = d.account_id and b.livemode = d.livemode and (d.total_nano <> 0 or d.held_nano <> 0);
  delete from holds where call_id in (select h.call_id from unnest(ended) h);
  perform refund_withdrawn(asked, moment);

  return query
    select case
        when event_ids[s.place] is null
          then (select e.id::text from ledger_entries e where e.id = 'led_' || substr(s.call_id, 5))
        when s.total_nano > 0 then 'led_' || substr(s.call_id, 5)
      end, event_ids[s.place] is null
    from unnest(asked) s
    order by s.place;
end $$;

-- When the database last began to serve. After the crash of a single process PostgreSQL starts over without the
-- postmaster; its WAL writer is as old as that (and seen by roles that may read all statistics).
create function database_started_at() returns timestamptz language sql volatile as $$
  select greatest(pg_postmaster_start_time(), max(backend_start)) from pg_stat_activity where backend_type = 'walwriter'
$$;

-- Releases holds that nobody renews: those past their expiry, or at the start of the only router there can be those
-- of every other one. Nothing of such a call was delivered to its end, so nothing is charged; what the providers may
-- bill for it is absorbed. Not within `grace` of the database's own start: while it was away nobody could renew.
-- Returns how many were released; as many as `batch_max` means that there may be more.
create function reap_holds(reaper mesh_id, only_router boolean, grace interval, batch_max integer) returns integer
language plpgsql
set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  dead text[];
  crashes json;
begin
  if not only_router and mesh_now() < database_started_at() + grace then
    return 0;
  end if;
  dead := array(
    select h.call_id::text from holds h
    where case when only_router then h.router_id <> reaper else h.expires_at <= mesh_now() end
    order by h.expires_at limit batch_max
  );
  if cardinality(dead) = 0 then
    return 0;
  end if;
  perform lock_books(array_agg(h.account_id::text), array_agg(h.livemode)) from holds h where h.call_id = any (dead);
  -- Some may have been renewed, settled or reaped while the locks were waited for.
  select json_agg(json_build_object(
      'place', h.place, 'call_id', h.call_id, 'account_id', h.account_id, 'livemode', h.livemode,
      'project_id', h.project_id, 'key_id', h.key_id,
      'lineage_id', h.lineage_id, 'parent_lineage_id', h.parent_lineage_id,
      'held_nano', h.held_nano, 'held_tokens', h.held_tokens,
      'total_nano', 0, 'upstream_nano', 0, 'tokens', 0,
      'absorbed', json_build_array(json_build_object('provider', h.provider, 'amount_nano', h.upstream_ceiling_nano)),
      -- A router that is only slow may still post a charge, so its key is freed by forget_idempotency_keys, later.
      'idempotency', case when only_router then 'freed' end, 'created_at', h.created_at,
      'model_requested', h.model, 'model_served', null, 'provider', h.provider, 'price_list_id', h.price_list_id,
      'http_status', 500, 'error_code', 'internal', 'stream', false, 'billing_reason', 'router_crash',
      'usage_source', 'none', 'usage_flags', json_build_array(),
      'buckets', '{"input": 0, "cacheRead": 0, "cacheWrite5m": 0, "cacheWrite1h": 0, "inputAudio": 0,
        "inputImage": 0, "output": 0, "reasoning": 0, "outputAudio": 0, "outputImage": 0}'::json,
      'attempts', json_build_array(), 'routing', json_build_object(), 'privacy', json_build_object(),
      'duration_ms', least(ceil(extract(epoch from mesh_now() - h.created_at) * 1000), 2147483647)
    ) order by h.place)
  into crashes
  from (
    select row_number() over (order by l.call_id) as place, l.*
    from (
      select * from holds h
      where h.call_id = any (dead)
        and case when only_router then h.router_id <> reaper else h.expires_at <= mesh_now() end
      order by h.call_id for update
    ) l
  ) h;
  if crashes is null then
    return 0;
  end if;
  perform settle_calls(crashes);
  return json_array_length(crashes);
end $$;

-- Forgets idempotency keys that are a day old, and those of calls that never came to a charge: their router died
-- before it held anything, or was reaped. A call that runs has a hold; a router that comes back after `patience` to
-- settle what was reaped is not expected any more.
create function forget_idempotency_keys(patience interval) returns void language plpgsql as $$
begin
  delete from idempotency_keys k where k.created_at < mesh_now() - interval '24 hours';
  delete from idempotency_keys k
  where k.state = 'running' and k.created_at < mesh_now() - patience
    and not exists (select from holds h where h.call_id = k.call_id);
end $$;

-- Gives an account credit, once by the entry's id. `conflict` where the id stands for another grant already.
create function post_grant(
  entry mesh_id, account mesh_id, live boolean, amount bigint, why text,
  out outcome text, out balance_after bigint
) language plpgsql as $$
declare
  earlier ledger_entries;
begin
  if amount <= 0 then
    raise exception 'a grant must be positive' using errcode = 'check_violation';
  end if;
  perform lock_books(array[account::text], array[live]);
  select * into earlier from ledger_entries e where e.id = entry;
  if found then
    outcome := case
      when (earlier.kind, earlier.account_id, earlier.livemode, earlier.amount_nano, earlier.reason)
        is not distinct from ('grant', account, live, amount, why) then 'repeated'
      else 'conflict'
    end;
    balance_after := earlier.balance_after_nano;
    return;
  end if;
  update balances set balance_nano = balance_nano + amount
    where account_id = account and livemode = live returning balance_nano into balance_after;
  if not found then
    outcome := 'no_account';
    return;
  end if;
  outcome := 'granted';
  insert into ledger_entries (
    id, transaction_id, kind, ledger_account, account_id, livemode, amount_nano, balance_after_nano, reason, created_at
  ) values
    (entry, entry, 'grant', 'customer', account, live, amount, balance_after, why, mesh_now()),
    (entry || '_2', entry, 'grant', 'grants', account, live, -amount, null, why, mesh_now());
end $$;
