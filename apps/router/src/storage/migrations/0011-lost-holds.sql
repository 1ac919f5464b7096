-- Holds commit without waiting for the disk, so a crash of PostgreSQL can lose them, and where several routers share the
-- books another one may give the money away before theirs puts them back. What is spent by then is not put back, and the
-- call is charged only where its account and limits still carry it: as one whose router stood still, of which
-- 0010-late-charges.sql speaks. The rules of 0002-books.sql hold here too.

-- What a call takes of its account beyond what is held for it. Those that come `last` get what the others leave.
create type taking as (
  place integer,
  last boolean,
  account_id mesh_id,
  livemode boolean,
  project_id mesh_id,
  lineage_id mesh_id,
  parent_lineage_id mesh_id,
  nano bigint
);

-- The places of those takings that balances and limits do not carry, whole as they are and after those before them.
-- The books of all accounts in question are locked.
create function places_beyond(takings taking[], moment timestamptz) returns integer[] language plpgsql stable as $$
declare
  rooms subject_room[];
begin
  if cardinality(takings) = 0 then
    return '{}';
  end if;
  rooms := array(
    select room from subject_rooms(
      array(select jsonb_populate_record(null::hold_request, to_jsonb(t)) from unnest(takings) t), moment) room
  );
  return array(
    with of_book as (
      select t.*, sum(t.nano) over (partition by t.account_id, t.livemode order by t.last, t.place) as needed
      from unnest(takings) t
    ), of_subject as (
      select t.place, least(room.day_nano, room.month_nano, room.total_nano) as room,
        sum(t.nano) over (partition by x.subject_id, t.livemode order by t.last, t.place) as needed
      from unnest(takings) t
      cross join lateral (values (t.account_id), (t.project_id), (t.lineage_id), (t.parent_lineage_id)) x (subject_id)
      join unnest(rooms) room on room.subject_id = x.subject_id and room.livemode = t.livemode
    )
    select t.place from of_book t
    join balances b on b.account_id = t.account_id and b.livemode = t.livemode
    where t.needed > b.balance_nano - b.held_nano
      or exists (select from of_subject o where o.place = t.place and o.needed > o.room)
  );
end $$;

-- As in 0003-settlements.sql; a call whose caller was told that nothing is charged is not settled a second time.
drop function event_ids_for(settlement[]);
alter function event_ids_of_unsettled(settlement[]) rename to event_ids_for;
create or replace function event_ids_for(asked settlement[]) returns text[] language plpgsql stable as $$
begin
  return array(
    select case
      when s.turn > 1 then null
      when e.id is null then s.call_id
      when e.billing_reason = 'router_crash' and s.billing_reason <> 'router_crash'
        and e.error_code is distinct from 'storage_unavailable'
        and not exists (select from events late where late.id = s.call_id || '_late') then s.call_id || '_late'
    end
    from (select *, row_number() over (partition by call_id order by place) as turn from unnest(asked)) s
    left join events e on e.id = s.call_id
    order by s.place
  );
end $$;

-- The places of those calls of a batch that can no longer be paid: they take more than their holds, and that is spent,
-- or their idempotency key was forgotten, so that it may have been charged again. Late settlements come last.
drop function unpayable_places(settlement[], text[], timestamptz);
create function unpayable_places(asked settlement[], event_ids text[], moment timestamptz) returns integer[]
language plpgsql stable as $$
declare
  takings taking[] := array(
    select row(s.place, event_ids[s.place] <> s.call_id, s.account_id, s.livemode, s.project_id, s.lineage_id,
      s.parent_lineage_id, s.total_nano - coalesce(h.held_nano, 0))::taking
    from unnest(asked) s left join holds h on h.call_id = s.call_id
    where event_ids[s.place] is not null and s.total_nano > coalesce(h.held_nano, 0)
  );
  forgotten integer[] := array(
    select t.place from unnest(takings) t join unnest(asked) s on s.place = t.place
    where s.idempotency = 'billed' and not exists (select from idempotency_keys k where k.call_id = s.call_id)
  );
begin
  return forgotten || places_beyond(array(select t from unnest(takings) t where t.place <> all (forgotten)), moment);
end $$;

