-- The functions that change money and counters. They hold to four rules:
-- 1. Whoever changes a book locks its row of `balances` first, all books of a batch in one order (lock_books), and
--    rows of `holds` after that in the order of their ids. So no two batches wait for each other in a circle.
-- 2. What a decision rests on is read after the locks, in a later statement: under READ COMMITTED every statement of
--    a volatile function has a snapshot of its own. One statement that locks and reads would decide on a snapshot
--    from before it waited.
-- 3. Time is the database's, read after the locks. now() is the moment before them.
-- 4. A whole batch is one statement of the client, so it is posted or it is not.
-- Batches are arrays, and what is decided of them are arrays of the same order, read by subscript: joining arrays would
-- compare each element with each. The entry functions plan once and by index, whatever the statistics say: a plan made
-- while a table is small reads all of it for every call when it has grown. (`jit` because the planner's costs are then
-- beyond any measure.)

-- The clock of the books, and the only one. Tests replace this function in their own database to move time.
create function mesh_now() returns timestamptz language sql volatile as 'select clock_timestamp()';

-- The start of the minute, day or month of a moment. Windows are calendar windows in UTC.
create function window_start(size text, moment timestamptz) returns timestamptz language sql immutable
  as $$ select date_trunc(size, moment, 'UTC') $$;

-- Milliseconds until that window ends.
create function window_rest_ms(size text, moment timestamptz) returns bigint language sql immutable
  as $$
    select ceil(extract(epoch from
      (date_trunc(size, moment, 'UTC') at time zone 'UTC' + ('1 ' || size)::interval) at time zone 'UTC' - moment
    ) * 1000)::bigint
  $$;

-- Tokens at a price in pico-USD, rounded up to nano-USD.
create function tokens_nano(tokens bigint, pico bigint) returns bigint language sql immutable
  as $$ select (tokens * pico + 999) / 1000 $$;

-- Locks books in the one order that everything here takes them in.
create function lock_books(account_ids text[], livemodes boolean[]) returns void language plpgsql as $$
begin
  perform from balances
    where (account_id, livemode) in (select * from unnest(account_ids, livemodes))
    order by account_id, livemode for update;
end $$;

-- What a subject's counters are to grow by. `calls` and `tokens` count in windows, `held_nano` and `active` are
-- what runs at the moment.
create type counter_growth as (
  subject_id mesh_id,
  livemode boolean,
  account_id mesh_id,
  calls bigint,
  tokens bigint,
  nano bigint,
  held_nano bigint,
  active bigint
);

-- Counts in the windows of a moment, from zero where a window has begun since; makes rows that are not there.
-- The books of all accounts in question are locked.
create function count_growth(growth counter_growth[], moment timestamptz) returns void language plpgsql as $$
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
    minute_start = greatest(kept.minute_start, excluded.minute_start),
    minute_requests = excluded.minute_requests
      + case when kept.minute_start >= excluded.minute_start then kept.minute_requests else 0 end,
    minute_tokens = excluded.minute_tokens
      + case when kept.minute_start >= excluded.minute_start then kept.minute_tokens else 0 end,
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

-- A call that asks for money: a new hold, or a wider one for a call that runs. `place` is its place in the batch.
create type hold_request as (
  place integer,
  kind text,
  call_id mesh_id,
  account_id mesh_id,
  livemode boolean,
  project_id mesh_id,
  key_id mesh_id,
  lineage_id mesh_id,
  parent_lineage_id mesh_id,
  policy_version bigint,
  input_nano bigint,
  input_tokens bigint,
  output_pico bigint,
  output_tokens_held bigint,
  output_tokens_wanted bigint,
  output_tokens_floor bigint,
  upstream_ceiling_nano bigint,
  upstream_pico bigint,
  model text,
  provider text,
  price_list_id text
);

