import type { ColumnType, Generated, JSONColumnType } from 'kysely'
import type { AccountId, CallId, Id, KeyId, LedgerEntryId, ProjectId, ReceiptId } from '../ids.ts'
import type { BillingReason } from '../records/billing-reason.ts'

/**
 * The tables as `migrations/` make them, for Kysely. `int8` is `bigint`, `int4` is `number`, `bytea` is `Buffer`,
 * `timestamptz` is `Date` (its infinities are the first and the last moment that a `Date` can hold).
 * JSON columns are written as text (`JSON.stringify`): `pg` would make a PostgreSQL array of a JavaScript array.
 */
export interface Tables {
  accounts: AccountsTable
  projects: ProjectsTable
  api_keys: ApiKeysTable
  operator_keys: OperatorKeysTable
  limits: LimitsTable
  counters: CountersTable
  balances: BalancesTable
  holds: HoldsTable
  ledger_entries: LedgerEntriesTable
  events: EventsTable
  receipts: ReceiptsTable
  idempotency_keys: IdempotencyKeysTable
  operator_requests: OperatorRequestsTable
  audit_events: AuditEventsTable
  price_lists: PriceListsTable
  plan_snapshots: PlanSnapshotsTable
  provider_configs: ProviderConfigsTable
  signing_keys: SigningKeysTable
}

/** Written once and never changed. */
type Fixed<Value> = ColumnType<Value, Value, never>
/** As `Fixed`, with a default of the database's. */
type FixedGenerated<Value> = ColumnType<Value, Value | undefined, never>
type JsonObject = Readonly<Record<string, unknown>>
/** What an account, a project or a key chain is called where all three are meant. */
type SubjectId = AccountId | ProjectId | KeyId

export interface AccountsTable {
  id: Fixed<AccountId>
  name: string
  plan: Generated<string>
  status: Generated<'active' | 'suspended' | 'closed'>
  policy_version: Generated<bigint>
  created_at: FixedGenerated<Date>
}

export interface ProjectsTable {
  id: Fixed<ProjectId>
  account_id: Fixed<AccountId>
  name: string
  is_default: FixedGenerated<boolean>
  deleted_at: Date | null
  created_at: FixedGenerated<Date>
}

export interface ApiKeysTable {
  id: Fixed<KeyId>
  account_id: Fixed<AccountId>
  project_id: Fixed<ProjectId>
  livemode: Fixed<boolean>
  name: string
  secret_sha256: Fixed<Buffer>
  secret_tail: Fixed<string>
  scopes: string[]
  lineage_id: Fixed<KeyId>
  parent_lineage_id: ColumnType<KeyId | null, KeyId | null | undefined, never>
  successor_id: KeyId | null
  stops_at: Date | null
  revoked_at: Date | null
  created_at: FixedGenerated<Date>
}

export interface OperatorKeysTable {
  id: Fixed<Id<'opk'>>
  name: string
  secret_sha256: Fixed<Buffer>
  revoked_at: Date | null
  created_at: FixedGenerated<Date>
}

export interface LimitsTable {
  subject_id: Fixed<SubjectId>
  account_id: Fixed<AccountId>
  kind: Fixed<'account' | 'project' | 'key'>
  requests_per_minute: bigint | null
  tokens_per_minute: bigint | null
  max_concurrent_requests: bigint | null
  monthly_request_limit: bigint | null
  monthly_token_limit: bigint | null
  daily_nano: bigint | null
  monthly_nano: bigint | null
  total_nano: bigint | null
  max_nano_per_request: bigint | null
  allowed_models: string[] | null
  allowed_providers: string[] | null
  minimum_privacy_class: string | null
  expires_at: Date | null
}

export interface CountersTable {
  subject_id: Fixed<SubjectId>
  livemode: Fixed<boolean>
  account_id: Fixed<AccountId>
  minute_start: Generated<Date>
  minute_requests: Generated<bigint>
  minute_tokens: Generated<bigint>
  day_start: Generated<Date>
  day_nano: Generated<bigint>
  month_start: Generated<Date>
  month_requests: Generated<bigint>
  month_tokens: Generated<bigint>
  month_nano: Generated<bigint>
  total_nano: Generated<bigint>
  held_nano: Generated<bigint>
  active_requests: Generated<bigint>
}

export interface BalancesTable {
  account_id: Fixed<AccountId>
  livemode: Fixed<boolean>
  balance_nano: Generated<bigint>
  held_nano: Generated<bigint>
}

export interface HoldsTable {
  call_id: Fixed<CallId>
  account_id: Fixed<AccountId>
  livemode: Fixed<boolean>
  project_id: Fixed<ProjectId>
  key_id: Fixed<KeyId>
  lineage_id: Fixed<KeyId>
  parent_lineage_id: KeyId | null
  router_id: Id<'rtr'>
  held_nano: bigint
  held_tokens: bigint
  upstream_ceiling_nano: bigint
  model: string
  provider: string
  price_list_id: Fixed<string>
  minute_start: Date
  day_start: Date
  month_start: Date
  created_at: FixedGenerated<Date>
  expires_at: Date
}

