-- What the books do at less cost. The rules of 0002-books.sql hold here too.

-- What a window is depends on a time zone, so PostgreSQL takes these functions for less than immutable, and would call
-- them once for every row of a batch. As what they are they are put in the place of their calls.
alter function window_start(text, timestamptz) stable;
alter function window_rest_ms(text, timestamptz) stable;
alter function counts_now(timestamptz, timestamptz) stable;

-- Settles a batch, and ends when it is on disk. A session that commits without waiting for the disk gives the books of
-- the batch back before that wait, in which others can have them: what a crash takes meanwhile is posted again by
-- whoever waits for it. The second transaction is the least that waits for all before it (there is no statement for
-- just that): a message in the log of changes, to nobody. `free` as for settle_free_calls. `settled` are the rows of
-- settle_calls. It commits, so it must not be called within a transaction.
create procedure post_settlements(settlements json, free boolean, inout settled json default null)
language plpgsql as $$
begin
  if free then
    settled := (select json_agg(s) from settle_free_calls(settlements) s);
  else
    settled := (select json_agg(s) from settle_calls(settlements) s);
  end if;
  commit;
  perform set_config('synchronous_commit', 'on', true);
  perform pg_logical_emit_message(true, 'mesh', '');
end $$;