-- What the limits of one subject leave before a batch; null is no limit.
create type subject_room as (
  subject_id mesh_id,
  livemode boolean,
  account_id mesh_id,
  scope text,
  expired boolean,
  minute_requests bigint,
  month_requests bigint,
  concurrent_requests bigint,
  minute_tokens bigint,
  month_tokens bigint,
  day_nano bigint,
  month_nano bigint,
  total_nano bigint,
  max_nano_per_request bigint,
  requests_per_minute bigint,
  tokens_per_minute bigint,
  held_nano bigint
);

-- The room of every subject of a batch: accounts, projects, key lineages and the lineages of keys that made keys.
create function subject_rooms(asked hold_request[], moment timestamptz) returns setof subject_room
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
      case when c.minute_start >= window_start('minute', moment) then c.minute_requests else 0 end as minute_requests,
      case when c.minute_start >= window_start('minute', moment) then c.minute_tokens else 0 end as minute_tokens,
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

-- What a call is granted, or why not. `limit_name` is the API's name of the limit in the way, also where it only
-- lowered the output; `balance` is the account's money, or with the scope `key` the share of it that a key may hold.
create type hold_decision as (
  granted boolean,
  held_nano bigint,
  output_tokens bigint,
  limit_name text,
  scope text,
  reason text,
  retry_after_ms bigint,
  needed_nano bigint,
  available_nano bigint,
  request_limit bigint,
  requests_remaining bigint,
  token_limit bigint,
  tokens_remaining bigint,
  reset_ms bigint
);

-- The limit that leaves a call the least of a measure, as a refusal. `taken` is what the batch has taken of the
-- measure from each of the call's subjects, `own_nano` what the call holds already; it and what follows count for
-- `nano` alone.
create function tightest_limit(
  measure text, subjects subject_room[], taken bigint[],
  own_nano bigint, balance_left bigint, share_left bigint, moment timestamptz
) returns hold_decision language plpgsql volatile as $$
declare
  tightest hold_decision;
begin
  select l.name, l.scope into tightest.limit_name, tightest.scope
  from (
    select l.name, s.scope, l.room
    from unnest(subjects) with ordinality s
    cross join lateral (select taken[s.ordinality]) t (taken)
    cross join lateral (
      values ('calls', 'monthlyRequestLimit', s.month_requests - t.taken),
        ('calls', 'requestsPerMinute', s.minute_requests - t.taken),
        ('calls', 'maxConcurrentRequests', s.concurrent_requests - t.taken),
        ('tokens', 'monthlyTokenLimit', s.month_tokens - t.taken),
        ('tokens', 'tokensPerMinute', s.minute_tokens - t.taken),
        ('nano', 'totalUsdLimit', s.total_nano - t.taken),
        ('nano', 'monthlyUsdLimit', s.month_nano - t.taken),
        ('nano', 'dailyUsdLimit', s.day_nano - t.taken),
        ('nano', 'maxUsdPerRequest', s.max_nano_per_request - own_nano)
    ) l (measure, name, room)
    where l.measure = tightest_limit.measure
    union all
    select 'balance', b.scope, b.room from (values ('account', balance_left), ('key', share_left)) b (scope, room)
    where measure = 'nano'
  ) l
  where l.room is not null
  order by l.room, l.name limit 1;
  tightest.granted := false;
  tightest.reason := case
    when tightest.limit_name = 'balance' then 'insufficient_credits'
    when tightest.limit_name = 'maxConcurrentRequests' then 'too_many_concurrent'
    when tightest.limit_name in ('requestsPerMinute', 'tokensPerMinute') then 'rate_limit_exceeded'
    else 'limit_exceeded'
  end;
  tightest.retry_after_ms := case
    when tightest.limit_name in ('requestsPerMinute', 'tokensPerMinute') then window_rest_ms('minute', moment)
    when tightest.limit_name = 'dailyUsdLimit' then window_rest_ms('day', moment)
    when tightest.limit_name like 'monthly%' then window_rest_ms('month', moment)
  end;
  return tightest;
