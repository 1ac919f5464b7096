import { createAccount } from './accounts/accounts.ts'
import { createKey } from './accounts/keys.ts'
import type { Operator } from './accounts/operator-keys.ts'
import type { AccountId, Seams } from './ids.ts'
import { newId } from './ids.ts'
import { grant } from './ledger/grants.ts'
import type { Policy } from './policy.ts'
import type { Sensitive } from './sensitive.ts'
import type { Database } from './storage/database.ts'

/** The demo account of a first start: a test key with test credit, so that a stranger's first call works. */
export interface FirstAccount {
  readonly accountId: AccountId
  readonly testKey: Sensitive<string>
}

/**
 * Makes the demo account where there is no account at all: account, credit and key, or nothing of them. Live credit
 * is never given away.
 */
export async function makeFirstAccount(
  database: Database,
  operator: Operator,
  seams: Seams,
  policy: Policy,
): Promise<FirstAccount | undefined> {
  return database.query.transaction().execute(async (transaction) => {
    const existing = await transaction.selectFrom('accounts').select('id').limit(1).executeTakeFirst()
    if (existing) return undefined
    const within = { ...database, query: transaction }
    const store = { database: within, seams }
    const { row } = await createAccount(store, operator, { name: 'Demo' })
    await grant(within, {
      id: newId('led', seams),
      accountId: row.id,
      livemode: false,
      amountNano: policy.testWorld.demoCreditUsd,
      reason: 'Test credit of the demo account',
    })
    const { secret } = await createKey(
      store,
      { kind: 'operator', operator },
      {
        name: 'Demo key',
        accountId: row.id,
        livemode: false,
        scopes: ['chat', 'usage', 'keys'],
      },
    )
    return { accountId: row.id, testKey: secret }
  })
}
