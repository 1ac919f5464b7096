-- What to do where somebody else has a book for longer than batches take: the others of a batch go on without it. The
-- rules of 0002-books.sql hold here too. A batch is posted by hold_calls or settle_calls first, which wait for each
-- lock for a moment and so take turns at an account that many routers use; only after that is it posted by the
-- functions here, which wait for no book.

-- Locks those of some books that nobody else has, and waits for none.
create function lock_free_books(account_ids text[], livemodes boolean[])
returns table (account_id mesh_id, livemode boolean) language sql volatile
set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
  select b.account_id, b.livemode from balances b
  where (b.account_id, b.livemode) in (select * from unnest(account_ids, livemodes))
  order by b.account_id, b.livemode for update skip locked
$$;

-- Locks the free books of a batch. Returns, by place, the place that each of its items has among those whose book is
-- ours now; null where somebody else has it. An account without a book is nobody's to lock.
create function free_places(items json) returns integer[] language plpgsql volatile
set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  account_ids text[];
  livemodes boolean[];
  busy boolean[];
begin
  select array_agg(i.item ->> 'account_id' order by i.place), array_agg((i.item ->> 'livemode')::boolean order by i.place)
  into account_ids, livemodes
  from json_array_elements(items) with ordinality i (item, place);
  busy := array(
    with ours as materialized (select * from lock_free_books(account_ids, livemodes))
    select exists (select from balances b where b.account_id = i.account_id and b.livemode = i.livemode)
      and not exists (select from ours where ours.account_id = i.account_id and ours.livemode = i.livemode)
    from unnest(account_ids, livemodes) with ordinality i (account_id, livemode, place)
    order by i.place
  );
  return array(
    select case when not b.busy then count(*) filter (where not b.busy) over (order by b.place) end::integer
    from unnest(busy) with ordinality b (busy, place)
    order by b.place
  );
end $$;

-- A batch without the items that have no place.
create function items_at(items json, places integer[]) returns json language sql immutable as $$
  select coalesce(
    json_agg(i.item::jsonb || jsonb_build_object('place', places[i.place]) order by i.place), '[]'
  )
  from json_array_elements(items) with ordinality i (item, place)
  where places[i.place] is not null
$$;

-- As hold_calls; the reason `busy` is given where somebody else has the account's book, and nothing was decided.
create function hold_free_calls(requests json, router mesh_id, ttl interval, key_share_basis_points integer)
returns setof hold_decision language plpgsql volatile as $$
declare
  places integer[] := free_places(requests);
  decisions hold_decision[] := array(
    select d from hold_calls(items_at(requests, places), router, ttl, key_share_basis_points) d
  );
  busy hold_decision;
  place integer;
begin
  busy.granted := false;
  busy.reason := 'busy';
  foreach place in array places loop
    return next case when place is null then busy else decisions[place] end;
  end loop;
end $$;

-- As settle_calls; `duplicate` is null where somebody else has the account's book, and nothing was posted.
create function settle_free_calls(settlements json) returns table (ledger_entry_id text, duplicate boolean)
language plpgsql volatile as $$
declare
  places integer[] := free_places(settlements);
begin
  return query
    with settled as materialized (
      select * from settle_calls(items_at(settlements, places)) with ordinality s (ledger_entry_id, duplicate, place)
    )
    select s.ledger_entry_id, s.duplicate
    from unnest(places) with ordinality p (settled_place, place)
    left join settled s on s.place = p.settled_place
    order by p.place;
end $$;

-- Whether an error says something of the moment and nothing of the rows: what was tried is to be tried again. Classes
-- and codes of a transaction that was rolled back (40), a lock that was not to be had (55), a standby (25), resources,
-- an operator's hand, a system error (53, 57, 58), and corruption, which is nobody's settlement (XX).
create function is_passing(state text) returns boolean language sql immutable as $$
  select state ~ '^(25|40|53|55|57|58|XX)'
