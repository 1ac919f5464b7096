-- What operators set for a provider, beyond the defaults. It is policy and not books, but it moves with them: a provider
-- that was switched off for a reason stays off.
create table provider_configs (
  provider text primary key,
  -- Only what was set. A key that this version does not know is left alone.
  config jsonb not null default '{}'::jsonb,
  changed_at timestamptz not null default now()
);