-- The settlement of a call that can no longer be paid: its cost is the house's, and no receipt says otherwise.
create function unpaid(s settlement) returns settlement language plpgsql immutable as $$
begin
  if s.upstream_nano > 0 then
    s.absorbed := s.absorbed || jsonb_build_object('provider', s.payable_to, 'amount_nano', s.upstream_nano);
  end if;
  s.total_nano := 0;
  s.upstream_nano := 0;
  s.tokens := 0;
  s.receipt_id := null;
  s.receipt_payload := null;
  s.idempotency := case when s.idempotency is not null then 'freed' end;
  s.billing_reason := 'router_crash';
  s.http_status := 503;
  s.error_code := 'storage_unavailable';
  return s;
end $$;

-- The holds of a batch that ends them, with what is used of each.
create function ended_holds(asked settlement[], event_ids text[]) returns ended_hold[] language plpgsql stable as $$
begin
  -- Without their locks: what counts of a hold is changed by nobody but him who has its book. Whoever renews one is
  -- waited for where it is deleted.
  return array(
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
end $$;

-- As in 0009-leaner-books.sql. A call that can no longer be paid has no entry: where it was reaped it keeps the event
-- of that, and else its event says what became of it.
create or replace function settle_calls(settlements json) returns table (ledger_entry_id text, duplicate boolean)
language plpgsql
set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  asked settlement[] := array(select s from json_populate_recordset(null::settlement, settlements) s);
  event_ids text[];
  ended ended_hold[];
  unheld counter_growth[];
  moment timestamptz;
  unpayable integer;
begin
  perform lock_books(array_agg(s.account_id::text), array_agg(s.livemode)) from unnest(asked) s;
  moment := mesh_now();
  event_ids := event_ids_for(asked);
  ended := ended_holds(asked, event_ids);
  -- Nearly every call has its hold, and uses no more.
  if cardinality(ended) < cardinality(asked)
    or exists (select from unnest(ended) h where h.used_nano > h.held_nano) then
    foreach unpayable in array unpayable_places(asked, event_ids, moment) loop
      if event_ids[unpayable] = asked[unpayable].call_id then
        asked[unpayable] := unpaid(asked[unpayable]);
      else
        event_ids[unpayable] := null;
      end if;
    end loop;
    ended := ended_holds(asked, event_ids);
  end if;

  perform record_events(asked, event_ids);
  perform post_entries(asked, event_ids, moment);
  perform correct_counters(ended);
  if cardinality(ended) < cardinality(asked) then
    unheld := growth_without_hold(asked, event_ids, ended);
    if unheld is not null then
      perform count_growth(unheld, moment);
    end if;
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

-- The places of those lost holds that cannot be put back, because others have spent what they held meanwhile. The books
-- of all of them are locked.
create function spent_places(running json) returns integer[] language plpgsql stable as $$
begin
  return places_beyond(array(
    select row(r.place, false, r.account_id, r.livemode, r.project_id, r.lineage_id, r.parent_lineage_id,
      r.held_nano - coalesce(h.held_nano, 0))::taking
    from rows from (json_populate_recordset(null::running_hold, running)) with ordinality r (
      call_id, account_id, livemode, project_id, key_id, lineage_id, parent_lineage_id,
      held_nano, held_tokens, upstream_ceiling_nano, model, provider, price_list_id, place
    )
    left join holds h on h.call_id = r.call_id
    where r.held_nano > coalesce(h.held_nano, 0) and not exists (select from events e where e.id = r.call_id)
  ), mesh_now());
end $$;

-- As in 0005-busy-books.sql; also `spent`, where others have spent meanwhile what the hold held.
create or replace function restore_free_holds(running json, router mesh_id, ttl interval)
returns table (call_id text, outcome text) language plpgsql volatile as $$
declare
  places integer[] := free_places(running);
  ours json := items_at(running, places);
  spent integer[] := spent_places(ours);
  one json;
begin
  return query
    select i.item ->> 'call_id', 'busy'
    from json_array_elements(running) with ordinality i (item, place)
    where places[i.place] is null
    union all
    select i.item ->> 'call_id', 'spent'
    from json_array_elements(ours) with ordinality i (item, place)
    where i.place = any (spent);
  ours := coalesce((
    select json_agg(i.item order by i.place) from json_array_elements(ours) with ordinality i (item, place)
    where i.place <> all (spent)
  ), '[]');
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
