-- The functions of 0002-books.sql and 0003-settlements.sql that most of a call's time in the database goes to, with the
-- same results at less cost: what few calls need (absorbed costs, late settlements, idempotency keys, holds that are
-- gone) is looked for once a batch and not once a call. The rules of 0002-books.sql hold here too.

-- As in 0002-books.sql.
create or replace function hold_calls(requests json, router mesh_id, ttl interval, key_share_basis_points integer)
returns setof hold_decision language plpgsql volatile
set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  -- More than any limit leaves, and small enough to be added to.
  unlimited constant bigint := 4000000000000000000;
  -- More than any call costs; a thousand times it is still a bigint.
  nano_max constant bigint := 4000000000000000;
  asked hold_request[] := array(select r from json_populate_recordset(null::hold_request, requests) r);
  moment timestamptz;
  -- By subject, in the order of their ids: its room, the least that its limits leave of each measure, and what this
  -- batch has taken.
  rooms subject_room[];
  calls_room bigint[];
  tokens_room bigint[];
  nano_room bigint[];
  call_nano_room bigint[];
  -- The same of the windows that rate-limit headers tell of. Arrays of numbers, for a field of a room in an array of
  -- rooms costs ten times as much to read.
  minute_requests_room bigint[];
  minute_tokens_room bigint[];
  calls_taken bigint[];
  tokens_taken bigint[];
  nano_taken bigint[];
  -- The four subjects of each request, one request after the other: account, project, key and the key's maker.
  subject_slots integer[];
  -- By request: what it is granted; -1 is nothing.
  granted_nano bigint[] := array_fill(-1::bigint, array[cardinality(asked)]);
  granted_tokens bigint[] := granted_nano;
  no_subject integer;
  any_rates boolean;
  rest_ms bigint;
  request record;
  decision hold_decision;
  slots integer[];
  slot integer;
  stale boolean;
  calls_left bigint;
  tokens_left bigint;
  balance_left bigint;
  share_left bigint;
  nano_left bigint;
  output_by_tokens bigint;
  output_by_nano bigint;
  output bigint;
  nano bigint;
  tokens bigint;