$$;

-- As restore_holds, without waiting for a book and without failing for the sake of one hold. Returns the calls whose
-- holds were not put back: `busy` where somebody else has the book, `refused` where the database takes that hold from
-- nobody.
create function restore_free_holds(running json, router mesh_id, ttl interval)
returns table (call_id text, outcome text) language plpgsql volatile as $$
declare
  places integer[] := free_places(running);
  ours json := items_at(running, places);
  one json;
begin
  return query
    select i.item ->> 'call_id', 'busy'
    from json_array_elements(running) with ordinality i (item, place)
    where places[i.place] is null;
  begin
    perform restore_holds(ours, router, ttl);
    return;
  exception when others then
    if is_passing(sqlstate) then
      raise;
    end if;
  end;
  for one in select item from json_array_elements(ours) item loop
    begin
      perform restore_holds(json_build_array(one), router, ttl);
    exception when others then
      if is_passing(sqlstate) then
        raise;
      end if;
      call_id := one ->> 'call_id';
      outcome := 'refused';
      return next;
    end;
  end loop;
end $$;

-- Whether a hold is to be released: see release_holds.
create function is_dead(h holds, whose text, router mesh_id, moment timestamptz) returns boolean
language sql immutable as $$
  select case whose
    when 'expired' then h.expires_at <= moment
    when 'of_router' then h.router_id = router
    when 'of_other_routers' then h.router_id <> router
  end
$$;

-- Settles calls, one by one where they are refused together, and keeps the settlements of those that are refused alone:
-- one row at fault must not keep the holds of all others from being released. Returns how many were settled.
create function settle_each(settlements json) returns integer language plpgsql volatile as $$
declare
  one jsonb;
  settled integer := 0;
begin
  begin
    perform settle_calls(settlements);
    return json_array_length(settlements);
  exception when others then
    if is_passing(sqlstate) then
      raise;
    end if;
  end;
  for one in select item from json_array_elements(settlements) item loop
    begin
      perform settle_calls(json_build_array(one || '{"place": 1}'));
      settled := settled + 1;
    exception when others then
      if is_passing(sqlstate) then
        raise;
      end if;
      insert into refused_settlements (call_id, settlement) values (one ->> 'call_id', one::text)
        on conflict do nothing;
    end;
  end loop;
  return settled;
end $$;

-- As in 0004-dead-routers.sql, without waiting for books that somebody else has, and past holds that cannot be released.
-- Expired is what has expired at `as_of`, which whoever looks after the clock has found to be no jump; else at mesh_now().
create function release_holds(whose text, router mesh_id, grace interval, batch_max integer, as_of timestamptz)
returns integer
language plpgsql
set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  moment constant timestamptz := least(as_of, mesh_now());
  account_ids text[];
  livemodes boolean[];
  dead text[];
  crashes json;
