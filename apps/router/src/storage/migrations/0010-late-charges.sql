-- A router that stood still longer than its holds live is taken for dead: what its calls held is released, and others may
-- spend it. When it goes on after all, its calls are charged only where their accounts and limits still carry that.
-- The rules of 0002-books.sql hold here too.

-- The places of those late settlements of a batch that can no longer be paid, whole as they are. What the others of the
-- batch take without a hold goes before, and after that what comes first in the batch.
create function unpayable_places(asked settlement[], event_ids text[], moment timestamptz) returns integer[]
language plpgsql stable as $$
declare
  late integer[] := array(
    select s.place from unnest(asked) s where event_ids[s.place] <> s.call_id and s.total_nano > 0
  );
  rooms subject_room[];
begin
  -- Nearly always.
  if cardinality(late) = 0 then
    return late;
  end if;
  rooms := array(
    select room from subject_rooms(
      array(
        select jsonb_populate_record(null::hold_request, to_jsonb(s)) from unnest(asked) s where s.place = any (late)
      ), moment) room
  );
  return array(
    with unheld as (
      select s.*, s.place = any (late) as is_late,
        sum(s.total_nano) over (partition by s.account_id, s.livemode order by s.place = any (late), s.place) as needed
      from unnest(asked) s
      where event_ids[s.place] is not null and s.total_nano > 0
        and not exists (select from holds h where h.call_id = s.call_id)
    ), of_subject as (
      select u.place, least(room.day_nano, room.month_nano, room.total_nano) as room,
        sum(u.total_nano) over (partition by x.subject_id, u.livemode order by u.is_late, u.place) as needed
      from unheld u
      cross join lateral (values (u.account_id), (u.project_id), (u.lineage_id), (u.parent_lineage_id)) x (subject_id)
      join unnest(rooms) room on room.subject_id = x.subject_id and room.livemode = u.livemode
    )
    select u.place from unheld u
    join balances b on b.account_id = u.account_id and b.livemode = u.livemode
    where u.is_late and (
      u.needed > b.balance_nano - b.held_nano
      or exists (select from of_subject o where o.place = u.place and o.needed > o.room)
    )
  );
end $$;

-- As before; also null where a late settlement can no longer be paid. Such a call keeps the event that it was reaped
-- with, which charges nothing, and settle_calls answers that it had been settled before, without an entry.
alter function event_ids_for(settlement[]) rename to event_ids_of_unsettled;

create function event_ids_for(asked settlement[]) returns text[] language plpgsql stable as $$
declare
  event_ids text[] := event_ids_of_unsettled(asked);
  unpayable integer;
begin
  foreach unpayable in array unpayable_places(asked, event_ids, mesh_now()) loop
    event_ids[unpayable] := null;
  end loop;
  return event_ids;
end $$;