end $$;

-- Writes what hold_calls granted: new holds, wider holds, and the books' sums of both. -1 is what was not granted.
create function write_holds(
  asked hold_request[], granted_nano bigint[], granted_tokens bigint[],
  router mesh_id, ttl interval, moment timestamptz
) returns void language plpgsql as $$
begin
  insert into holds (
    call_id, account_id, livemode, project_id, key_id, lineage_id, parent_lineage_id, router_id,
    held_nano, held_tokens, upstream_ceiling_nano, model, provider, price_list_id,
    minute_start, day_start, month_start, created_at, expires_at
  )
  select r.call_id, r.account_id, r.livemode, r.project_id, r.key_id, r.lineage_id, r.parent_lineage_id, router,
    granted_nano[r.place], granted_tokens[r.place], r.upstream_ceiling_nano, r.model, r.provider, r.price_list_id,
    window_start('minute', moment), window_start('day', moment), window_start('month', moment), moment, moment + ttl
  from unnest(asked) r
  where r.kind = 'hold' and granted_nano[r.place] >= 0;

  update holds h set
    held_nano = h.held_nano + wider.nano,
    held_tokens = h.held_tokens + wider.tokens,
    upstream_ceiling_nano = h.upstream_ceiling_nano + wider.upstream_nano,
    expires_at = moment + ttl
  from (
    select r.call_id, sum(granted_nano[r.place]) as nano, sum(granted_tokens[r.place]) as tokens,
      sum(tokens_nano(granted_tokens[r.place], r.upstream_pico)) as upstream_nano
    from unnest(asked) r
    where r.kind = 'extend' and granted_nano[r.place] >= 0
    group by r.call_id
  ) wider
  where h.call_id = wider.call_id;

  update balances b set held_nano = b.held_nano + taken.nano
  from (
    select r.account_id, r.livemode, sum(granted_nano[r.place]) as nano
    from unnest(asked) r
    where granted_nano[r.place] > 0
    group by r.account_id, r.livemode
  ) taken
  where b.account_id = taken.account_id and b.livemode = taken.livemode;
end $$;

-- Decides a batch of holds and extensions, in the order of the array, and answers in that order. A call that is
-- refused or lowered uses nothing of what the next may have. What is held for a call is its input plus its output
-- tokens at `output_pico`, rounded up; output is lowered to what balance and limits carry, never below the floor.
-- An extension is a call whose input and first output tokens are held already; what it adds counts in the windows of
-- its own moment. `key_share_basis_points` is the part of its account's balance that one key may hold.
create function hold_calls(requests json, router mesh_id, ttl interval, key_share_basis_points integer)
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
    coalesce(bool_or(room.requests_per_minute is not null or room.tokens_per_minute is not null), false)
  into rooms, calls_room, tokens_room, nano_room, call_nano_room, any_rates
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
        if (rooms[slot]).minute_requests - calls_taken[slot] < coalesce(decision.requests_remaining, unlimited) then
          decision.request_limit := (rooms[slot]).requests_per_minute;
          decision.requests_remaining := (rooms[slot]).minute_requests - calls_taken[slot];
        end if;
        if (rooms[slot]).minute_tokens - tokens_taken[slot] < coalesce(decision.tokens_remaining, unlimited) then
          decision.token_limit := (rooms[slot]).tokens_per_minute;
          decision.tokens_remaining := (rooms[slot]).minute_tokens - tokens_taken[slot];
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

-- Moves the expiry of running calls. A row that is locked is being widened (which renews it) or ended: skipping it
-- keeps this from waiting for, and from being in the way of, any batch.
create function renew_holds(call_ids text[], ttl interval) returns void language sql volatile as $$
  update holds h set expires_at = mesh_now() + ttl
  from (select call_id from holds where call_id = any (call_ids) for update skip locked) live
  where h.call_id = live.call_id