begin
  perform lock_books(array_agg(r.account_id::text), array_agg(r.livemode)) from unnest(asked) r;
  moment := mesh_now();
  rest_ms := window_rest_ms('minute', moment);
  select array_agg(room),
    array_agg(case when room.expired then -unlimited
      else coalesce(least(room.minute_requests, room.month_requests, room.concurrent_requests), unlimited) end),
    array_agg(coalesce(least(room.minute_tokens, room.month_tokens), unlimited)),
    array_agg(coalesce(least(room.day_nano, room.month_nano, room.total_nano), unlimited)),
    array_agg(coalesce(room.max_nano_per_request, unlimited)),
    array_agg(coalesce(room.minute_requests, unlimited)), array_agg(coalesce(room.minute_tokens, unlimited)),
    coalesce(bool_or(room.requests_per_minute is not null or room.tokens_per_minute is not null), false)
  into rooms, calls_room, tokens_room, nano_room, call_nano_room,
    minute_requests_room, minute_tokens_room, any_rates
  from (
    select * from subject_rooms(asked, moment) order by subject_id collate "C", livemode, account_id collate "C"
  ) room;
  -- One more subject, without limits, stands where a key has no maker.
  no_subject := coalesce(cardinality(rooms), 0) + 1;
  calls_room[no_subject] := unlimited;
  tokens_room[no_subject] := unlimited;
  nano_room[no_subject] := unlimited;
  call_nano_room[no_subject] := unlimited;
  calls_taken := array_fill(0::bigint, array[no_subject]);
  tokens_taken := calls_taken;
  nano_taken := calls_taken;
  subject_slots := array(
    select least(no_subject,
      dense_rank() over (order by s.subject_id collate "C" nulls last, r.livemode, r.account_id collate "C"))::integer
    from unnest(asked) r
    cross join lateral (values (1, r.account_id), (2, r.project_id), (3, r.lineage_id), (4, r.parent_lineage_id))
      s (role, subject_id)
    order by r.place, s.role
  );

  for request in
    select r.place, r.kind, r.input_nano, r.input_tokens, r.output_pico,
      r.output_tokens_held, r.output_tokens_wanted, r.output_tokens_floor,
      coalesce(b.balance_nano, 0) as balance_nano, coalesce(b.balance_nano - b.held_nano, 0) as free_nano,
      case when r.kind = 'extend' then coalesce(h.held_nano, 0) else 0 end as held_nano,
      (
        a.status = 'active' and k.revoked_at is null
        -- What began before a key's time was up may end after it.
        and (r.kind = 'extend' or coalesce(k.stops_at > moment, true))
        and k.account_id = r.account_id and k.livemode = r.livemode and k.project_id = r.project_id
        and k.lineage_id = r.lineage_id and k.parent_lineage_id is not distinct from r.parent_lineage_id
        and case r.kind
          when 'hold' then a.policy_version = r.policy_version
          else h.account_id = r.account_id and h.livemode = r.livemode
        end
      ) is not true as stale
    from unnest(asked) r
    -- Each by its primary key alone: with a second condition the planner may take another index, which grows.
    left join accounts a on a.id = r.account_id
    left join balances b on b.account_id = r.account_id and b.livemode = r.livemode
    left join api_keys k on k.id = r.key_id
    left join holds h on h.call_id = r.call_id
    order by r.place
  loop
    slots := subject_slots[4 * request.place - 3 : 4 * request.place];
    stale := request.stale;
    calls_left := unlimited;
    tokens_left := unlimited;
    nano_left := nano_max;
    foreach slot in array slots loop
      stale := stale or (request.kind = 'hold' and calls_room[slot] = -unlimited);
      calls_left := least(calls_left, calls_room[slot] - calls_taken[slot]);
      tokens_left := least(tokens_left, tokens_room[slot] - tokens_taken[slot]);
      nano_left := least(nano_left, nano_room[slot] - nano_taken[slot], call_nano_room[slot] - request.held_nano);
    end loop;
    decision := null;
    decision.granted := false;
    decision.held_nano := request.held_nano;
    decision.output_tokens := request.output_tokens_held;
    if stale then
      decision.reason := 'stale';
      return next decision;
      continue;
    end if;
    balance_left := request.free_nano - nano_taken[slots[1]];
    share_left := case when key_share_basis_points < 10000 then
      request.balance_nano / 10000 * key_share_basis_points
      + request.balance_nano % 10000 * key_share_basis_points / 10000
      - (rooms[slots[3]]).held_nano - nano_taken[slots[3]]
    end;
    nano_left := least(nano_left, balance_left, share_left);

    output_by_tokens := tokens_left - request.input_tokens + request.output_tokens_held;
    output_by_nano := case
      when nano_left < request.input_nano then -1
      when request.output_pico = 0 then unlimited
      else (nano_left - request.input_nano + tokens_nano(request.output_tokens_held, request.output_pico)) * 1000
        / request.output_pico
    end;
    output := least(request.output_tokens_wanted, output_by_tokens, output_by_nano);
    -- What is in the way is named where it refuses the call, and where it only lowers the output.
    if output < request.output_tokens_wanted and output_by_nano <= output_by_tokens then
      decision := tightest_limit('nano', array(select rooms[s] from unnest(slots) s),
        array(select nano_taken[s] from unnest(slots) s), request.held_nano, balance_left, share_left, moment);
      decision.needed_nano := request.input_nano + tokens_nano(request.output_tokens_floor, request.output_pico);
      decision.available_nano := greatest(nano_left, 0);
    elsif output < request.output_tokens_wanted then
      decision := tightest_limit('tokens', array(select rooms[s] from unnest(slots) s),
        array(select tokens_taken[s] from unnest(slots) s), null, null, null, moment);
    end if;
    if output >= request.output_tokens_floor and request.kind = 'hold' and calls_left < 1 then
      decision := tightest_limit('calls', array(select rooms[s] from unnest(slots) s),
        array(select calls_taken[s] from unnest(slots) s), null, null, null, moment);
    elsif output >= request.output_tokens_floor then
      nano := request.input_nano + tokens_nano(output, request.output_pico)
        - tokens_nano(request.output_tokens_held, request.output_pico);
      tokens := request.input_tokens + output - request.output_tokens_held;
      granted_nano[request.place] := nano;
      granted_tokens[request.place] := tokens;
      foreach slot in array slots loop
        calls_taken[slot] := calls_taken[slot] + case request.kind when 'hold' then 1 else 0 end;
        tokens_taken[slot] := tokens_taken[slot] + tokens;
        nano_taken[slot] := nano_taken[slot] + nano;
      end loop;
      decision.granted := true;
      decision.held_nano := request.held_nano + nano;
      decision.output_tokens := output;
    else
      decision.held_nano := request.held_nano;
      decision.output_tokens := request.output_tokens_held;
    end if;

    decision.reset_ms := rest_ms;
    if any_rates then
      foreach slot in array slots loop
        continue when slot = no_subject;
        if minute_requests_room[slot] < unlimited
          and minute_requests_room[slot] - calls_taken[slot] < coalesce(decision.requests_remaining, unlimited) then
          decision.request_limit := (rooms[slot]).requests_per_minute;
          decision.requests_remaining := minute_requests_room[slot] - calls_taken[slot];
        end if;
        if minute_tokens_room[slot] < unlimited
          and minute_tokens_room[slot] - tokens_taken[slot] < coalesce(decision.tokens_remaining, unlimited) then
          decision.token_limit := (rooms[slot]).tokens_per_minute;
          decision.tokens_remaining := minute_tokens_room[slot] - tokens_taken[slot];
        end if;
      end loop;
    end if;
    return next decision;
  end loop;

  perform write_holds(asked, granted_nano, granted_tokens, router, ttl, moment);
  perform count_growth(array(
    select row(s.subject_id, s.livemode, s.account_id, calls_taken[s.ordinality], tokens_taken[s.ordinality],
      nano_taken[s.ordinality], nano_taken[s.ordinality], calls_taken[s.ordinality])::counter_growth
    from unnest(rooms) with ordinality s
    where calls_taken[s.ordinality] > 0 or tokens_taken[s.ordinality] > 0 or nano_taken[s.ordinality] > 0
  ), moment);
