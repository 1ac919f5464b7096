-- Holds of routers that are gone, released at once where somebody knows that they are.

-- Releases holds that nobody renews; `whose` says which: those past their expiry (`expired`), at the start of the only
-- routers there can be those of everybody else (`of_other_routers`), or those of one router that has ended and whose
-- statements have too (`of_router`). Nothing of such a call was delivered to its end, so nothing is charged; what the
-- providers may bill for it is absorbed. Expired ones not within `grace` of the database's own start: while it was away
-- nobody could renew. Returns how many were released; as many as `batch_max` means that there may be more.
create function release_holds(whose text, router mesh_id, grace interval, batch_max integer) returns integer
language plpgsql
set plan_cache_mode = force_generic_plan set jit = off
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  dead text[];
  crashes json;
begin
  if whose = 'expired' and mesh_now() < database_started_at() + grace then
    return 0;
  end if;
  dead := array(
    select h.call_id::text from holds h
    where case whose
      when 'expired' then h.expires_at <= mesh_now()
      when 'of_router' then h.router_id = router
      when 'of_other_routers' then h.router_id <> router
    end
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
      'idempotency', case when whose <> 'expired' then 'freed' end, 'created_at', h.created_at,
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
        and case whose
          when 'expired' then h.expires_at <= mesh_now()
          when 'of_router' then h.router_id = router
          when 'of_other_routers' then h.router_id <> router
        end
      order by h.call_id for update
    ) l
  ) h;
  if crashes is null then
    return 0;
  end if;
  perform settle_calls(crashes);
  return json_array_length(crashes);
end $$;

-- As routers of an earlier version ask for it, who may run beside newer ones for a while.
create or replace function reap_holds(reaper mesh_id, only_router boolean, grace interval, batch_max integer)
returns integer language sql as $$
  select release_holds(case when only_router then 'of_other_routers' else 'expired' end, reaper, grace, batch_max)
$$;
