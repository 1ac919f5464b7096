import { formatUsd } from '@mesh/catalog/money.ts'
import type { Selectable } from 'kysely'
import type { LedgerEntryId } from '../ids.ts'
import type { Database } from '../storage/database.ts'
import type { LedgerEntriesTable } from '../storage/tables.ts'
import type { Reader } from './events.ts'

type LedgerRow = Selectable<LedgerEntriesTable>

/** A customer's ledger row as `GET /v1/ledger` shows it. A usage is negative, a grant positive. */
export function ledgerRowView(row: LedgerRow): Record<string, unknown> {
  return {
    id: row.id,
    object: 'ledger_entry',
    livemode: row.livemode,
    createdAt: row.created_at.toISOString(),
    type: row.kind,
    amountUsd: formatUsd(row.amount_nano),
    balanceAfterUsd: formatUsd(row.balance_after_nano ?? 0n),
    requestId: row.call_id,
    reason: row.reason,
  }
}

/** One page of a customer's ledger, newest first. House accounts are nobody's to read here. */
export async function listLedgerRows(
  database: Database,
  reader: Reader,
  page: { readonly limit: number; readonly before?: string },
): Promise<LedgerRow[]> {
  let query = database.query
    .selectFrom('ledger_entries')
    .selectAll()
    .where('ledger_account', '=', 'customer')
    .where('account_id', '=', reader.accountId)
    .where('livemode', '=', reader.livemode)
  if (page.before !== undefined) query = query.where('id', '<', page.before as LedgerEntryId)
  return await query.orderBy('id', 'desc').limit(page.limit).execute()
}

const CSV_COLUMNS = [
  'id',
  'createdAt',
  'type',
  'amountUsd',
  'balanceAfterUsd',
  'requestId',
  'reason',
] as const

/** The page as CSV (RFC 4180). */
export function ledgerCsv(rows: readonly LedgerRow[]): string {
  const lines = rows.map((row) => {
    const view = ledgerRowView(row)
    return CSV_COLUMNS.map((column) => csvCell(view[column], column)).join(',')
  })
  return `${[CSV_COLUMNS.join(','), ...lines].join('\r\n')}\r\n`
}

const AMOUNT = /^-?\d+\.\d+$/

/** What begins a formula, also in the full width that East Asian keyboards write, and what is skipped before one. */
const FORMULA = /^[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/

/**
 * Text that a spreadsheet would run as a formula is made inert with a leading quote (OWASP, CSV injection). Amounts
 * may begin with a minus: they are numbers by their form, not text that anyone wrote.
 */
function csvCell(value: unknown, column: string): string {
  const text = value === null || value === undefined ? '' : String(value)
  const isAmount = column.endsWith('Usd') && AMOUNT.test(text)
  const inert = !isAmount && FORMULA.test(text) ? `'${text}` : text
  return /[",\r\n]/.test(inert) ? `"${inert.replaceAll('"', '""')}"` : inert
}
