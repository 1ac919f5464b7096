/** The tables that an export holds, each after those that it refers to. */
export const BOOKS_TABLES = [
  'accounts',
  'projects',
  'api_keys',
  'operator_keys',
  'limits',
  'counters',
  'balances',
  'holds',
  'price_lists',
  'plan_snapshots',
  'provider_configs',
  'ledger_entries',
  'events',
  'receipts',
  'refused_settlements',
  'idempotency_keys',
  'operator_requests',
  'audit_events',
  'signing_keys',
] as const

/** The tables that an export does not hold, and why. Every table of the schema is in one of the two lists. */
export const TABLES_LEFT_OUT: Readonly<Record<string, string>> = {
  schema_migrations: 'the header names the migrations, and the import applies them itself',
  moved_away: 'says of one database that it is out of use, which its copy is not',
}