begin
  if whose = 'expired' and mesh_now() < database_started_at() + grace then
    return 0;
  end if;
  select array_agg(f.account_id::text), array_agg(f.livemode) into account_ids, livemodes
  from (
    select array_agg(d.account_id::text) as account_ids, array_agg(d.livemode) as livemodes
    from (
      select distinct h.account_id, h.livemode from holds h where is_dead(h, whose, router, moment)
    ) d
  ) d
  cross join lateral lock_free_books(d.account_ids, d.livemodes) f;
  if account_ids is null then
    return 0;
  end if;
  -- What could not be released before comes last, so that it is not in the way of the others.
  dead := array(
    select h.call_id::text from holds h
    where is_dead(h, whose, router, moment)
      and (h.account_id, h.livemode) in (select * from unnest(account_ids, livemodes))
    order by exists (select from refused_settlements r where r.call_id = h.call_id), h.expires_at limit batch_max
  );
  -- Some may have been renewed, settled or reaped while the books were looked for.
  select json_agg(json_build_object(
      'place', h.place, 'call_id', h.call_id, 'account_id', h.account_id, 'livemode', h.livemode,
      'project_id', h.project_id, 'key_id', h.key_id,
      'lineage_id', h.lineage_id, 'parent_lineage_id', h.parent_lineage_id,
      'held_nano', h.held_nano, 'held_tokens', h.held_tokens,
      'total_nano', 0, 'upstream_nano', 0, 'tokens', 0,
      'absorbed', json_build_array(json_build_object('provider', h.provider, 'amount_nano', h.upstream_ceiling_nano)),
      -- A router that is only slow may still post a charge, so its key is freed by forget_idempotency_keys, later.
      'idempotency', case when whose <> 'expired' then 'freed' end, 'created_at', h.created_at,
      'model_requested', h.model, 'model_served', null, 'provider', h.provider, 'price_list_id', h.price_list_id,
      'http_status', 500, 'error_code', 'internal', 'stream', false, 'billing_reason', 'router_crash',
      'usage_source', 'none', 'usage_flags', json_build_array(),
      'buckets', '{"input": 0, "cacheRead": 0, "cacheWrite5m": 0, "cacheWrite1h": 0, "inputAudio": 0,
        "inputImage": 0, "output": 0, "reasoning": 0, "outputAudio": 0, "outputImage": 0}'::json,
      'attempts', json_build_array(), 'routing', json_build_object(), 'privacy', json_build_object(),
      'duration_ms', greatest(0, least(ceil(extract(epoch from mesh_now() - h.created_at) * 1000), 2147483647))
    ) order by h.place)
  into crashes
  from (
    select row_number() over (order by l.call_id) as place, l.*
    from (
      select * from holds h
      where h.call_id = any (dead) and is_dead(h, whose, router, moment)
      order by h.call_id for update
    ) l
  ) h;
  if crashes is null then
    return 0;
  end if;
  return settle_each(crashes);
end $$;

create or replace function release_holds(whose text, router mesh_id, grace interval, batch_max integer) returns integer
language sql volatile as $$ select release_holds(whose, router, grace, batch_max, null) $$;

-- Whether holds are left that release_holds would release but for their books, which somebody else has.
create function dead_holds_rest(whose text, router mesh_id, grace interval, as_of timestamptz) returns boolean
language plpgsql volatile as $$
begin
  return (whose <> 'expired' or mesh_now() >= database_started_at() + grace)
    and exists (
      select from holds h
      where is_dead(h, whose, router, least(as_of, mesh_now()))
        and not exists (select from refused_settlements r where r.call_id = h.call_id)
    );
end $$;

-- Forgets idempotency keys that are a day old, and those of calls that never came to a charge. Never that of a call
-- that still runs, which has a hold, whatever the clock says: it could run a second time. `as_of` as for release_holds.
create function forget_idempotency_keys(patience interval, as_of timestamptz) returns void language plpgsql as $$
begin
  delete from idempotency_keys k
  where k.created_at < least(as_of, mesh_now()) - interval '24 hours'
    and not exists (select from holds h where h.call_id = k.call_id);
  delete from idempotency_keys k
  where k.state = 'running' and k.created_at < least(as_of, mesh_now()) - patience
    and not exists (select from holds h where h.call_id = k.call_id);
end $$;

create or replace function forget_idempotency_keys(patience interval) returns void language sql volatile
as $$ select forget_idempotency_keys(patience, null) $$;

-- Whether what was counted in a minute still counts in the present one. Two batches may see the clock a little apart,
-- so the next minute does too; a minute further ahead is of a clock that was set back since, and would stand in a rate
-- limit's way until the time came round again.
create function counts_now(counted_in timestamptz, present timestamptz) returns boolean language sql immutable as $$
  select counted_in >= present and counted_in <= present + interval '1 minute'
$$;