end $$;

-- As in 0003-settlements.sql.
create or replace function record_events(asked settlement[], event_ids text[]) returns void language plpgsql as $$
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
    s.held_nano, s.upstream_nano, s.total_nano - s.upstream_nano, s.total_nano,
    case when s.absorbed = '[]' then 0
      else (select coalesce(sum((a ->> 'amount_nano')::bigint), 0) from jsonb_array_elements(s.absorbed) a) end
    -- A late settlement takes back what was booked as absorbed when its hold was reaped.
    - case when event_ids[s.place] = s.call_id then 0
      else (select coalesce(sum(reaped.absorbed_nano), 0) from events reaped where reaped.id = s.call_id) end,
    s.price_list_id, s.dispatched_at, s.attempts, s.routing, s.privacy, s.receipt_id, s.first_token_ms, s.duration_ms
  from unnest(asked) s
  where event_ids[s.place] is not null
  order by s.place;

  insert into receipts (id, call_id, account_id, livemode, payload, payload_sha256, created_at)
  select s.receipt_id, s.call_id, s.account_id, s.livemode, payload, sha256(payload), s.created_at
  from unnest(asked) s cross join lateral decode(s.receipt_payload, 'base64') payload
  where s.receipt_id is not null and event_ids[s.place] is not null;

  if not exists (select from unnest(asked) s where s.idempotency is not null) then
    return;
  end if;
  update idempotency_keys k set state = 'billed', receipt_id = s.receipt_id, total_nano = s.total_nano
  from unnest(asked) s
  where k.call_id = s.call_id and s.idempotency = 'billed' and event_ids[s.place] is not null;
  delete from idempotency_keys k using unnest(asked) s
  where k.call_id = s.call_id and s.idempotency = 'freed' and event_ids[s.place] is not null;
end $$;

-- As in 0003-settlements.sql. Either statement leaves every transaction at zero.
create or replace function post_entries(asked settlement[], event_ids text[], moment timestamptz) returns void
language plpgsql as $$
begin
  insert into ledger_entries (
    id, transaction_id, kind, ledger_account, account_id, livemode, amount_nano, balance_after_nano, call_id, created_at
  )
  select s.led || case when e.place > 1 then '_' || e.place + case when s.late then 100 else 0 end else '' end,
    s.event_id, case when s.total_nano = 0 and s.upstream_nano = 0 then 'absorbed' else 'usage' end,
    e.ledger_account, s.account_id, s.livemode, e.amount_nano,
    case when e.place = 1 then b.balance_nano - s.total_until end, s.call_id, moment
  from (
    select s.*, event_ids[s.place] as event_id, 'led_' || substr(s.call_id, 5) as led,
      event_ids[s.place] <> s.call_id as late,
      sum(s.total_nano) over (partition by s.account_id, s.livemode order by s.place) as total_until
    from unnest(asked) s
    where event_ids[s.place] is not null
  ) s
  join balances b on b.account_id = s.account_id and b.livemode = s.livemode
  cross join lateral (
    values (1, 'customer', -s.total_nano), (2, 'revenue', s.total_nano),
      (3, 'cost_of_sales', -s.upstream_nano), (4, 'payable:' || s.payable_to, s.upstream_nano)
  ) e (place, ledger_account, amount_nano)
  where e.amount_nano <> 0;

  if not exists (select from unnest(asked) s where s.absorbed <> '[]' or event_ids[s.place] <> s.call_id) then
    return;
  end if;
  insert into ledger_entries (
    id, transaction_id, kind, ledger_account, account_id, livemode, amount_nano, balance_after_nano, call_id, created_at
  )
  select s.led || '_' || e.place + case when s.late then 100 else 0 end,
    s.event_id, case when s.total_nano = 0 and s.upstream_nano = 0 then 'absorbed' else 'usage' end,
    e.ledger_account, s.account_id, s.livemode, e.amount_nano, null, s.call_id, moment
  from (
    select s.*, event_ids[s.place] as event_id, 'led_' || substr(s.call_id, 5) as led,
      event_ids[s.place] <> s.call_id as late
    from unnest(asked) s
    where event_ids[s.place] is not null and (s.absorbed <> '[]' or event_ids[s.place] <> s.call_id)
  ) s
  cross join lateral (
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

-- As in 0003-settlements.sql.
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
begin
  perform lock_books(array_agg(s.account_id::text), array_agg(s.livemode)) from unnest(asked) s;
  moment := mesh_now();
  event_ids := event_ids_for(asked);
  -- Without their locks: what counts of a hold is changed by nobody but him who has its book. Whoever renews one is
  -- waited for where it is deleted.
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