$$;

-- Puts the holds of calls that run on a router back where a crash of PostgreSQL lost them or their last extension
-- (holds commit without waiting for the disk). It asks no limit: the money is committed to calls under way. A call
-- that has its event, or was reaped, gets nothing back. `held_nano` and `held_tokens` are what the router knows.
create type running_hold as (
  call_id mesh_id,
  account_id mesh_id,
  livemode boolean,
  project_id mesh_id,
  key_id mesh_id,
  lineage_id mesh_id,
  parent_lineage_id mesh_id,
  held_nano bigint,
  held_tokens bigint,
  upstream_ceiling_nano bigint,
  model text,
  provider text,
  price_list_id text
);
create function restore_holds(running json, router mesh_id, ttl interval) returns integer language plpgsql
set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  known running_hold[] := array(select r from json_populate_recordset(null::running_hold, running) r);
  moment timestamptz;
  restored integer;
begin
  perform lock_books(array_agg(r.account_id::text), array_agg(r.livemode)) from unnest(known) r;
  moment := mesh_now();
  perform from holds h where h.call_id in (select r.call_id from unnest(known) r) order by h.call_id for update;
  -- What is missing: a whole hold, or what the last extensions had added to it.
  known := array(
    select row(r.call_id, r.account_id, r.livemode, r.project_id, r.key_id, r.lineage_id, r.parent_lineage_id,
      greatest(r.held_nano - coalesce(h.held_nano, 0), 0), greatest(r.held_tokens - coalesce(h.held_tokens, 0), 0),
      r.upstream_ceiling_nano, r.model, r.provider, r.price_list_id)::running_hold
    from unnest(known) r
    left join holds h on h.call_id = r.call_id
    where not exists (select from events e where e.id = r.call_id)
  );
  perform count_growth(array(
    select row(s.subject_id, r.livemode, r.account_id, sum(1 - r.found), sum(r.held_tokens), sum(r.held_nano),
      sum(r.held_nano), sum(1 - r.found))::counter_growth
    from (
      select r.*, count(h.call_id) over (partition by r.call_id) as found
      from unnest(known) r left join holds h on h.call_id = r.call_id
    ) r
    cross join lateral (values (r.account_id), (r.project_id), (r.lineage_id), (r.parent_lineage_id)) s (subject_id)
    where s.subject_id is not null and (r.found = 0 or r.held_nano > 0 or r.held_tokens > 0)
    group by s.subject_id, r.livemode, r.account_id
  ), moment);
  update balances b set held_nano = b.held_nano + missing.nano
  from (select r.account_id, r.livemode, sum(r.held_nano) as nano from unnest(known) r group by 1, 2) missing
  where b.account_id = missing.account_id and b.livemode = missing.livemode and missing.nano > 0;
  with written as (
    insert into holds as h (
      call_id, account_id, livemode, project_id, key_id, lineage_id, parent_lineage_id, router_id,
      held_nano, held_tokens, upstream_ceiling_nano, model, provider, price_list_id,
      minute_start, day_start, month_start, created_at, expires_at
    )
    select r.call_id, r.account_id, r.livemode, r.project_id, r.key_id, r.lineage_id, r.parent_lineage_id, router,
      r.held_nano, r.held_tokens, r.upstream_ceiling_nano, r.model, r.provider, r.price_list_id,
      window_start('minute', moment), window_start('day', moment), window_start('month', moment), moment, moment + ttl
    from unnest(known) r
    on conflict (call_id) do update set
      held_nano = h.held_nano + excluded.held_nano,
      held_tokens = h.held_tokens + excluded.held_tokens,
      upstream_ceiling_nano = greatest(h.upstream_ceiling_nano, excluded.upstream_ceiling_nano),
      expires_at = excluded.expires_at
    returning (xmax = 0) as inserted
  )
  select count(*) filter (where inserted) into restored from written;
  return restored;
end $$;
