import { formatUsd, type NanoUsd } from '@mesh/catalog/money.ts'
import type { Kysely, Selectable } from 'kysely'
import { MeshError } from '../errors.ts'
import { type AccountId, newId, type ProjectId } from '../ids.ts'
import { openAccountBooks } from '../ledger/account-books.ts'
import { inTransaction } from '../storage/database.ts'
import type { AccountsTable, Tables } from '../storage/tables.ts'
import { recordAudit } from './audit.ts'
import { requireMaker } from './authority.ts'
import type { AccountStatus } from './caller.ts'
import { insertLimits, LIMIT_SELECTION, readLimits, storeLimits } from './limit-rows.ts'
import { type Limits, type LimitsPatch, NO_LIMITS, patchLimits, renderLimits } from './limits.ts'
import type { Operator } from './operator-keys.ts'
import { changePolicy, type PolicyChange, type PolicyStore } from './policy-change.ts'
import { isLive, type Principal } from './principal.ts'
import { insertProject } from './projects.ts'

/** An account as it is stored, with its limits and the books of both worlds. */
export interface AccountRecord {
  readonly row: Selectable<AccountsTable>
  readonly limits: Limits
  readonly defaultProjectId: ProjectId
  readonly live: Book
  readonly test: Book
}

/** One world's money. What is held is still part of the balance. */
export interface Book {
  readonly balanceNano: NanoUsd
  readonly heldNano: NanoUsd
}

const DEFAULT_PROJECT_NAME = 'Default'

/** Makes an account with its default project and two empty books. */
export async function createAccount(
  { database, seams }: PolicyStore,
  operator: Operator,
  asked: {
    readonly name: string
    readonly plan?: string | undefined
    readonly limits?: LimitsPatch | undefined
  },
): Promise<AccountRecord> {
  return inTransaction(database.query, async (transaction) => {
    const id = newId('acct', seams)
    const limits = patchLimits(NO_LIMITS, asked.limits ?? {})
    const plan = asked.plan === undefined ? {} : { plan: asked.plan }
    await transaction
      .insertInto('accounts')
      .values({ id, name: asked.name, ...plan })
      .execute()
    await insertLimits(transaction, id, id, limits)
    await insertProject(transaction, id, {
      id: newId('proj', seams),
      name: DEFAULT_PROJECT_NAME,
      isDefault: true,
      limits: NO_LIMITS,
    })
    await openAccountBooks(transaction, id)
    const account = await readAccount(transaction, id)
    await recordAudit(transaction, seams, {
      actor: operator.id,
      action: 'account.created',
      target: id,
      accountId: id,
      after: { ...describeAccount(account), limits: renderLimits(limits) },
    })
    return account
  })
}

/** @throws MeshError `not_found` where there is no such account. */
export async function readAccount(query: Kysely<Tables>, id: AccountId): Promise<AccountRecord> {
  const row = await selectAccounts(query).where('accounts.id', '=', id).executeTakeFirst()
  if (row) return toRecord(row)
  throw new MeshError('not_found', 'There is no such account.')
}

/** Lists accounts, the newest first, one more than `limit` where there are more. */
export async function listAccounts(
  query: Kysely<Tables>,
  { before, limit }: { before?: AccountId | undefined; limit: number },
): Promise<AccountRecord[]> {
  const rows = selectAccounts(query)
    .orderBy('accounts.id', 'desc')
    .limit(limit + 1)
  return (await (before === undefined ? rows : rows.where('accounts.id', '<', before)).execute()).map(
    toRecord,
  )
}

/**
 * Changes an account's name, plan or status. One that is no longer active makes no calls any more, and its running
 * ones are cut.
 */
export async function updateAccount(
  store: PolicyStore,
  principal: Principal,
  id: AccountId,
  patch: {
    readonly name?: string | undefined
    readonly plan?: string | undefined
    readonly status?: AccountStatus | undefined
  },
): Promise<AccountRecord> {
  return changePolicy(store, principal, id, async (change) => {
    requireMaker(change.principal)
    const before = await readAccount(change.transaction, id)
    const { name = before.row.name, plan = before.row.plan, status = before.row.status } = patch
    await change.transaction
      .updateTable('accounts')
      .set({ name, plan, status })
      .where('id', '=', id)
      .execute()
    if (status !== 'active') await stopAllCalls(change)
    const after = await readAccount(change.transaction, id)
    await change.audit({
      action: 'account.updated',
      target: id,
      before: describeAccount(before),
      after: describeAccount(after),
    })
    return after
  })
}

/** Changes the limits of an account, which bind all its keys together. */
export async function updateAccountLimits(
  store: PolicyStore,
  principal: Principal,
  id: AccountId,
  patch: LimitsPatch,
): Promise<AccountRecord> {
  return changePolicy(store, principal, id, async (change) => {
    const { limits } = await readAccount(change.transaction, id)
    const patched = patchLimits(limits, patch)
    await storeLimits(change.transaction, id, patched)
    await change.audit({
      action: 'account.limits_updated',
      target: id,
      before: renderLimits(limits),
      after: renderLimits(patched),
    })
    return readAccount(change.transaction, id)
  })
}

/** An account as the API shows it. To a test key its own book is the balance, and the live one is not there. */
export function renderAccount(account: AccountRecord, principal: Principal) {
  const { row, limits, defaultProjectId, live, test } = account
  return {
    id: row.id,
    ...describeAccount(account),
    ...renderBook(isLive(principal) ? live : test),
    test: renderBook(test),
    limits: renderLimits(limits),
    defaultProjectId,
    createdAt: row.created_at.toISOString(),
  }
}

function renderBook({ balanceNano, heldNano }: Book) {
  return { balanceUsd: formatUsd(balanceNano), heldUsd: formatUsd(heldNano) }
}

function describeAccount({ row }: AccountRecord) {
  return { name: row.name, plan: row.plan, status: row.status }
}

type AccountRow = Awaited<ReturnType<ReturnType<typeof selectAccounts>['executeTakeFirstOrThrow']>>

function selectAccounts(query: Kysely<Tables>) {
  return query
    .selectFrom('accounts')
    .innerJoin('limits', 'limits.subject_id', 'accounts.id')
    .innerJoin('projects', (join) =>
      join.onRef('projects.account_id', '=', 'accounts.id').on('projects.is_default', '=', true),
    )
    .innerJoin('balances as live', (join) =>
      join.onRef('live.account_id', '=', 'accounts.id').on('live.livemode', '=', true),
    )
    .innerJoin('balances as test', (join) =>
      join.onRef('test.account_id', '=', 'accounts.id').on('test.livemode', '=', false),
    )
    .selectAll('accounts')
    .select(LIMIT_SELECTION)
    .select([
      'projects.id as default_project_id',
      'live.balance_nano as live_balance_nano',
      'live.held_nano as live_held_nano',
      'test.balance_nano as test_balance_nano',
      'test.held_nano as test_held_nano',
    ])
}

function toRecord(row: AccountRow): AccountRecord {
  return {
    row,
    limits: readLimits(row),
    defaultProjectId: row.default_project_id,
    live: { balanceNano: row.live_balance_nano, heldNano: row.live_held_nano },
    test: { balanceNano: row.test_balance_nano, heldNano: row.test_held_nano },
  }
}

async function stopAllCalls(change: PolicyChange): Promise<void> {
  const keys = await change.transaction
    .selectFrom('api_keys')
    .select('id')
    .where('account_id', '=', change.accountId)
    .where('revoked_at', 'is', null)
    .execute()
  change.stopCalls(
    keys.map(({ id }) => id),
    'account_suspended',
  )
}