export interface LedgerEntriesTable {
  id: Fixed<LedgerEntryId>
  transaction_id: Fixed<string>
  kind: Fixed<'grant' | 'purchase' | 'usage' | 'refund' | 'adjustment' | 'absorbed'>
  ledger_account: Fixed<string>
  account_id: Fixed<AccountId>
  livemode: Fixed<boolean>
  amount_nano: Fixed<bigint>
  balance_after_nano: ColumnType<bigint | null, bigint | null | undefined, never>
  call_id: ColumnType<CallId | null, CallId | null | undefined, never>
  reason: ColumnType<string | null, string | null | undefined, never>
  created_at: FixedGenerated<Date>
}

export interface EventsTable {
  id: Fixed<CallId>
  account_id: Fixed<AccountId>
  project_id: Fixed<ProjectId>
  key_id: Fixed<KeyId>
  livemode: Fixed<boolean>
  created_at: Fixed<Date>
  model_requested: ColumnType<string | null, string | null | undefined, never>
  model_served: ColumnType<string | null, string | null | undefined, never>
  provider: ColumnType<string | null, string | null | undefined, never>
  http_status: Fixed<number>
  error_code: ColumnType<string | null, string | null | undefined, never>
  stream: Fixed<boolean>
  billing_reason: Fixed<BillingReason>
  finish_reason: ColumnType<string | null, string | null | undefined, never>
  usage_source: Fixed<'reported' | 'estimated' | 'none'>
  usage_flags: FixedGenerated<string[]>
  buckets: JSONColumnType<JsonObject, string, never>
  held_nano: Fixed<bigint>
  upstream_nano: Fixed<bigint>
  margin_nano: Fixed<bigint>
  total_nano: Fixed<bigint>
  absorbed_nano: FixedGenerated<bigint>
  price_list_id: ColumnType<string | null, string | null | undefined, never>
  dispatched_at: ColumnType<Date | null, Date | null | undefined, never>
  attempts: JSONColumnType<readonly JsonObject[], string, never>
  routing: JSONColumnType<JsonObject, string, never>
  privacy: JSONColumnType<JsonObject, string, never>
  receipt_id: ColumnType<ReceiptId | null, ReceiptId | null | undefined, never>
  first_token_ms: ColumnType<number | null, number | null | undefined, never>
  duration_ms: Fixed<number>
}

export interface ReceiptsTable {
  id: Fixed<ReceiptId>
  call_id: Fixed<CallId>
  account_id: Fixed<AccountId>
  livemode: Fixed<boolean>
  payload: Fixed<Buffer>
  payload_sha256: Fixed<Buffer>
  key_id: string | null
  signature: Buffer | null
  created_at: FixedGenerated<Date>
}

export interface IdempotencyKeysTable {
  account_id: Fixed<AccountId>
  livemode: Fixed<boolean>
  key_hmac: Fixed<Buffer>
  body_hmac: Fixed<Buffer>
  call_id: Fixed<CallId>
  state: 'running' | 'billed'
  receipt_id: ReceiptId | null
  total_nano: bigint | null
  created_at: FixedGenerated<Date>
}

export interface OperatorRequestsTable {
  key_hmac: Fixed<Buffer>
  body_hmac: Fixed<Buffer>
  response: JSONColumnType<JsonObject, string, never>
  created_at: FixedGenerated<Date>
}

export interface AuditEventsTable {
  id: Fixed<Id<'aud'>>
  account_id: ColumnType<AccountId | null, AccountId | null | undefined, never>
  livemode: ColumnType<boolean | null, boolean | null | undefined, never>
  actor: Fixed<string>
  action: Fixed<string>
  target: Fixed<string>
  before: ColumnType<JsonObject | null, string | null | undefined, never>
  after: ColumnType<JsonObject | null, string | null | undefined, never>
  created_at: FixedGenerated<Date>
}

export interface PriceListsTable {
  id: Fixed<string>
  catalog_version: Fixed<string>
  markup_basis_points: Fixed<number>
  prices: JSONColumnType<JsonObject, string, never>
  created_at: FixedGenerated<Date>
}

export interface PlanSnapshotsTable {
  id: Fixed<string>
  content: JSONColumnType<JsonObject, string, never>
  used_at: Generated<Date>
}

export interface ProviderConfigsTable {
  provider: Fixed<string>
  config: ColumnType<JsonObject, string | undefined, string>
  changed_at: Generated<Date>
}

export interface SigningKeysTable {
  key_id: Fixed<string>
  public_jwk: JSONColumnType<JsonObject, string, never>
  retired_at: Date | null
  created_at: FixedGenerated<Date>
}
