-- The tables of MESH. Amounts are nano-USD in bigint. Ids are `<prefix>_<ulid>` in lower case and sort by time,
-- so they are compared byte by byte (collate "C"). `livemode` names the world: live or test; the two never mix.
-- No column of any table holds content of a prompt or of an answer, or text that a caller wrote into a call.

create domain mesh_id as text collate "C";

create table accounts (
  id mesh_id primary key,
  name text not null,
  plan text not null default 'prepaid',
  status text not null default 'active' check (status in ('active', 'suspended', 'closed')),
  -- Grows with every change of the account, its projects, keys and limits. A hold names the version that its
  -- caller was authenticated against and is refused as stale when it is not this one: so a revoked key and a
  -- lowered limit are exact at the next request, on every router, though routers cache what they read.
  policy_version bigint not null default 1,
  created_at timestamptz not null default now()
);

create table projects (
  id mesh_id primary key,
  account_id mesh_id not null references accounts,
  name text not null,
  is_default boolean not null default false,
  deleted_at timestamptz,
  created_at timestamptz not null default now()
);
create unique index projects_one_default on projects (account_id) where is_default;
create index projects_by_account on projects (account_id, id);

create table api_keys (
  id mesh_id primary key,
  account_id mesh_id not null references accounts,
  project_id mesh_id not null references projects,
  livemode boolean not null,
  name text not null,
  -- SHA-256 of the whole secret: 32 random bytes need no salt and no slow hash.
  secret_sha256 bytea not null unique,
  -- The secret's last four characters, so that people can tell keys apart.
  secret_tail text not null,
  scopes text[] not null,
  -- The first key of the rotation chain. Limits, counters and children belong to it, so a rotation moves nothing.
  lineage_id mesh_id not null,
  -- The lineage of the key that made this one; what this one spends counts against it as well.
  parent_lineage_id mesh_id,
  successor_id mesh_id unique references api_keys,
  -- The end of the grace that a rotation left it.
  stops_at timestamptz,
  revoked_at timestamptz,
  created_at timestamptz not null default now()
);
create index api_keys_by_account on api_keys (account_id, id);
create index api_keys_by_lineage on api_keys (lineage_id);
create index api_keys_by_parent on api_keys (parent_lineage_id) where parent_lineage_id is not null;

create table operator_keys (
  id mesh_id primary key,
  name text not null,
  secret_sha256 bytea not null unique,
  revoked_at timestamptz,
  created_at timestamptz not null default now()
);

-- What an account, a project or a key lineage may do. Null is no limit.
create table limits (
  subject_id mesh_id primary key,
  account_id mesh_id not null references accounts,
  kind text not null check (kind in ('account', 'project', 'key')),
  requests_per_minute bigint,
  tokens_per_minute bigint,
  max_concurrent_requests bigint,
  monthly_request_limit bigint,
  monthly_token_limit bigint,
  daily_nano bigint,
  monthly_nano bigint,
  total_nano bigint,
  max_nano_per_request bigint,
  allowed_models text[],
  allowed_providers text[],
  minimum_privacy_class text,
  expires_at timestamptz
);

-- What a subject has used in one world: held and settled alike. A window's counts stand for the window whose start
-- stands beside them; a later hold finds an older start and begins again at zero, so nothing resets them.
create table counters (
  subject_id mesh_id not null,
  livemode boolean not null,
  account_id mesh_id not null references accounts,
  minute_start timestamptz not null default '-infinity',
  minute_requests bigint not null default 0,
  minute_tokens bigint not null default 0,
  day_start timestamptz not null default '-infinity',
  day_nano bigint not null default 0,
  month_start timestamptz not null default '-infinity',
  month_requests bigint not null default 0,
  month_tokens bigint not null default 0,
  month_nano bigint not null default 0,
  total_nano bigint not null default 0,
  held_nano bigint not null default 0,
  active_requests bigint not null default 0,
  primary key (subject_id, livemode)
) with (fillfactor = 70);

-- One book a world. Every change of money or of a counter takes this row's lock first, in the order of its key.
create table balances (
  account_id mesh_id not null references accounts,
  livemode boolean not null,
  balance_nano bigint not null default 0,
  held_nano bigint not null default 0 check (held_nano >= 0),
  primary key (account_id, livemode)
) with (fillfactor = 70);

-- Money set aside for calls that run. A row is deleted by the settlement or by the reaper, never changed into one.
create table holds (
  call_id mesh_id primary key,
  account_id mesh_id not null,
  livemode boolean not null,
  project_id mesh_id not null,
  key_id mesh_id not null,
  lineage_id mesh_id not null,
  parent_lineage_id mesh_id,
  router_id mesh_id not null,
  held_nano bigint not null check (held_nano >= 0),
  held_tokens bigint not null check (held_tokens >= 0),
  -- What the providers could bill for the held tokens: what the house absorbs if the router dies.
  upstream_ceiling_nano bigint not null,
  model text not null,
  provider text not null,
  price_list_id text not null,
  -- The windows that the hold was counted in; a settlement corrects those and no later ones.
  minute_start timestamptz not null,
  day_start timestamptz not null,
  month_start timestamptz not null,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null
);
create index holds_by_expiry on holds (expires_at);
create index holds_by_account on holds (account_id);

