-- Where the books of this database were moved to another one, one row here says so. While it is there, routers do not
-- start, no call is held and nothing is posted: no two places may spend the same credit.
create table moved_away (
  only_row boolean primary key default true check (only_row),
  moved_at timestamptz not null default now()
);

create function refuse_moved_away() returns trigger language plpgsql as $$
begin
  raise exception 'the books were moved away' using errcode = 'restrict_violation';
end $$;

-- Only the move enables them, so they cost a call nothing.
create trigger holds_moved_away before insert on holds
  for each statement execute function refuse_moved_away();
create trigger ledger_entries_moved_away before insert on ledger_entries
  for each statement execute function refuse_moved_away();
alter table holds disable trigger holds_moved_away;
alter table ledger_entries disable trigger ledger_entries_moved_away;