-- As in 0002-books.sql but for that.
create or replace function count_growth(growth counter_growth[], moment timestamptz) returns void language plpgsql as $$
begin
  insert into counters as kept (
    subject_id, livemode, account_id,
    minute_start, minute_requests, minute_tokens, day_start, day_nano,
    month_start, month_requests, month_tokens, month_nano, total_nano, held_nano, active_requests
  )
  select g.subject_id, g.livemode, g.account_id,
    window_start('minute', moment), g.calls, g.tokens, window_start('day', moment), g.nano,
    window_start('month', moment), g.calls, g.tokens, g.nano, g.nano, g.held_nano, g.active
  from unnest(growth) g
  on conflict (subject_id, livemode) do update set
    minute_start = case when counts_now(kept.minute_start, excluded.minute_start)
      then kept.minute_start else excluded.minute_start end,
    minute_requests = excluded.minute_requests
      + case when counts_now(kept.minute_start, excluded.minute_start) then kept.minute_requests else 0 end,
    minute_tokens = excluded.minute_tokens
      + case when counts_now(kept.minute_start, excluded.minute_start) then kept.minute_tokens else 0 end,
    day_start = greatest(kept.day_start, excluded.day_start),
    day_nano = excluded.day_nano + case when kept.day_start >= excluded.day_start then kept.day_nano else 0 end,
    month_start = greatest(kept.month_start, excluded.month_start),
    month_requests = excluded.month_requests
      + case when kept.month_start >= excluded.month_start then kept.month_requests else 0 end,
    month_tokens = excluded.month_tokens
      + case when kept.month_start >= excluded.month_start then kept.month_tokens else 0 end,
    month_nano = excluded.month_nano
      + case when kept.month_start >= excluded.month_start then kept.month_nano else 0 end,
    total_nano = kept.total_nano + excluded.total_nano,
    held_nano = kept.held_nano + excluded.held_nano,
    active_requests = kept.active_requests + excluded.active_requests;
end $$;

-- As in 0002-books.sql but for that.
create or replace function subject_rooms(asked hold_request[], moment timestamptz) returns setof subject_room
language sql stable as $$
  with subject as (
    select distinct s.subject_id, s.scope, r.livemode, r.account_id
    from unnest(asked) r
    cross join lateral (
      values (r.account_id, 'account'), (r.project_id, 'project'), (r.lineage_id, 'key'), (r.parent_lineage_id, 'key')
    ) s (subject_id, scope)
    where s.subject_id is not null
  ), used as (
    select s.*, coalesce(c.held_nano, 0) as held_nano, coalesce(c.active_requests, 0) as active_requests,
      coalesce(c.total_nano, 0) as total_nano,
      case when counts_now(c.minute_start, window_start('minute', moment)) then c.minute_requests else 0 end as minute_requests,
      case when counts_now(c.minute_start, window_start('minute', moment)) then c.minute_tokens else 0 end as minute_tokens,
      case when c.day_start >= window_start('day', moment) then c.day_nano else 0 end as day_nano,
      case when c.month_start >= window_start('month', moment) then c.month_requests else 0 end as month_requests,
      case when c.month_start >= window_start('month', moment) then c.month_tokens else 0 end as month_tokens,
      case when c.month_start >= window_start('month', moment) then c.month_nano else 0 end as month_nano
    from subject s left join counters c on c.subject_id = s.subject_id and c.livemode = s.livemode
  )
  select u.subject_id, u.livemode, u.account_id, u.scope, coalesce(l.expires_at <= moment, false),
    l.requests_per_minute - u.minute_requests, l.monthly_request_limit - u.month_requests,
    l.max_concurrent_requests - u.active_requests,
    l.tokens_per_minute - u.minute_tokens, l.monthly_token_limit - u.month_tokens,
    l.daily_nano - u.day_nano, l.monthly_nano - u.month_nano, l.total_nano - u.total_nano, l.max_nano_per_request,
    l.requests_per_minute, l.tokens_per_minute, u.held_nano
  from used u left join limits l on l.subject_id = u.subject_id
$$;