-- Double entry, append-only: the entries of one transaction sum to zero (checked by a statement trigger).
-- ledger_account: customer, grants, revenue, cost_of_sales, absorbed, payable:<provider>, clearing:<chain>.
-- A positive amount is a credit to that ledger account; customer rows carry the balance that they leave.
create table ledger_entries (
  id mesh_id not null,
  transaction_id mesh_id not null,
  kind text not null check (kind in ('grant', 'purchase', 'usage', 'refund', 'adjustment', 'absorbed')),
  ledger_account text not null,
  account_id mesh_id not null,
  livemode boolean not null,
  amount_nano bigint not null,
  balance_after_nano bigint,
  call_id mesh_id,
  reason text,
  created_at timestamptz not null default now(),
  primary key (id)
) partition by range (id);
create table ledger_entries_default partition of ledger_entries default;
create index ledger_entries_by_account on ledger_entries (account_id, livemode, id) where ledger_account = 'customer';

-- One row a call: metadata and money, never content.
create table events (
  id mesh_id not null,
  account_id mesh_id not null,
  project_id mesh_id not null,
  key_id mesh_id not null,
  livemode boolean not null,
  created_at timestamptz not null,
  -- The catalogue's ids, not the caller's spelling; null where no model was resolved.
  model_requested text,
  model_served text,
  provider text,
  http_status integer not null,
  error_code text,
  stream boolean not null,
  billing_reason text not null,
  finish_reason text,
  usage_source text not null,
  usage_flags text[] not null default '{}',
  buckets jsonb not null,
  held_nano bigint not null,
  upstream_nano bigint not null,
  margin_nano bigint not null,
  total_nano bigint not null,
  -- What providers bill MESH for this call and its failed attempts without the customer paying for it.
  absorbed_nano bigint not null default 0,
  price_list_id text,
  dispatched_at timestamptz,
  attempts jsonb not null,
  routing jsonb not null,
  privacy jsonb not null,
  receipt_id mesh_id,
  first_token_ms integer,
  duration_ms integer not null,
  primary key (id),
  check (total_nano = upstream_nano + margin_nano)
) partition by range (id);
create table events_default partition of events default;
create index events_by_account on events (account_id, livemode, id);

create table receipts (
  id mesh_id primary key,
  call_id mesh_id not null,
  account_id mesh_id not null,
  livemode boolean not null,
  -- The signed bytes as they are: nothing is ever serialised again.
  payload bytea not null,
  payload_sha256 bytea not null,
  -- Made when the receipt is first read.
  key_id text,
  signature bytea,
  created_at timestamptz not null default now()
);
create index receipts_by_account on receipts (account_id, livemode, id);

-- Settlements that the database refused for their own sake, as the JSON that was posted: amounts and metadata, which
-- must not be lost because of a mistake of the code. `ledger verify` names them until somebody has looked at them.
create table refused_settlements (
  call_id mesh_id primary key,
  settlement text not null,
  created_at timestamptz not null default now()
);

-- Keys and bodies are remembered as HMACs only.
create table idempotency_keys (
  account_id mesh_id not null,
  livemode boolean not null,
  key_hmac bytea not null,
  body_hmac bytea not null,
  call_id mesh_id not null unique,
  state text not null check (state in ('running', 'billed')),
  receipt_id mesh_id,
  total_nano bigint,
  created_at timestamptz not null default now(),
  primary key (account_id, livemode, key_hmac)
);
create index idempotency_keys_by_age on idempotency_keys (created_at);
create index idempotency_keys_running on idempotency_keys (created_at) where state = 'running';

-- Grants and other operator writes are idempotent by the caller's key.
create table operator_requests (
  key_hmac bytea primary key,
  body_hmac bytea not null,
  response jsonb not null,
  created_at timestamptz not null default now()
);

create table audit_events (
  id mesh_id primary key,
  account_id mesh_id,
  livemode boolean,
  actor text not null,
  action text not null,
  target text not null,
  before jsonb,
  after jsonb,
  created_at timestamptz not null default now()
);
create index audit_events_by_account on audit_events (account_id, id);

-- Prices with the mark-up in them, as they were when a call was held: any bill can be computed again.
create table price_lists (
  id text primary key,
  catalog_version text not null,
  markup_basis_points integer not null,
  prices jsonb not null,
  created_at timestamptz not null default now()
);

create table signing_keys (
  key_id text primary key,
  public_jwk jsonb not null,
  retired_at timestamptz,
  created_at timestamptz not null default now()
);

-- Append-only is a property of the database, not a habit of the code.
create function refuse_change() returns trigger language plpgsql as $$
begin
  raise exception '% is append-only', tg_table_name using errcode = 'restrict_violation';
end $$;
create trigger ledger_entries_append_only before update or delete on ledger_entries
  for each row execute function refuse_change();
create trigger ledger_entries_no_truncate before truncate on ledger_entries
  for each statement execute function refuse_change();
create trigger events_append_only before update or delete on events
  for each row execute function refuse_change();
create trigger audit_events_append_only before update or delete on audit_events
  for each row execute function refuse_change();

create function check_transactions_balance() returns trigger language plpgsql as $$
declare
  unbalanced text;
begin
  select transaction_id into unbalanced from added group by transaction_id having sum(amount_nano) <> 0 limit 1;
  if unbalanced is not null then
    raise exception 'transaction % does not sum to zero', unbalanced using errcode = 'check_violation';
  end if;
  return null;
end $$;
create trigger ledger_entries_balance after insert on ledger_entries
  referencing new table as added for each statement execute function check_transactions_balance();
