-- What plans were made from, beside the calls themselves, so that `route replay` can make them again: what the router was
-- set up with and how its endpoints did. An event names its snapshot; a snapshot is kept once, however many calls
-- were planned from it, and for as long as it is in use and some time after.
create table plan_snapshots (
  id text primary key,
  content jsonb not null,
  used_at timestamptz not null default now()
);

create index plan_snapshots_used_at on plan_snapshots (used_at);
